"""OpenAI's own client for pictures, sound and films: with OpenAI behind the gateway, and with providers that speak nothing of
OpenAI's and work in their own time."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from polyroute.mediainfo.inspect import inspect_media
from polyroute.mediainfo.source import FileBytes
from support.gateway_process import GatewayProcess
from support.media_files import png, wav
from support.simulated_providers import SimulatedProviders

pytestmark = [
    pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning"),  # its client's own remarks
    pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning"),
]

TARGETS: dict[str, dict[str, str]] = {
    "picture": {"own": "openai/gpt-image-1", "queued": "fal/fal-ai/flux/schnell"},
    "edit": {"own": "openai/gpt-image-1", "queued": "replicate/black-forest-labs/flux-kontext-pro"},
    "variation": {"own": "openai/gpt-image-1", "queued": "fal/fal-ai/flux-pro/kontext"},
    "voice": {"own": "openai/gpt-4o-mini-tts", "queued": "fal/fal-ai/minimax/speech-2.8-hd"},
    "words": {"own": "openai/whisper-1", "queued": "fal/fal-ai/whisper"},
    "events": {"own": "openai/gpt-4o-transcribe", "queued": "replicate/openai/whisper"},
    "english": {"own": "openai/whisper-1", "queued": "replicate/openai/whisper"},
    "film": {"own": "openai/sora-2", "queued": "fal/fal-ai/veo3.1"},
}
"""By route: who serves it when OpenAI does, and when somebody else does."""
UNNAMED = {"image": "replicate/black-forest-labs/flux-kontext-pro", "video": "openai/sora-2"}
"""Who serves what names no model."""
OPERATIONS = {"edit": "image", "picture": "image", "variation": "image", "voice": "speech", "film": "video"}
PICTURE = ("quay.png", png(64, 64), "image/png")
TALK = ("talk.wav", wav(2.0), "audio/wav")


@pytest.fixture(scope="module")
def house(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with OpenAI, fal and Replicate."""
    config = {
        "server": {"max_upload_mb": 1},
        "fetch": {"allow": ["127.0.0.1"]},
        "defaults": {
            "retries": 0,
            "breaker": {"failures": 100_000, "minimum": 100_000},
            "bench": {"rejected": 0.001, "quota": 0.001, "rate_limited": 0.001, "longest": 0.001},
        },
        "providers": {
            "openai": {"base_url": f"{simulated.url}/openai/v1", "api_key": "sk-x"},
            "fal": {"base_url": f"{simulated.url}/fal", "api_key": "key:secret"},
            "replicate": {"base_url": f"{simulated.url}/replicate/v1", "api_key": "r8_x"},
        },
        "routes": {
            f"{route}-{behind}": {"operation": OPERATIONS.get(route, "transcription"), "targets": [target]}
            for route, targets in TARGETS.items()
            for behind, target in targets.items()
        }
        | {name: {"operation": name, "targets": [target]} for name, target in UNNAMED.items()},
    }
    with GatewayProcess(tmp_path_factory.mktemp("sdk"), json.dumps(config)) as process:
        yield process


@pytest.fixture
def sdk(house: GatewayProcess, sandbox: SimulatedProviders) -> Iterator[openai.OpenAI]:
    """The client as its README makes it, with our address."""
    sandbox.set("*", job_seconds=0.05)
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key="anything", max_retries=0, timeout=40) as client:
        yield client


@pytest.fixture(params=["own", "queued"])
def behind(request: pytest.FixtureRequest) -> str:
    """Who serves: OpenAI, or a provider with a queue."""
    found: str = request.param
    return found


def kind_of(content: bytes | str | None) -> str | None:
    """Of what family a file is, from its bytes (base64 where it is text)."""
    assert content
    return inspect_media(FileBytes(base64.b64decode(content) if isinstance(content, str) else content)).family


