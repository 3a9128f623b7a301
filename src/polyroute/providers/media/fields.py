"""From a `MediaRequest` to the input fields of one provider's model, by a table of data (`tables.py`).

What a model does not take is reported as dropped; what had to be changed to the nearest choice is noted; what is out of its
reach (`reach.py`) is refused.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from polyroute.ports import MediaWire
from polyroute.providers.media import geometry, reach
from polyroute.providers.media.intents import OPENAI_VOICES
from polyroute.providers.media.tables import FieldSpec, InputSpec, ModelSpec
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import Fitted, MediaInput, MediaRequest, Task


class Filled(msgspec.Struct, frozen=True):
    """A provider's input: its fields, and where inputs of the caller still have to be put."""

    fields: dict[str, Any]
    places: tuple[tuple[InputSpec, tuple[MediaInput, ...]], ...]
    dropped: tuple[str, ...]
    notes: tuple[str, ...]


_INTENTS = tuple(
    name
    for name in MediaRequest.__struct_fields__
    if name not in ("task", "inputs", "options", "idempotency_key", "n", "timeline", "timestamps", "hints")
)


def fit(spec: ModelSpec, request: MediaRequest, provider: str) -> Fitted:
    """What `Maker.fit` answers for a model of a table: see there."""
    filled = fill(spec, request, provider)
    return Fitted(request=request, dropped=filled.dropped, notes=filled.notes)


def fill(spec: ModelSpec, request: MediaRequest, provider: str) -> Filled:
    """The input of one model, `options` of this provider last and verbatim.

    Raises PolyrouteError naming the field: `invalid_request` for what is missing.
    """
    filling = _Filling(spec, request)
    ours = {"width", "height", "aspect_ratio", "resolution"}
    if request.task in (Task.TRANSCRIBE, Task.TRANSLATE):
        ours.add("format")  # subtitles and the like are written by us
    for name in _INTENTS:
        value = getattr(request, name)
        if value is not None and name not in ours:
            filling.put(name, value)
    if request.timestamps:
        filling.put("timestamps", "word" if "word" in request.timestamps else "segment")
    if request.hints:
        filling.put("hints", list(request.hints))
    if request.n != 1:
        filling.put("n", request.n)
    filling.put_shape()
    filling.put_defaults()
    places = filling.places()
    fields = filling.fields
    for path, value in spec.fixed.items():
        _set(fields, path, copy.deepcopy(value))
    fields.update(request.options.get(provider, {}))
    return Filled(fields, places, tuple(filling.dropped), tuple(filling.notes))


async def place(
    filled: Filled, wire: MediaWire, upload: Callable[[MediaInput], Awaitable[str]] | None = None
) -> dict[str, Any]:
    """The fields with the caller's inputs in them. `upload` gives an address for inputs of the form `upload`, and for `url`
    where we have none (without it, a data URI goes there)."""
    fields = copy.deepcopy(filled.fields)
    for spec, items in filled.places:
        values: list[Any] = [await _rendered(spec, item, wire, upload) for item in items]
        if spec.wrap is not None:
            values = [{spec.wrap: value, **spec.beside} for value in values]
        if spec.many:
            values = [*(_get(fields, spec.name) or ()), *values]
        _set(fields, spec.name, values if spec.many else values[0])
    return fields


async def _rendered(
    spec: InputSpec, item: MediaInput, wire: MediaWire, upload: Callable[[MediaInput], Awaitable[str]] | None
) -> str:
    if spec.form == "base64":
        return (await wire.input_data_uri(item)).partition(",")[2]
    if spec.form == "data_uri":
        return await wire.input_data_uri(item)
    if spec.form == "url" and (url := await wire.input_url(item)) is not None:
        return url
    if upload is not None:
        return await upload(item)
    return await wire.input_data_uri(item)


