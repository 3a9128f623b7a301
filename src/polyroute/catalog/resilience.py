"""What a route's entry says of broken streams and of answers that keep callers waiting; pure."""

from __future__ import annotations

from polyroute.catalog.inputs import RouteEntry
from polyroute.catalog.model import Hedge, RescueMode
from polyroute.catalog.problems import Problems
from polyroute.types.operations import Operation

_HEDGED = frozenset({Operation.CHAT, Operation.EMBED, Operation.MODERATE})


def read_rescue(name: str, entry: RouteEntry, operation: Operation, problems: Problems) -> RescueMode:
    """What becomes of its broken streams; only those of a chat can be rescued."""
    if entry.rescue is not None and operation is not Operation.CHAT:
        problems.add(("routes", name, "rescue"), f"a route for {operation} rescues no streams: only chat does")
    return entry.rescue or "continue"


def read_hedge(name: str, entry: RouteEntry, operation: Operation, problems: Problems) -> Hedge | None:
    """Its hedging, which is for short answers: asking twice for pictures or sound costs twice as much."""
    if entry.hedge is None:
        return None
    if operation not in _HEDGED:
        served = ", ".join(sorted(_HEDGED))
        problems.add(("routes", name, "hedge"), f"a route for {operation} cannot hedge: only {served} can")
    after = entry.hedge.after
    return Hedge(after=None if after == "p95" else float(after), share=entry.hedge.share)
