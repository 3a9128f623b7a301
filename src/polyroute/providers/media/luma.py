"""Luma's Agents API: pictures and films by one kind of order, which is polled (media.md 14.2).

`MODEL/reframe` and `MODEL/layering` are what a model does besides making and editing.
"""

from __future__ import annotations

import mimetypes
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Headers, MediaWire
from polyroute.providers.media import fields
from polyroute.providers.media.handles import NOT_FOUND, is_settling, new_handle
from polyroute.providers.media.luma_answers import (
    ended_badly,
    laid_over,
    measures,
    one_source,
    read_refusal,
    strength_word,
    usage_of,
)
from polyroute.providers.media.tables import ModelSpec, load_table
from polyroute.providers.media.verdicts import gone_wrong, unreadable
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.media import Fitted, Handle, MediaInput, MediaRequest, Outcome, Produced, Progress, Task

_TABLE = "luma"
_LARGEST_INLINE = 8 << 20
"""Bytes that go into the order itself; what is larger is uploaded before. Luma states no limit."""
_FILE = "luma-file:"
_FRAMES = 24
_LONG = "10s"
_FILE_PAUSES = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0)


class LumaMedia:
    """All that it makes."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name
        self._pace = (0.05, 0.2) if row.simulated else (1.0, 10.0)

    def maker(self, task: Task, model: str) -> Generations | None:
        """Generations for each task that the table knows a form for."""
        spec = load_table(_TABLE).find(task, model)
        return None if spec is None else Generations(spec, self._provider, self._pace)

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """What Luma refuses, in our words."""
        return read_refusal(_TABLE, status, body)


class Generations:
    """Implements `ports.Queued`."""

    resubmits = False

    def __init__(self, spec: ModelSpec, provider: str, pace: tuple[float, float]) -> None:
        self._spec = spec
        self._provider = provider
        self.pace = pace

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """By the model's table; a film of ten seconds cannot be a loop."""
        fitted = fields.fit(self._spec, one_source(request), self._provider)
        long = self._spec.fixed["type"] == "video" and (request.duration or 0) > 5
        if not (request.loop and long):
            return fitted
        looped = msgspec.structs.replace(fitted.request, loop=None)
        return msgspec.structs.replace(fitted, request=looped, dropped=(*fitted.dropped, "loop"))

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """An order; the caller's options lie over it."""
        filled = fields.fill(self._spec, msgspec.structs.replace(request, options={}), self._provider)
        given = _with_references(await fields.place(filled, wire, lambda item: _inline(item, wire)))
        _name_kind(given, request)
        _grade(given)
        _pin_frames(given)
        given["model"] = model.partition("/")[0]
        body = laid_over(given, request.options.get(self._provider, {}))
        told = (await wire.call("POST", "/generations", json=body, creates=True)).json()
        roles = [item.role for item in request.inputs]
        handle = new_handle(
            str(told["id"]), model=body["model"], input=roles[0] if roles else None, **measures(request, body)
        )
        state = _state(told, handle)
        return state if isinstance(state, Outcome) else handle

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The generation as it stands, its addresses signed anew."""
        reply = await wire.call("GET", f"/generations/{handle.id}", accept=(NOT_FOUND,))
        if is_settling(handle, reply):
            return Progress(state="queued")
        if reply.status == NOT_FOUND:
            raise gone_wrong("The provider no longer knows the generation.")
        return _state(reply.json(), handle)

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """There is no way to."""


def _state(told: dict[str, Any], handle: Handle) -> Progress | Outcome:
    """Raises AttemptFailed for a generation that failed."""
    match told.get("state"):
        case "queued":
            return Progress(state="queued")
        case "processing":
            return Progress(state="running")
        case "completed":
            made = [one for one in told.get("output") or () if one.get("url")]
            if not made:
                raise unreadable("The generation has no result.")
            layers = [
                f"layer {one['layer'].get('index')}: {one['layer'].get('label')}" for one in made if one.get("layer")
            ]
            return Outcome(
                produced=tuple(Produced(url=str(one["url"])) for one in made), usage=usage_of(handle.data, len(made)),
                model=told.get("model"), upstream_id=handle.id, notes=tuple(layers),
            )  # fmt: skip
        case "failed":
            raise ended_badly(told.get("failure_code"), str(told.get("failure_reason") or ""), handle.data.get("input"))
        case other:
            raise unreadable("The generation has a state that is not known.", str(other))


def _with_references(value: Any) -> Any:
    """Every `{url}` as one of Luma's references: an address, bytes with their type, or an uploaded file."""
    if isinstance(value, list):
        return [_with_references(item) for item in value]
    if not isinstance(value, dict):
        return value
    url = value.get("url")
    if isinstance(url, str) and url.startswith(_FILE):
        return {"file_id": url.removeprefix(_FILE)}
    if isinstance(url, str) and url.startswith("data:"):
        head, _, data = url.partition(",")
        return {"data": data, "media_type": head.removeprefix("data:").partition(";")[0]}
    return {name: _with_references(item) for name, item in value.items()}


