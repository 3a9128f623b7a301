"""What a simulated provider has served, and the endpoints at which it tells so: OpenRouter's activity and generations,
OpenAI's organization usage and costs, Anthropic's usage and cost reports.

OpenRouter charges what its answers say; the other two charge CHARGED for every model, which is no price of theirs.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from polyroute.sandbox.errors import Refused
from polyroute.sandbox.exchange import Exchange, Frame, Json, Memory, Reply, Stream, Whole, json_reply

CHARGED = (1.0, 5.0)
"""Dollars for a million tokens of prompt and of answer."""

_KEPT = 20_000
_DAY = 86_400
KEPT = frozenset({"chat", "embed"})
"""Operations whose answers are written down."""
_KEEPS_RECORD = frozenset({"openrouter", "openai", "anthropic"})


class Served(msgspec.Struct):
    """One answer that was sent."""

    at: float
    model: str
    id: str
    prompt: int
    completion: int
    cached: int
    cost: float | None


class _Answer(msgspec.Struct):
    id: Any = None
    model: Any = None
    usage: Any = None
    response: Any = None
    message: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)


def keep_record(exchange: Exchange, reply: Whole | Stream) -> Whole | Stream:
    """The reply, which is written down when it is sent."""
    if exchange.profile.name not in _KEEPS_RECORD:
        return reply
    if isinstance(reply, Stream):
        return msgspec.structs.replace(reply, frames=_watched(exchange, reply.frames))
    if reply.content_type.startswith("application/json") and reply.status == 200:
        _note(exchange, [reply.body])
    return reply


def _watched(exchange: Exchange, frames: Iterator[Frame]) -> Iterator[Frame]:
    told: list[bytes] = []
    try:
        for frame in frames:
            if b'"usage"' in frame.data or not told:
                told += [line[5:] for line in frame.data.splitlines() if line.startswith(b"data:")]
            yield frame
    finally:
        _note(exchange, told)


def _note(exchange: Exchange, told: list[bytes]) -> None:
    identifier, usage = "", {}
    model = str(exchange.body.get("model") or exchange.groups.get("model") or "unknown")
    for data in told:
        try:
            answer = _ANSWER.decode(data)
        except (msgspec.DecodeError, ValueError):
            continue
        inner = next((part for part in (answer.response, answer.message) if isinstance(part, dict)), {})
        identifier = identifier or str(answer.id or inner.get("id") or "")
        for counted in (inner.get("usage"), answer.usage):
            if isinstance(counted, dict):
                usage.update(counted)
    if not usage:
        return
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    beside = sum(usage.get(name) or 0 for name in ("cache_read_input_tokens", "cache_creation_input_tokens"))
    served = Served(
        at=time.time(),
        model=model,
        id=identifier,
        prompt=(usage.get("prompt_tokens") or usage.get("input_tokens") or 0) + beside,
        completion=usage.get("completion_tokens") or usage.get("output_tokens") or 0,
        cached=details.get("cached_tokens") or usage.get("cache_read_input_tokens") or 0,
        cost=usage.get("cost"),
    )
    _record_of(exchange.memory).append(served)


def _record_of(memory: Memory) -> deque[Served]:
    record = memory.find("served", "record")
    if record is None:
        record = deque(maxlen=_KEPT)
        memory.keep("served", "record", record)
    found: deque[Served] = record
    return found


def _charged(served: Served) -> float:
    if served.cost is not None:
        return served.cost
    return (served.prompt * CHARGED[0] + served.completion * CHARGED[1]) / 1_000_000


def answer_generation(exchange: Exchange) -> Reply:
    """OpenRouter's `GET /generation?id=`."""
    wanted = exchange.query.get("id", "")
    served = next((one for one in reversed(_record_of(exchange.memory)) if one.id == wanted), None)
    if served is None:
        raise Refused("model_not_found", f"Generation {wanted} not found", status=404)
    row: Json = {
        "id": served.id,
        "model": served.model,
        "created_at": datetime.fromtimestamp(served.at, UTC).isoformat(),
    }
    row |= {"native_tokens_prompt": served.prompt, "native_tokens_completion": served.completion}
    row |= {
        "tokens_prompt": served.prompt,
        "tokens_completion": served.completion,
        "native_tokens_cached": served.cached,
    }
    row |= {"total_cost": _charged(served), "usage": _charged(served), "is_byok": False, "upstream_inference_cost": 0}
    return json_reply({"data": row})


