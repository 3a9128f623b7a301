"""What tells one provider from another, as data: how each deviates from the plain OpenAI form on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Literal

import msgspec

Auth = Literal["bearer", "x-api-key", "api-key", "x-goog-api-key", "query", "signature", "key", "xi-api-key", "x-key"]


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One provider as it is seen on the wire. A default is what OpenAI itself does.

    `media`: it serves media alone, so the endpoints that many have are not there.
    `auth`: ways to present a credential (none: no credential needed). `reasoning`: where chat completions carry the
    model's reasoning. `thinks`: parts of model names that reason without being asked. `stream_usage`: where a stream
    reports usage. `whole_calls`: a streamed tool call comes in one piece. `call_index`: streamed tool calls are numbered.
    """

    name: str = ""
    media: bool = False
    auth: tuple[Auth, ...] = ("bearer",)
    reasoning: Literal["hidden", "reasoning", "reasoning_content", "details", "thinking_parts", "think_tags"] = "hidden"
    thinks: tuple[str, ...] = ()
    stream_usage: Literal["asked", "own_chunk", "finish_chunk", "every_chunk", "x_groq"] = "asked"
    comment: str | None = None
    done: bool = True
    chat_id: Literal["chatcmpl", "chatcmpl_uuid", "chatcmpl_number", "gen", "uuid", "hex32", "hex16"] = "chatcmpl"
    tool_id: Literal["call", "alnum9"] = "call"
    request_id: str | None = "x-request-id"
    rate_headers: Literal["openai", "azure", "groq", "mistral", "fireworks", "together", "xai", "anthropic", "none"] = (
        "none"
    )
    whole_calls: bool = False
    call_index: bool = True
    finish_reasons: Mapping[str, str] = MappingProxyType({})
    fingerprint: str | None = None
    logprobs: bool = True
    listing: Literal[
        "openai", "openrouter", "aimlapi", "together", "groq", "mistral", "vllm", "llamacpp", "perplexity"
    ] = "openai"
    models: tuple[str, ...] = ("simulated-model",)


@cache
def built_in_profiles() -> Mapping[str, Profile]:
    """The providers that the sandbox knows by name."""
    raw = resources.files("polyroute.sandbox").joinpath("profiles.toml").read_bytes()
    rows = msgspec.toml.decode(raw, type=dict[str, Profile])
    return MappingProxyType({name: msgspec.structs.replace(row, name=name) for name, row in rows.items()})


def profile_of(provider: str) -> Profile:
    """The provider's profile; a name that is not known (an operator's own server) gets the plain OpenAI one."""
    return built_in_profiles().get(provider) or Profile(name=provider, auth=())
