"""The one door: every surface asks the Gateway, and every request of every operation takes this path."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from polyroute.engine.admission import Admission, check_route
from polyroute.engine.answers import Answer
from polyroute.engine.budgets import Budgets
from polyroute.engine.content import ContentLog
from polyroute.engine.drills import Drills
from polyroute.engine.execute import Execution
from polyroute.engine.holds import Hold
from polyroute.engine.lanes import Conversation, LaneOpener, open_lane
from polyroute.engine.limits import Admitted, CallLimits
from polyroute.engine.media.lane import MediaFloor, media_opener
from polyroute.engine.media.tracking import Tracker
from polyroute.engine.media.work import MediaWork
from polyroute.engine.planning import NoTarget, Planning
from polyroute.engine.runtime import Choice, Runtime
from polyroute.engine.settlement import Settlement
from polyroute.ports import Call, Headers, Ledger, Transport
from polyroute.routing.breakers import Breakers
from polyroute.routing.explanation import summarise
from polyroute.routing.observations import Observations
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.health import ProbeHealth
from polyroute.types.operations import MEDIA_DIALECT_OF, OPERATION_OF, Dialect, Operation
from polyroute.types.records import KeyRecord

_CHAT = Operation.CHAT  # looking a member up costs more than comparing it


class Gateway:
    """Answers calls. `runtime` may be replaced at any time: a request keeps the snapshot that it began with."""

    def __init__(
        self, runtime: Runtime, *, transport: Transport, ledger: Ledger, admission: Admission, breakers: Breakers,
        ready: Callable[[], list[str]] = list, media: MediaFloor | None = None,
    ) -> None:  # fmt: skip
        self.runtime = runtime
        self.admission = admission
        self.breakers = breakers
        self.transport = transport
        self.limits = CallLimits()
        self.drills: Drills = {}
        self.probes: dict[str, ProbeHealth] = {}
        self.budgets: Budgets | None = None
        """None while there are no budgets."""
        self.teams: Mapping[str, str] | None = None
        """The team of each user that has one; None while nobody has."""
        self.closed: str | None = None
        """Why no call is taken at all just now; None when calls are."""
        self.content: ContentLog | None = None
        self.ledger = ledger
        self.planning = Planning(breakers, Observations())
        self._ready = ready
        self.media = media
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Serve this loop alone, which then need not be looked up for every request."""
        self._loop = loop

    async def answer(  # noqa: C901, PLR0912, PLR0915 - the one way of a request, from the door to its answer
        self, conversation: Conversation, tracker: Tracker | None = None
    ) -> Answer:
        """The answer to a call, settled when it is whole, or settling itself while it streams. `tracker` follows media work
        that a provider does in its own time.

        Raises PolyrouteError, settled. When the awaiting task is cancelled, the call upstream is aborted and the request
        is settled as CANCELLED.
        """
        call = conversation.call
        if self.closed is not None:  # before there is anything to settle: it could not be written down
            raise PolyrouteError(
                ErrorKind.INTERNAL, self.closed, code="ledger_full", retry_after=5, request_id=call.id, status=503
            )
        runtime = self.runtime
        admitted: Admitted | None = None
        settlement = Settlement(call, self.ledger, runtime.prices, self.teams)
        work: MediaWork | None = None
        opener: LaneOpener = open_lane
        if call.operation is not _CHAT and self.media is not None and call.operation in MEDIA_DIALECT_OF:
            work = MediaWork(call, conversation.form, self.media.storage, tracker)
            opener = media_opener(work, runtime.providers, self.media.sockets)
        try:
            choice = runtime.choose(call.model, call.operation)
            check_route(call, choice.name)
            if work is not None:
                await work.check()
            conversation.persona = choice.persona
            if self.content is not None:
                settlement.recorder = self.content.recorder(conversation, choice.log_content)
            loop = self._loop or asyncio.get_running_loop()
            now = loop.time()
            if choice.limits is not None or (call.key is not None and call.key.limits is not None):
                admitted = self.limits.admit(call, choice.name, choice.limits, now)
                settlement.at_end(admitted.end)
            settlement.record.model_id = choice.model_id
            if self.budgets is not None or runtime.catalog.credits:
                choice = await self.account(conversation, choice, runtime, settlement)
            planned = self.planning.plan(runtime, choice, call, now)
            settlement.planned(planned)
            answer = await Execution(
                conversation, choice, planned, runtime, settlement, self, loop, now, opener, settlement.hold
            ).run()
            if call.options.explain:
                answer.headers.append((b"x-polyroute-explain", summarise(planned.whole).encode()))
        except PolyrouteError as error:
            if isinstance(error, NoTarget):
                settlement.planned(error.planned)
            error.request_id = call.id
            settlement.refused(error)
            if admitted is not None or settlement.hold is not None:
                error.headers = tuple(_what_is_left(admitted, settlement.hold, asyncio.get_running_loop().time()))
            raise
        except asyncio.CancelledError:
            settlement.broken_off(None, None, None, simulated=False)
            raise
        except BaseException:
            settlement.refused(PolyrouteError(ErrorKind.INTERNAL, "A fault of Polyroute's own; see its log."))
            raise
        finally:
            if work is not None:
                await work.aclose()
        if admitted is not None or settlement.hold is not None:
            answer.headers += _what_is_left(admitted, settlement.hold, loop.time())
        return answer

    async def account(
        self, conversation: Conversation, choice: Choice, runtime: Runtime, settlement: Settlement
    ) -> Choice:
        """Give the settlement the hold of a call that counts against budgets; what is tried: past a soft limit not always
        its choice."""
        call, budgets = conversation.call, self.budgets
        label_price = runtime.catalog.credits.get(choice.name)
        settlement.costs_credits(label_price)
        slices = [] if budgets is None else budgets.slices_for(call, choice.name)
        if not slices or budgets is None:
            return choice
        await budgets.know(slices)
        hold = Hold(budgets, slices, conversation, runtime, label_price)
        settlement.hold = hold
        soft = hold.softened
        if soft is None:
            return choice
        if soft.downgrade_to is None:
            call.options = msgspec.structs.replace(call.options, policy="cheapest")
        elif soft.downgrade_to != choice.name:
            other = runtime.choose(soft.downgrade_to, call.operation)
            hold.add(budgets.slices_for(call, other.name))
            conversation.persona = other.persona
            choice = other
        return choice

    def refused(self, request_id: str, dialect: Dialect, key: KeyRecord | None, error: PolyrouteError) -> None:
        """Write down a request of a known caller that was refused before it was a call."""
        if key is None:
            return
        call = Call(
            id=request_id, operation=OPERATION_OF[dialect], dialect=dialect, model="", stream=False, body=b"",
            content_type=b"", key=key,
        )  # fmt: skip
        Settlement(call, self.ledger, self.runtime.prices).refused(error)

    # ---------------------------------------------------------------- health

    def health(self) -> tuple[int, bytes]:
        """The process is alive."""
        return 200, b'{"status":"ok"}'

    def readiness(self) -> tuple[int, bytes]:
        """Requests can be served: some provider is on and the ledger can be written; otherwise 503 with the reasons."""
        problems = self._ready()
        if not any(live.row.enabled and live.row.wanted for live in self.runtime.providers.values()):
            problems = [*problems, "no provider is on"]
        if problems:
            return 503, msgspec.json.encode({"status": "unavailable", "problems": problems})
        return 200, b'{"status":"ready"}'


def _what_is_left(admitted: Admitted | None, hold: Hold | None, now: float) -> Headers:
    """Headers that tell what limits and budgets have left."""
    limits = [] if admitted is None else admitted.headers(now)
    return limits if hold is None else [*limits, *hold.headers()]
