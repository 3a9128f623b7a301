"""Reading one entry of the configuration's `providers`: what it starts out with, and what it changes; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from polyroute.catalog import addresses
from polyroute.catalog.inputs import ProviderEntry, QuirksEntry
from polyroute.catalog.model import Quirks
from polyroute.catalog.problems import Named, Problems
from polyroute.catalog.rows import Row
from polyroute.ports import Endpoint
from polyroute.types.media import OPERATION_OF_TASK, TASKS_OF_DIALECT, Task
from polyroute.types.operations import (
    CATEGORY_OF,
    OPERATION_OF,
    Capability,
    Category,
    Dialect,
    Operation,
    ProviderKind,
)

_MEDIA = {
    Dialect.OPENAI_EMBEDDINGS: "/embeddings",
    Dialect.OPENAI_MODERATIONS: "/moderations",
    Dialect.OPENAI_IMAGES: "/images/generations",
    Dialect.OPENAI_IMAGE_EDITS: "/images/edits",
    Dialect.OPENAI_SPEECH: "/audio/speech",
    Dialect.OPENAI_TRANSCRIPTIONS: "/audio/transcriptions",
    Dialect.OPENAI_TRANSLATIONS: "/audio/translations",
}


_OPENAI_VIDEOS = frozenset({Task.TEXT_TO_VIDEO, Task.IMAGE_TO_VIDEO, Task.VIDEO_TO_VIDEO})
"""What is made over OpenAI's `/videos`."""


class AdapterRow(msgspec.Struct, frozen=True):
    """What an entry that is no built-in row gets from the `adapter` it names."""

    adapter: str
    auth: str
    endpoints: Mapping[Dialect, str]


ADAPTERS: Mapping[str, AdapterRow] = {
    "openai_compatible": AdapterRow(
        "openai_compatible",
        "bearer",
        {
            Dialect.OPENAI_CHAT: "/chat/completions",
            **_MEDIA,
            Dialect.OPENAI_IMAGE_VARIATIONS: "/images/variations",
            Dialect.MEDIA_VIDEO: "/videos",
        },
    ),
    "openai_responses": AdapterRow("openai_compatible", "bearer", {Dialect.OPENAI_RESPONSES: "/responses"}),
    "anthropic": AdapterRow("anthropic", "x-api-key", {Dialect.ANTHROPIC_MESSAGES: "/v1/messages"}),
    "gemini": AdapterRow("gemini", "x-goog-api-key", {Dialect.GEMINI: "/models/{model}:generateContent"}),
    "ollama": AdapterRow("ollama", "bearer", {Dialect.OLLAMA: "/api/chat"}),
    "cohere": AdapterRow("cohere", "bearer", {Dialect.COHERE_V2: "/v2/chat"}),
    "bedrock": AdapterRow("bedrock", "sigv4", {Dialect.BEDROCK_CONVERSE: "/model/{model}/converse"}),
    "azure": AdapterRow("azure", "api-key", {Dialect.OPENAI_CHAT: "/chat/completions", **_MEDIA}),
    "runpod": AdapterRow("runpod", "bearer", {Dialect.RUNPOD: "/runsync"}),
}
AUTH_STYLES = ("bearer", "x-api-key", "x-goog-api-key", "api-key", "xi-api-key", "key", "x-key", "sigv4", "none")

# What an entry of one's own can do is not known: nothing is withheld from it, and the server itself answers.
_TASKS = frozenset(Capability(task.value) for task in Task)
PRESUMED = frozenset(Capability) - {Capability.AUDIO_OUTPUT} - _TASKS


class EntryShape(msgspec.Struct, frozen=True):
    """What a row, or the adapter of an entry of one's own, starts out with."""

    adapter: str
    auth: str
    kind: ProviderKind
    endpoints: tuple[Endpoint, ...]
    media_adapter: str | None = None
    media: Mapping[Task, tuple[str, ...]] = MappingProxyType({})


