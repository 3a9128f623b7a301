"""Walking a plan: one target after the other until an attempt commits, with one account of every failure."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from functools import lru_cache

import msgspec

from polyroute.engine.access import WHY_NOT, Ticket
from polyroute.engine.answers import Answer, StreamAnswer, WholeAnswer
from polyroute.engine.drills import Drills, rehearse
from polyroute.engine.failures import all_failed, broken_answer
from polyroute.engine.lanes import Conversation, Lane, open_lane
from polyroute.engine.limits import estimate_tokens
from polyroute.engine.planning import Planned
from polyroute.engine.runtime import LiveProvider, Runtime
from polyroute.engine.settlement import Settlement, format_cost
from polyroute.ports import AnswerReader, Call, Headers, Timeouts, Transport, WireResponse
from polyroute.routing.breakers import Breakers
from polyroute.routing.retry import NextCredential, NextTarget, RetryPolicy, SameTarget, Stop, Tried, next_step
from polyroute.types.errors import ERROR_TABLE, AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.plans import Target

_LARGEST_ANSWER = 256 << 20  # bytes; a whole answer beyond this is no answer that a caller could take
_LARGEST_ERROR = 1 << 20
_TIMER_STEP = 0.001  # seconds; uvloop's timers are rounded to it

Renderer = Callable[[PolyrouteError], bytes | None]
"""How a stream that has begun ends with an error in the caller's dialect; None where it has no words for that."""


