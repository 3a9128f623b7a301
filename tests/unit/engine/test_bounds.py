"""The most that a request may cost is never less than what it costs."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.engine.bounds import (
    Extent,
    Limits,
    measure_request,
    most_it_costs,
    most_of_chat,
    most_of_plain,
    plain_prompt,
)
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


def media(operation: Operation, dialect: Dialect = Dialect.MEDIA_VIDEO, **fields: object) -> Extent:
    body = msgspec.json.encode({"model": "m", "prompt": "a boat", **fields})
    return measure_request(operation, dialect, msgspec.json.decode(body, type=dict[str, msgspec.Raw]), body)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [({"seconds": "8"}, 8), ({"seconds": 12}, 12), ({"duration": 5}, 5), ({"duration_seconds": "20"}, 20), ({}, 60)],
)
def test_a_clip_is_held_by_its_length_at_its_dearest_size(said: dict[str, object], seconds: int) -> None:
    sizes = (("720p", None, Decimal("0.1")), ("1080p", "pro", Decimal("0.3")), ("1080p", None, Decimal("0.2")))
    by_size = Price(version="t", videos=sizes)
    assert most_it_costs(media(Operation.VIDEO, **said), by_size, Limits(), 10) == seconds * Decimal("0.3")
    by_second = Price(version="t", video_second=Decimal("0.05"))
    assert most_it_costs(media(Operation.VIDEO, **said), by_second, Limits(), 10) == seconds * Decimal("0.05")


def test_music_is_held_by_its_length() -> None:
    price = Price(version="t", second=Decimal("0.01"))
    extent = media(Operation.MUSIC, Dialect.MEDIA_MUSIC, duration=30)
    assert most_it_costs(extent, price, Limits(), 10) == Decimal("0.30")
    assert most_it_costs(media(Operation.MUSIC, Dialect.MEDIA_MUSIC), price, Limits(), 10) == Decimal("0.60")


def test_megapixels_are_held_by_the_largest_image() -> None:
    price = Price(version="t", megapixel=Decimal("0.01"))
    extent = media(Operation.IMAGE, Dialect.OPENAI_IMAGES, n=3, size="1024x1024")
    bound = most_it_costs(extent, price, Limits(), 10)
    assert bound == Decimal("0.15")
    assert bound >= 3 * Decimal(1024 * 1024) / 1_000_000 * Decimal("0.01")


def test_a_service_tier_is_held_at_its_dearest() -> None:
    price = msgspec.structs.replace(PRICE, factors=(("flex", Decimal("0.5")), ("priority", Decimal("1.75"))))
    extent = chat("Hello", max_tokens=100)
    bound, usual = most_it_costs(extent, price, Limits(), 10), most_it_costs(extent, PRICE, Limits(), 10)
    assert bound is not None
    assert usual is not None
    assert bound == usual * Decimal("1.75")
    spent = exact_cost(Usage(input=5, output=100, tier="priority"), price)
    assert spent is not None
    assert spent <= bound
    cheaper = msgspec.structs.replace(PRICE, factors=(("flex", Decimal("0.5")),))
    assert most_it_costs(extent, cheaper, Limits(), 10) == usual, "nobody promises the cheaper tier"
    assert most_of_chat(extent, price, Limits(), 10) is None, "the short way knows no tiers"


_MEDIA_WORDS = ("image", "input_", "file", "audio", "video", "mime", "document")


@settings(max_examples=60, deadline=None)
@given(
    # A text that begins like the name of a medium is measured the long way, to be sure.
    text=st.text(max_size=200).filter(lambda text: not text.startswith(_MEDIA_WORDS)),
    limit=st.none() | st.integers(1, 5000), context=st.none() | st.integers(10, 1000),
    more=st.sampled_from([{}, {"n": 2}, {"tools": []}, {"temperature": 1}, {"previous_response_id": "r"}]),
)  # fmt: skip
def test_the_shortest_way_holds_what_the_long_one_does(
    text: str, limit: int | None, context: int | None, more: dict[str, object]
) -> None:
    asked = {**more, **({} if limit is None else {"max_tokens": limit})}
    body = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": text}], **asked})
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    plain = plain_prompt(Dialect.OPENAI_CHAT, fields, body)
    assert (plain is None) == bool({"n", "tools", "previous_response_id"} & more.keys())
    if plain is not None:
        prompt, answer = plain
        long = most_of_chat(chat(text, **asked), PRICE, Limits(context=context), 10)
        assert most_of_plain(prompt, answer or 10, PRICE, context) == long


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
        {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "AAAA"}},
    ],
)
def test_what_is_more_than_text_goes_the_long_way(part: dict[str, object]) -> None:
    body = msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": [part]}]})
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    assert plain_prompt(Dialect.OPENAI_CHAT, fields, body) is None
    assert (measure_request(Operation.CHAT, Dialect.OPENAI_CHAT, fields, body).prompt or 0) > 30_000