def shape_of(
    name: str, row: Row | None, entry: ProviderEntry, built_in: Mapping[str, Row], problems: Problems
) -> EntryShape:
    """A row's shape, or that of the adapter which an entry of one's own names: a wire format, or the built-in provider
    whose media adapter it uses (another ComfyUI, say)."""
    path = ("providers", name, "adapter")
    if row is not None:
        if entry.adapter is not None:
            problems.add(path, f"{name} is a built-in provider: leave `adapter` out, or give the entry another name")
        endpoints = addresses.row_endpoints(row, moved=False, sandbox_url=None)
        return EntryShape(row.adapter, row.auth, row.kind, endpoints, row.media_adapter or _usual(endpoints), row.media)
    like = built_in.get(entry.adapter or "")
    if like is not None and like.media_adapter is not None and entry.adapter not in ADAPTERS and entry.base_url:
        endpoints = addresses.row_endpoints(like, moved=True, sandbox_url=None)
        return EntryShape(like.adapter, like.auth, like.kind, endpoints, like.media_adapter, like.media)
    found = ADAPTERS.get(entry.adapter or "")
    if found is None and entry.adapter is None and entry.base_url is None:
        message = "unknown provider; an entry of one's own needs `adapter` and `base_url`"
        problems.add(("providers", name), message, given=name, choices=built_in)
    elif found is None:
        problems.add(
            path,
            "unknown adapter" if entry.adapter else "which adapter?",
            given=entry.adapter,
            choices=(
                *ADAPTERS,
                *(name for name, row in built_in.items() if row.media_adapter and name not in ADAPTERS),
            ),
        )
    elif entry.base_url is None:
        problems.add(("providers", name, "base_url"), "an entry that is no built-in provider needs a base_url")
    found = found or ADAPTERS["openai_compatible"]
    serves = entry.serves
    if serves is None:
        serves = tuple({OPERATION_OF[dialect].value: None for dialect in found.endpoints})[:1]
    wanted = _with_moderation(serves)
    endpoints = tuple(
        Endpoint(dialect=dialect, path=tail)
        for dialect, tail in found.endpoints.items()
        if OPERATION_OF[dialect].value in wanted
    )
    return EntryShape(found.adapter, found.auth, ProviderKind.DIRECT, endpoints, _usual(endpoints))


def _usual(endpoints: Iterable[Endpoint]) -> str | None:
    """Who makes media over OpenAI's own paths, where there are any."""
    spoken = (endpoint.dialect in TASKS_OF_DIALECT or endpoint.dialect is Dialect.MEDIA_VIDEO for endpoint in endpoints)
    return "openai" if any(spoken) else None


def _with_moderation(serves: Iterable[str]) -> frozenset[str]:
    """Moderation needs no saying: servers that embed in OpenAI's dialect have it beside, and a 404 costs nothing."""
    named = frozenset(serves)
    return named | {Operation.MODERATE.value} if Operation.EMBED.value in named else named


