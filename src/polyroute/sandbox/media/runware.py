"""Runware: arrays of tasks by REST and by a socket that can be dropped and resumed."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from polyroute.sandbox.errors import Refused
from polyroute.sandbox.exchange import Direct, Exchange, Json, Reply, json_reply, uuid_text
from polyroute.sandbox.media import runware_tasks as tasks
from polyroute.sandbox.media.call import answered, encoded
from polyroute.sandbox.media.callbacks import Callback
from polyroute.sandbox.media.jobs import AnswerLost, Job, Upload
from polyroute.sandbox.route import Route, route

_READING = ("getResponse", "getTaskDetails", "modelSearch", "accountManagement", "imageUpload", "mediaStorage")


def _submit(exchange: Exchange, task: Json) -> Job:
    """Take a task in; the caller has checked it. Raises `Answered` when its UUID is already at work."""
    operation, made = tasks.operation_of(task), tasks.outputs(exchange, task)
    url = task.get("webhookURL")
    return exchange.desk.submit(
        exchange,
        operation,
        str(task.get("model") or task["taskType"]),
        made,
        name=lambda digest: str(task["taskUUID"]),
        cost=tasks.price_of(task, made),
        digest=tasks.digest_of(task),
        body=task,
        callback=None if url is None else lambda job: _callback(exchange, job, str(url)),
    )


def _callback(exchange: Exchange, job: Job, url: str) -> Callback:
    good = job.phase == "succeeded" and not tasks.is_refused(job)
    item = tasks.items(exchange, job)[0] | {"status": "success"} if good else tasks.failure(job)
    return Callback(url=url, body=encoded(item), headers={})


def _conflict(exchange: Exchange, task: Json) -> Json | None:
    if exchange.desk.find("runware", str(task.get("taskUUID"))) is None:
        return None
    return tasks.error(task, "conflictTaskUUID", "A task with this taskUUID already exists.", "taskUUID")


def _response(exchange: Exchange, task: Json) -> tuple[list[Json], list[Json]]:
    """What `getResponse` says: items of `data` and of `errors`."""
    job = exchange.desk.find("runware", str(task.get("taskUUID")))
    if job is not None:
        job.polls += 1
    hidden = job is not None and job.fault is not None and job.has("missing_at_first") and job.polls <= job.fault.polls
    if job is None or hidden or job.expired:
        return [], [tasks.error(task, "taskFailedOrNotFound", "The task failed or was not found.", "taskUUID")]
    if job.has("key_revoked"):
        return [], [tasks.error(task, "invalidApiKey", "Invalid API key.", "apiKey")]
    base = tasks.acknowledgement(job.body)
    if not job.ended:
        return [base | {"status": "processing", "progress": job.percent}], []
    if job.phase == "failed" or tasks.is_refused(job):
        return [], [tasks.failure(job) | {"status": "error"}]
    return [item | {"status": "success"} for item in tasks.items(exchange, job)], []


def _read(exchange: Exchange, task: Json) -> tuple[list[Json], list[Json]]:
    """Tasks that make nothing."""
    base: Json = {"taskType": task.get("taskType"), "taskUUID": task.get("taskUUID")}
    match task.get("taskType"):
        case "getResponse" | "getTaskDetails":
            return _response(exchange, task)
        case "modelSearch":
            wanted = str(task.get("search") or "")
            rows = [
                {"air": name, "name": name, "version": "1", "category": "checkpoint"}
                for name in exchange.profile.models
            ]
            rows = [row for row in rows if wanted in row["air"]]
            return [base | {"totalResults": len(rows), "results": rows}], []
        case "accountManagement":
            return [base | {"balance": 25.0, "team": {"name": "sandbox"}, "apiKeys": [], "usage": {}}], []
    name = uuid_text(str(task.get("taskUUID")), "upload")
    url = exchange.desk.keep_upload(exchange, name, Upload(name=name, content_type="image/png", size=64, data=None))
    prefix = "image" if task.get("taskType") == "imageUpload" else "media"
    return [base | {f"{prefix}UUID": name, f"{prefix}URL": url}], []


async def _finished(exchange: Exchange, job: Job) -> tuple[list[Json], list[Json]]:
    await exchange.desk.settled(job)
    if job.phase == "failed" or tasks.is_refused(job):
        return [], [tasks.failure(job)]
    return tasks.items(exchange, job), []


async def _one(exchange: Exchange, task: Any) -> tuple[list[Json], list[Json]]:
    """Data and errors of one task, waited for where it is synchronous."""
    if not isinstance(task, dict) or task.get("taskType") not in (*_READING, *tasks.MAKING):
        shown = task if isinstance(task, dict) else {}
        return [], [tasks.error(shown, "unsupportedTaskType", "Invalid value for 'taskType'.", "taskType")]
    if task["taskType"] in _READING:
        return _read(exchange, task)
    wrong = tasks.problem_of(task) or _conflict(exchange, task)
    if wrong is not None:
        return [], [wrong]
    job = _submit(exchange, task)
    if task.get("deliveryMethod") == "async" or task.get("webhookURL"):
        return [tasks.acknowledgement(task)], []
    return await _finished(exchange, job)


async def answer_rest(exchange: Exchange) -> Reply:
    """`POST /v1`: an array of tasks; the key in the header or in a first task."""
    try:
        given = msgspec.json.decode(exchange.raw)
    except msgspec.DecodeError as error:
        raise answered({"errors": [tasks.error({}, "invalidJson", "The body is no JSON.")]}, 400) from error
    if not isinstance(given, list):
        raise answered({"errors": [tasks.error({}, "invalidPayload", "The body must be an array of tasks.")]}, 400)
    key = exchange.headers.get("authorization", "").partition(" ")[2]
    if given and isinstance(given[0], dict) and given[0].get("taskType") == "authentication":
        key = str(given.pop(0).get("apiKey") or "")
    if not key or "invalid" in key:
        raise Refused("credential" if key else "no_credential")
    parts = await asyncio.gather(*(_one(exchange, task) for task in given))
    data = [item for part in parts for item in part[0]]
    errors = [item for part in parts for item in part[1]]
    value = ({"data": data} if data or not errors else {}) | ({"errors": errors} if errors else {})
    status = 200 if data or not errors else 401 if errors[0]["code"] == "invalidApiKey" else 400
    return json_reply(value, status=status)


class _Session:
    """One `connectionSessionUUID`: the socket that serves it now, and what could not be delivered."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.socket: web.WebSocketResponse | None = None
        self.waiting: list[Json] = []

    async def send(self, value: Json) -> None:
        """Now, or when the session is resumed."""
        if self.socket is None or self.socket.closed:
            self.waiting.append(value)
            return
        try:
            await self.socket.send_str(encoded(value).decode())
        except (ConnectionError, RuntimeError):
            self.waiting.append(value)

    async def resume(self, socket: web.WebSocketResponse) -> None:
        """Serve this socket from now on, first with what was kept."""
        self.socket = socket
        kept, self.waiting = self.waiting, []
        for value in kept:
            await self.send(value)


