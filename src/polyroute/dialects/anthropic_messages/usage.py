"""Usage between this API's record and ours: its input count leaves cached tokens out, its output count includes thinking."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.service_tiers import unusual_tier
from polyroute.types.usage import Usage


def parse_usage(raw: dict[str, Any]) -> Usage:
    """A usage record, merged over the stream where there is one."""
    output, thinking = _count(raw, "output_tokens"), _count(_inner(raw, "output_tokens_details"), "thinking_tokens")
    written = _count(raw, "cache_creation_input_tokens")
    detail = _inner(raw, "cache_creation")
    hour = _count(detail, "ephemeral_1h_input_tokens")
    five = _count(detail, "ephemeral_5m_input_tokens")
    if written is not None and written >= (hour or 0):
        five = written - (hour or 0)
    if output is not None and thinking is not None:
        thinking = min(thinking, output)
        output -= thinking
    searches = _count(_inner(raw, "server_tool_use"), "web_search_requests")
    return Usage(
        input=_count(raw, "input_tokens"), cache_read=_count(raw, "cache_read_input_tokens"), cache_write_5m=five,
        cache_write_1h=hour, output=output, reasoning=thinking, tier=unusual_tier(raw.get("service_tier")), raw=raw,
        web_searches=searches or None,
    )  # fmt: skip


def render_usage(usage: Usage | None) -> dict[str, Any]:
    """A usage record; the two counts that the API's types require are 0 where nothing is known."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    record: dict[str, Any] = {
        "input_tokens": (usage.input or 0) + (usage.audio_input or 0),
        "cache_creation_input_tokens": _sum(usage.cache_write_5m, usage.cache_write_1h),
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output_total or 0,
    }
    if usage.reasoning is not None:
        record["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if usage.cache_write_1h is not None:
        record["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write_5m or 0,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        }
    return record


def _inner(raw: dict[str, Any], name: str) -> dict[str, Any]:
    value = raw.get(name)
    return value if isinstance(value, dict) else {}


def _count(raw: dict[str, Any], name: str) -> int | None:
    value = raw.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
