"""The `usage` record of OpenAI-like answers ⇄ disjoint buckets, with every provider's own reading of the field names."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

import msgspec

from polyroute.types.usage import Usage

_TICKS_PER_USD = 10_000_000_000
_MONEY_FIELDS = frozenset({"cost", "cost_in_usd_ticks", "usd_spent"})
_CACHED_NAMES = ("prompt_cache_hit_tokens", "num_cached_tokens", "cached_tokens")
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Inputs(msgspec.Struct, gc=False):
    """What is in the prompt."""

    cached_tokens: _Count | None = None
    cache_write_tokens: _Count | None = None
    audio_tokens: _Count | None = None


class _Outputs(msgspec.Struct, gc=False):
    """What is in the completion."""

    reasoning_tokens: _Count | None = None
    audio_tokens: _Count | None = None


class _Ordinary(msgspec.Struct, gc=False):
    """OpenAI's own record."""

    prompt_tokens: _Count
    completion_tokens: _Count
    total_tokens: _Count
    prompt_tokens_details: _Inputs | None = None
    completion_tokens_details: _Outputs | None = None


_NO_INPUTS, _NO_OUTPUTS = _Inputs(), _Outputs()


def observe_usage(usage: dict[str, Any], meta: dict[str, Any] | None = None) -> Usage:
    """A provider's `usage` object in disjoint buckets. `meta` is the answer's own `meta` object (AI/ML API's cost).

    OpenAI counts cached and written tokens inside `prompt_tokens` and reasoning inside `completion_tokens`. Providers that
    count reasoning outside are recognised by their total (xAI, Gemini's layer); one that reports more cached tokens than
    prompt tokens counts the cache outside.
    """
    if meta is None and (ordinary := _observe_ordinary(usage)) is not None:
        return ordinary
    get = usage.get
    prompt, completion = _number(get("prompt_tokens")), _number(get("completion_tokens"))
    total = _number(get("total_tokens"))
    cached = written = audio_in = audio_out = reasoning = None
    details = get("prompt_tokens_details")
    if isinstance(details, dict):
        cached = _number(details.get("cached_tokens"))
        written = _number(details.get("cache_write_tokens"))
        audio_in = _number(details.get("audio_tokens"))
    if cached is None:
        for name in _CACHED_NAMES:
            if name in usage and cached is None:
                cached = _number(usage[name])
    details = get("completion_tokens_details")
    if isinstance(details, dict):
        audio_out = _number(details.get("audio_tokens"))
        reasoning = _number(details.get("reasoning_tokens"))
    if reasoning is None:
        reasoning = _number(get("reasoning_tokens"))

    beside = max(0, total - prompt - completion) if None not in (total, prompt, completion) else 0  # type: ignore[operator]  # checked by `in`
    inside = reasoning or 0
    if beside and "prompt_audio_seconds" in usage:
        audio_in = (audio_in or 0) + beside  # Mistral counts audio in the total alone
        prompt = None if prompt is None else prompt + beside
    elif beside and (reasoning is None or beside >= reasoning > 0):
        reasoning = beside if reasoning is None else reasoning
        inside = 0
    elif completion is not None and inside > completion:
        inside = 0  # more reasoning than completion stands outside, unless the total contradicts that
        reasoning = reasoning if total is None else None
    cache = (cached or 0) + (written or 0)
    if prompt is not None and (cached or 0) > prompt:
        cache = 0
    return Usage(
        input=None if prompt is None else max(0, prompt - cache - (audio_in or 0)),
        cache_read=cached,
        cache_write_5m=written,
        output=None if completion is None else max(0, completion - inside - (audio_out or 0)),
        reasoning=reasoning,
        audio_input=audio_in,
        audio_output=audio_out,
        reported_cost_usd=_reported_cost(usage, meta),
        raw=usage,
    )


def _observe_ordinary(usage: dict[str, Any]) -> Usage | None:
    """As `observe_usage`, for a record of OpenAI's own shape whose counts agree with each other; None for any other."""
    try:
        told = msgspec.convert(usage, _Ordinary)
    except msgspec.ValidationError:
        return None
    prompt, completion = told.prompt_tokens, told.completion_tokens
    inputs, outputs = told.prompt_tokens_details, told.completion_tokens_details
    known = 3 + (inputs is not None) + (outputs is not None)
    if told.total_tokens != prompt + completion or len(usage) != known:  # something else is told
        return None
    inputs, outputs = inputs or _NO_INPUTS, outputs or _NO_OUTPUTS
    cached, written, heard = inputs.cached_tokens, inputs.cache_write_tokens, inputs.audio_tokens
    reasoning, spoken = outputs.reasoning_tokens, outputs.audio_tokens
    visible_input = prompt - (cached or 0) - (written or 0) - (heard or 0)
    visible_output = completion - (reasoning or 0) - (spoken or 0)
    if visible_input < 0 or visible_output < 0:
        return None
    return Usage(
        input=visible_input, cache_read=cached, cache_write_5m=written, output=visible_output, reasoning=reasoning,
        audio_input=heard, audio_output=spoken, raw=usage,
    )  # fmt: skip


def render_usage(usage: Usage) -> dict[str, Any]:
    """Disjoint buckets as a `usage` object, where prompt and completion include all of theirs."""
    prompt, completion = usage.input_total or 0, usage.output_total or 0
    prompt_details: dict[str, Any] = {"cached_tokens": usage.cache_read or 0, "audio_tokens": usage.audio_input or 0}
    written = [count for count in (usage.cache_write_5m, usage.cache_write_1h) if count is not None]
    if written:
        prompt_details["cache_write_tokens"] = sum(written)
    reasoning = usage.reasoning
    if reasoning is None:  # what a provider said against its own totals
        reasoning = _count(_record(usage.raw or {}, "completion_tokens_details"), "reasoning_tokens")
    completion_details: dict[str, Any] = {
        "reasoning_tokens": reasoning or 0,
        "audio_tokens": usage.audio_output or 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    }
    rendered: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": completion_details,
    }
    if usage.reported_cost_usd is not None:
        rendered["cost"] = float(usage.reported_cost_usd)
    return rendered


def _reported_cost(usage: dict[str, Any], meta: dict[str, Any] | None) -> Decimal | None:
    """What the provider says it charged, in USD: OpenRouter `cost`, xAI ticks, Perplexity `total_cost`, AI/ML `usd_spent`."""
    if meta is None and _MONEY_FIELDS.isdisjoint(usage):
        return None
    cost = usage.get("cost")
    if isinstance(cost, dict):
        return _money(cost.get("total_cost"))
    if (charged := _money(cost)) is not None:
        upstream = _money(_record(usage, "cost_details").get("upstream_inference_cost"))
        return charged + upstream if usage.get("is_byok") is True and upstream is not None else charged
    if (ticks := _money(usage.get("cost_in_usd_ticks"))) is not None:
        return ticks / _TICKS_PER_USD
    spent = _money(usage.get("usd_spent"))
    if spent is None and isinstance(meta, dict):
        spent = _money(_record(meta, "usage").get("usd_spent"))
    return spent


def _money(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    amount = Decimal(str(value))
    return amount if amount.is_finite() and amount >= 0 else None


def _count(record: dict[str, Any], name: str) -> int | None:
    return _number(record.get(name))


def _number(value: Any) -> int | None:
    """A count of something; None for everything else."""
    if value.__class__ is int:
        return value if value >= 0 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != value // 1:
        return None
    return int(value)


def _record(record: dict[str, Any], name: str) -> dict[str, Any]:
    value = record.get(name)
    return value if isinstance(value, dict) else {}