class EntryReader:
    """Reads one entry's names and numbers, noting each that is wrong."""

    def __init__(self, name: str, entry: ProviderEntry, endpoints: tuple[Endpoint, ...], problems: Problems) -> None:
        self.path: tuple[str | int, ...] = ("providers", name)
        self.provider = name
        self.entry = entry
        self.all = endpoints
        self.problems = problems

    def _named(self, kind: type[Named], texts: Iterable[str], key: str, what: str) -> list[Named]:
        members = [self.problems.name(kind, text, (*self.path, key, index), what) for index, text in enumerate(texts)]
        return [member for member in members if member is not None]

    def auth(self, own: str) -> str:
        """How the credential is sent."""
        given = self.entry.auth
        if given is not None and given not in AUTH_STYLES:
            self.problems.add(
                (*self.path, "auth"), "unknown way to send a credential", given=given, choices=AUTH_STYLES
            )
            return own
        return given or own

    def kind(self, own: ProviderKind) -> ProviderKind:
        """Direct, gateway or local."""
        given = self.entry.kind
        return own if given is None else self.problems.name(ProviderKind, given, (*self.path, "kind"), "kind") or own

    def serves(self) -> frozenset[Operation]:
        """The operations left by `serves` and `dialects`."""
        possible = frozenset(OPERATION_OF[endpoint.dialect] for endpoint in self.endpoints(quiet=True))
        if self.entry.serves is None:
            return possible
        wanted = self._named(Operation, self.entry.serves, "serves", "operation")
        offered = [operation.value for operation in Operation if operation in possible]
        for operation in wanted:
            if operation not in possible:
                message = f"{self.provider} does not serve {operation}"
                index = self.entry.serves.index(operation)
                self.problems.add((*self.path, "serves", index), message, given=operation, choices=offered)
        return possible & {Operation(name) for name in _with_moderation(operation.value for operation in wanted)}

    def endpoints(self, *, quiet: bool = False) -> tuple[Endpoint, ...]:
        """The endpoints left by `serves` and `dialects`, in the order of `dialects`."""
        found = self.all
        if self.entry.dialects is not None:
            problems = Problems() if quiet else self.problems
            by_name = {endpoint.dialect.value: endpoint for endpoint in found}
            for index, text in enumerate(self.entry.dialects):
                if text not in by_name:
                    message = f"{self.provider} does not speak this dialect"
                    problems.add((*self.path, "dialects", index), message, given=text, choices=by_name)
            found = tuple(by_name[text] for text in self.entry.dialects if text in by_name)
        if self.entry.serves is None:
            return found
        wanted = _with_moderation(self.entry.serves)
        return tuple(endpoint for endpoint in found if OPERATION_OF[endpoint.dialect].value in wanted)

    def priority(self, own: dict[Operation, int], serves: frozenset[Operation]) -> dict[Operation, int]:
        """By operation; the entry may give one number, or numbers by operation or category."""
        given = self.entry.priority
        if given is None:
            return own
        if isinstance(given, int):
            return {**own, **dict.fromkeys(serves, given)}
        names = [member.value for member in (*Operation, *Category)]
        merged = dict(own)
        for text, number in given.items():
            if text.upper() in Category.__members__:
                merged |= {o: number for o in Operation if CATEGORY_OF[o].value == text.upper()}
            elif text not in names:
                path = (*self.path, "priority", text)
                self.problems.add(path, "unknown operation or category", given=text, choices=names)
        return merged | {o: given[o.value] for o in Operation if o.value in given}

    def capabilities(self, own: frozenset[Capability]) -> frozenset[Capability]:
        """What its models can do at most."""
        given = self.entry.capabilities
        return own if given is None else frozenset(self._named(Capability, given, "capabilities", "capability"))

    def quirks(self, own: Mapping[Dialect, QuirksEntry]) -> dict[Dialect, Quirks]:
        """The row's quirks, those of the entry in their place for each dialect that it names."""
        merged = dict(own)
        for text, quirks in self.entry.quirks.items():
            dialect = self.problems.name(Dialect, text, (*self.path, "quirks", text), "dialect")
            if dialect is not None:
                merged[dialect] = quirks
        return {
            dialect: Quirks(
                drop=frozenset(quirks.drop),
                rename=MappingProxyType(dict(quirks.rename)),
                force=MappingProxyType(dict(quirks.force)),
                default=MappingProxyType(dict(quirks.default)),
            )
            for dialect, quirks in merged.items()
        }

    def tasks(self, media: Mapping[Task, tuple[str, ...]], endpoints: Iterable[Endpoint]) -> frozenset[Capability]:
        """What can be made, as capabilities: by the media adapter, and over OpenAI's media dialects."""
        spoken = [TASKS_OF_DIALECT.get(endpoint.dialect, frozenset()) for endpoint in endpoints]
        if not any(OPERATION_OF_TASK[task] is Operation.VIDEO for task in media):
            spoken += [_OPENAI_VIDEOS for endpoint in endpoints if endpoint.dialect is Dialect.MEDIA_VIDEO]
        return frozenset(Capability(task.value) for task in frozenset(media).union(*spoken))

    def media(self, own: Mapping[Task, tuple[str, ...]], serves: frozenset[Operation]) -> dict[Task, tuple[str, ...]]:
        """Models by task, of the operations that are served; the entry's `default_models` may name tasks too."""
        found = {task: models for task, models in own.items() if OPERATION_OF_TASK[task] in serves}
        for task, models in found.items():
            if chosen := self.entry.default_models.get(task.value):
                found[task] = tuple(dict.fromkeys((chosen, *models)))
        return found

    def model_names(
        self, own: dict[Operation, str], serves: frozenset[Operation], media: Mapping[Task, tuple[str, ...]]
    ) -> dict[str, Any]:
        """`default_models` and `models`, by the operations that are served."""
        for task, names in media.items():
            own = {OPERATION_OF_TASK[task]: names[0], **own} if names else own
        offered = sorted(operation.value for operation in serves)
        defaults = {operation: model for operation, model in own.items() if operation in serves}
        for text, model in self.entry.default_models.items():
            if text in offered:
                defaults[Operation(text)] = model
            elif text not in media:
                path = (*self.path, "default_models", text)
                self.problems.add(path, f"{self.provider} does not serve it", given=text, choices=(*offered, *media))
        known: dict[Operation, tuple[str, ...]] = {}
        for task, names in media.items():
            known[OPERATION_OF_TASK[task]] = (*known.get(OPERATION_OF_TASK[task], ()), *names)
        listed = self.entry.models
        by_operation = listed if isinstance(listed, dict) else dict.fromkeys(offered, listed)
        for text in by_operation:
            if text not in offered:
                path = (*self.path, "models", text)
                self.problems.add(path, f"{self.provider} does not serve it", given=text, choices=offered)
        models = {
            operation: tuple(
                dict.fromkeys(
                    (
                        *filter(None, [defaults.get(operation)]),
                        *known.get(operation, ()),
                        *by_operation.get(operation.value, ()),
                    )
                )
            )
            for operation in sorted(serves)
        }
        return {"default_models": MappingProxyType(defaults), "models": MappingProxyType(models)}
