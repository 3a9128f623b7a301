"""Usage of images, speech and transcriptions: buckets that no token is in twice, sizes, characters and seconds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from polyroute.dialects.media import Asked, observe_event, observe_json, observe_spoken, read_asked
from polyroute.engine.observe import BytesObserver
from polyroute.ports import Observation
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage


def read(dialect: Dialect, answer: dict[str, Any], asked: Asked | None = None) -> Usage:
    seen = Observation()
    observe_json(dialect, msgspec.json.encode(answer), seen, asked or Asked())
    assert seen.usage is not None
    return msgspec.structs.replace(seen.usage, raw=None)


def test_images_have_token_buckets_of_their_own_and_their_size() -> None:
    answer = {
        "data": [{"b64_json": "x"}, {"b64_json": "y"}],
        "size": "1024x1536",
        "quality": "high",
        "usage": {
            "input_tokens": 250,
            "input_tokens_details": {"text_tokens": 50, "image_tokens": 200},
            "output_tokens": 8320,
            "output_tokens_details": {"text_tokens": 20, "image_tokens": 8300},
            "total_tokens": 8570,
        },
    }
    assert read(Dialect.OPENAI_IMAGE_EDITS, answer) == Usage(
        input=50, image_input=200, output=20, image_output=8300, images=2, image_size="1024x1536", image_quality="high"
    )


def test_image_tokens_without_details_are_all_of_the_image() -> None:
    usage = read(Dialect.OPENAI_IMAGES, {"data": [{}], "usage": {"input_tokens": 9, "output_tokens": 1056}})
    assert (usage.input, usage.output, usage.image_output, usage.images) == (9, 0, 1056, 1)


def test_size_and_quality_are_those_asked_for_where_the_answer_is_silent() -> None:
    asked = read_asked(Dialect.OPENAI_IMAGES, {"size": "512x512", "quality": "low", "n": 2}.get)
    usage = read(Dialect.OPENAI_IMAGES, {"data": [{}, {}]}, asked)
    assert (usage.images, usage.image_size, usage.image_quality) == (2, "512x512", "low")
    automatic = read_asked(Dialect.OPENAI_IMAGES, {"size": "auto", "quality": "auto"}.get)
    assert automatic == Asked()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"usage": {"cost": 0.0125}}, Decimal("0.0125")),
        ({"usage": {"cost_in_usd_ticks": 200_000_000}}, Decimal("0.02")),
        ({"meta": {"usage": {"credits_used": 1100000, "usd_spent": 0.55}}}, Decimal("0.55")),
        ({"usage": {"cost": -1}}, None),
        ({"usage": {"cost": True}}, None),
    ],
)
def test_what_the_provider_charged_is_read(answer: dict[str, Any], expected: Decimal | None) -> None:
    assert read(Dialect.OPENAI_IMAGES, {"data": [{}]} | answer).reported_cost_usd == expected


def test_speech_is_counted_by_the_characters_that_were_asked_for() -> None:
    asked = read_asked(Dialect.OPENAI_SPEECH, {"input": "Grüezi"}.get)
    observer = BytesObserver(Observation(), b"audio/mpeg", asked, Dialect.OPENAI_SPEECH)
    observer.feed(b"ID3")
    assert observer.seen.usage == Usage(characters=6)


def test_speech_that_never_came_is_not_counted() -> None:
    seen = Observation()
    observer = BytesObserver(seen, b"audio/mpeg", Asked(characters=6), Dialect.OPENAI_SPEECH)
    observer.feed(b"")
    assert seen.usage is None


@pytest.mark.parametrize("cut", [1, 7, 40, 1000])
def test_a_stream_of_speech_tells_its_tokens_at_its_end(cut: int) -> None:
    stream = (
        b'data: {"type":"speech.audio.delta","audio":"AAAA"}\n\n'
        b'data: {"type":"speech.audio.done","usage":{"input_tokens":14,"output_tokens":101,"total_tokens":115}}\n\n'
    )
    observer = BytesObserver(Observation(), b"text/event-stream", Asked(characters=5), Dialect.OPENAI_SPEECH)
    out = b"".join(observer.feed(stream[at : at + cut]) for at in range(0, len(stream), cut)) + observer.end()
    assert out == stream
    usage = observer.seen.usage
    assert usage is not None
    assert (usage.input, usage.output, usage.audio_output, usage.characters) == (14, 0, 101, 5)


def test_images_of_a_stream_are_added_up() -> None:
    seen = Observation()
    for tokens in (1000, 1100):
        event = {"type": "image_generation.completed", "size": "1024x1024", "quality": "low"}
        event["usage"] = {"input_tokens": 10, "output_tokens": tokens}  # type: ignore[assignment]  # a mixed record
        observe_event(Dialect.OPENAI_IMAGES, msgspec.json.encode(event), Asked(), seen)
    assert seen.usage is not None
    assert (seen.usage.images, seen.usage.image_output, seen.usage.image_size) == (2, 2100, "1024x1024")


def test_an_event_that_is_no_json_says_nothing() -> None:
    seen = Observation()
    observe_event(Dialect.OPENAI_SPEECH, b'{"usage": ', Asked(), seen)
    assert seen.usage is None
    observe_spoken(Asked(), seen)
    assert seen.usage is None


@pytest.mark.parametrize(
    ("answer", "seconds", "audio"),
    [
        ({"text": "a", "usage": {"type": "duration", "seconds": 9}}, 9.0, None),
        ({"text": "a", "duration": "9.5"}, 9.5, None),
        ({"text": "a", "usage": {"input_tokens": 90, "input_token_details": {"audio_tokens": 80}}}, None, 80),
        ({"text": "a", "duration": "nan"}, None, None),
    ],
)
def test_transcriptions_are_counted_in_seconds_or_tokens(
    answer: dict[str, Any], seconds: float | None, audio: int | None
) -> None:
    seen = Observation()
    observe_json(Dialect.OPENAI_TRANSCRIPTIONS, msgspec.json.encode(answer), seen)
    usage = seen.usage or Usage()
    assert (usage.seconds, usage.audio_input) == (seconds, audio)
