"""Usage between Gemini's record and ours: its prompt count includes cached tokens, its candidates' count leaves thoughts
out, and modalities are told in details."""

from __future__ import annotations

from typing import Any

from polyroute.types.usage import Usage


def parse_usage(raw: dict[str, Any]) -> Usage:
    """A `usageMetadata` record, merged over the stream where there is one."""
    prompt, cached = _count(raw, "promptTokenCount"), _count(raw, "cachedContentTokenCount")
    heard = _modality(raw, "promptTokensDetails")
    if heard is not None:
        heard -= min(heard, _modality(raw, "cacheTokensDetails") or 0)
    spoken = _modality(raw, "candidatesTokensDetails")
    uncached = None
    if prompt is not None:
        uncached = max(0, prompt - (cached or 0) - (heard or 0)) + (_count(raw, "toolUsePromptTokenCount") or 0)
    output = _count(raw, "candidatesTokenCount")
    if output is not None:
        output = max(0, output - (spoken or 0))
    return Usage(
        input=uncached, cache_read=cached, audio_input=heard, output=output, audio_output=spoken,
        reasoning=_count(raw, "thoughtsTokenCount"), raw=raw,
    )  # fmt: skip


def render_usage(usage: Usage) -> dict[str, Any]:
    """A `usageMetadata` record; unknown counts are left out."""
    prompt, total = usage.input_total, usage.output_total
    output = (
        None if usage.output is None and usage.audio_output is None else (usage.output or 0) + (usage.audio_output or 0)
    )
    record: dict[str, Any] = {
        "promptTokenCount": prompt,
        "cachedContentTokenCount": usage.cache_read,
        "candidatesTokenCount": output,
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": None if prompt is None and total is None else (prompt or 0) + (total or 0),
    }
    if usage.audio_input is not None and prompt is not None:
        rest = prompt - usage.audio_input
        record["promptTokensDetails"] = [
            {"modality": "TEXT", "tokenCount": rest}, {"modality": "AUDIO", "tokenCount": usage.audio_input},
        ]  # fmt: skip
    if usage.audio_output is not None:
        record["candidatesTokensDetails"] = [{"modality": "AUDIO", "tokenCount": usage.audio_output}]
    return {name: value for name, value in record.items() if value is not None}


def _count(raw: dict[str, Any], name: str) -> int | None:
    value = raw.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _modality(raw: dict[str, Any], name: str) -> int | None:
    """Audio tokens in a list of counts by modality."""
    details = raw.get(name)
    found = [
        count
        for item in (details if isinstance(details, list) else ())
        if isinstance(item, dict)
        and item.get("modality") == "AUDIO"
        and (count := _count(item, "tokenCount")) is not None
    ]
    return sum(found) if found else None
