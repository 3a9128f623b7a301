"""Why a request went where it went: the stored decision in words, and what the configuration of now would do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from polyroute.ports import DecisionReader, StoredDecision
from polyroute.routing.decision import Decision, decode_decision, recorded_plan, replay
from polyroute.routing.explanation import explain, same_outcome
from polyroute.routing.plan import RoutePlanner
from polyroute.types.errors import ErrorKind, PolyrouteError


class Explanations:
    """Explains settled requests. `planner_of` gives the present planner of a decision, None when there is none any more."""

    def __init__(self, reader: DecisionReader, planner_of: Callable[[Decision], RoutePlanner | None]) -> None:
        self._reader = reader
        self._planner_of = planner_of

    def explain(self, request_id: str) -> dict[str, Any]:
        """The explanation of one request. Raises PolyrouteError(not_found)."""
        stored = self._reader.decision(request_id)
        if stored is None:
            raise PolyrouteError(
                ErrorKind.NOT_FOUND,
                f"there is no settled request {request_id[:80]!r} in the ledger's database; one that has just ended gets "
                "there within a second",
                param="id",
            )
        found: dict[str, Any] = {
            "id": stored.id,
            "created_at": stored.created_at,
            "status": stored.status,
            "requested_model": stored.requested_model,
            "served_by": None if stored.actual_provider is None else f"{stored.actual_provider}/{stored.actual_model}",
            "error": stored.error_message,
            "attempts": msgspec.to_builtins(stored.attempts),
        }
        return found | self._decision(stored)

    def _decision(self, stored: StoredDecision) -> dict[str, Any]:
        if stored.decision is None:
            return {"decision": None, "replay": None}
        try:
            decision = decode_decision(stored.decision)
        except msgspec.MsgspecError:  # written by a version that knows more
            return {"decision": None, "replay": None}
        return {"decision": explain(decision), "replay": self._replay(decision)}

    def _replay(self, decision: Decision) -> dict[str, Any]:
        planner = self._planner_of(decision)
        if planner is None:
            return {"same": False, "targets": None}
        plan = replay(decision, planner)
        return {
            "same": same_outcome(plan, recorded_plan(decision)),
            "targets": [str(target) for target in plan.targets],
        }
