"""Keys: shown once, kept as digests, found in memory, revoked everywhere at once."""

from __future__ import annotations

import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyroute.storage.database import Database, StorageError, open_database
from polyroute.storage.keys import KeyDirectory, create_key, list_keys, load_pepper, pepper_path, revoke_key

PEPPER = b"a pepper of more than sixteen bytes"


@pytest.fixture
def directory(database: Database) -> Iterator[KeyDirectory]:
    directory = KeyDirectory(database, PEPPER)
    yield directory
    directory.close()


def refresh(directory: KeyDirectory, database: Database) -> bool:
    driver = database.connect()
    try:
        return directory.refresh(driver)
    finally:
        driver.close()


def test_a_key_has_its_form_and_is_nowhere_in_the_database(database: Database, tmp_path: Path) -> None:
    key, record = create_key(database, PEPPER, name=" app ", routes=["text", "draft"], user_id="u1")
    assert re.fullmatch(r"pr-[A-Za-z0-9_-]{43}", key)
    assert key.startswith(record.prefix)
    assert len(record.prefix) == 10
    assert list_keys(database) == [record]
    assert (record.name, record.routes, record.user_id, record.revoked_at) == ("app", ("text", "draft"), "u1", None)
    driver = database.connect()
    stored = repr(driver.execute("SELECT * FROM keys").fetchall()).encode()
    driver.close()
    stored += b"".join(path.read_bytes() for path in tmp_path.glob("ledger.db*"))
    assert key[:10].encode() in stored
    assert key[10:].encode() not in stored


def test_a_key_is_found_by_what_was_presented_only(database: Database) -> None:
    key, record = create_key(database, PEPPER, name="app")
    directory = KeyDirectory(database, PEPPER)
    assert directory.find(key) == record
    assert record.routes is None
    for wrong in ("", key[:-1], key + "x", key.lower() + "!", record.digest.hex(), "pr-\udcff", "pr-" + "ключ"):
        assert directory.find(wrong) is None


def test_another_pepper_finds_nothing(database: Database) -> None:
    key, _ = create_key(database, PEPPER, name="app")
    assert KeyDirectory(database, b"another pepper of enough bytes").find(key) is None


def test_a_directory_reads_again_only_after_a_change(database: Database, directory: KeyDirectory) -> None:
    assert not refresh(directory, database)
    key, record = create_key(database, PEPPER, name="app")
    assert directory.find(key) is None
    assert refresh(directory, database)
    assert directory.find(key) == record
    assert not refresh(directory, database)


def test_a_revoked_key_is_found_as_revoked(database: Database, directory: KeyDirectory) -> None:
    key, record = create_key(database, PEPPER, name="app")
    revoked = revoke_key(database, record.id)
    assert revoked is not None
    assert revoked.revoked_at is not None
    assert revoke_key(database, record.id) == revoked
    refresh(directory, database)
    assert directory.find(key) == revoked


@pytest.mark.parametrize("by", ["id", "name", "prefix"])
def test_a_key_is_revoked_by_id_name_or_prefix(database: Database, by: str) -> None:
    _, record = create_key(database, PEPPER, name="app")
    create_key(database, PEPPER, name="other")
    revoked = revoke_key(database, getattr(record, by))
    assert revoked is not None
    assert [key.name for key in list_keys(database) if key.revoked_at is not None] == ["app"]


def test_an_unknown_or_ambiguous_name_revokes_nothing(database: Database) -> None:
    create_key(database, PEPPER, name="app")
    create_key(database, PEPPER, name="app")
    assert revoke_key(database, "app") is None
    assert revoke_key(database, "nobody") is None
    assert all(key.revoked_at is None for key in list_keys(database))


def test_a_watching_directory_sees_another_process_revoke(database: Database) -> None:
    key, record = create_key(database, PEPPER, name="app")
    seen = threading.Event()

    class Watched(KeyDirectory):
        def refresh(self, driver: object) -> bool:
            changed = super().refresh(driver)  # type: ignore[arg-type]  # a Driver, as its caller knows
            found = self.find(key)
            if found is not None and found.revoked_at is not None:
                seen.set()
            return changed

    directory = Watched(database, PEPPER, interval=0.01)
    directory.start()
    revoke_key(open_database(database.url), record.id)
    assert seen.wait(2.0)
    directory.close()


def test_a_directory_goes_on_with_what_it_knows_when_the_database_is_away(
    database: Database, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, record = create_key(database, PEPPER, name="app")
    tried, away = threading.Event(), [True]

    class Broken(KeyDirectory):
        def refresh(self, driver: object) -> bool:
            if self._revision is not None and away:
                tried.set()
                raise OSError("gone")
            changed = super().refresh(driver)  # type: ignore[arg-type]  # a Driver, as its caller knows
            if changed and self.find(second[0]) is not None:
                back.set()
            return changed

    back, second = threading.Event(), [""]
    directory = Broken(database, PEPPER, interval=0.01)
    directory.start()
    assert tried.wait(2.0)
    assert directory.find(key) == record
    second[0], _ = create_key(database, PEPPER, name="second")
    away.clear()
    assert back.wait(2.0)
    directory.close()
    assert caplog.text.count("cannot be read again") == 1


def test_a_nameless_key_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="name"):
        create_key(database, PEPPER, name="  ")


def test_a_pepper_is_made_once_and_private(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = pepper_path(database)
    first = load_pepper(None, path)
    assert load_pepper(None, path) == first
    assert len(first) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in path.parent.glob("*.pepper*")] == [path.name]


def test_workers_that_start_together_share_one_pepper(tmp_path: Path) -> None:
    found: list[bytes] = []
    barrier = threading.Barrier(8)

    def load() -> None:
        barrier.wait()
        found.append(load_pepper(None, tmp_path / "pepper"))

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_configured_pepper_wins_and_needs_length(tmp_path: Path) -> None:
    assert load_pepper("0123456789abcdef", tmp_path / "pepper") == b"0123456789abcdef"
    assert not (tmp_path / "pepper").exists()
    with pytest.raises(StorageError, match="too short") as caught:
        load_pepper("hunter2", tmp_path / "pepper")
    assert "hunter2" not in str(caught.value)


def test_an_unusable_pepper_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(StorageError, match="too short"):
        load_pepper(None, tmp_path / "empty")
    with pytest.raises(StorageError, match="cannot be used"):
        load_pepper(None, tmp_path / "nowhere" / "pepper")
