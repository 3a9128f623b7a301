"""What all adapters share: an `Adapter` driven by its catalog row, precomputed so that a request costs a microsecond or two."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from polyroute.catalog.model import Provider, Quirks
from polyroute.ports import Body, Credential, Endpoint, Exchange, Headers, SharedHead, WireRequest
from polyroute.providers.classify import classify_answer
from polyroute.providers.model_facts import model_facts
from polyroute.providers.quota import read_quota
from polyroute.providers.redaction import Redactor
from polyroute.types.chat import ChatRequest, ModelProfile
from polyroute.types.errors import Failure
from polyroute.types.limits import Quota
from polyroute.types.operations import OPERATION_OF, Dialect, Operation
from polyroute.types.plans import Target

MODEL_MARK = "{model}"
"""Where an endpoint's path takes the model id, percent-encoded."""

_AUTH_HEADERS: dict[str, tuple[bytes, str]] = {
    "bearer": (b"authorization", "Bearer {}"),
    "x-api-key": (b"x-api-key", "{}"),
    "x-goog-api-key": (b"x-goog-api-key", "{}"),
    "api-key": (b"api-key", "{}"),
    "xi-api-key": (b"xi-api-key", "{}"),
    "key": (b"authorization", "Key {}"),
    "x-key": (b"x-key", "{}"),
}

# Caller headers that mean something to a provider of the same dialect; never a credential.
_FORWARDED: dict[Dialect, frozenset[bytes]] = {
    Dialect.OPENAI_CHAT: frozenset({b"openai-beta", b"x-session-affinity", b"x-multi-turn-session-id"}),
    Dialect.OPENAI_RESPONSES: frozenset({b"openai-beta", b"x-session-affinity", b"x-multi-turn-session-id"}),
    Dialect.ANTHROPIC_MESSAGES: frozenset({b"anthropic-beta", b"anthropic-version"}),
}
_NOTHING: frozenset[bytes] = frozenset()

_STREAM_TYPES: dict[Dialect, bytes] = {
    Dialect.OLLAMA: b"application/x-ndjson",
    Dialect.BEDROCK_CONVERSE: b"application/vnd.amazon.eventstream",
    Dialect.RUNPOD: b"application/json",
}
"""What to ask for when streaming; server-sent events otherwise."""

_MOST_HEADS = 1024
"""A form's media type names its boundary, so what is kept has an end."""

ANTHROPIC_VERSION = b"2023-06-01"
"""Sent unless the caller forwards a version; newer ones differ in details that Polyroute does not need."""

# Dialects whose URL says what others say in the body.
_URL_FIELDS: dict[Dialect, frozenset[str]] = {
    Dialect.GEMINI: frozenset({"model", "stream"}),
    Dialect.BEDROCK_CONVERSE: frozenset({"model", "stream"}),
}


class CompiledQuirks:
    """A row's quirks on one dialect, with their values as raw JSON."""

    __slots__ = ("_default", "_drop", "_force", "_rename", "touched")

    def __init__(self, quirks: Quirks) -> None:
        self._drop = quirks.drop
        self._rename = dict(quirks.rename)
        self._force = _raw(quirks.force)
        self._default = _raw(quirks.default)
        self.touched = frozenset(self._drop) | frozenset(self._rename)

    def apply(self, fields: dict[str, msgspec.Raw]) -> tuple[dict[str, msgspec.Raw], tuple[str, ...]]:
        """A changed copy, and the names of what was lost."""
        dropped: tuple[str, ...] = ()
        if self.touched.isdisjoint(fields):
            changed = dict(fields)
        else:
            changed, lost = {}, []
            for name, value in fields.items():
                if name in self._drop:
                    lost.append(name)
                elif (new := self._rename.get(name)) is None:
                    changed[name] = value
                elif new in fields:
                    lost.append(name)
                else:
                    changed[new] = value
            dropped = tuple(lost)
        for name, value in self._default.items():
            changed.setdefault(name, value)
        changed.update(self._force)
        return changed, dropped


def _raw(values: Mapping[str, Any]) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in values.items()}


class _Head:
    """What all requests to an endpoint with one credential have in common; `url` is None where it depends on the model."""

    __slots__ = ("endpoint", "headers", "shared", "url")

    def __init__(self, endpoint: Endpoint, headers: Headers, url: str | None) -> None:
        self.endpoint = endpoint
        self.headers = headers
        self.url = url
        self.shared = SharedHead()


