"""What the simulated providers were given to do: every submission, its progress by the clock, its files and callbacks."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from polyroute.sandbox.media.artifacts import Artifact
from polyroute.sandbox.media.callbacks import Callback, post

if TYPE_CHECKING:
    from polyroute.sandbox.control import Control, Fault
    from polyroute.sandbox.exchange import Exchange, Json

Phase = Literal["queued", "running", "succeeded", "failed", "canceled"]
ENDED: tuple[Phase, ...] = ("succeeded", "failed", "canceled")
_SECONDS = {"video": 1.5, "music": 0.5, "speech": 0.2, "transcription": 0.2}
_DAY = 86_400.0
_KEEP_SECONDS = {"kie": 14 * _DAY, "fal": 7 * _DAY, "google": 2 * _DAY, "xai": _DAY, "runway": _DAY, "stability": _DAY}
_KEEP_SECONDS |= {"bfl": 600.0, "runpod": 1800.0, "aihubmix": 7200.0, "comfyui": 3650 * _DAY}
_QUEUED_PART = 0.2
_STUCK_AT = 0.99
_JOBS_KEPT = 20_000
_CALLBACK_TRIES = 4
_CALLBACK_PAUSE = 0.25


class AnswerLost(Exception):
    """The job was accepted, but the answer that says so does not arrive."""


class Job:
    """One submission. Times are in seconds of the desk's clock; `cost` is in US dollars, None when the provider names no
    price; `extra` holds what only its provider knows."""

    def __init__(
        self,
        desk: Desk,
        *,
        name: str,
        provider: str,
        operation: str,
        model: str,
        body: Json,
        digest: str,
        origin: str,
        artifacts: tuple[Artifact, ...],
        seconds: float,
        keep_seconds: float,
        cost: float | None,
        fault: Fault | None,
        account: str,
        extra: Json,
    ) -> None:
        self.desk = desk
        self.name = name
        self.provider = provider
        self.operation = operation
        self.model = model
        self.body = body
        self.digest = digest
        self.origin = origin
        self.artifacts = artifacts
        self.seconds = seconds
        self.keep_seconds = keep_seconds
        self.cost = cost
        self.fault = fault
        self.account = account
        self.extra = extra
        self.started = desk.now()
        self.submitted_at = time.time()
        self.canceled: float | None = None
        self.cancels = self.polls = self.downloads = 0
        self.deleted = False
        self.charged_when_canceled = False
        self.callbacks: list[Json] = []
        self.signatures: dict[str, float] = {}
        self.token = hashlib.sha256(f"{provider}:{name}".encode()).hexdigest()[:20]

    def has(self, kind: str) -> bool:
        """Whether the job has this fault."""
        return self.fault is not None and self.fault.kind == kind

    @property
    def fraction(self) -> float:
        """How much is done, 0 to 1."""
        passed = self.desk.now() - self.started
        done = 1.0 if passed >= self.seconds else passed / self.seconds
        return min(done, _STUCK_AT) if self.has("stuck") else done

    @property
    def percent(self) -> int:
        """How much is done in whole per cent; a job that has not ended is never at 100."""
        return int(self.fraction * 100)

    @property
    def phase(self) -> Phase:
        """Where it is in its life."""
        if self.canceled is not None:
            return "canceled"
        if self.fraction >= 1.0:
            return "failed" if self.failed else "succeeded"
        return "queued" if self.fraction < _QUEUED_PART else "running"

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.phase in ENDED

    @property
    def failed(self) -> bool:
        """Whether the job ends badly: by moderation, or because it was asked to."""
        return self.moderated or self.has("job_failed")

    @property
    def moderated(self) -> bool:
        """Whether the provider's moderation refuses it."""
        return self.has("moderation") or bool(self.extra.get("blocked"))

    @property
    def failure(self) -> str:
        """Why it failed, in plain words."""
        said = self.fault.message if self.fault is not None else None
        return said or ("The content was flagged as sensitive." if self.moderated else "The sandbox was asked to fail.")

    @property
    def expired(self) -> bool:
        """Whether the provider has forgotten the result."""
        return self.ended and self.desk.now() > self.started + self.seconds + self.keep_seconds

    @property
    def charged(self) -> float | None:
        """What the provider has taken for it: its price once it has succeeded, nothing otherwise. None when unknown."""
        if self.phase == "succeeded" or (self.phase == "canceled" and self.charged_when_canceled):
            return self.cost
        return 0.0

    def cancel(self) -> bool:
        """Stop it; says whether it was still to be stopped."""
        self.cancels += 1
        if self.ended:
            return False
        self.canceled = self.desk.now()
        self.desk.notify()
        return True

    def url(self, place: int = 0) -> str:
        """The public address of one result."""
        if self.has("foreign_url"):
            return f"https://files.example.invalid/{self.token}.{self.artifacts[place].extension}"
        return f"{self.origin}/_media/{self.token}-{place}.{self.artifacts[place].extension}"

    def urls(self) -> list[str]:
        """The public addresses of all results."""
        return [self.url(place) for place in range(len(self.artifacts))]

    def signed_urls(self, name: str) -> list[str]:
        """The addresses of all results, signed for this look at the job alone, under the query's `name`."""
        self.signatures[str(self.polls)] = self.desk.now()
        return [f"{url}?{name}={self.polls}" for url in self.urls()]

    def gives_out(self, query: Mapping[str, str]) -> bool:
        """Whether an address of its results is still good. One that was signed for a look is good for as long as results are
        kept, from that look on; with the fault `expired_url` it is that of the first look which is not."""
        if not self.signatures:
            return not (self.expired or self.has("expired_url"))
        look = next((given for given in query.values() if given in self.signatures), None)
        if look is None or (self.has("expired_url") and look == next(iter(self.signatures))):
            return False
        return self.desk.now() <= self.signatures[look] + self.keep_seconds

    def row(self) -> Json:
        """What `GET /_control/jobs` shows of it."""
        return {
            "id": self.name,
            "provider": self.provider,
            "operation": self.operation,
            "model": self.model,
            "state": self.phase,
            "percent": self.percent,
            "submitted_at": self.submitted_at,
            "request_digest": self.digest,
            "account": self.account,
            "polls": self.polls,
            "cancels": self.cancels,
            "downloads": self.downloads,
            "deleted": self.deleted,
            "cost": self.cost,
            "charged": self.charged,
            "fault": self.fault.kind if self.fault is not None else None,
            "artifacts": [item.content_type for item in self.artifacts],
            "callbacks": self.callbacks,
        }


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a client gave to a provider."""

    name: str
    content_type: str
    size: int
    data: bytes | None


class Desk:
    """All jobs and files of one sandbox, on a clock that can be put forward."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._jobs: dict[tuple[str, str], Job] = {}
        self._by_token: dict[str, Job] = {}
        self._uploads: dict[str, Upload] = {}
        self._seen: Counter[str] = Counter()
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self.sessions: dict[str, Any] = {}

    def now(self) -> float:
        """Seconds on the sandbox's clock."""
        return time.monotonic() + self._control.advanced

    def notify(self) -> None:
        """Wake everything that waits for a job: the clock was put forward, or a job was stopped."""
        self._changed.set()
        self._changed = asyncio.Event()

    def clear(self) -> None:
        """Forget everything."""
        for task in self._tasks:
            task.cancel()
        for shelf in (self._jobs, self._by_token, self._uploads, self._seen, self.sessions):
            shelf.clear()

    def submit(
        self,
        exchange: Exchange,
        operation: str,
        model: str,
        artifacts: tuple[Artifact, ...] | list[Artifact],
        *,
        name: Callable[[str], str],
        cost: float | None = None,
        whole: bool = False,
        digest: str = "",
        body: Json | None = None,
        extra: Json | None = None,
        callback: Callable[[Job], Callback] | None = None,
    ) -> Job:
        """Take a job in. `name` makes its id from 64 hexadecimal digits; a `whole` one is done in the same answer. Raises
        `AnswerLost` when that fault strikes."""
        provider = exchange.profile.name
        digest = digest or exchange.digest
        self._seen[f"{provider}:{digest}"] += 1
        unique = hashlib.sha256(f"{provider}:{digest}:{self._seen[f'{provider}:{digest}']}".encode()).hexdigest()
        seconds, keep = self._control.job_pacing(provider, operation)
        job = Job(
            self,
            name=name(unique),
            provider=provider,
            operation=operation,
            model=model,
            body=exchange.body if body is None else body,
            digest=digest[:16],
            origin=exchange.origin,
            artifacts=tuple(artifacts),
            seconds=0.0 if whole else (_SECONDS.get(operation, 0.3) if seconds is None else seconds),
            keep_seconds=_KEEP_SECONDS.get(provider, 3600.0) if keep is None else keep,
            cost=cost,
            fault=self._control.strike_job(provider, operation),
            account=_account(exchange.headers),
            extra=extra or {},
        )
        self._jobs[provider, job.name] = self._by_token[job.token] = job
        while len(self._jobs) > _JOBS_KEPT:
            old = self._jobs.pop(next(iter(self._jobs)))
            self._by_token.pop(old.token, None)
        if callback is not None and not job.has("callback_lost"):
            self.background(self._call_back(job, callback))
        if job.has("lost_after_acceptance"):
            raise AnswerLost
        return job

    def find(self, provider: str, name: str) -> Job | None:
        """A job by its id, whatever its faults hide."""
        return self._jobs.get((provider, name))

    def by_token(self, token: str) -> Job | None:
        """The job whose results lie under this token."""
        return self._by_token.get(token)

    def jobs(self, provider: str | None = None) -> list[Job]:
        """All jobs, oldest first."""
        return [job for job in self._jobs.values() if provider in (None, job.provider)]

    async def settled(self, job: Job, limit: float | None = None) -> bool:
        """Wait until the job has ended, at most `limit` seconds; says whether it has."""
        end = None if limit is None else self.now() + limit
        while not job.ended:
            left = job.started + job.seconds - self.now()
            if job.has("stuck"):
                left = 3600.0
            if end is not None:
                left = min(left, end - self.now())
                if end <= self.now():
                    return False
            await self.rest(left)
        return True

    async def rest(self, seconds: float) -> None:
        """Let that much time pass, or less when something changes."""
        try:
            await asyncio.wait_for(self._changed.wait(), max(0.001, seconds))
        except TimeoutError:
            return

    def background(self, work: Any) -> None:
        """Run something beside the answer."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Stop what runs in the background."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _call_back(self, job: Job, callback: Callable[[Job], Callback]) -> None:
        if callback(job).at_start:
            await self._deliver(job, callback(job), "start")
        await self.settled(job)
        for _ in range(2 if job.has("duplicate_callback") else 1):
            await self._deliver(job, callback(job), "completed")

    async def _deliver(self, job: Job, call: Callback, event: str) -> None:
        row: dict[str, Any] = {"url": call.url, "event": event, "statuses": []}
        job.callbacks.append(row)
        for attempt in range(_CALLBACK_TRIES):
            row["statuses"].append(await post(call))
            if 200 <= (row["statuses"][-1] or 0) < 300:
                return
            if attempt + 1 < _CALLBACK_TRIES:
                await self.rest(_CALLBACK_PAUSE * 2**attempt)

    def keep_upload(self, exchange: Exchange, name: str, upload: Upload) -> str:
        """Remember a client's file; returns its public address."""
        self._uploads[name] = upload
        while len(self._uploads) > 256:
            self._uploads.pop(next(iter(self._uploads)))
        return f"{exchange.origin}/_media/{name}"

    def upload(self, name: str) -> Upload | None:
        """A client's file by its name."""
        return self._uploads.get(name)

    def drop_upload(self, name: str) -> bool:
        """Forget a client's file; says whether it was there."""
        return self._uploads.pop(name, None) is not None


def _account(headers: Mapping[str, str] = MappingProxyType({})) -> str:
    for name in ("authorization", "xi-api-key", "x-api-key", "x-goog-api-key", "x-key"):
        if name in headers:
            return hashlib.sha256(headers[name].encode()).hexdigest()[:12]
    return ""
