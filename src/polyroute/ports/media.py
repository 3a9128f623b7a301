"""Media providers: small protocols for each way of working, of which a provider implements what it can.

A `MediaAdapter` gives for each task (and model) one maker. There are four sorts:
`Immediate` (the answer to the call is the result), `Streamed` (the answer's bytes are the result and go through as they
come), `Queued` (submit, poll, cancel) and `Local` (made on our own machines while somebody looks on). Makers know one
provider's wire format and nothing of retries, fallback, breakers, ledger or storage: they raise `AttemptFailed`, which the
engine judges by the one error table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from polyroute.ports.network import Body, Headers, WireResponse
from polyroute.types.errors import Failure
from polyroute.types.media import Fitted, Handle, MediaInput, MediaRequest, Outcome, Progress, Task, Voice
from polyroute.types.usage import Usage


class Reply(msgspec.Struct, frozen=True):
    """A whole answer of a provider, its status below 300. Names of header fields are in lower case."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: str) -> str | None:
        """The first field of this name."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key == wanted), None)

    def json(self) -> Any:
        """The body as JSON. Raises msgspec.DecodeError, which the engine takes for a bad answer."""
        return msgspec.json.decode(self.body)


class FormPart(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a multipart form; a file when it has a `filename`. A `Body` is read block by block as it is sent."""

    name: str
    value: str | bytes | Body
    filename: str | None = None
    media_type: str | None = None


class MediaSocket(Protocol):
    """A WebSocket to a provider."""

    async def send(self, text: str) -> None:
        """Send one text frame."""

    async def receive(self, deadline: float) -> str:
        """The next text frame. Raises AttemptFailed: `timeout`, or `unavailable` when the socket closed."""

    async def close(self) -> None:
        """Close it; may be called at any time."""


SocketOpener = Callable[[str, Headers, float, float], Awaitable[MediaSocket]]
"""Opens a WebSocket: URL, headers, seconds to connect, deadline (event-loop time). Raises AttemptFailed."""


class MediaWire(Protocol):
    """A provider's network as its makers see it: addressed, signed and bounded in time.

    Every method raises AttemptFailed, already classified by the adapter's `classify`, for statuses of 300 and above that
    are not in `accept`.
    """

    @property
    def base_url(self) -> str:
        """The row's address, without a slash at its end."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The row's options."""

    @property
    def secret(self) -> str | None:
        """The credential, for the few places where it is part of a body."""

    @property
    def durable(self) -> bool:
        """The work outlives this process, once its handle is known: a maker that could wait a moment for the result gives
        the handle instead."""

    @property
    def callback_url(self) -> str | None:
        """Where the provider may report to, when a public address is configured."""

    async def call(
        self, method: str, path: str, *, json: Any = None, form: tuple[FormPart, ...] | None = None,
        body: bytes | Body = b"", headers: Headers | None = None, query: Mapping[str, str] | None = None,
        accept: tuple[int, ...] = (), creates: bool = False, anonymous: bool = False,
    ) -> Reply:  # fmt: skip
        """One call; `path` under the base URL, or an absolute URL of the same provider. `creates`: it starts work that may
        be charged; when its outcome is unknown (the connection broke after it was sent) the failure's kind is
        `unknown_outcome`, and it is never sent twice. Other calls are repeated a few times on 408, 429 and 5xx.
        `anonymous`: without the credential; then also to the hosts of the row's option `upload_hosts`."""

    async def open(
        self, method: str, path: str, *, json: Any = None, form: tuple[FormPart, ...] | None = None,
        headers: Headers | None = None, query: Mapping[str, str] | None = None,
    ) -> WireResponse:  # fmt: skip
        """As `call`, but gives the answer when its headers are there, to be read as it comes."""

    async def socket(self, path: str, *, headers: Headers | None = None) -> MediaSocket:
        """A WebSocket at a path or an absolute ws(s) URL."""

    async def pause(self, seconds: float) -> None:
        """Wait. Raises AttemptFailed (timeout) when that would be after the deadline."""

    async def input_bytes(self, item: MediaInput) -> tuple[bytes, str]:
        """An input's bytes and sniffed media type, fetched safely where it is a URL."""

    async def input_body(self, item: MediaInput) -> tuple[Body, str]:
        """As `input_bytes`, for what may be large: read from disk as it is sent."""

    async def input_data_uri(self, item: MediaInput) -> str:
        """An input as a base64 data URI."""

    async def input_path(self, item: MediaInput) -> tuple[Path, str]:
        """As `input_body`, as a local, read-only file for as long as the request lasts."""

    async def mask_for_openai(self, item: MediaInput) -> tuple[bytes, str]:
        """A mask as OpenAI wants it: transparent where it may be painted. Raises PolyrouteError (unsupported) where nothing
        here can convert pictures."""

    def workspace(self) -> Path:
        """A folder of this request's own, deleted with everything in it when the request is over."""

    async def input_url(self, item: MediaInput) -> str | None:
        """An address from which the provider can fetch the input: the caller's own https URL, or a signed one of ours when
        a public address is configured; None otherwise (then it has to be uploaded)."""


