"""Decisions of settled requests, for operators who ask why."""

from __future__ import annotations

from polyroute.ports import StoredAttempt, StoredDecision
from polyroute.storage.database import Database
from polyroute.storage.values import timestamp_text

_REQUEST = (
    "SELECT requests.id, created_at, status, requested_model, actual_provider, actual_model, error_message, "
    "COALESCE(decisions.decision, requests.decision) "
    "FROM requests LEFT JOIN decisions ON decisions.id = requests.decision WHERE requests.id = ?"
)
_ATTEMPTS = (
    "SELECT number, provider, model, outcome, duration_ms, error_kind, error_message FROM attempts "
    "WHERE request_id = ? ORDER BY number"
)


class LedgerDecisions:
    """Implements `ports.DecisionReader`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def decision(self, request_id: str) -> StoredDecision | None:
        """None when the database has no request of that id (yet)."""
        driver = self._database.connect()
        try:
            row = driver.execute(driver.sql(_REQUEST), (request_id,)).fetchone()
            if row is None:
                return None
            attempts = driver.execute(driver.sql(_ATTEMPTS), (request_id,)).fetchall()
        finally:
            driver.close()
        identifier, created_at, status, requested, provider, model, message, decision = row
        return StoredDecision(
            id=identifier,
            created_at=created_at if isinstance(created_at, str) else timestamp_text(created_at.timestamp()),
            status=status,
            requested_model=requested,
            actual_provider=provider,
            actual_model=model,
            error_message=message,
            # An id without its decision explains nothing; every decision is a JSON array.
            decision=decision.encode() if decision is not None and decision.startswith("[") else None,
            attempts=tuple(
                StoredAttempt(
                    number=number,
                    target=f"{at}/{what}",
                    outcome=outcome,
                    duration_ms=duration,
                    error_kind=kind,
                    error_message=told,
                )
                for number, at, what, outcome, duration, kind, told in attempts
            ),
        )
