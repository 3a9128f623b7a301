"""Published price lists: each provider's own units, and nothing half known."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.catalog.published_prices import PRICE_LISTS, changes_of, read_price_list
from polyroute.types.usage import Price

DAY = date(2026, 11, 21)


def read(provider: str, document: Any) -> dict[str, Price]:
    return read_price_list(provider, msgspec.json.encode(document), DAY)


def test_openrouter_writes_dollars_a_token_with_tiers() -> None:
    told = {
        "prompt": "0.000003", "completion": "0.000015", "request": "0", "image": "0.0048", "web_search": "0.01",
        "input_cache_read": "0.0000003", "input_cache_write": "0.00000375", "input_cache_write_1h": "0.000006",
        "internal_reasoning": "0", "discount": 0,
        "overrides": [{"min_prompt_tokens": 200000, "prompt": "0.000006", "completion": "0.0000225"}],
    }  # fmt: skip
    price = read("openrouter", {"data": [{"id": "anthropic/claude", "pricing": told}]})["anthropic/claude"]
    assert (price.input, price.output, price.cache_read) == (Decimal(3), Decimal(15), Decimal("0.3"))
    assert (price.cache_write_5m, price.cache_write_1h) == (Decimal("3.75"), Decimal(6))
    assert (price.request, price.web_search) == (None, Decimal("0.01"))
    [(start, tier)] = price.tiers
    assert (start, tier.input, tier.output, tier.cache_read) == (200000, Decimal(6), Decimal("22.5"), Decimal("0.3"))
    assert price.version == "openrouter list of 2026-11-21"
    assert price.checked == DAY


@pytest.mark.parametrize(
    "told",
    [
        {"prompt": "-1", "completion": "-1"},
        {"prompt": "0.000001"},
        {"prompt": "0.000001", "completion": "0.000002", "internal_reasoning": "0.000005"},
        "free",
    ],
)
def test_what_varies_or_cannot_be_measured_is_left_out(told: Any) -> None:
    known = {"id": "known", "pricing": {"prompt": "0", "completion": "0"}}
    assert list(read("openrouter", {"data": [{"id": "odd", "pricing": told}, known]})) == ["known"]


def test_together_writes_dollars_a_million_and_0_for_unknown() -> None:
    prices = read(
        "together",
        [
            {"id": "a", "type": "chat", "pricing": {"hourly": 0, "input": 0.15, "output": 0.6, "base": 0}},
            {"id": "dedicated", "type": "chat", "pricing": {"input": 0, "output": 0}},
            {"id": "b-Free", "type": "chat", "pricing": {"input": 0, "output": 0}},
            {"id": "pictures", "type": "image", "pricing": {"input": 1, "output": 1}},
        ],
    )
    assert list(prices) == ["a", "b-Free"]
    assert (prices["a"].input, prices["a"].output) == (Decimal("0.15"), Decimal("0.6"))
    assert prices["b-Free"].input == 0


def test_aimlapi_writes_units_with_their_quantity() -> None:
    fixed = {"kind": "fixed", "currency": "USD"}
    prices = read(
        "aimlapi",
        {
            "data": [
                {"id": "chat", "pricing": {**fixed, "units": [
                    {"name": "input_tokens", "measure": "token", "price": 0.25, "per": 1000000},
                    {"name": "output_tokens", "measure": "token", "price": 0.002, "per": 1000}]}},
                {"id": "image", "pricing": {**fixed, "units": [{"name": "images", "measure": "image", "price": 0.033}]}},
                {"id": "odd", "pricing": {**fixed, "units": [{"name": "steps", "measure": "step", "price": 1}]}},
                {"id": "varies", "pricing": {"kind": "variable"}},
            ]
        },
    )  # fmt: skip
    assert list(prices) == ["chat", "image"]
    assert (prices["chat"].input, prices["chat"].output) == (Decimal("0.25"), Decimal(2))
    assert prices["image"].image == Decimal("0.033")


def test_xai_writes_ticks_a_token_and_aliases() -> None:
    row = {
        "id": "grok-4", "aliases": ["grok-4-latest"], "prompt_text_token_price": 30000,
        "cached_prompt_text_token_price": 7500, "completion_text_token_price": 150000,
    }  # fmt: skip
    prices = read("xai", {"models": [row]})
    assert list(prices) == ["grok-4", "grok-4-latest"]
    assert (prices["grok-4"].input, prices["grok-4"].cache_read, prices["grok-4"].output) == (
        Decimal(3), Decimal("0.75"), Decimal(15),
    )  # fmt: skip


@pytest.mark.parametrize("provider", PRICE_LISTS)
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"data": []}', b'{"data": [{"id": "x"}]}', b"null"])
def test_what_is_no_list_is_refused(provider: str, body: bytes) -> None:
    with pytest.raises(ValueError, match=provider):
        read_price_list(provider, body, DAY)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "models", "id", "pricing", "units", "prompt", "completion"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(provider=st.sampled_from(list(PRICE_LISTS)), document=json_values)
def test_nonsense_is_a_value_error_or_prices_that_are_not_below_zero(provider: str, document: Any) -> None:
    try:
        prices = read(provider, document)
    except ValueError:
        return
    for price in prices.values():
        assert price.input is None or price.input >= 0


def test_changes_name_what_is_otherwise_tiers_included() -> None:
    now = Price(version="a", input=Decimal(1), output=Decimal(2), tiers=((10, Price(version="a", input=Decimal(3))),))
    then = Price(version="b", input=Decimal(1), output=Decimal(4), tiers=((10, Price(version="b", input=Decimal(5))),))
    assert [(change.rate, change.now, change.then) for change in changes_of("m", now, then)] == [
        ("output", Decimal(2), Decimal(4)),
        ("input from 10", Decimal(3), Decimal(5)),
    ]
    assert not list(changes_of("m", now, msgspec.structs.replace(now, version="c")))
    assert [change.now for change in changes_of("m", None, now)] == [None, None, None]
