"""Media work asked for in our own vocabulary, as jobs ask for it: any task of any provider, through the whole engine."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from polyroute.engine.answers import WholeAnswer
from polyroute.engine.lanes import Conversation
from polyroute.ports import Call, Options
from polyroute.types.media import OPERATION_OF_TASK, Made, MediaInput, Task
from polyroute.types.operations import MEDIA_DIALECT_OF
from support.media_gateway import MediaGateway


class MadeFor:
    """What came back: the work, and the answer's header fields."""

    def __init__(self, gateway: MediaGateway, answer: WholeAnswer) -> None:
        self.made = msgspec.json.decode(answer.body, type=Made)
        self.headers = {name.decode(): value.decode() for name, value in answer.headers}
        self._gateway = gateway

    @property
    def provider(self) -> str:
        """Who made it."""
        return self.headers["x-polyroute-provider"]

    async def content(self, number: int = 0) -> bytes:
        """The bytes of a result, as they were stored."""
        store = self._gateway.app.media.artifacts
        return b"".join([block async for block in store.open(self.made.artifacts[number].id)])


async def make(
    gateway: MediaGateway, task: Task, model: str, *, inputs: tuple[MediaInput, ...] = (),
    options: Options | None = None, verbatim: Mapping[str, Any] | None = None, **fields: Any,
) -> MadeFor:  # fmt: skip
    """One piece of work; `verbatim` are its options by provider. Raises PolyrouteError."""
    operation = OPERATION_OF_TASK[task]
    values: Mapping[str, Any] = {"task": task, "inputs": inputs, "options": verbatim or {}, **fields}
    call = Call(
        id=f"req_{uuid.uuid4().hex}", operation=operation, dialect=MEDIA_DIALECT_OF[operation], model=model, stream=False,
        body=b"", content_type=b"application/json", options=options or Options(),
        fields={name: msgspec.Raw(msgspec.json.encode(value)) for name, value in values.items()},
    )  # fmt: skip
    answer = await gateway.app.gateway.answer(Conversation(call))
    assert isinstance(answer, WholeAnswer)
    return MadeFor(gateway, answer)


def data_uri(content: bytes, media_type: str) -> str:
    """Bytes as an address of their own."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
