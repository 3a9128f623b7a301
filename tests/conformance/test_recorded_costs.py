"""Cost of real recorded usage, provider by provider: what the provider itself reported, else what an independent
calculation (genai-prices reading the raw answer by its own rules) comes to.

Run with `-s` for the count of recordings by provider.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import Any

import genai_prices
import msgspec
import pytest
from genai_prices import extract_usage

from polyroute.catalog.prices import CatalogPrices
from polyroute.catalog.token_prices import PROVIDERS, extract, write_snapshot
from polyroute.dialects.media import observe_json
from polyroute.dialects.openai_chat.observer import ChatObserver
from polyroute.dialects.registry import codec
from polyroute.engine.observe import ParserObserver, WholeObserver
from polyroute.ports import Observation
from polyroute.pricing import cost_of, priced_cost
from polyroute.types.errors import AttemptFailed
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage
from support.recordings import Recording, recordings, recordings_folder

DIALECTS = (
    "openai_chat", "openai_responses", "anthropic_messages", "gemini", "bedrock_converse", "cohere_v2", "ollama",
    "openai_embeddings",
)  # fmt: skip
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
OURS = {"vertex": "google"}
"""Recorded under another name than ours."""
TOLERANCE = Decimal("0.001")
TICKS = 10_000_000_000
MEDIA = {
    "image": "openai_images", "image_edit": "openai_image_edits", "transcription": "openai_transcriptions",
}  # fmt: skip
OPENAI_LIKE = frozenset({"openai", "openrouter", "xai", "together", "nebius", "mistral", "groq"})
"""Whose image and transcription answers have OpenAI's shape."""

FLAVOURS = {
    "openai_chat": ("chat", "default"),
    "openai_responses": ("responses", "default"),
    "anthropic_messages": ("default", "anthropic"),
    "gemini": ("default",),
    "bedrock_converse": ("default",),
    "cohere_v2": ("default", "tokens"),
    "openai_embeddings": ("embeddings",),
    "openai_images": ("images",),
    "openai_image_edits": ("images",),
}
"""How genai-prices reads each dialect, where it knows the provider."""


@cache
def book() -> CatalogPrices:
    path = Path(tempfile.mkdtemp(prefix="polyroute-test-")) / "snapshot"
    write_snapshot(extract(), path)
    return CatalogPrices(path, clock=NOW.timestamp)


def observed(recording: Recording) -> Usage | None:
    """Usage as the gateway reads it on its way through."""
    dialect, seen = Dialect(recording.dialect), Observation()
    try:
        if recording.dialect == "openai_embeddings" or recording.dialect in MEDIA.values():
            observe_json(dialect, recording.body, seen)
            return seen.usage
        if not recording.stream:
            observer = WholeObserver(dialect, seen)
            observer.feed(recording.body)
            observer.end()
            return observer.seen.usage
        reader = ChatObserver(seen, False) if dialect is Dialect.OPENAI_CHAT else ParserObserver(
            codec(dialect).parser(), seen, dialect
        )  # fmt: skip
        reader.feed(recording.body)
        reader.end()
    except AttemptFailed:
        return None
    return seen.usage


def documents(recording: Recording) -> list[dict[str, Any]]:
    """The JSON objects of an answer, events in their order."""
    if not recording.stream:
        value = json.loads(recording.body)
        return [value] if isinstance(value, dict) else list(value)
    found = []
    for line in recording.body.decode("utf-8", "replace").splitlines():
        data = line.removeprefix("data:").strip()
        if data.startswith("{"):
            found.append(json.loads(data))
    return found


def reported_cost(recording: Recording) -> Decimal | None:
    """What the provider says in so many words, found without our reading of the dialect."""
    last = None
    for document in documents(recording):
        inner = document.get("response") if isinstance(document.get("response"), dict) else document
        usage = inner.get("usage")
        if not isinstance(usage, dict):
            continue
        if isinstance(cost := usage.get("cost"), dict):
            last = Decimal(str(cost["total_cost"]))
        elif cost is not None:
            last = Decimal(str(cost))
            upstream = (usage.get("cost_details") or {}).get("upstream_inference_cost")
            if usage.get("is_byok") and upstream:
                last += Decimal(str(upstream))
        elif "cost_in_usd_ticks" in usage:
            last = Decimal(usage["cost_in_usd_ticks"]) / TICKS
    return last


