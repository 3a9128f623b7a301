"""What makes sense to ask for, whoever would make it: a MediaRequest out of a caller's fields, checked; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from polyroute.compose.timeline import parse_timeline
from polyroute.engine.envelope import invalid
from polyroute.types.media import InputRole, MediaInput, MediaRequest, Task

ALIASES: dict[str, tuple[InputRole, ...]] = {
    "image": ("image",), "images": ("image",), "mask": ("mask",), "first_frame": ("first_frame",),
    "last_frame": ("last_frame",), "reference": ("reference",), "references": ("reference",), "video": ("video",),
    "videos": ("video",), "audio": ("audio",), "reference_audio": ("reference_audio",), "subtitles": ("subtitles",),
}  # fmt: skip
"""Fields that stand for inputs of one role: a URL, a data URI, the id of a file or artifact, or a list of those."""

_RANGES: dict[str, tuple[float, float]] = {
    "width": (1, 16_384), "height": (1, 16_384), "n": (1, 16), "seed": (0, 2**63 - 1), "steps": (1, 1000),
    "guidance": (0, 100), "strength": (0, 1), "scale": (1, 16), "compression": (0, 100), "duration": (0.1, 14_400),
    "fps": (1, 240), "speed": (0.1, 10), "sample_rate": (8000, 192_000), "temperature": (0, 2), "speakers": (1, 100),
}  # fmt: skip
_NEEDS: dict[Task, tuple[InputRole, ...]] = {
    Task.IMAGE_TO_IMAGE: ("image", "reference"), Task.EDIT_IMAGE: ("image",), Task.UPSCALE_IMAGE: ("image",),
    Task.REMOVE_BACKGROUND: ("image",), Task.IMAGE_TO_VIDEO: ("image", "first_frame", "reference"),
    Task.VIDEO_TO_VIDEO: ("video",), Task.ANIMATE: ("image", "first_frame"), Task.UPSCALE_VIDEO: ("video",),
    Task.CLONE_VOICE: ("reference_audio", "audio"), Task.TRANSCRIBE: ("audio", "video"), Task.TRANSLATE: ("audio", "video"),
}  # fmt: skip
_PROMPTED = frozenset(
    {
        Task.TEXT_TO_IMAGE,
        Task.IMAGE_TO_IMAGE,
        Task.EDIT_IMAGE,
        Task.TEXT_TO_VIDEO,
        Task.SPEECH,
        Task.SOUND_EFFECT,
    }
)
_IN_PLACE_OF_WORDS: dict[Task, InputRole] = {Task.SPEECH: "audio", Task.SOUND_EFFECT: "video"}
"""What may be worked on instead of words: a recording that is spoken by another voice, a film that gets its sounds."""
_NOT_THEIRS = frozenset({"idempotency_key"})
"""Fields of a MediaRequest that are ours to fill."""


def read_task(value: Any) -> Task:
    """The task by its name. Raises PolyrouteError(invalid_request) with what there is."""
    try:
        return Task(value)
    except ValueError:
        raise invalid(
            f"'task': {str(value)[:80]!r} is none; there are {', '.join(Task)}." if value is not None
            else f"'task' is required: one of {', '.join(Task)}.", "task",
        ) from None  # fmt: skip


def read_media_request(values: Mapping[str, Any]) -> MediaRequest:
    """The request in a JSON object's fields. Raises PolyrouteError(invalid_request) naming the field."""
    given = {name: value for name, value in values.items() if value is not None}
    task = read_task(given.pop("task", None))
    inputs = _inputs(given, task)
    for alias, name in (("input", "prompt"), ("text", "prompt")):
        if alias in given and name not in given and isinstance(given[alias], str):
            given[name] = given.pop(alias)
    known = frozenset(MediaRequest.__struct_fields__) - _NOT_THEIRS
    for name in given:
        if name not in known:
            raise invalid(
                f"'{name}' is no field of a media request; what only one provider knows goes into "
                f"'options': {{PROVIDER: {{{name}: …}}}}.", name,
            )  # fmt: skip
    try:
        request = msgspec.convert({**given, "task": task, "inputs": inputs}, MediaRequest)
    except msgspec.ValidationError as error:
        where = str(error).rpartition("`$.")[2].rstrip("`").partition("[")[0].partition(".")[0] or None
        raise invalid(f"'{where}': {str(error).partition(' - at ')[0]}." if where else f"{error}.", where) from error
    check_request(request)
    return request


def _inputs(given: dict[str, Any], task: Task) -> list[Any]:
    found = given.pop("inputs", [])
    if not isinstance(found, list):
        raise invalid("'inputs' must be a list of {role, url | artifact}.", "inputs")
    found = list(found)
    if any(isinstance(one, dict) and "made_by" in one for one in found):
        raise invalid("'made_by' is no field of an input.", "inputs")
    animated = task in (Task.IMAGE_TO_VIDEO, Task.ANIMATE) and "first_frame" not in given
    for name, (usual,) in ALIASES.items():
        if name not in given:
            continue
        value = given.pop(name)
        role = "first_frame" if animated and name == "image" else usual  # a picture that is set in motion comes first
        for one in value if isinstance(value, list) else [value]:
            found.append(_input(one, role, name))
    return found


def _input(value: Any, role: str, name: str) -> dict[str, Any]:
    if isinstance(value, dict):
        if "made_by" in value:
            raise invalid(f"'made_by' is no field of '{name}'.", name)
        return {"role": role, **value}
    if not isinstance(value, str) or not value:
        raise invalid(f"'{name}' must be a URL, a data URI, or the id of a file or artifact.", name)
    if value.startswith(("art_", "file-")):
        return {"role": role, "artifact": value}
    if value.startswith(("https://", "http://", "data:")):
        return {"role": role, "url": value}
    raise invalid(
        f"'{name}': {value[:80]!r} is neither a URL (https), a data URI nor the id of a file or artifact.", name
    )


def check_request(request: MediaRequest) -> None:
    """Raises PolyrouteError(invalid_request) naming the field, its value and what is possible."""
    for name, (least, most) in _RANGES.items():
        value = getattr(request, name)
        if value is not None and not least <= value <= most:
            raise invalid(f"'{name}': {value:g} is not possible; it goes from {least:g} to {most:g}.", name)
    wordless = (role := _IN_PLACE_OF_WORDS.get(request.task)) is not None and request.given(role)
    if request.task in _PROMPTED and not wordless and not (request.prompt or "").strip():
        raise invalid("'prompt' is required: what is to be made, or the text to speak.", "prompt")
    needed = _NEEDS.get(request.task, ())
    if needed and not any(item.role in needed for item in request.inputs):
        raise invalid(
            f"'{needed[0]}' is required for {request.task}: a URL, a data URI or the id of a file.", needed[0]
        )
    if request.task is Task.COMPOSE and not request.timeline:
        raise invalid("'timeline' is required: what to put together, and how.", "timeline")
    if request.timeline is not None:
        parse_timeline(request.timeline)
    for number, item in enumerate(request.inputs):
        _check_input(item, number)


def _check_input(item: MediaInput, number: int) -> None:
    name = f"inputs[{number}]"
    if (item.url is None) == (item.artifact is None):
        raise invalid(f"'{name}' needs exactly one of 'url' and 'artifact'.", name)
    if item.url is not None and not item.url.startswith(("https://", "http://", "data:")):
        raise invalid(f"'{name}.url' must begin with https:// or data:.", name)
