"""OpenRouter's pictures; AiHubMix' own media and predictions; RunPod's public endpoints."""

from __future__ import annotations

import base64
from typing import Any

from aiohttp import web

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Direct, Exchange, Json, Reply, json_reply, uuid_text
from polyroute.sandbox.media import google, openai_videos, reseller
from polyroute.sandbox.media.artifacts import image
from polyroute.sandbox.media.call import (
    answered,
    check_account,
    count,
    encoded,
    is_blocked,
    number,
    polled,
    said,
    seed_of,
    sides,
)
from polyroute.sandbox.media.callbacks import Callback
from polyroute.sandbox.media.files import send_artifact
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.media.kinds import kind_of
from polyroute.sandbox.openai_reading import required_model
from polyroute.sandbox.pictures import size_of
from polyroute.sandbox.route import Route, route

_FIELDS = {"model", "prompt", "async", "n", "size", "aspect_ratio", "images", "mask", "response_format", "extra"}
_FIELDS |= {"duration", "resolution", "frame_images", "input_references", "generate_audio", "seed", "negative_prompt"}
_STATUS = {"queued": "pending", "running": "in_progress", "succeeded": "completed", "canceled": "cancelled"}


def _of(line: str, operation: SandboxOperation, answer: Any, **more: Any) -> Route:
    return route(line, operation, "openai_other", answer, **more)


def answer_openrouter(exchange: Exchange) -> Reply:
    """OpenRouter's `POST /images`."""
    model, prompt = required_model(exchange), exchange.body.get("prompt")
    if not isinstance(prompt, str) or not prompt:
        raise invalid("Missing required parameter: 'prompt'.", param="prompt")
    pair = sides(exchange.body.get("aspect_ratio")) or size_of(exchange.body.get("size"))
    if pair is None:
        raise invalid("Invalid size", param="size")
    form = str(exchange.body.get("output_format") or "jpeg")
    made = [image(seed_of(exchange, place), *pair, form) for place in range(count(exchange.body.get("n")))]
    cost = round(0.0336 * len(made), 6)
    job = exchange.desk.submit(
        exchange, "image", model, made, name=lambda digest: f"gen-img-{digest[:20]}", whole=True, cost=cost
    )
    if job.moderated or is_blocked(prompt):
        raise Refused("content_filter")
    rows = [{"b64_json": base64.b64encode(item.content()).decode(), "media_type": item.content_type} for item in made]
    tokens = 1120 * len(made)
    usage: Json = {"prompt_tokens": 10, "completion_tokens": tokens, "total_tokens": tokens + 10, "cost": cost}
    usage |= {"is_byok": False, "prompt_tokens_details": {"cached_tokens": 0}}
    usage |= {"cost_details": {"upstream_inference_cost": cost}, "completion_tokens_details": {"image_tokens": tokens}}
    return json_reply({"created": int(job.submitted_at), "data": rows, "usage": usage})


OPENROUTER: tuple[Route, ...] = (_of(r"POST /images(/generations)?", "image", answer_openrouter),)


def answer_native(exchange: Exchange) -> Reply:
    """AiHubMix' `POST /ai/v1/images/generations` and `/ai/v1/videos`."""
    body, model = exchange.body, required_model(exchange)
    unknown = next((name for name in body if name not in _FIELDS), None)
    if unknown is not None:
        raise invalid(f"Unknown field: {unknown}", param=unknown, code="schema_violation")
    kind = "video" if exchange.path.rstrip("/").endswith("videos") else "image"
    if reseller.missing_prompt(body) and not body.get("frame_images"):
        raise invalid("prompt is required", param="prompt", code="schema_violation")
    wrong = reseller.bad_field(kind, body)
    if wrong is not None:
        raise invalid(f"Invalid value for {wrong}", param=wrong, code="schema_violation")
    pair = size_of(str(body["size"])) if "x" in str(body.get("size") or "") else None
    given = body | ({"width": pair[0], "height": pair[1]} if pair else {})
    made = reseller.outputs(exchange, kind, given)
    whole = kind == "image" and body.get("async") is not True
    job = exchange.desk.submit(
        exchange,
        kind,
        model,
        made,
        name=lambda digest: f"t_{digest[:24]}",
        whole=whole,
        cost=reseller.price(made, kind),
        extra={"blocked": is_blocked(body.get("prompt")), "native": True},
    )
    return json_reply(_native(job) if whole else _native(job) | {"status": "pending", "output": None})


