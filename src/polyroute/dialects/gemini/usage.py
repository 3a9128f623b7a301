"""Usage between Gemini's record and ours: its prompt count includes cached tokens, its candidates' count leaves thoughts
out, and modalities are told in details."""

from __future__ import annotations

from typing import Any

from polyroute.types.usage import Usage


def parse_usage(raw: dict[str, Any]) -> Usage:
    """A `usageMetadata` record, merged over the stream where there is one."""
    prompt, cached = _count(raw, "promptTokenCount"), _count(raw, "cachedContentTokenCount")
    heard = _uncached(raw, "AUDIO")  # pictures in a prompt are charged as text
    spoken, drawn = (
        _modality(raw, "candidatesTokensDetails", "AUDIO"),
        _modality(raw, "candidatesTokensDetails", "IMAGE"),
    )
    uncached = None
    if prompt is not None:
        uncached = max(0, prompt - (cached or 0) - (heard or 0)) + (_count(raw, "toolUsePromptTokenCount") or 0)
    output = _count(raw, "candidatesTokenCount")
    if output is not None:
        output = max(0, output - (spoken or 0) - (drawn or 0))
    return Usage(
        input=uncached, cache_read=cached, audio_input=heard, output=output, audio_output=spoken,
        image_output=drawn, reasoning=_count(raw, "thoughtsTokenCount"), raw=raw,
    )  # fmt: skip


def _uncached(raw: dict[str, Any], modality: str) -> int | None:
    told = _modality(raw, "promptTokensDetails", modality)
    if told is None:
        return None
    return told - min(told, _modality(raw, "cacheTokensDetails", modality) or 0)


def render_usage(usage: Usage) -> dict[str, Any]:
    """A `usageMetadata` record; unknown counts are left out."""
    prompt, total = usage.input_total, usage.output_total
    made = [count for count in (usage.output, usage.audio_output, usage.image_output) if count is not None]
    output = sum(made) if made else None
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
    details = [
        {"modality": modality, "tokenCount": count}
        for modality, count in (("AUDIO", usage.audio_output), ("IMAGE", usage.image_output))
        if count is not None
    ]
    if details:
        record["candidatesTokensDetails"] = details
    return {name: value for name, value in record.items() if value is not None}


def _count(raw: dict[str, Any], name: str) -> int | None:
    value = raw.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _modality(raw: dict[str, Any], name: str, modality: str) -> int | None:
    """One modality's tokens in a list of counts by modality."""
    details = raw.get(name)
    found = [
        count
        for item in (details if isinstance(details, list) else ())
        if isinstance(item, dict)
        and item.get("modality") == modality
        and (count := _count(item, "tokenCount")) is not None
    ]
    return sum(found) if found else None
