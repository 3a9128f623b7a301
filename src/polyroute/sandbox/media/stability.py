"""Stability: pictures and sound at once, in the form that is accepted; the creative upscaler is polled."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused
from polyroute.sandbox.exchange import Exchange, Reply, json_reply
from polyroute.sandbox.media.artifacts import audio, image
from polyroute.sandbox.media.call import (
    answered,
    bytes_reply,
    is_blocked,
    number,
    polled,
    seed_number,
    seed_of,
    sides,
)
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.route import Route, route


def _of(line: str, operation: SandboxOperation, answer: Any, **more: Any) -> Route:
    return route(line, operation, "media", answer, **more)


_ASPECTS = ("1:1", "16:9", "9:16", "3:2", "2:3", "4:5", "5:4", "21:9", "9:21")
_MODELS = ("sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium")
_USUAL_PRICE = 0.05
_PRICES = {"ultra": 0.08, "core": 0.03, "fast": 0.02, "conservative": 0.40, "creative": 0.60}
_PRICES |= dict(zip(_MODELS, (0.065, 0.04, 0.035), strict=True))
_LATER = ("creative", "replace-background-and-relight")
_LARGEST_FILE = 10 << 20


class _Endpoint(msgspec.Struct, frozen=True):
    """What an endpoint cannot do without; of `one_of` any is enough. Names of files begin with an @."""

    needs: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    formats: tuple[str, ...] = ("png", "jpeg", "webp")


_ENDPOINTS = {
    "generate/core": _Endpoint(("prompt",)),
    "generate/ultra": _Endpoint(("prompt",)),
    "generate/sd3": _Endpoint(("prompt",), formats=("png", "jpeg")),
    "edit/erase": _Endpoint(("@image",)),
    "edit/inpaint": _Endpoint(("@image", "prompt")),
    "edit/outpaint": _Endpoint(("@image",), ("left", "right", "up", "down")),
    "edit/search-and-replace": _Endpoint(("@image", "prompt", "search_prompt")),
    "edit/search-and-recolor": _Endpoint(("@image", "prompt", "select_prompt")),
    "edit/remove-background": _Endpoint(("@image",), formats=("png", "webp")),
    "edit/replace-background-and-relight": _Endpoint(
        ("@subject_image",), ("background_prompt", "@background_reference")
    ),
    "upscale/fast": _Endpoint(("@image",)),
    "upscale/conservative": _Endpoint(("@image", "prompt")),
    "upscale/creative": _Endpoint(("@image", "prompt")),
    "control/sketch": _Endpoint(("@image", "prompt")),
    "control/structure": _Endpoint(("@image", "prompt")),
    "control/style": _Endpoint(("@image", "prompt")),
    "control/style-transfer": _Endpoint(("@init_image", "@style_image")),
}
_RANGES = {
    "seed": (0, 4_294_967_294), "strength": (0, 1), "creativity": (0, 1), "control_strength": (0, 1), "fidelity": (0, 1),
    "grow_mask": (0, 100), "left": (0, 2000), "right": (0, 2000), "up": (0, 2000), "down": (0, 2000), "cfg_scale": (1, 25),
}  # fmt: skip


def _problem(message: str, status: int = 400, name: str = "bad_request") -> Exception:
    return answered({"id": "sandbox", "name": name, "errors": [message]}, status)


def _check_form(exchange: Exchange, needs: tuple[str, ...], one_of: tuple[str, ...] = ()) -> None:
    """Refuse a form that lacks something, or says what is out of its range."""
    if "multipart/form-data" not in exchange.headers.get("content-type", ""):
        raise _problem("content-type: must be multipart/form-data")
    sent = {f"@{upload.field}" for upload in exchange.uploads if upload.size}
    sent |= {name for name, value in exchange.body.items() if value != ""}
    for name in needs:
        if name not in sent:
            raise _problem(f"{name.removeprefix('@')}: cannot be blank")
    if one_of and not sent & set(one_of):
        raise _problem(f"{one_of[0].removeprefix('@')}: at least one of {', '.join(one_of)} is required")
    for upload in exchange.uploads:
        if upload.size > _LARGEST_FILE:
            raise _problem(f"{upload.field}: payload is larger than 10MiB", 413, "payload_too_large")
    for name, (least, most) in _RANGES.items():
        if name in exchange.body and not least <= number(exchange.body[name], -1) <= most:
            raise _problem(f"{name}: must be between {least} and {most}")


def _sized(exchange: Exchange, what: str, sent: set[str]) -> tuple[int, int]:
    body = exchange.body
    if what == "sd3":
        if body.get("model") and body["model"] not in exchange.profile.models:
            raise Refused("model_not_found")
        if body.get("mode") == "image-to-image" and body.get("aspect_ratio"):
            raise _problem("aspect_ratio: cannot be used with mode image-to-image")
        if body.get("mode") == "image-to-image" and not {"image", "strength"} <= sent:
            raise _problem("strength: image and strength are required with mode image-to-image")
    if what == "ultra" and "image" in sent and "strength" not in sent:
        raise _problem("strength: is required when image is given")
    aspect = body.get("aspect_ratio", "1:1")
    if aspect not in _ASPECTS:
        raise _problem(f"aspect_ratio: must be one of {', '.join(_ASPECTS)}")
    return sides(aspect) or (1024, 1024)


def answer_stability(exchange: Exchange) -> Reply:
    """Stability's `POST /v2beta/stable-image/{family}/{what}`."""
    body, family, what = exchange.body, exchange.groups["family"], exchange.groups["what"]
    endpoint = _ENDPOINTS.get(f"{family}/{what}")
    if endpoint is None:
        raise _problem("path: not found", 404, "not_found")
    _check_form(exchange, endpoint.needs, endpoint.one_of)
    wide, high = _sized(exchange, what, set(body) | {upload.field for upload in exchange.uploads})
    form = str(body.get("output_format") or "png")
    if form not in endpoint.formats:
        raise _problem(f"output_format: must be one of {', '.join(endpoint.formats)}")
    factor = 4 if family == "upscale" else 1
    model = str(body.get("model") or ("sd3.5-large" if what == "sd3" else what))
    later = what in _LATER
    job = exchange.desk.submit(
        exchange,
        "image",
        model,
        [image(seed_of(exchange), min(wide * factor, 4096), min(high * factor, 4096), form)],
        name=lambda digest: digest[:64],
        whole=not later,
        cost=_PRICES.get(model, _USUAL_PRICE),
        extra={"blocked": is_blocked(body.get("prompt"), body.get("background_prompt"))},
    )
    return json_reply({"id": job.name}) if later else _stable(exchange, job)


