"""What the sources of a timeline stand for."""

from __future__ import annotations

import msgspec

from polyroute.compose.planning import Source
from polyroute.compose.timeline import parse_timeline
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import Fitted, MediaInput, MediaRequest

_FOLDED = ("width", "height", "fps", "format")
_USED = frozenset({"task", "timeline", "inputs", "options", "idempotency_key", *_FOLDED})


def fit_timeline(request: MediaRequest) -> Fitted:
    """The request with its size, rate and format put into the timeline, which says everything else."""
    given = dict(request.timeline or {})
    for name in _FOLDED:
        value = getattr(request, name)
        if value is not None and name not in given:
            given[name] = value
    timeline = parse_timeline(given)
    for source in timeline.sources():
        input_of(source, request)
    dropped = [
        name for name in request.__struct_fields__
        if name not in _USED and getattr(request, name) not in (None, (), {}) and (name, getattr(request, name)) != ("n", 1)
    ]  # fmt: skip
    return Fitted(request=msgspec.structs.replace(request, timeline=given), dropped=tuple(dropped))


def input_of(source: Source, request: MediaRequest) -> MediaInput:
    """What a source of a timeline stands for. Raises PolyrouteError (invalid_request) for what it cannot be."""
    if isinstance(source, int):
        if source >= len(request.inputs):
            raise PolyrouteError(
                ErrorKind.INVALID_REQUEST,
                f"'timeline' has the source {source}, and 'inputs' has {len(request.inputs)} items, the first being 0.",
                param="timeline",
            )  # fmt: skip
        return msgspec.structs.replace(request.inputs[source], role="reference")
    if source.startswith(("https://", "http://", "data:")):
        return MediaInput(role="reference", url=source)
    if source.startswith(("art_", "file-")):
        return MediaInput(role="reference", artifact=source)
    raise PolyrouteError(
        ErrorKind.INVALID_REQUEST,
        f"'timeline' has the source {source[:80]!r}, which is neither the id of a file or artifact, a URL (https), a data "
        "URI, nor the number of one of the 'inputs'.", param="timeline",
    )  # fmt: skip
