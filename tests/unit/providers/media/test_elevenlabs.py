"""ElevenLabs: every task over the sandbox, what it recorded, and its signed callbacks."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from polyroute.catalog.model import Provider
from polyroute.engine.media.wire import ProviderWire
from polyroute.ports import Options
from polyroute.providers.media.elevenlabs.adapter import ElevenLabsMedia, spoken_words
from polyroute.providers.media.elevenlabs.scribe import language_of, read_transcript
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import MediaInput, Task
from support.media_files import wav
from support.media_gateway import MediaGateway
from support.media_making import data_uri, make
from support.media_recordings import recording
from support.media_sandbox import until

SPEECH = "elevenlabs/eleven_flash_v2_5"
RECORDING = MediaInput(role="reference_audio", url=data_uri(wav(2.0), "audio/wav"))


async def sent(gateway: MediaGateway) -> dict[str, Any]:
    rows = [row for row in await gateway.seen("elevenlabs") if row["method"] == "POST"]
    body: dict[str, Any] = rows[-1]["body"]
    return body


@pytest.mark.parametrize(
    ("task", "model", "fields", "asked"),
    [
        (
            Task.SPEECH, SPEECH, {"prompt": "Hello there.", "speed": 2, "seed": 4, "language": "de"},
            {"text": "Hello there.", "voice_settings": {"speed": 1.2}, "seed": 4, "language_code": "de"},
        ),
        (
            Task.SOUND_EFFECT, "elevenlabs/eleven_text_to_sound_v2", {"prompt": "a door", "duration": 0.2, "loop": True},
            {"text": "a door", "duration_seconds": 0.5, "loop": True},
        ),
        (
            Task.MUSIC, "elevenlabs/music_v2", {"prompt": "a waltz", "duration": 10, "instrumental": True},
            {"prompt": "a waltz", "music_length_ms": 10_000, "force_instrumental": True},
        ),
    ],
)  # fmt: skip
async def test_sound_of_every_kind(
    gateway: MediaGateway, task: Task, model: str, fields: dict[str, Any], asked: dict[str, Any]
) -> None:
    result = await make(gateway, task, model, **fields)
    assert result.made.artifacts[0].media_type == "audio/mpeg"
    body = await sent(gateway)
    assert {name: body[name] for name in asked} == asked


async def test_lyrics_become_a_plan(gateway: MediaGateway) -> None:
    await make(gateway, Task.MUSIC, "elevenlabs/music_v2", prompt="a waltz", lyrics="one\ntwo", duration=20)
    [section] = (await sent(gateway))["composition_plan"]["sections"]
    assert (section["lines"], section["duration_ms"]) == (["one", "two"], 20_000)


async def test_a_cloned_voice_can_speak(gateway: MediaGateway) -> None:
    made = (await make(gateway, Task.CLONE_VOICE, "elevenlabs/instant", voice_name="Ada", inputs=(RECORDING,))).made
    assert made.voice is not None
    assert (made.voice.name, made.voice.cloned) == ("Ada", True)
    assert (await make(gateway, Task.SPEECH, SPEECH, prompt="Hello.", voice=made.voice.id)).made.artifacts


async def test_cloning_needs_a_recording(gateway: MediaGateway) -> None:
    with pytest.raises(PolyrouteError) as caught:
        await make(gateway, Task.CLONE_VOICE, "elevenlabs/instant", voice_name="Ada")
    assert caught.value.param == "reference_audio"
    assert await gateway.seen("elevenlabs") == []


async def test_the_language_of_a_transcript_has_two_letters(gateway: MediaGateway) -> None:
    files = {"file": ("talk.wav", wav(2.0), "audio/wav")}
    data = {"model": "elevenlabs/scribe_v2", "response_format": "verbose_json"}
    answer = (await gateway.post("/v1/audio/transcriptions", files=files, data=data)).json()
    assert answer["language"] in ("en", "english")


def test_what_scribe_recorded_is_understood() -> None:
    transcript = read_transcript(recording("elevenlabs/transcription-words")["response"]["body_json"])
    assert (transcript.text, transcript.language) == ("Hello from the Vercel AI SDK.", "en")
    assert (transcript.words[0].word, transcript.words[0].speaker) == ("Hello", "speaker_0")
    assert " ".join(word.word for word in transcript.words) == transcript.text


@pytest.mark.parametrize(("told", "known"), [("vie", "vi"), ("en", "en"), ("ceb", "ceb"), (None, None), ("ENG", "en")])
def test_languages(told: str | None, known: str | None) -> None:
    assert language_of(told) == known


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, {"kind": "status", "status": 429}])
async def test_the_next_provider_sings(gateway: MediaGateway, fault: dict[str, Any]) -> None:
    await gateway.fail("elevenlabs", times=9, **fault)
    options = Options(fallbacks=("google/lyria-3.5",))
    result = await make(gateway, Task.MUSIC, "elevenlabs/music_v2", prompt="a waltz", options=options)
    assert result.provider == "google"


@pytest.mark.parametrize(
    ("status", "detail", "kind"),
    [
        (401, {"status": "quota_exceeded", "message": "m"}, ErrorKind.QUOTA_EXHAUSTED),
        (402, {"code": "insufficient_credits", "message": "m"}, ErrorKind.QUOTA_EXHAUSTED),
        (401, {"code": "invalid_api_key", "message": "m"}, ErrorKind.CREDENTIAL_REJECTED),
        (429, {"code": "concurrent_limit_exceeded", "message": "m"}, ErrorKind.RATE_LIMITED),
        (404, {"code": "voice_not_found", "message": "m"}, ErrorKind.UNSUPPORTED),
        (400, {"code": "text_too_long", "message": "m", "param": "text"}, ErrorKind.INVALID_REQUEST),
    ],
)
def test_each_error_has_its_kind(
    adapter: ElevenLabsMedia, status: int, detail: dict[str, Any], kind: ErrorKind
) -> None:
    failure = adapter.classify(status, [], msgspec.json.encode({"detail": detail}))
    assert failure is not None
    assert (failure.kind, failure.http_status) == (kind, status)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"detail":[]}', b'{"detail":{"code":"new"}}', b"<html>"])
def test_other_bodies_are_left_to_the_usual_reading(adapter: ElevenLabsMedia, body: bytes) -> None:
    assert adapter.classify(500, [], body) is None


@pytest.fixture
async def adapter(gateway: MediaGateway) -> ElevenLabsMedia:
    row: Provider = gateway.app.gateway.runtime.providers["elevenlabs"].row
    return ElevenLabsMedia(msgspec.structs.replace(row, options=MappingProxyType({"webhook_secret": "wsec_1"})))


BODY = b'{"type":"speech_to_text_transcription","data":{"request_id":"rq_1"}}'


def signed(stamp: int, secret: str = "wsec_1", body: bytes = BODY) -> list[tuple[bytes, bytes]]:
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return [(b"elevenlabs-signature", f"t={stamp},v0={digest}".encode())]


async def test_a_signed_callback_names_its_work(adapter: ElevenLabsMedia, wire: ProviderWire) -> None:
    callback = await adapter.callback(signed(1000), BODY, wire, 1010.0)
    assert callback.handle_id == "rq_1"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        signed(1000, "wsec_2"),
        signed(1000, body=b"{}"),
        signed(1000 - 3600),
        [(b"elevenlabs-signature", b"t=1000,v0=")],
    ],
)
async def test_a_callback_that_is_not_signed_is_refused(
    adapter: ElevenLabsMedia, wire: ProviderWire, headers: list[tuple[bytes, bytes]]
) -> None:
    with pytest.raises(PolyrouteError) as caught:
        await adapter.callback(headers, BODY, wire, 1010.0)
    assert caught.value.kind is ErrorKind.UNAUTHORIZED


@pytest.fixture
def wire() -> ProviderWire:
    """Nothing is asked of it: a signature is checked with what we have."""
    return ProviderWire.__new__(ProviderWire)


async def test_speech_tells_when_each_word_is_said_where_that_is_wanted(gateway: MediaGateway) -> None:
    text = "Good morning. Who is there?"
    made = (await make(gateway, Task.SPEECH, SPEECH, prompt=text, timestamps=["word"])).made
    assert made.artifacts[0].media_type == "audio/mpeg"
    assert made.transcript is not None
    assert [word.word for word in made.transcript.words] == text.split()
    assert [segment.text for segment in made.transcript.segments] == ["Good morning.", "Who is there?"]
    starts = [word.start for word in made.transcript.words]
    assert starts == sorted(starts)
    assert made.transcript.duration == pytest.approx(made.artifacts[0].duration_s, abs=0.2)
    assert made.dropped == ()


@pytest.mark.parametrize("alignment", [{}, {"characters": []}, {"characters": ["a"]}, {"characters": [" "] * 3}])
def test_an_alignment_that_says_nothing_has_no_words(alignment: dict[str, Any]) -> None:
    assert spoken_words(alignment) == ()


TALK = MediaInput(role="audio", url=data_uri(wav(2.0), "audio/wav"))


async def test_a_recording_in_another_voice(gateway: MediaGateway) -> None:
    made = (await make(gateway, Task.SPEECH, "elevenlabs/eleven_multilingual_sts_v2", inputs=(TALK,), seed=3)).made
    assert (made.artifacts[0].media_type, made.dropped) == ("audio/mpeg", ())
    [row] = await gateway.seen("elevenlabs")
    assert row["path"].endswith("/voice-changer/21m00Tcm4TlvDq8ikWAM")
    assert row["body"] == {"model_id": "eleven_multilingual_sts_v2", "seed": "3"}
    assert made.usage.characters == 50


async def test_the_voice_alone(gateway: MediaGateway) -> None:
    made = (await make(gateway, Task.SPEECH, "elevenlabs/isolation", inputs=(TALK,))).made
    assert made.artifacts[0].family == "audio"


async def test_a_recording_in_another_language_is_waited_for(gateway: MediaGateway) -> None:
    made = (await make(gateway, Task.SPEECH, "elevenlabs/dubbing", inputs=(TALK,), language="de")).made
    assert (made.artifacts[0].family, made.usage.seconds) == ("audio", 3.0)
    assert (await gateway.seen("elevenlabs"))[0]["body"] == {"target_lang": "de"}


@pytest.mark.parametrize(
    ("model", "fields", "param"),
    [
        ("dubbing", {"inputs": (TALK,)}, "language"), ("dubbing", {"language": "de"}, "audio"), ("isolation", {}, "audio"),
        ("eleven_multilingual_sts_v2", {}, "audio"),
    ],
)  # fmt: skip
async def test_what_a_recording_needs(gateway: MediaGateway, model: str, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(PolyrouteError) as caught:
        await make(gateway, Task.SPEECH, f"elevenlabs/{model}", **fields)
    assert caught.value.param == param
    assert await gateway.seen("elevenlabs") == []


async def test_a_dubbing_that_fails(gateway: MediaGateway) -> None:
    await gateway.fail("elevenlabs", "job_failed")
    with pytest.raises(PolyrouteError) as caught:
        await make(gateway, Task.SPEECH, "elevenlabs/dubbing", inputs=(TALK,), language="de")
    assert [attempt.kind for attempt in caught.value.attempts] == [ErrorKind.GENERATION_FAILED]


async def test_a_dubbing_that_nobody_waits_for_is_deleted(gateway: MediaGateway) -> None:
    await gateway.control("elevenlabs", job_seconds=60)
    waiting = asyncio.ensure_future(make(gateway, Task.SPEECH, "elevenlabs/dubbing", inputs=(TALK,), language="de"))
    await until(lambda: is_asked_for(gateway))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [job["state"] for job in await gateway.jobs("elevenlabs")] == ["canceled"]


async def is_asked_for(gateway: MediaGateway) -> bool:
    return any(row["method"] == "GET" for row in await gateway.seen("elevenlabs"))
