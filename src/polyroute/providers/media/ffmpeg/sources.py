"""A request to compose, as ffmpeg takes it."""

from __future__ import annotations

import msgspec

from polyroute.compose.sources import input_of, source_names
from polyroute.compose.timeline import parse_timeline
from polyroute.types.media import Fitted, MediaRequest

_FOLDED = ("width", "height", "fps", "format")
_USED = frozenset({"task", "timeline", "inputs", "options", "idempotency_key", *_FOLDED})


def fit_timeline(request: MediaRequest) -> Fitted:
    """The request with its size, rate and format put into the timeline, which says everything else."""
    given = dict(request.timeline or {})
    for name in _FOLDED:
        value = getattr(request, name)
        if value is not None and name not in given:
            given[name] = value
    for source, name in source_names(parse_timeline(given)).items():
        input_of(source, request, name)
    dropped = [
        name for name in request.__struct_fields__
        if name not in _USED and getattr(request, name) not in (None, (), {}) and (name, getattr(request, name)) != ("n", 1)
    ]  # fmt: skip
    return Fitted(request=msgspec.structs.replace(request, timeline=given), dropped=tuple(dropped))