def _native(job: Job) -> Json:
    bad = job.phase == "failed" or (job.phase == "succeeded" and job.extra["blocked"])
    state = "failed" if bad else _STATUS[job.phase]
    value: Json = {"id": job.name, "object": job.operation, "model": job.model, "status": state, "output": None}
    value |= {"error": None, "created_at": int(job.submitted_at), "completed_at": None, "expires_at": None}
    if bad:
        blocked = job.moderated or job.extra["blocked"]
        value["error"] = {
            "code": "content_policy_violation" if blocked else "generation_failed",
            "message": job.failure,
        }
    elif job.phase == "succeeded":
        inline = job.body.get("response_format") == "b64_json"
        base = f"{job.origin}/aihubmix/ai/v1/{job.operation}s/{job.name}/content"
        value["output"] = [
            {"index": place, "type": "file", "content_type": item.content_type}
            | {"content_url": None if inline else f"{base}/res_{place}"}
            | {"b64_json": base64.b64encode(item.content()).decode() if inline else None}
            for place, item in enumerate(job.artifacts)
        ]
        value |= {"completed_at": int(job.submitted_at + job.seconds)}
        value["expires_at"] = int(job.submitted_at + job.seconds + job.keep_seconds)
    return value


def answer_native_get(exchange: Exchange) -> Reply:
    """`GET /ai/v1/images/{id}`, `/ai/v1/videos/{id}`."""
    return json_reply(_native(polled(exchange, exchange.groups["job"])))


def answer_native_list(exchange: Exchange) -> Reply:
    """`GET /ai/v1/images`, `/ai/v1/videos`."""
    kind = "video" if "videos" in exchange.path else "image"
    jobs = [job for job in exchange.desk.jobs("aihubmix") if job.extra.get("native") and job.operation == kind][::-1]
    limit = int(number(exchange.query.get("limit"), 20))
    return json_reply({"object": "list", "data": [_native(job) for job in jobs[:limit]], "has_more": len(jobs) > limit})


def answer_native_content(exchange: Exchange) -> Reply:
    """`GET …/content/{result}`: with the same key."""
    job = exchange.desk.find("aihubmix", exchange.groups["job"])
    place = int(number(exchange.groups["result"], 0))
    if job is None or place >= len(job.artifacts) or job.phase != "succeeded":
        raise Refused("not_found", status=404)
    check_account(job)

    async def send(request: web.Request) -> web.StreamResponse:
        return await send_artifact(request, job, job.artifacts[place])

    return Direct(send)


def answer_prediction(exchange: Exchange) -> Reply:
    """AiHubMix' `POST /v1/models/{vendor}/{model}/predictions`."""
    given = exchange.body.get("input")
    if not isinstance(given, dict) or reseller.missing_prompt(given):
        raise invalid("input.prompt is required", param="prompt")
    model = exchange.groups["model"]
    made = reseller.outputs(exchange, "image", given)
    job = exchange.desk.submit(
        exchange, "image", model, made, name=lambda digest: digest[:24], whole=True, cost=reseller.price(made, "image")
    )
    if job.moderated or is_blocked(given.get("prompt")):
        raise Refused("content_filter")
    return json_reply({"output": [{"url": url} for url in job.urls()]})


def answer_catalogue(exchange: Exchange) -> Reply:
    """AiHubMix' `GET /api/v1/models`, without a key."""
    names = [*exchange.profile.models, "gpt-image-2", "sora-2", "doubao-seedance-2-0"]
    rows = [{"model_id": name, "types": kind_of(name), "endpoints": "", "pricing": {}} for name in names]
    return json_reply({"success": True, "data": rows, "message": ""})


def _native_kind(exchange: Exchange) -> SandboxOperation:
    return "video" if exchange.path.rstrip("/").endswith("videos") else "image"


_NATIVE = r"/ai/v1/(images|videos)"
AIHUBMIX: tuple[Route, ...] = (
    *google.GENERATE,
    _of(r"POST /ai/v1/(images/generations|videos)", "image", answer_native, sort=_native_kind),
    _of(rf"GET {_NATIVE}", "other", answer_native_list),
    _of(rf"GET {_NATIVE}/(?P<job>[^/]+)", "poll", answer_native_get),
    _of(rf"GET {_NATIVE}/(?P<job>[^/]+)/content/res_(?P<result>\d+)", "file", answer_native_content),
    _of(r"POST /models/(?P<model>[^/]+/[^/]+)/predictions", "image", answer_prediction),
    _of(r"GET /api/v1/models", "models", answer_catalogue, free=("aihubmix",)),
    *openai_videos.ROUTES,
)