class Maker(Protocol):
    """What all makers have."""

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """The request as this model can take it; pure. Raises PolyrouteError (`unsupported`, naming the field) when it
        cannot be asked at all, `invalid_request` when nobody could be asked that."""


@runtime_checkable
class Immediate(Maker, Protocol):
    """The answer to the call is the result."""

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """Ask and wait. Raises AttemptFailed."""


class MediaStream(Protocol):
    """Bytes of a result as they come. Must be read to its end or aborted."""

    media_type: str

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes of the medium itself, whatever the provider wraps them in. Raises AttemptFailed."""

    def usage(self) -> Usage:
        """What is known of the usage so far; complete at the end."""

    def abort(self) -> None:
        """Stop."""


@runtime_checkable
class Streamed(Maker, Protocol):
    """The answer's bytes are the result, and may be passed on while they come (speech)."""

    async def stream(self, request: MediaRequest, model: str, wire: MediaWire) -> MediaStream:
        """Ask; returns when the provider has begun to answer. Raises AttemptFailed."""


@runtime_checkable
class Queued(Maker, Protocol):
    """Work that the provider accepts now and finishes later. `resubmits`: sending the same `idempotency_key` again after an
    unknown outcome cannot start the work twice. `pace`: seconds between polls, first and longest, unless the provider says."""

    resubmits: bool
    pace: tuple[float, float]

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """Start the work. Raises AttemptFailed."""

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """How far it is. Raises AttemptFailed when the work failed for good; what is only a failed poll is repeated by the
        wire."""

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Stop the work where the provider can; otherwise nothing."""


@runtime_checkable
class Looking(Protocol):
    """A maker that sees more than `fit` does when it may look at the inputs, or ask what there is."""

    async def look(self, request: MediaRequest, model: str, wire: MediaWire) -> None:
        """Look before work is accepted; it costs nothing and starts nothing. Raises PolyrouteError or AttemptFailed as `fit`
        does: `invalid_request` for what nobody can do, `unsupported` for what this one cannot."""


Report = Callable[[Progress], Awaitable[None]]
"""Told how far work is."""


@runtime_checkable
class Local(Maker, Protocol):
    """Work that this process does itself, or that a service on our own machines does while a call waits for it. Nothing is
    charged, so after a crash it is simply done again; cancelling the call ends the work."""

    async def work(self, request: MediaRequest, model: str, wire: MediaWire, report: Report) -> Outcome:
        """Do it, and say how far it is. Raises AttemptFailed."""


CALLBACK_TOKEN = b":token"
"""The name under which a report's headers hold what followed the provider's name in its path; no client can send it."""


class Callback(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's report whose signature holds: which work it is about. The state itself is always polled."""

    handle_id: str


class MediaAdapter(Protocol):
    """One provider's media side."""

    def maker(self, task: Task, model: str) -> Immediate | Streamed | Queued | Local | None:
        """Who makes this, None when the provider (or this model) does not."""


class FailureReader(Protocol):
    """A media adapter whose provider has error bodies of its own."""

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """What an error answer means; None leaves it to the usual classification."""


class VoiceLister(Protocol):
    """A media adapter whose provider has voices."""

    async def voices(self, wire: MediaWire) -> tuple[Voice, ...]:
        """All of them."""


class ModelLister(Protocol):
    """A media adapter whose provider lists its models."""

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """Model ids with the tasks that they are known for."""


class CallbackReader(Protocol):
    """A media adapter whose provider reports back."""

    async def callback(self, headers: Headers, body: bytes, wire: MediaWire, now: float) -> Callback:
        """Who reports. `headers` have CALLBACK_TOKEN where the address had one. Raises PolyrouteError(unauthorized) when the
        signature is missing, wrong or too old."""


class LocalService(Protocol):
    """A media adapter of a service on one's own machines."""

    async def healthy(self, wire: MediaWire) -> str | None:
        """None when it answers, else what is wrong."""
