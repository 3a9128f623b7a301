"""OpenAI's own client for images, audio and videos, on routes that end at providers which speak nothing of OpenAI's."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from support.gateway_process import GatewayProcess
from support.media_files import png, wav
from support.simulated_providers import SimulatedProviders

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")  # its client's own remark


@pytest.fixture(scope="module")
def house(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with Replicate and ElevenLabs."""
    config = {
        "fetch": {"allow": ["127.0.0.1"]},
        "defaults": {"retries": 0, "breaker": {"failures": 100_000, "minimum": 100_000}},
        "providers": {
            "replicate": {"base_url": f"{simulated.url}/replicate/v1", "api_key": "r8_x"},
            "elevenlabs": {"base_url": f"{simulated.url}/elevenlabs", "api_key": "xi"},
            "studio": {
                "adapter": "openai_compatible",
                "base_url": f"{simulated.url}/openai/v1",
                "serves": ["video"],
                "api_key": "sk-x",
            },
        },
        "routes": {
            "dall-e-3": {"operation": "image", "targets": ["replicate/black-forest-labs/flux-schnell"]},
            "gpt-image-1": {"operation": "image", "targets": ["replicate/black-forest-labs/flux-kontext-pro"]},
            "tts-1": {"operation": "speech", "targets": ["elevenlabs/eleven_multilingual_v2"]},
            "whisper-1": {"operation": "transcription", "targets": ["elevenlabs/scribe_v2"]},
            "whisper-translate": {"operation": "transcription", "targets": ["replicate/openai/whisper"]},
            "sora-2": {"operation": "video", "targets": ["replicate/luma/ray-2-720p"]},
            "video": {"operation": "video", "targets": ["studio/sora-2"]},
            "image": {"operation": "image", "targets": ["replicate/black-forest-labs/flux-kontext-pro"]},
        },
    }
    with GatewayProcess(tmp_path_factory.mktemp("sdk"), json.dumps(config)) as process:
        yield process


@pytest.fixture
def sdk(house: GatewayProcess, sandbox: SimulatedProviders) -> Iterator[openai.OpenAI]:
    """The client as its README makes it, with our address."""
    sandbox.set("*", job_seconds=0.2)
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key="anything", max_retries=0, timeout=40) as client:
        yield client


def sniff(content: bytes) -> str:
    """What a file is, from its first bytes."""
    if content[4:8] == b"ftyp":
        return "video/mp4"
    pictures = (content[:8] == b"\x89PNG\r\n\x1a\n", content[8:12] == b"WEBP", content[:2] == b"\xff\xd8")
    if any(pictures):
        return "image"
    sound = content[:3] == b"ID3" or (content[0] == 0xFF and content[1] & 0xE0 == 0xE0)
    return "audio/mpeg" if sound else "unknown"


def served(house: GatewayProcess, headers: Any) -> tuple[str, str]:
    """Who the ledger says that served a call, and the call's status."""
    entry = house.entry(headers["x-polyroute-request-id"])
    return entry["actual_provider"], entry["status"]


def test_images_are_generated(sdk: openai.OpenAI, house: GatewayProcess) -> None:
    raw = sdk.images.with_raw_response.generate(
        model="dall-e-3", prompt="a lighthouse", n=1, response_format="b64_json"
    )
    answer = raw.parse()
    assert answer.data is not None
    assert answer.data[0].b64_json is not None
    assert sniff(base64.b64decode(answer.data[0].b64_json)) == "image"
    assert served(house, raw.headers) == ("replicate", "COMPLETED")


def test_images_are_edited(sdk: openai.OpenAI, house: GatewayProcess, sandbox: SimulatedProviders) -> None:
    picture = ("quay.png", io.BytesIO(png(64, 64)), "image/png")
    raw = sdk.images.with_raw_response.edit(model="gpt-image-1", image=picture, prompt="at night")
    answer = raw.parse()
    assert answer.data is not None
    assert answer.data[0].b64_json is not None
    assert sniff(base64.b64decode(answer.data[0].b64_json)) == "image"
    assert served(house, raw.headers) == ("replicate", "COMPLETED")
    assert any(row["path"].endswith("/predictions") for row in sandbox.seen("replicate"))


