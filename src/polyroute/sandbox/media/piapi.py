"""PiAPI: one kind of task for all models, in states whose spelling varies, with results in many places."""

from __future__ import annotations

import base64
from typing import Any

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json, Reply, hexadecimal, json_reply, uuid_text
from polyroute.sandbox.media import reseller
from polyroute.sandbox.media.call import check_account, encoded, is_blocked, polled, stamp
from polyroute.sandbox.media.callbacks import Callback
from polyroute.sandbox.media.jobs import Job, Upload
from polyroute.sandbox.media.kinds import kind_of
from polyroute.sandbox.route import Route, route

_POINTS = 10_000_000
_CANCELABLE = ("kling", "midjourney")


def _kind(exchange: Exchange) -> SandboxOperation:
    model, task = str(exchange.body.get("model") or ""), str(exchange.body.get("task_type") or "")
    if model == "midjourney" or "image" in model:
        return "image"
    return kind_of(f"{model} {task}")


def answer_create(exchange: Exchange) -> Reply:
    """`POST /api/v1/task`."""
    body = exchange.body
    model, task, given = str(body.get("model") or ""), str(body.get("task_type") or ""), body.get("input")
    if not model or not task or "no-such-model" in model:
        raise invalid("invalid model or task_type", param="model")
    if not isinstance(given, dict) or reseller.missing_prompt(given):
        raise invalid("invalid input: prompt is required", param="prompt")
    wrong = reseller.bad_field(_kind(exchange), given)
    if wrong is not None:
        raise invalid(f"invalid input: {wrong}", param=wrong)
    config: Any = body.get("config")
    hook = config.get("webhook_config") if isinstance(config, dict) else None
    made = reseller.outputs(exchange, _kind(exchange), given)
    job = exchange.desk.submit(
        exchange,
        _kind(exchange),
        model,
        made,
        name=lambda digest: uuid_text(digest, "task"),
        cost=reseller.price(made, _kind(exchange)),
        extra={"blocked": is_blocked(given.get("prompt")), "task": task},
        callback=None if not isinstance(hook, dict) or not hook.get("endpoint") else lambda made: _callback(made, hook),
    )
    return json_reply({"code": 200, "message": "success", "data": _shown(job) | {"status": "pending"}})


def _bad(job: Job) -> bool:
    return job.phase in ("failed", "canceled") or (job.phase == "succeeded" and job.extra["blocked"])


def _status(job: Job) -> str:
    if _bad(job):
        return "failed"
    if job.phase == "queued":
        return "Pending" if job.fraction < 0.1 else "Staged"
    return "processing" if job.phase == "running" else "Completed"


def _output(job: Job) -> Json:
    urls = job.urls()
    if job.operation == "image":
        return (
            {"image_url": urls[0], "image_urls": urls} if len(urls) > 1 else {"image_url": urls[0], "image_urls": None}
        )
    if job.operation == "video":
        if job.model == "kling":
            resource = {"resource": urls[0], "resource_without_watermark": urls[0]}
            return {"type": "m2v_txt2video", "status": 99, "works": [{"video": resource, "cover": {"resource": ""}}]}
        if job.model == "luma":
            return {"video": {"url": urls[0]}, "video_raw": {"url": urls[0]}}
        return {"video_url": urls[0]}
    if job.model == "music-u":
        return {"songs": [{"id": job.token, "title": "Simulated", "song_path": urls[0], "finished": True}]}
    return {"audio_url": urls[0]}


def _shown(job: Job) -> Json:
    status = _status(job)
    points = int((job.cost or 0) * _POINTS)
    usage = {"type": "point", "frozen": 0 if job.ended else points, "consume": points if status == "Completed" else 0}
    meta: Json = {"created_at": stamp(job), "started_at": stamp(job, job.seconds * 0.2), "usage": usage}
    meta |= {
        "ended_at": stamp(job, job.seconds) if job.ended else "0001-01-01T00:00:00Z",
        "is_using_private_pool": False,
    }
    error: Json = {"code": 0, "raw_message": "", "message": "", "detail": None}
    if status == "failed":
        blocked = job.moderated or job.extra["blocked"]
        error |= {"code": 10001 if blocked else 10000, "raw_message": job.failure, "message": job.failure}
    value: Json = {"task_id": job.name, "model": job.model, "task_type": job.extra["task"], "status": status}
    value |= {"config": job.body.get("config") or {}, "input": job.body.get("input"), "meta": meta, "detail": None}
    output = _output(job) if status == "Completed" and job.artifacts else {}
    return value | {"output": output, "logs": [], "error": error, "progress": job.percent}


def _callback(job: Job, hook: Json) -> Callback:
    body = encoded({"timestamp": int(job.submitted_at + job.seconds), "data": _shown(job)})
    return Callback(url=str(hook["endpoint"]), body=body, headers={"x-webhook-secret": str(hook.get("secret") or "")})


def answer_get(exchange: Exchange) -> Reply:
    """`GET /api/v1/task/{id}`."""
    job = polled(exchange, exchange.groups["job"])
    if job.expired:
        raise Refused("not_found")
    return json_reply({"code": 200, "message": "success", "data": _shown(job)})


def answer_cancel(exchange: Exchange) -> Reply:
    """`DELETE /api/v1/task/{id}`: for Kling and Midjourney, while it waits."""
    job = exchange.desk.find("piapi", exchange.groups["job"])
    if job is None:
        raise Refused("not_found")
    check_account(job)
    if job.model not in _CANCELABLE or job.phase != "queued":
        raise invalid("task can not be cancelled")
    job.cancel()
    return json_reply({"code": 200, "message": "success", "data": None})


def answer_account(exchange: Exchange) -> Reply:
    """`GET /account/info`, `/account/active_tasks`."""
    data: Json = {"account_name": "sandbox", "equivalent_in_usd": 25.0, "available_credits": 25 * _POINTS}
    return json_reply({"code": 200, "message": "success", "data": data})


def answer_upload(exchange: Exchange) -> Reply:
    """`POST upload.theapi.app/api/ephemeral_resource`."""
    data = base64.b64decode(str(exchange.body.get("file_data") or "").rpartition(",")[2])
    name = hexadecimal(exchange.digest, "upload", 20)
    kept = Upload(name=name, content_type="application/octet-stream", size=len(data), data=data)
    return json_reply(
        {"code": 200, "message": "success", "data": {"url": exchange.desk.keep_upload(exchange, name, kept)}}
    )


def _of(line: str, operation: SandboxOperation, answer: Any, **more: Any) -> Route:
    return route(line, operation, "media", answer, **more)


ROUTES: tuple[Route, ...] = (
    _of(r"POST /api/v1/task", "image", answer_create, sort=_kind),
    _of(r"GET /api/v1/task/(?P<job>[^/]+)", "poll", answer_get),
    _of(r"DELETE /api/v1/task/(?P<job>[^/]+)", "cancel", answer_cancel),
    _of(r"GET /account/(info|active_tasks)", "other", answer_account),
    _of(r"POST /api/ephemeral_resource", "file", answer_upload),
)