def check_entry(house: GatewayProcess, identifier: str, route: str, behind: str) -> None:
    """The ledger says who served."""
    entry = house.entry(identifier)
    assert (entry["actual_provider"], entry["status"]) == (TARGETS[route][behind].partition("/")[0], "COMPLETED")


# ---------------------------------------------------------------- pictures


def test_pictures_are_generated(sdk: openai.OpenAI, house: GatewayProcess, behind: str) -> None:
    raw = sdk.images.with_raw_response.generate(model=f"picture-{behind}", prompt="a lighthouse", n=2)
    answer = raw.parse()
    assert answer.data is not None
    assert [kind_of(one.b64_json) for one in answer.data] == ["image", "image"]
    check_entry(house, raw.headers["x-polyroute-request-id"], "picture", behind)


def test_pictures_are_edited(sdk: openai.OpenAI, house: GatewayProcess, behind: str) -> None:
    raw = sdk.images.with_raw_response.edit(model=f"edit-{behind}", image=PICTURE, prompt="at night")
    answer = raw.parse()
    assert answer.data is not None
    assert kind_of(answer.data[0].b64_json) == "image"
    check_entry(house, raw.headers["x-polyroute-request-id"], "edit", behind)


def test_pictures_are_varied(sdk: openai.OpenAI, house: GatewayProcess, behind: str) -> None:
    raw = sdk.images.with_raw_response.create_variation(model=f"variation-{behind}", image=PICTURE)
    answer = raw.parse()
    assert answer.data is not None
    assert kind_of(answer.data[0].b64_json) == "image"
    check_entry(house, raw.headers["x-polyroute-request-id"], "variation", behind)


def test_a_picture_is_varied_without_naming_a_model(sdk: openai.OpenAI) -> None:
    varied = sdk.images.create_variation(image=PICTURE, response_format="b64_json")
    assert varied.data is not None
    assert kind_of(varied.data[0].b64_json) == "image"


def test_pictures_are_streamed(sdk: openai.OpenAI, behind: str) -> None:
    events = list(sdk.images.generate(model=f"picture-{behind}", prompt="a lighthouse", stream=True))
    assert events[-1].type == "image_generation.completed"
    assert kind_of(events[-1].b64_json) == "image"


# ---------------------------------------------------------------- sound


def test_speech_is_streamed(sdk: openai.OpenAI, house: GatewayProcess, behind: str) -> None:
    speech = sdk.audio.speech.with_streaming_response
    with speech.create(
        model=f"voice-{behind}", voice="alloy", input="The lamp is lit.", response_format="mp3"
    ) as answer:
        sound = b"".join(answer.iter_bytes())
        identifier = answer.headers["x-polyroute-request-id"]
    assert kind_of(sound) == "audio"
    check_entry(house, identifier, "voice", behind)