class _Filling:
    def __init__(self, spec: ModelSpec, request: MediaRequest) -> None:
        self.spec = spec
        self.request = request
        self.fields: dict[str, Any] = {}
        self.dropped: list[str] = []
        self.notes: list[str] = []

    def put(self, intent: str, value: Any) -> None:
        """An intent's value in the model's form, or a report that it is dropped."""
        field = self.spec.field(intent)
        if field is None:
            if value not in self.spec.gives.get(intent, ()):
                self.dropped.append(intent)
            return
        if intent == "voice" and field.default is not None and _is_foreign(value, field):
            self.notes.append(f"voice {value} became {field.default}")
            return
        found = self._converted(field, intent, value)
        if found is not None:
            _set(self.fields, field.name, found)

    def put_defaults(self) -> None:
        """What the model wants said although the caller did not."""
        for intent in self.spec.fields:
            field = self.spec.field(intent)
            if field is None or _get(self.fields, field.name) is not None:
                continue
            if field.required and field.default is None:
                raise PolyrouteError(ErrorKind.INVALID_REQUEST, f"'{intent}' is required by this model.", param=intent)
            if field.default is not None:
                _set(self.fields, field.name, field.default)

    def put_shape(self) -> None:
        """Size, aspect ratio and resolution: those that the model takes, derived from those that were given."""
        request, spec = self.request, self.spec
        width, height = request.width, request.height
        shape = request.aspect_ratio or (geometry.shape_of(width, height) if width and height else None)
        ratio = None if shape is None else geometry.ratio_of(shape)
        if shape is not None and ratio is None and shape != "auto":
            raise PolyrouteError(
                ErrorKind.INVALID_REQUEST, f"'aspect_ratio' is {shape!r}; it is written 16:9.", param="aspect_ratio"
            )
        shaped = spec.field("aspect_ratio") is not None and not width
        if ratio is not None and (size := spec.field("size")) is not None and not shaped:
            self._put_size(size, width, height, ratio)
        elif ratio is not None and spec.field("width") is not None and spec.field("height") is not None and not shaped:
            self._put_pixels(width, height, ratio)
        elif ratio is not None and (field := spec.field("aspect_ratio")) is not None:
            found = geometry.nearest_shape(ratio, field.values) if field.values else shape
            named = "aspect_ratio" if request.aspect_ratio else "size"
            asked = shape or "" if request.aspect_ratio else f"{width}x{height}"
            reach.check_shape(named, asked, ratio, geometry.ratio_of(found or "") or ratio, field.values)
            if found != shape and request.aspect_ratio is not None:
                self.notes.append(f"aspect_ratio {shape} became {found}")
            _set(self.fields, field.name, field.names.get(str(found), found))
        elif shape is not None:
            self.dropped.append("aspect_ratio" if request.aspect_ratio else "size")
        field = spec.field("resolution")
        wanted = request.resolution
        if (
            wanted is None
            and width
            and height
            and field is not None
            and not (spec.field("width") or spec.field("size"))
        ):
            offered = tuple(field.names) or field.values
            wanted = geometry.nearest_resolution(width, height, offered)
            reach.check_class(width, height, wanted, offered)
        if wanted is not None and field is not None:
            self.put("resolution", wanted)
        elif request.resolution is not None and not (spec.field("size") or spec.field("width")):
            self.dropped.append("resolution")

    def _put_size(self, field: FieldSpec, width: int | None, height: int | None, ratio: float) -> None:
        if not (width and height):
            width, height = geometry.size_of_shape(
                ratio, geometry.megapixels_of(self.request.resolution), field.multiple
            )
            if field.values:
                width, height = 1000 * round(ratio * 1000), 1_000_000
        text = f"{width}x{height}"
        if field.values and text not in field.values:
            offered = [str(value) for value in field.values]
            found = geometry.nearest_size(width, height, offered)
            if self.request.width:
                w, _, h = found.lower().replace(":", "x").partition("x")
                reach.check_size(width, height, (int(w), int(h)), ", ".join(offered))
                self.notes.append(f"size {text} became {found}")
            text = found
        if field.kind == "pixels":
            w, _, h = text.replace(":", "x").partition("x")
            _set(self.fields, field.name, {"width": int(w), "height": int(h)})
        else:
            _set(self.fields, field.name, field.names.get(text, text))

    def _put_pixels(self, width: int | None, height: int | None, ratio: float) -> None:
        across, down = self.spec.field("width"), self.spec.field("height")
        assert across is not None
        assert down is not None
        if not (width and height):
            width, height = geometry.size_of_shape(
                ratio, geometry.megapixels_of(self.request.resolution), across.multiple
            )
        sides = _side(across, width), _side(down, height)
        if self.request.width:
            most = f"sides from {across.least or 1:g} to {across.most or max(sides):g}"
            reach.check_size(width, height, sides, most)
        for field, name, pixels, bounded in zip(
            (across, down), ("width", "height"), (width, height), sides, strict=True
        ):
            if bounded != pixels and self.request.width:
                self.notes.append(f"{name} {pixels} became {bounded}")
            _set(self.fields, field.name, bounded)

    def _converted(self, field: FieldSpec, intent: str, value: Any) -> Any:
        if field.names and isinstance(value, str):
            if value not in field.names:
                reach.check_choice(self.request, intent, value, field.names)
                self.notes.append(f"{intent} {value} is none of {', '.join(field.names)}")
                self.dropped.append(intent)
                return None
            return field.names[value]
        if isinstance(value, list):
            return ", ".join(value) if field.kind == "text" else value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return self._number(field, intent, value)
        if field.values and value not in field.values:
            lower = {str(one).lower(): one for one in field.values}
            if str(value).lower() in lower:
                return lower[str(value).lower()]
            reach.check_choice(self.request, intent, value, field.values)
            self.notes.append(f"{intent} {value} is none of {', '.join(str(one) for one in field.values)}")
            self.dropped.append(intent)
            return None
        return value

    def _number(self, field: FieldSpec, intent: str, value: float) -> Any:
        found = value
        offered = [float(str(one).rstrip("s")) for one in field.values]
        if offered:
            found = geometry.nearest_number(value, offered)
        found = min(
            max(found, value if field.least is None else field.least), found if field.most is None else field.most
        )
        reach.check_most(intent, value, found, offered)
        if found != value:
            self.notes.append(f"{intent} {value:g} became {found:g}")
        match field.kind:
            case "seconds_text" | "text":
                return f"{found:g}"
            case "seconds_s":
                return f"{found:g}s"
            case "milliseconds":
                return round(found * 1000)
            case "integer":
                return round(found)
            case _:
                return int(found) if found == int(found) else found

    def places(self) -> tuple[tuple[InputSpec, tuple[MediaInput, ...]], ...]:
        """Where the inputs go. Raises PolyrouteError for one that is missing."""
        found = []
        for role in dict.fromkeys(item.role for item in self.request.inputs):
            spec, items = self.spec.input(role), self.request.given(role)
            if spec is None:
                self.dropped.append(role)
                continue
            most = spec.most if spec.many else 1
            if len(items) > most:
                raise PolyrouteError(
                    ErrorKind.UNSUPPORTED,
                    f"'{role}': {len(items)} were given; this model takes at most {most}.", param=role,
                )  # fmt: skip
            found.append((spec, items))
        for role in self.spec.inputs:
            spec = self.spec.input(role)
            if spec is not None and spec.required and not self.request.given(role):
                raise PolyrouteError(ErrorKind.UNSUPPORTED, f"This model needs '{role}'.", param=role)
        return tuple(found)


def _side(field: FieldSpec, pixels: int) -> int:
    """The nearest possible side."""
    rounded = max(round(pixels / field.multiple), 1) * field.multiple
    return int(min(max(rounded, field.least or rounded), field.most or rounded))


def _is_foreign(voice: Any, field: FieldSpec) -> bool:
    """One of OpenAI's voices at a model that has others: it stands for "any voice"."""
    return str(voice).lower() in OPENAI_VOICES and voice not in field.values and voice not in field.names


def _set(fields: dict[str, Any], path: str, value: Any) -> None:
    *folders, last = path.split(".")
    for folder in folders:
        fields = fields.setdefault(folder, {})
    fields[last] = value


def _get(fields: Mapping[str, Any], path: str) -> Any:
    *folders, last = path.split(".")
    for folder in folders:
        fields = fields.get(folder, {})
    return fields.get(last)
