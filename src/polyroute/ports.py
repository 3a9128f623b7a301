"""Every seam of the house on one page: what the engine asks of its surroundings. Read this first.

Data flows one way: a surface makes a `Call`; the engine plans, and for each attempt asks an `Adapter` for a `WireRequest`,
sends it through a `Transport`, feeds the answer's bytes to an `AnswerReader`, and hands what comes out to the surface;
the settled `RequestRecord` goes to the `Ledger`. Implementations are named in `polyroute.app` alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from polyroute.types.chat import AnyEvent, ChatRequest, ChatResponse, ModelProfile, Rendered
from polyroute.types.errors import Failure, PolyrouteError
from polyroute.types.limits import Quota
from polyroute.types.operations import Dialect, Operation
from polyroute.types.plans import Target
from polyroute.types.records import KeyRecord, RequestRecord
from polyroute.types.usage import Price, Usage

Headers = list[tuple[bytes, bytes]]
"""Header fields in order, names in lower case."""


# ---------------------------------------------------------------- the network


class Body(Protocol):
    """A request body that can be sent more than once without being held in memory twice."""

    @property
    def length(self) -> int:
        """Size in bytes."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes from the start, in blocks; may be called again for the next attempt."""


class WireRequest(msgspec.Struct, frozen=True):
    """One HTTP request as it goes out. `url` is absolute; `headers` lack Host, Content-Length and Connection, which the
    transport writes."""

    method: str
    url: str
    headers: Headers
    body: bytes | Body = b""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Patience in seconds: to connect, until the answer's headers, until its first meaningful event, between events, and
    for the request as a whole, all attempts together."""

    connect: float = 3.0
    headers: float = 60.0
    first_token: float = 30.0
    idle: float = 30.0
    total: float = 600.0


class WireResponse(Protocol):
    """An answer whose headers have arrived. It must be read to its end or aborted."""

    status: int
    headers: Headers

    async def read(self, deadline: float, limit: int) -> bytes:
        """The whole remaining body. Deadlines are event-loop times.

        Raises AttemptFailed: `timeout` at the deadline, `truncated` when the connection breaks off, `bad_response` over
        `limit` bytes.
        """

    async def receive(self, deadline: float) -> bytes:
        """The next bytes of the body as soon as there are any, b"" at its end. Raises as `read` does."""

    def abort(self) -> None:
        """Close the connection unless the answer was read to its end; may be called at any time, any number of times."""


class Transport(Protocol):
    """The network client of the inference path."""

    async def send(self, request: WireRequest, timeouts: Timeouts, deadline: float) -> WireResponse:
        """Send and wait for the answer's headers, at most until `deadline` (event-loop time).

        Raises AttemptFailed: `timeout` (connect, headers or deadline; the message says which) or `unavailable`. A
        cancelled call leaves no request running upstream.
        """

    async def aclose(self) -> None:
        """Close all connections."""


Exchange = Callable[[Transport, WireRequest, Timeouts, float], Awaitable[WireResponse]]
"""Several HTTP requests that make one answer; called as `Transport.send` is, with the transport first, and raises the same.
A cancelled exchange leaves nothing running upstream."""


# ---------------------------------------------------------------- a call and its answer


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


# ---------------------------------------------------------------- dialects


class Observation(msgspec.Struct):
    """What was seen in an answer so far."""

    meaningful: bool = False
    """A content, tool-call or reasoning event was seen: the attempt commits."""
    complete: bool = False
    """The answer's own end was seen (finish reason, terminal event or whole body)."""
    ended: bool = False
    """The dialect's end marker was seen (`[DONE]` …): after it a caller may take the answer for whole."""
    finish: str | None = None
    model: str | None = None
    upstream_id: str | None = None
    usage: Usage | None = None
    characters: int = 0
    """Length of the text delivered so far, for estimates when a stream is broken off."""


class AnswerReader(Protocol):
    """Turns the bytes of one upstream answer into bytes for the caller, in any split of the input.

    Both raise AttemptFailed when the answer itself says that it failed, is no answer, or is broken off.
    """

    seen: Observation

    def feed(self, data: bytes) -> bytes:
        """Take upstream bytes, give bytes for the caller (may be empty)."""

    def end(self) -> bytes:
        """The upstream body ended: give the rest."""