def test_speech_is_transcribed_with_times(sdk: openai.OpenAI, house: GatewayProcess, behind: str) -> None:
    raw = sdk.audio.transcriptions.with_raw_response.create(
        model=f"words-{behind}", file=TALK, response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    answer = raw.parse()
    assert answer.text
    assert answer.words
    assert answer.words[0].end >= answer.words[0].start
    assert answer.segments is not None
    check_entry(house, raw.headers["x-polyroute-request-id"], "words", behind)


@pytest.mark.parametrize("form", ["json", "text", "srt", "vtt"])
def test_speech_is_transcribed_in_every_form(sdk: openai.OpenAI, behind: str, form: Any) -> None:
    answer: Any = sdk.audio.transcriptions.create(model=f"words-{behind}", file=TALK, response_format=form)
    text = answer.text if form == "json" else answer
    assert "simulated" in text or "transcribed" in text
    assert ("-->" in text) == (form in ("srt", "vtt"))
    assert text.startswith("WEBVTT") == (form == "vtt")


def test_transcripts_are_streamed(sdk: openai.OpenAI, behind: str) -> None:
    events: list[Any] = list(sdk.audio.transcriptions.create(model=f"events-{behind}", file=TALK, stream=True))
    assert events[-1].type == "transcript.text.done"
    assert "".join(event.delta for event in events[:-1]) == events[-1].text


def test_speech_is_translated(sdk: openai.OpenAI, house: GatewayProcess, behind: str) -> None:
    raw = sdk.audio.translations.with_raw_response.create(model=f"english-{behind}", file=TALK)
    assert raw.parse().text
    check_entry(house, raw.headers["x-polyroute-request-id"], "english", behind)


# ---------------------------------------------------------------- films


def test_films_are_made_listed_downloaded_remixed_and_deleted(
    sdk: openai.OpenAI, house: GatewayProcess, behind: str
) -> None:
    done = sdk.videos.create_and_poll(model=f"film-{behind}", prompt="a lamp turns", seconds="8", poll_interval_ms=50)
    assert (done.status, done.progress, done.error) == ("completed", 100, None)
    assert sdk.videos.retrieve(done.id) == done
    assert kind_of(sdk.videos.download_content(done.id).read()) == "video"
    check_entry(house, done.id, "film", behind)
    again = sdk.videos.remix(done.id, prompt="the lamp is red")
    assert again.id != done.id
    assert again.remixed_from_video_id == done.id
    assert sdk.videos.poll(again.id, poll_interval_ms=50).status == "completed"
    assert [one.id for one in sdk.videos.list()][:2] == [again.id, done.id]
    assert sdk.videos.delete(done.id).deleted
    with pytest.raises(openai.NotFoundError):
        sdk.videos.retrieve(done.id)


def test_a_film_of_ones_own_is_edited(sdk: openai.OpenAI) -> None:
    first = sdk.videos.create_and_poll(model="film-queued", prompt="a red fox", poll_interval_ms=50)
    film = ("film.mp4", sdk.videos.download_content(first.id).read(), "video/mp4")
    sent = sdk.videos.edit(video=film, prompt="in blue")
    assert sdk.videos.poll(sent.id, poll_interval_ms=50).status == "completed"


# ---------------------------------------------------------------- exceptions


def test_bad_fields_and_unknown_names_are_the_clients_exceptions(sdk: openai.OpenAI, behind: str) -> None:
    wrong: Any = 0
    with pytest.raises(openai.BadRequestError) as none:
        sdk.images.generate(model=f"picture-{behind}", prompt="a lighthouse", n=wrong)
    assert none.value.param == "n"
    with pytest.raises(openai.BadRequestError) as size:
        sdk.videos.create(model=f"film-{behind}", prompt="a lamp", size="7x7")
    assert size.value.param == "size"
    with pytest.raises(openai.NotFoundError):
        sdk.audio.speech.create(model=f"voices-{behind}", voice="alloy", input="x")
    with pytest.raises(openai.NotFoundError):
        sdk.videos.retrieve("video_unknown")


def test_uploads_over_the_limit_are_the_clients_exception(sdk: openai.OpenAI, behind: str) -> None:
    with pytest.raises((openai.APIStatusError, openai.APIConnectionError)) as large:
        sdk.audio.transcriptions.create(model=f"words-{behind}", file=("talk.wav", io.BytesIO(bytes(3 << 20))))
    assert isinstance(large.value, openai.APIStatusError)
    assert large.value.status_code == 413


def test_what_providers_refuse_is_the_clients_exception(
    sdk: openai.OpenAI, sandbox: SimulatedProviders, behind: str
) -> None:
    provider = TARGETS["picture"][behind].partition("/")[0]
    sandbox.break_down(provider, "content_filter" if behind == "own" else "moderation", times=1)
    with pytest.raises(openai.BadRequestError) as filtered:
        sdk.images.generate(model=f"picture-{behind}", prompt="a lighthouse")
    assert filtered.value.code == "content_policy_violation"
    sandbox.break_down(provider, "status", status=429, times=1)
    with pytest.raises(openai.RateLimitError):
        sdk.images.generate(model=f"picture-{behind}", prompt="a lighthouse")