def whole_answer(recording: Recording) -> dict[str, Any] | None:
    """The answer as one document with the last usage that was told, for genai-prices, which reads no streams."""
    merged: dict[str, Any] = {}
    for document in documents(recording):
        inner = document
        for name in ("response", "message"):
            if isinstance(document.get(name), dict) and "usage" in document[name]:
                inner = document[name]
        if isinstance(inner.get("usageMetadata"), dict):
            merged["usageMetadata"] = {**merged.get("usageMetadata", {}), **inner["usageMetadata"]}
        for name in ("model", "modelVersion", "id", "object", "service_tier"):
            if inner.get(name) is not None:
                merged[name] = inner[name]
        usage = inner.get("usage") or (inner.get("x_groq") or {}).get("usage")
        if isinstance(usage, dict):
            merged["usage"] = {**merged.get("usage", {}), **{k: v for k, v in usage.items() if v is not None}}
    return merged if "usage" in merged or "usageMetadata" in merged else None


def model_of(recording: Recording, document: dict[str, Any]) -> str | None:
    """The model that answered, or was asked for where the answer does not say."""
    named = document.get("model") or document.get("modelVersion") or (recording.request or {}).get("model")
    if named is None and (folder := recordings_folder()) is not None:
        named = json.loads((folder / f"{recording.id}.json").read_text("utf-8")).get("model")
    return named if isinstance(named, str) else None


def counted_by_hand(recording: Recording, document: dict[str, Any]) -> genai_prices.Usage | None:
    """What the plainest reading of the documented fields gives, where genai-prices has no rules for the dialect."""
    usage = document.get("usage") or {}
    match recording.dialect:
        case "openai_chat":
            cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or usage.get("num_cached_tokens")
            return genai_prices.Usage(
                input_tokens=usage["prompt_tokens"], output_tokens=usage["completion_tokens"],
                cache_read_tokens=cached or 0,
            )  # fmt: skip
        case "openai_responses":
            cached = (usage.get("input_tokens_details") or {}).get("cached_tokens") or 0
            return genai_prices.Usage(
                input_tokens=usage["input_tokens"], output_tokens=usage["output_tokens"], cache_read_tokens=cached
            )
        case "openai_embeddings":
            counted = usage.get("prompt_tokens", usage.get("total_tokens"))
            return genai_prices.Usage(input_tokens=counted, output_tokens=0)
        case "cohere_v2":
            tokens = usage.get("tokens") or {}
            return genai_prices.Usage(input_tokens=tokens["input_tokens"], output_tokens=tokens["output_tokens"])
        case "bedrock_converse":
            return genai_prices.Usage(input_tokens=usage["inputTokens"], output_tokens=usage["outputTokens"])
    return None


READ_BY_HAND = frozenset({"mistral"})
"""Providers whose rules in genai-prices miss a field: Mistral's `num_cached_tokens`."""
NO_RATE = frozenset({"openai/chat-audio-as-binary-content-input"})
"""Recordings that use what no table has a rate for: genai-prices charges those audio tokens as text, for us it is unknown."""


def provider_of(recording: Recording) -> str:
    return recording.id.partition("/")[0]


def answers() -> Iterator[Recording]:
    for dialect in DIALECTS:
        yield from (one for one in recordings(dialect) if one.status < 400 and one.body)
    yield from media_answers()


def media_answers() -> Iterator[Recording]:
    """Whole JSON answers of OpenAI's image and transcription paths."""
    folder = recordings_folder()
    lines = [] if folder is None else (folder / "index.jsonl").read_text("utf-8").splitlines()
    for row in map(json.loads, lines):
        dialect = MEDIA.get(row["operation"])
        if dialect is None or row["stream"] or row["provider"] not in OPENAI_LIKE or folder is None:
            continue
        raw = json.loads((folder / row["path"]).read_text("utf-8"))
        body = raw["response"].get("body_json")
        if raw["response"]["status"] < 400 and isinstance(body, dict):
            sent = raw["request"].get("body_json")
            yield Recording(
                id=row["id"], dialect=dialect, operation=row["operation"], stream=False, status=200,
                request=sent if isinstance(sent, dict) else None, body=json.dumps(body).encode(),
            )  # fmt: skip


