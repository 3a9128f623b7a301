"""Google's media as callers meet it, over the sandbox, and what Google really said."""

from __future__ import annotations

import base64
import io
import wave
from typing import Any

import pytest

from polyroute.ports import Options
from polyroute.providers.media.google.videos import read_operation
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.media import Handle, MediaInput, Outcome, Progress, Task
from support.media_files import PNG, wav
from support.media_gateway import MediaGateway
from support.media_making import data_uri, make
from support.media_recordings import recording

FLASH = "google/gemini-3.1-flash-image"
VEO = "google/veo-3.1-fast-generate-001"
TTS = "google/gemini-3.8-flash-tts"
PICTURE = MediaInput(role="image", url=data_uri(PNG, "image/png"))


async def sent(gateway: MediaGateway) -> dict[str, Any]:
    """The body of the last request that made something."""
    rows = [row for row in await gateway.seen("google") if row["method"] == "POST"]
    body: dict[str, Any] = rows[-1]["body"]
    return body


async def test_each_picture_is_a_request_of_its_own_and_thoughts_are_no_pictures(gateway: MediaGateway) -> None:
    answer = await gateway.image(FLASH, n=2, size="1792x1024", seed=7, response_format="url")
    rows = answer.json()["data"]
    assert len(rows) == 2
    assert (await gateway.download(rows[0]["url"])).startswith(b"\x89PNG")
    seeds = {row["body"]["generationConfig"]["seed"] for row in await gateway.seen("google")}
    assert seeds == {7, 8}
    assert (await sent(gateway))["generationConfig"]["imageConfig"] == {"aspectRatio": "16:9", "imageSize": "2K"}
    assert "aspect_ratio 7:4 became 16:9" in answer.headers["x-polyroute-notes"]
    assert (await gateway.entry(answer))["images"] == 2


async def test_a_picture_is_edited_with_the_pictures_in_the_request(gateway: MediaGateway) -> None:
    files = {"image": ("start.png", PNG, "image/png")}
    answer = await gateway.post("/v1/images/edits", files=files, data={"model": FLASH, "prompt": "make it blue"})
    assert base64.b64decode(answer.json()["data"][0]["b64_json"]).startswith(b"\x89PNG")
    parts = (await sent(gateway))["contents"][0]["parts"]
    assert parts[0] == {"text": "make it blue"}
    assert parts[1]["inlineData"] == {"mimeType": "image/png", "data": base64.b64encode(PNG).decode()}


async def test_a_mask_is_not_ignored(gateway: MediaGateway) -> None:
    files = {"image": ("start.png", PNG, "image/png"), "mask": ("mask.png", PNG, "image/png")}
    answer = await gateway.post("/v1/images/edits", 400, files=files, data={"model": FLASH, "prompt": "make it blue"})
    assert "mask" in answer.json()["error"]["message"]
    assert await gateway.seen("google") == []


async def test_imagen_gives_several_of_one_call_in_the_wanted_format(gateway: MediaGateway) -> None:
    answer = await gateway.image("google/imagen-4.0-generate-001", n=3, output_format="jpeg", aspect_ratio="3:4")
    pictures = [base64.b64decode(row["b64_json"]) for row in answer.json()["data"]]
    assert [picture[:2] for picture in pictures] == [b"\xff\xd8"] * 3
    assert len(await gateway.seen("google")) == 1


@pytest.mark.parametrize("model", [FLASH, "google/imagen-4.0-generate-001"])
async def test_a_picture_that_google_blocks_is_the_callers_error(gateway: MediaGateway, model: str) -> None:
    answer = await gateway.image(model, status=400, prompt="forbidden-content")
    assert answer.json()["error"]["code"] == "content_policy_violation"


async def test_too_many_pictures_are_refused_before_google_is_asked(gateway: MediaGateway) -> None:
    answer = await gateway.image("google/imagen-4.0-generate-001", status=400, n=5)
    assert answer.json()["error"]["param"] == "n"
    assert await gateway.seen("google") == []


