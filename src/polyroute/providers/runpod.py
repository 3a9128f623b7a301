"""RunPod serverless: the OpenAI route of its vLLM workers, and the job queue for workers of one's own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from polyroute.ports import Endpoint, Headers, Timeouts, Transport, WireRequest, WireResponse
from polyroute.providers.catalog_adapter import CatalogAdapter
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.operations import Dialect
from polyroute.types.plans import Target

_WAITING = frozenset({"IN_QUEUE", "IN_PROGRESS", "RUNNING"})
_SHORTEST_WAIT, _LONGEST_WAIT = 1_000, 300_000  # of runsync, in milliseconds
_CANCEL_PATIENCE = 5.0
_POLL_FIRST, _POLL_LONGEST = 0.5, 5.0
_JOB_LIMIT = 32 * 1024 * 1024

Pause = Callable[[float], Awaitable[None]]


class RunpodAdapter(CatalogAdapter):
    """`{endpoint_id}` in the base URL is the row's `endpoint_id` option. A row that lists `openai_chat` before `runpod`
    prefers the OpenAI route, which needs no queue."""

    def __init__(self, row: Any, pause: Pause = asyncio.sleep, **settings: Any) -> None:
        super().__init__(row, **settings)
        self._pause = pause
        self.exchange = self._work_off

    def address(self, endpoint: Endpoint) -> str:
        """With the endpoint's id filled in; the queue's path is its folder."""
        address = (
            super()
            .address(endpoint)
            .replace("{endpoint_id}", quote(str(self.row.options.get("endpoint_id", "")), safe=""))
        )
        return address.removesuffix("/runsync").removesuffix("/run") if endpoint.dialect is Dialect.RUNPOD else address

    def url(self, endpoint: Endpoint, target: Target, *, stream: bool) -> str:
        """`/run` for a stream, `/runsync` for a whole answer."""
        address = super().url(endpoint, target, stream=stream)
        if endpoint.dialect is not Dialect.RUNPOD:
            return address
        return f"{address}/run" if stream else f"{address}/runsync"

    async def _work_off(
        self, transport: Transport, request: WireRequest, timeouts: Timeouts, deadline: float
    ) -> WireResponse:
        """A job: submitted, waited for, cancelled when nobody wants it any more."""
        path = urlsplit(request.url).path
        if not path.endswith(("/run", "/runsync")):
            return await transport.send(request, timeouts, deadline)
        folder = request.url.rpartition("/")[0]
        if path.endswith("/runsync"):
            wait = min(max(int((timeouts.headers - 5) * 1000), _SHORTEST_WAIT), _LONGEST_WAIT)
            request = WireRequest(request.method, f"{request.url}?wait={wait}", request.headers, request.body)
        response = await transport.send(request, timeouts, deadline)
        if response.status >= 400:
            return response
        answer = _JobAnswer(response.status, response.headers, await response.read(deadline, _JOB_LIMIT))
        job = _Job(transport, folder, request.headers, timeouts=timeouts, pause=self._pause, state=answer.state())
        if path.endswith("/runsync"):
            return await job.outcome(answer, deadline)
        return _JobStream(job, answer) if job.id else answer


class _JobState(msgspec.Struct):
    """What every answer of the queue has."""

    id: str = ""
    status: str = ""


class _JobAnswer:
    """A whole answer that was read already."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self._body = body

    def state(self) -> _JobState:
        """The job's id and status, unknown for a bare list of outputs. Raises AttemptFailed (bad_response)."""
        if self._body.lstrip()[:1] == b"[":
            return _JobState()
        try:
            return msgspec.json.decode(self._body, type=_JobState)
        except msgspec.DecodeError as error:
            raise AttemptFailed(
                Failure(kind=ErrorKind.BAD_RESPONSE, message="the queue answered with something that is no job")
            ) from error

    async def read(self, deadline: float, limit: int) -> bytes:
        body, self._body = self._body, b""
        return body

    def rest(self) -> bytes:
        """The whole body."""
        return self._body

    async def receive(self, deadline: float) -> bytes:
        return await self.read(deadline, 0)

    def abort(self) -> None:
        """Nothing is open."""


