"""What the report of a run tells beyond passed and failed: the matrix of callers and providers."""

from __future__ import annotations

import pytest

from support.sdk_matrix import table


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
