"""Whisper services as callers meet them, over the sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyroute.providers.media.whisper import asr_outcome
from support.local_services import local_gateway
from support.media_files import wav
from support.media_gateway import MediaGateway

FILES = {"file": ("said.wav", wav(1.0), "audio/wav")}
MODEL = {"model": "whisper/whisper"}


async def test_the_web_service_transcribes_with_words_and_segments(gateway: MediaGateway) -> None:
    data = {**MODEL, "response_format": "verbose_json", "language": "de", "timestamp_granularities[]": "word"}
    answer = await gateway.post("/v1/audio/transcriptions", files=FILES, data=data)
    told = answer.json()
    assert told["text"]
    assert told["language"] == "de"
    assert told["words"][0]["start"] >= 0
    [call] = [row for row in await gateway.seen("whisper") if "/asr" in row["path"]]
    assert call["method"] == "POST"
    assert (await gateway.entry(answer))["actual_provider"] == "whisper"


@pytest.mark.parametrize(("form", "begins"), [("srt", "1\n00:00:00,000 --> "), ("vtt", "WEBVTT"), ("text", "")])
async def test_subtitles_and_text(gateway: MediaGateway, form: str, begins: str) -> None:
    answer = await gateway.post("/v1/audio/transcriptions", files=FILES, data={**MODEL, "response_format": form})
    assert answer.text.startswith(begins)


async def test_the_web_service_translates(gateway: MediaGateway) -> None:
    answer = await gateway.post("/v1/audio/translations", files=FILES, data=MODEL)
    assert answer.json()["text"]


async def test_a_server_of_openais_dialect_is_recognised(tmp_path: Path) -> None:
    async with local_gateway(tmp_path, {"whisper": "speaches"}) as gateway:
        answer = await gateway.post(
            "/v1/audio/transcriptions", files=FILES, data={**MODEL, "response_format": "verbose_json"}
        )
        assert answer.json()["segments"]
        assert not [row for row in await gateway.seen("speaches") if "/asr" in row["path"]]
        await gateway.post(
            "/v1/audio/transcriptions", status=404, files=FILES, data={"model": "whisper/nobody/no-such-model"}
        )


async def test_a_service_that_fails_is_followed_by_the_next(gateway: MediaGateway) -> None:
    await gateway.fail("whisper", "status", status=503, times=5)
    route = {"model": "transcription", "polyroute": '{"fallbacks": []}'}
    answer = await gateway.http.post("/v1/audio/transcriptions", files=FILES, data={"model": route["model"]})
    assert answer.status_code == 200
    assert answer.headers["x-polyroute-provider"] != "whisper"


def test_segments_that_are_arrays_are_read() -> None:
    rows = [[1, 0, 0.0, 1.25, " Hello.", [50364], -0.2, 1.1, 0.01, None, 0.0]]
    outcome = asr_outcome({"text": " Hello.", "segments": rows, "language": "en"})
    assert outcome.transcript is not None
    [segment] = outcome.transcript.segments
    assert (segment.text, segment.start, segment.end) == ("Hello.", 0.0, 1.25)
    assert outcome.usage.seconds == 1.25
