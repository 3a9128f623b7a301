"""Luma's Agents API, whose addresses are signed anew on every look, and files that are uploaded to it beforehand."""

from __future__ import annotations

from typing import Any

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json, Reply, Whole, json_reply, uuid_text
from polyroute.sandbox.media.artifacts import Artifact, image, video
from polyroute.sandbox.media.call import film_sides, is_blocked, number, polled, seed_of, sides, stamp
from polyroute.sandbox.media.jobs import Job, Upload
from polyroute.sandbox.media.luma_dreams import DREAMS, need_prompt, one_of
from polyroute.sandbox.route import Route, route

_STATES = {"queued": "queued", "running": "processing", "succeeded": "completed"}
_TYPES = ("image", "image_edit", "video", "video_edit", "video_reframe", "layering")
_PICTURES, _FILMS = ("uni-1", "uni-1-max"), ("ray-3.2",)
_SHAPES = ("3:1", "2:1", "21:9", "16:9", "4:3", "3:2", "1:1", "3:4", "2:3", "9:16", "1:2", "1:3")
_FILM_SHAPES = ("21:9", "16:9", "4:3", "1:1", "3:4", "9:16")
_RESOLUTIONS = ("360p", "540p", "720p", "1080p")
_STRENGTHS = tuple(f"{word}_{grade}" for word in ("adhere", "flex", "reimagine") for grade in (1, 2, 3))
_MOST_REFERENCES = {"image": 9, "image_edit": 8}
_FRAMES = 24
_MOST_KEYFRAMES = 64
_SOURCE_SECONDS = 5.0
_LAYERS = (("person", "soft"), ("table", "hard"), ("room", "none"))
_CODES = frozenset({
    "content_moderated", "generation_failed", "budget_exhausted", "output_not_found", "image_too_large",
    "unsupported_format", "corrupt_input", "invalid_request", "rate_limited",
})  # fmt: skip


def _reference(exchange: Exchange, value: Any, name: str, *, film: bool = False) -> None:
    """Exactly one of an address, bytes with their type, a generation of one's own and a file that is ready."""
    ways = [way for way in ("url", "data", "generation_id", "file_id") if isinstance(value, dict) and value.get(way)]
    if len(ways) != 1:
        raise invalid(f"{name}: Provide exactly one of url, data, generation_id, or file_id", param=name)
    kind = str(value.get("media_type") or "")
    if (ways[0] == "data" or (film and ways[0] == "url")) and not kind:
        raise invalid(f"{name}: media_type is required", param=name)
    if kind and ways[0] in ("url", "data") and not kind.startswith("video/" if film else "image/"):
        raise invalid(f"{name}: media_type {kind} is not supported here", param=name)
    if ways[0] == "url" and not str(value["url"]).startswith(("https://", "http://")):
        raise invalid(f"{name}: url must be public", param=name)
    if ways[0] == "file_id":
        file = exchange.desk.upload(str(value["file_id"]))
        if file is None or file.data is None:
            raise invalid(f"{name}: file_id is not in state ready", param=name)
    if ways[0] == "generation_id":
        job = exchange.desk.find("luma", str(value["generation_id"]))
        if job is None or job.phase != "succeeded":
            raise invalid(f"{name}: generation_id is not a completed generation", param=name)


def _check_references(exchange: Exchange, kind: str) -> None:
    body = exchange.body
    references = body.get("image_ref") or ()
    if len(references) > _MOST_REFERENCES.get(kind, 9):
        raise invalid(f"image_ref: at most {_MOST_REFERENCES.get(kind, 9)} are possible", param="image_ref")
    for reference in references:
        _reference(exchange, reference, "image_ref")
    if kind in ("image_edit", "layering", "video_edit", "video_reframe"):
        _reference(exchange, body.get("source"), "source", film=kind.startswith("video"))


