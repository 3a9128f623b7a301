"""A job at RunPod's queue as one answer: waiting, streaming, and cancelling when nobody wants it any more."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from polyroute.ports import Credential, Headers, Timeouts, WireRequest, WireResponse
from polyroute.providers.runpod import RunpodAdapter
from polyroute.types.errors import AttemptFailed, ErrorKind
from polyroute.types.operations import Dialect, Operation
from polyroute.types.plans import Target
from support.provider_rows import provider_row

BASE = "https://api.runpod.ai/v2/e1"


class Answer:
    def __init__(self, body: Any, status: int = 200) -> None:
        self.status = status
        self.headers: Headers = [(b"content-type", b"application/json")]
        self._body = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def read(self, deadline: float, limit: int) -> bytes:
        return self._body

    async def receive(self, deadline: float) -> bytes:
        body, self._body = self._body, b""
        return body

    def abort(self) -> None:
        pass


class Queue:
    """Answers each call with the next of its script; remembers what was asked."""

    def __init__(self, **script: list[Answer]) -> None:
        self.asked: list[str] = []
        self.requests: list[WireRequest] = []
        self._script = script
        self.cancelled = asyncio.Event()

    async def send(self, request: WireRequest, timeouts: Timeouts, deadline: float) -> WireResponse:
        tail = request.url.removeprefix(f"{BASE}/")
        self.asked.append(f"{request.method} {tail}")
        self.requests.append(request)
        verb = tail.partition("/")[0].partition("?")[0]
        if verb == "cancel":
            self.cancelled.set()
            return Answer({"id": "j1", "status": "CANCELLED"})
        return self._script[verb].pop(0)

    async def aclose(self) -> None:
        pass


async def no_pause(seconds: float) -> None:
    await asyncio.sleep(0)


def exchange(queue: Queue, *, stream: bool = False, pause: Any = no_pause, patience: float = 60) -> Any:
    row = provider_row(
        "runpod", {Dialect.RUNPOD: "/runsync"}, base_url="https://api.runpod.ai/v2/{endpoint_id}",
        options={"endpoint_id": "e1"},
    )  # fmt: skip
    adapter = RunpodAdapter(row, pause=pause)
    endpoint = adapter.endpoint(Operation.CHAT, Dialect.OPENAI_CHAT)
    assert endpoint is not None
    request = adapter.request(
        endpoint, Target("acme", "m"), Credential("a", "secret"),
        body=b'{"input":{}}', content_type=b"application/json", stream=stream, forward=[],
    )  # fmt: skip
    send = adapter.exchange
    assert send is not None
    deadline = asyncio.get_running_loop().time() + patience
    return send(queue, request, Timeouts(headers=30), deadline)


async def test_a_job_that_is_done_at_once_is_one_request() -> None:
    queue = Queue(runsync=[Answer({"id": "j1", "status": "COMPLETED", "output": "hi"})])
    answer = await exchange(queue)
    assert json.loads(await answer.read(0, 100)) == {"id": "j1", "status": "COMPLETED", "output": "hi"}
    assert queue.asked == ["POST runsync?wait=25000"]
    assert (b"authorization", b"Bearer secret") in queue.requests[0].headers


async def test_a_slow_job_is_polled_until_it_ends() -> None:
    queue = Queue(
        runsync=[Answer({"id": "j1", "status": "IN_QUEUE"})],
        status=[
            Answer({"id": "j1", "status": "IN_PROGRESS"}),
            Answer({"id": "j1", "status": "COMPLETED", "output": 1}),
        ],
    )
    answer = await exchange(queue)
    assert json.loads(await answer.read(0, 100))["output"] == 1
    assert queue.asked[1:] == ["GET status/j1", "GET status/j1"]
    assert (b"authorization", b"Bearer secret") in queue.requests[1].headers


async def test_an_error_of_the_queue_is_handed_on() -> None:
    answer = await exchange(Queue(runsync=[Answer(b"", status=401)]))
    assert answer.status == 401


async def test_what_is_no_job_is_a_bad_response() -> None:
    with pytest.raises(AttemptFailed) as caught:
        await exchange(Queue(runsync=[Answer(b"<html>")]))
    assert caught.value.failure.kind is ErrorKind.BAD_RESPONSE


async def test_a_caller_that_goes_away_cancels_the_job() -> None:
    queue = Queue(runsync=[Answer({"id": "j1", "status": "IN_QUEUE"})])
    waiting = asyncio.Event()

    async def never(seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(exchange(queue, pause=never))
    await asyncio.wait_for(waiting.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(queue.cancelled.wait(), 5)
    assert queue.asked[-1] == "POST cancel/j1"


async def test_the_deadline_cancels_the_job() -> None:
    queue = Queue(runsync=[Answer({"id": "j1", "status": "IN_QUEUE"})])
    with pytest.raises(AttemptFailed) as caught:
        await exchange(queue, patience=0.1)
    assert caught.value.failure.kind is ErrorKind.TIMEOUT
    await asyncio.wait_for(queue.cancelled.wait(), 5)


def poll(status: str, *outputs: Any) -> Answer:
    return Answer({"status": status, "stream": [{"output": output} for output in outputs]})


async def test_a_stream_is_a_line_for_each_poll_that_brought_something() -> None:
    queue = Queue(
        run=[Answer({"id": "j1", "status": "IN_QUEUE"})],
        stream=[poll("IN_QUEUE"), poll("IN_PROGRESS", "a\n"), poll("IN_PROGRESS"), poll("COMPLETED", "b")],
    )
    answer = await exchange(queue, stream=True)
    lines = []
    while data := await answer.receive(asyncio.get_running_loop().time() + 60):
        lines.append(json.loads(data))
        assert data.count(b"\n") == 1
    assert [[item["output"] for item in line["stream"]] for line in lines] == [["a\n"], ["b"]]
    answer.abort()
    assert not queue.cancelled.is_set(), "a job that ended was cancelled"


async def test_a_bare_list_is_a_poll_too() -> None:
    queue = Queue(
        run=[Answer({"id": "j1", "status": "IN_QUEUE"})],
        stream=[Answer([{"output": "a"}])],
        status=[Answer({"id": "j1", "status": "COMPLETED"})],
    )
    answer = await exchange(queue, stream=True)
    assert json.loads(await answer.read(asyncio.get_running_loop().time() + 60, 1000)) == {
        "status": "COMPLETED", "stream": [{"output": "a"}],
    }  # fmt: skip


async def test_a_failed_stream_says_so() -> None:
    queue = Queue(
        run=[Answer({"id": "j1", "status": "IN_QUEUE"})],
        stream=[Answer({"status": "FAILED", "error": "out of memory"})],
    )
    answer = await exchange(queue, stream=True)
    assert json.loads(await answer.receive(asyncio.get_running_loop().time() + 60))["error"] == "out of memory"


async def test_aborting_a_stream_cancels_its_job() -> None:
    queue = Queue(run=[Answer({"id": "j1", "status": "IN_QUEUE"})], stream=[poll("IN_PROGRESS", "a")])
    answer = await exchange(queue, stream=True)
    await answer.receive(asyncio.get_running_loop().time() + 60)
    answer.abort()
    answer.abort()
    await asyncio.wait_for(queue.cancelled.wait(), 5)
    assert queue.asked.count("POST cancel/j1") == 1


async def test_the_openai_route_is_one_ordinary_request() -> None:
    row = provider_row(
        "runpod", {Dialect.OPENAI_CHAT: "/openai/v1/chat/completions", Dialect.RUNPOD: "/runsync"}, base_url=BASE
    )
    adapter = RunpodAdapter(row)
    endpoint = adapter.endpoint(Operation.CHAT, Dialect.ANTHROPIC_MESSAGES)
    assert endpoint is not None
    assert endpoint.dialect is Dialect.OPENAI_CHAT
    request = adapter.request(
        endpoint, Target("acme", "m"), None, body=b"", content_type=b"", stream=False, forward=[]
    )  # fmt: skip
    queue = Queue(openai=[Answer({"object": "chat.completion"})])
    send = adapter.exchange
    assert send is not None
    await send(queue, request, Timeouts(), asyncio.get_running_loop().time() + 60)
    assert queue.asked == ["POST openai/v1/chat/completions"]
