"""Chatterbox as callers meet it, over the sandbox."""

from __future__ import annotations

import base64

from support.media_files import wav
from support.media_gateway import MediaGateway

MODEL = "chatterbox/chatterbox"


async def test_it_speaks_with_its_own_voices(gateway: MediaGateway) -> None:
    body = {"model": MODEL, "input": "Good evening.", "voice": "Olivia", "response_format": "wav", "speed": 1.2}
    answer = await gateway.post("/v1/audio/speech", json=body)
    assert answer.content.startswith(b"RIFF")
    [job] = await gateway.jobs("chatterbox")
    assert job["state"] == "succeeded"
    assert (await gateway.entry(answer))["characters"] == len("Good evening.")


async def test_an_unknown_voice_is_the_callers_error(gateway: MediaGateway) -> None:
    body = {"model": MODEL, "input": "Good evening.", "voice": "Nobody", "response_format": "wav"}
    answer = await gateway.post("/v1/audio/speech", status=400, json=body)
    error = answer.json()["error"]
    assert error["param"] == "voice"
    assert "'voice' is 'Nobody'; possible are Abigail.wav" in error["message"]


async def test_a_format_that_it_does_not_have_is_named(gateway: MediaGateway) -> None:
    body = {"model": MODEL, "input": "Good evening.", "voice": "Emily", "response_format": "flac"}
    answer = await gateway.post("/v1/audio/speech", status=400, json=body)
    assert "wav, mp3, opus" in answer.json()["error"]["message"]


async def test_a_recording_becomes_a_voice_that_is_listed_and_spoken_with(gateway: MediaGateway) -> None:
    from polyroute.providers.media.chatterbox import ChatterboxMedia  # noqa: PLC0415

    recording = "data:audio/wav;base64," + base64.b64encode(wav(1.0)).decode()
    provider = gateway.app.gateway.runtime.providers["chatterbox"]
    assert isinstance(provider.media, ChatterboxMedia)
    made = await ask(
        gateway, task="clone_voice", voice_name="My voice", inputs=[{"role": "reference_audio", "url": recording}]
    )
    voice = made["voice"]["id"]
    assert voice.startswith("clone:My-voice")
    body = {"model": MODEL, "input": "It is me.", "voice": voice, "response_format": "mp3"}
    answer = await gateway.post("/v1/audio/speech", json=body)
    assert answer.headers["content-type"].startswith("audio/")
    assert len(answer.content) > 500


async def ask(gateway: MediaGateway, **request: object) -> dict[str, object]:
    """Our own vocabulary, which has no path of its own but jobs."""
    from support.own_vocabulary import ask_in_own_words  # noqa: PLC0415

    return await ask_in_own_words(gateway, MODEL, **request)