class _Job:
    """One job at the queue."""

    def __init__(
        self,
        transport: Transport,
        folder: str,
        headers: Headers,
        *,
        timeouts: Timeouts,
        pause: Pause,
        state: _JobState,
    ) -> None:
        self.id = state.id
        self.status = state.status
        self._transport = transport
        self._folder = folder
        self._headers = [field for field in headers if field[0] != b"content-type"]
        self._timeouts = timeouts
        self._pause = pause
        self._cancelling: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> bool:
        """Whether the job is still to end."""
        return self.status in _WAITING

    async def ask(self, method: str, verb: str, deadline: float) -> _JobAnswer:
        """One call about this job, e.g. GET status."""
        request = WireRequest(method, f"{self._folder}/{verb}/{quote(self.id, safe='')}", self._headers)
        response = await self._transport.send(request, self._timeouts, deadline)
        answer = _JobAnswer(response.status, response.headers, await response.read(deadline, _JOB_LIMIT))
        if response.status < 400 and verb != "cancel":
            self.status = answer.state().status or self.status
        return answer

    async def outcome(self, answer: _JobAnswer, deadline: float) -> _JobAnswer:
        """Poll until the job has ended. Cancels it upstream at the deadline and when the caller goes away."""
        wait = _POLL_FIRST
        try:
            while self.waiting and self.id:
                await self.rest(wait, deadline)
                answer = await self.ask("GET", "status", deadline)
                if answer.status >= 400:
                    return answer
                wait = min(wait * 2, _POLL_LONGEST)
        except BaseException:
            self.cancel()
            raise
        return answer

    async def rest(self, seconds: float, deadline: float) -> None:
        """Wait before the next poll; raises AttemptFailed (timeout) when that would be after the deadline."""
        if asyncio.get_running_loop().time() + seconds >= deadline:
            raise AttemptFailed(Failure(kind=ErrorKind.TIMEOUT, message="the job did not end in time"))
        await self._pause(seconds)

    def cancel(self) -> None:
        """Tell the queue, in the background, that nobody waits any more."""
        if self.id and self.waiting and self._cancelling is None:
            self._cancelling = asyncio.get_running_loop().create_task(self._cancel())
            _CANCELLATIONS.add(self._cancelling)
            self._cancelling.add_done_callback(_CANCELLATIONS.discard)

    async def _cancel(self) -> None:
        deadline = asyncio.get_running_loop().time() + _CANCEL_PATIENCE
        try:
            await self.ask("POST", "cancel", deadline)
        except AttemptFailed:
            return  # it will run out by itself


_CANCELLATIONS: set[asyncio.Task[None]] = set()
"""Keeps tasks alive until they are done."""


class _JobStream:
    """A job's outputs as they come: each poll of the queue is one line of JSON."""

    def __init__(self, job: _Job, submitted: _JobAnswer) -> None:
        self.status = submitted.status
        self.headers: Headers = [(b"content-type", b"application/x-ndjson")]
        self._job = job
        self._ended = False

    def rest(self) -> None:
        """The job may go on."""

    async def receive(self, deadline: float) -> bytes:
        """The next poll that brought something, b"" after the job's end."""
        wait = _POLL_FIRST
        while not self._ended:
            line = await self._poll(deadline)
            self._ended = not self._job.waiting
            if line is not None or self._ended:
                return line or b""
            await self._job.rest(wait, deadline)
            wait = min(wait * 2, _POLL_LONGEST)
        return b""

    async def _poll(self, deadline: float) -> bytes | None:
        answer = await self._job.ask("GET", "stream", deadline)
        body = await answer.read(deadline, _JOB_LIMIT)
        if answer.status >= 400:
            self._ended = True
            message = f"the queue answered with status {answer.status} while streaming"
            raise AttemptFailed(Failure(kind=ErrorKind.UNAVAILABLE, message=message, http_status=answer.status))
        if body.lstrip()[:1] == b"[":  # a documented form of this answer, without a status
            await self._job.ask("GET", "status", deadline)
            body = msgspec.json.encode({"status": self._job.status, "stream": msgspec.Raw(body)})
        return _one_line(body)

    async def read(self, deadline: float, limit: int) -> bytes:
        """All remaining lines."""
        lines = bytearray()
        while data := await self.receive(deadline):
            lines += data
            if len(lines) > limit:
                raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message="the job's output is too large"))
        return bytes(lines)

    def abort(self) -> None:
        """Cancel the job unless it has ended."""
        if not self._ended:
            self._ended = True
            self._job.cancel()


class _Poll(msgspec.Struct):
    stream: list[msgspec.Raw] = []
    error: msgspec.Raw = msgspec.Raw()
    status: str = ""


def _one_line(body: bytes) -> bytes | None:
    """A poll on one line; None when it brought nothing and says nothing of an end."""
    try:
        poll = msgspec.json.decode(body, type=_Poll)
    except msgspec.DecodeError:
        return None
    if not poll.stream and not bytes(poll.error) and (poll.status in _WAITING or not poll.status):
        return None
    return msgspec.json.format(body, indent=-1) + b"\n"
