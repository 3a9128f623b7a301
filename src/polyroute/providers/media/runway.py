"""Runway: tasks for films, pictures and sound of its own models and of others', charged in credits (media.md 15.2)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import FormPart, Headers, MediaWire
from polyroute.providers.media import fields, geometry, reach
from polyroute.providers.media.handles import NOT_FOUND, is_settling, new_handle
from polyroute.providers.media.intents import shape_of
from polyroute.providers.media.tables import ModelSpec, load_table
from polyroute.providers.media.verdicts import filtered, gone_wrong, is_moderation, money, unreadable
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import (
    Fitted,
    Handle,
    MediaInput,
    MediaRequest,
    Outcome,
    Produced,
    Progress,
    Task,
    Voice,
)
from polyroute.types.usage import Usage

_TABLE = "runway"
_VERSION: Headers = [(b"x-runway-version", b"2024-11-06")]
_LARGEST_DATA_URI = 5_000_000
"""Characters of a data URI; what is larger is uploaded before."""
_SAME_CLASS = math.log(1.6)
"""Sizes whose areas are farther apart are of two classes (`720p`, `1080p`)."""
_WORD = re.compile(r"[A-Za-z_][\w.]*")
_MONEY = ("credit", "balance", "billing")


class RunwayMedia:
    """All that it makes, and the voices that it lends."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name
        self._pace = (0.05, 0.2) if row.simulated else (4.5, 7.5)

    def maker(self, task: Task, model: str) -> Tasks | None:
        """Tasks for each model that the table knows a form for."""
        spec = load_table(_TABLE).find(task, model)
        return None if spec is None else Tasks(spec, self._provider, self._pace)

    async def voices(self, wire: MediaWire) -> tuple[Voice, ...]:
        """The presets, which all of its speaking models know."""
        spec = load_table(_TABLE).find(Task.SPEECH, "eleven_multilingual_v2")
        voice = None if spec is None else spec.field("voice")
        names = () if voice is None else voice.values
        return tuple(Voice(id=str(name), name=str(name), provider=self._provider) for name in names)

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """A refusal in our words: money is a 400, and what is wrong with a field stands in `issues` or in the sentence."""
        if status not in (400, 402, 403, 422):
            return None
        place, text = _said(body)
        if status == 402 or any(word in text.lower() for word in _MONEY):
            return Failure(
                kind=ErrorKind.QUOTA_EXHAUSTED, message="The account has no credit.", http_status=status, detail=text
            )
        if not place and not text.startswith("Validation") and is_moderation(text):
            return msgspec.structs.replace(filtered(text).failure, http_status=status)
        if status == 403:
            return None
        table = load_table(_TABLE)
        words = (place, *_WORD.findall(text))
        param = next((found for word in words if word and (found := table.intent_of(word.strip(".")))), None)
        if param is None and re.search(r"\bratio\b", text):
            param = "aspect_ratio"
        message = f"The provider says: {text[:300]}"
        return Failure(
            kind=ErrorKind.INVALID_REQUEST, message=message, http_status=status, param=param, detail=text[:2000]
        )


def _said(body: bytes) -> tuple[str, str]:
    """The field that a refusal names, and what it says."""
    try:
        told = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return "", body[:300].decode("utf-8", "replace")
    if not isinstance(told, dict):
        return "", ""
    text = str(told.get("error") or told.get("message") or "")
    for issue in told.get("issues") or ():
        if isinstance(issue, dict):
            place = next((str(part) for part in issue.get("path") or ()), "")
            return place, f"{text} {place}: {issue.get('message')}"
    return "", text


def _check_reach(
    request: MediaRequest, shape: str, ratio: float | None, area: float | None, found: str, sizes: Sequence[str]
) -> None:
    """Refuse what is far from every size that a model has."""
    wide, _, high = found.partition(":")
    if request.width and request.height:
        reach.check_size(request.width, request.height, (int(wide), int(high)), ", ".join(sizes))
        return
    if ratio is not None:
        reach.check_shape("aspect_ratio", shape, ratio, int(wide) / int(high), sizes)
    if area is not None and abs(math.log(int(wide) * int(high) / area)) > _SAME_CLASS:
        raise reach.out_of_reach("resolution", request.resolution, f"are {', '.join(sizes)}")


