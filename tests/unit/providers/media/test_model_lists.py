"""The models that providers list themselves, asked for over our own path."""

from __future__ import annotations

import pytest

from support.media_gateway import MediaGateway

LISTED = {
    "aihubmix": ("gpt-image-2", {"text_to_image", "image_to_image"}), "aimlapi": None,
    "automatic1111": ("R-ESRGAN 4x+", {"upscale_image"}), "comfyui": ("sd_xl_base_1.0.safetensors", {"text_to_image"}),
    "elevenlabs": ("eleven_multilingual_v2", {"speech"}), "fal": ("fal-ai/flux/dev", {"text_to_image"}), "google": None,
    "openrouter": None, "replicate": ("black-forest-labs/flux-schnell", set()),
    "runware": ("runware:101@1", {"text_to_image"}), "together": None, "whisper": ("whisper", {"transcribe", "translate"}),
    "xai": None,
}  # fmt: skip
"""A model that each lists, and tasks that it is known for; None where only the list itself counts."""


async def test_every_list_of_models_is_given(gateway: MediaGateway) -> None:
    wrong = []
    for provider, expected in LISTED.items():
        answer = await gateway.http.get(f"/v1/media/models?provider={provider}")
        rows = {row["id"]: set(row["tasks"]) for row in answer.json().get("data", ())}
        known = expected is None or (rows.get(f"{provider}/{expected[0]}") or set()) >= expected[1]
        if answer.status_code != 200 or not rows or not known:
            wrong.append((provider, answer.status_code, answer.text[:200]))
    assert not wrong, "\n".join(map(str, wrong))


async def test_a_list_is_asked_for_once_in_a_while(gateway: MediaGateway) -> None:
    for _ in range(2):
        await gateway.http.get("/v1/media/models?provider=xai")
    assert len(await gateway.seen("xai")) == 1


@pytest.mark.parametrize("provider", ["kie", "", "nobody"])
async def test_who_lists_nothing_is_named_with_those_who_do(gateway: MediaGateway, provider: str) -> None:
    answer = await gateway.http.get(f"/v1/media/models?provider={provider}")
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (404, "provider")
    assert "fal, google" in error["message"]


async def test_a_provider_that_is_down_lists_nothing(gateway: MediaGateway) -> None:
    await gateway.fail("fal", "status", status=503)
    answer = await gateway.http.get("/v1/media/models?provider=fal")
    assert (answer.status_code, "fal does not list its models" in answer.text) == (502, True)