async def test_a_film_is_waited_for_and_fetched_with_the_key(gateway: MediaGateway) -> None:
    result = await make(gateway, Task.TEXT_TO_VIDEO, VEO, prompt="waves", duration=5, aspect_ratio="9:16")
    [film] = result.made.artifacts
    assert (film.family, film.duration_s) == ("video", pytest.approx(6, abs=0.1))
    assert film.height is not None
    assert film.width is not None
    assert film.height > film.width
    assert result.made.usage.video_seconds == 6
    assert "duration 5 became 6" in result.made.notes
    downloads = [row for row in await gateway.seen("google") if ":download" in row["path"]]
    assert downloads
    assert len([row for row in await gateway.seen("google") if row["method"] == "POST"]) == 1


async def test_a_film_goes_from_its_first_picture_to_its_last(gateway: MediaGateway) -> None:
    last = MediaInput(role="last_frame", url=data_uri(PNG, "image/png"))
    await make(
        gateway, Task.IMAGE_TO_VIDEO, VEO, prompt="waves", inputs=(PICTURE, last), resolution="1080p", duration=4
    )
    body = await sent(gateway)
    assert body["instances"][0]["image"]["mimeType"] == "image/png"
    assert body["instances"][0]["lastFrame"]["bytesBase64Encoded"] == base64.b64encode(PNG).decode()
    assert body["parameters"] == {"durationSeconds": 8, "resolution": "1080p"}


@pytest.mark.parametrize(
    ("fault", "kind"), [("job_failed", ErrorKind.GENERATION_FAILED), ("moderation", ErrorKind.CONTENT_FILTERED)]
)
async def test_a_film_that_fails_says_why(gateway: MediaGateway, fault: str, kind: ErrorKind) -> None:
    await gateway.fail("google", fault, times=5)
    with pytest.raises(PolyrouteError) as caught:
        await make(gateway, Task.TEXT_TO_VIDEO, VEO, prompt="waves")
    assert kind in (caught.value.kind, *(attempt.kind for attempt in caught.value.attempts))


async def test_speech_comes_as_a_wave_file(gateway: MediaGateway) -> None:
    body = {"model": TTS, "input": "Good morning to everybody.", "voice": "alloy", "response_format": "wav"}
    answer = await gateway.post("/v1/audio/speech", json=body)
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.content[:4] == b"RIFF"
    refused = await gateway.post("/v1/audio/speech", 400, json={**body, "response_format": "flac"})
    assert "possible are mp3, opus" in refused.json()["error"]["message"]
    entry = await gateway.entry(answer)
    assert (entry["status"], entry["actual_provider"]) == ("COMPLETED", "google")


async def test_raw_samples_have_no_header(gateway: MediaGateway) -> None:
    body = {
        "model": TTS,
        "input": "Good morning.",
        "voice": "Puck",
        "response_format": "pcm",
        "instructions": "Whisper.",
    }
    answer = await gateway.post("/v1/audio/speech", json=body)
    assert answer.content[:4] != b"RIFF"
    asked = await sent(gateway)
    assert asked["contents"][0]["parts"][0]["text"] == "Whisper.\n\nGood morning."
    voice = asked["generationConfig"]["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"]
    assert voice == "Puck"


async def test_speech_that_is_kept_says_its_length(gateway: MediaGateway) -> None:
    result = await make(gateway, Task.SPEECH, TTS, prompt="Good morning to everybody.", format="wav")
    with wave.open(io.BytesIO(await result.content())) as sound:
        seconds = sound.getnframes() / sound.getframerate()
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24_000, 1, 2)
    assert result.made.usage.seconds == pytest.approx(seconds)
    assert result.made.usage.audio_output


async def test_an_unknown_voice_is_refused_in_googles_words(gateway: MediaGateway) -> None:
    for form in ("mp3", "wav"):
        body = {"model": TTS, "input": "Hello", "voice": "Nobody", "response_format": form}
        answer = await gateway.post("/v1/audio/speech", 400, json=body)
        assert "Nobody" in answer.json()["error"]["message"]


async def test_music_is_made_from_words_and_lyrics(gateway: MediaGateway) -> None:
    result = await make(gateway, Task.MUSIC, "google/lyria-3.5", prompt="a waltz", instrumental=True, duration=20)
    assert result.made.artifacts[0].family == "audio"
    assert (await sent(gateway))["contents"][0]["parts"][0]["text"].splitlines() == [
        "a waltz", "Instrumental only, no vocals.", "About 20 seconds long.",
    ]  # fmt: skip


