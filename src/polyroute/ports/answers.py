"""Dialects: wire bytes into events and events into wire bytes, and what was seen on the way."""

from __future__ import annotations

from typing import Protocol

import msgspec

from polyroute.types.chat import AnyEvent, ChatRequest, ChatResponse, ModelProfile, Rendered
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage


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
