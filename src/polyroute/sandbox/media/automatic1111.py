"""AUTOMATIC1111's web UI: calls that block until the pictures are there, and a side door that tells how far they are."""

from __future__ import annotations

import base64
from typing import Any

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.exchange import Exchange, Json, Reply, json_reply
from polyroute.sandbox.media.artifacts import image
from polyroute.sandbox.media.call import answered, encoded, number, seed_of
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.route import Route, route

_PROVIDER = "automatic1111"


def _invalid(field: str, message: str) -> Exception:
    return answered({"detail": [{"loc": ["body", field], "msg": message, "type": "value_error"}]}, 422)


async def answer_draw(exchange: Exchange) -> Reply:
    """`POST /sdapi/v1/txt2img`, `/img2img`."""
    body = exchange.body
    redraws = exchange.path.rstrip("/").endswith("/img2img")
    if redraws and not body.get("init_images"):
        raise answered({"detail": "Init image not found"}, 404)
    wide, high = int(number(body.get("width"), 512)), int(number(body.get("height"), 512))
    if not 64 <= wide <= 4096 or not 64 <= high <= 4096:
        raise _invalid("width", "ensure this value is between 64 and 4096")
    wanted = (body.get("override_settings") or {}).get("sd_model_checkpoint")
    if wanted is not None and "no-such" in str(wanted):
        raise answered({"error": "HTTPException", "detail": "Model not found", "body": "", "errors": ""}, 404)
    if str(body.get("sampler_name") or "").startswith("no-such"):
        raise answered({"detail": "Sampler not found"}, 404)
    if body.get("enable_hr"):
        scale = number(body.get("hr_scale"), 2)
        wide, high = int(wide * scale), int(high * scale)
    pictures = int(number(body.get("batch_size"), 1) * number(body.get("n_iter"), 1))
    made = [image(seed_of(exchange, place), wide, high, "png") for place in range(max(1, min(pictures, 16)))]
    job = exchange.desk.submit(exchange, "image", "stable-diffusion", made, name=lambda digest: digest[:16], cost=0.0)
    await exchange.desk.settled(job)
    if job.phase == "failed":
        raise answered({"error": "RuntimeError", "detail": "", "body": "", "errors": job.failure}, 500)
    seed = int(number(body.get("seed"), -1))
    seed = int(job.token[:7], 16) if seed < 0 else seed
    info: Json = {"prompt": body.get("prompt", ""), "seed": seed, "width": wide, "height": high}
    info |= {"all_seeds": [seed + place for place in range(len(made))], "infotexts": [f"simulated, Seed: {seed}"]}
    shown = [base64.b64encode(item.content()).decode() for item in made]
    return json_reply({"images": shown, "parameters": body, "info": encoded(info).decode()})


def _working(exchange: Exchange) -> Job | None:
    return next((job for job in exchange.desk.jobs(_PROVIDER) if not job.ended), None)


def answer_progress(exchange: Exchange) -> Reply:
    """`GET /sdapi/v1/progress`."""
    job = _working(exchange)
    steps = int(number(job.body.get("steps"), 20)) if job is not None else 0
    done = job.fraction if job is not None else 0.0
    state: Json = {"skipped": False, "interrupted": False, "job": job.name if job is not None else "", "job_count": 1}
    state |= {"sampling_step": int(steps * done), "sampling_steps": steps}
    current = None
    if job is not None:
        job.polls += 1
        if exchange.query.get("skip_current_image") != "true":
            current = base64.b64encode(job.artifacts[0].content()).decode()
    left = (1 - done) * job.seconds if job is not None else 0.0
    return json_reply(
        {"progress": done, "eta_relative": left, "state": state, "current_image": current, "textinfo": None}
    )


def answer_interrupt(exchange: Exchange) -> Reply:
    """`POST /sdapi/v1/interrupt`, `/skip`: the call that blocks ends with what there is."""
    job = _working(exchange)
    if job is not None:
        job.cancel()
    return json_reply({})


def answer_upscale(exchange: Exchange) -> Reply:
    """`POST /sdapi/v1/extra-single-image`."""
    if not exchange.body.get("image"):
        raise _invalid("image", "field required")
    side = int(512 * number(exchange.body.get("upscaling_resize"), 2))
    made = image(seed_of(exchange), side, side, "png")
    exchange.desk.submit(exchange, "image", "upscaler", [made], name=lambda digest: digest[:16], whole=True, cost=0.0)
    return json_reply({"image": base64.b64encode(made.content()).decode(), "html_info": ""})


def answer_lists(exchange: Exchange) -> Reply:
    """`GET /sdapi/v1/sd-models`, `/samplers`, `/upscalers` and others; `/options`; `/internal/ping`."""
    model = exchange.profile.models[0]
    match exchange.path.rpartition("/")[2]:
        case "sd-models":
            return json_reply(
                [{"title": model, "model_name": model.partition(".")[0], "hash": None, "filename": model}]
            )
        case "samplers":
            return json_reply([{"name": name, "aliases": [], "options": {}} for name in ("Euler a", "DPM++ 2M")])
        case "schedulers":
            return json_reply([{"name": "karras", "label": "Karras"}])
        case "upscalers":
            return json_reply([{"name": name, "scale": 4} for name in ("Lanczos", "R-ESRGAN 4x+")])
        case "options":
            return json_reply({"sd_model_checkpoint": model})
        case "memory":
            return json_reply({"ram": {"free": 1, "used": 1, "total": 2}, "cuda": {}})
    return json_reply([] if exchange.path.endswith("/loras") else {})


def _of(line: str, operation: SandboxOperation, answer: Any) -> Route:
    return route(line, operation, "media", answer)


ROUTES: tuple[Route, ...] = (
    _of(r"POST /sdapi/v1/(txt2img|img2img)", "image", answer_draw),
    _of(r"GET /sdapi/v1/progress", "poll", answer_progress),
    _of(r"POST /sdapi/v1/(interrupt|skip)", "cancel", answer_interrupt),
    _of(r"POST /sdapi/v1/extra-single-image", "image", answer_upscale),
    _of(r"GET /sdapi/v1/(sd-models|samplers|schedulers|upscalers|loras|options|memory)", "models", answer_lists),
    _of(r"GET /internal/ping", "other", answer_lists),
    _of(r"POST /sdapi/v1/(options|unload-checkpoint|reload-checkpoint)", "other", answer_lists),
)