def _pictures(exchange: Exchange, kind: str) -> list[Artifact]:
    body = exchange.body
    one_of(body, "style", ("auto", "manga"), "auto")
    form, shape = one_of(body, "output_format", ("png", "jpeg"), "png"), one_of(body, "aspect_ratio", _SHAPES, "1:1")
    if kind == "layering":
        large = one_of(body.get("layering") or {}, "resolution", ("1k", "2k"), "1k", within="layering.") == "2k"
        side = 2048 if large else 1024
        return [image(seed_of(exchange, place), side, side, "png") for place in range(len(_LAYERS))]
    return [image(seed_of(exchange), *(sides(shape) or (1024, 1024)), form)]


def _films(exchange: Exchange, kind: str) -> list[Artifact]:
    body = exchange.body
    film: Json = body.get("video") or {}
    size = one_of(film, "resolution", _RESOLUTIONS, "720p", within="video.")
    shape = one_of(body, "aspect_ratio", _FILM_SHAPES, "16:9")
    frames = [(name, film[name]) for name in ("start_frame", "end_frame") if name in film]
    for name, frame in frames:
        _reference(exchange, frame, f"video.{name}")
    if film.get("exr_export") and not film.get("hdr"):
        raise invalid("video.exr_export: requires hdr=true", param="video.exr_export")
    if kind != "video":
        edit: Json = film.get("edit") or {}
        one_of(edit, "strength", _STRENGTHS, "flex_1", within="video.edit.")
        return [video(seed_of(exchange), *film_sides(size, shape), _SOURCE_SECONDS)]
    length = one_of(film, "duration", ("5s", "10s"), "5s", within="video.")
    seconds = number(length, 5)
    if film.get("loop") and (length == "10s" or film.get("hdr")):
        raise invalid("video.loop: not supported with duration=10s or hdr=true", param="video.loop")
    if frames and length == "10s":
        raise invalid("video.start_frame: use video.keyframes with duration=10s", param="video.start_frame")
    places, pinned = film.get("keyframe_indexes") or [], film.get("keyframes") or []
    for frame in pinned:
        _reference(exchange, frame, "video.keyframes")
    if len(places) != len(pinned) or len(set(places)) != len(places) or len(pinned) > _MOST_KEYFRAMES:
        raise invalid("video.keyframe_indexes: must match keyframes in length", param="video.keyframe_indexes")
    if any(not 0 <= place <= seconds * _FRAMES for place in places):
        raise invalid("video.keyframe_indexes: outside of the duration x 24fps grid", param="video.keyframe_indexes")
    if pinned and (frames or film.get("loop")):
        raise invalid(
            "video.keyframes: mutually exclusive with start_frame, end_frame and loop", param="video.keyframes"
        )
    return [video(seed_of(exchange), *film_sides(size, shape), seconds, _FRAMES)]


def answer_create(exchange: Exchange) -> Reply:
    """`POST /v1/generations`."""
    body = exchange.body
    prompt, kind = need_prompt(body), one_of(body, "type", _TYPES, "image")
    films = kind.startswith("video")
    model = one_of(body, "model", _FILMS if films else _PICTURES, None if films else _PICTURES[0])
    _check_references(exchange, kind)
    made = _films(exchange, kind) if films else _pictures(exchange, kind)
    job = exchange.desk.submit(
        exchange,
        "video" if films else "image",
        model,
        made,
        name=lambda digest: uuid_text(digest, "generation"),
        extra={"blocked": is_blocked(prompt), "agents": True, "type": kind},
    )
    return json_reply(_shown(job) | {"state": "queued", "output": []}, status=201)


