"""The journal: what was appended is read again, whatever happens to the process or the file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.storage.database import Database
from polyroute.storage.frames import begin_file, encode_frame, salvage
from polyroute.storage.journal import Journal
from polyroute.storage.ledger_writer import LedgerWriter
from polyroute.storage.reading import JournalReader
from polyroute.storage.writer import RowWriter
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


@settings(max_examples=80, deadline=None)
@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=6), data=st.data())
def test_every_whole_record_before_a_cut_survives(texts: list[str], data: st.DataObject) -> None:
    frames = [frame(f"req_{number}", input_text=text) for number, text in enumerate(texts)]
    whole = b"".join(frames)
    cut = data.draw(st.integers(0, len(whole)))
    found = salvage(whole[:cut])
    expected, end, boundaries = [], 0, {0}
    for number, one in enumerate(frames):
        end += len(one)
        boundaries.add(end)
        if end <= cut:
            expected.append(f"req_{number}")
    assert [record.id for record in found.records] == expected
    assert found.damaged == 0
    assert (found.torn > 0) == (cut not in boundaries)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_a_damaged_byte_costs_at_most_its_own_record_and_is_noticed(data: st.DataObject) -> None:
    frames = [frame(f"req_{number}") for number in range(4)]
    whole = bytearray(b"".join(frames))
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    hit = position // len(frames[0])
    found = salvage(bytes(whole))
    assert [record.id for record in found.records] == [f"req_{number}" for number in range(4) if number != hit]
    assert found.damaged or found.torn


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_copy_that_a_kill_broke_off_is_torn_and_not_damage(data: st.DataObject) -> None:
    last = frame("req_2")
    copied = data.draw(st.integers(1, len(last) - 17))
    found = salvage(frame("req_1") + last[:copied] + bytes(2000))
    assert [record.id for record in found.records] == ["req_1"]
    assert (found.torn > 0, found.damaged) == (True, 0)


def write_up(folder: Path, database: Database) -> int:
    """Everything that can be written up now; how many rows that made."""
    before = len(ids_in(database))
    writer = LedgerWriter(database, folder)
    assert writer.run_pass()
    assert writer.works
    writer.close()
    return len(ids_in(database)) - before


def read_all(reader: JournalReader, at_once: int = 10) -> list[str]:
    seen: list[str] = []
    while records := reader.read(at_once):
        seen += [record.id for record in records]
        reader.commit()
    return seen


def test_damage_in_the_middle_keeps_the_file_aside(tmp_path: Path, database: Database) -> None:
    middle = bytearray(frame("req_2"))
    middle[-1] ^= 1
    path = left_behind(tmp_path / "journal", begin_file() + frame("req_1") + bytes(middle) + frame("req_3"))
    write_up(tmp_path / "journal", database)
    assert ids_in(database) == ["req_1", "req_3"]
    assert path.with_name(path.name + ".corrupt").exists()
    assert not path.exists()


@pytest.mark.parametrize("head", [b"NOTOURS1" + bytes(8), b"PR"], ids=["another", "cut"])
def test_a_file_that_does_not_begin_as_ours_gives_what_is_whole(
    tmp_path: Path, database: Database, head: bytes
) -> None:
    path = left_behind(tmp_path / "journal", head + frame("req_1") + frame("req_2"))
    write_up(tmp_path / "journal", database)
    assert ids_in(database) == ["req_1", "req_2"]
    assert path.with_name(path.name + ".corrupt").exists()


def test_a_journal_of_an_earlier_version_is_written_up(tmp_path: Path, database: Database) -> None:
    left_behind(tmp_path / "journal", b"PRJOURN1" + frame("req_1") + frame("req_2"))
    assert write_up(tmp_path / "journal", database) == 2
    assert {path.name for path in (tmp_path / "journal").iterdir()} == {"writer.lock"}


def test_a_torn_last_record_is_reported_and_the_rest_written_up(
    tmp_path: Path, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    path = left_behind(tmp_path / "journal", begin_file() + frame("req_1") + frame("req_2")[:-5])
    assert write_up(tmp_path / "journal", database) == 1
    assert not path.exists()
    assert "cut off" in caplog.text


def test_writing_up_twice_doubles_nothing(tmp_path: Path, database: Database) -> None:
    data = begin_file() + frame("req_1") + frame("req_2")
    for _ in range(2):
        left_behind(tmp_path / "journal", data)
        write_up(tmp_path / "journal", database)
    driver = database.connect()
    counts = [driver.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("requests", "attempts")]
    driver.close()
    assert counts == [2, 2]


def test_a_writer_that_was_killed_after_the_commit_repeats_what_it_had_not_noted(
    tmp_path: Path, database: Database
) -> None:
    folder = tmp_path / "journal"
    left_behind(folder, begin_file() + b"".join(frame(f"req_{number}") for number in range(5)))
    reader, rows = JournalReader(folder), RowWriter(database, folder)
    rows.write(reader.read(2))  # and now it dies, before it could note that
    rows.close()
    reader.close()
    assert write_up(folder, database) == 3
    assert len(ids_in(database)) == 5


def test_a_journal_in_use_is_read_as_it_grows_and_not_removed(tmp_path: Path, database: Database) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder)
    writer = LedgerWriter(database, folder)
    for number in range(3):
        journal.append(settled(f"req_{number}"))
        assert journal.unwritten > 0
        assert writer.run_pass()
        assert len(ids_in(database)) == number + 1
        assert journal.unwritten == 0
    assert len(list(folder.glob("*.journal"))) == 1
    journal.close()
    assert writer.run_pass()
    assert list(folder.glob("*.journal")) == []
    writer.close()


def test_a_writer_goes_on_where_an_earlier_one_stopped(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(4):
        journal.append(settled(f"req_{number}"))
    first = JournalReader(tmp_path)
    assert [record.id for record in first.read(2)] == ["req_0", "req_1"]
    first.commit()
    first.close()
    second = JournalReader(tmp_path)
    assert read_all(second) == ["req_2", "req_3"]
    second.close()
    journal.close()


def test_records_are_read_in_order_across_files_which_then_go(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=500)
    for number in range(20):
        journal.append(settled(f"req_{number:02}"))
    assert len(list(tmp_path.iterdir())) > 3
    reader = JournalReader(tmp_path)
    assert sorted(read_all(reader, 3)) == [f"req_{number:02}" for number in range(20)]
    assert journal.unwritten == 0
    journal.close()
    assert read_all(reader) == []
    assert list(tmp_path.iterdir()) == []
    reader.close()


def test_what_is_not_committed_is_read_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(settled("req_1"))
    reader = JournalReader(tmp_path)
    first = reader.read(10)
    reader.reset()
    assert first
    assert reader.read(10) == first
    reader.close()
    journal.close()


def test_what_waits_is_counted_without_reading_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path, segment_bytes=2000)
    for number in range(30):
        journal.append(settled(f"req_{number}", created_at=1000.0 + number, input_text="x" * 100))
    reader = JournalReader(tmp_path)
    waiting = reader.backlog()
    assert (waiting.rows, waiting.oldest) == (30, 1000.0)
    assert waiting.bytes == 30 * len(frame("req_00", created_at=1000.0, input_text="x" * 100)) - 10
    taken = {record.id for record in reader.read(7)}
    reader.commit()
    assert len(taken) == 7
    journal.append(settled("req_30", created_at=2000.0))
    assert reader.backlog().rows == 24
    read_all(reader)
    assert (reader.backlog().rows, reader.backlog().oldest) == (0, None)
    reader.close()
    journal.close()


def test_a_record_larger_than_the_read_buffer_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    text = "x" * 1_000_000
    journal.append(settled("req_1", input_text=text))
    journal.append(settled("req_2", input_text=text * 2))
    reader = JournalReader(tmp_path)
    assert [len(record.input_text or "") for record in [*reader.read(1), *reader.read(1)]] == [1_000_000, 2_000_000]
    reader.reset()
    assert reader.backlog().rows == 2
    reader.close()
    journal.close()


def test_a_full_disk_refuses_records_and_harms_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path, segment_bytes=1000)
    taken = []

    def full(descriptor: int, offset: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        while journal.unwritten < 1000 - 2 * len(frame("req_0")):
            taken.append(f"req_{len(taken)}")
            journal.append(settled(taken[-1]))
        with pytest.raises(OSError, match="No space"):
            journal.append(settled("req_refused", input_text="x" * 1000))
    assert len(list(tmp_path.iterdir())) == 1
    journal.append(settled("req_after"))
    reader = JournalReader(tmp_path)
    assert read_all(reader) == [*taken, "req_after"]
    assert taken
    reader.close()
    journal.close()


def test_a_killed_process_leaves_what_it_appended_in_the_file(tmp_path: Path, database: Database) -> None:
    journal = Journal(tmp_path / "journal", segment_bytes=700)
    for number in range(5):
        journal.append(settled(f"req_{number}"))
    for path in (tmp_path / "journal").iterdir():  # as a start finds them after a kill at this moment: not locked
        left_behind(tmp_path / "copy", path.read_bytes(), path.stem)
    assert write_up(tmp_path / "copy", database) == 5
    journal.close()


def test_text_and_numbers_that_no_encoding_has_are_replaced_not_lost(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(settled("req_1", error_message="bad \ud800 text", input_tokens=10**30))
    reader = JournalReader(tmp_path)
    (record,) = reader.read(1)
    assert (record.error_message, record.input_tokens) == ("bad ? text", None)
    reader.close()
    journal.close()
