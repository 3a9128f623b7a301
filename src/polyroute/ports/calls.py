"""A caller's request as far as routing needs it, and what is particular about a provider."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from polyroute.ports.network import Body, Exchange, Headers, WireRequest
from polyroute.types.chat import ChatRequest, ModelProfile
from polyroute.types.errors import Failure
from polyroute.types.limits import Quota
from polyroute.types.operations import Dialect, Operation
from polyroute.types.plans import Target
from polyroute.types.records import KeyRecord


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The caller's `polyroute` object, or `x-polyroute-*` headers."""

    policy: str | None = None
    budget: str | None = None
    require: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()
    timeout: float | None = None
    tags: dict[str, str] | None = None
    user: str | None = None
    strict: bool = False
    rescue: str | None = None
    explain: bool = False


NO_OPTIONS = Options()


class Call(msgspec.Struct, kw_only=True):
    """One request of a caller, parsed no further than routing needs (the envelope).

    `body` is what the caller sent. For JSON bodies `fields` maps its top-level names to their raw JSON, without the
    `polyroute` object. `forward` are caller headers that a provider of the same dialect may want (beta flags).
    """

    id: str
    operation: Operation
    dialect: Dialect
    model: str
    stream: bool
    body: bytes | Body
    content_type: bytes
    fields: dict[str, msgspec.Raw] | None = None
    options: Options = NO_OPTIONS
    key: KeyRecord | None = None
    forward: Headers = msgspec.field(default_factory=list)


class Credential(msgspec.Struct, frozen=True):
    """Our key at a provider. `label` names it in records without revealing it."""

    label: str
    secret: str

    def __repr__(self) -> str:
        return f"Credential({self.label!r})"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how a provider speaks one dialect."""

    dialect: Dialect
    path: str
    base_url: str | None = None
    auth: str | None = None


class Adapter(Protocol):
    """What is particular about one provider: addresses, authentication, and how it says that something went wrong.

    The wire format itself belongs to the dialect. Most providers share one adapter and differ by catalog row.
    """

    provider: str

    def endpoint(self, operation: Operation, preferred: Dialect) -> Endpoint | None:
        """Where to send an operation: the caller's own dialect where the provider speaks it, else the provider's first
        dialect for the operation, None when it does not serve it."""

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
        """The HTTP request, addressed and signed."""

    def adjust(self, endpoint: Endpoint, fields: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The provider's quirks on a request body's top-level fields (raw JSON where relayed, values where translated);
        also the names of those that were dropped."""

    def profile(self, model: str) -> ModelProfile:
        """What is known of a model, for renderers."""

    def fit(self, endpoint: Endpoint, request: ChatRequest) -> tuple[ChatRequest, tuple[str, ...]]:
        """What the provider needs changed in a translated request beyond quirks (call ids, order of turns), and notes on
        it; called before the request is rendered, never on a relayed call."""

    @property
    def exchange(self) -> Exchange | None:
        """How to get an answer that takes several HTTP requests (a job queue); None where `Transport.send` is enough."""

    def quota(self, headers: Headers) -> Quota | None:
        """What an answer's rate-limit headers say is left; None where they say nothing."""

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure:
        """What an error answer means."""
