"""Luma's Dream Machine API: pictures, films, other shapes of both, and what becomes of a film that it made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json, Reply, Whole, json_reply, uuid_text
from polyroute.sandbox.media.artifacts import Artifact, image, video
from polyroute.sandbox.media.call import (
    check_account,
    encoded,
    film_sides,
    is_blocked,
    number,
    polled,
    seed_of,
    sides,
    stamp,
)
from polyroute.sandbox.media.callbacks import Callback
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.route import Route, route

_STATES = {"queued": "queued", "running": "dreaming", "succeeded": "completed"}
_FILMS, _PICTURES = ("ray-2", "ray-flash-2"), ("photon-1", "photon-flash-1")
_SHAPES = ("1:1", "16:9", "9:16", "4:3", "3:4", "21:9", "9:21")
_RESOLUTIONS = ("540p", "720p", "1080p", "4k")
_MODES = tuple(f"{word}_{grade}" for word in ("adhere", "flex", "reimagine") for grade in (1, 2, 3))
_CONCEPTS = ("dolly_zoom", "handheld", "orbit_left", "orbit_right", "pan_left", "pan_right", "push_in", "static")
_MOST_REFERENCES = 4
_SOURCE_SECONDS = 5.0


def one_of(body: Json, name: str, wanted: tuple[str, ...], usual: str | None = None, *, within: str = "") -> str:
    """A field that must be one of some words; it lies in the object `within`. Refuses what is none of them, and what is
    missing without a usual one."""
    given = body.get(name)
    if given is None and usual is not None:
        return usual
    if given not in wanted:
        raise invalid(f"{within}{name}: Input should be one of {', '.join(wanted)}, not {given}", param=name)
    return str(given)


def need_prompt(body: Json) -> str:
    """The words, of which there must be some."""
    prompt = body.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise invalid("prompt: String should have at least 1 character", param="prompt")
    return prompt


def _address(value: Any, name: str) -> None:
    """Media are given by addresses; nothing else is read."""
    url = value.get("url") if isinstance(value, dict) else None
    if not isinstance(url, str) or not url.startswith(("https://", "http://")):
        raise invalid(f"{name}: {name}.url must be a public URL", param=name)


def _picture(exchange: Exchange) -> Artifact:
    body = exchange.body
    one_of(body, "model", _PICTURES)
    need_prompt(body)
    shape = one_of(body, "aspect_ratio", _SHAPES, "16:9")
    for name in ("image_ref", "style_ref"):
        for reference in body.get(name) or ():
            _address(reference, name)
    if len(body.get("image_ref") or ()) > _MOST_REFERENCES:
        raise invalid(f"image_ref: List should have at most {_MOST_REFERENCES} items", param="image_ref")
    if "modify_image_ref" in body:
        _address(body["modify_image_ref"], "modify_image_ref")
    return image(
        seed_of(exchange), *(sides(shape, 1536 * 1024) or (1024, 1024)), one_of(body, "format", ("jpg", "png"), "jpg")
    )


def _film(exchange: Exchange) -> Artifact:
    body = exchange.body
    one_of(body, "model", _FILMS)
    frames = body.get("keyframes") or {}
    for name, frame in frames.items():
        if isinstance(frame, dict) and frame.get("type") == "generation":
            _own_film(exchange, str(frame.get("id")))
        else:
            _address(frame, f"keyframes.{name}")
    if not frames:
        need_prompt(body)
    shape, size = one_of(body, "aspect_ratio", _SHAPES, "16:9"), one_of(body, "resolution", _RESOLUTIONS, "720p")
    for concept in body.get("concepts") or ():
        one_of(concept, "key", _CONCEPTS)
    seconds = number(one_of(body, "duration", ("5s", "9s"), "5s"), 5)
    return video(seed_of(exchange), *film_sides(size, shape), seconds)


def _other_shape_of_a_picture(exchange: Exchange) -> Artifact:
    body = exchange.body
    one_of(body, "model", _PICTURES)
    one_of(body, "generation_type", ("reframe_image",))
    _address(body.get("media"), "media")
    pair = sides(one_of(body, "aspect_ratio", _SHAPES), 1536 * 1024) or (1024, 1024)
    return image(seed_of(exchange), *pair, one_of(body, "format", ("jpg", "png"), "jpg"))


def _other_shape_of_a_film(exchange: Exchange) -> Artifact:
    body = exchange.body
    one_of(body, "model", _FILMS)
    one_of(body, "generation_type", ("reframe_video",))
    _address(body.get("media"), "media")
    return video(seed_of(exchange), *film_sides("720p", one_of(body, "aspect_ratio", _SHAPES)), _SOURCE_SECONDS)


def _changed_film(exchange: Exchange) -> Artifact:
    body = exchange.body
    one_of(body, "model", _FILMS)
    one_of(body, "generation_type", ("modify_video",))
    one_of(body, "mode", _MODES)
    _address(body.get("media"), "media")
    if "first_frame" in body:
        _address(body["first_frame"], "first_frame")
    return video(seed_of(exchange), *film_sides("720p"), _SOURCE_SECONDS)


def _own_film(exchange: Exchange, name: str) -> Artifact:
    found = exchange.desk.find(exchange.profile.name, name)
    if found is None or found.deleted or found.phase != "succeeded" or found.artifacts[0].kind != "video":
        raise Refused("not_found", "Generation not found", status=404)
    return found.artifacts[0]


def _larger_film(exchange: Exchange) -> Artifact:
    film = _own_film(exchange, exchange.groups["source"])
    one_of(exchange.body, "generation_type", ("upscale_video",), "upscale_video")
    size = one_of(exchange.body, "resolution", _RESOLUTIONS, "1080p")
    return video(seed_of(exchange), *film_sides(size, f"{film.width}:{film.height}"), film.seconds)


def _film_with_sound(exchange: Exchange) -> Artifact:
    film = _own_film(exchange, exchange.groups["source"])
    one_of(exchange.body, "generation_type", ("add_audio",), "add_audio")
    return video(seed_of(exchange), film.width, film.height, film.seconds)


_MAKERS: Mapping[str, Callable[[Exchange], Artifact]] = {
    "": _film, "video": _film, "image": _picture, "image/reframe": _other_shape_of_a_picture,
    "video/reframe": _other_shape_of_a_film, "video/modify": _changed_film, "upscale": _larger_film,
    "audio": _film_with_sound,
}  # fmt: skip


def answer_dream(exchange: Exchange) -> Reply:
    """`POST /dream-machine/v1/generations` and what is below it."""
    body, what = exchange.body, exchange.groups.get("what") or ""
    made = _MAKERS[what](exchange)
    url, source = body.get("callback_url"), exchange.groups.get("source")
    model = str(body.get("model") or "")
    if source is not None:
        found = exchange.desk.find(exchange.profile.name, source)
        model = "" if found is None else found.model
    job = exchange.desk.submit(
        exchange,
        made.kind,
        model,
        [made],
        name=lambda digest: uuid_text(digest, "generation"),
        extra={"blocked": is_blocked(body.get("prompt")), "agents": False},
        whole=bool(body.get("sync")) and made.kind == "image",
        callback=None
        if not url
        else lambda job: Callback(url=str(url), body=encoded(shown(job)), headers={}, at_start=True),
    )
    return json_reply(shown(job) | ({} if body.get("sync") else {"state": "queued", "assets": None}), status=201)


def shown(job: Job) -> Json:
    """A generation as it stands."""
    value: Json = {"id": job.name, "generation_type": job.operation, "state": _STATES.get(job.phase, "failed")}
    value |= {"failure_reason": None, "created_at": stamp(job), "model": job.model, "assets": None, "request": job.body}
    if value["state"] == "completed":
        value["assets"] = {"video": None, "image": None, "progress_video": None, job.operation: job.url()}
    if value["state"] == "failed":
        value["failure_reason"] = "400: Content moderation failed" if job.moderated else job.failure
    return value


def answer_get(exchange: Exchange) -> Reply:
    """`GET /generations/{id}`."""
    return json_reply(shown(polled(exchange, exchange.groups["job"], Refused("not_found", status=404))))


def answer_delete(exchange: Exchange) -> Reply:
    """`DELETE /generations/{id}`: removes it, running or not."""
    job = exchange.desk.find(exchange.profile.name, exchange.groups["job"])
    if job is None or job.deleted:
        raise Refused("not_found", status=404)
    check_account(job)
    job.cancel()
    job.deleted = True
    return Whole(body=b"", status=204)


def answer_list(exchange: Exchange) -> Reply:
    """`GET /generations`, newest first."""
    jobs = [job for job in exchange.desk.jobs(exchange.profile.name) if not job.deleted and not job.extra["agents"]]
    first, most = int(number(exchange.query.get("offset"), 0)), int(number(exchange.query.get("limit"), 100))
    page = jobs[::-1][first : first + most]
    value: Json = {"generations": [shown(job) for job in page], "count": len(page), "limit": most, "offset": first}
    return json_reply(value | {"has_more": first + most < len(jobs)})


def answer_account(exchange: Exchange) -> Reply:
    """`GET /credits`, `/ping`, `/generations/concepts/list`."""
    if exchange.path.endswith("/list"):
        return json_reply(list(_CONCEPTS))
    return json_reply({"credit_balance": 1000.0} if exchange.path.endswith("/credits") else {"message": "pong"})


def _sort(exchange: Exchange) -> SandboxOperation:
    return "image" if (exchange.groups.get("what") or "").startswith("image") else "video"


_BASE = r"/dream-machine/v1"
DREAMS: tuple[Route, ...] = (
    route(
        rf"POST {_BASE}/generations(/(?P<what>video|image|image/reframe|video/reframe|video/modify))?",
        "video", "media", answer_dream, sort=_sort,
    ),
    route(rf"POST {_BASE}/generations/(?P<source>[^/]+)/(?P<what>upscale|audio)", "video", "media", answer_dream),
    route(rf"GET {_BASE}/(credits|ping|generations/concepts/list)", "other", "media", answer_account),
    route(rf"GET {_BASE}/generations", "other", "media", answer_list),
    route(rf"GET {_BASE}/generations/(?P<job>[^/]+)", "poll", "media", answer_get),
    route(rf"DELETE {_BASE}/generations/(?P<job>[^/]+)", "cancel", "media", answer_delete),
)  # fmt: skip
