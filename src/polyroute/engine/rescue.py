"""Mid-stream rescue: an answer that breaks off after the caller has begun to read it goes on at the next target."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from polyroute.catalog.model import RescueMode
from polyroute.engine.attempts import Attempt
from polyroute.engine.continued import (
    ContinuedLane,
    ContinuedRenderer,
    Form,
    ask_on,
    forms,
    make_seam,
    resume_renderer,
)
from polyroute.engine.delivered import Delivered, Sent
from polyroute.engine.lanes import Conversation, Lane, LaneOpener
from polyroute.engine.observe import STREAM_ENDS
from polyroute.engine.runtime import Runtime
from polyroute.engine.settlement import Settlement
from polyroute.engine.translators import StreamTranslator
from polyroute.ports import Adapter, AnswerReader, Credential, Endpoint
from polyroute.routing.requirements import requirements_of_request
from polyroute.routing.retry import NextTarget, Stop
from polyroute.types.chat import ChatRequest
from polyroute.types.errors import ERROR_TABLE, AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.plans import Target
from polyroute.types.usage import Usage

TryTarget = Callable[[Target, int, LaneOpener], Awaitable[Attempt | NextTarget | Stop]]
"""All tries of one target, as the first walk of the plan makes them."""

_OUR_WORDS = frozenset({ErrorKind.INVALID_REQUEST, ErrorKind.UNSUPPORTED})
"""What a target answers that does not like how the answer so far was put to it."""


def missing_end(delivered: Delivered, dialect: Dialect, reader: AnswerReader) -> bytes | None:
    """The rest of a stream that broke when all had been said; None when there was more to come."""
    if not reader.seen.complete:
        return None
    try:
        sent = delivered.read()
    except AttemptFailed:
        return None
    if isinstance(reader, StreamTranslator):
        return reader.finish()
    return STREAM_ENDS.get(dialect, b"") if sent.finished else None


class Rescue:
    """One broken stream's way through the rest of its plan."""

    def __init__(
        self, conversation: Conversation, mode: RescueMode, left: list[Target], runtime: Runtime,
        settlement: Settlement, deadline: float,
    ) -> None:  # fmt: skip
        self._conversation = conversation
        self._mode = mode
        self._left = left
        self._runtime = runtime
        self._settlement = settlement
        self._deadline = deadline

    async def run(
        self, broken: Attempt, failure: Failure, delivered: Delivered, try_target: TryTarget
    ) -> Attempt | None:
        """The attempt that goes on from what was delivered; None when that is not safe, or nobody can."""
        if ERROR_TABLE[failure.kind].fault not in ("provider", "operator"):
            return None
        try:
            request = self._conversation.request
            sent = delivered.read()
        except (PolyrouteError, AttemptFailed):  # a relayed request or answer that we cannot read ourselves
            return None
        if not self._left or not self._is_safe(request, sent):
            return None
        spent = self._settlement.spent(
            broken.record, broken.reader.seen, requirements_of_request(request).tokens,
            simulated=broken.provider.row.simulated,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        while self._left and loop.time() < self._deadline:
            target = self._left.pop(0)
            for form in self._forms(target, request, sent):
                failures = len(self._settlement.failures)
                outcome = await try_target(target, len(self._left), self._opener(request, sent, form, spent))
                if isinstance(outcome, Attempt):
                    return outcome
                if len(self._settlement.failures) == failures:  # its breaker is open
                    break
                if self._settlement.failures[-1][1].kind not in _OUR_WORDS:
                    break
        return None

    def _is_safe(self, request: ChatRequest, sent: Sent) -> bool:
        """Only plain text of a single choice can be gone on with; structured output only when it is asked for anew."""
        if not sent.plain or sent.finished or (request.n or 1) > 1:
            return False
        return request.output_format is None or self._mode == "restart"

    def _forms(self, target: Target, request: ChatRequest, sent: Sent) -> tuple[Form, ...]:
        adapter = self._runtime.providers[target.provider].adapter
        call = self._conversation.call
        endpoint = adapter.endpoint(call.operation, call.dialect)
        if endpoint is None:
            return ()
        return forms(self._mode, sent, request, endpoint.dialect, adapter.profile(target.model))

    def _opener(self, request: ChatRequest, sent: Sent, form: Form, spent: Usage | None) -> LaneOpener:
        call = self._conversation.call
        conversation = Conversation(call, parsed=ask_on(request, sent.text, form))

        def open_lane(
            _: Conversation, adapter: Adapter, endpoint: Endpoint, target: Target, credential: Credential | None
        ) -> Lane:
            seam = make_seam(sent, form, exact=request.output_format is not None)
            renderer = ContinuedRenderer(resume_renderer(sent, request, call), sent, seam, spent)
            return ContinuedLane(conversation, adapter, endpoint, target, credential, renderer=renderer)

        return open_lane
