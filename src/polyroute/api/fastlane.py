"""The inference paths as bare ASGI: parse, ask the Gateway, render. Everything else goes to the control application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from polyroute.api import vapi
from polyroute.api.errors import error_headers, render_error
from polyroute.api.exchange import AsgiExchange, Exchange
from polyroute.api.files import FilePaths
from polyroute.api.framing import ArrayFraming
from polyroute.api.media import MediaPaths
from polyroute.api.requests import BegunError, ClientGone, Head, Receive, Scope, Send
from polyroute.api.responses import Continuation
from polyroute.api.smallpaths import SmallPaths, dialect_of_small_path, gemini_call
from polyroute.engine.answers import StreamAnswer
from polyroute.engine.envelope import invalid, json_call, new_request_id, read_options
from polyroute.engine.forms import Form
from polyroute.engine.gateway import Gateway
from polyroute.engine.lanes import Conversation
from polyroute.ports import Call, Headers, ResponseStore
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import OPERATION_OF, Dialect, Operation
from polyroute.types.records import KeyRecord

log = logging.getLogger("polyroute.api")

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

INFERENCE: dict[str, Dialect] = {
    "/v1/chat/completions": Dialect.OPENAI_CHAT,
    "/v1/responses": Dialect.OPENAI_RESPONSES,
    "/v1/messages": Dialect.ANTHROPIC_MESSAGES,
    "/v1/embeddings": Dialect.OPENAI_EMBEDDINGS,
    "/v1/moderations": Dialect.OPENAI_MODERATIONS,
    "/v1/images/generations": Dialect.OPENAI_IMAGES,
    "/v1/images/edits": Dialect.OPENAI_IMAGE_EDITS,
    "/v1/images/variations": Dialect.OPENAI_IMAGE_VARIATIONS,
    "/v1/audio/speech": Dialect.OPENAI_SPEECH,
    "/v1/audio/transcriptions": Dialect.OPENAI_TRANSCRIPTIONS,
    "/v1/audio/translations": Dialect.OPENAI_TRANSLATIONS,
    "/api/chat": Dialect.OLLAMA,
    "/api/generate": Dialect.OLLAMA_GENERATE,
    **dict.fromkeys(vapi.PATHS, Dialect.OPENAI_CHAT),
}
MULTIPART = frozenset({
    Dialect.OPENAI_TRANSCRIPTIONS, Dialect.OPENAI_TRANSLATIONS, Dialect.OPENAI_IMAGE_EDITS,
    Dialect.OPENAI_IMAGE_VARIATIONS,
})  # fmt: skip
_FILE_FIELD = {
    Dialect.OPENAI_TRANSCRIPTIONS: ("file",),
    Dialect.OPENAI_TRANSLATIONS: ("file",),
    Dialect.OPENAI_IMAGE_EDITS: ("image", "image[]"),
    Dialect.OPENAI_IMAGE_VARIATIONS: ("image",),
}
_USUAL_MODEL = {Dialect.OPENAI_IMAGE_VARIATIONS: "image"}
"""The route that is meant where OpenAI's clients usually name no model."""

_CHAT = Operation.CHAT
_GEMINI, _OPENAI_RESPONSES = (
    Dialect.GEMINI,
    Dialect.OPENAI_RESPONSES,
)  # looking a member up costs more than comparing it
_REWORKED = frozenset({_GEMINI, _OPENAI_RESPONSES})
"""Dialects whose answers are more than passed on."""

_LEAN_PATHS = {path.encode(): (path, dialect) for path, dialect in INFERENCE.items() if dialect not in MULTIPART}
"""Raw paths whose requests are always JSON, so that they need no ASGI: see `lifecycle.Connection`."""