def _shown(job: Job) -> Json:
    state = _STATES.get(job.phase, "failed")
    value: Json = {"id": job.name, "type": job.extra["type"], "model": job.model, "state": state}
    value |= {"created_at": stamp(job), "output": [], "failure_code": None, "failure_reason": None}
    if state == "completed":
        # The address is signed anew on every look, and good for an hour from then.
        value["output"] = [{"type": job.operation, "url": url} for url in job.signed_urls("sig")]
        if job.extra["type"] == "layering":
            for place, (label, edge) in enumerate(_LAYERS):
                layer = {"index": place, "label": label, "description": f"the {label}", "alpha_hint": edge}
                value["output"][place]["layer"] = layer
    if state == "failed":
        code, _, reason = job.failure.partition(":")
        if code not in _CODES:
            code, reason = "content_moderated" if job.moderated else "generation_failed", job.failure
        value |= {"failure_code": code, "failure_reason": reason.strip() or code}
    return value


def answer_get(exchange: Exchange) -> Reply:
    """`GET /v1/generations/{id}`."""
    return json_reply(_shown(polled(exchange, exchange.groups["job"], Refused("not_found", status=404))))


def _file(upload: Upload) -> Json:
    state = "pending" if upload.data is None else "ready"
    return {
        "id": upload.name, "created_at": "2026-11-20T10:00:00Z", "mime_type": upload.content_type, "purpose": "input",
        "size_bytes": upload.size, "state": state,
    }  # fmt: skip


def answer_new_file(exchange: Exchange) -> Reply:
    """`POST /v1/files`: where the bytes are to be put."""
    body, name = exchange.body, uuid_text(exchange.digest, "file")
    if not isinstance(body.get("size_bytes"), int) or not body.get("mime_type"):
        raise invalid("size_bytes: Field required", param="size_bytes")
    file = Upload(name=name, content_type=str(body["mime_type"]), size=body["size_bytes"], data=None)
    exchange.desk.keep_upload(exchange, name, file)
    headers = {"content-type": file.content_type}
    place = {"method": "PUT", "url": f"{exchange.origin}/luma/put/{name}", "headers": headers}
    place["expires_at"] = "2099-01-01T00:00:00Z"
    return json_reply({"id": name, "state": "pending", "file": _file(file), "upload": place}, status=201)


def answer_file(exchange: Exchange) -> Reply:
    """The PUT of a file's bytes, `POST /v1/files/{id}/complete`, `GET` and `DELETE /v1/files/{id}`."""
    file = exchange.desk.upload(exchange.groups["file"])
    if file is None:
        raise Refused("not_found", "File not found", status=404)
    if exchange.method == "PUT":
        if len(exchange.raw) != file.size or exchange.headers.get("content-type") != file.content_type:
            raise Refused("forbidden", "SignatureDoesNotMatch", status=403)
        stored = Upload(name=file.name, content_type=file.content_type, size=file.size, data=exchange.raw)
        exchange.desk.keep_upload(exchange, file.name, stored)
        return Whole(body=b"")
    if exchange.method == "DELETE":
        exchange.desk.drop_upload(file.name)
        return Whole(body=b"", status=204)
    if exchange.method == "POST":
        return json_reply(_file(file) | {"state": "pending"})  # taken in while somebody waits
    return json_reply(_file(file))


def answer_files(exchange: Exchange) -> Reply:
    """`GET /v1/files`."""
    return json_reply({"data": [], "has_more": False, "next_cursor": None})


def _sort(exchange: Exchange) -> SandboxOperation:
    return "video" if str(exchange.body.get("type")).startswith("video") else "image"


ROUTES: tuple[Route, ...] = (
    *DREAMS,
    route(r"POST /v1/generations", "image", "media", answer_create, sort=_sort),
    route(r"GET /v1/generations/(?P<job>[^/]+)", "poll", "media", answer_get),
    route(r"POST /v1/files", "file", "media", answer_new_file),
    route(r"GET /v1/files", "file", "media", answer_files),
    route(r"POST /v1/files/(?P<file>[^/]+)/complete", "file", "media", answer_file),
    route(r"GET|DELETE /v1/files/(?P<file>[^/]+)", "file", "media", answer_file),
    route(r"PUT ^/put/(?P<file>[^/]+)", "file", "media", answer_file, free=("luma",), raw=True),
)
