"""State that lasts: the ledger, keys, kept answers, prices and decisions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from polyroute.types.records import KeyRecord, RequestRecord
from polyroute.types.usage import Price


class Ledger(Protocol):
    """Where settled requests go."""

    def record(self, entry: RequestRecord) -> None:
        """Durable against a crash of the process when it returns; does not block on the database."""


class KeyStore(Protocol):
    """The keys that we issued."""

    def find(self, presented: str) -> KeyRecord | None:
        """The key that was presented, if we issued it (revoked ones included)."""

    def named(self, key_id: str) -> KeyRecord | None:
        """The key of this id (revoked ones included)."""


class KeptResponse(msgspec.Struct, frozen=True):
    """An answer of the Responses API: `response` is the object as it was sent, `items` the JSON list of the whole
    conversation up to and with it."""

    id: str
    response: bytes
    items: bytes


class ResponseStore(Protocol):
    """Answers of the Responses API, by id and by the key that asked; blocking, called from worker threads."""

    @property
    def days(self) -> int:
        """For how long they are kept; 0 means not at all."""

    def get(self, identifier: str, key_id: str | None) -> KeptResponse | None:
        """None when this key has none of that id."""

    def keep(self, kept: KeptResponse, key_id: str | None) -> None:
        """Keep one."""

    def forget(self, identifier: str, key_id: str | None) -> bool:
        """Delete one; False when there was none."""


class PriceBook(Protocol):
    """Rate cards by target."""

    @property
    def loaded(self) -> bool:
        """Whether `price` answers at once; before that it waits until the tables are read."""

    def price(self, provider: str, model: str) -> Price | None:
        """None when unknown."""


class StoredDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A settled request as far as its explanation needs it. `decision` is `routing.decision`'s JSON, None for a request
    that was refused before it was planned."""

    id: str
    created_at: str
    status: str
    requested_model: str
    actual_provider: str | None
    actual_model: str | None
    error_message: str | None
    decision: bytes | None
    attempts: tuple[StoredAttempt, ...]


class StoredAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of a settled request."""

    number: int
    target: str
    outcome: str
    duration_ms: float
    error_kind: str | None
    error_message: str | None


class DecisionReader(Protocol):
    """Decisions of settled requests; blocking, called from worker threads."""

    def decision(self, request_id: str) -> StoredDecision | None:
        """None when the database has no request of that id (yet)."""


class LedgerReader(Protocol):
    """Aggregates for operators; blocking, called from worker threads."""

    def provider_stats(self) -> Sequence[ProviderStats]:
        """Requests and cost by category and provider over the whole ledger."""


class ProviderStats(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says of one provider in one category. Money in USD, time in milliseconds."""

    category: str
    provider: str
    requests: int
    successes: int
    failures: int
    total_cost: float | None
    unpriced: int
    avg_time: float | None
