"""Cost: additive, never negative, nothing twice, and unknown rather than zero."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.pricing import COST_SCALE, cost_of, exact_cost, priced_cost
from polyroute.types.usage import Cost, Price, Usage, scaled

BUCKETS = (
    "input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_input",
    "audio_output",
    "image_input",
    "image_output",
)
counts = st.none() | st.integers(0, 10_000_000)
rates = st.decimals(0, 1000, places=4)
usages = st.builds(Usage, **dict.fromkeys(BUCKETS, counts))
full_prices = st.builds(Price, version=st.just("v"), **{name: rates for name in BUCKETS if name != "reasoning"})

FULL = Price(
    version="v 1",
    input=Decimal(2),
    cache_read=Decimal("0.5"),
    cache_write_5m=Decimal("2.5"),
    cache_write_1h=Decimal(4),
    output=Decimal(8),
    audio_input=Decimal(40),
    audio_output=Decimal(80),
    image_input=Decimal(10),
    image_output=Decimal(30),
)


@settings(max_examples=100, deadline=None)
@given(usage=usages, price=full_prices)
def test_the_whole_is_the_sum_of_its_buckets(usage: Usage, price: Price) -> None:
    known = {name: getattr(usage, name) for name in BUCKETS if getattr(usage, name) is not None}
    whole = exact_cost(usage, price)
    if not known:
        assert whole is None
        return
    parts = [exact_cost(Usage(**{name: count}), price) for name, count in known.items()]
    assert whole == sum(part for part in parts if part is not None)


@settings(max_examples=100, deadline=None)
@given(usage=usages, price=full_prices)
def test_a_cost_is_never_negative_and_is_rounded_once(usage: Usage, price: Price) -> None:
    cost, exact = cost_of(usage, price), exact_cost(usage, price)
    if cost is None:
        assert exact is None
        return
    assert exact is not None
    assert cost.usd >= 0
    assert abs(cost.usd - exact) <= Decimal(5).scaleb(-COST_SCALE - 1)
    assert -cost.usd.as_tuple().exponent == COST_SCALE  # type: ignore[operator]  # finite, so an integer


@settings(max_examples=60, deadline=None)
@given(total=st.integers(0, 1_000_000), share=st.integers(0, 1_000_000))
def test_a_cached_token_is_charged_once_and_for_less(total: int, share: int) -> None:
    cached = min(share, total)
    split = exact_cost(Usage(input=total - cached, cache_read=cached, output=0), FULL)
    assert split == (Decimal(2) * (total - cached) + Decimal("0.5") * cached) / 1_000_000


@pytest.mark.parametrize("bucket", BUCKETS)
def test_a_bucket_that_was_used_and_has_no_rate_makes_the_cost_unknown(bucket: str) -> None:
    rate = "output" if bucket == "reasoning" else bucket
    price = msgspec.structs.replace(FULL, **{rate: None})
    values: dict[str, Any] = {"input": 10, "output": 10} | {bucket: 1}
    assert cost_of(Usage(**values), price) is None
    assert cost_of(Usage(**values), FULL) is not None
    values[bucket] = 0
    if bucket != "reasoning":
        assert cost_of(Usage(**values), price) is not None


def test_nothing_known_is_unknown_and_nothing_used_is_free() -> None:
    assert cost_of(Usage(), FULL) is None
    assert cost_of(Usage(input=5), None) is None
    free = cost_of(Usage(input=0, output=0), FULL)
    assert free is not None
    assert free.usd == 0


def test_what_the_provider_reports_wins() -> None:
    cost = cost_of(Usage(input=5, output=5, reported_cost_usd=Decimal("0.000123456789012")), FULL)
    assert cost is not None
    assert (cost.usd, cost.origin, cost.price_version) == (Decimal("0.0001234568"), "reported", None)
    assert cost_of(Usage(reported_cost_usd=Decimal(0)), None) is not None


def test_an_estimated_usage_gives_an_estimated_cost() -> None:
    cost = cost_of(Usage(input=1_000_000, output=0, estimated=True), FULL)
    assert cost is not None
    assert (cost.usd, cost.origin, cost.price_version) == (Decimal(2), "estimated", "v 1")


def test_a_tier_charges_the_whole_request() -> None:
    price = Price(
        version="v",
        input=Decimal(1),
        output=Decimal(1),
        tiers=((200_001, Price(version="v", input=Decimal(2), output=Decimal(3), cache_read=Decimal(1))),),
    )
    assert exact_cost(Usage(input=200_000, output=1_000_000), price) == Decimal("1.2")
    assert exact_cost(Usage(input=100_001, cache_read=100_000, output=1_000_000), price) == Decimal("3.300002")


def test_a_fee_for_the_request_comes_on_top() -> None:
    price = Price(version="v", input=Decimal(1), output=Decimal(1), request=Decimal("0.012"))
    assert exact_cost(Usage(input=1_000_000, output=0), price) == Decimal("1.012")


def test_units_are_charged_where_tokens_are_not() -> None:
    assert exact_cost(Usage(seconds=90.5), Price(version="v", second=Decimal("0.0001"))) == Decimal("0.00905")
    assert exact_cost(Usage(characters=200, seconds=12.0), Price(version="v", character=Decimal("0.000015"))) == (
        Decimal("0.003")
    )
    assert exact_cost(Usage(characters=200), Price(version="v", second=Decimal(1))) is None
    # A model charged by tokens that also tells its seconds is not charged twice.
    assert exact_cost(Usage(audio_input=1_000_000, seconds=60.0, output=0), FULL) == Decimal(40)


IMAGES = Price(
    version="v",
    images=(
        ("1024x1024", "high", Decimal("0.2")),
        ("1024x1024", None, Decimal("0.05")),
        (None, "low", Decimal("0.01")),
    ),
)


@pytest.mark.parametrize(
    ("size", "quality", "expected"),
    [
        ("1024x1024", "high", Decimal("0.6")),
        ("1024x1024", "medium", Decimal("0.15")),
        ("1024x1024", None, Decimal("0.15")),
        ("2048x2048", "low", Decimal("0.03")),
        ("2048x2048", "high", None),
        (None, None, None),
    ],
)
def test_images_are_charged_by_size_and_quality(
    size: str | None, quality: str | None, expected: Decimal | None
) -> None:
    assert exact_cost(Usage(images=3, image_size=size, image_quality=quality), IMAGES) == expected


def test_image_tokens_that_were_not_told_apart_are_not_charged_as_text() -> None:
    price = msgspec.structs.replace(FULL, images=IMAGES.images)
    apart = Usage(images=1, input=0, image_input=0, output=0, image_output=1_000_000)
    assert exact_cost(apart, price) == Decimal(30)
    mixed = Usage(images=1, input=10, output=1_000_000, image_size="1024x1024", image_quality="high")
    assert exact_cost(mixed, price) == Decimal("0.2")
    assert exact_cost(mixed, FULL) is None


# ---------------------------------------------------------------- what is charged beside tokens


def test_megapixels_are_charged_where_images_have_no_price_of_their_own() -> None:
    price = Price(version="v", megapixel=Decimal("0.025"))
    assert exact_cost(Usage(images=2, megapixels=2.0), price) == Decimal("0.05")
    both = msgspec.structs.replace(price, image=Decimal("0.1"))
    assert exact_cost(Usage(images=2, megapixels=2.0), both) == Decimal("0.2")


@pytest.mark.parametrize(("size", "expected"), [("720p", "0.70"), ("1080p", "1.40"), ("4k", "0.50"), (None, "0.50")])
def test_seconds_of_video_are_charged_by_their_size(size: str | None, expected: str) -> None:
    videos = (("720p", None, Decimal("0.07")), ("1080p", None, Decimal("0.14")))
    price = Price(version="v", videos=videos, video_second=Decimal("0.05"))
    assert exact_cost(Usage(video_seconds=10.0, video_size=size), price) == Decimal(expected)


def test_video_without_a_price_for_its_size_is_unknown() -> None:
    price = Price(version="v", videos=(("720p", None, Decimal("0.07")),))
    assert exact_cost(Usage(video_seconds=10.0, video_size="8k"), price) is None


def test_compute_time_is_charged_by_hardware() -> None:
    price = Price(version="v", compute=(("gpu-t4", Decimal("0.000225")), ("gpu-h100", Decimal("0.001525"))))
    assert exact_cost(Usage(compute_seconds=4.0, hardware="gpu-h100"), price) == Decimal("0.0061")
    assert exact_cost(Usage(compute_seconds=4.0, hardware="tpu"), price) is None


def test_a_price_for_each_run_is_all_that_some_models_have() -> None:
    price = Price(version="v", request=Decimal("0.08"))
    assert exact_cost(Usage(seconds=30.0), price) == Decimal("0.08")
    assert exact_cost(Usage(requests=3), price) == Decimal("0.24")
    with_tokens = Price(version="v", request=Decimal("0.005"), input=Decimal(1), output=Decimal(1))
    assert exact_cost(Usage(), with_tokens) is None


def test_credits_are_reported_cost_at_a_dated_rate() -> None:
    cost = cost_of(Usage(video_seconds=5.0, reported_credits=Decimal(60)), Price(version="v 1", credit=Decimal("0.01")))
    assert cost is not None
    assert (cost.usd, cost.origin, cost.price_version) == (Decimal("0.6"), "reported", "v 1")
    assert cost_of(Usage(reported_credits=Decimal(60)), Price(version="v")) is None


def test_a_service_tier_multiplies_and_an_unknown_one_is_unknown() -> None:
    price = Price(version="v", input=Decimal(2), output=Decimal(8), factors=(("batch", Decimal("0.5")),))
    usage = Usage(input=1_000_000, output=1_000_000)
    assert exact_cost(usage, price) == 10
    assert exact_cost(msgspec.structs.replace(usage, tier="batch"), price) == 5
    assert exact_cost(msgspec.structs.replace(usage, tier="priority"), price) is None


def test_reported_money_does_not_hide_what_the_table_says() -> None:
    usage = Usage(input=1_000_000, output=0, reported_cost_usd=Decimal("2.2"))
    assert cost_of(usage, FULL) == Cost(Decimal("2.2"), "reported")
    assert priced_cost(usage, FULL) == Cost(Decimal(2), "priced", "v 1")


def test_a_scaled_rate_card_scales_everything() -> None:
    price = Price(
        version="v", input=Decimal(1), output=Decimal(2), images=((None, "low", Decimal("0.01")),),
        tiers=((200_001, Price(version="v", input=Decimal(2), output=Decimal(4))),),
    )  # fmt: skip
    dear = scaled(price, Decimal("1.05"), "v, x 1.05")
    for usage in (Usage(input=100, output=10), Usage(input=300_000, output=10)):
        before, after = exact_cost(usage, price), exact_cost(usage, dear)
        assert before is not None
        assert after == before * Decimal("1.05")
    assert dear.images[0][2] == Decimal("0.0105")
    assert dear.version == "v, x 1.05"


def test_searches_of_the_web_come_on_top_and_without_a_rate_make_the_cost_unknown() -> None:
    price = Price(version="v", input=Decimal(3), output=Decimal(15), web_search=Decimal("0.01"))
    usage = Usage(input=1_000_000, output=0, web_searches=2)
    assert exact_cost(usage, price) == Decimal("3.02")
    assert exact_cost(usage, msgspec.structs.replace(price, web_search=None)) is None


def test_tokens_that_are_billed_are_charged_where_others_were_counted() -> None:
    price = Price(version="v", input=Decimal(1), output=Decimal(2), cache_read=Decimal("0.1"))
    usage = Usage(input=134, cache_read=480, output=13, charged_input=12, charged_output=10)
    assert exact_cost(usage, price) == Decimal("0.000032")


def test_the_tier_is_named_with_the_price() -> None:
    price = Price(version="v", input=Decimal(2), output=Decimal(8), factors=(("flex", Decimal("0.5")),))
    cost = cost_of(Usage(input=1_000_000, output=0, tier="flex"), price)
    assert cost == Cost(Decimal(1), "priced", "v, flex x 0.5")