async def test_a_recording_is_heard(gateway: MediaGateway) -> None:
    files = {"file": ("talk.wav", wav(2.0), "audio/wav")}
    data = {"model": "google/gemini-3.5-transcribe", "language": "de"}
    answer = await gateway.post("/v1/audio/transcriptions", files=files, data=data)
    assert answer.json()["text"]
    parts = (await sent(gateway))["contents"][0]["parts"]
    assert parts[1]["inlineData"]["mimeType"].startswith("audio/")
    assert "in de" in parts[0]["text"]


async def test_a_large_recording_is_uploaded_first(gateway: MediaGateway) -> None:
    files = {"file": ("talk.wav", wav(1000.0), "audio/wav")}
    await gateway.post("/v1/audio/transcriptions", files=files, data={"model": "google/gemini-3.5-transcribe"})
    part = (await sent(gateway))["contents"][0]["parts"][1]
    assert part["fileData"]["fileUri"].endswith(tuple("0123456789abcdef"))


async def test_subtitles_are_not_made_up(gateway: MediaGateway) -> None:
    files = {"file": ("talk.wav", wav(1.0), "audio/wav")}
    data = {"model": "google/gemini-3.8-flash", "response_format": "srt"}
    answer = await gateway.post("/v1/audio/translations", 400, files=files, data=data)
    assert "no times" in answer.json()["error"]["message"]


async def test_a_voice_needs_its_owners_consent(gateway: MediaGateway) -> None:
    recordings = tuple(
        MediaInput(role="reference_audio", url=data_uri(wav(seconds), "audio/wav")) for seconds in (1.0, 2.0)
    )
    made = (await make(gateway, Task.CLONE_VOICE, "google/replicated", voice_name="Ada", inputs=recordings)).made
    assert made.voice is not None
    assert made.voice.id.startswith("voice_")
    with pytest.raises(PolyrouteError, match="consent"):
        await make(gateway, Task.CLONE_VOICE, "google/replicated", voice_name="Ada", inputs=recordings[:1])


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, {"kind": "job_failed"}])
async def test_another_provider_makes_the_film_when_google_does_not(
    gateway: MediaGateway, fault: dict[str, Any]
) -> None:
    await gateway.fail("google", times=9, **fault)
    options = Options(fallbacks=("replicate/google/veo-3.1-fast",))
    result = await make(gateway, Task.TEXT_TO_VIDEO, VEO, prompt="waves", options=options)
    assert result.provider == "replicate"


HANDLE = Handle(id="models/veo-3.1-lite-generate-preview/operations/umz7sqimep69", data={"seconds": 4})


async def test_what_google_recorded_of_a_film_is_understood() -> None:
    steps = [
        recording(f"google/video-basic-functionality-lite-generate-preview-can-animate-videos-{n}") for n in (2, 3)
    ]
    assert isinstance(read_operation(steps[0]["response"]["body_json"], HANDLE), Progress)
    outcome = read_operation(steps[1]["response"]["body_json"], HANDLE)
    assert isinstance(outcome, Outcome)
    [film] = outcome.produced
    assert film.url == "https://generativelanguage.googleapis.com/v1beta/files/zqw12cp8qc38:download?alt=media"
    assert (film.authenticated, outcome.usage.video_seconds) == (True, 4)


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        (
            {"done": True, "response": {"generateVideoResponse": {"raiMediaFilteredCount": 1}}},
            ErrorKind.CONTENT_FILTERED,
        ),
        ({"done": True, "response": {}}, ErrorKind.BAD_RESPONSE),
        ({"done": True, "error": {"code": 13, "message": "internal"}}, ErrorKind.GENERATION_FAILED),
        ({"done": True, "error": {"code": 3, "message": "bad"}}, ErrorKind.INVALID_REQUEST),
        ({"done": True, "error": {"code": 8, "message": "quota"}}, ErrorKind.RATE_LIMITED),
        ({"done": True, "error": {"code": 3, "message": "violates our policy"}}, ErrorKind.CONTENT_FILTERED),
    ],
)
def test_an_operation_that_ends_badly(operation: dict[str, Any], kind: ErrorKind) -> None:
    with pytest.raises(AttemptFailed) as caught:
        read_operation(operation, HANDLE)
    assert caught.value.failure.kind is kind
