"""Walking a plan: one target after the other until an attempt commits, with one account of every failure."""

from __future__ import annotations

import asyncio
import random
from typing import Protocol

import msgspec

from polyroute.dialects.registry import is_chat
from polyroute.engine.access import WHY_NOT, Ticket
from polyroute.engine.answer_headers import content_type, header_text, target_headers
from polyroute.engine.answers import Answer, StreamAnswer, WholeAnswer
from polyroute.engine.attempts import Attempt
from polyroute.engine.delivered import Delivered
from polyroute.engine.drills import Drills, rehearse
from polyroute.engine.failures import all_failed, broken_answer, name_timer, render_stream_error
from polyroute.engine.hedging import Hedging
from polyroute.engine.holds import Hold
from polyroute.engine.lanes import Conversation, LaneOpener, open_lane
from polyroute.engine.limits import estimate_tokens
from polyroute.engine.passed_over import PassedOver
from polyroute.engine.planning import Planned
from polyroute.engine.race import race
from polyroute.engine.rescue import Rescue, missing_end
from polyroute.engine.runtime import Choice, LiveProvider, Runtime
from polyroute.engine.settlement import Settlement, format_cost
from polyroute.engine.wishes import patience, rescue_mode
from polyroute.ports import NO_OPTIONS, AnswerReader, Call, Timeouts, Transport, WireResponse
from polyroute.routing.breakers import Breakers
from polyroute.routing.limits import Refused
from polyroute.routing.retry import NextCredential, NextTarget, RetryPolicy, SameTarget, Stop, Tried, next_step
from polyroute.types.errors import ERROR_TABLE, AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.plans import Target
from polyroute.types.records import AttemptRecord

_LARGEST_ANSWER = 256 << 20  # bytes; a whole answer beyond this is no answer that a caller could take
_LARGEST_ERROR = 1 << 20
_TIMER_STEP = 0.001  # seconds; uvloop's timers are rounded to it


class Means(Protocol):
    """What attempts are made with."""

    transport: Transport
    breakers: Breakers
    drills: Drills


class Accepted(msgspec.Struct, frozen=True):
    """Work that a provider accepted, or may have accepted, before this walk began; `credential` is a label."""

    target: Target
    credential: str | None


class LongWork(msgspec.Struct, frozen=True, kw_only=True):
    """How a durable job is walked: until `deadline` (event-loop time), with `patience` seconds for one provider. `accepted`
    is work that was begun before: its target comes first, with the credential that it was begun with, whatever the
    breakers and limits say by now."""

    deadline: float
    patience: float
    accepted: Accepted | None = None