def _slug_kind(exchange: Exchange) -> SandboxOperation:
    return kind_of(exchange.groups["slug"])


def _runpod(exchange: Exchange) -> Job:
    slug, given = exchange.groups["slug"], exchange.body.get("input")
    if not isinstance(given, dict):
        raise invalid("input is required")
    if reseller.missing_prompt(given):
        raise invalid("input.prompt is required")
    kind = kind_of(slug)
    made = reseller.outputs(exchange, kind, given)
    url = exchange.body.get("webhook")
    return exchange.desk.submit(
        exchange,
        kind,
        slug,
        made,
        name=lambda digest: f"{uuid_text(digest, 'job')}-u1",
        cost=reseller.price(made, kind),
        extra={"blocked": is_blocked(given.get("prompt"))},
        callback=None if not url else lambda job: Callback(url=str(url), body=encoded(_runpod_shown(job)), headers={}),
    )


def _runpod_shown(job: Job) -> Json:
    bad = job.phase == "failed" or (job.phase == "succeeded" and job.extra["blocked"])
    states = {"queued": "IN_QUEUE", "running": "IN_PROGRESS", "succeeded": "COMPLETED", "canceled": "CANCELLED"}
    value: Json = {"id": job.name, "status": "FAILED" if bad else states[job.phase]}
    if job.ended:
        value |= {"delayTime": int(job.seconds * 200), "executionTime": int(job.seconds * 800), "workerId": "sandbox"}
    if bad:
        value["error"] = job.failure
    elif job.phase == "succeeded":
        value["output"] = _runpod_output(job)
    return value


def _runpod_output(job: Job) -> Json:
    if not job.artifacts:
        return {"text": said(job), "cost": job.cost}
    if "comfyui" in job.model:
        rows = [
            {
                "filename": f"sandbox_{place:05}_.png",
                "type": "base64",
                "data": base64.b64encode(item.content()).decode(),
            }
            for place, item in enumerate(job.artifacts)
        ]
        return {"images": rows}
    field = {"image": "image_url", "video": "video_url"}.get(job.artifacts[0].kind, "audio_url")
    return {field: job.url(), "cost": job.cost}


def answer_run(exchange: Exchange) -> Reply:
    """`POST /{slug}/run`."""
    return json_reply({"id": _runpod(exchange).name, "status": "IN_QUEUE"})


async def answer_run_sync(exchange: Exchange) -> Reply:
    """`POST /{slug}/runsync?wait=`: the job, which may not be done."""
    job = _runpod(exchange)
    await exchange.desk.settled(job, number(exchange.query.get("wait"), 90_000) / 1000)
    return json_reply(_runpod_shown(job))


def answer_status(exchange: Exchange) -> Reply:
    """`GET /{slug}/status/{id}`; 404 when its time is over."""
    job = polled(exchange, exchange.groups["job"])
    if job.expired:
        raise answered({"error": "job not found"}, 404)
    return json_reply(_runpod_shown(job))


def answer_cancel(exchange: Exchange) -> Reply:
    """`POST /{slug}/cancel/{id}`."""
    job = exchange.desk.find("runpod", exchange.groups["job"])
    if job is None:
        raise Refused("not_found")
    check_account(job)
    job.cancel()
    return json_reply(_runpod_shown(job))


_PARTS = "flux|image|seedream|banana|t2i|comfyui|kling|seedance|wan-|vidu|p-video|infinitetalk|sora|minimax|chatterbox|whisper"
_SLUG = rf"/(?P<slug>[^/]*(?:{_PARTS})[^/]*)"
RUNPOD: tuple[Route, ...] = (
    route(rf"POST {_SLUG}/run", "image", "runpod", answer_run, sort=_slug_kind),
    route(rf"POST {_SLUG}/runsync", "image", "runpod", answer_run_sync, sort=_slug_kind),
    route(rf"GET|POST {_SLUG}/status/(?P<job>[^/]+)", "poll", "runpod", answer_status),
    route(rf"POST {_SLUG}/cancel/(?P<job>[^/]+)", "cancel", "runpod", answer_cancel),
)