def answer_socket(exchange: Exchange) -> Reply:
    """`WS /v1`."""

    async def send(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(max_msg_size=64 << 20)
        await socket.prepare(request)
        session: _Session | None = None
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            try:
                given = msgspec.json.decode(message.data)
            except msgspec.DecodeError:
                given = None
            if not isinstance(given, list):
                await socket.send_json({"errors": [tasks.error({}, "invalidPayload", "An array of tasks is needed.")]})
                continue
            for task in given:
                session = await _heard(exchange, request, socket, session, task)
        return socket

    return Direct(send)


async def _heard(
    exchange: Exchange, request: web.Request, socket: web.WebSocketResponse, session: _Session | None, task: Any
) -> _Session | None:
    kind = task.get("taskType") if isinstance(task, dict) else None
    if kind == "authentication":
        return await _authenticated(exchange, socket, task)
    if session is None:
        await socket.send_json({"errors": [tasks.error({}, "missingApiKey", "Authenticate first.", "apiKey")]})
        return None
    if kind == "ping":
        await session.send({"data": [{"taskType": "ping", "pong": True}]})
        return session
    if kind in tasks.MAKING and isinstance(task, dict):
        await _made(exchange, request, session, task)
        return session
    data, errors = await _one(exchange, task)
    for field, found in (("data", data), ("errors", errors)):
        if found:
            await session.send({field: found})
    return session


async def _authenticated(exchange: Exchange, socket: web.WebSocketResponse, task: Json) -> _Session | None:
    key = str(task.get("apiKey") or "")
    if not key or "invalid" in key:
        code = "invalidApiKey" if key else "missingApiKey"
        await socket.send_json({"errors": [tasks.error(task, code, "Invalid API key.", "apiKey")]})
        return None
    sessions = exchange.desk.sessions
    name = str(task.get("connectionSessionUUID") or "")
    session = sessions.get(name)
    if not isinstance(session, _Session):
        name = uuid_text(str(len(sessions)), "runware session")
        session = sessions[name] = _Session(name)
    await socket.send_json({"data": [{"taskType": "authentication", "connectionSessionUUID": name}]})
    await session.resume(socket)
    return session


async def _made(exchange: Exchange, request: web.Request, session: _Session, task: Json) -> None:
    """Take a making task from the socket; what it makes comes later, a frame for each result, in the order of its end."""
    wrong = tasks.problem_of(task) or _conflict(exchange, task)
    if wrong is not None:
        await session.send({"errors": [wrong]})
        return
    try:
        job = _submit(exchange, task)
    except AnswerLost:
        # The connection drops with the job taken; its result waits for the session.
        taken = exchange.desk.find("runware", str(task["taskUUID"]))
        session.socket = None
        if request.transport is not None:
            request.transport.abort()
        if taken is None:
            return
        job = taken
    if task.get("deliveryMethod") == "async":
        await session.send({"data": [tasks.acknowledgement(task)]})
        return
    exchange.desk.background(_deliver(exchange, session, job))


async def _deliver(exchange: Exchange, session: _Session, job: Job) -> None:
    data, errors = await _finished(exchange, job)
    # Results of one task arrive in frames of their own, the last one first.
    for item in reversed(data):
        await session.send({"data": [item]})
    if errors:
        await session.send({"errors": errors})


def answer_catalogue(exchange: Exchange) -> Reply:
    """`GET content.runware.ai/models`."""
    rows: list[Json] = [
        {"model": name, "air": name, "name": name, "creator": name.partition(":")[0], "capabilities": []}
        for name in exchange.profile.models
    ]
    return json_reply({"total": len(rows), "limit": 50, "offset": 0, "items": rows})


_FREE = ("runware",)
ROUTES: tuple[Route, ...] = (
    route(r"GET /content\.runware\.ai/models", "models", "media", answer_catalogue, _FREE),
    route(r"POST ^(/api\.runware\.ai)?(/v1)?", "image", "media", answer_rest, _FREE, raw=True),
    route(r"GET ^(/ws-api\.runware\.ai)?(/v1)?", "image", "media", answer_socket, _FREE),
)
