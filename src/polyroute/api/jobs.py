"""`/v1/jobs`: any media work as a durable job, followed, waited for and cancelled; `/v1/compose` is one of its tasks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from polyroute.api.exchange import AsgiExchange
from polyroute.api.job_objects import Link, event_bytes, job_object
from polyroute.api.requests import Head, Receive, Scope, Send, read_body, read_head
from polyroute.engine.envelope import invalid, read_options
from polyroute.engine.gateway import Gateway
from polyroute.engine.jobs.desk import JobDesk, NewJob
from polyroute.engine.jobs.requests import read_media_request
from polyroute.ports import Headers
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.jobs import Job, JobState, JobWebhook, Surface
from polyroute.types.media import Task
from polyroute.types.operations import MEDIA_DIALECT_OF, Operation
from polyroute.types.records import KeyRecord

JSON: Headers = [(b"content-type", b"application/json")]
_PATTERN = re.compile(r"/v1/jobs(?:/([^/]+)(/events)?)?")
_WAIT = re.compile(r"(?:^|[,;\s])wait(?:\s*=\s*(\d{1,6}))?(?=$|[,;\s])")
LONGEST_WAIT = 600.0
_STATES = {state.value: state for state in JobState}


class Patience(msgspec.Struct, frozen=True):
    """How a caller wants to be answered: `wait` seconds at most; None where nothing was said."""

    wait: float | None


def read_patience(headers: Headers, given: Any, usual: float) -> Patience:
    """`Prefer: wait=N`, `Prefer: respond-async` or the field `async`; `usual` is the wait of who only says `async: false`.
    Raises PolyrouteError(invalid_request)."""
    if given is not None and not isinstance(given, bool):
        raise invalid("'async' must be true or false.", "async")
    if given is True:
        return Patience(0.0)
    for name, value in headers:
        if name == b"prefer":
            text = value.decode("latin-1").lower()
            found = _WAIT.search(text)
            if found is not None:
                return Patience(min(float(found[1]), LONGEST_WAIT) if found[1] else usual)
            if "respond-async" in text and given is None:
                return Patience(0.0)
    return Patience(usual if given is False else None)


def header(headers: Headers, name: bytes) -> str | None:
    """The first field of this name."""
    return next((value.decode("latin-1") for key, value in headers if key == name), None)


def read_webhook(value: Any) -> JobWebhook | None:
    """`webhook`: a URL, or {url, secret}. Raises PolyrouteError(invalid_request)."""
    if value is None:
        return None
    given = {"url": value} if isinstance(value, str) else value
    try:
        webhook = msgspec.convert(given, JobWebhook)
    except msgspec.ValidationError as error:
        raise invalid(f"'webhook' must be a URL, or {{url, secret}}: {error}.", "webhook") from error
    parts = urlsplit(webhook.url)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise invalid(f"'webhook': {webhook.url[:200]!r} is no https address.", "webhook")
    return webhook


def read_json(body: bytes) -> dict[str, Any]:
    """A JSON object. Raises PolyrouteError(invalid_request)."""
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The request body is not valid JSON: {error}.") from error
    if not isinstance(decoded, dict):
        raise invalid("The request body must be a JSON object.")
    return decoded


def read_whole(query: Mapping[str, list[str]], name: str, usual: int, most: int) -> int:
    """A whole number of the query. Raises PolyrouteError(invalid_request)."""
    text = query.get(name, [str(usual)])[-1]
    if not text.isdecimal() or not 1 <= int(text[:9]) <= most:
        raise invalid(f"'{name}' is '{text[:20]}'; it must be a whole number from 1 to {most}.", name)
    return int(text)


class JobPaths:
    """The paths of jobs. `wait`: seconds for which a call waits that says only that it wants to."""

    def __init__(self, gateway: Gateway, desk: JobDesk, *, wait: float, max_body: int) -> None:
        self._gateway = gateway
        self._desk = desk
        self._wait = wait
        self._max_body = max_body
        self.link: Link = lambda identifier: link_to(desk, identifier)

    @staticmethod
    def serves(path: str) -> bool:
        """Whether a path is one of these."""
        return path in ("/v1/jobs", "/v1/compose") or path.startswith("/v1/jobs/")

    async def answer(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        """One request. Raises PolyrouteError (before the answer begins), ClientGone."""
        head = read_head(scope["headers"])
        key = self._gateway.admission.admit(head.credential)
        exchange = AsgiExchange(scope, receive, send)
        method, path = scope["method"], scope["path"].rstrip("/")
        found = _PATTERN.fullmatch(path)
        identifier = unquote(found[1]) if found is not None and found[1] else None
        match method:
            case "POST" if path in ("/v1/jobs", "/v1/compose"):
                await self._create(scope, receive, exchange, head, key, request_id)
            case "GET" if path == "/v1/jobs":
                await exchange.answer(200, JSON, await self._list(scope["query_string"], key))
            case "GET" if identifier is not None and found is not None and found[2]:
                await self._follow(scope, exchange, identifier, key)
            case "GET" if identifier is not None:
                patience = read_patience(scope["headers"], None, self._wait)
                job = await self._desk.get(identifier, key)
                if patience.wait:
                    job = await self._desk.wait(identifier, patience.wait)
                await exchange.answer(200, JSON, self._render(job))
            case "DELETE" if identifier is not None and not (found is not None and found[2]):
                await exchange.answer(200, JSON, self._render(await self._desk.cancel(identifier, key)))
            case _:
                raise PolyrouteError(ErrorKind.NOT_FOUND, f"There is no {method} {path} here.")

    def _render(self, job: Job) -> bytes:
        return msgspec.json.encode(job_object(job, self.link))

    async def _create(
        self, scope: Scope, receive: Receive, exchange: AsgiExchange, head: Head, key: KeyRecord | None, request_id: str
    ) -> None:
        body = await read_body(receive, head, self._max_body)
        try:
            new, patience = self._read(body, scope, head)
            job = await self._desk.submit(new, key)
        except PolyrouteError as error:
            self._gateway.refused(request_id, MEDIA_DIALECT_OF[Operation.IMAGE], key, error)
            raise
        if patience.wait:
            job = await self._desk.wait(job.id, patience.wait)
        await exchange.answer(200 if job.ended else 202, job_headers(job), self._render(job))

    def _read(self, body: bytes, scope: Scope, head: Head) -> tuple[NewJob, Patience]:
        values = read_json(body)
        compose = scope["path"].rstrip("/") == "/v1/compose"
        surface: Surface = "compose" if compose else "jobs"
        if compose:
            values.setdefault("task", Task.COMPOSE.value)
            values.setdefault("model", "compose")
        model = values.pop("model", None)
        if not isinstance(model, str) or not model:
            raise invalid("'model' is required: the name of a route, or provider/model.", "model")
        options = values.pop("polyroute", None)
        patience = read_patience(scope["headers"], values.pop("async", None), self._wait)
        webhook = read_webhook(values.pop("webhook", None))
        return NewJob(
            model=model, request=read_media_request(values), surface=surface, webhook=webhook,
            options=read_options(None if options is None else msgspec.Raw(msgspec.json.encode(options)), head.options),
            idempotency_key=header(scope["headers"], b"idempotency-key"), digest=digest_of(surface.encode(), body),
        ), patience  # fmt: skip

    async def _list(self, query: bytes, key: KeyRecord | None) -> bytes:
        asked = parse_qs(query.decode("latin-1"), keep_blank_values=True)
        limit = read_whole(asked, "limit", 20, 100)
        wanted = [name for text in asked.get("status", []) for name in text.split(",") if name]
        for name in wanted:
            if name not in _STATES:
                raise invalid(f"'status': {name[:40]!r} is none; there are {', '.join(_STATES)}.", "status")
        found = await self._desk.list(
            key, states=[_STATES[name] for name in wanted], after=asked.get("after", [None])[-1], limit=limit + 1
        )
        shown = found[:limit]
        return msgspec.json.encode(
            {
                "object": "list",
                "data": [job_object(job, self.link) for job in shown],
                "first_id": shown[0].id if shown else None,
                "last_id": shown[-1].id if shown else None,
                "has_more": len(found) > limit,
            }
        )

    async def _follow(self, scope: Scope, exchange: AsgiExchange, identifier: str, key: KeyRecord | None) -> None:
        """Server-sent events until the job has ended, and at the end the job itself."""
        await self._desk.get(identifier, key)
        last = header(scope["headers"], b"last-event-id") or "0"
        if not last.isdecimal():
            raise invalid(f"'Last-Event-ID' is '{last[:20]}'; it must be the id of an event.", "Last-Event-ID")
        exchange.enter()
        try:
            await exchange.begin(200, [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")])
            async with aclosing(self._desk.follow(identifier, int(last[:12]))) as events:
                async for event in events:
                    await exchange.send(b": waiting\n\n" if event is None else event_bytes(event, self.link))
            job = await self._desk.get(identifier, key)
            await exchange.finish(b"event: job\ndata: %s\n\n" % self._render(job))
        finally:
            exchange.leave()


def link_to(desk: JobDesk, identifier: str) -> str:
    """An address from which an artifact can be read for a while."""
    return desk.floor.storage.address + desk.floor.storage.artifacts.sign(identifier)


def digest_of(*parts: bytes) -> str:
    """What tells one request from another under the same Idempotency-Key."""
    return hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()


def job_headers(job: Job) -> Headers:
    """Where to find the job, and who works on it."""
    headers = [*JSON, (b"x-polyroute-request-id", job.id.encode()), (b"x-polyroute-job", job.id.encode())]
    if not job.ended:
        headers.append((b"location", b"/v1/jobs/" + job.id.encode()))
    if job.provider is not None:
        headers.append((b"x-polyroute-provider", job.provider.encode()))
        headers.append((b"x-polyroute-model", (job.provider_model or "").encode("ascii", "backslashreplace")))
        headers.append((b"x-polyroute-attempts", b"%d" % job.attempts))
    if job.cost_usd is not None:
        headers.append((b"x-polyroute-cost-usd", f"{job.cost_usd.normalize():f}".encode()))
    return headers
