"""Luma's Dream Machine API: Photon's pictures and Ray 2's films, and what can be done with them (media.md 14.1).

`MODEL/reframe` gives a work another shape; `MODEL/audio` and the task `upscale_video` work on a film that Luma itself made,
whose generation is named by the option `generation_id`.
"""

from __future__ import annotations

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
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Fitted, Handle, MediaInput, MediaRequest, Outcome, Produced, Progress, Task

_TABLE = "luma_dream_machine"
_GENERATION = "generation_id"


class DreamMachineMedia:
    """All that it makes."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name
        self._pace = (0.05, 0.2) if row.simulated else (1.0, 10.0)

    def maker(self, task: Task, model: str) -> Dreams | None:
        """Generations for each task that the table knows a form for."""
        spec = load_table(_TABLE).find(task, model)
        return None if spec is None else Dreams(spec, self._provider, self._pace)

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """What Luma refuses, in our words."""
        return read_refusal(_TABLE, status, body)


class Dreams:
    """Implements `ports.Queued`."""

    resubmits = False

    def __init__(self, spec: ModelSpec, provider: str, pace: tuple[float, float]) -> None:
        self._spec = spec
        self._provider = provider
        self._path = str(spec.extra["path"])
        self.pace = pace

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """By the model's table. What works on a generation needs its id; the film itself stays where it is."""
        own = one_source(request)
        if "{id}" not in self._path:
            return fields.fit(self._spec, own, self._provider)
        if not request.options.get(self._provider, {}).get(_GENERATION):
            message = (
                f"{model} works on a film that Luma made: its generation is named by "
                f"'options': {{{self._provider}: {{{_GENERATION}: …}}}}."
            )
            raise PolyrouteError(ErrorKind.UNSUPPORTED, message, param="video")
        left = tuple(item for item in own.inputs if item.role != "video")
        return fields.fit(self._spec, msgspec.structs.replace(own, inputs=left), self._provider)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """A generation; the caller's options lie over it."""
        filled = fields.fill(self._spec, msgspec.structs.replace(request, options={}), self._provider)
        given = await fields.place(filled, wire, _refuse)
        _translate(given)
        options = dict(request.options.get(self._provider, {}))
        source = str(options.pop(_GENERATION, ""))
        name = model.partition("/")[0]
        if "{id}" not in self._path:
            given["model"] = name
        body = laid_over(given, options)
        path = self._path.replace("{id}", source)
        told = (await wire.call("POST", path, json=body, creates=True)).json()
        handle = new_handle(str(told["id"]), model=name, **measures(request, body))
        state = _state(told, handle)
        return state if isinstance(state, Outcome) else handle

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The generation as it stands."""
        reply = await wire.call("GET", f"/generations/{handle.id}", accept=(NOT_FOUND,))
        if is_settling(handle, reply):
            return Progress(state="queued")
        if reply.status == NOT_FOUND:
            raise gone_wrong("The provider no longer knows the generation.")
        return _state(reply.json(), handle)

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Remove it, running or not."""
        await wire.call("DELETE", f"/generations/{handle.id}", accept=(NOT_FOUND,))


def _translate(body: dict[str, Any]) -> None:
    """Intents that Luma writes in a way of its own."""
    if isinstance(body.get("mode"), int | float):
        body["mode"] = strength_word(body["mode"])
    if (strength := body.pop("strength", None)) is not None:
        body["modify_image_ref"]["weight"] = round(1 - strength, 4)
    if isinstance(body.get("concepts"), str):
        body["concepts"] = [{"key": body["concepts"]}]


def _state(told: dict[str, Any], handle: Handle) -> Progress | Outcome:
    """Raises AttemptFailed for a generation that failed."""
    match told.get("state"):
        case "queued":
            return Progress(state="queued")
        case "dreaming":
            return Progress(state="running")
        case "completed":
            assets = told.get("assets") or {}
            url = assets.get("image") if handle.data.get("kind") == "image" else None
            url = url or assets.get("video") or assets.get("image")
            if not url:
                raise unreadable("The generation has no result.")
            return Outcome(
                produced=(Produced(url=str(url)),), usage=usage_of(handle.data, 1), model=told.get("model"),
                upstream_id=handle.id,
            )  # fmt: skip
        case "failed":
            raise ended_badly(None, str(told.get("failure_reason") or ""))
        case other:
            raise unreadable("The generation has a state that is not known.", str(other))


async def _refuse(item: MediaInput) -> str:
    message = f"'{item.role}': Dream Machine takes addresses only; a server.public_url gives every input one."
    raise AttemptFailed(Failure(kind=ErrorKind.UNSUPPORTED, message=message, param=item.role))
