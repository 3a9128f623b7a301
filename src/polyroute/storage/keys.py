"""Keys that we issue to callers: making, listing and revoking them, and finding one on the hot path.

A key is `pr-` and 43 url-safe characters (256 random bits). The database has its HMAC-SHA-256 under a pepper that is not
in the database, so that neither a stolen database nor a guess at it yields a key.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from polyroute.storage.database import Database, Driver, StorageError
from polyroute.storage.rows import KEY_COLUMNS
from polyroute.storage.values import parse_timestamp
from polyroute.types.limits import Limits
from polyroute.types.records import KeyRecord

logger = logging.getLogger(__name__)

KEY_START = "pr-"
_PREFIX_LENGTH = 10
_MOST_RECENT = 4096
_PEPPER_BYTES = 32
_SHORTEST_PEPPER = 16


def load_pepper(configured: str | None, path: Path) -> bytes:
    """The server-side secret under which keys are kept: the configured one, else that of the file `path`, which is made
    (mode 0600) when it does not exist. Raises StorageError when it cannot be read or is too short."""
    if configured is not None:
        return _checked(configured.encode(), "the configured pepper")
    try:
        with suppress(FileNotFoundError):
            return _checked(path.read_bytes().strip(), str(path))
        # Written aside and linked into place: of several workers that start together, one makes it, all read it whole.
        aside = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, secrets.token_hex(_PEPPER_BYTES).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        with suppress(FileExistsError):
            os.link(aside, path)
        aside.unlink()
        return _checked(path.read_bytes().strip(), str(path))
    except OSError as error:
        raise StorageError(f"the pepper file {path} cannot be used: {error.strerror}") from error


def pepper_path(database: Database) -> Path:
    """Where the generated pepper lies: beside an SQLite database, else in the working directory."""
    return Path("polyroute.pepper") if database.path is None else database.path.with_suffix(".pepper")


def _checked(pepper: bytes, source: str) -> bytes:
    if len(pepper) < _SHORTEST_PEPPER:
        raise StorageError(f"{source} is too short for a pepper: at least {_SHORTEST_PEPPER} characters")
    return pepper


def digest_of(key: str, pepper: bytes) -> bytes:
    """What the database keeps of a key."""
    return hmac.digest(pepper, key.encode("utf-8", "surrogatepass"), "sha256")


def create_key(
    database: Database,
    pepper: bytes,
    *,
    name: str,
    routes: Iterable[str] | None = None,
    user_id: str | None = None,
    operator: bool = False,
    limits: Limits | None = None,
) -> tuple[str, KeyRecord]:
    """Issue a key. The first of the pair is the key itself, which exists nowhere else from now on."""
    if not name.strip():
        raise ValueError("a key needs a name")
    key = KEY_START + secrets.token_urlsafe(32)
    record = KeyRecord(
        id=f"key_{secrets.token_hex(8)}",
        name=name.strip(),
        digest=digest_of(key, pepper),
        prefix=key[:_PREFIX_LENGTH],
        created_at=time.time_ns() // 1000 / 1e6,  # to the microsecond, as it is stored
        routes=None if routes is None else tuple(routes),
        user_id=user_id,
        operator=operator,
        limits=None if limits == Limits() else limits,
    )
    own = limits or Limits()
    with _changing(database) as driver:
        marks = ",".join("?" * len(KEY_COLUMNS))
        driver.execute(
            driver.sql(f"INSERT INTO keys ({','.join(KEY_COLUMNS)}) VALUES ({marks})"),  # noqa: S608 - names of our own
            (
                record.id,
                record.name,
                record.digest,
                record.prefix,
                driver.timestamp(record.created_at),
                None if record.routes is None else json.dumps(record.routes),
                record.user_id,
                None,
                record.operator,
                own.requests_per_minute,
                own.tokens_per_minute,
                own.concurrency,
            ),
        )
    return key, record


def list_keys(database: Database) -> list[KeyRecord]:
    """All keys, revoked ones included, oldest first."""
    driver = database.connect()
    try:
        return _read_keys(driver)
    finally:
        driver.close()


def revoke_key(database: Database, identifier: str) -> KeyRecord | None:
    """Revoke a key by its id, its name or its prefix; None when no key, or more than one, goes by that. One that was
    revoked before stays so."""
    return _change_key(
        database, identifier, "UPDATE keys SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL",
        lambda driver: driver.timestamp(time.time()),
    )  # fmt: skip


def assign_key(database: Database, identifier: str, user_id: str | None) -> KeyRecord | None:
    """Give a key to a user, or to nobody; named as for `revoke_key`."""
    return _change_key(database, identifier, "UPDATE keys SET user_id = ? WHERE id = ?", lambda _: user_id)


def _change_key(
    database: Database, identifier: str, statement: str, value: Callable[[Driver], Any]
) -> KeyRecord | None:  # fmt: skip
    found = [key for key in list_keys(database) if key.id == identifier]
    if not found:
        found = [key for key in list_keys(database) if key.revoked_at is None and identifier in (key.name, key.prefix)]
    if len(found) != 1:
        return None
    with _changing(database) as driver:
        driver.execute(driver.sql(statement), (value(driver), found[0].id))
    return next(key for key in list_keys(database) if key.id == found[0].id)


@contextmanager
def _changing(database: Database) -> Iterator[Driver]:
    """A transaction that changes keys and raises the revision that directories watch."""
    driver = database.connect()
    try:
        with driver.transaction():
            yield driver
            driver.execute("UPDATE revisions SET value = value + 1 WHERE name = 'keys'")
    finally:
        driver.close()


def _read_keys(driver: Driver) -> list[KeyRecord]:
    rows = driver.execute(f"SELECT {','.join(KEY_COLUMNS)} FROM keys ORDER BY created_at, id").fetchall()  # noqa: S608 - names of our own
    return [_key_record(row) for row in rows]


def _key_record(row: Sequence[Any]) -> KeyRecord:
    identifier, name, digest, prefix, created_at, routes, user_id, revoked_at, operator, requests, tokens, at_once = row
    limits = Limits(requests_per_minute=requests, tokens_per_minute=tokens, concurrency=at_once)
    allowed = json.loads(routes) if isinstance(routes, str) else routes
    return KeyRecord(
        id=identifier,
        name=name,
        digest=bytes(digest),
        prefix=prefix,
        created_at=_seconds(created_at),
        routes=None if allowed is None else tuple(allowed),
        user_id=user_id,
        revoked_at=None if revoked_at is None else _seconds(revoked_at),
        operator=bool(operator),
        limits=None if limits == Limits() else limits,
    )


def _seconds(moment: Any) -> float:
    seconds: float = (parse_timestamp(moment) if isinstance(moment, str) else moment).timestamp()
    return seconds


class KeyDirectory:
    """Implements `ports.KeyStore`: all keys in memory, looked at anew when another process changed them.

    Looking up the HMAC of what was presented takes the same time whatever was presented. Only keys that were found are
    remembered as they were presented: who is answered sooner for one has it already.
    """

    def __init__(self, database: Database, pepper: bytes, interval: float = 0.5) -> None:
        self._database = database
        self._pepper = pepper
        self._interval = interval
        self._revision: int | None = None
        # By digest, and those lately found by what was presented. Replaced together: what is found in the old keys must not
        # be remembered among the new ones.
        self._known: tuple[dict[bytes, KeyRecord], dict[str, KeyRecord]] = ({}, {})
        self._works = True
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        driver = database.connect()
        try:
            self.refresh(driver)
        finally:
            driver.close()

    def start(self) -> None:
        """Watch for changes every `interval` seconds, in a thread of its own."""
        self._thread = threading.Thread(target=self._watch, name="polyroute-keys", daemon=True)
        self._thread.start()

    def find(self, presented: str) -> KeyRecord | None:
        """The key that was presented, if we issued it (revoked ones included)."""
        keys, recent = self._known
        remembered = recent.get(presented)
        if remembered is not None:
            return remembered
        digest = hmac.digest(self._pepper, presented.encode("utf-8", "surrogatepass"), "sha256")
        record = keys.get(digest)
        if record is None or not hmac.compare_digest(record.digest, digest):
            return None
        if len(recent) >= _MOST_RECENT:
            recent.clear()
        recent[presented] = record
        return record

    def named(self, key_id: str) -> KeyRecord | None:
        """The key of this id (revoked ones included); a look at all of them."""
        return next((key for key in self._known[0].values() if key.id == key_id), None)

    def refresh(self, driver: Driver) -> bool:
        """Read the keys again if they changed since the last time; whether they did."""
        row = driver.execute("SELECT value FROM revisions WHERE name = 'keys'").fetchone()
        if row is None:
            raise StorageError("the table `revisions` has lost its row for keys: restore a backup")
        if row[0] == self._revision:
            return False
        # The revision is read before the keys: a change in between is seen as a change the next time.
        self._known = ({key.digest: key for key in _read_keys(driver)}, {})
        self._revision = row[0]
        return True

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        driver: Driver | None = None
        while not self._stop.wait(self._interval):
            try:
                driver = driver or self._database.connect()
                self.refresh(driver)
            except Exception as error:  # noqa: BLE001 - whatever a driver raises, the known keys go on
                if self._works:
                    self._works = False
                    logger.warning("keys cannot be read again (%s); those known go on until they can", error)
                if driver is not None:
                    with suppress(Exception):  # a connection that broke may also fail to close
                        driver.close()
                    driver = None
            else:
                if not self._works:
                    self._works = True
                    logger.warning("keys can be read again")
        if driver is not None:
            driver.close()
