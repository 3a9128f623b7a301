"""The media lane of an attempt: the caller's media request, made by the target's media adapter, answered in the caller's
dialect. To the rest of the engine it is one upstream answer like any other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from polyroute.catalog.model import Provider
from polyroute.dialects.openai_media.words import in_words, words_of
from polyroute.engine.lanes import Conversation, Lane, LaneOpener, RelayLane
from polyroute.engine.media.inputs import Storage
from polyroute.engine.media.made import Collected, MadeAnswer, MadeReader
from polyroute.engine.media.making import Order, make
from polyroute.engine.media.rendering import Form, SpeechEvents, render_made
from polyroute.engine.media.wire import ProviderWire
from polyroute.engine.media.work import OURS, MediaWork
from polyroute.engine.runtime import LiveProvider
from polyroute.ports import (
    Adapter,
    Call,
    Credential,
    Endpoint,
    MediaStream,
    Observation,
    Queued,
    SocketOpener,
    Streamed,
    Timeouts,
    Transport,
    WireRequest,
    WireResponse,
)
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Made, Task
from polyroute.types.plans import Target

_ESSENTIAL = frozenset({"mask", "image", "video", "audio", "reference_audio", "first_frame", "voice"})
"""What the result would be another one without: a target that cannot honour it must not answer."""


class MediaFloor(msgspec.Struct, frozen=True, kw_only=True):
    """What media work needs beyond the engine: where media lies, and sockets."""

    storage: Storage
    sockets: SocketOpener


class MediaLane:
    """One attempt at a media adapter. What it made is told by the answer that `exchange` gives."""

    def __init__(
        self, work: MediaWork, provider: LiveProvider, endpoint: Endpoint, target: Target, credential: Credential | None,
        sockets: SocketOpener,
    ) -> None:  # fmt: skip
        self.dropped: tuple[str, ...] = ()
        self.notes: tuple[str, ...] = ()
        self.request = WireRequest("POST", provider.row.base_url, [])
        self.model: str | None = None
        self._work = work
        self._call = work.call
        self._provider = provider
        self._endpoint = endpoint
        self._target = target
        self._credential = credential
        self._sockets = sockets
        self._stream: MediaStream | None = None
        self._made: Made | None = None

    async def exchange(
        self, transport: Transport, request: WireRequest, timeouts: Timeouts, deadline: float
    ) -> MadeAnswer:
        """Have it made. Raises AttemptFailed."""
        await self._work.tracker.placed(self._target.provider)
        own = asyncio.get_running_loop().time() + timeouts.total  # a job's deadline leaves time for other targets
        try:
            return await self._make(transport, timeouts, min(deadline, own))
        except PolyrouteError as error:
            param, message = self._told(error.param, error.message)
            raise AttemptFailed(Failure(kind=error.kind, message=message, param=param, code=error.code)) from error
        except AttemptFailed as failed:
            param, message = self._told(failed.failure.param, failed.failure.message)
            if param == failed.failure.param:
                raise
            raise AttemptFailed(msgspec.structs.replace(failed.failure, param=param, message=message)) from failed
        except msgspec.MsgspecError as error:
            message = "The provider's answer is not what was due."
            raise AttemptFailed(
                Failure(kind=ErrorKind.BAD_RESPONSE, message=message, detail=str(error)[:500])
            ) from error

    def _told(self, param: str | None, message: str) -> tuple[str | None, str]:
        return in_words(words_of(self._call.dialect), param, message)

    async def _make(self, transport: Transport, timeouts: Timeouts, deadline: float) -> MadeAnswer:
        wanted, target = await self._work.request(), self._target
        model = chosen_model(self._provider.row, wanted.task, target, self._call.model)
        self.model = model
        maker = None if self._provider.media is None else self._provider.media.maker(wanted.task, model)
        if maker is None:
            raise PolyrouteError(ErrorKind.UNSUPPORTED, f"{target.provider}/{model} cannot do {wanted.task}.")
        fitted = maker.fit(wanted, model)
        self.dropped, self.notes = fitted.dropped, fitted.notes
        self._check_dropped(target)
        credential = None if self._credential is None else self._credential.label
        streamed = isinstance(maker, Streamed) and self._call.stream
        if not streamed and not isinstance(maker, Queued):
            timeouts = for_results(timeouts)
        wire = ProviderWire(
            self._provider, self._endpoint, target, self._credential, transport, await self._work.inputs(),
            sockets=self._sockets, timeouts=timeouts, deadline=deadline, durable=self._work.tracker.durable,
            callback_url=self._callback_url(),
        )  # fmt: skip
        if isinstance(maker, Streamed) and streamed:
            self._stream = await maker.stream(fitted.request, model, wire)
            if self._work.wants_events:
                self._stream = SpeechEvents(self._stream)
            return MadeAnswer(self._stream.media_type.encode(), stream=self._stream)
        if isinstance(maker, Streamed):
            maker = Collected(maker)
        made = await make(
            maker,
            Order(
                request_id=self._call.id, request=fitted.request, target=target, model=model, credential=credential,
                wire=wire, tracker=self._work.tracker, storage=self._work.storage, deadline=deadline,
                simulated=self._provider.row.simulated,
                owner=None if self._call.key is None else self._call.key.id,
            ),
        )  # fmt: skip
        self.notes = (*self.notes, *made.notes)
        self._made = msgspec.structs.replace(made, notes=self.notes, dropped=self.dropped)
        form = Form(self._call.dialect, self._work.wants_events, self._work.wants_addresses)
        return await render_made(self._made, fitted.request, form, self._work.storage)

    def _callback_url(self) -> str | None:
        """Where the provider may report to: of work that outlives this process, when we have a public address."""
        public_url = self._work.storage.public_url
        if public_url is None or not self._work.tracker.durable or not hasattr(self._provider.media, "callback"):
            return None
        return f"{public_url}/v1/callbacks/{self._target.provider}"

    def _check_dropped(self, target: Target) -> None:
        """Under `strict`, and for what the caller requires or cannot do without, a loss is a reason for another target."""
        options, dropped = self._call.options, set(self.dropped)
        lost = dropped if options.strict else dropped & (_ESSENTIAL | set(options.require))
        if lost:
            raise PolyrouteError(
                ErrorKind.UNSUPPORTED, f"{target} cannot honour {', '.join(sorted(lost))}.", param=min(lost)
            )

    # ---------------------------------------------------------------- the answer

    def reader(self, content_type: bytes) -> MadeReader:
        """Hands the answer on; it was checked when it was made."""
        return MadeReader(self._usage_into)

    def _usage_into(self, seen: Observation) -> None:
        if self._made is not None:
            seen.usage = self._made.usage
        elif self._stream is not None:
            seen.usage = self._stream.usage()

    def media_type(self, upstream: bytes) -> bytes:
        """As rendered."""
        return upstream

    def closing(self, seen: Observation) -> bytes:
        """Nothing."""
        return b""


def chosen_model(row: Provider, task: Task, target: Target, asked: str) -> str:
    """The model that does a task for a target, where a caller `asked` for this. Raises PolyrouteError (unsupported) naming
    the provider's models for the task when the target's own is not one of them."""
    model = row.model_for(task, target.model, named=asked in (str(target), target.model))
    if model is None:
        possible = ", ".join(f"{row.name}/{name}" for name in row.media[task])
        raise PolyrouteError(
            ErrorKind.UNSUPPORTED, f"'model': {target} is not for {task}; for that there are {possible}.", param="model"
        )
    return model


def _any_refused(call: Call, refused: Mapping[str, Sequence[str]]) -> bool:
    """Whether a field holds what the provider does not take in the caller's words; without values, any is refused."""
    given = call.fields or {}
    return any(
        name in given and (not values or bytes(given[name]) in [msgspec.json.encode(value) for value in values])
        for name, values in refused.items()
    )


