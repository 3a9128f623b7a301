"""What callers of media get wrong: 400 in their dialect naming the field, its value and what is possible; nothing is submitted
to anybody, nothing is charged, and no job is left behind."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import pytest_asyncio

from support.media_files import PNG, mp4, wav
from support.media_gateway import MediaGateway, media_gateway

IMAGES, EDITS, SPEECH = "/v1/images/generations", "/v1/images/edits", "/v1/audio/speech"
VARIATIONS = "/v1/images/variations"
TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/transcriptions", "/v1/audio/translations"
VIDEOS, JOBS, COMPOSE, FILES = "/v1/videos", "/v1/jobs", "/v1/compose", "/v1/files"

BOMB = PNG[:16] + (100_000).to_bytes(4, "big") * 2 + PNG[24:]
"""A picture of a few bytes that claims ten thousand million pixels."""
CUT = PNG[:18]
TEXT = b"This is no picture, and no sound."
METADATA = "http://169.254.169.254/latest/meta-data"
PROVIDERS = {
    "image": ("replicate", "fal", "openai", "xai", "google", "runware", "together"),
    "video": ("replicate", "xai", "google", "fal"),
    "speech": ("elevenlabs", "openai", "google", "chatterbox", "together"),
    "transcription": ("elevenlabs", "openai", "whisper"),
    "music": ("elevenlabs",),
}
ROUTES = {
    f"{provider}-{operation}": {"operation": operation, "targets": [provider]}
    for operation, providers in PROVIDERS.items()
    for provider in providers
}
LISTS = ("/v2/voices", "/get_predefined_voices", "/get_reference_files")
"""What providers may be asked to tell which voices there are: it starts nothing."""


def uri(content: bytes, media_type: str = "image/png") -> str:
    """A data URI."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


class Case(msgspec.Struct, frozen=True):
    """A call, and what its refusal says: the field, and words of the message (the value, then what is possible)."""

    path: str
    param: str | None
    words: tuple[str, ...]
    body: dict[str, Any] = {}
    files: tuple[tuple[str, tuple[str, bytes, str]], ...] = ()
    status: int = 400

    @property
    def name(self) -> str:
        """For the list of tests."""
        model = self.body.get("model", "")
        return f"{self.path.removeprefix('/v1/')}-{model}-{self.param}-{self.words[0][:24]}".replace(" ", "_")


def case(path: str, param: str | None, *words: str, **body: Any) -> Case:
    return Case(path, param, words, body)


def upload(
    path: str, param: str | None, content: bytes, *words: str, field: str = "", more: Any = (), **body: Any
) -> Case:
    """A form with one file; its name and declared type are those of what was due."""
    sound = path in (TRANSCRIPTIONS, TRANSLATIONS)
    named = field or ("file" if sound or path == FILES else "input_reference" if path == VIDEOS else "image")
    told = ("a.wav", content, "audio/wav") if sound else ("a.png", content, "image/png")
    return Case(path, param, words, body, ((named, told), *more))


