"""What all tests share: a PostgreSQL, and what the report of a run tells beyond passed and failed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.fault_matrix import fault_table
from support.postgres_server import PostgresServer
from support.sdk_matrix import table


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL, started when a test first asks for it."""
    with PostgresServer() as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the matrices when any of their cells was run, in whichever process."""
    cells = _told(terminalreporter, "cell")
    if cells:
        terminalreporter.section("ingress x upstream")
        for line in table(cells):
            terminalreporter.write_line(line)
    faults = _told(terminalreporter, "fault")
    if faults:
        terminalreporter.section("faults x ingress")
        for line in fault_table(faults):
            terminalreporter.write_line(line)


def _told(terminalreporter: pytest.TerminalReporter, property_name: str) -> dict[tuple[str, str, str], bool]:
    """Whether every test of a cell passed, its setting up included."""
    outcomes: dict[tuple[str, str, str], bool] = {}
    for category in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(category, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == property_name and (report.when == "call" or category == "error"):
                    one, other, third = value
                    cell = (one, other, third)
                    outcomes[cell] = outcomes.get(cell, True) and category == "passed"
    return outcomes
