"""What can go wrong at a provider, as the sandbox rehearses it, and what the ledger must call it."""

from __future__ import annotations

from typing import Any

import msgspec


class FaultCase(msgspec.Struct, frozen=True, kw_only=True):
    """A fault before anything of the answer reached the caller. `kind` is the ledger's word for it (`stream_kind` for
    answers that are handed on as they come, where it differs), `not_for` are asks in which it cannot show, `waits` says
    that only a timer can notice it, `provider_status` is what the provider answered with."""

    name: str
    fault: dict[str, Any]
    kind: str
    stream_kind: str | None = None
    provider_status: int | None = None
    not_for: tuple[str, ...] = ()
    waits: bool = False

    def kind_for(self, *, streamed: bool) -> str:
        """The error kind in the ledger."""
        return self.stream_kind or self.kind if streamed else self.kind


_MEDIA = ("embed", "image", "speech", "transcription")

FAULTS = (
    FaultCase(name="500", fault={"kind": "status", "status": 500}, kind="unavailable", provider_status=500),
    FaultCase(name="503", fault={"kind": "status", "status": 503}, kind="unavailable", provider_status=503),
    FaultCase(
        name="429-seconds", fault={"kind": "status", "status": 429, "retry_after": "30"}, kind="rate_limited",
        provider_status=429,
    ),
    FaultCase(
        name="429-date", fault={"kind": "status", "status": 429, "retry_after": "Fri, 01 Jan 2100 00:00:00 GMT"},
        kind="rate_limited", provider_status=429,
    ),
    FaultCase(name="reset", fault={"kind": "reset"}, kind="unavailable"),
    FaultCase(name="hang", fault={"kind": "hang"}, kind="timeout", waits=True),
    FaultCase(
        name="slow", fault={"kind": "slow_first_token", "seconds": 20}, kind="timeout", waits=True,
        not_for=("embed", "image", "transcription"),
    ),
    FaultCase(
        name="stall", fault={"kind": "stall", "after_tokens": 0, "seconds": 20}, kind="timeout", waits=True,
        not_for=("embed", "image", "transcription"),
    ),
    FaultCase(name="cut", fault={"kind": "cut", "after_tokens": 0}, kind="truncated"),
    FaultCase(name="garbage", fault={"kind": "garbage"}, kind="bad_response", not_for=("speech",)),
    FaultCase(name="page", fault={"kind": "html"}, kind="bad_response"),
    FaultCase(name="page-503", fault={"kind": "html", "status": 503}, kind="unavailable", provider_status=503),
    FaultCase(name="empty", fault={"kind": "empty"}, kind="bad_response"),
    FaultCase(name="silent", fault={"kind": "no_content"}, kind="bad_response", not_for=_MEDIA),
    FaultCase(
        name="in-band", fault={"kind": "in_band_error", "after_tokens": 0}, kind="unavailable", not_for=_MEDIA,
    ),
    FaultCase(name="broken-json", fault={"kind": "malformed_chunk", "after_tokens": 0}, kind="bad_response",
        not_for=("speech",)),
    FaultCase(name="key", fault={"kind": "invalid_key"}, kind="credential_rejected", provider_status=401),
    FaultCase(name="quota", fault={"kind": "quota"}, kind="quota_exhausted", provider_status=429),
)  # fmt: skip


class AllDown(msgspec.Struct, frozen=True, kw_only=True):
    """The same fault at every provider. `status` is what the caller is told then."""

    name: str
    fault: dict[str, Any]
    status: int
    waits: bool = False


ALL_DOWN = (
    AllDown(name="all-503", fault={"kind": "status", "status": 503}, status=502),
    AllDown(name="all-429", fault={"kind": "status", "status": 429, "retry_after": "9"}, status=429),
    AllDown(name="all-hang", fault={"kind": "hang"}, status=504, waits=True),
    AllDown(name="all-reset", fault={"kind": "reset"}, status=502),
    AllDown(name="all-empty", fault={"kind": "empty"}, status=502),
    AllDown(name="all-key", fault={"kind": "invalid_key"}, status=502),
)