def test_speech_is_streamed_to_a_file(sdk: openai.OpenAI, house: GatewayProcess) -> None:
    with sdk.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="The lamp is lit.", response_format="mp3"
    ) as answer:
        sound = b"".join(answer.iter_bytes())
        headers = answer.headers
    assert sniff(sound) == "audio/mpeg"
    assert served(house, headers) == ("elevenlabs", "COMPLETED")


def test_speech_is_transcribed(sdk: openai.OpenAI, house: GatewayProcess) -> None:
    recording = ("talk.wav", io.BytesIO(wav(2.0)), "audio/wav")
    raw = sdk.audio.transcriptions.with_raw_response.create(
        model="whisper-1", file=recording, response_format="verbose_json", timestamp_granularities=["word"]
    )
    answer = raw.parse()
    assert answer.text
    assert answer.words
    assert answer.words[0].end >= answer.words[0].start
    assert served(house, raw.headers) == ("elevenlabs", "COMPLETED")


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # of the client's own types
def test_speech_is_translated(sdk: openai.OpenAI, house: GatewayProcess) -> None:
    recording = ("talk.wav", io.BytesIO(wav(2.0)), "audio/wav")
    raw = sdk.audio.translations.with_raw_response.create(model="whisper-translate", file=recording)
    assert raw.parse().text
    assert served(house, raw.headers) == ("replicate", "COMPLETED")


def test_a_video_is_created_polled_and_downloaded(sdk: openai.OpenAI, house: GatewayProcess) -> None:
    done = sdk.videos.create_and_poll(model="sora-2", prompt="a lamp turns", seconds="8", poll_interval_ms=100)
    assert (done.status, done.progress, done.model) == ("completed", 100, "sora-2")
    assert sniff(sdk.videos.download_content(done.id).read()) == "video/mp4"
    assert house.entry(done.id)["actual_provider"] == "replicate"


def test_what_a_provider_refuses_is_the_clients_own_exception(sdk: openai.OpenAI, sandbox: SimulatedProviders) -> None:
    sandbox.break_down("replicate", "moderation", times=1)
    with pytest.raises(openai.BadRequestError) as refused:
        sdk.images.generate(model="dall-e-3", prompt="a lighthouse")
    assert refused.value.code == "content_policy_violation"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
def test_a_picture_is_varied_without_naming_a_model(sdk: openai.OpenAI) -> None:
    varied = sdk.images.create_variation(image=("otter.png", png(64, 64), "image/png"), response_format="b64_json")
    assert varied.data is not None
    assert sniff(base64.b64decode(varied.data[0].b64_json or "")) == "image"


def test_a_transcript_comes_as_events(sdk: openai.OpenAI) -> None:
    stream = sdk.audio.transcriptions.create(model="whisper-1", file=("talk.wav", wav(1.0)), stream=True)
    events = list(stream)
    assert events[-1].type == "transcript.text.done"
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == events[-1].text


def test_a_video_is_edited_and_remixed(sdk: openai.OpenAI, house: GatewayProcess) -> None:
    first = sdk.videos.create_and_poll(model="video", prompt="a red fox", poll_interval_ms=50)
    assert first.status == "completed", first.error
    again = sdk.videos.remix(first.id, prompt="in blue")
    assert sdk.videos.poll(again.id, poll_interval_ms=50).status == "completed"
    assert again.remixed_from_video_id == first.id
    own = sdk.videos.download_content(first.id).read()
    sent = sdk.videos.edit(video=("film.mp4", own, "video/mp4"), prompt="in red")
    assert sdk.videos.poll(sent.id, poll_interval_ms=50).status == "completed"
