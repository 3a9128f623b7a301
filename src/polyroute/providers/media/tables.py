"""A provider's models as data: which of our intents each takes, under what name, in which form and from which choice.

The first entry that matches model and task is used (a `*` matches any rest), so order matters:

    [[models]]
    match = ["black-forest-labs/flux-schnell"]
    tasks = ["text_to_image"]
    [models.fields]
    prompt = "prompt"
    n = { name = "num_outputs", most = 4 }
    format = { name = "output_format", names = { jpeg = "jpg", png = "png" } }
    aspect_ratio = { name = "aspect_ratio", values = ["1:1", "16:9"] }
    [models.inputs]
    image = { name = "image", form = "url" }
    [models.fixed]
    disable_safety_checker = false
"""

from __future__ import annotations

import tomllib
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any, Literal, cast

import msgspec

from polyroute.types.media import InputRole, Task

Kind = Literal["plain", "text", "seconds_text", "seconds_s", "milliseconds", "integer", "size", "pixels"]
"""The form of a value: as it is; as text; seconds as "5", "5s" or thousandths; a whole number; "WxH"; {width, height}."""
Form = Literal["url", "data_uri", "base64", "upload"]
"""The form of an input: an address (a data URI where we have none), a data URI, bare base64, or an upload of the adapter's."""


class FieldSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of our intents at one model. `name` may be a dotted path into objects. `values` are the only possible ones (the
    nearest is taken), `names` translates words, `least` and `most` bound numbers, `multiple` rounds pixels."""

    name: str
    kind: Kind = "plain"
    values: tuple[Any, ...] = ()
    names: dict[str, Any] = {}
    least: float | None = None
    most: float | None = None
    multiple: int = 16
    default: Any = None
    required: bool = False


class InputSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One role of inputs at one model. `many`: a list of up to `most`, which roles may share. `wrap`: each goes into an
    object under this name, beside what is in `beside`."""

    name: str
    form: Form = "url"
    many: bool = False
    most: int = 1
    wrap: str | None = None
    beside: dict[str, Any] = {}
    required: bool = False


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to ask one model (family) for some tasks. `extra` is for the adapter itself. `gives` are values of
    intents that it honours although they cannot be said."""

    match: tuple[str, ...]
    tasks: tuple[Task, ...]
    fields: dict[str, FieldSpec | str] = {}
    inputs: dict[InputRole, InputSpec | str] = {}
    fixed: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    gives: dict[str, tuple[Any, ...]] = {}

    def field(self, name: str) -> FieldSpec | None:
        """What the model makes of an intent."""
        found = self.fields.get(name)
        return FieldSpec(name=found) if isinstance(found, str) else found

    def input(self, role: InputRole) -> InputSpec | None:
        """What the model makes of a role."""
        found = self.inputs.get(role)
        return InputSpec(name=found) if isinstance(found, str) else found


class ModelTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A provider's models. `source` and `checked` say where and when the facts were read."""

    source: str
    checked: str
    models: tuple[ModelSpec, ...]

    def find(self, task: Task, model: str) -> ModelSpec | None:
        """The first entry for this model and task."""
        for spec in self.models:
            if task in spec.tasks and any(fnmatchcase(model, pattern) for pattern in spec.match):
                return spec
        return None

    def intent_of(self, name: str) -> str | None:
        """Our word for a field that the provider complains of, where some model has it."""
        for spec in self.models:
            for intent in (*spec.fields, *spec.inputs):
                found = spec.field(intent) or spec.input(cast("InputRole", intent))
                if found is not None and name in (found.name, found.name.partition(".")[0]):
                    return intent
        return None


@cache
def load_table(name: str) -> ModelTable:
    """`providers/media/models/{name}.toml`. Raises ValueError naming what is wrong with it."""
    file = resources.files("polyroute.providers.media") / "models" / f"{name}.toml"
    try:
        return msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), ModelTable)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise ValueError(f"media models {name}.toml: {error}") from error
