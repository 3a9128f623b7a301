"""A process that is killed in mid-load: every request that it acknowledged is in the database exactly once."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from polyroute.storage.database import open_database
from polyroute.storage.ledger import JournaledLedger, journal_folder

LOAD = """
import sys
sys.path[:] = sys.argv[3].split("|")
from support.ledger_records import settled
from polyroute.storage.database import open_database
from polyroute.storage.ledger import JournaledLedger

ledger = JournaledLedger(open_database(sys.argv[1]), window=float(sys.argv[2]))
number = 0
while True:
    number += 1
    ledger.record(settled(f"{sys.argv[4]}_{number:06}"))
    sys.stdout.write(f"{sys.argv[4]}_{number:06}\\n")
    sys.stdout.flush()
"""


@pytest.mark.parametrize("window", ["0.0", "60.0"], ids=["while-writing", "before-writing"])
def test_what_was_acknowledged_before_a_kill_is_there_once(tmp_path: Path, window: str) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    open_database(url).close()
    acknowledged: list[str] = []
    for turn in range(2):  # the second process starts beside what the first left
        arguments = [sys.executable, "-c", LOAD, url, window, "|".join(sys.path), f"turn{turn}"]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(1500):
                line = process.stdout.readline()
                assert line.endswith("\n"), "the load ended early"
                acknowledged.append(line.strip())
            process.send_signal(signal.SIGKILL)
            acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
    database = open_database(url)
    ledger = JournaledLedger(database)
    ledger.close()
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as shell:
        found = [row[0] for row in shell.execute("SELECT id FROM requests ORDER BY id")]
        attempts = shell.execute("SELECT COUNT(*) FROM attempts").fetchone()[0]
    assert len(found) == len(set(found)) == attempts
    assert set(acknowledged) <= set(found)
    # The one request that was recorded but whose acknowledgement the kill cut off may be there too.
    assert len(found) - len(acknowledged) <= 2
    assert list(journal_folder(database).glob("*.journal")) == []
