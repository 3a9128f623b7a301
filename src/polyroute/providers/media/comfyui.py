"""ComfyUI: graphs on one's own machine (media.md 19.1).

A graph comes from the request (`options.comfyui.workflow`, in API format), from the row's option `workflows` by the name that
the target gives as its model, or is the built-in one for the task, where the model is a checkpoint. In a graph, a value that is
exactly `{prompt}`, `{negative_prompt}`, `{seed}`, `{width}`, `{height}`, `{steps}`, `{guidance}`, `{strength}`, `{duration}`,
`{fps}`, `{n}`, `{model}`, `{image}`, `{image_2}` …, `{mask}`, `{video}` or `{audio}` is put in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import FormPart, Headers, MediaSocket, MediaWire, Queued
from polyroute.providers.media.comfyui_graphs import BUILT_IN
from polyroute.providers.media.drops import keeping
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Fitted, Handle, MediaRequest, Outcome, Produced, Progress, Task
from polyroute.types.usage import Usage

_TASKS = frozenset(
    {Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE, Task.EDIT_IMAGE, Task.UPSCALE_IMAGE, Task.TEXT_TO_VIDEO,
     Task.IMAGE_TO_VIDEO, Task.MUSIC, Task.SPEECH, Task.VIDEO_TO_VIDEO}
)  # fmt: skip
_USUAL: dict[str, Any] = {
    "prompt": "", "negative_prompt": "", "seed": 0, "width": 1024, "height": 1024, "steps": 20, "guidance": 7.0,
    "strength": 0.75, "duration": 5.0, "fps": 24, "n": 1,
}  # fmt: skip
_KINDS = ("images", "video", "gifs", "audio")
_LONGEST_SOCKET = 3600.0


class ComfyUIMedia:
    """One maker for all tasks: what differs is the graph."""

    def __init__(self, row: Provider) -> None:
        self._workflows: Mapping[str, Any] = row.options.get("workflows") or {}
        self._maker = Graphs(row.name, self._workflows)

    def maker(self, task: Task, model: str) -> Queued | None:
        """By task."""
        return self._maker if task in _TASKS else None

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """What is wrong with a graph."""
        if status != 400:
            return None
        try:
            told = msgspec.json.decode(body)
            error = told["error"]
            nodes = told.get("node_errors") or {}
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
            return None
        inner = [one for node in nodes.values() for one in node.get("errors") or ()]
        words = "; ".join(f"{one.get('message')}: {one.get('details')}" for one in inner) or str(error.get("message"))
        missing = any(one.get("type") == "value_not_in_list" and "ckpt" in str(one.get("details")) for one in inner)
        kind = ErrorKind.MODEL_NOT_FOUND if missing else ErrorKind.INVALID_REQUEST
        return Failure(
            kind=kind, message=f"ComfyUI refused the graph: {words[:300]}", http_status=400, code=error.get("type")
        )

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """The checkpoints and upscalers that are installed; the workflows of the configuration are models too."""
        drawing = (await wire.call("GET", "/models/checkpoints")).json()
        enlarging = (await wire.call("GET", "/models/upscale_models", accept=(404,))).json()
        return (
            *((str(name), (Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE, Task.EDIT_IMAGE)) for name in drawing),
            *((str(name), (Task.UPSCALE_IMAGE,)) for name in (enlarging if isinstance(enlarging, list) else ())),
            *((name, ()) for name in self._workflows),
        )

    async def healthy(self, wire: MediaWire) -> str | None:
        """See `ports.LocalService.healthy`."""
        await wire.call("GET", "/system_stats")
        return None


_PAST = "256"
"""Of how many pieces of work that are over the server is asked whether they are the one."""


class Graphs:
    """Implements `ports.Queued`. The prompt's id is our key on servers that let callers choose it; older ones give their own,
    but keep our client id with it. By either the work is found again, so that handing it over twice is one piece of work."""

    resubmits = True
    pace = (0.5, 3.0)

    def __init__(self, provider: str, workflows: Mapping[str, Any]) -> None:
        self._provider = provider
        self._workflows = workflows
        self._followed: dict[str, Follower] = {}

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Everything that the graph has a place for; the rest is dropped."""
        graph = self._graph(request, model)
        places = _places(graph)
        inputs = [item.role for item in request.inputs]
        lost = tuple(
            role for role in dict.fromkeys(inputs) if not any(place.startswith(_word(role)) for place in places)
        )
        fitted = keeping(request, *places, "inputs", "format")
        return msgspec.structs.replace(fitted, dropped=(*fitted.dropped, *lost))

    def _graph(self, request: MediaRequest, model: str) -> dict[str, Any]:
        given = request.options.get(self._provider, {}).get("workflow")
        found = given or self._workflows.get(model) or BUILT_IN.get(request.task)
        if not isinstance(found, dict) or not found:
            raise PolyrouteError(
                ErrorKind.UNSUPPORTED,
                f"ComfyUI has no workflow for {request.task}: give one as 'options.{self._provider}.workflow', or name one "
                f"under providers.{self._provider}.options.workflows.", param="options",
            )  # fmt: skip
        return found

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle:
        """Upload the inputs and queue the graph."""
        graph = self._graph(request, model)
        values: dict[str, Any] = {**_USUAL, "model": model}
        values |= {name: value for name in _USUAL if (value := getattr(request, name)) is not None}
        if request.seed is None and request.idempotency_key:
            values["seed"] = int(request.idempotency_key.replace("-", "")[:12], 16)
        seen: dict[str, int] = {}
        for item in request.inputs:
            word = _word(item.role)
            seen[word] = seen.get(word, 0) + 1
            content, media_type = await wire.input_body(item)
            unique = (
                f"{(request.idempotency_key or 'polyroute')[:8]}-{word}-{seen[word]}.{media_type.partition('/')[2]}"
            )
            parts = (
                FormPart(name="image", value=content, filename=unique, media_type=media_type),
                FormPart(name="type", value="input"), FormPart(name="overwrite", value="true"),
            )  # fmt: skip
            told = (await wire.call("POST", "/upload/image", form=parts)).json()
            folder = told.get("subfolder")
            name = f"{folder}/{told['name']}" if folder else str(told["name"])
            values[word if seen[word] == 1 else f"{word}_{seen[word]}"] = name
        client = f"polyroute-{request.idempotency_key or 'once'}"
        body: dict[str, Any] = {"prompt": _filled(graph, values), "client_id": client}
        if request.idempotency_key:
            body["prompt_id"] = request.idempotency_key
            found = await self._find(request.idempotency_key, client, wire)
            if found is not None:
                return Handle(id=found, data={"client": client})
        reply = await wire.call("POST", "/prompt", json=body, creates=True)
        return Handle(id=str(reply.json()["prompt_id"]), data={"client": client})

    async def _find(self, identifier: str, client: str, wire: MediaWire) -> str | None:
        """The id of what was queued before, the newest first: the server itself takes the same work twice."""
        queue = (await wire.call("GET", "/queue")).json()
        rows = [row for name in ("queue_running", "queue_pending") for row in queue.get(name) or ()]
        past = (await wire.call("GET", "/history", query={"max_items": _PAST})).json()
        rows += [entry["prompt"] for entry in past.values() if isinstance(entry.get("prompt"), list)]
        for row in rows:
            if row[1] == identifier or (
                len(row) > 3 and isinstance(row[3], dict) and row[3].get("client_id") == client
            ):
                return str(row[1])
        return None

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The history has it when it is over; until then the socket tells how far it is."""
        told = (await wire.call("GET", f"/history/{handle.id}")).json().get(handle.id)
        if told is None:
            follower = self._followed.get(handle.id)
            if follower is None:
                follower = self._followed[handle.id] = Follower(handle, wire)
            return follower.progress
        self._forget(handle.id)
        status = told.get("status") or {}
        if status.get("status_str") != "success":
            raise AttemptFailed(_failure(status))
        return _outcome(told.get("outputs") or {}, wire)

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Out of the queue, or interrupted where it runs."""
        self._forget(handle.id)
        await wire.call("POST", "/queue", json={"delete": [handle.id]})
        await wire.call("POST", "/interrupt", json={"prompt_id": handle.id})

    def _forget(self, identifier: str) -> None:
        follower = self._followed.pop(identifier, None)
        if follower is not None:
            follower.stop()


