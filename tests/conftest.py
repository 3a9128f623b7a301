"""What all tests share: a PostgreSQL, and what the report of a run tells beyond passed and failed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.postgres_server import PostgresServer
from support.sdk_matrix import table


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A real PostgreSQL, started when a test first asks for it."""
    with PostgresServer() as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the matrix when any of its cells was run, in whichever process."""
    outcomes = {}
    for category in ("passed", "failed"):
        for report in terminalreporter.stats.get(category, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == "cell" and report.when == "call":
                    outcomes[tuple(value)] = category == "passed"
    if outcomes:
        terminalreporter.section("ingress x upstream")
        for line in table(outcomes):
            terminalreporter.write_line(line)
