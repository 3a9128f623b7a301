"""fal: the queue, direct runs, files, prices. Its hosts are told apart by the first part of the path."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.delivery import SIMULATED
from polyroute.sandbox.errors import Refused
from polyroute.sandbox.exchange import Direct, Exchange, Json, Reply, hexadecimal, json_reply, uuid_text
from polyroute.sandbox.media import ed25519, fal_models
from polyroute.sandbox.media.call import answered, check_account, encoded, is_blocked, number, polled, stamp
from polyroute.sandbox.media.callbacks import FAL_SEED, Callback
from polyroute.sandbox.media.callbacks import fal as signed
from polyroute.sandbox.media.jobs import Job, Upload
from polyroute.sandbox.media.kinds import kind_of
from polyroute.sandbox.route import Route, route

_PRICES = {"image": (0.025, "megapixels"), "video": (0.1, "seconds"), "speech": (0.1, "1000 characters")}
_POLICY = {
    "loc": ["body", "prompt"],
    "msg": "The content could not be processed because it contained material flagged by a content checker.",
    "type": "content_policy_violation",
}


def _endpoint(exchange: Exchange) -> str:
    return exchange.groups["endpoint"].removesuffix("/stream")


def _sort(exchange: Exchange) -> SandboxOperation:
    return kind_of(_endpoint(exchange))


def _application(endpoint: str) -> str:
    """Owner and alias, without the sub path: what the queue's other paths are made of."""
    parts = endpoint.split("/")
    return "/".join(parts[: 3 if parts[0] in ("workflows", "comfy") else 2])


def _taken(exchange: Exchange, *, whole: bool) -> Job:
    endpoint = _endpoint(exchange)
    if "no-such-model" in endpoint or "/" not in endpoint:
        raise Refused("model_not_found", values={"model": endpoint})
    if not whole and str(exchange.headers.get("x-fal-request-timeout", "60")) == "0":
        raise answered({"detail": "Request timed out", "error_type": "request_timeout"}, 504)
    fal_models.check(endpoint, exchange.body)
    webhook = exchange.query.get("fal_webhook")
    unit = _PRICES.get(_sort(exchange), (0.01, "units"))[0]
    job = exchange.desk.submit(
        exchange,
        _sort(exchange),
        endpoint,
        fal_models.outputs(exchange, endpoint, exchange.body),
        name=lambda digest: uuid_text(digest, "request"),
        whole=whole,
        extra={"blocked": is_blocked(exchange.body.get("prompt")), "app": _application(endpoint)},
        callback=None if webhook is None else lambda made: _callback(exchange, made, webhook),
    )
    job.cost = round(fal_models.billable_units(job) * unit, 6)
    return job


def _bad(job: Job) -> bool:
    return job.phase == "failed" or (job.phase == "succeeded" and job.extra["blocked"])


def _failure(job: Job) -> tuple[Json, int]:
    """Body and status of the result of a job that failed."""
    if job.moderated or job.extra["blocked"]:
        return {"detail": [_POLICY]}, 422
    return {"detail": [{"loc": ["body"], "msg": job.failure, "type": "downstream_service_error"}]}, 500


def _headers(job: Job) -> dict[str, str]:
    headers = {"x-fal-request-id": job.name}
    return headers | ({} if _bad(job) else {"x-fal-billable-units": str(fal_models.billable_units(job))})


def answer_run(exchange: Exchange) -> Reply:
    """`POST fal.run/{endpoint}`: the result in the answer, as one event where a stream is asked for."""
    job = _taken(exchange, whole=True)
    if _bad(job):
        value, status = _failure(job)
        raise answered(value, status, _headers(job) | {"x-fal-error-type": value["detail"][0]["type"]})
    value = fal_models.result(exchange, job)
    if exchange.path.endswith("/stream"):

        async def send(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"content-type": "text/event-stream", **SIMULATED})
            await response.prepare(request)
            await response.write(b"data: " + encoded(value) + b"\n\n")
            await response.write_eof()
            return response

        return Direct(send)
    return json_reply(value, headers=_headers(job))


def answer_submit(exchange: Exchange) -> Reply:
    """`POST queue.fal.run/{endpoint}`."""
    job = _taken(exchange, whole=False)
    host = "https://queue.fal.example.invalid" if job.has("foreign_url") else f"{exchange.origin}/fal/queue.fal.run"
    base = f"{host}/{job.extra['app']}/requests/{job.name}"
    value: Json = {"status": "IN_QUEUE", "request_id": job.name, "response_url": base, "status_url": f"{base}/status"}
    value |= {"cancel_url": f"{base}/cancel", "queue_position": 2, "gateway_request_id": job.name}
    return json_reply(value, headers={"x-fal-request-id": job.name})