class CatalogAdapter:
    """An adapter that a catalog row describes completely: addresses, authentication, headers, quirks."""

    refuses: frozenset[str] = frozenset()
    """What all models refuse behind this adapter, in the words of `model_facts`."""
    exchange: Exchange | None = None
    """One HTTP request is enough."""

    def __init__(self, row: Provider, clock: Callable[[], float] = time.time) -> None:
        self.provider = row.name
        self.row = row
        self._clock = clock
        self._redact = Redactor(row.credentials)
        self._endpoints: dict[Dialect, Endpoint] = {}
        self._first: dict[Operation, Endpoint] = {}
        for endpoint in row.endpoints:
            operation = OPERATION_OF[endpoint.dialect]
            if operation in row.serves:
                self._endpoints.setdefault(endpoint.dialect, endpoint)
                self._first.setdefault(operation, endpoint)
        self._quirks = {dialect: CompiledQuirks(quirks) for dialect, quirks in row.quirks.items() if quirks != Quirks()}
        self._static = [(name.lower().encode(), value.encode()) for name, value in row.headers.items()]
        self._heads: dict[tuple[int, str, bytes, bool], _Head] = {}
        self._profiles: dict[str, ModelProfile] = {}

    def endpoint(self, operation: Operation, preferred: Dialect) -> Endpoint | None:
        """The caller's own dialect where the row has it; another one of the operation for chat, which translates, and where
        a media adapter makes what is asked for."""
        found = self._endpoints.get(preferred)
        if found is not None and OPERATION_OF[preferred] is operation:
            return found
        return self._first.get(operation) if operation is Operation.CHAT or self.row.media_adapter else None

    def request(
        self,
        endpoint: Endpoint,
        target: Target,
        credential: Credential | None,
        *,
        body: bytes | Body,
        content_type: bytes,
        stream: bool,
        forward: Headers,
    ) -> WireRequest:
        """The HTTP request, addressed and signed. `forward` is cut down to what the endpoint's dialect knows."""
        secret = "" if credential is None else credential.secret
        key = (id(endpoint), secret, content_type, stream)  # cheaper than the endpoint's own hash; the head holds it
        head = self._heads.get(key)
        if head is None:
            headers = self.fixed_headers(endpoint, secret, content_type, stream=stream)
            if len(self._heads) >= _MOST_HEADS:
                self._heads.clear()
            head = self._heads[key] = _Head(endpoint, headers, self._fixed_url(endpoint, target, stream=stream))
        url = head.url or self.url(endpoint, target, stream=stream)
        if forward:
            return WireRequest("POST", url, self._with_forwarded(endpoint.dialect, head.headers, forward), body)
        return WireRequest("POST", url, head.headers.copy(), body, head.shared if head.url is not None else None)

    def _fixed_url(self, endpoint: Endpoint, target: Target, *, stream: bool) -> str | None:
        """The address where it is the same for every model; else None."""
        other = msgspec.structs.replace(target, model=f"{target.model}-")
        url = self.url(endpoint, target, stream=stream)
        return url if url == self.url(endpoint, other, stream=stream) else None

    def fixed_headers(self, endpoint: Endpoint, secret: str, content_type: bytes, *, stream: bool) -> Headers:
        """The headers that do not depend on one request; computed once for each credential."""
        headers: Headers = []
        style = endpoint.auth or self.row.auth
        if secret and style in _AUTH_HEADERS:
            name, form = _AUTH_HEADERS[style]
            headers.append((name, form.format(secret).encode()))
        if content_type:
            headers.append((b"content-type", content_type))
        headers.append((b"accept", _STREAM_TYPES.get(endpoint.dialect, b"text/event-stream") if stream else b"*/*"))
        if endpoint.dialect is Dialect.ANTHROPIC_MESSAGES and "anthropic-version" not in self.row.headers:
            headers.append((b"anthropic-version", ANTHROPIC_VERSION))
        return headers + self._static

    def _with_forwarded(self, dialect: Dialect, headers: Headers, forward: Headers) -> Headers:
        wanted = _FORWARDED.get(dialect, _NOTHING)
        passed = [field for field in forward if field[0] in wanted]
        names = {name for name, _ in passed}
        return [field for field in headers if field[0] not in names] + passed

    def url(self, endpoint: Endpoint, target: Target, *, stream: bool) -> str:
        """The absolute address: Gemini's and Bedrock's name the model, and whether the answer is streamed."""
        address = self.address(endpoint)
        if MODEL_MARK not in address:
            return address
        if endpoint.dialect is Dialect.GEMINI:
            model = quote(target.model.removeprefix("models/"), safe="")
            method = "streamGenerateContent?alt=sse" if stream else "generateContent"
            return f"{address.partition(MODEL_MARK)[0]}{model}:{method}"
        address = address.replace(MODEL_MARK, quote(target.model, safe=""))
        return f"{address}-stream" if stream and endpoint.dialect is Dialect.BEDROCK_CONVERSE else address

    def address(self, endpoint: Endpoint) -> str:
        """Base and path of an endpoint, `{model}` still open."""
        return (endpoint.base_url or self.row.base_url).rstrip("/") + endpoint.path

    def adjust(
        self, endpoint: Endpoint, fields: dict[str, msgspec.Raw]
    ) -> tuple[dict[str, msgspec.Raw], tuple[str, ...]]:
        """The row's quirks; `fields` itself is left as it is."""
        in_url = _URL_FIELDS.get(endpoint.dialect)
        if in_url is not None:
            fields = {name: value for name, value in fields.items() if name not in in_url}
        quirks = self._quirks.get(endpoint.dialect)
        return (fields, ()) if quirks is None else quirks.apply(fields)

    def profile(self, model: str) -> ModelProfile:
        """What is known of a model by its id, and by the row's options `max_output` and `refuses` (by model id)."""
        found = self._profiles.get(model)
        if found is None:
            facts = model_facts(model)
            limits: Mapping[str, int] = self.row.options.get("max_output") or {}
            refused: Mapping[str, list[str]] = self.row.options.get("refuses") or {}
            found = self._profiles[model] = ModelProfile(
                provider=self.provider,
                model=model,
                max_output=limits.get(model, facts.max_output),
                refuses=facts.refuses | self.refuses | frozenset(refused.get(model, ())),
            )
        return found

    def fit(self, endpoint: Endpoint, request: ChatRequest) -> tuple[ChatRequest, tuple[str, ...]]:
        """Nothing has to be changed."""
        return request, ()

    def quota(self, headers: Headers) -> Quota | None:
        """What rate-limit headers say is left."""
        return read_quota(headers, self._clock)

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure:
        """What an error answer means."""
        return classify_answer(status, headers, body, redact=self._redact, clock=self._clock)
