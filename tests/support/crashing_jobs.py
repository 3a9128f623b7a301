"""Jobs worked on by processes that die at any step, at a provider that does what it is told: the real engine and table."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from polyroute.composition.app import App
from polyroute.engine.jobs.bells import Bells
from polyroute.engine.jobs.runner import JobPace, JobRunner
from polyroute.ports import MediaWire
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.jobs import JobOrder
from polyroute.types.media import Fitted, Handle, MediaRequest, Outcome, Progress, Task
from polyroute.types.records import RequestRecord

_WRITES = ("claim", "intend", "accept", "close_attempt", "progress", "finish", "release")


class Killed(BaseException):
    """The process is gone: nothing of it happens any more."""


class Life:
    """One process; it dies at its `dies_at`-th step (0: never), before or after the step is done."""

    def __init__(self, dies_at: int, *, after: bool) -> None:
        self._left = dies_at
        self._after = after
        self.dead = False

    def before(self) -> None:
        """A step begins."""
        if self.dead:
            raise Killed
        self._left -= 1
        if not self._left and not self._after:
            self.dead = True
            raise Killed

    def done(self) -> None:
        """A step is done."""
        if not self._left:
            self.dead = True
            raise Killed


class MortalStore:
    """The table as one process sees it."""

    def __init__(self, table: Any, life: Life) -> None:
        self._table = table
        self._life = life

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._table, name)
        if name not in _WRITES:
            return found

        async def step(*values: Any) -> Any:
            self._life.before()
            result = await found(*values)
            self._life.done()
            return result

        return step


class Script(msgspec.Struct, frozen=True):
    """What a provider does with one order: how it answers it (`accept`, `refuse`, `lose` the answer after acceptance, `drop`
    the order and the answer), how often it says that it works, and what comes of it."""

    answer: str
    polls: int
    fails: bool


class ScriptedProvider:
    """Implements `ports.MediaAdapter` and `ports.Queued`. `accepted` counts, by idempotency key."""

    pace = (0.0, 0.0)

    def __init__(self, scripts: list[Script], *, resubmits: bool = False) -> None:
        self.resubmits = resubmits
        self.accepted: Counter[str] = Counter()
        self.begun: Counter[str] = Counter()
        self.cancelled: list[str] = []
        self.life = Life(0, after=False)
        self._scripts = scripts
        self._orders: dict[str, Script] = {}
        self._seen: Counter[str] = Counter()

    def maker(self, task: Task, model: str) -> ScriptedProvider:
        return self

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        return Fitted(request=request)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle:
        key = request.idempotency_key or ""
        self.life.before()
        if key in self._orders and self.resubmits:
            script = self._orders[key]
        else:
            script = self._scripts.pop(0) if self._scripts else Script("accept", 0, fails=False)
        if script.answer == "refuse":
            raise AttemptFailed(Failure(kind=ErrorKind.UNAVAILABLE, message="not today", http_status=503))
        if script.answer != "drop":
            self.accepted[key] += 1
            self.begun[key] += key not in self._orders or not self.resubmits
            self._orders[key] = script
        if script.answer in ("lose", "drop") and (not self.resubmits or self._seen[f"lost {key}"] < 1):
            self._seen[f"lost {key}"] += 1
            raise AttemptFailed(Failure(kind=ErrorKind.UNKNOWN_OUTCOME, message="the connection broke"))
        self.life.done()
        return Handle(id=key)

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        self.life.before()
        script = self._orders[handle.id]
        self._seen[handle.id] += 1
        self.life.done()
        if self._seen[handle.id] <= script.polls:
            return Progress(percent=100.0 * self._seen[handle.id] / (script.polls + 1))
        if script.fails:
            raise AttemptFailed(Failure(kind=ErrorKind.GENERATION_FAILED, message="it came to nothing"))
        return Outcome(text=f"made of {handle.id}")

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        self.cancelled.append(handle.id)


class Books:
    """Implements `ports.Ledger` as the real one does: what has the same id is the same entry."""

    def __init__(self) -> None:
        self.entries: dict[str, list[RequestRecord]] = {}

    def record(self, entry: RequestRecord) -> None:
        self.entries.setdefault(entry.id, []).append(entry)


class CrashHouse:
    """Runs jobs in processes that die, over the table and with the engine of `app`, whose provider is scripted."""

    def __init__(self, app: App, provider: str) -> None:
        self.app = app
        self.table = app.jobs.table
        self.books = Books()
        self._name = provider
        self._number = 0
        app.gateway.ledger = self.books

    def provide(self, scripted: ScriptedProvider) -> None:
        """The provider is this one from now on."""
        providers: Any = self.app.gateway.runtime.providers
        providers[self._name] = msgspec.structs.replace(providers[self._name], media=scripted)

    async def order(self, model: str, at: float) -> str:
        """A new job's id."""
        self._number += 1
        identifier = f"job_{self._number}"
        request = MediaRequest(task=Task.TEXT_TO_VIDEO, prompt="a red fox")
        await self.table.create(
            JobOrder(
                id=identifier,
                task=request.task,
                model=model,
                request=request,
                created_at=at,
                deadline=at + 600,
                options=b"{}",
            )
        )
        return identifier

    async def live(self, scripted: ScriptedProvider, identifier: str, life: Life, executor: str) -> bool:
        """One process works on the job; whether it outlived it."""
        floor = self.app.gateway.media
        assert floor is not None
        scripted.life = life
        store: Any = MortalStore(self.table, life)
        runner = JobRunner(self.app.gateway, floor, store, executor, JobPace(), Bells())
        try:
            await runner.run(identifier)
        except Killed:
            return False
        return not life.dead
