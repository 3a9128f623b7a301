"""Asking a gateway in our own words for media (`types.media.MediaRequest`), as durable jobs do."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from polyroute.engine.answers import WholeAnswer
from polyroute.engine.envelope import json_call, new_request_id
from polyroute.engine.lanes import Conversation
from polyroute.engine.media.tracking import Untracked
from polyroute.types.media import OPERATION_OF_TASK, Progress, Task
from polyroute.types.operations import MEDIA_DIALECT_OF
from support.media_gateway import MediaGateway


class Watched(Untracked):
    """Keeps what is told of the progress."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Progress] = []

    async def progress(self, progress: Progress) -> None:
        self.seen.append(progress)


async def ask_in_own_words(
    gateway: MediaGateway, model: str, watched: Watched | None = None, **request: Any
) -> dict[str, Any]:
    """The JSON of what was made. Raises PolyrouteError."""
    dialect = MEDIA_DIALECT_OF[OPERATION_OF_TASK[Task(request["task"])]]
    body = json.dumps({"model": model, **request}).encode()
    call = json_call(body, dialect, request_id=new_request_id(), stream=False)
    answer = await gateway.app.gateway.answer(Conversation(call), watched)
    assert isinstance(answer, WholeAnswer)
    made: dict[str, Any] = json.loads(answer.body)
    return made


async def until_begun(gateway: MediaGateway, provider: str, *, polled: bool = False) -> None:
    """Waits until the provider was given something to do, and was asked for it where `polled`."""
    async with asyncio.timeout(10):
        while not [job for job in await gateway.jobs(provider) if job["polls"] or not polled]:
            pass  # each look is a call over a socket
