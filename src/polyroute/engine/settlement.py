"""One request's way into the ledger: attempts are noted as they happen, and the whole is settled exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import reduce

import msgspec

from polyroute import pricing
from polyroute.engine.access import ProviderAccess, Ticket
from polyroute.engine.admission import user_of
from polyroute.engine.content import Recorder
from polyroute.engine.holds import Hold
from polyroute.engine.planning import Planned, SharedDecision
from polyroute.engine.totals import add_cost, add_usage, estimate_usage
from polyroute.ports import Call, Ledger, Observation, PriceBook
from polyroute.routing.decision import encode_decision
from polyroute.routing.explanation import summarise
from polyroute.routing.observations import Observations
from polyroute.types.errors import ERROR_TABLE, ErrorKind, FailedAttempt, Failure, PolyrouteError
from polyroute.types.plans import Target
from polyroute.types.records import AttemptOutcome, AttemptRecord, RequestRecord, RequestStatus
from polyroute.types.usage import Cost, Usage

_ONLY_TOKENS = frozenset({"chat", "embed", "moderate"})


class Settlement:
    """The ledger entry of one request while it is under way.

    `settle` is synchronous and idempotent, so that no cancellation can come between an answer and its record.
    """

    __slots__ = (
        "_call", "_credits", "_ended", "_failed", "_ledger", "_observations", "_open", "_planned", "_prices",
        "_settled", "_spent", "_started", "_ttft", "cost", "hold", "record", "recorder",
    )  # fmt: skip

    def __init__(
        self, call: Call, ledger: Ledger, prices: PriceBook, teams: Mapping[str, str] | None = None
    ) -> None:  # fmt: skip
        """`teams` are those of all users."""
        self._call = call
        self._ledger = ledger
        self._prices = prices
        self._started = time.perf_counter()
        self._settled = False
        self._failed: list[tuple[FailedAttempt, Failure]] = []
        self._planned: Planned | None = None
        self._observations: Observations | None = None
        self._ttft: float | None = None
        self._open: list[tuple[AttemptRecord, ProviderAccess, Ticket]] = []
        self._spent: list[tuple[AttemptRecord, Usage | None, Cost | None]] = []
        self.cost: Cost | None = None
        self.recorder: Recorder | None = None
        self._ended: Callable[[RequestRecord], None] | None = None
        self.hold: Hold | None = None
        """What is charged when the request is settled."""
        self._credits: Decimal | None = None
        key = call.key
        user = user_of(call)
        self.record = RequestRecord(
            id=call.id, created_at=time.time(), operation=call.operation, status="PROCESSING",
            requested_model=call.model, dialect=call.dialect, stream=call.stream,
            user_id=user,
            key_id=key.id if key is not None else None, tags=call.options.tags or {},
            team_id=None if teams is None or user is None else teams.get(user),
        )  # fmt: skip

    def resume(self, created_at: float, attempts: Iterable[AttemptRecord]) -> None:
        """The request was begun then, perhaps by another process, and these attempts of it have failed since."""
        self.record.created_at = created_at
        self._started -= max(time.time() - created_at, 0.0)
        for attempt in attempts:
            self.record.attempts.append(attempt)
            kind = ErrorKind(attempt.error_kind or ErrorKind.UNAVAILABLE)
            message = attempt.error_message or ""
            tried = FailedAttempt(attempt.provider, attempt.model, kind, message, attempt.http_status)
            self._failed.append((tried, Failure(kind=kind, message=message, http_status=attempt.http_status)))

    def suspend(self) -> None:
        """Nobody works on the request for now, and it is not over: nothing is written down; another Settlement goes on."""
        if self._settled:
            return
        self._settled = True
        for attempt, _, _ in tuple(self._open):
            self._close_attempt(attempt, "cancelled", success=None)
        if self._ended is not None:
            self._ended(self.record)
        if self.hold is not None:
            self.hold.settle(self.record)

    @property
    def failures(self) -> list[tuple[FailedAttempt, Failure]]:
        """The attempts that failed, in order: what may be told of each, and why it failed."""
        return self._failed

    def planned(self, planned: Planned) -> None:
        """The plan that is walked."""
        record, plan = self.record, planned.plan
        self._planned = planned
        self._observations = planned.observations
        record.route, record.policy = plan.route, plan.policy
        if plan.drops:
            record.drops = [(drop.target, drop.reason) for drop in plan.drops]

    def at_end(self, ended: Callable[[RequestRecord], None]) -> None:
        """Call this when the request is settled, just before it is written down."""
        self._ended = ended

    def costs_credits(self, amount: Decimal | None) -> None:
        """What the caller is charged in credits when anything is served."""
        self._credits = amount

    @property
    def spent_usd(self) -> Decimal | None:
        """What broken attempts of this request have cost already; None when none was paid for."""
        if not self._spent:
            return None
        return sum((cost.usd for _, _, cost in self._spent if cost is not None), Decimal(0))

    def passed_over(self, target: Target, reason: str) -> None:
        """A target of the plan is not tried after all."""
        self.record.drops.append((str(target), reason))

    def begin(self, target: Target, access: ProviderAccess, ticket: Ticket) -> AttemptRecord:
        """An attempt begins; others may be under way beside it. Its ticket is given back when it ends, however it ends."""
        attempts, credential = self.record.attempts, ticket.credential
        attempt = AttemptRecord(
            number=len(attempts) + 1, provider=target.provider, model=target.model,
            credential=None if credential is None else credential.label, started_at=time.time(),
        )  # fmt: skip
        attempts.append(attempt)
        access.load.active += 1
        self._open.append((attempt, access, ticket))
        if self._observations is not None:
            self._ttft = None
            self._observations.begin(f"{target.provider}/{target.model}")
        return attempt

    def fail(self, attempt: AttemptRecord, failure: Failure) -> None:
        """An attempt failed."""
        self._close_attempt(attempt, "failed", success=False if ERROR_TABLE[failure.kind].counts else None)
        attempt.http_status = failure.http_status
        attempt.error_kind = failure.kind
        attempt.error_message = failure.message
        attempt.error_detail = failure.detail
        tried = FailedAttempt(attempt.provider, attempt.model, failure.kind, failure.message, failure.http_status)
        self._failed.append((tried, failure))

    def abandon(self, attempt: AttemptRecord) -> None:
        """An attempt was given up, because another one was faster or nobody waits any more."""
        if any(one is attempt for one, _, _ in self._open):
            self._close_attempt(attempt, "cancelled", success=None)

    def _close_attempt(self, attempt: AttemptRecord, outcome: AttemptOutcome, *, success: bool | None) -> None:
        """`success` is what it says of the target; None: nothing."""
        attempt.outcome = outcome
        attempt.duration_ms = (time.time() - attempt.started_at) * 1000
        for held in self._open:
            if held[0] is attempt:
                self._open.remove(held)
                _give_back(*held)
                break
        if self._observations is not None:
            self._observe(attempt, success=success)

    def first_token(self, attempt: AttemptRecord) -> None:
        """The attempt committed."""
        if self._observations is not None:
            self._ttft = time.time() - attempt.started_at
        if self.record.ttft_ms is None:
            self.record.ttft_ms = (time.perf_counter() - self._started) * 1000

    def served(
        self, attempt: AttemptRecord, seen: Observation, http_status: int, dropped: tuple[str, ...], *, simulated: bool
    ) -> None:
        """An attempt gave a whole answer, or the rest of one; the request is COMPLETED."""
        if self._settled:
            return
        self._note_answer(attempt, seen, seen.usage, http_status, simulated=simulated)
        self._close_attempt(attempt, "served", success=True)
        if dropped:
            self.record.dropped_parameters = list(dropped)
        self._settle("COMPLETED")

    def spent(self, attempt: AttemptRecord, seen: Observation, prompt_tokens: int, *, simulated: bool) -> Usage | None:
        """A broken attempt was paid for, and another one goes on from it; gives all that was used up so far, estimated."""
        usage = estimate_usage(seen, prompt_tokens)
        cost = self._note_answer(attempt, seen, usage, 200, simulated=simulated)
        self._spent.append((attempt, usage, cost))
        return reduce(add_usage, (used for _, used, _ in self._spent))

    def _note_answer(
        self, attempt: AttemptRecord, seen: Observation, usage: Usage | None, http_status: int, *, simulated: bool
    ) -> Cost | None:
        """Who answered, and what it and those before it consumed and cost; gives what it cost alone."""
        record = self.record
        record.actual_provider, record.actual_model = attempt.provider, attempt.model
        record.finish_reason = seen.finish
        record.simulated = simulated
        attempt.http_status = http_status
        attempt.upstream_request_id = seen.upstream_id
        cost = None
        if usage is not None:
            attempt.input_tokens, attempt.output_tokens = usage.input_total, usage.output_total
            cost = pricing.cost_of(usage, self._prices.price(attempt.provider, attempt.model))
            if cost is not None:
                attempt.cost_usd = cost.usd
        total, whole_cost = usage, cost
        for _, earlier, earlier_cost in self._spent:
            total, whole_cost = add_usage(earlier, total), add_cost(earlier_cost, whole_cost)
        if total is not None:
            self._note_usage(total)
        self.cost = whole_cost
        if whole_cost is None:
            if record.cost_usd is not None:  # of the part that had been answered before
                record.cost_usd = record.cost_origin = record.price_version = None
        else:
            record.cost_usd = whole_cost.usd
            record.cost_origin = "simulated" if simulated else whole_cost.origin
            record.price_version = whole_cost.price_version
            if usage is not None and whole_cost.origin == "reported" and not self._spent:
                priced = pricing.priced_cost(usage, self._prices.price(attempt.provider, attempt.model))
                record.priced_cost_usd = None if priced is None else priced.usd
        return cost

    def _note_usage(self, usage: Usage) -> None:
        """Of a request whose attempts add up, all of them: what was told once stays told, so nothing is taken back."""
        record = self.record
        record.input_tokens, record.output_tokens = usage.input, usage.output
        if usage.cache_read is not None:
            record.cache_read_tokens = usage.cache_read
        if usage.reasoning is not None:
            record.reasoning_tokens = usage.reasoning
        if usage.cache_write_5m is not None:
            record.cache_write_5m_tokens = usage.cache_write_5m
        if usage.audio_input is not None:
            record.audio_input_tokens = usage.audio_input
        if usage.audio_output is not None:
            record.audio_output_tokens = usage.audio_output
        media = usage.image_input is not None or usage.image_output is not None or usage.seconds is not None
        if media or usage.reported_credits is not None or record.operation not in _ONLY_TOKENS:
            _note_media(record, usage)
        if usage.tier is not None or usage.web_searches is not None or usage.cache_write_1h is not None:
            record.service_tier, record.web_searches = usage.tier, usage.web_searches
            record.cache_write_1h_tokens = usage.cache_write_1h
        record.usage_estimated = usage.estimated
        if usage.raw is not None:
            record.usage_raw = msgspec.json.encode(usage.raw).decode()

    def broken_off(
        self, attempt: AttemptRecord | None, seen: Observation | None, error: PolyrouteError | None, *, simulated: bool
    ) -> None:
        """The answer ended early: with an error after it had begun, or (no error) because the caller left.

        What was delivered by the attempt that is given is counted and marked as estimated.
        """
        if self._settled:
            return
        counted = any(attempt is broken for broken, _, _ in self._spent)
        if attempt is not None and seen is not None and seen.meaningful and not counted:
            self._note_answer(attempt, seen, estimate_usage(seen), 200, simulated=simulated)
        for open_attempt, _, _ in tuple(self._open):
            self._close_attempt(open_attempt, "cancelled", success=None)
        if error is None:
            error = PolyrouteError(ErrorKind.CANCELLED, "The caller left before the answer was complete.")
        self.refused(error)

    def refused(self, error: PolyrouteError) -> None:
        """The request ends with an error (or CANCELLED), which tells the decision where the caller wants to see it."""
        if self._call.options.explain and self._planned is not None:
            error.headers = (*error.headers, (b"x-polyroute-explain", summarise(self._planned.whole).encode()))
        record = self.record
        record.http_status = error.status
        record.error_kind, record.error_message = error.kind, error.message
        self._settle("CANCELLED" if error.kind is ErrorKind.CANCELLED else "FAILED")

    def _settle(self, status: RequestStatus) -> None:
        if self._settled:
            return
        self._settled = True
        self.record.status = status
        self.record.latency_ms = (time.perf_counter() - self._started) * 1000
        while self._open:
            _give_back(*self._open.pop())
        if self.recorder is not None:
            self.recorder.fill(self.record)
        if self._ended is not None:
            self._ended(self.record)
        if self._credits is not None and self.record.actual_provider is not None:
            self.record.credits = self._credits
        if self.hold is not None:
            self.hold.settle(self.record)
        shared = None if self._planned is None else self._note_decision(self._planned)
        self._ledger.record(self.record)
        if shared is not None:
            shared.told = True

    def _note_decision(self, planned: Planned) -> SharedDecision | None:
        """Put the decision into the record; gives the shared one that the record now carries to the database."""
        record, decision = self.record, planned.decision
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


def _give_back(attempt: AttemptRecord, access: ProviderAccess, ticket: Ticket) -> None:
    access.load.active -= 1
    if ticket is not access.open:
        access.leave(ticket, attempt, time.monotonic())


def _note_media(record: RequestRecord, usage: Usage) -> None:
    record.seconds, record.characters = usage.seconds, usage.characters
    record.image_input_tokens, record.image_output_tokens = usage.image_input, usage.image_output
    record.images, record.image_size, record.image_quality = usage.images, usage.image_size, usage.image_quality
    record.megapixels, record.video_seconds, record.video_size = usage.megapixels, usage.video_seconds, usage.video_size
    record.provider_requests, record.compute_seconds = usage.requests, usage.compute_seconds
    record.hardware, record.reported_credits = usage.hardware, usage.reported_credits


def format_cost(cost: Cost) -> str:
    """US dollars without an exponent, as `x-polyroute-cost-usd` says it."""
    return f"{cost.usd.normalize():f}" if cost.usd else str(Decimal(0))
