"""One request's way into the ledger: attempts are noted as they happen, and the whole is settled exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

import msgspec

from polyroute import pricing
from polyroute.engine.access import ProviderAccess, Ticket
from polyroute.engine.planning import Planned, SharedDecision
from polyroute.ports import Call, Ledger, Observation, PriceBook
from polyroute.routing.decision import encode_decision
from polyroute.routing.observations import Observations
from polyroute.types.errors import ERROR_TABLE, ErrorKind, FailedAttempt, Failure, PolyrouteError
from polyroute.types.plans import Target
from polyroute.types.records import AttemptRecord, RequestRecord, RequestStatus
from polyroute.types.usage import Cost, Usage

_CHARACTERS_PER_TOKEN = 4  # a common rule of thumb for English text; only used where a stream was broken off


class Settlement:
    """The ledger entry of one request while it is under way.

    `settle` is synchronous and idempotent, so that no cancellation can come between an answer and its record.
    """

    __slots__ = (
        "_access", "_call", "_ended", "_failed", "_ledger", "_observations", "_planned", "_prices", "_record", "_settled",
        "_started", "_ticket", "_ttft", "cost", "current",
    )  # fmt: skip

    def __init__(self, call: Call, ledger: Ledger, prices: PriceBook) -> None:
        self._call = call
        self._ledger = ledger
        self._prices = prices
        self._started = time.perf_counter()
        self._settled = False
        self._failed: list[tuple[FailedAttempt, Failure]] = []
        self._planned: Planned | None = None
        self._observations: Observations | None = None
        self._ttft: float | None = None
        self.current: AttemptRecord | None = None
        self.cost: Cost | None = None
        self._access: ProviderAccess | None = None
        self._ticket: Ticket | None = None
        self._ended: Callable[[RequestRecord], None] | None = None
        key = call.key
        self._record = RequestRecord(
            id=call.id, created_at=time.time(), operation=call.operation, status="PROCESSING",
            requested_model=call.model, dialect=call.dialect, stream=call.stream,
            user_id=call.options.user or (key.user_id if key is not None else None),
            key_id=key.id if key is not None else None, tags=call.options.tags or {},
        )  # fmt: skip

    @property
    def attempts(self) -> int:
        """How many attempts were begun."""
        return len(self._record.attempts)

    @property
    def failures(self) -> list[tuple[FailedAttempt, Failure]]:
        """The attempts that failed, in order: what may be told of each, and why it failed."""
        return self._failed

    def planned(self, planned: Planned) -> None:
        """The plan that is walked."""
        record, plan = self._record, planned.plan
        self._planned, self._observations = planned, planned.observations
        record.route, record.policy = plan.route, plan.policy
        if plan.drops:
            record.drops = [(drop.target, drop.reason) for drop in plan.drops]

    def labelled(self, model_id: str) -> None:
        """The label that the caller's `model` is."""
        self._record.model_id = model_id

    def at_end(self, ended: Callable[[RequestRecord], None]) -> None:
        """Call this when the request is settled, just before it is written down."""
        self._ended = ended

    def passed_over(self, target: Target, reason: str) -> None:
        """A target of the plan is not tried after all."""
        self._record.drops.append((str(target), reason))

    def begin(
        self, target: Target, credential: str | None, access: ProviderAccess | None = None, ticket: Ticket | None = None
    ) -> None:
        """An attempt begins. The ticket is given back when it ends, however it ends."""
        if self._access is not None:
            self._give_back()
        if access is not None:
            access.load.active += 1
            self._access, self._ticket = access, ticket
        self.current = AttemptRecord(
            number=len(self._record.attempts) + 1, provider=target.provider, model=target.model,
            credential=credential, started_at=time.time(),
        )  # fmt: skip
        self._record.attempts.append(self.current)
        if self._observations is not None:
            self._ttft = None
            self._observations.begin(f"{target.provider}/{target.model}")

    def fail(self, failure: Failure) -> None:
        """The current attempt failed."""
        attempt = self._close_attempt()
        if self._observations is not None:
            self._observe(attempt, success=False if ERROR_TABLE[failure.kind].counts else None)
        attempt.outcome = "failed"
        attempt.http_status = failure.http_status
        attempt.error_kind = failure.kind
        attempt.error_message = failure.message
        attempt.error_detail = failure.detail
        tried = FailedAttempt(attempt.provider, attempt.model, failure.kind, failure.message, failure.http_status)
        self._failed.append((tried, failure))

    def _close_attempt(self) -> AttemptRecord:
        attempt = self.current
        assert attempt is not None
        self.current = None
        attempt.duration_ms = (time.time() - attempt.started_at) * 1000
        if self._access is not None:
            self._give_back()
        return attempt

    def _give_back(self) -> None:
        access, ticket, self._access = self._access, self._ticket, None
        if access is None:
            return
        access.load.active -= 1
        if ticket is not None and ticket is not access.open:
            access.leave(ticket, self._record.attempts[-1], time.monotonic())

    def first_token(self) -> None:
        """The attempt committed."""
        if self._observations is not None and self.current is not None:
            self._ttft = time.time() - self.current.started_at
        if self._record.ttft_ms is None:
            self._record.ttft_ms = (time.perf_counter() - self._started) * 1000

    def served(self, seen: Observation, http_status: int, dropped: tuple[str, ...], *, simulated: bool) -> None:
        """The current attempt gave a whole answer; the request is COMPLETED."""
        attempt = self.current
        assert attempt is not None
        self._note_answer(attempt, seen, seen.usage, http_status, simulated=simulated)
        self._close_attempt().outcome = "served"
        if self._observations is not None:
            self._observe(attempt, success=True)
        self._record.dropped_parameters = list(dropped)
        self._settle("COMPLETED")

    def _note_answer(
        self, attempt: AttemptRecord, seen: Observation, usage: Usage | None, http_status: int, *, simulated: bool
    ) -> None:
        """Who answered, and what it consumed and cost."""
        record = self._record
        record.actual_provider, record.actual_model = attempt.provider, attempt.model
        record.finish_reason = seen.finish
        record.simulated = simulated
        attempt.http_status = http_status
        attempt.upstream_request_id = seen.upstream_id
        if usage is None:
            return
        record.input_tokens, record.output_tokens = usage.input, usage.output
        record.cache_read_tokens, record.reasoning_tokens = usage.cache_read, usage.reasoning
        record.cache_write_5m_tokens, record.cache_write_1h_tokens = usage.cache_write_5m, usage.cache_write_1h
        record.audio_input_tokens, record.audio_output_tokens = usage.audio_input, usage.audio_output
        record.images, record.seconds, record.characters = usage.images, usage.seconds, usage.characters
        record.usage_estimated = usage.estimated
        if usage.raw is not None:
            record.usage_raw = msgspec.json.encode(usage.raw).decode()
        attempt.input_tokens, attempt.output_tokens = usage.input_total, usage.output_total
        cost = pricing.cost_of(usage, self._prices.price(attempt.provider, attempt.model))
        if cost is not None:
            self.cost = cost
            record.cost_usd = attempt.cost_usd = cost.usd
            record.cost_origin = "simulated" if simulated else cost.origin
            record.price_version = cost.price_version

    def broken_off(self, seen: Observation | None, error: PolyrouteError | None, *, simulated: bool) -> None:
        """The answer ended early: with an error after it had begun, or (no error) because the caller left.

        What was delivered is counted and marked as estimated.
        """
        if self._settled:
            return
        if seen is not None and seen.meaningful:
            self._note_answer(self._record.attempts[-1], seen, _estimated(seen), 200, simulated=simulated)
        if self.current is not None:
            attempt = self._close_attempt()
            attempt.outcome = "cancelled"
            if self._observations is not None:
                self._observe(attempt, success=None)
        if error is None:
            error = PolyrouteError(ErrorKind.CANCELLED, "The caller left before the answer was complete.")
        self.refused(error)

    def refused(self, error: PolyrouteError) -> None:
        """The request ends with an error (or CANCELLED)."""
        record = self._record
        record.http_status = error.status
        record.error_kind, record.error_message = error.kind, error.message
        self._settle("CANCELLED" if error.kind is ErrorKind.CANCELLED else "FAILED")

    def _settle(self, status: RequestStatus) -> None:
        if self._settled:
            return
        self._settled = True
        self._record.status = status
        self._record.latency_ms = (time.perf_counter() - self._started) * 1000
        if self._access is not None:
            self._give_back()
        if self._ended is not None:
            self._ended(self._record)
        shared = None if self._planned is None else self._note_decision(self._planned)
        self._ledger.record(self._record)
        if shared is not None:
            shared.told = True

    def _note_decision(self, planned: Planned) -> SharedDecision | None:
        """Put the decision into the record; gives the shared one that the record now carries to the database."""
        record, decision = self._record, planned.decision
        if not isinstance(decision, SharedDecision) or planned.detours:
            record.decision = encode_decision(planned.whole).decode()
            return None
        record.decision = decision.id
        if decision.told:
            return None
        record.shared_decision = decision.text
        return decision

    def _observe(self, attempt: AttemptRecord, *, success: bool | None) -> None:
        """Tell what the attempt showed of its target; None: nothing.

        Of a streamed answer that is the time to its first token and the pace from there; of a whole one its pace alone,
        or without tokens to count, how long it took.
        """
        observations, name = self._observations, f"{attempt.provider}/{attempt.model}"
        assert observations is not None
        if success is None:
            observations.release(name)
            return
        seconds, ttft, pace = attempt.duration_ms / 1000, None, None
        if success:
            tokens = attempt.output_tokens
            ttft = self._ttft if self._call.stream or not tokens else None
            if tokens and seconds > (ttft or 0.0):
                pace = tokens / (seconds - (ttft or 0.0))
        observations.end(name, time.monotonic(), success=success, ttft=ttft, tokens_per_second=pace)


def _estimated(seen: Observation) -> Usage | None:
    """Usage of a broken answer: what the provider said so far, else a guess from the text that was delivered."""
    if seen.usage is not None:
        return msgspec.structs.replace(seen.usage, estimated=True)
    if seen.characters == 0:
        return None
    return Usage(output=max(1, seen.characters // _CHARACTERS_PER_TOKEN), estimated=True)


def format_cost(cost: Cost) -> str:
    """US dollars without an exponent, as `x-polyroute-cost-usd` says it."""
    return f"{cost.usd.normalize():f}" if cost.usd else str(Decimal(0))