def _stable(exchange: Exchange, job: Job) -> Reply:
    reason = "CONTENT_FILTERED" if job.moderated else "SUCCESS"
    if job.moderated and job.extra["blocked"]:
        raise Refused("content_filter")
    artifact = job.artifacts[0]
    seed = seed_number(exchange, int(number(job.body.get("seed"), 0)))
    if "application/json" in exchange.headers.get("accept", ""):
        field = "result" if exchange.method == "GET" else "image" if artifact.kind == "image" else "audio"
        content = artifact.content() if not job.has("wrong_media_type") else b"<!doctype html><html></html>"
        data = base64.b64encode(content).decode()
        return json_reply({field: data, "seed": seed, "finish_reason": reason})
    return bytes_reply(artifact, {"seed": str(seed), "finish-reason": reason})


def answer_stable_audio(exchange: Exchange) -> Reply:
    """Stability's `POST /v2beta/audio/stable-audio-2/{what}`: from words, or from words and sound."""
    body, from_sound = exchange.body, exchange.groups["what"] == "audio-to-audio"
    _check_form(exchange, ("prompt", "@audio") if from_sound else ("prompt",))
    model = str(body.get("model") or "stable-audio-2")
    if model not in ("stable-audio-2", "stable-audio-2.5"):
        raise _problem("model: must be one of stable-audio-2.5, stable-audio-2")
    seconds = number(body.get("duration"), 20)
    if not 1 <= seconds <= 190:
        raise _problem("duration: must be between 1 and 190")
    form = str(body.get("output_format") or "mp3")
    if form not in ("mp3", "wav"):
        raise _problem("output_format: must be one of mp3, wav")
    extra = {"blocked": is_blocked(body.get("prompt"))}
    job = exchange.desk.submit(
        exchange,
        "music",
        model,
        [audio(seconds, form)],
        name=lambda digest: digest[:64],
        whole=True,
        cost=0.2,
        extra=extra,
    )
    return _stable(exchange, job)


def answer_stable_result(exchange: Exchange) -> Reply:
    """Stability's `GET /v2beta/results/{id}`: 202 while it works."""
    missing = answered({"id": "sandbox", "name": "not_found", "errors": ["id: not found"]}, 404)
    job = exchange.desk.find("stability", exchange.groups["job"])
    if job is None or job.expired:
        raise missing
    job = polled(exchange, job.name)
    if not job.ended:
        return json_reply({"id": job.name, "status": "in-progress"}, status=202)
    if job.phase == "failed" and not job.moderated:
        raise answered({"id": job.name, "name": "internal_error", "errors": [job.failure]}, 500)
    return _stable(exchange, job)


ROUTES: tuple[Route, ...] = (
    _of(r"POST /v2beta/stable-image/(?P<family>[^/]+)/(?P<what>[^/]+)", "image", answer_stability),
    _of(r"POST /v2beta/audio/stable-audio-2/(?P<what>(text|audio)-to-audio)", "music", answer_stable_audio),
    _of(r"GET /v2beta/results/(?P<job>[^/]+)", "poll", answer_stable_result),
)
