"""Runware's tasks as queued work: accepted once by their own UUID, asked for until they are done."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Callback, Headers, MediaWire
from polyroute.providers.media.callback_tokens import address_with_token, check_token
from polyroute.providers.media.intents import failed
from polyroute.providers.media.runware import tasks
from polyroute.providers.media.runware.connection import Connection, Heard, Item
from polyroute.providers.media.runware.errors import failure_of, is_accepted, is_missing, refusal
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.media import Fitted, Handle, MediaRequest, Outcome, Progress, Task

_PATIENCE = 20.0
_MISSES = 5
_MODELS_A_PAGE = 100
_MOST_PAGES = 20


class RunwareMedia:
    """Keeps one socket for each credential, and asks over REST where the option `transport` says so or no socket opens."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name
        self._address = str(row.options.get("socket_url") or "")
        if row.simulated or not row.base_url.startswith("https://api.runware.ai"):
            self._address = ""
        self._is_rest = row.options.get("transport") == "rest"
        self._connections: dict[str, Connection] = {}

    def maker(self, task: Task, model: str) -> Tasks | None:
        """All tasks that Runware has."""
        return Tasks(self) if task in tasks.TASKS else None

    @property
    def provider(self) -> str:
        """Whose options are ours."""
        return self._provider

    async def ask(self, task: Item, wire: MediaWire, *, results: int = 1) -> Heard:
        """What Runware says to a task: over the kept socket, else over REST. Raises AttemptFailed."""

        def is_done(heard: Heard) -> bool:
            settled = [item for item in heard.data if item.get("status") != "success"]
            return bool(settled) or len(heard.data) + len(heard.errors) >= results

        if self._is_rest:
            return await self._post(task, wire)
        try:
            return await self._connection(wire).ask(task, is_done, wire, _PATIENCE)
        except AttemptFailed as error:
            if not error.failure.unsent:
                raise
            return await self._post(task, wire)

    def _connection(self, wire: MediaWire) -> Connection:
        name = hashlib.sha256((wire.secret or "").encode()).hexdigest()
        if name not in self._connections:
            self._connections[name] = Connection(self._address)
        return self._connections[name]

    async def _post(self, task: Item, wire: MediaWire) -> Heard:
        reply = await wire.call("POST", "", json=[task], accept=(400, 403, 404))
        answer, heard = reply.json(), Heard()
        if isinstance(answer, dict):
            heard.data += [item for item in answer.get("data") or () if isinstance(item, dict)]
            heard.errors += [item for item in answer.get("errors") or () if isinstance(item, dict)]
        if not heard.data and not heard.errors:
            raise failed(ErrorKind.BAD_RESPONSE, "The provider gave an empty answer.")
        return heard

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """The official models by their AIR ids."""
        found: dict[str, tuple[Task, ...]] = {}
        for page in range(_MOST_PAGES):
            offset = page * _MODELS_A_PAGE
            task = {
                "taskType": "modelSearch", "taskUUID": _uuid(f"models {offset}"), "source": "official", "search": "",
                "limit": _MODELS_A_PAGE, "offset": offset,
            }  # fmt: skip
            heard = await self.ask(task, wire)
            if heard.errors:
                raise refusal(heard.errors[0], accepted=False)
            results = [one for item in heard.data for one in item.get("results") or ()]
            before = len(found)
            found |= {str(one["air"]): _tasks_of(str(one.get("category") or "")) for one in results}
            if len(results) < _MODELS_A_PAGE or len(found) == before:
                break
        return tuple(found.items())

    async def callback(self, headers: Headers, body: bytes, wire: MediaWire, now: float) -> Callback:
        """A result or an error, posted to an address that only Runware was told; the task's UUID is ours."""
        return Callback(handle_id=check_token(headers, wire, now))

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """REST's errors, which are the socket's."""
        try:
            items = msgspec.json.decode(body).get("errors")
        except (msgspec.MsgspecError, AttributeError):
            return None
        if not isinstance(items, list) or not items or not isinstance(items[0], dict):
            return None
        known = failure_of(items[0], accepted=False, http_status=status)
        return known if items[0].get("code") and known.kind is not ErrorKind.UNAVAILABLE else None


def _uuid(text: str) -> str:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"


def _tasks_of(category: str) -> tuple[Task, ...]:
    known = {
        "image": (Task.TEXT_TO_IMAGE,), "checkpoint": (Task.TEXT_TO_IMAGE, Task.IMAGE_TO_IMAGE),
        "video": (Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO),
    }  # fmt: skip
    return known.get(category, ())


class Tasks:
    """Implements `ports.Queued`. A task's UUID is ours, so the same work cannot be started twice."""

    resubmits = True
    pace = (0.25, 10.0)

    def __init__(self, adapter: RunwareMedia) -> None:
        self._adapter = adapter
        self._misses = 0

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """By the task's table."""
        return tasks.fit(request, model)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle:
        """Have the task accepted. A second copy of one that is at work is as good as the first."""
        task = await tasks.build(request, model, wire, self._adapter.provider)
        if report_to := address_with_token(wire, str(task["taskUUID"])):
            task["webhookURL"] = report_to
        try:
            heard = await self._adapter.ask(task, wire)
        except AttemptFailed as error:
            raise AttemptFailed(_unsure(error.failure)) from error
        if heard.errors and not is_accepted(heard.errors[0]) and not heard.data:
            raise refusal(heard.errors[0], accepted=False)
        return Handle(id=str(task["taskUUID"]), data=tasks.asked_of(task, request))

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """Items of the task, however many frames they come in. Raises AttemptFailed when it failed for good."""
        wanted = int(handle.data.get("n") or 1)
        heard = await self._adapter.ask({"taskType": "getResponse", "taskUUID": handle.id}, wire, results=wanted)
        ready = [item for item in heard.data if item.get("status", "success") == "success" and _holds_result(item)]
        failures = [item for item in (*heard.errors, *heard.data) if item.get("code")]
        busy = [item for item in heard.data if item.get("status") == "processing"]
        if ready and not busy:
            outcome = tasks.outcome_of(ready, failures, handle.data)
            return msgspec.structs.replace(outcome, upstream_id=handle.id)
        if failures and not busy:
            return self._failed(failures[0])
        percent = next((item["progress"] for item in busy if isinstance(item.get("progress"), int | float)), None)
        return Progress(state="running", percent=None if percent is None else min(float(percent), 99.0))

    def _failed(self, item: dict[str, Any]) -> Progress:
        """A task may be unknown for a moment after it was accepted."""
        self._misses += 1
        if is_missing(item) and self._misses <= _MISSES:
            return Progress(state="queued")
        raise refusal(item, accepted=True)

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Runware has no way to stop a task; it runs out."""


def _holds_result(item: dict[str, Any]) -> bool:
    return any(name.endswith(("URL", "Base64Data", "DataURI")) or name == "text" for name in item)


def _unsure(failure: Failure) -> Failure:
    """A submission that may have arrived: nobody knows, and sending the same UUID again is safe."""
    if failure.unsent or failure.http_status is not None or failure.kind not in (
        ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.TRUNCATED
    ):  # fmt: skip
        return failure
    return msgspec.structs.replace(failure, kind=ErrorKind.UNKNOWN_OUTCOME)
