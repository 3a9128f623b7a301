"""How each provider says no: its own status, words, body and headers for every reason that the sandbox knows."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

import msgspec

from polyroute.sandbox.error_bodies import Reason, Said, envelope, extra_headers, in_stream
from polyroute.sandbox.exchange import Exchange, Spoken, hexadecimal
from polyroute.sandbox.media.envelopes import http_status

_REASON_OF_STATUS: dict[int, Reason] = {
    401: "credential",
    402: "quota",
    403: "forbidden",
    404: "model_not_found",
    408: "timeout",
    413: "too_large",
    429: "rate_limited",
    500: "server_error",
    504: "gateway_timeout",
}

_FAMILY_OF_DIALECT = {
    "anthropic_messages": "anthropic",
    "gemini": "google",
    "ollama": "ollama_native",
    "cohere_v2": "cohere",
    "bedrock_converse": "bedrock",
    "runpod": "runpod",
}


class Refused(Exception):
    """Raised where the real provider would refuse. `status` overrides the provider's usual one; `values` fill its words."""

    def __init__(
        self,
        reason: Reason,
        detail: str = "",
        *,
        param: str | None = None,
        code: str | None = None,
        status: int | None = None,
        values: Mapping[str, Any] = MappingProxyType({}),
        retry_after: str | None = None,
    ) -> None:
        super().__init__(detail or reason)
        self.reason: Reason = reason
        self.detail = detail
        self.param = param
        self.code = code
        self.status = status
        self.values = values
        self.retry_after = retry_after


class Wording(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one family of providers says for one reason; None means: as OpenAI says it."""

    status: int | None = None
    type: str | None = None
    code: str | None = None
    message: str | None = None


class ErrorAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An error ready to send, whole (`body`) or inside a stream (`frame`)."""

    status: int
    body: bytes
    frame: bytes
    headers: Mapping[str, str]
    content_type: str = "application/json"


def reason_of_status(status: int) -> Reason:
    """The reason that an HTTP status usually stands for."""
    return _REASON_OF_STATUS.get(status, "invalid_request" if status < 500 else "overloaded")


def invalid(detail: str, *, param: str | None = None, code: str | None = None) -> Refused:
    """A request that the provider does not accept as it is."""
    return Refused("invalid_request", detail, param=param, code=code)


@cache
def _wordings() -> Mapping[str, Mapping[str, Wording]]:
    raw = resources.files("polyroute.sandbox").joinpath("errors.toml").read_bytes()
    return msgspec.toml.decode(raw, type=dict[str, dict[str, Wording]])


def family_of(exchange: Exchange, dialect: Spoken) -> str:
    """Whose words are used: the dialect's maker where the dialect has errors of its own, else the provider."""
    if dialect in _FAMILY_OF_DIALECT:
        return _FAMILY_OF_DIALECT[dialect]
    if exchange.profile.name in ("anthropic", "bedrock") and dialect in ("openai_chat", "openai_responses"):
        return "openai"
    if exchange.profile.name == "google":
        return "google_layer"
    return exchange.profile.name


def _wording(family: str, dialect: Spoken, reason: Reason) -> Wording:
    table = _wordings()
    name = "google" if family == "google_layer" else family
    own = table.get(name, {}).get(reason, Wording())
    if own.message is None and family in ("openai", "azure") and dialect == "openai_responses":
        own = table["openai_responses"].get(reason, own)
    plain = table["openai"][reason]
    return Wording(
        plain.status if own.status is None else own.status,
        plain.type if own.type is None else own.type,
        plain.code if own.code is None else own.code,
        plain.message if own.message is None else own.message,
    )


class _Blanks(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return ""


def render_error(exchange: Exchange, dialect: Spoken, refused: Refused) -> ErrorAnswer:
    """The provider's own answer to what it refuses."""
    family = family_of(exchange, dialect)
    wording = _wording(family, dialect, refused.reason)
    blanks = _Blanks({name: str(value) for name, value in refused.values.items()})
    blanks.setdefault("model", str(exchange.body.get("model") or exchange.groups.get("model") or "unknown"))
    blanks.update(
        detail=refused.detail,
        param=refused.param or "",
        path=f"{exchange.method} {exchange.path}",
        trace=hexadecimal(exchange.digest, "trace", 24),
        key="sandbox-****-key",
    )
    code = refused.code if refused.code is not None else wording.code
    said = Said(
        status=refused.status or wording.status or 400,
        type=wording.type or None,
        code=code.format_map(blanks) if code else None,
        message=(wording.message or "{detail}").format_map(blanks),
        param=refused.param,
        reason=refused.reason,
        retry_after=refused.retry_after,
        exchange=exchange,
    )
    value = envelope(family, said)
    body = b"" if value is None else msgspec.json.encode(value)
    return ErrorAnswer(
        status=http_status(family, said.status),
        body=body,
        frame=in_stream(family, dialect, said, value),
        headers=extra_headers(family, said),
    )