class Follower:
    """Reads the socket of one prompt, for its progress; nothing hangs on it."""

    def __init__(self, handle: Handle, wire: MediaWire) -> None:
        self.progress = Progress(state="queued")
        self._task = asyncio.create_task(self._follow(handle, wire))

    def stop(self) -> None:
        """Stop."""
        self._task.cancel()

    async def _follow(self, handle: Handle, wire: MediaWire) -> None:
        try:
            socket = await wire.socket(f"/ws?{urlencode({'clientId': handle.data.get('client', '')})}")
        except AttemptFailed:
            return
        try:
            await self._listen(handle.id, socket)
        except AttemptFailed:
            return
        finally:
            await asyncio.shield(socket.close())

    async def _listen(self, identifier: str, socket: MediaSocket) -> None:
        deadline = asyncio.get_running_loop().time() + _LONGEST_SOCKET
        while True:
            try:
                event = msgspec.json.decode(await socket.receive(deadline))
            except msgspec.DecodeError:  # a picture of how it comes along
                continue
            data = event.get("data") or {}
            if data.get("prompt_id") != identifier:
                continue
            if event.get("type") == "progress" and data.get("max"):
                percent = 100.0 * float(data.get("value") or 0) / float(data["max"])
                if percent >= (self.progress.percent or 0):
                    self.progress = Progress(percent=round(min(percent, 99.0), 1))
            elif event.get("type") == "execution_start":
                self.progress = Progress(percent=0.0)