@cache
def by_provider() -> dict[str, list[tuple[Recording, Usage]]]:
    found: dict[str, list[tuple[Recording, Usage]]] = defaultdict(list)
    for recording in answers():
        usage = observed(recording)
        if usage is not None:
            found[provider_of(recording)].append((recording, usage))
    return found


def independent_cost(recording: Recording) -> tuple[Decimal, str] | None:
    """What genai-prices makes of the raw answer by its own rules, and for which model; None where it has no rules or no
    price for it."""
    provider = provider_of(recording)
    theirs = PROVIDERS.get(OURS.get(provider, provider))
    document = whole_answer(recording) if theirs is not None else None
    model = None if document is None else model_of(recording, document)
    if document is None or model is None:
        return None
    readings: list[Callable[[], Any]] = [
        partial(_extracted, document, theirs, flavour) for flavour in FLAVOURS.get(recording.dialect, ())
    ]
    by_hand = partial(counted_by_hand, recording, document)
    for read in [by_hand] if provider in READ_BY_HAND else [*readings, by_hand]:
        try:
            usage = read()
            if usage is None:
                continue
            cost = genai_prices.calc_price(usage, model, provider_id=theirs, genai_request_timestamp=NOW)
        except (LookupError, ValueError, TypeError):
            continue
        return cost.total_price, model
    return None


def _extracted(document: dict[str, Any], provider: str, flavour: str) -> Any:
    return extract_usage(document, provider_id=provider, api_flavor=flavour).usage


PROVIDERS_RECORDED = sorted({provider_of(recording) for recording in answers()})
WHERE = pytest.mark.parametrize(
    "provider",
    PROVIDERS_RECORDED or [pytest.param("none", marks=pytest.mark.skip(reason="no recordings beside the project"))],
)


@WHERE
def test_cost_is_what_the_provider_reported_or_what_others_calculate(provider: str) -> None:
    outcome: Counter[str] = Counter()
    wrong = []
    for recording, usage in by_provider().get(provider, []):
        reported = reported_cost(recording)
        if reported is not None:
            cost = cost_of(usage, None)
            if cost is None or abs(cost.usd - reported) > reported * TOLERANCE:
                wrong.append((recording.id, "reported", reported, cost))
            outcome["reported"] += 1
            continue
        independent = independent_cost(recording)
        if independent is None:
            outcome["no independent price"] += 1
            continue
        expected, model = independent
        price = book().price(OURS.get(provider, provider), model)
        priced = priced_cost(usage, price)
        if priced is None and (expected == 0 or recording.id in NO_RATE):
            outcome["unknown"] += 1  # a model without any rate is not free
            continue
        if priced is None or abs(priced.usd - expected) > max(expected * TOLERANCE, Decimal("1e-10")):
            wrong.append((recording.id, model, expected, priced, msgspec.structs.replace(usage, raw=None)))
        outcome["calculated"] += 1
    sys.stdout.write(f"\n{provider}: {dict(outcome)}")
    assert not wrong


def test_enough_was_compared() -> None:
    if recordings_folder() is None:
        pytest.skip("no recordings beside the project")
    reported = calculated = 0
    for found in by_provider().values():
        for recording, _ in found:
            if reported_cost(recording) is not None:
                reported += 1
            elif independent_cost(recording) is not None:
                calculated += 1
    assert reported >= 30
    assert calculated >= 100


@WHERE
def test_what_nobody_prices_is_unknown_and_never_nothing(provider: str) -> None:
    for recording, usage in by_provider().get(provider, []):
        if provider in PROVIDERS or provider in OURS or reported_cost(recording) is not None:
            continue
        assert cost_of(usage, book().price(provider, "some-model")) is None