PICTURE = ("image", ("a.png", PNG, "image/png"))
CASES = [
    # sizes and shapes
    case(IMAGES, "size", "'banana'", "WIDTHxHEIGHT", model="replicate-image", prompt="x", size="banana"),
    case(IMAGES, "size", "'banana'", "WIDTHxHEIGHT", model="openai-image", prompt="x", size="banana"),
    case(IMAGES, "size", "'99999x99999'", "16 to 16384", model="replicate-image", prompt="x", size="99999x99999"),
    case(IMAGES, "size", "9000x9000", "sides from 128 to 2048", model="runware-image", prompt="x", size="9000x9000"),
    case(IMAGES, "size", "'4096x400'", "16:9", model="google-image", prompt="x", size="4096x400"),
    case(IMAGES, "aspect_ratio", "'wide'", "16:9", model="replicate-image", prompt="x", aspect_ratio="wide"),
    case(IMAGES, "aspect_ratio", "'9:1'", "21:9", model="replicate-image", prompt="x", aspect_ratio="9:1"),
    case(VIDEOS, "size", "'10000x10'", "16 to 16384", model="replicate-video", prompt="x", size="10000x10"),
    case(VIDEOS, "size", "4096x2304", "720p, 1080p", model="replicate-video", prompt="x", size="4096x2304"),
    case(JOBS, "resolution", "'9000p'", "720p, 1080p", model="replicate-video", task="text_to_video", prompt="x",
         resolution="9000p"),
    case(JOBS, "width", "100000", "1 to 16384", model="replicate-image", task="text_to_image", prompt="x",
         width=100_000, height=10),
    # counts
    case(IMAGES, "n", "99", "between 1 and 10", model="openai-image", prompt="x", n=99),
    case(IMAGES, "n", "8", "at most 4", model="replicate-image", prompt="x", n=8),
    case(JOBS, "n", "16", "at most 4", model="replicate-image", task="text_to_image", prompt="x", n=16),
    case(JOBS, "n", "17", "1 to 16", model="replicate-image", task="text_to_image", prompt="x", n=17),
    upload(EDITS, "image", PNG, "20 were given", "at most 1", field="image[]", more=(("image[]", PICTURE[1]),) * 19,
           model="replicate-image", prompt="x"),
    # lengths and rates
    case(VIDEOS, "seconds", "9999", "between 1 and 3600", model="replicate-video", prompt="x", seconds="9999"),
    case(VIDEOS, "seconds", "300", "4, 6, 8", model="replicate-video", prompt="x", seconds="300"),
    case(VIDEOS, "seconds", "300", "at most 15", model="xai-video", prompt="x", seconds="300"),
    case(VIDEOS, "seconds", "60", "4, 6, 8", model="google-video", prompt="x", seconds="60"),
    case(VIDEOS, "seconds", "'soon'", "number", model="replicate-video", prompt="x", seconds="soon"),
    case(JOBS, "duration", "400", "4, 6, 8", model="replicate-video", task="text_to_video", prompt="x", duration=400),
    case(JOBS, "duration", "9000", "3 to 600", model="elevenlabs-music", task="music", prompt="x", duration=9000),
    case(JOBS, "fps", "999", "1 to 240", model="replicate-video", task="text_to_video", prompt="x", fps=999),
    case(SPEECH, "speed", "9", "between 0.25 and 4", model="elevenlabs-speech", input="x", voice="alloy", speed=9),
    case(SPEECH, "speed", "9", "between 0.25 and 4", model="openai-speech", input="x", voice="alloy", speed=9),
    # formats
    case(IMAGES, "output_format", "'tga'", "png, jpeg, webp", model="openai-image", prompt="x", output_format="tga"),
    case(IMAGES, "output_format", "'gif'", "png, jpeg, webp", model="replicate-image", prompt="x", output_format="gif"),
    case(SPEECH, "response_format", "'mid'", "mp3, opus", model="openai-speech", input="x", voice="alloy",
         response_format="mid"),
    case(SPEECH, "response_format", "'flac'", "mp3, opus, pcm, wav", model="elevenlabs-speech", input="x", voice="alloy",
         response_format="flac"),
    case(SPEECH, "response_format", "'flac'", "wav, pcm", model="google-speech", input="x", voice="alloy",
         response_format="flac"),
    case(JOBS, "format", "'tga'", "png, jpeg, webp", model="replicate-image", task="text_to_image", prompt="x", format="tga"),
    case(JOBS, "format", "'mid'", "mp3, opus", model="elevenlabs-speech", task="speech", prompt="x", format="mid"),
    case(COMPOSE, "timeline.format", '"avi"', "mp4, mov, webm", timeline={"clips": [{"source": uri(PNG)}], "format": "avi"}),
    upload(TRANSCRIPTIONS, "response_format", wav(0.2), "'docx'", "srt, verbose_json, vtt", model="openai-transcription",
           response_format="docx"),
    upload(TRANSLATIONS, "response_format", wav(0.2), "'docx'", "srt, verbose_json, vtt", model="whisper-transcription",
           response_format="docx"),
    # words
    case(IMAGES, "prompt", "required", model="openai-image"),
    case(SPEECH, "input", "empty", model="openai-speech", input="", voice="alloy"),
    case(VIDEOS, "prompt", "required", model="replicate-video", seconds="4"),
    case(JOBS, "prompt", "required", model="replicate-image", task="text_to_image"),
    case(JOBS, "task", "'paint'", "text_to_image", model="replicate-image", task="paint", prompt="x"),
    case(JOBS, "wobble", "no field", "options", model="replicate-image", task="text_to_image", prompt="x", wobble=3),
    # voices
    case(SPEECH, "voice", "'nobody'", "Rachel", model="elevenlabs-speech", input="x", voice="nobody"),
    case(SPEECH, "voice", "'nobody'", "Puck", model="google-speech", input="x", voice="nobody"),
    case(JOBS, "voice", "'nobody'", "Rachel", model="elevenlabs-speech", task="speech", prompt="x", voice="nobody"),
    case(JOBS, "voice", "'nobody'", "Emily.wav", model="chatterbox-speech", task="speech", prompt="x", voice="nobody"),
    # models
    case(JOBS, None, "cannot do upscale_image", "nightmareai/real-esrgan", model="replicate/black-forest-labs/flux-schnell",
         task="upscale_image", image=uri(PNG)),
    upload(EDITS, "model", PNG, "is not for image_to_image", "black-forest-labs/flux-kontext-pro",
           model="replicate/black-forest-labs/flux-schnell", prompt="x"),
    case(JOBS, "model", "required", task="text_to_image", prompt="x"),
    # files
    case(IMAGES, "image", "text/plain", "must be image", model="replicate-image", prompt="x", image=uri(TEXT)),
    case(IMAGES, "image", "100000 x 100000", "100 million", model="fal-image", prompt="x", image=uri(BOMB)),
    case(IMAGES, "image", "cut off", "image/png", model="replicate-image", prompt="x", image=uri(CUT)),
    upload(EDITS, "image", TEXT, "text/plain", "must be image", model="openai-image", prompt="x"),
    upload(EDITS, "image", TEXT, "text/plain", "must be image", model="replicate-image", prompt="x"),
    upload(VARIATIONS, "image", TEXT, "text/plain", "must be image", model="openai-image"),
    upload(VARIATIONS, "n", PNG, "40", "between 1 and 10", model="openai-image", n="40"),
    upload(EDITS, "image", BOMB, "100000 x 100000", "100 million", model="openai-image", prompt="x"),
    upload(EDITS, "image", BOMB, "100000 x 100000", "100 million", model="replicate-image", prompt="x"),
    upload(EDITS, "image", wav(0.1), "audio/wav", "must be image", model="openai-image", prompt="x"),
    upload(EDITS, "image", b"", "empty", model="openai-image", prompt="x"),
    upload(EDITS, "mask", PNG, "no transparent part", "transparent where to paint", model="replicate-image", prompt="x",
           more=(("mask", ("m.png", PNG, "image/png")),)),
    upload(TRANSCRIPTIONS, "file", TEXT, "text/plain", "audio or video", model="openai-transcription"),
    upload(TRANSCRIPTIONS, "file", PNG, "image/png", "audio or video", model="openai-transcription"),
    upload(TRANSCRIPTIONS, "file", TEXT, "text/plain", "audio or video", model="elevenlabs-transcription"),
    upload(TRANSCRIPTIONS, "file", b"", "empty", model="openai-transcription"),
    upload(TRANSCRIPTIONS, "file", bytes(range(256)), "no known format", "audio or video", model="openai-transcription"),
    upload(TRANSLATIONS, "file", PNG, "image/png", "audio or video", model="whisper-transcription"),
    upload(VIDEOS, "input_reference", TEXT, "text/plain", "must be image", model="replicate-video", prompt="x"),
    upload(VIDEOS, "input_reference", BOMB, "100000 x 100000", "100 million", model="replicate-video", prompt="x"),
    case(JOBS, "video", "image/png", "must be video", model="fal-video", task="video_to_video", prompt="x",
         video=uri(PNG, "video/mp4")),
    case(JOBS, "audio", "text/plain", "audio or video", model="elevenlabs-transcription",
         task="transcribe", audio=uri(TEXT, "audio/wav")),
    case(JOBS, "image", "data URI", "broken", model="replicate-image", task="upscale_image", image="data:image/png;base64,@@"),
    upload(FILES, "file", BOMB, "100000 x 100000", "100 million", purpose="user_data"),
    upload(FILES, "file", CUT, "cut off", "image/png", purpose="user_data"),
    upload(FILES, "file", b"", "empty", purpose="user_data"),
    upload(FILES, "purpose", PNG, "'fun'", "user_data, vision", purpose="fun"),
    # places that nobody may look at
    case(IMAGES, "image", "169.254.169.254", "link-local", model="replicate-image", prompt="x", image=METADATA),
    case(EDITS, "image", "169.254.169.254", "link-local", model="openai-image", prompt="x", image=METADATA),
    case(IMAGES, "image", "10.0.0.1", "private", model="together-image", prompt="x", image="https://10.0.0.1/a.png"),
    case(IMAGES, "image", "10.0.0.1", "private", model="xai-image", prompt="x", image="https://10.0.0.1/a.png"),
    case(VIDEOS, "input_reference", "127.0.0.1", "loopback", model="replicate-video", prompt="x",
         input_reference={"image_url": "https://127.0.0.1/a.png"}),
    case(VIDEOS, "input_reference", "'file-nothing'", "POST /v1/files", model="replicate-video", prompt="x",
         input_reference={"file_id": "file-nothing"}),
    case(JOBS, "image", "::ffff:127.0.0.1", "loopback", model="replicate-image", task="upscale_image",
         image="https://[::ffff:127.0.0.1]/a.png"),
    case(JOBS, "image", "neither a URL", "data URI", model="replicate-image", task="upscale_image", image="file:///etc/passwd"),
    case(JOBS, "webhook", "127.0.0.1", "loopback", model="replicate-image", task="text_to_image", prompt="x",
         webhook="http://127.0.0.1/hook"),
    # timelines
    case(COMPOSE, "timeline.clips[1].at", "is 1", "lasts until 2.000", timeline={
        "clips": [{"source": uri(PNG), "duration": 2}, {"source": uri(PNG), "duration": 2, "at": 1}]}),
    case(COMPOSE, "timeline.clips[0].end", "is 5", "lasts 1.000 seconds", timeline={
        "clips": [{"source": uri(wav(1), "audio/wav"), "end": 5}], "format": "wav"}),
    case(COMPOSE, "timeline.audio[0].start", "is 7", "lasts 1.000 seconds", timeline={
        "clips": [{"source": uri(PNG), "duration": 2}], "audio": [{"source": uri(wav(1), "audio/wav"), "start": 7}]}),
    case(COMPOSE, "timeline.overlays[0].end", "is 9", "2.000 seconds", timeline={
        "clips": [{"source": uri(PNG), "duration": 2}], "overlays": [{"text": "x", "start": 0, "end": 9}]}),
    case(COMPOSE, "timeline.clips[0].source", "127.0.0.1", "loopback",
         timeline={"clips": [{"source": "https://127.0.0.1/a.mp4"}]}),
    case(COMPOSE, "timeline.clips[0].source", "'file-none'", "POST /v1/files", timeline={"clips": [{"source": "file-none"}]}),
    case(COMPOSE, "timeline.clips[0].source", "text/plain", "image or video or audio",
         timeline={"clips": [{"source": uri(TEXT)}]}),
    case(COMPOSE, "timeline.clips[0].source", "100000 x 100000", "100 million", timeline={"clips": [{"source": uri(BOMB)}]}),
    case(COMPOSE, "timeline.clips[0].source", "cannot be read", timeline={"clips": [{"source": uri(mp4(), "video/mp4")}]}),
    case(COMPOSE, "timeline.clips[0].source", "is 3", "0 items", timeline={"clips": [{"source": 3}]}),
    case(COMPOSE, "timeline.clips", "empty", "at least one", timeline={"clips": []}),
    case(COMPOSE, "timeline", "required", prompt="x"),
]  # fmt: skip