def answer_activity(exchange: Exchange) -> Reply:
    """OpenRouter's `GET /activity`. The real one tells of days that are over; here today is told as well."""
    rows = []
    for (day, model), found in _by_day(exchange).items():
        rows.append({
            "date": day.date().isoformat(), "model": model, "model_permaslug": model, "endpoint_id": "sandbox",
            "provider_name": "Sandbox", "usage": sum(map(_charged, found)), "byok_usage_inference": 0,
            "requests": len(found), "prompt_tokens": sum(one.prompt for one in found),
            "completion_tokens": sum(one.completion for one in found), "reasoning_tokens": 0,
        })  # fmt: skip
    return json_reply({"data": rows})


def answer_openai_usage(exchange: Exchange) -> Reply:
    """`GET /organization/usage/completions`."""

    def row(model: str, found: list[Served]) -> list[Json]:
        return [{
            "object": "organization.usage.completions.result", "model": model, "num_model_requests": len(found),
            "input_tokens": sum(one.prompt for one in found), "output_tokens": sum(one.completion for one in found),
            "input_cached_tokens": sum(one.cached for one in found),
        }]  # fmt: skip

    return _page(exchange, row)


def answer_openai_costs(exchange: Exchange) -> Reply:
    """`GET /organization/costs`."""

    def rows(model: str, found: list[Served]) -> list[Json]:
        prompt = sum(one.prompt for one in found) * CHARGED[0] / 1_000_000
        completion = sum(one.completion for one in found) * CHARGED[1] / 1_000_000
        return [
            {"amount": {"value": value, "currency": "usd"}, "line_item": f"{model}, {kind}"}
            for kind, value in (("input", prompt), ("output", completion))
        ]

    return _page(exchange, rows)


def answer_anthropic_usage(exchange: Exchange) -> Reply:
    """`GET /v1/organizations/usage_report/messages`."""

    def row(model: str, found: list[Served]) -> list[Json]:
        prompt, cached = sum(one.prompt for one in found), sum(one.cached for one in found)
        created = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}
        counts = {
            "uncached_input_tokens": prompt - cached,
            "cache_read_input_tokens": cached,
            "cache_creation": created,
        }
        return [{"model": model, **counts, "output_tokens": sum(one.completion for one in found)}]

    return _page(exchange, row)


def answer_anthropic_costs(exchange: Exchange) -> Reply:
    """`GET /v1/organizations/cost_report`; in cents, as text."""

    def row(model: str, found: list[Served]) -> list[Json]:
        return [
            {"currency": "USD", "amount": str(sum(map(_charged, found)) * 100), "model": model, "description": model}
        ]

    return _page(exchange, row)


def _page(exchange: Exchange, rows: Any) -> Reply:
    days: dict[datetime, list[Json]] = defaultdict(list)
    for (day, model), found in _by_day(exchange).items():
        days[day] += rows(model, found)
    anthropic = exchange.profile.name == "anthropic"
    buckets = []
    for day, results in sorted(days.items()):
        end = day + timedelta(days=1)
        if anthropic:
            times: Json = {"starting_at": day.isoformat(), "ending_at": end.isoformat()}
        else:
            times = {"object": "bucket", "start_time": int(day.timestamp()), "end_time": int(end.timestamp())}
        buckets.append(times | {"results": results})
    return json_reply({"object": "page", "data": buckets, "has_more": False, "next_page": None})


def _by_day(exchange: Exchange) -> dict[tuple[datetime, str], list[Served]]:
    found: dict[tuple[datetime, str], list[Served]] = defaultdict(list)
    for one in _record_of(exchange.memory):
        day = datetime.fromtimestamp(one.at // _DAY * _DAY, UTC)
        found[day, one.model].append(one)
    return found