def _found(exchange: Exchange) -> Job:
    job = polled(exchange, exchange.groups["job"])
    if job.extra["app"] != exchange.groups["app"]:
        raise answered({"detail": "Not Found"}, 404)
    return job


def _status(job: Job, *, logs: bool) -> Json:
    base = f"{job.origin}/fal/queue.fal.run/{job.extra['app']}/requests/{job.name}"
    value: Json = {"request_id": job.name, "response_url": base, "status_url": f"{base}/status"}
    value["cancel_url"] = f"{base}/cancel"
    entry = {"message": f"{job.percent}%", "level": "INFO", "source": "USER", "timestamp": stamp(job, job.seconds / 2)}
    match job.phase:
        case "queued":
            return value | {"status": "IN_QUEUE", "queue_position": 1 if job.fraction < 0.1 else 0}
        case "running":
            return value | {"status": "IN_PROGRESS", "logs": [entry] if logs else None}
    value |= {"status": "COMPLETED", "logs": [entry] if logs else None, "metrics": {"inference_time": job.seconds}}
    if job.phase == "canceled":
        return value | {"error": "Request was cancelled by the client", "error_type": "client_cancelled"}
    if _bad(job):
        return value | {"error": job.failure, "error_type": _failure(job)[0]["detail"][0]["type"]}
    return value


def answer_status(exchange: Exchange) -> Reply:
    """`GET …/requests/{id}/status`: 202 while it is not complete."""
    job = _found(exchange)
    return json_reply(_status(job, logs=exchange.query.get("logs") == "1"), status=200 if job.ended else 202)


