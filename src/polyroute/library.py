"""Polyroute as a Python library: the same engine, without HTTP in front of it."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any, Self

import msgspec

from polyroute.composition.app import App, build_app
from polyroute.composition.configuration import read_configuration
from polyroute.dialects.fold import fold
from polyroute.dialects.registry import codec
from polyroute.engine.answers import StreamAnswer, WholeAnswer
from polyroute.engine.envelope import json_call, new_request_id
from polyroute.engine.forms import Form
from polyroute.engine.lanes import Conversation
from polyroute.ports import Call, Headers
from polyroute.types.chat import PartDelta, PartStarted, TextPart, ToolCallPart
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.operations import OPERATION_OF, Dialect
from polyroute.types.usage import Usage

Message = Mapping[str, Any]
"""A turn in OpenAI's shape: {"role": "user", "content": "…"}."""


_KINDS = frozenset(ErrorKind)


class Served(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer tells of itself. `cost` is in US dollars, None when unknown."""

    request_id: str
    provider: str
    model: str
    attempts: int
    cost: Decimal | None = None


class ChatAnswer(Served, frozen=True, kw_only=True):
    """A whole chat answer; `raw` is the chat completion."""

    text: str
    tool_calls: tuple[ToolCallPart, ...]
    finish_reason: str
    usage: Usage | None
    raw: dict[str, Any]


class Embeddings(Served, frozen=True, kw_only=True):
    """One vector for each input, in order."""

    vectors: tuple[tuple[float, ...], ...]


class Images(Served, frozen=True, kw_only=True):
    """The images that were made: bytes where the provider sent them, else where they lie (such addresses expire)."""

    data: tuple[bytes, ...]
    urls: tuple[str, ...]


class Transcript(Served, frozen=True, kw_only=True):
    """What was said. `raw` is the provider's answer."""

    text: str
    raw: dict[str, Any]


class ChatStream:
    """A chat answer as it comes: iterate over its pieces of text; leave the `async with` to abort the rest."""

    def __init__(self, answer: StreamAnswer | WholeAnswer) -> None:
        self._answer = answer
        facts = _served(answer.headers)
        self.request_id, self.provider, self.model = facts["request_id"], facts["provider"], facts["model"]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if isinstance(self._answer, StreamAnswer):
            self._answer.close()

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        """Pieces of text. Raises PolyrouteError when the answer breaks off."""
        parser = codec(Dialect.OPENAI_CHAT).parser()
        texts: set[int] = set()
        try:
            async with aclosing(self._blocks()) as blocks:
                async for data in blocks:
                    for event in parser.feed(data):
                        if isinstance(event, PartStarted) and isinstance(event.part, TextPart):
                            texts.add(event.index)
                        elif isinstance(event, PartDelta) and event.index in texts and event.text:
                            yield event.text
        except AttemptFailed as failed:
            failure = failed.failure
            # The error in the stream is our own, and its code is our kind unless the provider gave a code.
            kind = ErrorKind(failure.code) if failure.code in _KINDS else failure.kind
            raise PolyrouteError(kind, failure.message, request_id=self.request_id) from failed

    async def _blocks(self) -> AsyncGenerator[bytes, None]:
        if isinstance(self._answer, WholeAnswer):
            yield self._answer.body
            return
        while data := await self._answer.next():
            yield data


class Gateway:
    """The gateway inside one's own program.

        async with Gateway.from_config("polyroute.yaml") as gateway:
            answer = await gateway.chat("text", "Hello")

    Every method takes the name of a route, `provider/model`, or a bare model id, and raises PolyrouteError. Keyword
    arguments that a method does not name are fields of OpenAI's request.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    @classmethod
    def from_config(cls, path: str | PathLike[str] | None = None) -> Self:
        """With the configuration at `path`, or `polyroute.yaml` here, or from the environment alone.

        Raises polyroute.settings.ConfigurationError, which lists everything that is wrong.
        """
        return cls(build_app(read_configuration(None if path is None else Path(path))))

    async def __aenter__(self) -> Self:
        await self._app.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._app.stop()

    async def chat(self, model: str, messages: str | Sequence[Message], **fields: Any) -> ChatAnswer:
        """A whole answer to a prompt or a conversation."""
        body = {"model": model, "messages": _messages(messages), **fields}
        answer = await self._whole(Dialect.OPENAI_CHAT, body)
        response = fold(codec(Dialect.OPENAI_CHAT).parse_response(answer.body))
        parts = response.choices[0].parts if response.choices else ()
        return ChatAnswer(
            **_served(answer.headers),
            text="".join(part.text for part in parts if isinstance(part, TextPart)),
            tool_calls=tuple(part for part in parts if isinstance(part, ToolCallPart)),
            finish_reason=response.choices[0].finish.unified if response.choices else "other",
            usage=response.usage,
            raw=msgspec.json.decode(answer.body),
        )

    async def stream(self, model: str, messages: str | Sequence[Message], **fields: Any) -> ChatStream:
        """An answer as it comes; it has a provider already when this returns."""
        body = {"model": model, "messages": _messages(messages), **fields, "stream": True}
        return ChatStream(await self._ask(Dialect.OPENAI_CHAT, body))

    async def embed(self, model: str, texts: str | Sequence[str], **fields: Any) -> Embeddings:
        """A vector for each text."""
        inputs = [texts] if isinstance(texts, str) else list(texts)
        body = {"model": model, "input": inputs, "encoding_format": "float", **fields}
        answer = await self._whole(Dialect.OPENAI_EMBEDDINGS, body)
        rows = sorted(msgspec.json.decode(answer.body)["data"], key=lambda row: row["index"])
        return Embeddings(**_served(answer.headers), vectors=tuple(tuple(row["embedding"]) for row in rows))

    async def image(self, model: str, prompt: str, **fields: Any) -> Images:
        """Images for a prompt."""
        answer = await self._whole(Dialect.OPENAI_IMAGES, {"model": model, "prompt": prompt, **fields})
        rows = msgspec.json.decode(answer.body)["data"]
        try:
            data = tuple(base64.b64decode(row["b64_json"]) for row in rows if row.get("b64_json"))
        except binascii.Error as error:
            raise PolyrouteError(ErrorKind.BAD_RESPONSE, "The provider's image is no base64.") from error
        urls = tuple(row["url"] for row in rows if row.get("url"))
        return Images(**_served(answer.headers), data=data, urls=urls)

    async def speak(self, model: str, text: str, *, voice: str = "alloy", **fields: Any) -> AsyncGenerator[bytes, None]:
        """Speech for a text, in pieces as it comes."""
        answer = await self._ask(Dialect.OPENAI_SPEECH, {"model": model, "input": text, "voice": voice, **fields})
        if isinstance(answer, WholeAnswer):
            yield answer.body
            return
        try:
            while data := await answer.next():
                yield data
        finally:
            answer.close()

    async def transcribe(self, model: str, audio: bytes, *, filename: str = "audio.wav", **fields: str) -> Transcript:
        """The words of a recording."""
        boundary = new_request_id()
        form = Form(f"multipart/form-data; boundary={boundary}")
        for name, value in {"model": model, **fields, "response_format": "json"}.items():
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
            form.write(f"{head}{value}\r\n".encode())
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{Path(filename).name}"\r\n\r\n'
        form.write(head.encode())
        form.write(audio)
        form.write(f"\r\n--{boundary}--\r\n".encode())
        form.finish()
        call = Call(
            id=new_request_id(), operation=OPERATION_OF[Dialect.OPENAI_TRANSCRIPTIONS],
            dialect=Dialect.OPENAI_TRANSCRIPTIONS, model=model, stream=False, body=b"",
            content_type=f"multipart/form-data; boundary={boundary}".encode(),
        )  # fmt: skip
        try:
            answer = await self._app.gateway.answer(Conversation(call, form))
        finally:
            form.close()
        assert isinstance(answer, WholeAnswer)  # only a streamed call streams
        raw = msgspec.json.decode(answer.body)
        return Transcript(**_served(answer.headers), text=raw["text"], raw=raw)

    async def _ask(self, dialect: Dialect, body: Mapping[str, Any]) -> WholeAnswer | StreamAnswer:
        call = json_call(msgspec.json.encode(body), dialect, request_id=new_request_id())
        return await self._app.gateway.answer(Conversation(call))

    async def _whole(self, dialect: Dialect, body: Mapping[str, Any]) -> WholeAnswer:
        if body.get("stream"):
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "Use `stream` for a streamed answer.", param="stream")
        answer = await self._ask(dialect, body)
        assert isinstance(answer, WholeAnswer)  # only a streamed call streams
        return answer


def _messages(given: str | Sequence[Message]) -> list[Message]:
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def _served(headers: Headers) -> dict[str, Any]:
    found = {name: value.decode() for name, value in headers}
    cost = found.get(b"x-polyroute-cost-usd")
    return {
        "request_id": found[b"x-polyroute-request-id"],
        "provider": found[b"x-polyroute-provider"],
        "model": found[b"x-polyroute-model"],
        "attempts": int(found[b"x-polyroute-attempts"]),
        "cost": None if cost is None else Decimal(cost),
    }