class Execution:
    """One request on its way through its plan."""

    _passed_over: PassedOver | None = None
    _refusal: PolyrouteError | None = None
    _accepted: Accepted | None = None
    _more = 0

    def __init__(
        self, conversation: Conversation, choice: Choice, planned: Planned, runtime: Runtime, settlement: Settlement,
        means: Means, loop: asyncio.AbstractEventLoop, now: float, opener: LaneOpener = open_lane,
        hold: Hold | None = None, long: LongWork | None = None,
    ) -> None:  # fmt: skip
        """Raises PolyrouteError(invalid_request) when the caller's wishes make no sense."""
        self._conversation = conversation
        self._call: Call = conversation.call
        self._choice = choice
        self._planned = planned
        self._plan = planned.plan
        self._runtime = runtime
        self._settlement = settlement
        self._means = means
        self._breakers = means.breakers
        self._hold = hold
        self._opener = opener
        self._loop = loop
        self._left = list(planned.plan.targets)
        options = self._call.options
        self._timeouts = choice.timeouts
        self._rescue = choice.rescue
        if options is not NO_OPTIONS:
            self._timeouts = patience(choice.timeouts, self._call)
            self._rescue = rescue_mode(choice.rescue, self._call)
        self._deadline = now + self._timeouts.total
        if long is not None:
            self._timeouts = msgspec.structs.replace(choice.timeouts, total=long.patience)
            self._deadline, self._accepted = long.deadline, long.accepted
            if (accepted := long.accepted) is not None:
                others = (one for one in planned.plan.targets if one != accepted.target)
                self._left = [accepted.target, *others]

    async def run(self) -> Answer:
        """The first answer that commits. Raises PolyrouteError when no target gives one."""
        left = self._left
        while left:
            target = left.pop(0)
            if self._choice.hedging is None:
                outcome = await self.try_target(target, len(left))
            else:
                outcome = await self._try_hedged(target, self._choice.hedging)
            if isinstance(outcome, Attempt):
                return self._answer(outcome)
            match outcome:
                case NextTarget(to="other_model"):
                    failed = self._failed_target()
                    further = (*left, *self._passed.take())
                    left = self._left = [other for other in further if other.model != failed.model]
                case NextTarget(to="longer_context" | "other_filter" as to):
                    tried = {Target(one.provider, one.model) for one, _ in self._settlement.failures}
                    failed = self._failed_target()
                    further = (*left, *self._passed.take())
                    detour = self._planned.detour(self._call, to, failed, further, tried, self._loop.time())
                    left = self._left = detour
                case NextTarget():
                    pass
                case Stop():
                    break
            if not left:
                left = self._left = self._passed.revisit(self._runtime.providers, self._call, self._loop.time())
        if not self._settlement.failures:
            raise self._refusal or PolyrouteError(
                ErrorKind.UNAVAILABLE, "Every target's breaker opened while this request waited."
            )
        raise all_failed(self._settlement.failures, self._call.id)

    @property
    def _passed(self) -> PassedOver:
        """Targets for which there was no room so far."""
        if self._passed_over is None:
            self._passed_over = PassedOver(self._plan)
        return self._passed_over

    def _failed_target(self) -> Target:
        last = self._settlement.failures[-1][0]
        return Target(last.provider, last.model)

    async def _try_hedged(self, target: Target, hedging: Hedging) -> Attempt | NextTarget | Stop:
        """The target; and the next one too, when it keeps us waiting."""
        left = self._left
        if self._call.stream or not left:
            return await self.try_target(target, len(left))
        wait = hedging.patience(target)
        started = self._loop.time()
        if wait is None:
            outcome = await self.try_target(target, len(left))
        else:
            outcome = await race(self.try_target, target, left, wait, hedging)
        if isinstance(outcome, Attempt):
            hedging.observe(outcome.target, self._loop.time() - started)
        return outcome

    async def try_target(
        self, target: Target, targets_left: int, opener: LaneOpener | None = None
    ) -> Attempt | NextTarget | Stop:
        """All tries of one target: with further credentials, and again where the error table allows."""
        provider = self._runtime.providers[target.provider]
        if self._hold is not None and self._accepted is None:  # what was accepted has to be paid for anyway
            refusal = await self._hold.cover(provider, target, self._settlement.spent_usd, self._more)
            if refusal is not None:
                self._settlement.passed_over(target, refusal.message)
                self._refusal = refusal
                return NextTarget() if targets_left else Stop(refusal.message)
        operation, breakers, loop = self._call.operation, self._breakers, self._loop
        access = provider.access
        provider.retries.deposit()
        tries = 0
        used: list[str] = []
        while True:
            started = loop.time()
            begun, self._accepted = self._accepted, None
            if not breakers.begin(target, operation, started) and not self._plan.probe and begun is None:
                return NextTarget()
            ticket = (
                access.open
                if begun is None and access.limiter is None and access.pool.eased
                else await self._enter(provider, target, targets_left, used, begun)
            )
            if not isinstance(ticket, Ticket):
                return ticket
            credential = ticket.credential
            tries += 1
            record = self._settlement.begin(target, access, ticket)
            try:
                attempt = await self._attempt(provider, target, ticket, record, opener or self._opener)
            except AttemptFailed as failed:
                failure = failed.failure
            except BaseException:  # cancelled, or a job that another worker has
                breakers.release(target, operation, loop.time())
                self._settlement.abandon(record)
                raise
            else:
                now = loop.time()
                breakers.succeed(target, operation, now, started)
                if ticket is not access.open:
                    access.succeed(ticket, target.model, now, started)
                return attempt
            now = loop.time()
            self._settlement.fail(record, failure)
            access.fail(ticket, target.model, failure, now)
            if credential is not None:
                used.append(credential.label)
            credentials_left = access.pool.others_left(target.model, now, used)
            breakers.fail(
                target, operation, failure, now,
                kind=provider.row.kind, started=started, credentials_left=credentials_left,
            )  # fmt: skip
            step = next_step(
                ERROR_TABLE[failure.kind],
                failure,
                Tried(
                    on_target=tries,
                    targets_left=targets_left + len(self._passed.targets) + self._planned.reserve(failure.kind),
                    credentials_left=credentials_left,
                ),
                RetryPolicy(retries=self._choice.retries, filtered_falls_over=self._planned.filtered_falls_over),
                now=now,
                deadline=self._deadline,
                random=random.random(),  # noqa: S311 (spreads retries; nothing secret)
                budget=provider.retries,
            )
            match step:
                case SameTarget():
                    used.clear()
                    await asyncio.sleep(step.after + _TIMER_STEP)  # not a hair before the breaker's rest is over
                case NextCredential():
                    pass
                case _:
                    return step

    async def _enter(
        self, provider: LiveProvider, target: Target, targets_left: int, used: list[str], begun: Accepted | None
    ) -> Ticket | NextTarget | Stop:
        """Leave to ask a provider that has something to decide: at once, or for the last target after a wait. A target
        that is passed over for want of it is noted with the reason."""
        access, now = provider.access, self._loop.time()
        if begun is not None:
            return access.carry_on(begun.credential, now) or access.open
        tokens, last = estimate_tokens(self._call), targets_left == 0 and not self._passed.targets
        point = random.random()  # noqa: S311 (spreads load; nothing secret)
        found: Ticket | Refused | None = None
        try:
            found = access.enter(target.model, tokens, now, point, used, last=last)
            if not isinstance(found, Ticket) and last and found.limit != "credentials":
                found = await access.queue(target.model, tokens, point, used, deadline=self._deadline)
        finally:
            if not isinstance(found, Ticket):
                self._breakers.release(target, self._call.operation, self._loop.time())
        if isinstance(found, Ticket):
            return found
        reason = WHY_NOT[found.limit]
        self._settlement.passed_over(target, f"{target.provider}: {reason}")
        if not last:
            self._passed.add(target)
            return NextTarget()
        self._refusal = PolyrouteError(
            ErrorKind.RATE_LIMITED, f"{target} cannot be asked: {reason}.", retry_after=found.retry_after
        )
        return Stop(reason)

    async def _attempt(
        self, provider: LiveProvider, target: Target, ticket: Ticket, record: AttemptRecord, opener: LaneOpener
    ) -> Attempt:
        """One try. Raises AttemptFailed."""
        adapter, call, means = provider.adapter, self._call, self._means
        endpoint = adapter.endpoint(call.operation, call.dialect)
        if endpoint is None:  # the plan only holds targets that serve the operation
            raise AttemptFailed(Failure(kind=ErrorKind.UNSUPPORTED, message=f"{target} does not serve this operation."))
        try:
            lane = opener(self._conversation, adapter, endpoint, target, ticket.credential)
        except PolyrouteError as error:
            raise AttemptFailed(
                Failure(kind=error.kind, message=error.message, param=error.param, code=error.code)
            ) from error
        timeouts = provider.row.timeouts or self._timeouts
        send = lane.exchange
        sent_at = self._loop.time() if call.stream else 0.0
        if means.drills:
            await rehearse(means.drills, target.provider, call, adapter, timeouts, self._deadline)
        response = await (
            means.transport.send(lane.request, timeouts, self._deadline)
            if send is None
            else send(means.transport, lane.request, timeouts, self._deadline)
        )
        try:
            if ticket is not provider.access.open and (quota := adapter.quota(response.headers)) is not None:
                provider.access.learn(ticket, target.model, quota, self._loop.time())
            if not 200 <= response.status < 300:
                raise AttemptFailed(await self._classify(provider, response))
            if lane.model is not None:
                record.model = lane.model
            told_type = content_type(response.headers)
            reader = lane.reader(told_type)
            rest = None if call.stream else response.rest()
            if rest is None:
                out, whole = await self._read(response, reader, timeouts, sent_at)
            else:
                out, whole = reader.feed(rest) + reader.end(), True
        except BaseException:
            response.abort()
            raise
        return Attempt(
            provider, target, lane, response, reader, record, timeouts, lane.media_type(told_type), out, whole
        )

    async def _classify(self, provider: LiveProvider, response: WireResponse) -> Failure:
        try:
            body = await response.read(min(self._deadline, self._loop.time() + 5), _LARGEST_ERROR)
        except AttemptFailed:
            body = b""  # the status alone has to do
        return provider.adapter.classify(response.status, response.headers, body)

    async def _read(
        self, response: WireResponse, reader: AnswerReader, timeouts: Timeouts, sent_at: float
    ) -> tuple[bytes, bool]:
        """Up to the commit point: the first meaningful event of a stream, the end of a whole answer. Gives what the caller
        may have by then, and whether that is all."""
        stream = self._call.stream
        first_token = min(sent_at + timeouts.first_token, self._deadline)
        held: list[bytes] = []
        size = 0
        while True:
            limit = first_token if stream else min(self._loop.time() + timeouts.idle, self._deadline)
            try:
                data = await response.receive(limit)
            except AttemptFailed as failed:
                raise name_timer(failed, stream=stream) from failed
            if not data:
                held.append(reader.end())
                return b"".join(held), True
            size += len(data)
            if size > _LARGEST_ANSWER and not stream:
                raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message="The answer is larger than 256 MB."))
            held.append(reader.feed(data))
            if stream and reader.seen.meaningful:
                return b"".join(held), False

    def _answer(self, attempt: Attempt) -> Answer:
        settlement, target, lane = self._settlement, attempt.target, attempt.lane
        simulated = attempt.provider.row.simulated
        headers = [
            (b"content-type", attempt.media_type),
            (b"x-polyroute-request-id", self._call.id.encode()),
            *target_headers(target if lane.model is None else Target(target.provider, lane.model)),
            (b"x-polyroute-attempts", b"%d" % len(settlement.record.attempts)),
        ]
        if lane.dropped:
            headers.append((b"x-polyroute-dropped", header_text(", ".join(lane.dropped))))
        if lane.notes:
            headers.append((b"x-polyroute-notes", header_text("; ".join(lane.notes))))
        if simulated:
            headers.append((b"x-polyroute-simulated", b"1"))
        settlement.first_token(attempt.record)
        recorder = settlement.recorder
        if attempt.whole:
            if recorder is not None:
                recorder.whole(attempt.out)
            response = attempt.response
            settlement.served(attempt.record, attempt.reader.seen, response.status, lane.dropped, simulated=simulated)
            if settlement.cost is not None:
                headers.append((b"x-polyroute-cost-usd", format_cost(settlement.cost).encode()))
            return WholeAnswer(response.status, headers, attempt.out)
        can_be_rescued = (
            self._rescue != "error" and (self._left or self._passed.targets) and is_chat(self._call.dialect)
        )
        delivered = Delivered(self._call.dialect) if can_be_rescued else None
        return StreamAnswer(
            headers, attempt, self, deadline=self._deadline, delivered=delivered, loop=self._loop, recorder=recorder
        )

    # ---------------------------------------------------------------- how a stream ends

    def served(self, attempt: Attempt) -> None:
        """The answer is whole."""
        self._settlement.served(
            attempt.record, attempt.reader.seen, attempt.response.status, attempt.lane.dropped,
            simulated=attempt.provider.row.simulated,
        )  # fmt: skip

    def broke(self, attempt: Attempt, failure: Failure) -> PolyrouteError:
        """The answer broke off; gives the caller's error, should nobody go on with it."""
        self._settlement.fail(attempt.record, failure)
        self._breakers.fail(
            attempt.target, self._call.operation, failure, self._loop.time(), kind=attempt.provider.row.kind
        )
        return broken_answer(*self._settlement.failures[-1], self._call.id)

    def missing_end(self, attempt: Attempt, delivered: Delivered) -> bytes | None:
        """The rest of a stream that broke when all had been said; None when there was more to come."""
        return missing_end(delivered, self._call.dialect, attempt.reader)

    async def rescue(self, attempt: Attempt, failure: Failure, delivered: Delivered) -> Attempt | None:
        """The attempt that goes on with a broken stream; None when nobody can."""
        self._left.extend(self._passed.revisit(self._runtime.providers, self._call, self._loop.time()))
        self._more = 4 * attempt.reader.seen.characters  # the next prompt holds what was said so far
        rescue = Rescue(self._conversation, self._rescue, self._left, self._runtime, self._settlement, self._deadline)
        followed = await rescue.run(attempt, failure, delivered, self.try_target)
        if followed is not None:
            self._settlement.first_token(followed.record)
        return followed

    def ended(self, attempt: Attempt, error: PolyrouteError | None) -> None:
        """The stream is over before its end: with an error, or (None) because the caller left."""
        self._settlement.broken_off(
            attempt.record, attempt.reader.seen, error, simulated=attempt.provider.row.simulated
        )

    def render_error(self, error: PolyrouteError) -> bytes | None:
        """How a relayed stream says that it failed; None where its dialect has no words for that."""
        return render_stream_error(self._call, error)