class Execution:
    """One request on its way through its plan."""

    def __init__(
        self, conversation: Conversation, planned: Planned, runtime: Runtime, settlement: Settlement, transport: Transport,
        breakers: Breakers, *, timeouts: Timeouts, deadline: float, retries: int, render_error: Renderer,
        loop: asyncio.AbstractEventLoop, drills: Drills,
    ) -> None:  # fmt: skip
        self._conversation = conversation
        self._call: Call = conversation.call
        self._planned = planned
        self._plan = planned.plan
        self._runtime = runtime
        self._settlement = settlement
        self._transport = transport
        self._timeouts = timeouts
        self._deadline = deadline
        self._breakers = breakers
        self._drills = drills
        self._retries = retries
        self._render_error = render_error
        self._loop = loop

    async def run(self) -> Answer:
        """The first answer that commits. Raises PolyrouteError when no target gives one."""
        left = deque(self._plan.targets)
        while left:
            target = left.popleft()
            outcome = await self._try_target(self._runtime.providers[target.provider], target, len(left))
            match outcome:
                case NextTarget(to="other_model"):
                    left = deque(other for other in left if other.model != target.model)
                case NextTarget(to="longer_context" | "other_filter" as to):
                    tried = {Target(one.provider, one.model) for one, _ in self._settlement.failures}
                    left = deque(self._planned.detour(to, target, left, tried, self._loop.time()))
                case NextTarget():
                    pass
                case Stop():
                    break
                case answer:
                    return answer
        if not self._settlement.failures:
            raise PolyrouteError(ErrorKind.UNAVAILABLE, "Every target's breaker opened while this request waited.")
        raise all_failed(self._settlement.failures, self._call.id)

    async def _try_target(
        self, provider: LiveProvider, target: Target, targets_left: int
    ) -> Answer | NextTarget | Stop:
        """All tries of one target: with further credentials, and again where the error table allows."""
        operation, breakers, loop = self._call.operation, self._breakers, self._loop
        access = provider.access
        provider.retries.deposit()
        tries = 0
        used: list[str] = []
        while True:
            started = loop.time()
            if not breakers.begin(target, operation, started) and not self._plan.probe:
                return NextTarget()
            ticket = access.open
            if not access.plain:
                try:
                    entered = await self._enter(provider, target, targets_left, used)
                except BaseException:
                    breakers.release(target, operation, loop.time())
                    raise
                if not isinstance(entered, Ticket):
                    breakers.release(target, operation, loop.time())
                    return entered
                ticket, started = entered, loop.time()
            credential = ticket.credential
            tries += 1
            self._settlement.begin(target, credential.label if credential is not None else None, access, ticket)
            try:
                answer = await self._attempt(provider, target, ticket)
            except AttemptFailed as failed:
                failure = failed.failure
            except asyncio.CancelledError:
                breakers.release(target, operation, loop.time())
                raise
            else:
                now = loop.time()
                breakers.succeed(target, operation, now, started)
                if ticket is not access.open:
                    access.succeed(ticket, target.model, now, started)
                return answer
            now = loop.time()
            self._settlement.fail(failure)
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
                    targets_left=targets_left + self._planned.reserve(failure.kind),
                    credentials_left=credentials_left,
                ),
                RetryPolicy(retries=self._retries, filtered_falls_over=self._planned.filtered_falls_over),
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
        self, provider: LiveProvider, target: Target, targets_left: int, used: list[str]
    ) -> Ticket | NextTarget | Stop:
        """Leave to ask a provider that has something to decide: at once, or for the last target after a wait. A target
        that is passed over for want of it is noted with the reason."""
        access, now = provider.access, self._loop.time()
        tokens, last = estimate_tokens(self._call), targets_left == 0
        point = random.random()  # noqa: S311 (spreads load; nothing secret)
        found = access.enter(target.model, tokens, now, point, used, last=last)
        if not isinstance(found, Ticket) and last and found.limit != "credentials":
            found = await access.queue(target.model, tokens, point, used, deadline=self._deadline)
        if isinstance(found, Ticket):
            return found
        reason = WHY_NOT[found.limit]
        self._settlement.passed_over(target, f"{target.provider}: {reason}")
        if not last:
            return NextTarget()
        if not self._settlement.failures:
            raise PolyrouteError(
                ErrorKind.RATE_LIMITED, f"{target} cannot be asked: {reason}.", retry_after=found.retry_after
            )
        return Stop(reason)

    async def _attempt(self, provider: LiveProvider, target: Target, ticket: Ticket) -> Answer:
        """One try. Raises AttemptFailed."""
        adapter = provider.adapter
        endpoint = adapter.endpoint(self._call.operation, self._call.dialect)
        if endpoint is None:  # the plan only holds targets that serve the operation
            raise AttemptFailed(Failure(kind=ErrorKind.UNSUPPORTED, message=f"{target} does not serve this operation."))
        try:
            lane = open_lane(self._conversation, adapter, endpoint, target, ticket.credential)
        except PolyrouteError as error:
            raise AttemptFailed(
                Failure(kind=error.kind, message=error.message, param=error.param, code=error.code)
            ) from error
        timeouts = provider.row.timeouts or self._timeouts
        send = adapter.exchange
        sent_at = self._loop.time()
        if self._drills:
            await rehearse(self._drills, target.provider, self._call, adapter, timeouts, self._deadline)
        response = await (
            self._transport.send(lane.request, timeouts, self._deadline)
            if send is None
            else send(self._transport, lane.request, timeouts, self._deadline)
        )
        try:
            if ticket is not provider.access.open and (quota := adapter.quota(response.headers)) is not None:
                provider.access.learn(ticket, target.model, quota, self._loop.time())
            if not 200 <= response.status < 300:
                raise AttemptFailed(await self._classify(provider, response))
            content_type = _content_type(response.headers)
            reader = lane.reader(content_type)
            out, whole = await self._read(response, reader, timeouts, sent_at)
        except BaseException:
            response.abort()
            raise
        headers = self._headers(target, lane.media_type(content_type), lane)
        if provider.row.simulated:
            headers.append((b"x-polyroute-simulated", b"1"))
        if whole:
            self._settlement.first_token()
            self._settlement.served(reader.seen, response.status, lane.dropped, simulated=provider.row.simulated)
            if self._settlement.cost is not None:
                headers.append((b"x-polyroute-cost-usd", format_cost(self._settlement.cost).encode()))
            return WholeAnswer(response.status, headers, out)
        self._settlement.first_token()
        return self._stream(provider, target, lane, response, reader, headers, out, timeouts)

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
                raise _name_timer(failed, stream=stream) from failed
            if not data:
                held.append(reader.end())
                return b"".join(held), True
            size += len(data)
            if size > _LARGEST_ANSWER and not stream:
                raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message="The answer is larger than 256 MB."))
            held.append(reader.feed(data))
            if stream and reader.seen.meaningful:
                return b"".join(held), False

    def _stream(
        self, provider: LiveProvider, target: Target, lane: Lane, response: WireResponse, reader: AnswerReader,
        headers: Headers, first: bytes, timeouts: Timeouts,
    ) -> StreamAnswer:  # fmt: skip
        settlement, call, loop, breakers = self._settlement, self._call, self._loop, self._breakers

        def served() -> None:
            if settlement.current is not None:
                settlement.served(reader.seen, response.status, lane.dropped, simulated=provider.row.simulated)

        def failed(failure: Failure) -> PolyrouteError:
            settlement.fail(failure)
            breakers.fail(target, call.operation, failure, loop.time(), kind=provider.row.kind)
            return broken_answer(*settlement.failures[-1], call.id)

        return StreamAnswer(
            headers, first, response, reader, settlement, timeouts=timeouts, deadline=self._deadline,
            on_served=served, on_failed=failed, render_error=self._render_error, simulated=provider.row.simulated, loop=loop,
        )  # fmt: skip

    def _headers(self, target: Target, content_type: bytes, lane: Lane) -> Headers:
        settlement = self._settlement
        headers = [
            (b"content-type", content_type),
            (b"x-polyroute-request-id", self._call.id.encode()),
            *_target_headers(target),
            (b"x-polyroute-attempts", b"%d" % settlement.attempts),
        ]
        if lane.dropped:
            headers.append((b"x-polyroute-dropped", _header_text(", ".join(lane.dropped))))
        if lane.notes:
            headers.append((b"x-polyroute-notes", _header_text("; ".join(lane.notes))))
        return headers


def _content_type(headers: Headers) -> bytes:
    for name, value in headers:
        if name == b"content-type":
            return value.lower()
    return b""


@lru_cache(maxsize=1024)
def _target_headers(target: Target) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"x-polyroute-provider", _header_text(target.provider)),
        (b"x-polyroute-model", _header_text(target.model)),
    )


def _header_text(text: str) -> bytes:
    """Text as a header value: what a header cannot hold is percent-encoded or left out."""
    if text.isascii() and text.isprintable():
        return text.encode()
    return text.encode("ascii", "backslashreplace").replace(b"\r", b" ").replace(b"\n", b" ")


def _name_timer(failed: AttemptFailed, *, stream: bool) -> AttemptFailed:
    """Say which patience ran out, which the transport cannot know."""
    if failed.failure.kind is not ErrorKind.TIMEOUT:
        return failed
    what = "The provider sent no content in time." if stream else "The provider stopped sending."
    return AttemptFailed(msgspec.structs.replace(failed.failure, message=what))