class Told(msgspec.Struct):
    """What the gateway answered to a case, and what providers were asked meanwhile."""

    answer: httpx.Response
    asked: list[str]


class Asked(msgspec.Struct):
    """All cases, asked once."""

    told: dict[int, Told]
    gateway: MediaGateway
    database: Path


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Asked]:
    """Asks everything once, at one gateway."""
    folder = tmp_path_factory.mktemp("refusals")
    async with media_gateway(folder, {"routes": ROUTES}) as gateway:
        told: dict[int, Told] = {}
        for number, one in enumerate(CASES):
            kind: dict[str, Any] = {"data": one.body, "files": one.files} if one.files else {"json": one.body}
            before = await requests_at(gateway)
            answer = await gateway.http.post(one.path, **kind)
            told[number] = Told(answer, (await requests_at(gateway))[len(before) :])
        yield Asked(told, gateway, folder / "polyroute.db")


async def requests_at(gateway: MediaGateway) -> list[str]:
    """Paths of what came to all providers."""
    return [row["path"] for row in (await gateway.sandbox.get("/_requests")).json()["requests"]]


@pytest.mark.parametrize("number", range(len(CASES)), ids=[one.name for one in CASES])
def test_it_is_refused_in_the_callers_words(asked: Asked, number: int) -> None:
    one, told = CASES[number], asked.told[number]
    assert told.answer.status_code == one.status, told.answer.text[:600]
    error = told.answer.json()["error"]
    assert error["type"] == "invalid_request_error"
    assert error["param"] == one.param, error
    for word in one.words:
        assert word in error["message"]
    assert [path for path in told.asked if not path.endswith(LISTS)] == []


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_was_charged_and_nothing_is_left_to_do(asked: Asked) -> None:
    for provider in ("replicate", "fal", "xai", "google", "elevenlabs", "runware"):
        assert await asked.gateway.jobs(provider) == []
    answer = await asked.gateway.image("openai-image")  # what is in the ledger after this one was before it
    await asked.gateway.entry(answer)
    with sqlite3.connect(asked.database) as database:
        charged = database.execute(
            "SELECT id FROM requests WHERE cost_usd > 0 AND id <> ?", (answer.headers["x-polyroute-request-id"],)
        )
        assert charged.fetchall() == []
        called = database.execute(
            "SELECT requests.id FROM attempts JOIN requests ON requests.id = attempts.request_id "
            "WHERE attempts.http_status IS NOT NULL AND requests.status <> 'COMPLETED' AND attempts.http_status < 300"
        )
        assert called.fetchall() == []
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (0,)