class EventParser(Protocol):
    """Upstream stream bytes → canonical events; the events do not depend on how the bytes are split."""

    def feed(self, data: bytes) -> list[AnyEvent]:
        """Raises AttemptFailed on an in-band error or on bytes that are no such stream."""

    def close(self) -> list[AnyEvent]:
        """The stream ended. Raises AttemptFailed (`truncated`) when it ended before its answer did."""


class EventRenderer(Protocol):
    """Canonical events → stream bytes in the caller's dialect."""

    def feed(self, event: AnyEvent) -> bytes:
        """The bytes that this event becomes; b"" while something has to be held back."""

    def close(self) -> bytes:
        """The end of a successful stream."""

    def error(self, error: PolyrouteError) -> bytes:
        """A stream that fails after it began: an error in the dialect's words, never a clean finish."""


class ChatCodec(Protocol):
    """One chat dialect, both directions; pure. Every module in `dialects/` that speaks chat offers exactly this."""

    dialect: Dialect
    stream_media_type: str

    def parse_request(self, body: bytes) -> ChatRequest:
        """Caller's request → canonical. Raises PolyrouteError(invalid_request) naming the field."""

    def render_request(self, request: ChatRequest, profile: ModelProfile) -> Rendered:
        """Canonical → the body of an upstream request."""

    def parse_response(self, body: bytes) -> list[AnyEvent]:
        """A whole upstream answer as events. Raises AttemptFailed as EventParser does."""

    def render_response(self, response: ChatResponse, request: ChatRequest) -> bytes:
        """A whole answer for the caller; `request.model` is the name that the caller used."""

    def parser(self) -> EventParser:
        """For an upstream stream."""

    def renderer(self, request: ChatRequest, response_id: str, created: int) -> EventRenderer:
        """For a stream to the caller."""

    def render_error(self, error: PolyrouteError) -> bytes:
        """The body of an error answer in this dialect."""


# ---------------------------------------------------------------- state that lasts


class Ledger(Protocol):
    """Where settled requests go."""

    def record(self, entry: RequestRecord) -> None:
        """Durable against a crash of the process when it returns; does not block on the database."""


class KeyStore(Protocol):
    """The keys that we issued."""

    def find(self, presented: str) -> KeyRecord | None:
        """The key that was presented, if we issued it (revoked ones included)."""


class KeptResponse(msgspec.Struct, frozen=True):
    """An answer of the Responses API: `response` is the object as it was sent, `items` the JSON list of the whole
    conversation up to and with it."""

    id: str
    response: bytes
    items: bytes


class ResponseStore(Protocol):
    """Answers of the Responses API, by id and by the key that asked; blocking, called from worker threads."""

    @property
    def days(self) -> int:
        """For how long they are kept; 0 means not at all."""

    def get(self, identifier: str, key_id: str | None) -> KeptResponse | None:
        """None when this key has none of that id."""

    def keep(self, kept: KeptResponse, key_id: str | None) -> None:
        """Keep one."""

    def forget(self, identifier: str, key_id: str | None) -> bool:
        """Delete one; False when there was none."""


class PriceBook(Protocol):
    """Rate cards by target."""

    @property
    def loaded(self) -> bool:
        """Whether `price` answers at once; before that it waits until the tables are read."""

    def price(self, provider: str, model: str) -> Price | None:
        """None when unknown."""


class StoredDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A settled request as far as its explanation needs it. `decision` is `routing.decision`'s JSON, None for a request
    that was refused before it was planned."""

    id: str
    created_at: str
    status: str
    requested_model: str
    actual_provider: str | None
    actual_model: str | None
    error_message: str | None
    decision: bytes | None
    attempts: tuple[StoredAttempt, ...]


class StoredAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt of a settled request."""

    number: int
    target: str
    outcome: str
    duration_ms: float
    error_kind: str | None
    error_message: str | None


class DecisionReader(Protocol):
    """Decisions of settled requests; blocking, called from worker threads."""

    def decision(self, request_id: str) -> StoredDecision | None:
        """None when the database has no request of that id (yet)."""


class LedgerReader(Protocol):
    """Aggregates for operators; blocking, called from worker threads."""

    def provider_stats(self) -> Sequence[ProviderStats]:
        """Requests and cost by category and provider over the whole ledger."""


class ProviderStats(msgspec.Struct, frozen=True, kw_only=True):
    """What the ledger says of one provider in one category. Money in USD, time in milliseconds."""

    category: str
    provider: str
    requests: int
    successes: int
    failures: int
    total_cost: float | None
    unpriced: int
    avg_time: float | None
