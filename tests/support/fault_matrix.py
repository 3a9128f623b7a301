"""The matrix of the sixteen faults: what fails, who asks, and how; printed at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping

SCENARIOS = {
    "429-retry-after": "429 with Retry-After",
    "429-for-good": "429 for good",
    "one-500": "one 500",
    "503": "503",
    "reset": "connection reset",
    "no-response": "no response",
    "slow-first-token": "first token too late",
    "cut": "stream cut at 40 of 60 tokens",
    "stall": "stream stalled",
    "malformed": "malformed chunk",
    "no-end-marker": "missing [DONE]",
    "context-too-long": "context too long",
    "content-filter": "content filter",
    "prefill-refused": "fallback rejects prefill",
    "flapping": "flapping over 20 requests",
    "accounted": "accounting of fallbacks",
}
"""What each is called in the report."""
COLUMNS = [(ingress, way) for ingress in ("openai", "anthropic") for way in ("whole", "streamed")]

Outcomes = Mapping[tuple[str, str, str], bool]
"""Whether all that was asserted of a scenario, an ingress and a way held."""


def fault_table(outcomes: Outcomes) -> list[str]:
    """The matrix as lines of text, and how many scenarios passed in every column."""
    head = ["scenario", *(f"{ingress} {way}" for ingress, way in COLUMNS)]
    rows = [
        [words, *(_mark(outcomes.get((name, ingress, way))) for ingress, way in COLUMNS)]
        for name, words in SCENARIOS.items()
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    passed = sum(all(outcomes.get((name, *column)) for column in COLUMNS) for name in SCENARIOS)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [head, *rows]]
    return [*(line.rstrip() for line in lines), f"{passed} of {len(SCENARIOS)} in every column"]


def _mark(outcome: bool | None) -> str:
    return "not run" if outcome is None else "passed" if outcome else "FAILED"
