"""What every adapter asks of a request: which intents it would lose, the nearest shape, and the refusals in our words."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from polyroute.providers.media import geometry, reach
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Fitted, InputRole, MediaInput, MediaRequest

_ALWAYS = frozenset({"task", "inputs", "options", "idempotency_key", "user", "prompt"})
_EMPTY: tuple[object, ...] = (None, (), {}, "")
OPENAI_VOICES = frozenset({
    "alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse", "marin", "cedar",
})  # fmt: skip
"""What OpenAI's clients send because they must send something; at another provider they mean its default voice."""


def lost(request: MediaRequest, kept: Collection[str], roles: Sequence[InputRole] = ()) -> tuple[str, ...]:
    """The names of the intents that were given and are not among `kept`, and of the inputs whose role is not in `roles`.
    A count of one, and a size whose parts are known by `aspect_ratio` or `size` in `kept`, are never lost."""
    found = []
    for name in request.__struct_fields__:
        value = getattr(request, name)
        if name in _ALWAYS or name in kept or value in _EMPTY or (name == "n" and value == 1):
            continue
        if name in ("width", "height"):
            if not {"size", "aspect_ratio"} & set(kept) and "size" not in found:
                found.append("size")
            continue
        found.append(name)
    found += [role for role in dict.fromkeys(item.role for item in request.inputs) if role not in roles]
    return tuple(found)


def fitted(
    request: MediaRequest, kept: Collection[str], roles: Sequence[InputRole] = (), notes: Collection[str] = ()
) -> Fitted:
    """The request with what is lost of it."""
    return Fitted(request=request, dropped=lost(request, kept, roles), notes=tuple(notes))


def need_prompt(request: MediaRequest, most: int | None = None) -> str:
    """The words. Raises PolyrouteError: `invalid_request` without any, `unsupported` for more than `most` characters."""
    text = request.prompt or ""
    if not text.strip():
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'prompt' is required.", param="prompt")
    if most is not None and len(text) > most:
        raise PolyrouteError(
            ErrorKind.UNSUPPORTED, f"'prompt' has {len(text)} characters; at most {most} are possible.", param="prompt"
        )
    return text


def need_input(request: MediaRequest, *roles: InputRole) -> MediaInput:
    """The first input of the first of these roles that was given. Raises PolyrouteError(invalid_request)."""
    for role in roles:
        if given := request.given(role):
            return given[0]
    raise PolyrouteError(ErrorKind.INVALID_REQUEST, f"'{roles[0]}' is required.", param=roles[0])


def need_options(request: MediaRequest, provider: str, names: Sequence[str], model: str) -> None:
    """One of these options of a provider, for what there is no intent. Raises PolyrouteError(unsupported)."""
    given = request.options.get(provider, {})
    if names and not any(given.get(name) for name in names):
        raise PolyrouteError(
            ErrorKind.UNSUPPORTED, f"{model} needs {' or '.join(names)} in the options of {provider}.", param="options"
        )


def nearest_shape(request: MediaRequest, offered: Collection[str]) -> tuple[str | None, tuple[str, ...]]:
    """The offered aspect ratio nearest to what was asked for, None where nothing was, and a note when it is another one.
    Raises PolyrouteError(invalid_request) for what is no ratio."""
    asked = request.aspect_ratio
    if asked is None and request.width and request.height:
        asked = geometry.shape_of(request.width, request.height)
    if asked is None or asked == "auto":
        return None, ()
    ratio = geometry.ratio_of(asked)
    if ratio is None:
        raise PolyrouteError(
            ErrorKind.INVALID_REQUEST, f"'aspect_ratio' is {asked!r}; it is written 16:9.", param="aspect_ratio"
        )
    found = geometry.nearest_shape(ratio, offered)
    name = "aspect_ratio" if request.aspect_ratio is not None else "size"
    given = asked if request.aspect_ratio is not None else f"{request.width}x{request.height}"
    reach.check_shape(name, given, ratio, geometry.ratio_of(found) or ratio, offered)
    return found, () if found == asked else (f"aspect_ratio {asked} became {found}",)


def bounded_seconds(request: MediaRequest, offered: tuple[float, ...]) -> tuple[MediaRequest, tuple[str, ...]]:
    """The request with the nearest of the durations that a model makes, and a note when it is another one."""
    asked = request.duration
    if asked is None:
        return request, ()
    found = geometry.nearest_number(asked, offered)
    reach.check_most("duration", asked, found, offered)
    if found == asked:
        return request, ()
    return msgspec.structs.replace(request, duration=found), (f"duration {asked:g} became {found:g}",)


def failed(kind: ErrorKind, message: str, *, detail: object = None, param: str | None = None) -> AttemptFailed:
    """An attempt's failure, to be raised."""
    return AttemptFailed(
        Failure(kind=kind, message=message, param=param, detail=None if detail is None else str(detail)[:2000])
    )


def failed_field(name: str, value: object, possible: str) -> PolyrouteError:
    """A refusal of one field that another model may accept, to be raised."""
    return PolyrouteError(ErrorKind.UNSUPPORTED, f"'{name}' is {value!r}; {possible}.", param=name)


def shape_of(request: MediaRequest) -> str | None:
    """The aspect ratio that was asked for, or that of the size."""
    if request.aspect_ratio is not None or not (request.width and request.height):
        return request.aspect_ratio
    return geometry.shape_of(request.width, request.height)