def _word(role: str) -> str:
    return {"first_frame": "image", "reference": "image", "last_frame": "image", "reference_audio": "audio"}.get(
        role, role
    )


def _places(graph: Any) -> set[str]:
    """The names of what a graph has a place for."""
    if isinstance(graph, dict):
        return set().union(*(_places(value) for value in graph.values())) if graph else set()
    if isinstance(graph, list):
        return set().union(*(_places(value) for value in graph)) if graph else set()
    return {graph[1:-1]} if isinstance(graph, str) and graph.startswith("{") and graph.endswith("}") else set()


def _filled(graph: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(graph, dict):
        return {name: _filled(value, values) for name, value in graph.items()}
    if isinstance(graph, list):
        return [_filled(value, values) for value in graph]
    if isinstance(graph, str) and graph.startswith("{") and graph.endswith("}"):
        name = graph[1:-1]
        if name not in values:
            raise PolyrouteError(
                ErrorKind.INVALID_REQUEST, f"'{name}' is required: the workflow has a place for it.", param=name
            )
        return values[name]
    return graph


def _failure(status: dict[str, Any]) -> Failure:
    for event, data in reversed(status.get("messages") or []):
        if event == "execution_interrupted":
            return Failure(kind=ErrorKind.GENERATION_FAILED, message="The work was interrupted at ComfyUI.")
        if event == "execution_error":
            words = f"{data.get('node_type')}: {data.get('exception_message')}"
            return Failure(kind=ErrorKind.GENERATION_FAILED, message=f"ComfyUI failed at {words[:300]}", detail=words)
    return Failure(kind=ErrorKind.GENERATION_FAILED, message="ComfyUI failed without saying why.")


def _outcome(outputs: dict[str, Any], wire: MediaWire) -> Outcome:
    """Every file that a node wrote; previews (`temp`) only where there is nothing else."""
    rows = [
        row for node in outputs.values() for kind in _KINDS for row in node.get(kind) or () if isinstance(row, dict)
    ]
    kept = [row for row in rows if row.get("type") == "output"] or rows
    made = []
    for row in kept:
        query = {"filename": row["filename"], "subfolder": row.get("subfolder", ""), "type": row.get("type", "output")}
        made.append(Produced(url=f"{wire.base_url}/view?{urlencode(query)}", authenticated=True))
    return Outcome(produced=tuple(made), usage=Usage(images=len(made)))
