"""The two lanes of an attempt: relay (the caller's own bytes) where the target speaks the caller's dialect, translate
where it does not. Either way the engine sees one upstream request and one reader of its answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from polyroute.catalog.model import Persona
from polyroute.dialects import media
from polyroute.dialects.foreign_state import holds_packed_state
from polyroute.dialects.openai_chat.observer import ChatObserver
from polyroute.dialects.registry import codec, is_chat
from polyroute.engine.forms import Form
from polyroute.engine.observe import STREAM_ENDS, WAITED_FOR, BytesObserver, ParserObserver, WholeObserver
from polyroute.engine.persona import apply_persona
from polyroute.engine.translators import StreamTranslator, UnstreamedReader, WholeTranslator, make_renderer
from polyroute.ports import (
    Adapter,
    AnswerReader,
    Body,
    Call,
    Credential,
    Endpoint,
    Exchange,
    Observation,
    WireRequest,
)
from polyroute.types.chat import ChatRequest
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.plans import Target

JSON = b"application/json"
_OPENAI_CHAT, _GEMINI = Dialect.OPENAI_CHAT, Dialect.GEMINI  # looking a member up costs more than comparing it
EVENT_STREAM = b"text/event-stream"
_INCLUDE_USAGE = msgspec.Raw(b'{"include_usage":true}')
_ESSENTIAL = frozenset({"previous_response_id", "conversation"})
"""Parameters without which the request would mean something else: a target that cannot honour them must not answer."""
_TEXT_DIALECTS = frozenset({Dialect.OPENAI_TRANSCRIPTIONS, Dialect.OPENAI_TRANSLATIONS})


class Lane(Protocol):
    """One attempt's request, and how its answer is read."""

    request: WireRequest
    dropped: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def exchange(self) -> Exchange | None:
        """How to get an answer that takes more than sending the request."""

    @property
    def model(self) -> str | None:
        """The model that is asked in place of the target's; None where it is the target's own."""

    def reader(self, content_type: bytes) -> AnswerReader:
        """The reader for an answer of this media type (lower case, parameters included)."""

    def media_type(self, upstream: bytes) -> bytes:
        """The media type of what the caller gets."""

    def closing(self, seen: Observation) -> bytes:
        """What a relayed stream lacks that was whole when it ended; b"" as a rule."""


LaneOpener = Callable[["Conversation", Adapter, Endpoint, Target, Credential | None], Lane]
"""Makes the request of one attempt. Raises PolyrouteError when the target cannot be asked."""


class Conversation(msgspec.Struct, eq=False):
    """What is known of a call beyond its envelope, parsed at most once however many attempts need it."""

    call: Call
    form: Form | None = None
    persona: Persona | None = None
    parsed: ChatRequest | None = None
    """The canonical request, once somebody asked for it: see `request`."""

    @property
    def request(self) -> ChatRequest:
        """The canonical request. Raises PolyrouteError(invalid_request)."""
        if self.parsed is None:
            call = self.call
            fields: dict[str, Any] = dict(call.fields or {})
            fields["model"] = call.model
            if call.stream:
                fields["stream"] = True
            request = codec(call.dialect).parse_request(msgspec.json.encode(fields))
            self.parsed = request if self.persona is None else apply_persona(request, self.persona)
        return self.parsed


def open_lane(
    conversation: Conversation, adapter: Adapter, endpoint: Endpoint, target: Target, credential: Credential | None
) -> Lane:
    """The lane for one attempt: relay where the endpoint speaks the caller's dialect, unless a persona has to be put in or
    the conversation brings state that another dialect's provider issued."""
    call = conversation.call
    dialect, body = call.dialect, call.body
    if endpoint.dialect is dialect and conversation.persona is None:
        foreign = isinstance(body, bytes) and is_chat(dialect) and holds_packed_state(body, dialect)
        if not foreign:
            return RelayLane(conversation, adapter, endpoint, target, credential)
    return TranslateLane(conversation, adapter, endpoint, target, credential)