class FastLane:
    """The ASGI application. `control` makes the control application, which is loaded when it is first asked for."""

    def __init__(
        self,
        gateway: Gateway,
        control: Callable[[], Application],
        responses: ResponseStore,
        files: FilePaths | None = None,
        jobs: MediaPaths | None = None,
        *,
        max_body: int,
        max_form: int,
    ) -> None:
        self.lean_paths: Mapping[bytes, tuple[str, Dialect]] = _LEAN_PATHS
        self._gateway = gateway
        self._responses = responses
        self._files = files
        self._jobs = jobs
        self._small_paths = SmallPaths(gateway, responses, max_body=max_body)
        self._make_control = control
        self._control: Application | None = None
        self._max_body = max_body
        self._max_form = max_form

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._other(scope, receive, send)
            return
        path: str = scope["path"]
        dialect = INFERENCE.get(path)
        if dialect is None:
            asked = gemini_call(scope["method"], path)
            if asked is not None and asked[1] != "countTokens":
                dialect = _GEMINI
        if dialect is None:
            await self._small(scope, receive, send)
        elif scope["method"] == "POST":
            await self.infer(AsgiExchange(scope, receive, send), dialect)
        else:
            error = invalid(f"{path} takes POST, not {scope['method']}.")
            await _send_error(AsgiExchange(scope, receive, send), dialect, 405, error, new_request_id())

    async def _small(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A path that needs no provider, or else the control application's."""
        request_id = new_request_id()
        dialect = dialect_of_small_path(scope["path"])
        try:
            if self._files is not None and self._files.serves(scope["path"]):
                await self._files.answer(scope, receive, send)
                return
            if self._jobs is not None and self._jobs.serves(scope["path"]):
                await self._jobs.answer(scope, receive, send, request_id)
                return
            answer = await self._small_paths.answer(scope, receive, request_id)
        except PolyrouteError as error:
            await _send_error(AsgiExchange(scope, receive, send), dialect, error.status, error, request_id)
        except ClientGone:
            log.debug("request %s: the caller left", request_id)
        else:
            if answer is None:
                await self._other(scope, receive, send)
            else:
                await AsgiExchange(scope, receive, send).answer(*answer)

    async def _other(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._control is None:
            self._control = await asyncio.to_thread(self._make_control)
        await self._control(scope, receive, send)

    # ---------------------------------------------------------------- inference

    async def infer(self, exchange: Exchange, dialect: Dialect) -> None:  # noqa: PLR0912 - one account of what can happen
        """Answer one inference request, whatever it leads to."""
        request_id = new_request_id()
        exchange.enter()
        key: KeyRecord | None = None
        form: Form | None = None
        called = False
        try:
            head = exchange.head
            key = self._gateway.admission.admit(head.credential)
            if dialect in MULTIPART and not head.content_type.startswith(b"application/json"):
                form = await exchange.read_form(self._max_form)
                call = _form_call(form, dialect, head, request_id, key)
            else:
                body = exchange.take_body(self._max_body) or await exchange.read_body(self._max_body)
                call = _json_call(exchange, dialect, request_id, key, body)
            called = True
            if dialect in _REWORKED:
                await self._rework(Conversation(call, form), exchange)
                return
            conversation = Conversation(call, form)
            if call.operation is not _CHAT and self._jobs is not None and await self._jobs.take(conversation, exchange):
                return
            answer = await self._gateway.answer(conversation)
            if isinstance(answer, StreamAnswer):
                await _pass_on(answer, exchange)
            elif not exchange.reply(answer.status, answer.headers, answer.body):
                await exchange.answer(answer.status, answer.headers, answer.body)
        except PolyrouteError as error:
            if not called:
                self._gateway.refused(request_id, dialect, key, error)
            if not await _send_error(exchange, dialect, error.status, error, request_id):
                # The answer has begun: the connection is closed, which tells that it is not whole.
                log.warning("request %s: %s", request_id, error.message)
        except ClientGone:
            log.debug("request %s: the caller left before its request was complete", request_id)
        except asyncio.CancelledError:
            if not exchange.left:
                raise  # not by the caller's leaving: the server shuts down
        except Exception:
            log.exception("request %s failed by a fault of ours", request_id)
            ours = PolyrouteError(ErrorKind.INTERNAL, f"Polyroute failed; its log names request {request_id}.")
            await _send_error(exchange, dialect, 500, ours, request_id)
        finally:
            exchange.leave()
            if form is not None:
                form.close()

    async def _rework(self, conversation: Conversation, exchange: Exchange) -> None:
        """Answer in a dialect whose answers are kept, or framed as the caller wants them."""
        call = conversation.call
        array = _wants_array(exchange, call)
        kept = Continuation(self._responses, call) if call.dialect is _OPENAI_RESPONSES else None
        if kept is not None:
            await kept.resume()
        answer = await self._gateway.answer(conversation)
        if not isinstance(answer, StreamAnswer):
            if kept is not None:
                kept.watch(answer.body)
                await kept.keep()
            body = _as_array(answer.headers, answer.body) if array else answer.body
            await exchange.answer(answer.status, answer.headers, body)
            return
        framing = ArrayFraming() if array else None
        if framing is not None:
            answer.headers[0] = (b"content-type", b"application/json")
        try:
            await exchange.begin(answer.status, answer.headers)
            while data := await answer.next():
                if kept is not None:
                    kept.watch(data)
                if framing is not None:
                    data = framing.feed(data)
                await exchange.send(data)
            if kept is not None:
                await kept.keep()
            await exchange.finish(framing.close() if framing is not None else b"")
        finally:
            answer.close()


async def _pass_on(answer: StreamAnswer, exchange: Exchange) -> None:
    """A stream as it comes."""
    try:
        await exchange.begin(answer.status, answer.headers)
        while data := await answer.next():
            await exchange.send(data)
        await exchange.finish(b"")
    finally:
        answer.close()


def _json_call(exchange: Exchange, dialect: Dialect, request_id: str, key: KeyRecord | None, body: bytes) -> Call:
    model: str | None = None
    stream: bool | None = None
    if dialect is _GEMINI:
        model, method = gemini_call("POST", exchange.path) or ("", "")
        if method not in ("generateContent", "streamGenerateContent"):
            raise PolyrouteError(ErrorKind.NOT_FOUND, f"'{method}' is no method that is served here.")
        stream = method == "streamGenerateContent"
    head = exchange.head
    call = json_call(
        body, dialect,
        request_id=request_id, key=key, option_headers=head.options, forward=head.forward, model=model, stream=stream,
    )  # fmt: skip
    if exchange.path in vapi.PATHS:
        vapi.keep_openai_fields(call)
    return call


def _wants_array(exchange: Exchange, call: Call) -> bool:
    """Gemini callers get a JSON array unless they ask for events."""
    return call.dialect is _GEMINI and call.stream and b"alt=sse" not in exchange.query


def _as_array(headers: Headers, body: bytes) -> bytes:
    headers[0] = (b"content-type", b"application/json")
    framing = ArrayFraming()
    return framing.feed(body) + framing.close()


def _form_call(form: Form, dialect: Dialect, head: Head, request_id: str, key: KeyRecord | None) -> Call:
    model = form.get("model") or _USUAL_MODEL.get(dialect)
    if not model:
        raise invalid("'model' is required: the name of a route, or provider/model.", "model")
    names = _FILE_FIELD[dialect]
    if not any(form.has_file(name) for name in names):
        raise invalid(f"'{names[0]}' is required: the file itself, as a form part with a file name.", names[0])
    return Call(
        id=request_id, operation=OPERATION_OF[dialect], dialect=dialect, model=model,
        stream=(form.get("stream") or "").lower() in ("true", "1"), body=b"", content_type=head.content_type,
        options=read_options(form.get("polyroute"), head.options), key=key,
        forward=head.forward or [],
    )  # fmt: skip


async def _send_error(
    exchange: Exchange, dialect: Dialect, status: int, error: PolyrouteError, request_id: str
) -> bool:
    """Answer with an error; False when an answer has already begun."""
    error.request_id = error.request_id or request_id
    try:
        await exchange.answer(status, error_headers(error), render_error(dialect, error))
    except BegunError:
        return False
    return True