def _name_kind(body: dict[str, Any], request: MediaRequest) -> None:
    """A film that is given by its address has to say what it is before it is fetched."""
    source = body.get("source") or {}
    for item in request.given("video")[:1]:
        if "url" in source:
            path = source["url"].partition("?")[0]
            source["media_type"] = item.media_type or mimetypes.guess_type(path)[0] or "video/mp4"


def _grade(body: dict[str, Any]) -> None:
    edit = (body.get("video") or {}).get("edit") or {}
    if isinstance(edit.get("strength"), int | float):
        edit["strength"] = strength_word(edit["strength"])


def _pin_frames(body: dict[str, Any]) -> None:
    """First and last frame are for films of five seconds; in longer ones they are pinned to their places."""
    film = body.get("video") or {}
    if body.get("type") != "video" or film.get("duration") != _LONG:
        return
    last = int(_LONG.rstrip("s")) * _FRAMES
    pinned = [(place, film.pop(name)) for name, place in (("start_frame", 0), ("end_frame", last)) if name in film]
    if pinned:
        film["keyframes"] = [frame for _, frame in pinned]
        film["keyframe_indexes"] = [place for place, _ in pinned]


async def _inline(item: MediaInput, wire: MediaWire) -> str:
    """A data URI, or the mark of a file that was uploaded because it is large."""
    content, media_type = await wire.input_body(item)
    if content.length <= _LARGEST_INLINE:
        return await wire.input_data_uri(item)
    order = {
        "mime_type": media_type,
        "size_bytes": content.length,
        "purpose": "input",
        "filename": item.name or item.role,
    }
    told = (await wire.call("POST", "/files", json=order)).json()
    place, identifier = told["upload"], str(told["id"])
    headers: Headers = [(b"content-type", media_type.encode())]
    signed = {name.lower(): str(value) for name, value in (place.get("headers") or {}).items()}
    headers = [field for field in headers if field[0].decode() not in signed]
    headers += [(name.encode(), value.encode()) for name, value in signed.items()]
    await wire.call("PUT", place["url"], body=content, headers=headers, anonymous=True)
    file = (await wire.call("POST", f"/files/{identifier}/complete")).json()
    for pause in _FILE_PAUSES:
        if file.get("state") in ("ready", "failed", "deleted"):
            break
        await wire.pause(pause)
        file = (await wire.call("GET", f"/files/{identifier}")).json()
    if file.get("state") != "ready":
        reason = str(file.get("failure_reason") or file.get("state"))
        message = f"The provider does not take '{item.role}': {reason[:300]}"
        raise AttemptFailed(Failure(kind=ErrorKind.INVALID_REQUEST, message=message, param=item.role, detail=reason))
    return _FILE + identifier
