"""The `usage` record of Responses ⇄ disjoint buckets."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.openai_chat.usage import observe_usage as observe_chat_usage
from polyroute.dialects.openai_chat.usage import render_usage as render_chat_usage
from polyroute.types.usage import Usage

_NAMES = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "input_tokens_details": "prompt_tokens_details",
    "output_tokens_details": "completion_tokens_details",
}


def observe_usage(usage: dict[str, Any]) -> Usage:
    """A Responses `usage` in disjoint buckets: the chat record under other names, counted alike."""
    renamed = {_NAMES.get(name, name): value for name, value in usage.items()}
    return msgspec.structs.replace(observe_chat_usage(renamed), raw=usage)


def render_usage(usage: Usage) -> dict[str, Any]:
    """Disjoint buckets as a Responses `usage`."""
    chat = render_chat_usage(usage)
    read, reasoned = chat["prompt_tokens_details"], chat["completion_tokens_details"]
    reasoning = reasoned["reasoning_tokens"]
    if usage.reasoning is None and usage.raw is not None:
        details = usage.raw.get("output_tokens_details")
        told = details.get("reasoning_tokens") if isinstance(details, dict) else None
        reasoning = told if isinstance(told, int) else reasoning
    rendered: dict[str, Any] = {
        "input_tokens": chat["prompt_tokens"],
        "input_tokens_details": {
            "cached_tokens": read["cached_tokens"],
            "cache_write_tokens": read.get("cache_write_tokens", 0),
        },
        "output_tokens": chat["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": reasoning},
        "total_tokens": chat["total_tokens"],
    }
    if "cost" in chat:
        rendered["cost"] = chat["cost"]
    return rendered
