"""The most that a request may cost is never less than what it costs."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.engine.bounds import Extent, Limits, measure_request, most_it_costs
from polyroute.pricing import exact_cost
from polyroute.types.operations import Dialect, Operation
from polyroute.types.usage import Price, Usage

RATES = st.decimals(min_value=0, max_value=100, places=3)
PRICE = Price(
    version="test", input=Decimal(2), output=Decimal(10), cache_write_5m=Decimal("2.5"), cache_read=Decimal(1)
)


def chat(text: str, dialect: Dialect = Dialect.OPENAI_CHAT, **fields: object) -> Extent:
    body = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": text}], **fields})
    return measure_request(Operation.CHAT, dialect, msgspec.json.decode(body, type=dict[str, msgspec.Raw]), body)


@settings(max_examples=100, deadline=None)
@given(
    text=st.text(max_size=300), limit=st.integers(1, 5000), choices=st.integers(1, 4), used=st.data(),
    rates=st.fixed_dictionaries(dict.fromkeys(("input", "output", "cache_read", "cache_write_5m"), RATES)),
)  # fmt: skip
def test_no_chat_within_its_limits_costs_more(
    text: str, limit: int, choices: int, used: st.DataObject, rates: dict[str, Decimal]
) -> None:
    rates["cache_read"] = min(rates["cache_read"], rates["input"])
    price = Price(version="test", **rates)
    bound = most_it_costs(chat(text, max_tokens=limit, n=choices), price, Limits(), 10)
    # At worst every byte of the text is a token, and a few surround it; the prompt is read, written or neither.
    prompt = used.draw(st.integers(0, len(text.encode()) + 40))
    cached = used.draw(st.integers(0, prompt))
    written = used.draw(st.integers(0, prompt - cached))
    answer = used.draw(st.integers(0, limit * choices))
    hidden = used.draw(st.integers(0, answer))
    usage = Usage(
        input=prompt - cached - written,
        cache_read=cached,
        cache_write_5m=written,
        output=answer - hidden,
        reasoning=hidden,
    )
    cost = exact_cost(usage, price)
    assert cost is not None
    assert bound is not None
    assert cost <= bound


def test_the_answers_limit_is_the_callers_then_the_models_then_the_usual_one() -> None:
    model = Limits(max_output=4000)
    per_token = Decimal(10) / 1_000_000

    def answer(extent: Extent, limits: Limits) -> Decimal:
        bound = most_it_costs(extent, PRICE, limits, 16_000)
        assert bound is not None
        assert extent.prompt is not None
        return (bound - extent.prompt * Decimal("2.5") / 1_000_000) / per_token

    assert answer(chat("Hi", max_tokens=7), model) == 7
    assert answer(chat("Hi"), model) == 4000
    assert answer(chat("Hi"), Limits()) == 16_000
    assert answer(chat("Hi", max_tokens=7, n=3), model) == 21


def test_media_and_kept_conversations_count_generously() -> None:
    picture = "data:image/png;base64," + "A" * 1_000_000
    parts = [{"type": "image_url", "image_url": {"url": picture}}]
    body = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": parts}]})
    extent = measure_request(Operation.CHAT, Dialect.OPENAI_CHAT, {}, body)
    assert extent.prompt is not None
    assert 40_000 <= extent.prompt < 200_000, "not a token for each byte of base64"
    kept = {"previous_response_id": msgspec.Raw(b'"resp_1"')}
    extent = measure_request(Operation.CHAT, Dialect.OPENAI_RESPONSES, kept, b'{"previous_response_id":"resp_1"}')
    assert extent.prompt is None, "nobody here knows how long it is"
    whole = most_it_costs(extent, PRICE, Limits(context=200_000, max_output=1), 1)
    assert whole == Decimal("2.5") * 200_000 / 1_000_000 + Decimal(10) / 1_000_000


@pytest.mark.parametrize(
    ("extent", "price", "expected"),
    [
        (Extent(operation=Operation.SPEECH, characters=100), Price(version="t", character=Decimal("0.01")), Decimal(1)),
        (
            Extent(operation=Operation.TRANSCRIPTION, size=32_000, byte_rate=16_000),
            Price(version="t", second=Decimal("0.1")),
            Decimal("0.3"),
        ),
        (
            Extent(operation=Operation.IMAGE, images=2),
            Price(version="t", images=(("1024x1024", "high", Decimal("0.2")), (None, None, Decimal("0.1")))),
            Decimal("0.4"),
        ),
        (
            Extent(operation=Operation.IMAGE, images=2, image_size="512x512", image_quality="low"),
            Price(version="t", images=(("1024x1024", "high", Decimal("0.2")), (None, None, Decimal("0.1")))),
            Decimal("0.2"),
        ),
        (Extent(operation=Operation.EMBED, prompt=500), Price(version="t", input=Decimal(1)), Decimal("0.0005")),
        (Extent(operation=Operation.CHAT, prompt=500), Price(version="t", input=Decimal(1)), None),
    ],
)
def test_every_operation_has_a_bound_where_its_rates_are_known(
    extent: Extent, price: Price, expected: Decimal | None
) -> None:
    assert most_it_costs(extent, price, Limits(), 100) == expected


def test_a_mark_up_is_set_aside_too() -> None:
    extent = Extent(operation=Operation.EMBED, prompt=1_000_000)
    assert most_it_costs(extent, Price(version="t", input=Decimal(1)), Limits(), 1, 1.05) == Decimal("1.05")