class Tasks:
    """Implements `ports.Queued`."""

    resubmits = False

    def __init__(self, spec: ModelSpec, provider: str, pace: tuple[float, float]) -> None:
        self._spec = spec
        self._provider = provider
        self.pace = pace

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """By the model's table; where it has sizes in pixels, the nearest of them."""
        longest = self._spec.extra.get("longest")
        length = len((request.prompt or "").encode("utf-16-le")) // 2
        if longest is not None and length > longest:
            message = f"'prompt' has {length} characters; this model takes at most {longest}."
            raise PolyrouteError(ErrorKind.UNSUPPORTED, message, param="prompt")
        bare, _, notes = self._framed(request)
        fitted = fields.fit(self._spec, bare, self._provider)
        return msgspec.structs.replace(fitted, request=request, notes=(*fitted.notes, *notes))

    def _framed(self, request: MediaRequest) -> tuple[MediaRequest, str | None, tuple[str, ...]]:
        """The request without its shape, the size in pixels that stands for it (None where the model has none), and what
        had to be changed."""
        sizes = self._spec.extra.get("sizes")
        if sizes is None:
            return request, None, ()
        shape = shape_of(request)
        if shape is None and self._spec.extra.get("optional_size") and request.resolution is None:
            return request, None, ()
        ratio = None if shape in (None, "auto") else geometry.ratio_of(shape)
        if ratio is None and shape not in (None, "auto"):
            message = f"'aspect_ratio' is {shape!r}; it is written 16:9."
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, message, param="aspect_ratio")
        area = None
        if request.width and request.height:
            area = float(request.width * request.height)
        elif request.resolution is not None:
            first = geometry.ratio_of(sizes[0]) or 1.0
            area = geometry.area_of(request.resolution, ratio or first)
        found = geometry.nearest_frame(ratio, area, sizes)
        _check_reach(request, shape or "", ratio, area, found, sizes)
        notes = []
        if request.width and found != f"{request.width}:{request.height}":
            notes.append(f"size {request.width}x{request.height} became {found.replace(':', 'x')}")
        elif request.aspect_ratio and ratio is not None and not geometry.is_same_shape(ratio, found):
            notes.append(f"aspect_ratio {shape} became {found}")
        unread = request.resolution if area is None else None
        bare = msgspec.structs.replace(request, width=None, height=None, aspect_ratio=None, resolution=unread)
        return bare, found, tuple(notes)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """A task. Work on a film's sound has another address than work from words."""
        bare, ratio, _ = self._framed(request)
        filled = fields.fill(self._spec, bare, self._provider)
        given = await fields.place(filled, wire, lambda item: _upload(item, wire))
        body = {"model": model, **({} if ratio is None else {"ratio": ratio}), **given}
        path = str(self._spec.extra["path"])
        if request.task is Task.SOUND_EFFECT and "videoUri" in body:
            path = "/v1/video_to_audio"
        told = (await wire.call("POST", path, json=body, headers=_VERSION, creates=True)).json()
        return new_handle(
            str(told["id"]), task=request.task.value, model=model,
            seconds=body.get("duration") if isinstance(body.get("duration"), int | float) else None,
            size=_class_of(str(body.get("ratio") or "")) or body.get("resolution"),
            characters=len(request.prompt or "") if request.task is Task.SPEECH else None,
        )  # fmt: skip

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The task as it stands. Throttled means that the account's own limit of tasks at once is reached: it waits."""
        reply = await wire.call("GET", f"/v1/tasks/{handle.id}", headers=_VERSION, accept=(NOT_FOUND,))
        if is_settling(handle, reply):
            return Progress(state="queued")
        if reply.status == NOT_FOUND:
            raise gone_wrong("The provider no longer knows the task.")
        told = reply.json()
        match told.get("status"):
            case "PENDING" | "THROTTLED":
                return Progress(state="queued")
            case "RUNNING":
                done = told.get("progress")
                return Progress(percent=min(done * 100.0, 99.0) if isinstance(done, int | float) else None)
            case "SUCCEEDED":
                return _outcome(told, handle)
            case "FAILED":
                raise _ended_badly(told)
            case "CANCELLED":
                raise gone_wrong("The task was cancelled.")
            case other:
                raise unreadable("The task has a state that is not known.", str(other))

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Stop it."""
        await wire.call("DELETE", f"/v1/tasks/{handle.id}", headers=_VERSION, accept=(NOT_FOUND,))


def _class_of(ratio: str) -> str | None:
    width, _, height = ratio.partition(":")
    known = width.isdecimal() and height.isdecimal() and int(width) > 100
    return geometry.resolution_of(int(width), int(height)) if known else None


def _outcome(told: dict[str, Any], handle: Handle) -> Outcome:
    produced = tuple(Produced(url=str(url)) for url in told.get("output") or ())
    if not produced:
        raise unreadable("The task has no result.")
    data, cost = handle.data, told.get("cost") or {}
    task = str(data.get("task") or "")
    usage = Usage(
        images=len(produced) if "image" in task and "video" not in task else None,
        image_size=data.get("size") if "image" in task and "video" not in task else None,
        video_seconds=data.get("seconds") if "video" in task else None,
        video_size=data.get("size") if "video" in task else None, characters=data.get("characters"),
        reported_credits=money(cost.get("credits")), raw=cost or None,
    )  # fmt: skip
    return Outcome(produced=produced, usage=usage, model=data.get("model"), upstream_id=handle.id)


def _ended_badly(told: dict[str, Any]) -> AttemptFailed:
    """By the first parts of `failureCode`."""
    code, text = str(told.get("failureCode") or ""), str(told.get("failure") or "")
    charged = (told.get("cost") or {}).get("credits")
    detail = f"{text} ({charged:g} credits charged)" if isinstance(charged, int | float) and charged else text
    if "SAFETY" in code.split("."):
        return filtered(detail, code)
    if code.startswith("ASSET.INVALID"):
        message = f"The provider cannot use an input: {text[:300]}"
        return AttemptFailed(Failure(kind=ErrorKind.INVALID_REQUEST, message=message, code=code, detail=detail[:2000]))
    if code:
        return AttemptFailed(
            Failure(kind=ErrorKind.GENERATION_FAILED, message="The task failed.", code=code, detail=detail[:2000])
        )
    return gone_wrong("The task failed.", detail)


async def _upload(item: MediaInput, wire: MediaWire) -> str:
    """A data URI while it is small enough, otherwise an ephemeral upload."""
    content, media_type = await wire.input_body(item)
    if content.length * 4 / 3 + 64 <= _LARGEST_DATA_URI:
        return await wire.input_data_uri(item)
    name = item.name or f"{item.role}.{media_type.partition('/')[2].removeprefix('x-')}"
    order = {"filename": name, "type": "ephemeral"}
    told = (await wire.call("POST", "/v1/uploads", json=order, headers=_VERSION)).json()
    parts = [FormPart(name=str(key), value=str(value)) for key, value in (told.get("fields") or {}).items()]
    parts.append(FormPart(name="file", value=content, filename=name, media_type=media_type))
    await wire.call("POST", str(told["uploadUrl"]), form=tuple(parts), anonymous=True)
    return str(told["runwayUri"])
