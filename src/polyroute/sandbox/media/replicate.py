"""Replicate: predictions that are waited for, polled, streamed, called back and canceled; models, files, account."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.delivery import SIMULATED
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import CREATED_TEXT, Direct, Exchange, Json, Reply, Whole, hexadecimal, json_reply
from polyroute.sandbox.media import replicate_models
from polyroute.sandbox.media.call import answered, check_account, encoded, is_blocked, polled, stamp
from polyroute.sandbox.media.callbacks import SVIX_SECRET, Callback, svix
from polyroute.sandbox.media.jobs import Job, Upload
from polyroute.sandbox.media.kinds import kind_of
from polyroute.sandbox.route import Route, route

_STATUS = {"queued": "starting", "running": "processing", "succeeded": "succeeded", "failed": "failed"}
_LIMITS = {"ratelimit-remaining": "599", "ratelimit-reset": "1"}
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_LONGEST_WAIT = 60


def _name(digest: str) -> str:
    """Twenty-six letters and digits, as `Prediction.id` has."""
    value = int(digest, 16)
    return "".join(_ALPHABET[value >> 5 * place & 31] for place in range(26))


def _model(exchange: Exchange) -> str:
    named = "/".join(exchange.groups[part] for part in ("owner", "name") if part in exchange.groups)
    return named or str(exchange.body.get("version") or "")


def _sort(exchange: Exchange) -> SandboxOperation:
    return kind_of(_model(exchange))


async def answer_create(exchange: Exchange) -> Reply:
    """`POST …/predictions`."""
    model, given = _model(exchange), exchange.body.get("input")
    if not model:
        raise answered(_problem("version is required", "version"), 422)
    if "no-such-model" in model or model.startswith("missing/"):
        raise Refused("model_not_found")
    if not isinstance(given, dict):
        raise answered(_problem("input is required", "input"), 422)
    problem = replicate_models.problem_of(model, given)
    if problem is not None:
        raise answered(_problem(f"- input.{problem[0]}: {problem[1]}\n", f"input.{problem[0]}"), 422)
    webhook = exchange.body.get("webhook")
    if webhook is not None and not str(webhook).startswith(("http://", "https://")):
        raise answered(_problem("- webhook: Does not match format 'uri'\n", "webhook"), 422)
    events = exchange.body.get("webhook_events_filter") or ["start", "completed"]
    operation = _sort(exchange)
    job = exchange.desk.submit(
        exchange,
        operation,
        model.split(":")[0],
        replicate_models.outputs(exchange, model, given),
        name=_name,
        cost=None,
        extra={"blocked": is_blocked(given.get("prompt")), "deadline": _seconds(exchange.headers.get("cancel-after"))},
        callback=None if webhook is None else lambda made: _callback(made, str(webhook), list(events)),
    )
    job.charged_when_canceled = True
    if job.extra["deadline"] is not None:
        exchange.desk.background(_enforce(job, job.extra["deadline"]))
    wait = _wait(exchange.headers.get("prefer", ""))
    headers = dict(_LIMITS)
    if wait is not None:
        headers["preference-applied"] = f"wait={wait}"
        done = await exchange.desk.settled(job, wait)
        # The answer that was waited for has the output, and still says that the prediction is being processed.
        value = _shown(job) | ({"status": "processing"} if done and job.phase == "succeeded" else {})
        return json_reply(value, status=201, headers=headers)
    return json_reply(_shown(job) | {"status": "starting", "output": None}, status=201, headers=headers)


def _problem(detail: str, field: str) -> Json:
    invalid_fields = [{"type": "invalid", "field": field, "description": detail.strip()}]
    return {"title": "Input validation failed", "detail": detail, "status": 422, "invalid_fields": invalid_fields}


def _wait(prefer: str) -> int | None:
    match = re.search(r"\bwait(?:=(\d+))?", prefer)
    return None if match is None else max(1, min(_LONGEST_WAIT, int(match.group(1) or _LONGEST_WAIT)))


def _seconds(text: str | None) -> float | None:
    """Seconds of `90s`, `2m`, `1h30m`."""
    found = re.findall(r"(\d+)([smh]?)", text or "")
    return sum(int(value) * {"h": 3600, "m": 60}.get(unit, 1) for value, unit in found) if found else None


async def _enforce(job: Job, deadline: float) -> None:
    if not await job.desk.settled(job, deadline):
        job.extra["aborted"] = job.phase == "queued"
        job.cancel()


def _failed(job: Job) -> bool:
    return job.phase == "failed" or (job.phase == "succeeded" and job.extra["blocked"])


def _status(job: Job) -> str:
    if job.phase == "canceled":
        return "aborted" if job.extra.get("aborted") else "canceled"
    return "failed" if _failed(job) else _STATUS[job.phase]


def _shown(job: Job) -> Json:
    base = f"{job.origin}/replicate/v1/predictions/{job.name}"
    removed, status = job.expired, _status(job)
    value: Json = {
        "id": job.name,
        "model": job.model,
        "version": "hidden",
        "input": {} if removed else job.body["input"],
    }
    value |= {"logs": "" if status == "starting" else f"{job.percent:3d}%|{'#' * (job.percent // 10)}| simulated\n"}
    value |= {"output": None, "data_removed": removed, "error": None, "status": status, "created_at": stamp(job)}
    value["urls"] = {"get": base, "cancel": f"{base}/cancel", "web": f"https://replicate.com/p/{job.name}"}
    value["urls"]["stream"] = f"{job.origin}/replicate/v1/stream/{job.name}"
    if job.has("foreign_url"):
        value["urls"]["get"] = f"https://api.replicate.example.invalid/v1/predictions/{job.name}"
    if status != "starting":
        value["started_at"] = stamp(job, job.seconds * 0.2)
    if status == "failed":
        blocked = job.moderated or job.extra["blocked"]
        value["error"] = (
            "NSFW content detected. Try running it again, or try a different prompt." if blocked else job.failure
        )
    if status == "succeeded" and not removed:
        value["output"] = replicate_models.output_of(job)
    if job.ended:
        value["completed_at"] = stamp(job, job.seconds)
        value["metrics"] = {"predict_time": round(job.seconds * 0.8, 6), "total_time": round(job.seconds, 6)}
        if job.operation == "image" and status == "succeeded":
            value["metrics"]["image_count"] = len(job.artifacts)
    return value


def _callback(job: Job, url: str, events: list[str]) -> Callback:
    body = encoded(_shown(job))
    return Callback(url=url, body=body, headers=svix(f"msg_{job.name}", body), at_start="start" in events)


def answer_get(exchange: Exchange) -> Reply:
    """`GET /predictions/{id}`."""
    job = polled(exchange, exchange.groups["job"])
    return json_reply(_shown(job), headers=_LIMITS)


def answer_cancel(exchange: Exchange) -> Reply:
    """`POST /predictions/{id}/cancel`."""
    job = exchange.desk.find("replicate", exchange.groups["job"])
    if job is None:
        raise Refused("not_found")
    check_account(job)
    job.cancel()
    return json_reply(_shown(job))


def answer_list(exchange: Exchange) -> Reply:
    """`GET /predictions`, newest first."""
    jobs = exchange.desk.jobs("replicate")[::-1][:100]
    return json_reply({"previous": None, "next": None, "results": [_shown(job) for job in jobs]})


def answer_stream(exchange: Exchange) -> Reply:
    """`GET urls.stream`: events until the prediction has ended."""
    job = polled(exchange, exchange.groups["job"])

    async def send(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", **SIMULATED})
        await response.prepare(request)
        await exchange.desk.settled(job)
        for place, (event, data) in enumerate(_events(job)):
            await response.write(f"event: {event}\nid: {place}\ndata: {data}\n\n".encode())
        await response.write_eof()
        return response

    return Direct(send)


def _events(job: Job) -> Iterator[tuple[str, str]]:
    yield "logs", "simulated"
    if _failed(job):
        yield "error", encoded({"detail": job.failure}).decode()
        yield "done", '{"reason": "error"}'
    elif job.phase == "canceled":
        yield "done", '{"reason": "canceled"}'
    else:
        yield from (("output", url) for url in job.urls())
        yield "done", "{}"


def answer_model(exchange: Exchange) -> Reply:
    """`GET /models/{owner}/{name}`, with the schema of its input and output in `latest_version`."""
    model = f"{exchange.groups['owner']}/{exchange.groups['name']}"
    if model not in exchange.profile.models:
        raise Refused("model_not_found")
    return json_reply(_card(exchange, model))


def _card(exchange: Exchange, model: str) -> Json:
    owner, _, name = model.partition("/")
    version = {"id": hexadecimal(model, "version", 64), "created_at": "2026-11-01T00:00:00Z", "cog_version": "0.16"}
    schema = {"components": {"schemas": replicate_models.schemas(model)}}
    card: Json = {"url": f"https://replicate.com/{model}", "owner": owner, "name": name, "description": "Simulated"}
    card |= {"visibility": "public", "run_count": 1, "cover_image_url": None, "default_example": None}
    return card | {"latest_version": version | {"openapi_schema": schema}}


def answer_models(exchange: Exchange) -> Reply:
    """`GET /models`, `QUERY /models`, `GET /search`."""
    wanted = exchange.raw.decode("utf-8", "replace").lower() if exchange.method == "QUERY" else ""
    rows = [_card(exchange, model) for model in exchange.profile.models if wanted in model]
    if exchange.path.endswith("/search"):
        found = [{"model": row, "metadata": {"tags": [], "score": 1.0}} for row in rows]
        return json_reply({"query": exchange.query.get("query", ""), "models": found, "collections": [], "pages": []})
    return json_reply({"previous": None, "next": None, "results": rows})


def answer_account(exchange: Exchange) -> Reply:
    """`GET /account`, `/hardware`, `/webhooks/default/secret`."""
    if exchange.path.endswith("/secret"):
        return json_reply({"key": SVIX_SECRET})
    if exchange.path.endswith("/hardware"):
        return json_reply([{"name": "CPU", "sku": "cpu"}, {"name": "Nvidia H100 GPU", "sku": "gpu-h100"}])
    return json_reply({"type": "user", "username": "sandbox", "name": "Simulated", "github_url": ""})


def answer_upload(exchange: Exchange) -> Reply:
    """`POST /files`: multipart with `content`."""
    upload = next((item for item in exchange.uploads if item.field == "content"), None)
    if upload is None:
        raise invalid("- content: Missing required property\n", param="content")
    name = hexadecimal(upload.digest, "file", 24)
    kept = Upload(name=upload.filename, content_type=upload.content_type, size=upload.size, data=upload.data)
    exchange.desk.keep_upload(exchange, name, kept)
    return json_reply(_file(exchange, name, kept), status=201)


def _file(exchange: Exchange, name: str, kept: Upload) -> Json:
    urls = {"get": f"{exchange.origin}/_media/{name}"}
    facts = {"id": name, "name": kept.name, "content_type": kept.content_type, "size": kept.size, "urls": urls}
    digest = hashlib.sha256(kept.data or name.encode()).hexdigest()
    times = {"created_at": CREATED_TEXT, "expires_at": "2126-11-19T11:06:40Z"}
    return facts | {"etag": digest[:32], "checksums": {"sha256": digest}, "metadata": {}} | times


def answer_file(exchange: Exchange) -> Reply:
    """`GET`, `DELETE /files/{id}`."""
    name = exchange.groups["file"]
    kept = exchange.desk.upload(name)
    if kept is None:
        raise Refused("not_found")
    if exchange.method == "DELETE":
        exchange.desk.drop_upload(name)
        return Whole(body=b"", status=204)
    return json_reply(_file(exchange, name, kept))


async def answer_nothing(exchange: Exchange) -> Reply:
    """`GET /collections`: none."""
    await asyncio.sleep(0)
    return json_reply({"previous": None, "next": None, "results": []})


def _of(line: str, operation: SandboxOperation, answer: Any, **more: Any) -> Route:
    return route(line, operation, "media", answer, **more)


_PAIR = r"(?P<owner>[^/]+)/(?P<name>[^/]+)"
ROUTES: tuple[Route, ...] = (
    _of(rf"POST /(models|deployments)/{_PAIR}/predictions", "image", answer_create, sort=_sort),
    _of(r"POST /predictions", "image", answer_create, sort=_sort),
    _of(r"GET /predictions", "other", answer_list),
    _of(r"GET /predictions/(?P<job>[^/]+)", "poll", answer_get),
    _of(r"POST /predictions/(?P<job>[^/]+)/cancel", "cancel", answer_cancel),
    _of(r"GET /stream/(?P<job>[^/]+)", "poll", answer_stream),
    _of(r"GET|QUERY /(models|search)", "models", answer_models, raw=True),
    _of(rf"GET /models/{_PAIR}", "models", answer_model),
    _of(r"GET /(account|hardware|webhooks/default/secret)", "other", answer_account),
    _of(r"GET /collections", "models", answer_nothing),
    _of(r"POST /files", "file", answer_upload),
    _of(r"GET|DELETE /files/(?P<file>[^/]+)", "file", answer_file),
)
