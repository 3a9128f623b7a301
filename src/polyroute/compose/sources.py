"""What the sources of a timeline are called, stand for, and are replaced by; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from polyroute.compose.planning import Source
from polyroute.compose.timeline import clip_names
from polyroute.types.compose import Timeline
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import MediaInput, MediaRequest


def source_names(timeline: Timeline) -> dict[Source, str]:
    """Where each source is first used, in the caller's words."""
    named: dict[Source, str] = {}
    for name, clip in zip(clip_names(timeline), timeline.clips, strict=False):
        named.setdefault(clip.source, f"{name}.source")
    for number, overlay in enumerate(timeline.overlays):
        if overlay.source is not None:
            named.setdefault(overlay.source, f"timeline.overlays[{number}].source")
    for number, track in enumerate(timeline.audio):
        named.setdefault(track.source, f"timeline.audio[{number}].source")
    return named


def input_of(source: Source, request: MediaRequest, name: str = "timeline") -> MediaInput:
    """What a source of a timeline stands for; `name` is the field that it was named in. Raises PolyrouteError
    (invalid_request) for what it cannot be."""
    if isinstance(source, int):
        if not 0 <= source < len(request.inputs):
            raise PolyrouteError(
                ErrorKind.INVALID_REQUEST,
                f"'{name}' is {source}, and 'inputs' has {len(request.inputs)} items, the first being 0.", param=name,
            )  # fmt: skip
        return msgspec.structs.replace(request.inputs[source], role="reference")
    if source.startswith(("https://", "http://", "data:")):
        return MediaInput(role="reference", url=source)
    if source.startswith(("art_", "file-")):
        return MediaInput(role="reference", artifact=source)
    raise PolyrouteError(
        ErrorKind.INVALID_REQUEST,
        f"'{name}' is {source[:80]!r}, which is neither the id of a file or artifact, a URL (https), a data URI, nor the "
        "number of one of the 'inputs'.", param=name,
    )  # fmt: skip


def with_sources(timeline: Any, others: Mapping[Any, str]) -> Any:
    """A timeline, as JSON, with other sources in place of its own."""
    if isinstance(timeline, dict):
        return {
            name: others.get(value, value)
            if name == "source" and isinstance(value, str | int)
            else with_sources(value, others)
            for name, value in timeline.items()
        }
    return [with_sources(one, others) for one in timeline] if isinstance(timeline, list) else timeline
