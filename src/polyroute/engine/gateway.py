"""The one door: every surface asks the Gateway, and every request of every operation takes this path."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec

from polyroute.dialects.registry import codec, is_chat
from polyroute.engine.admission import Admission, check_route
from polyroute.engine.answers import Answer
from polyroute.engine.drills import Drills
from polyroute.engine.execute import Execution
from polyroute.engine.lanes import Conversation
from polyroute.engine.limits import Admitted, CallLimits
from polyroute.engine.runtime import Choice, Runtime
from polyroute.engine.settlement import Settlement
from polyroute.ports import Call, Ledger, PriceBook, Timeouts, Transport
from polyroute.routing.breakers import Breakers
from polyroute.routing.plan import Facts, PlanRequest
from polyroute.routing.planners import refusal
from polyroute.routing.requirements import Requirements, requirements_of_fields, split_require
from polyroute.types.chat import ChatRequest
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import OPERATION_OF, Capability, Dialect
from polyroute.types.plans import Plan
from polyroute.types.records import KeyRecord

NO_REQUIREMENTS = Requirements(frozenset(), 0)
_NOTHING: frozenset[Any] = frozenset()
_PARAMETERS = frozenset(ChatRequest.__struct_fields__) - frozenset(Capability)


class Gateway:
    """Answers calls. `runtime` may be replaced at any time: a request keeps the snapshot that it began with."""

    def __init__(
        self, runtime: Runtime, *, transport: Transport, ledger: Ledger, prices: PriceBook, admission: Admission,
        breakers: Breakers, ready: Callable[[], list[str]] = list,
    ) -> None:  # fmt: skip
        self.runtime = runtime
        self.admission = admission
        self.breakers = breakers
        self.transport = transport
        self.limits = CallLimits()
        self.drills: Drills = {}
        self._ledger = ledger
        self._prices = prices
        self._ready = ready
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve this loop alone, which then need not be looked up for every request."""
        self._loop = loop

    async def answer(self, conversation: Conversation) -> Answer:
        """The answer to a call, settled when it is whole, or settling itself while it streams.

        Raises PolyrouteError, settled. When the awaiting task is cancelled, the call upstream is aborted and the request
        is settled as CANCELLED.
        """
        call = conversation.call
        settlement = Settlement(call, self._ledger, self._prices)
        runtime = self.runtime
        admitted: Admitted | None = None
        try:
            choice = runtime.choose(call.model, call.operation)
            check_route(call, choice.name)
            conversation.persona = choice.persona
            loop = self._loop or asyncio.get_running_loop()
            now = loop.time()
            if choice.limits is not None or (call.key is not None and call.key.limits is not None):
                admitted = self.limits.admit(call, choice.name, choice.limits, now)
                settlement.at_end(admitted.end)
            plan = self._plan(runtime, choice, call, now)
            settlement.planned(plan, choice.model_id)
            timeouts = _patience(choice.timeouts, call)
            execution = Execution(
                conversation, plan, runtime, settlement, self.transport, self.breakers,
                timeouts=timeouts, deadline=now + timeouts.total, retries=choice.retries, loop=loop,
                render_error=lambda error: render_stream_error(call, error), drills=self.drills,
            )  # fmt: skip
            answer = await execution.run()
        except PolyrouteError as error:
            error.request_id = call.id
            if admitted is not None:
                error.headers = tuple(admitted.headers(asyncio.get_running_loop().time()))
            settlement.refused(error)
            raise
        except asyncio.CancelledError:
            settlement.broken_off(None, None, simulated=False)
            raise
        except BaseException:
            settlement.refused(PolyrouteError(ErrorKind.INTERNAL, "A fault of Polyroute's own; see its log."))
            raise
        if admitted is not None:
            answer.headers += admitted.headers(loop.time())
        return answer

    def plan(self, call: Call, now: float) -> Plan:
        """What would be tried for a call, without trying it (`polyroute explain`)."""
        runtime = self.runtime
        return self._plan(runtime, runtime.choose(call.model, call.operation), call, now, allow_empty=True)

    def _plan(self, runtime: Runtime, choice: Choice, call: Call, now: float, *, allow_empty: bool = False) -> Plan:
        options, planner = call.options, choice.planner
        if options.fallbacks:
            planner = planner.with_fallbacks(runtime.candidates(options.fallbacks, call.operation))
        needs, tags = _NOTHING, _NOTHING
        if options.require:  # parameters are looked at when the request is rendered for a target
            needs, tags = split_require(name for name in options.require if name not in _PARAMETERS)
        required = NO_REQUIREMENTS
        if planner.contested or planner.sized:
            required = requirements_of_fields(
                call.dialect, call.fields or {}, call.body if isinstance(call.body, bytes) else b"",
                stream=call.stream, contested=planner.contested, sized=planner.sized,
            )  # fmt: skip
        plan = planner.plan(
            PlanRequest(
                dialect=call.dialect, needs=required.needs | needs, require=tags, tokens=required.tokens,
                output_tokens=required.output_tokens, policy=options.policy,
            ),
            Facts(now=now, random=random.random(), breakers=self.breakers.restricted),  # noqa: S311 (spreads load)
        )  # fmt: skip
        if not plan.targets and not allow_empty:
            raise refusal(plan)
        return plan

    def refused(self, request_id: str, dialect: Dialect, key: KeyRecord | None, error: PolyrouteError) -> None:
        """Write down a request of a known caller that was refused before it was a call."""
        if key is None:
            return
        call = Call(
            id=request_id, operation=OPERATION_OF[dialect], dialect=dialect, model="", stream=False, body=b"",
            content_type=b"", key=key,
        )  # fmt: skip
        Settlement(call, self._ledger, self._prices).refused(error)

    # ---------------------------------------------------------------- health

    def health(self) -> tuple[int, bytes]:
        """The process is alive."""
        return 200, b'{"status":"ok"}'

    def readiness(self) -> tuple[int, bytes]:
        """Requests can be served: some provider is on and the ledger can be written; otherwise 503 with the reasons."""
        problems = self._ready()
        if not any(live.row.enabled for live in self.runtime.providers.values()):
            problems = [*problems, "no provider is on"]
        if problems:
            return 503, msgspec.json.encode({"status": "unavailable", "problems": problems})
        return 200, b'{"status":"ready"}'


def _patience(timeouts: Timeouts, call: Call) -> Timeouts:
    wish = call.options.timeout
    if wish is None:
        return timeouts
    if not 0 < wish <= 86_400:
        raise PolyrouteError(
            ErrorKind.INVALID_REQUEST, "'polyroute.timeout' must be between 0 and 86400 seconds.", param="polyroute"
        )
    return msgspec.structs.replace(timeouts, total=min(wish, timeouts.total))


def render_stream_error(call: Call, error: PolyrouteError) -> bytes | None:
    """How a relayed stream that has begun says that it failed; None for media, which have no words for it."""
    if not is_chat(call.dialect):
        return None
    request = ChatRequest(model=call.model, messages=(), stream=True)
    return codec(call.dialect).renderer(request, call.id, 0).error(error)