def answer_status_stream(exchange: Exchange) -> Reply:
    """`GET …/status/stream`: a status for every change, until it is complete."""
    job = _found(exchange)

    async def statuses() -> AsyncIterator[Json]:
        seen = ""
        while True:
            value = _status(job, logs=exchange.query.get("logs") == "1")
            if value["status"] != seen:
                seen = value["status"]
                yield value
            if job.ended:
                return
            await exchange.desk.rest(max(0.01, job.seconds / 10))

    async def send(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream", **SIMULATED})
        await response.prepare(request)
        async for value in statuses():
            await response.write(b"data: " + encoded(value) + b"\n\n")
        await response.write_eof()
        return response

    return Direct(send)


def answer_result(exchange: Exchange) -> Reply:
    """`GET …/requests/{id}`: the result, or the error with its own status."""
    job = _found(exchange)
    if not job.ended:
        raise answered({"detail": "Request is still in progress"}, 400)
    if job.phase == "canceled":
        raise answered({"detail": "Request was cancelled", "error_type": "client_cancelled"}, 499)
    if _bad(job):
        value, status = _failure(job)
        kind = value["detail"][0]["type"]
        raise answered(value, status, _headers(job) | {"x-fal-error-type": kind, "x-fal-retryable": "false"})
    return json_reply(fal_models.result(exchange, job), headers=_headers(job))


def answer_cancel(exchange: Exchange) -> Reply:
    """`PUT …/requests/{id}/cancel`."""
    job = exchange.desk.find("fal", exchange.groups["job"])
    if job is None or job.extra["app"] != exchange.groups["app"]:
        raise answered({"status": "NOT_FOUND"}, 404)
    check_account(job)
    if not job.cancel():
        raise answered({"status": "ALREADY_COMPLETED"}, 400)
    return json_reply({"status": "CANCELLATION_REQUESTED"}, status=202)


def _callback(exchange: Exchange, job: Job, url: str) -> Callback:
    value: Json = {"request_id": job.name, "gateway_request_id": job.name, "status": "OK", "payload": None}
    if _bad(job):
        value |= {"status": "ERROR", "error": "Invalid status code: 422", "payload": _failure(job)[0]}
    elif job.phase == "succeeded":
        value["payload"] = fal_models.result(exchange, job)
    else:
        value |= {"status": "ERROR", "error": "Request was cancelled"}
    body = encoded(value)
    return Callback(url=url, body=body, headers=signed(job.name, body) if job.ended else {})


def answer_keys(exchange: Exchange) -> Reply:
    """`GET rest.fal.ai/.well-known/jwks.json`."""
    key = base64.urlsafe_b64encode(ed25519.public_key(FAL_SEED)).rstrip(b"=").decode()
    return json_reply({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": key, "kid": "sandbox", "use": "sig"}]})


def answer_token(exchange: Exchange) -> Reply:
    """`POST rest.fal.ai/storage/auth/token` and `/storage/upload/initiate`."""
    base = f"{exchange.origin}/fal/v3.fal.media"
    if exchange.path.endswith("/initiate"):
        name = hexadecimal(exchange.digest, "upload", 20)
        kind = str(exchange.body.get("content_type") or "application/octet-stream")
        url = exchange.desk.keep_upload(exchange, name, Upload(name=name, content_type=kind, size=0, data=b""))
        return json_reply({"upload_url": f"{base}/put/{name}", "file_url": url})
    expires = "2099-01-01T00:00:00Z"
    return json_reply({"token": "sandbox", "token_type": "Bearer", "base_url": base, "expires_at": expires})


def answer_upload(exchange: Exchange) -> Reply:
    """`POST v3.fal.media/files/upload`, `PUT v3.fal.media/put/{name}`: raw bytes."""
    name = exchange.groups.get("name") or hexadecimal(exchange.digest, "upload", 20)
    kind = exchange.headers.get("content-type", "application/octet-stream")
    shown = exchange.headers.get("x-fal-file-name", name)
    kept = Upload(name=shown, content_type=kind, size=len(exchange.raw), data=exchange.raw)
    return json_reply({"access_url": exchange.desk.keep_upload(exchange, name, kept)})


def _category(endpoint: str) -> str:
    """What fal calls the kind of an endpoint."""
    kinds = {"video": "text-to-video", "speech": "text-to-speech", "transcription": "speech-to-text"}
    named = next((kind for kind in ("image-to-image", "image-to-video", "video-to-video") if kind in endpoint), None)
    kind = kind_of(endpoint)
    return named or kinds.get(kind) or ("text-to-audio" if kind in ("music", "effects", "clone") else "text-to-image")


def _row(endpoint: str) -> Json:
    data = {"display_name": endpoint, "category": _category(endpoint), "description": "Simulated", "status": "active"}
    return {"endpoint_id": endpoint, "metadata": data}


def answer_models(exchange: Exchange) -> Reply:
    """`GET api.fal.ai/v1/models`, in pages."""
    names = [name for name in exchange.profile.models if exchange.query.get("q", "") in name]
    start, limit = int(number(exchange.query.get("cursor"), 0)), int(number(exchange.query.get("limit"), 50))
    more = start + limit < len(names)
    value: Json = {"models": [_row(name) for name in names[start : start + limit]], "has_more": more}
    return json_reply(value | {"next_cursor": str(start + limit) if more else None})


def answer_prices(exchange: Exchange) -> Reply:
    """`GET api.fal.ai/v1/models/pricing`."""
    named = [name for name in [exchange.query.get("endpoint_id")] if name] or list(exchange.profile.models)
    rows = []
    for name in named:
        price, unit = _PRICES.get(kind_of(name), (0.01, "units"))
        rows.append({"endpoint_id": name, "unit_price": price, "unit": unit, "currency": "USD"})
    return json_reply({"prices": rows, "has_more": False, "next_cursor": None})


def _of(line: str, operation: SandboxOperation, answer: Any, **more: Any) -> Route:
    return route(line, operation, "media", answer, **more)


_QUEUE = r"^/queue(\.fal\.run)?"
_REQUEST = rf"{_QUEUE}/(?P<app>.+)/requests/(?P<job>[^/]+)"
_REST = r"^/rest(\.fal\.ai)?"
ROUTES: tuple[Route, ...] = (
    _of(rf"GET {_REST}/\.well-known/jwks\.json", "other", answer_keys, free=("fal",)),
    _of(rf"POST {_REST}/storage/(auth/token|upload/initiate)", "file", answer_token),
    _of(r"POST ^/v3b?\.fal\.media/files/upload", "file", answer_upload, raw=True, free=("fal",)),
    _of(r"PUT ^/v3b?\.fal\.media/put/(?P<name>[^/]+)", "file", answer_upload, raw=True, free=("fal",)),
    _of(r"GET ^/api(\.fal\.ai)?/v1/models", "models", answer_models),
    _of(r"GET ^/api(\.fal\.ai)?/v1/models/pricing", "models", answer_prices),
    _of(rf"GET {_REQUEST}/status", "poll", answer_status),
    _of(rf"GET {_REQUEST}/status/stream", "poll", answer_status_stream),
    _of(rf"GET {_REQUEST}", "poll", answer_result),
    _of(rf"PUT {_REQUEST}/cancel", "cancel", answer_cancel),
    _of(rf"POST {_QUEUE}/(?P<endpoint>.+)", "image", answer_submit, sort=_sort),
    _of(r"POST ^/(run|fal\.run)/(?P<endpoint>.+)", "image", answer_run, sort=_sort),
)