class RelayLane:
    """The caller's bytes with the model, quirks and usage option changed; the answer's bytes as they come."""

    model: str | None = None

    def __init__(
        self, conversation: Conversation, adapter: Adapter, endpoint: Endpoint, target: Target,
        credential: Credential | None,
    ) -> None:  # fmt: skip
        call = conversation.call
        self._call = call
        self._form = conversation.form
        self._withhold_usage = False
        self.exchange = adapter.exchange
        self.notes: tuple[str, ...] = ()
        self.dropped: tuple[str, ...] = ()
        body: bytes | Body
        if conversation.form is not None:
            body = conversation.form.body({"model": target.model}, frozenset({"polyroute", "async"}))
        elif call.fields is not None:
            body = self._body(call.fields, adapter, endpoint, target)
        else:
            body = call.body
        self.request = adapter.request(
            endpoint, target, credential,
            body=body, content_type=call.content_type, stream=call.stream, forward=call.forward,
        )  # fmt: skip

    def _body(self, given: dict[str, msgspec.Raw], adapter: Adapter, endpoint: Endpoint, target: Target) -> bytes:
        fields: dict[str, Any] = dict(given)
        if endpoint.dialect is not _GEMINI:  # which names its model in the URL
            fields["model"] = target.model
        if self._call.stream and endpoint.dialect is _OPENAI_CHAT:
            fields["stream_options"], asked = _with_usage(given.get("stream_options"))
            self._withhold_usage = not asked
        fields, self.dropped = adapter.adjust(endpoint, fields)
        return msgspec.json.encode(fields)

    def reader(self, content_type: bytes) -> AnswerReader:
        """A reader that hands the bytes on and watches them."""
        dialect, seen = self._call.dialect, Observation()
        if not is_chat(dialect):
            asked = media.read_asked(dialect, self._field)
            if self._call.stream or (dialect in _TEXT_DIALECTS and content_type.startswith(b"text/plain")):
                return BytesObserver(seen, content_type, asked, dialect)
            return WholeObserver(dialect, seen, asked)
        if not self._call.stream:
            return WholeObserver(dialect, seen)
        if content_type.startswith(JSON) and dialect is not _GEMINI:
            return UnstreamedReader(codec(dialect), make_renderer(codec(dialect), self._stub(), self._call), seen)
        if dialect is _OPENAI_CHAT:
            return ChatObserver(seen, self._withhold_usage)
        return ParserObserver(codec(dialect).parser(), seen, dialect)

    def _field(self, name: str) -> Any:
        """A field of a media request as its caller sent it."""
        if self._form is not None:
            return self._form.get(name)
        raw = (self._call.fields or {}).get(name)
        return None if raw is None else msgspec.json.decode(raw)

    def _stub(self) -> ChatRequest:
        return ChatRequest(model=self._call.model, messages=(), stream=True)

    def closing(self, seen: Observation) -> bytes:
        """The end that clients of the dialect wait for, where the provider left it out."""
        dialect = self._call.dialect
        return STREAM_ENDS[dialect] if self._call.stream and dialect in WAITED_FOR and not seen.ended else b""

    def media_type(self, upstream: bytes) -> bytes:
        """As the provider said, unless a whole answer had to become a stream."""
        if self._call.stream and upstream.startswith(JSON) and is_chat(self._call.dialect):
            return codec(self._call.dialect).stream_media_type.encode()
        return upstream


def _with_usage(given: msgspec.Raw | None) -> tuple[msgspec.Raw | dict[str, Any], bool]:
    """Stream options with the usage chunk switched on and everything else kept, and whether the caller asked for it."""
    try:
        decoded = None if given is None else msgspec.json.decode(given)
    except (msgspec.MsgspecError, ValueError) as error:
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, f"'stream_options': {error}", param="stream_options") from error
    if decoded is None:
        return _INCLUDE_USAGE, False
    if not isinstance(decoded, dict):
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'stream_options' must be an object.", param="stream_options")
    if given is not None and decoded.get("include_usage") is True:
        return given, True
    return {**decoded, "include_usage": True}, False


class TranslateLane:
    """The request rendered in the target's dialect; the answer's events rendered back in the caller's."""

    model: str | None = None

    def __init__(
        self, conversation: Conversation, adapter: Adapter, endpoint: Endpoint, target: Target,
        credential: Credential | None,
    ) -> None:  # fmt: skip
        call = conversation.call
        if not (is_chat(call.dialect) and is_chat(endpoint.dialect)):
            raise PolyrouteError(
                ErrorKind.UNSUPPORTED, f"{target} does not speak {call.dialect}, and it cannot be translated."
            )
        self._call = call
        self.exchange = adapter.exchange
        self._caller = codec(call.dialect)
        self._upstream = codec(endpoint.dialect)
        self._request = conversation.request
        fitted, fit_notes = adapter.fit(endpoint, msgspec.structs.replace(self._request, model=target.model))
        rendered = self._upstream.render_request(fitted, adapter.profile(target.model))
        fields, dropped = adapter.adjust(endpoint, rendered.body)
        self.dropped = (*rendered.dropped, *dropped)
        self.notes = (*fit_notes, *rendered.notes)
        self._check_dropped(target)
        self.request = adapter.request(
            endpoint, target, credential,
            body=msgspec.json.encode(fields), content_type=JSON, stream=call.stream,
            forward=call.forward if endpoint.dialect is call.dialect else [],
        )  # fmt: skip

    def _given(self, name: str) -> str:
        """A field as the caller wrote it."""
        return bytes((self._call.fields or {}).get(name, b"")).decode().strip()

    def _check_dropped(self, target: Target) -> None:
        """Under `strict`, and for what the caller requires or cannot do without, a loss is a reason for another target."""
        options = self._call.options
        dropped = set(self.dropped)
        lost = dropped if options.strict else dropped & (_ESSENTIAL | set(options.require))
        if "previous_response_id" in lost:
            raise PolyrouteError(
                ErrorKind.UNSUPPORTED,
                f"Previous response with id {self._given('previous_response_id')} not found.",
                param="previous_response_id", code="previous_response_not_found",
            )  # fmt: skip
        if lost:
            raise PolyrouteError(
                ErrorKind.UNSUPPORTED, f"{target} cannot honour {', '.join(sorted(lost))}.", param=min(lost)
            )

    def reader(self, content_type: bytes) -> AnswerReader:
        """A reader that translates."""
        seen = Observation()
        if not self._call.stream:
            return WholeTranslator(self._upstream, self._caller, self._request, self._call, seen)
        renderer = make_renderer(self._caller, self._request, self._call)
        if self.answers_whole(content_type):
            return UnstreamedReader(self._upstream, renderer, seen)
        return StreamTranslator(self._upstream.parser(), renderer, seen)

    def answers_whole(self, content_type: bytes) -> bool:
        """Whether a whole answer came where a stream was asked for."""
        return content_type.startswith(JSON) and self._upstream.dialect is not _GEMINI

    def closing(self, seen: Observation) -> bytes:
        """Nothing."""
        return b""

    def media_type(self, upstream: bytes) -> bytes:
        """That of the caller's dialect."""
        return self._caller.stream_media_type.encode() if self._call.stream else JSON
