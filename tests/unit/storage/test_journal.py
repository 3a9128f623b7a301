"""The journal: what was appended is read again, whatever happens to the process or the file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.storage.database import Database, open_database
from polyroute.storage.frames import MAGIC, encode_frame, salvage
from polyroute.storage.journal import Journal
from polyroute.storage.recovery import recover
from polyroute.types.records import RequestRecord
from support.ledger_records import settled


def frame(identifier: str, **changes: object) -> bytes:
    return encode_frame(settled(identifier, **changes))


def left_behind(folder: Path, data: bytes, name: str = "4711-dead-000001") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.journal"
    path.write_bytes(data)
    return path


def ids_in(database: Database) -> list[str]:
    driver = database.connect()
    try:
        return [row[0] for row in driver.execute("SELECT id FROM requests ORDER BY id").fetchall()]
    finally:
        driver.close()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(f"sqlite:///{tmp_path}/ledger.db")


@settings(max_examples=80, deadline=None)
@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=6), data=st.data())
def test_every_whole_record_before_a_cut_survives(texts: list[str], data: st.DataObject) -> None:
    frames = [frame(f"req_{number}", input_text=text) for number, text in enumerate(texts)]
    whole = MAGIC + b"".join(frames)
    cut = data.draw(st.integers(0, len(whole)))
    found = salvage(whole[:cut])
    expected, end = [], len(MAGIC)
    for number, one in enumerate(frames):
        end += len(one)
        if end <= cut:
            expected.append(f"req_{number}")
    assert [record.id for record in found.records] == expected
    assert found.damaged == 0
    assert (found.torn > 0) == (cut not in {0, *_boundaries(frames)})


def _boundaries(frames: list[bytes]) -> set[int]:
    ends = {len(MAGIC)}
    for one in frames:
        ends.add(max(ends) + len(one))
    return ends


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_damaged_byte_costs_at_most_its_own_record_and_is_noticed(data: st.DataObject) -> None:
    frames = [frame(f"req_{number}") for number in range(4)]
    whole = bytearray(MAGIC + b"".join(frames))
    position = data.draw(st.integers(len(MAGIC), len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    hit = (position - len(MAGIC)) // len(frames[0])
    found = salvage(bytes(whole))
    assert [record.id for record in found.records] == [f"req_{number}" for number in range(4) if number != hit]
    assert found.damaged or found.torn


def test_damage_in_the_middle_keeps_the_file_aside(tmp_path: Path, database: Database) -> None:
    middle = bytearray(frame("req_2"))
    middle[-1] ^= 1
    path = left_behind(tmp_path / "journal", MAGIC + frame("req_1") + bytes(middle) + frame("req_3"))
    found = recover(tmp_path / "journal", database)
    assert ids_in(database) == ["req_1", "req_3"]
    assert found.kept_aside == (path.with_name(path.name + ".corrupt"),)
    assert found.kept_aside[0].exists()
    assert not path.exists()


def test_a_torn_last_record_is_reported_and_the_rest_replayed(
    tmp_path: Path, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    path = left_behind(tmp_path / "journal", MAGIC + frame("req_1") + frame("req_2")[:-5])
    found = recover(tmp_path / "journal", database)
    assert (found.records, found.added, found.torn) == (1, 1, 1)
    assert not path.exists()
    assert "cut off" in caplog.text


def test_replaying_twice_doubles_nothing(tmp_path: Path, database: Database) -> None:
    data = MAGIC + frame("req_1") + frame("req_2")
    for _ in range(2):
        left_behind(tmp_path / "journal", data)
        recover(tmp_path / "journal", database)
    driver = database.connect()
    counts = [driver.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("requests", "attempts")]
    driver.close()
    assert counts == [2, 2]


def test_a_journal_in_use_is_left_alone(tmp_path: Path, database: Database) -> None:
    journal = Journal(tmp_path / "journal")
    journal.append(settled("req_1"))
    assert recover(tmp_path / "journal", database).files == 0
    journal.close()
    assert recover(tmp_path / "journal", database).added == 1
    assert list((tmp_path / "journal").iterdir()) == []


def test_records_are_read_in_order_across_files_which_then_go(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=500)
    for number in range(20):
        journal.append(settled(f"req_{number:02}"))
    assert len(list(tmp_path.iterdir())) > 3
    seen: list[str] = []
    while batch := journal.read(3):
        seen += [record.id for record in batch.records]
        journal.commit(batch)
    assert seen == [f"req_{number:02}" for number in range(20)]
    assert journal.size == 0
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_committed_is_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(settled("req_1"))
    first, second = journal.read(10), journal.read(10)
    assert first is not None
    assert second is not None
    assert first.records == second.records
    journal.close()


def test_a_record_larger_than_the_read_buffer_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    text = "x" * 1_000_000
    journal.append(settled("req_1", input_text=text))
    batch = journal.read(10)
    assert batch is not None
    assert batch.records[0].input_text == text
    journal.close()


def test_a_full_disk_refuses_records_and_harms_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, segment_bytes=1000)
    taken = []

    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        while journal.size < 1000 - 2 * len(frame("req_0")):
            taken.append(f"req_{len(taken)}")
            journal.append(settled(taken[-1]))
        with pytest.raises(OSError, match="No space"):
            journal.append(settled("req_refused", input_text="x" * 1000))
    assert len(list(tmp_path.iterdir())) == 1
    journal.append(settled("req_after"))
    seen: list[str] = []
    while batch := journal.read(10):
        seen += [record.id for record in batch.records]
        journal.commit(batch)
    assert seen == [*taken, "req_after"]
    assert taken
    journal.close()


def test_files_that_were_used_before_show_nothing_of_it(tmp_path: Path, database: Database) -> None:
    journal = Journal(tmp_path / "journal", segment_bytes=1000)
    for number in range(52):
        journal.append(settled(f"req_{number}", input_text="x" * (number * 7 % 300)))
        batch = journal.read(10)
        if number % 3 and batch is not None:
            journal.commit(batch)
    left = [record.id for record in pending(journal)]
    assert recover_copy(tmp_path, database) == left
    assert 0 < len(left) < 5


def pending(journal: Journal) -> list[RequestRecord]:
    batch = journal.read(1000)
    return [] if batch is None else batch.records


def recover_copy(tmp_path: Path, database: Database) -> list[str]:
    """What a start finds after the process of the journal in `tmp_path / "journal"` was killed at this moment."""
    for path in (tmp_path / "journal").iterdir():
        left_behind(tmp_path / "copy", path.read_bytes(), path.stem)
    found = recover(tmp_path / "copy", database)
    assert (found.torn, found.kept_aside) == (0, ())
    return ids_in(database)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_copy_that_a_kill_broke_off_is_torn_and_not_damage(data: st.DataObject) -> None:
    last = frame("req_2")
    copied = data.draw(st.integers(1, len(last) - 17))
    found = salvage(MAGIC + frame("req_1") + last[:copied] + bytes(2000))
    assert [record.id for record in found.records] == ["req_1"]
    assert (found.torn > 0, found.damaged) == (True, 0)


def test_a_killed_process_leaves_what_it_appended_in_the_file(tmp_path: Path, database: Database) -> None:
    journal = Journal(tmp_path / "journal")
    journal.append(settled("req_1"))
    journal.append(settled("req_2"))
    assert recover_copy(tmp_path, database) == ["req_1", "req_2"]
    journal.close()


def test_text_and_numbers_that_no_encoding_has_are_replaced_not_lost(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(settled("req_1", error_message="bad \ud800 text", input_tokens=10**30))
    batch = journal.read(1)
    assert batch is not None
    assert batch.records[0].error_message == "bad ? text"
    assert batch.records[0].input_tokens is None
    journal.close()
