"""What single models are sent, where they take other fields than their likes do."""

from __future__ import annotations

from typing import Any

import pytest

from polyroute.providers.media.fields import fill, place
from polyroute.providers.media.tables import load_table
from polyroute.types.media import InputRole, MediaInput, MediaRequest, Task
from support.media_gateway import MediaGateway
from support.media_making import make
from support.media_work import wire_of
from support.replayed_wire import ReplayedWire


def at(role: InputRole, name: str) -> MediaInput:
    return MediaInput(role=role, url=f"https://a.example/{name}")


PICTURE, FRAME, LAST = at("image", "p.png"), at("first_frame", "f.png"), at("last_frame", "l.png")
SOUND, FILM = at("audio", "s.mp3"), at("video", "v.mp4")


@pytest.mark.parametrize(
    ("provider", "model", "request_", "sent"),
    [
        (
            "kie", "midjourney", MediaRequest(task=Task.IMAGE_TO_IMAGE, prompt="x", inputs=(PICTURE,)),
            {"taskType": "mj_img2img", "prompt": "x", "fileUrls": [PICTURE.url]},
        ),
        (
            "kie", "midjourney", MediaRequest(task=Task.IMAGE_TO_VIDEO, prompt="x", inputs=(FRAME,)),
            {"taskType": "mj_video", "prompt": "x", "fileUrls": [FRAME.url]},
        ),
        (
            "kie", "bytedance/seedance-1.5-pro",
            MediaRequest(task=Task.IMAGE_TO_VIDEO, prompt="x", inputs=(FRAME, LAST), duration=8),
            {"prompt": "x", "duration": 8, "input_urls": [FRAME.url, LAST.url]},
        ),
        (
            "kie", "bytedance/seedance-2", MediaRequest(task=Task.IMAGE_TO_VIDEO, prompt="x", inputs=(FRAME, LAST)),
            {"prompt": "x", "first_frame_url": FRAME.url, "last_frame_url": LAST.url},
        ),
        (
            "kie", "kling/ai-avatar-v1-pro",
            MediaRequest(task=Task.ANIMATE, prompt="x", inputs=(PICTURE, SOUND), resolution="720p"),
            {"prompt": "x", "image_url": PICTURE.url, "audio_url": SOUND.url},
        ),
        (
            "kie", "infinitalk/from-audio",
            MediaRequest(task=Task.ANIMATE, prompt="x", inputs=(PICTURE, SOUND), resolution="480p"),
            {"prompt": "x", "image_url": PICTURE.url, "audio_url": SOUND.url, "resolution": "480p"},
        ),
        (
            "piapi", "kling/lip_sync", MediaRequest(task=Task.ANIMATE, inputs=(FILM, SOUND)),
            {"video_url": FILM.url, "local_dubbing_url": SOUND.url, "tts_text": "", "tts_timbre": "", "tts_speed": 1},
        ),
        (
            "piapi", "Qubico/flux1-dev-advanced/redux-variation",
            MediaRequest(task=Task.IMAGE_TO_IMAGE, prompt="x", inputs=(PICTURE,), width=512, height=512),
            {"prompt": "x", "image": PICTURE.url, "width": 512, "height": 512},
        ),
        (
            "piapi", "Qubico/diffrhythm/txt2audio-base", MediaRequest(task=Task.MUSIC, prompt="jazz"),
            {"style_prompt": "jazz", "lyrics": "[inst]"},
        ),
        (
            "runpod", "infinitetalk",
            MediaRequest(task=Task.ANIMATE, prompt="x", inputs=(PICTURE, SOUND), resolution="720p"),
            {"prompt": "x", "image": PICTURE.url, "audio": SOUND.url, "size": "720p"},
        ),
        (
            "fal", "fal-ai/luma-dream-machine/ray-2/modify",
            MediaRequest(task=Task.VIDEO_TO_VIDEO, prompt="x", inputs=(FILM,), options={"fal": {"mode": "flex_1"}}),
            {"prompt": "x", "video_url": FILM.url, "mode": "flex_1"},
        ),
        (
            "replicate", "black-forest-labs/flux-schnell", MediaRequest(task=Task.TEXT_TO_IMAGE, prompt="x", steps=30),
            {"prompt": "x", "num_inference_steps": 4},
        ),
    ],
)  # fmt: skip
async def test_a_model_is_sent_its_own_fields(
    provider: str, model: str, request_: MediaRequest, sent: dict[str, Any]
) -> None:
    spec = load_table(provider).find(request_.task, model)
    assert spec is not None
    assert await place(fill(spec, request_, provider), ReplayedWire()) == sent


async def test_ones_own_deployment_on_replicate_is_asked(gateway: MediaGateway) -> None:
    result = await make(gateway, Task.TEXT_TO_IMAGE, "replicate/deployments/acme/posters", prompt="a red fox")
    assert result.made.artifacts[0].family == "image"
    posts = [row for row in await gateway.seen("replicate") if row["method"] == "POST"]
    assert posts[0]["path"].endswith("/deployments/acme/posters/predictions")


async def test_the_voices_of_xai_are_listed(gateway: MediaGateway) -> None:
    adapter, wire = wire_of(gateway, "xai")
    assert [voice.id for voice in await adapter.voices(wire)] == ["eve", "ara", "rex", "sal", "leo"]