def for_results(timeouts: Timeouts) -> Timeouts:
    """The timers of a call whose answer is a finished piece of media."""
    return msgspec.structs.replace(timeouts, headers=timeouts.result)


async def _await_result(
    transport: Transport, request: WireRequest, timeouts: Timeouts, deadline: float
) -> WireResponse:
    return await transport.send(request, for_results(timeouts), deadline)


def media_opener(work: MediaWork, providers: Mapping[str, LiveProvider], sockets: SocketOpener) -> LaneOpener:
    """Opens the lanes of a media request: relay where the target speaks the caller's dialect, else the media lane. A field
    that the provider knows under another name (the row's option `not_relayed`) is a reason for the media lane too."""

    def open_media(
        conversation: Conversation, adapter: Adapter, endpoint: Endpoint, target: Target, credential: Credential | None
    ) -> Lane:
        call = conversation.call
        refused = providers[target.provider].row.options.get("not_relayed")
        known = endpoint.dialect is call.dialect and endpoint.dialect not in OURS
        if known and not (refused and _any_refused(call, refused)):
            lane = RelayLane(conversation, adapter, endpoint, target, credential)
            if lane.exchange is None and not call.stream:
                lane.exchange = _await_result
            return lane
        return MediaLane(work, providers[target.provider], endpoint, target, credential, sockets)

    return open_media
