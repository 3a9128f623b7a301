"""Which artifacts and files there are: the database's side of the artifact store. Blocking, for worker threads.

An artifact's row exists only while its bytes do: bytes are announced in `artifact_remains` before they are stored and
after their row is gone, so that whatever crashes in between, `prune` finds them. A blob's name is never used twice, so
that deleting an old one cannot meet a new one of the same content.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from polyroute.storage.database import Database, Driver
from polyroute.storage.media_rows import ARTIFACT_COLUMNS, FILE_COLUMNS, KeptArtifact, artifact_of, file_of
from polyroute.types.artifacts import Artifact, StoredFile

UPLOAD = "upload"
"""The origin of what callers upload."""
UPLOAD_GRACE = 3600.0
"""Seconds for which an upload is kept on its own, until its file holds it."""
_ARTIFACT = ", ".join(ARTIFACT_COLUMNS)
_FILE_AND_ARTIFACT = ", ".join([*(f"f.{name}" for name in FILE_COLUMNS), *(f"a.{name}" for name in ARTIFACT_COLUMNS)])
_UNHELD = "NOT EXISTS (SELECT 1 FROM files WHERE files.artifact_id = artifacts.id)"
_AT_ONCE = 500

Result = TypeVar("Result")


class MediaIndex:
    """Reads and writes of the tables `artifacts`, `artifact_owners`, `artifact_remains` and `files`.

    Moments are seconds since the epoch.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._driver: Driver | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._drop()

    # ---------------------------------------------------------------- artifacts

    def find(self, artifact_id: str) -> KeptArtifact | None:
        """An artifact by its id."""

        def read(driver: Driver) -> KeptArtifact | None:
            row = driver.execute(
                driver.sql(f"SELECT {_ARTIFACT} FROM artifacts WHERE id = ?"),  # noqa: S608 - names of our own
                (artifact_id,),
            ).fetchone()
            return None if row is None else artifact_of(row)

        return self._run(read)

    def extend(self, artifact_id: str, until: float | None) -> KeptArtifact | None:
        """Keep an artifact at least so long, None for ever; None when there is none."""

        def write(driver: Driver) -> None:
            if until is None:
                driver.execute(driver.sql("UPDATE artifacts SET expires_at = NULL WHERE id = ?"), (artifact_id,))
                return
            moment = driver.timestamp(until)
            driver.execute(
                driver.sql("UPDATE artifacts SET expires_at = ? WHERE id = ? AND expires_at < ?"),
                (moment, artifact_id, moment),
            )

        self._run(write)
        return self.find(artifact_id)

    def announce(self, blob: str, now: float) -> None:
        """Bytes are about to be stored under this name."""
        self._run(
            lambda driver: driver.execute(
                driver.sql("INSERT INTO artifact_remains (blob, since) VALUES (?, ?)"), (blob, driver.timestamp(now))
            )
        )

    def insert(self, artifact: Artifact, blob: str) -> bool:
        """The bytes are stored: make the row. False when the artifact exists already; the blob is then a remain."""
        values = {"blob": blob, **msgspec.structs.asdict(artifact)}

        def write(driver: Driver) -> bool:
            row = [
                driver.timestamp(value) if name in ("created_at", "expires_at") and value is not None else value
                for name, value in ((name, values[name]) for name in ARTIFACT_COLUMNS)
            ]
            marks = ", ".join("?" * len(row))
            with driver.transaction():
                made = driver.execute(
                    driver.sql(
                        f"INSERT INTO artifacts ({_ARTIFACT}) VALUES ({marks}) ON CONFLICT (id) DO NOTHING"  # noqa: S608
                    ),
                    row,
                ).rowcount
                if made:
                    driver.execute(driver.sql("DELETE FROM artifact_remains WHERE blob = ?"), (blob,))
                else:
                    self._abandon(driver, blob)
            return bool(made)

        return self._run(write)

    def relocate(self, artifact_id: str, blob: str) -> None:
        """The bytes of an artifact were lost and are stored again under this name."""

        def write(driver: Driver) -> None:
            with driver.transaction():
                driver.execute(driver.sql("UPDATE artifacts SET blob = ? WHERE id = ?"), (blob, artifact_id))
                driver.execute(driver.sql("DELETE FROM artifact_remains WHERE blob = ?"), (blob,))

        self._run(write)

    def remove(self, artifact_id: str, *, expired_at: float | None = None) -> KeptArtifact | None:
        """Delete the row of an artifact that no file holds, if it has expired by then; its blob becomes a remain."""

        def write(driver: Driver) -> KeptArtifact | None:
            condition, values = "", [artifact_id]
            if expired_at is not None:
                condition = " AND expires_at <= ?"
                values.append(driver.timestamp(expired_at))  # type: ignore[arg-type] # text or datetime, as the driver wants
            with driver.transaction():
                row = driver.execute(
                    driver.sql(f"DELETE FROM artifacts WHERE id = ? AND {_UNHELD}{condition} RETURNING {_ARTIFACT}"),  # noqa: S608
                    values,
                ).fetchone()
                if row is None:
                    return None
                kept = artifact_of(row)
                driver.execute(driver.sql("DELETE FROM artifact_owners WHERE artifact_id = ?"), (artifact_id,))
                driver.execute(
                    driver.sql("INSERT INTO artifact_remains (blob, since) VALUES (?, ?)"),
                    (kept.blob, driver.timestamp(0)),
                )
            return kept

        return self._run(write)

    def own(self, artifact_id: str, key_id: str) -> None:
        """An artifact belongs to this key too."""
        self._run(
            lambda driver: driver.execute(
                driver.sql(
                    "INSERT INTO artifact_owners (artifact_id, key_id) VALUES (?, ?) "
                    "ON CONFLICT (artifact_id, key_id) DO NOTHING"
                ),
                (artifact_id, key_id),
            )
        )

    def owned(self, artifact_id: str, key_id: str, now: float) -> bool:
        """Whether an artifact belongs to this key, or one of its files names it."""

        def read(driver: Driver) -> bool:
            row = driver.execute(
                driver.sql(
                    "SELECT 1 FROM artifact_owners WHERE artifact_id = ? AND key_id = ? UNION ALL "
                    "SELECT 1 FROM files WHERE artifact_id = ? AND key_id = ? AND (expires_at IS NULL OR expires_at > ?)"
                ),
                (artifact_id, key_id, artifact_id, key_id, driver.timestamp(now)),
            ).fetchone()
            return row is not None

        return self._run(read)

    def expired(self, now: float) -> list[str]:
        """Some artifacts that have expired and that no file holds."""

        def read(driver: Driver) -> list[str]:
            rows = driver.execute(
                driver.sql(f"SELECT id FROM artifacts WHERE expires_at <= ? AND {_UNHELD} LIMIT {_AT_ONCE}"),  # noqa: S608
                (driver.timestamp(now),),
            ).fetchall()
            return [row[0] for row in rows]

        return self._run(read)

    def newest(self, limit: int) -> list[KeptArtifact]:
        """The newest artifacts."""

        def read(driver: Driver) -> list[KeptArtifact]:
            rows = driver.execute(
                driver.sql(f"SELECT {_ARTIFACT} FROM artifacts ORDER BY created_at DESC, id LIMIT ?"),  # noqa: S608
                (limit,),
            ).fetchall()
            return [artifact_of(row) for row in rows]

        return self._run(read)

    def remains(self, before: float) -> list[str]:
        """Blobs that have belonged to nobody since before that moment."""

        def read(driver: Driver) -> list[str]:
            rows = driver.execute(
                driver.sql(f"SELECT blob FROM artifact_remains WHERE since < ? LIMIT {_AT_ONCE}"),  # noqa: S608
                (driver.timestamp(before),),
            ).fetchall()
            return [row[0] for row in rows]

        return self._run(read)

    def abandon(self, blob: str) -> None:
        """Bytes that were announced will not be used."""
        self._run(lambda driver: self._abandon(driver, blob))

    def forget_remain(self, blob: str) -> None:
        """The bytes are gone."""
        self._run(
            lambda driver: driver.execute(driver.sql("DELETE FROM artifact_remains WHERE blob = ?"), (blob,)).rowcount
        )

    # ---------------------------------------------------------------- files

    def add_file(self, file: StoredFile) -> None:
        """Name an artifact for a caller."""

        def write(driver: Driver) -> None:
            expires_at = None if file.expires_at is None else driver.timestamp(file.expires_at)
            row = (file.id, file.artifact.id, file.key_id, file.filename, file.purpose,
                   driver.timestamp(file.created_at), expires_at)  # fmt: skip
            marks = ", ".join("?" * len(row))
            driver.execute(driver.sql(f"INSERT INTO files ({', '.join(FILE_COLUMNS)}) VALUES ({marks})"), row)  # noqa: S608

        self._run(write)

    def find_file(self, file_id: str, now: float) -> StoredFile | None:
        """A file by its id, whosoever it is, unless it has expired."""
        rows = self._files("f.id = ? AND (f.expires_at IS NULL OR f.expires_at > ?)", [file_id, now], "", 1)
        return rows[0] if rows else None

    def list_files(
        self,
        key_id: str | None,
        now: float,
        purpose: str | None,
        sha256: str | None,
        after: StoredFile | None,
        limit: int,
        newest_first: bool,
    ) -> list[StoredFile]:
        """A key's files by age."""
        where = "COALESCE(f.key_id, '') = ? AND (f.expires_at IS NULL OR f.expires_at > ?)"
        values: list[Any] = [key_id or "", now]
        if purpose is not None:
            where += " AND f.purpose = ?"
            values.append(purpose)
        if sha256 is not None:
            where += " AND a.sha256 = ?"
            values.append(sha256)
        if after is not None:
            where += f" AND (f.created_at, f.id) {'<' if newest_first else '>'} (?, ?)"
            values += [after.created_at, after.id]
        way = "DESC" if newest_first else "ASC"
        return self._files(where, values, f"ORDER BY f.created_at {way}, f.id {way}", limit)

    def remove_file(self, file_id: str, key_id: str | None, now: float) -> str | None:
        """Delete a key's file; the id of its artifact, None when there was none."""

        def write(driver: Driver) -> str | None:
            row = driver.execute(
                driver.sql("DELETE FROM files WHERE id = ? AND COALESCE(key_id, '') = ? RETURNING artifact_id"),
                (file_id, key_id or ""),
            ).fetchone()
            if row is None:
                return None
            # An upload whose last file is gone: nothing but its hour of grace keeps it.
            driver.execute(
                driver.sql("UPDATE artifacts SET expires_at = ? WHERE id = ? AND origin = ? AND expires_at <= ?"),
                (driver.timestamp(now), row[0], UPLOAD, driver.timestamp(now + UPLOAD_GRACE)),
            )
            return str(row[0])

        return self._run(write)

    def expire_files(self, now: float) -> int:
        """Delete the files that have expired; how many."""
        return self._run(
            lambda driver: (
                driver.execute(driver.sql("DELETE FROM files WHERE expires_at <= ?"), (driver.timestamp(now),)).rowcount
            )
        )

    def _files(self, where: str, values: Sequence[Any], order: str, limit: int) -> list[StoredFile]:
        def read(driver: Driver) -> list[StoredFile]:
            bound = [driver.timestamp(value) if isinstance(value, float) else value for value in values]
            rows = driver.execute(
                driver.sql(
                    f"SELECT {_FILE_AND_ARTIFACT} FROM files f JOIN artifacts a ON a.id = f.artifact_id "  # noqa: S608
                    f"WHERE {where} {order} LIMIT {int(limit)}"
                ),
                bound,
            ).fetchall()
            return [file_of(row) for row in rows]

        return self._run(read)

    # ---------------------------------------------------------------- connection

    def _abandon(self, driver: Driver, blob: str) -> None:
        driver.execute(driver.sql("UPDATE artifact_remains SET since = ? WHERE blob = ?"), (driver.timestamp(0), blob))

    def _run(self, work: Callable[[Driver], Result]) -> Result:
        """One piece of work on the connection; a connection on which something failed is not used again."""
        with self._lock:
            self._driver = self._driver or self._database.connect()
            try:
                return work(self._driver)
            except BaseException:
                self._drop()
                raise

    def _drop(self) -> None:
        driver, self._driver = self._driver, None
        if driver is not None:
            with suppress(Exception):  # a connection that broke may also fail to close
                driver.close()
