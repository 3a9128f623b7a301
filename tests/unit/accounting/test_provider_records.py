"""Providers' own records, as their documentation has them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polyroute.accounting import provider_records as records
from polyroute.accounting.comparing import Consumption
from support.recordings import recordings_folder


def test_openrouters_activity_counts_what_was_spent_elsewhere() -> None:
    row = {
        "date": "2026-11-20", "model": "openai/gpt-4.1", "model_permaslug": "openai/gpt-4.1-2025-04-14", "usage": 0.015,
        "byok_usage_inference": 0.012, "requests": 5, "prompt_tokens": 50, "completion_tokens": 125, "reasoning_tokens": 25,
    }  # fmt: skip
    assert list(records.openrouter_activity({"data": [row]})) == [
        Consumption(
            day="2026-11-20", model="openai/gpt-4.1", requests=5, input_tokens=50, output_tokens=125,
            cost_usd=Decimal("0.027"),
        )
    ]  # fmt: skip


def test_a_recorded_generation_of_openrouter() -> None:
    folder = recordings_folder()
    if folder is None:
        pytest.skip("no recordings beside the project")
    [path] = (folder / "openrouter").glob("generation-info-*.json")
    body = records.decode_record(path.read_bytes())["response"]["body_json"]
    found = records.openrouter_generation(body)
    assert (found.day, found.model, found.input_tokens, found.output_tokens, found.cost_usd) == (
        "2025-12-28", "openai/gpt-4o-mini", 119, 13, Decimal("0.00002565"),
    )  # fmt: skip


def test_openais_buckets_of_usage_and_costs() -> None:
    bucket = {"start_time": 1795132800, "end_time": 1795219200}
    usage = {"model": "gpt-4o-mini-2024-07-18", "num_model_requests": 5, "input_tokens": 1000, "output_tokens": 500}
    [used] = records.openai_usage({"data": [{**bucket, "results": [usage]}]})
    assert (used.day, used.requests, used.input_tokens) == ("2026-11-20", 5, 1000)
    cost = {"amount": {"value": 0.06, "currency": "usd"}, "line_item": "gpt-4o-mini-2024-07-18, input"}
    [charged] = records.openai_costs({"data": [{**bucket, "results": [cost]}]})
    assert (charged.model, charged.requests, charged.cost_usd) == ("gpt-4o-mini-2024-07-18", None, Decimal("0.06"))


def test_anthropics_buckets_are_in_cents_and_add_the_cache() -> None:
    bucket = {"starting_at": "2026-11-20T00:00:00Z", "ending_at": "2026-11-21T00:00:00Z"}
    usage = {
        "model": "claude-sonnet-4-5", "uncached_input_tokens": 100, "cache_read_input_tokens": 20, "output_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
    }  # fmt: skip
    [used] = records.anthropic_usage({"data": [{**bucket, "results": [usage]}]})
    assert (used.day, used.input_tokens, used.output_tokens, used.requests) == ("2026-11-20", 127, 7, None)
    cost = {"amount": "123.45", "currency": "USD", "model": "claude-sonnet-4-5"}
    [charged] = records.anthropic_costs({"data": [{**bucket, "results": [cost]}]})
    assert charged.cost_usd == Decimal("1.2345")


def test_pages_end_where_there_is_no_more() -> None:
    assert records.next_page({"has_more": True, "next_page": "abc"}) == "abc"
    assert records.next_page({"has_more": False, "next_page": "abc"}) is None


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'"x"'])
def test_what_is_no_record_is_refused(body: bytes) -> None:
    with pytest.raises(records.NoRecordError):
        records.decode_record(body)


@pytest.mark.parametrize("document", [{}, {"data": None}, {"data": [{"results": [{}], "start_time": "later"}]}])
def test_rows_that_are_none_are_refused(document: dict[str, object]) -> None:
    with pytest.raises(records.NoRecordError):
        list(records.openai_usage(document))
