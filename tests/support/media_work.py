"""Asking a gateway in our own media vocabulary, as durable jobs do."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import subprocess
import tempfile
from typing import Any

import msgspec
import pytest

from polyroute.engine.answers import WholeAnswer
from polyroute.engine.envelope import json_call, new_request_id
from polyroute.engine.lanes import Conversation
from polyroute.engine.media.inputs import Inputs
from polyroute.engine.media.wire import ProviderWire
from polyroute.ports import Timeouts
from polyroute.types.media import OPERATION_OF_TASK, MediaRequest, Task
from polyroute.types.operations import MEDIA_DIALECT_OF
from polyroute.types.plans import Target
from support.media_gateway import MediaGateway
from support.recordings import recordings_folder


class Work:
    """What came of it: `made` as jobs keep it, and the answer's headers."""

    def __init__(self, answer: WholeAnswer) -> None:
        self.made: dict[str, Any] = json.loads(answer.body)
        self.headers = {name.decode(): value.decode() for name, value in answer.headers}

    @property
    def artifact(self) -> dict[str, Any]:
        """The first file."""
        found: dict[str, Any] = self.made["artifacts"][0]
        return found

    @property
    def dropped(self) -> list[str]:
        """What was not honoured."""
        found: list[str] = self.made.get("dropped", [])
        return found

    @property
    def cost(self) -> float:
        """What the provider itself says that it charged."""
        return float(self.made["usage"]["reported_cost_usd"])


async def ask(gateway: MediaGateway, model: str, task: str, **fields: Any) -> Work:
    """One piece of work, waited for. Raises PolyrouteError."""
    body = json.dumps({"model": model, "task": task, **fields}).encode()
    dialect = MEDIA_DIALECT_OF[OPERATION_OF_TASK[Task(task)]]
    answer = await gateway.app.gateway.answer(Conversation(json_call(body, dialect, request_id=new_request_id())))
    assert isinstance(answer, WholeAnswer)
    return Work(answer)


def given(role: str, content: bytes, media_type: str) -> dict[str, str]:
    """An input of these bytes."""
    return {"role": role, "url": f"data:{media_type};base64,{base64.b64encode(content).decode()}"}


async def content_of(gateway: MediaGateway, work: Work, number: int = 0) -> bytes:
    """The bytes of a result."""
    identifier = work.made["artifacts"][number]["id"]
    return b"".join([block async for block in gateway.app.media.artifacts.open(identifier)])


def probe(content: bytes) -> dict[str, Any]:
    """What ffprobe says of a file; an empty object where there is no ffprobe."""
    if shutil.which("ffprobe") is None:
        return {}
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", file.name]
        told = subprocess.run(command, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def wire_of(gateway: MediaGateway, name: str, callback_url: str | None = None) -> tuple[Any, ProviderWire]:
    """A provider's media adapter, and a wire to it, over which inputs have no address from which they can be fetched."""
    app = gateway.app
    floor, provider = app.media.floor(), app.gateway.runtime.providers[name]
    target = Target(name, next((models[0] for models in provider.row.media.values()), ""))
    storage = msgspec.structs.replace(floor.storage, address="", public_url=None)
    request = MediaRequest(task=Task.TEXT_TO_IMAGE, prompt="x")
    wire = ProviderWire(
        provider, provider.row.endpoints[-1], target, provider.credentials[0], app.gateway.transport,
        Inputs(storage, request, None), sockets=floor.sockets, timeouts=Timeouts(),
        deadline=asyncio.get_running_loop().time() + 30, callback_url=callback_url,
    )  # fmt: skip
    return provider.media, wire


def recording(name: str) -> dict[str, Any]:
    """A recorded exchange by its id; the test is skipped where the recordings are not at hand."""
    folder = recordings_folder()
    if folder is None:
        pytest.skip("the recorded exchanges are not beside the project")
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    return found
