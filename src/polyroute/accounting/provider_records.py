"""The records that providers keep of what they served, as their endpoints tell them; pure.

Sources: OpenRouter's activity and generation endpoints, OpenAI's organization usage and costs, Anthropic's usage and cost
reports, as documented in November 2026.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from polyroute.accounting.comparing import Consumption

_CENTS = Decimal(100)


class NoRecordError(ValueError):
    """What came is no such record."""


def decode_record(body: bytes) -> dict[str, Any]:
    """The JSON object of an answer. Raises NoRecordError."""
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise NoRecordError(f"the provider's record is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise NoRecordError("the provider's record is no JSON object")
    return document


def next_page(document: dict[str, Any]) -> str | None:
    """The cursor of the next page of OpenAI's and Anthropic's reports; None at the end."""
    page = document.get("next_page")
    return page if document.get("has_more") and isinstance(page, str) else None


def openrouter_activity(document: dict[str, Any]) -> Iterator[Consumption]:
    """A day, model and upstream endpoint in each row; what was spent at a provider of one's own counts with it."""
    for row in _rows(document.get("data")):
        usage, own = _money(row.get("usage")), _money(row.get("byok_usage_inference"))
        yield Consumption(
            day=str(row.get("date", ""))[:10],
            model=str(row.get("model") or row.get("model_permaslug") or ""),
            requests=_count(row.get("requests")),
            input_tokens=_count(row.get("prompt_tokens")),
            output_tokens=_count(row.get("completion_tokens")),
            cost_usd=usage if own is None or usage is None else usage + own,
        )


def openrouter_generation(document: dict[str, Any]) -> Consumption:
    """One request, in the model's own tokens. Raises NoRecordError."""
    row = document.get("data")
    if not isinstance(row, dict) or "id" not in row:
        raise NoRecordError("OpenRouter's answer holds no generation")
    cost, upstream = _money(row.get("total_cost")), _money(row.get("upstream_inference_cost"))
    return Consumption(
        day=_day(row.get("created_at")),
        model=str(row.get("model", "")),
        id=str(row["id"]),
        input_tokens=_count(row.get("native_tokens_prompt", row.get("tokens_prompt"))),
        output_tokens=_count(row.get("native_tokens_completion", row.get("tokens_completion"))),
        cost_usd=cost + upstream if row.get("is_byok") and cost is not None and upstream is not None else cost,
    )


def openai_usage(document: dict[str, Any]) -> Iterator[Consumption]:
    """Buckets of a day, by model; its input includes cached and audio tokens."""
    for day, row in _buckets(document, "start_time"):
        yield Consumption(
            day=day,
            model=str(row.get("model") or "unknown"),
            requests=_count(row.get("num_model_requests")),
            input_tokens=_count(row.get("input_tokens")),
            output_tokens=_count(row.get("output_tokens")),
        )


def openai_costs(document: dict[str, Any]) -> Iterator[Consumption]:
    """Buckets of a day, by line item: `gpt-4o-mini-2024-07-18, input`."""
    for day, row in _buckets(document, "start_time"):
        amount = row.get("amount")
        value = _money(amount.get("value")) if isinstance(amount, dict) else None
        item = str(row.get("line_item") or "unknown").partition(",")[0].strip()
        yield Consumption(day=day, model=item, requests=None, cost_usd=value)


def anthropic_usage(document: dict[str, Any]) -> Iterator[Consumption]:
    """Buckets of a day, by model; requests are not told."""
    for day, row in _buckets(document, "starting_at"):
        created = row.get("cache_creation")
        parts = [row.get("uncached_input_tokens"), row.get("cache_read_input_tokens")]
        parts += list(created.values()) if isinstance(created, dict) else [row.get("cache_creation_input_tokens")]
        counts = [count for part in parts if (count := _count(part)) is not None]
        yield Consumption(
            day=day,
            model=str(row.get("model") or "unknown"),
            requests=None,
            input_tokens=sum(counts) if counts else None,
            output_tokens=_count(row.get("output_tokens")),
        )


def anthropic_costs(document: dict[str, Any]) -> Iterator[Consumption]:
    """Buckets of a day, by description and model; amounts are in cents, as text."""
    for day, row in _buckets(document, "starting_at"):
        cents = _money(row.get("amount"))
        yield Consumption(
            day=day, model=str(row.get("model") or row.get("description") or "unknown"), requests=None,
            cost_usd=None if cents is None else cents / _CENTS,
        )  # fmt: skip


def _buckets(document: dict[str, Any], begins: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for bucket in _rows(document.get("data")):
        for row in _rows(bucket.get("results")):
            yield _day(bucket.get(begins)), row


def _rows(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise NoRecordError("the provider's record has no list of rows where one was due")
    return [row for row in value if isinstance(row, dict)]


def _day(moment: Any) -> str:
    if isinstance(moment, int | float):
        return datetime.fromtimestamp(moment, UTC).date().isoformat()
    try:
        parsed = datetime.fromisoformat(str(moment))
    except ValueError as error:
        raise NoRecordError(f"the provider's record has {str(moment)[:40]!r} for a time") from error
    return (parsed.astimezone(UTC) if parsed.tzinfo is not None else parsed).date().isoformat()


def _count(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value)


def _money(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        return None
    return amount if amount.is_finite() else None
