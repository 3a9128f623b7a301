"""A provider that says what was recorded of a real one, and what it was asked."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from polyroute.ports import Body, FormPart, Headers, Reply
from polyroute.types.media import MediaInput


class Asked:
    """One call: what went out."""

    def __init__(self, method: str, path: str, body: Any, form: tuple[FormPart, ...] | None, query: Any) -> None:
        self.method = method
        self.path = path
        self.json = body
        self.form = form
        self.query = query


class WholeFile:
    """A `ports.Body` of bytes."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    @property
    def length(self) -> int:
        return len(self._content)

    def chunks(self) -> list[bytes]:
        return [self._content]


class _Answer:
    """A `ports.WireResponse` whose body is there at once."""

    def __init__(self, reply: Reply) -> None:
        self.status = reply.status
        self.headers = reply.headers
        self._rest = reply.body

    async def receive(self, deadline: float) -> bytes:
        found, self._rest = self._rest, b""
        return found

    async def read(self, deadline: float, limit: int) -> bytes:
        return await self.receive(deadline)

    def abort(self) -> None:
        pass


class ReplayedWire:
    """A `ports.MediaWire` over recorded answers, in their order; inputs are what `content` holds."""

    durable = True
    callback_url = None
    secret = "secret"
    options: Mapping[str, Any] = MappingProxyType({})

    def __init__(
        self, *recordings: dict[str, Any], base_url: str = "", content: bytes = b"", media_type: str = ""
    ) -> None:
        self.base_url = base_url
        self.asked: list[Asked] = []
        self._answers = [reply_of(one["response"]) for one in recordings]
        self._content = content
        self._media_type = media_type

    async def call(self, method: str, path: str, **more: Any) -> Reply:
        self.asked.append(Asked(method, path, more.get("json"), more.get("form"), more.get("query")))
        return self._answers.pop(0)

    async def open(self, method: str, path: str, **more: Any) -> Any:
        return _Answer(await self.call(method, path, **more))

    async def input_url(self, item: MediaInput) -> str | None:
        return item.url

    async def input_body(self, item: MediaInput) -> tuple[Body, str]:
        return WholeFile(self._content), self._media_type

    async def input_data_uri(self, item: MediaInput) -> str:
        return f"data:{self._media_type};base64,{base64.b64encode(self._content).decode()}"


def reply_of(answer: dict[str, Any]) -> Reply:
    """A recorded answer."""
    headers: Headers = [(name.encode(), value.encode()) for name, value in answer.get("headers", {}).items()]
    return Reply(answer["status"], headers, body_of(answer))


def body_of(message: dict[str, Any]) -> bytes:
    """The bytes of a recorded message."""
    if "body_json" in message:
        return json.dumps(message["body_json"]).encode()
    if "body_text" in message:
        return str(message["body_text"]).encode()
    return base64.b64decode(message.get("body_base64", ""))
