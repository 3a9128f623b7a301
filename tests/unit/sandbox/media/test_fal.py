"""fal: the queue and its traps, direct runs, signed callbacks, uploads, prices."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from polyroute.sandbox.media import ed25519
from support.media_sandbox import Client, Hooks

QUEUE = "/fal/queue.fal.run"
RUN = "/fal/fal.run"
FLUX = {"prompt": "a lighthouse", "image_size": {"width": 640, "height": 480}, "num_images": 2, "seed": 5}
Probe = Callable[[bytes], Awaitable[dict[str, Any]]]


@pytest.fixture(autouse=True)
def key(client: Client) -> None:
    client.http.headers["authorization"] = "Key id:secret"  # type: ignore[index]


async def test_a_request_waits_in_the_queue_works_and_completes(client: Client) -> None:
    made = await client.call("POST", f"{QUEUE}/fal-ai/flux/dev", FLUX)
    assert "/fal-ai/flux/requests/" in made["status_url"]
    waiting = await client.call("GET", made["status_url"], status=202)
    assert (waiting["status"], waiting["queue_position"]) == ("IN_QUEUE", 1)
    await client.control(advance=15)
    assert (await client.call("GET", made["status_url"], status=202))["queue_position"] == 0
    await client.control(advance=35)
    working = await client.call("GET", made["status_url"] + "?logs=1", status=202)
    assert (working["status"], working["logs"][0]["message"]) == ("IN_PROGRESS", "50%")
    await client.call("GET", made["response_url"], status=400)
    await client.control(advance=50)
    done = await client.call("GET", made["status_url"])
    assert (done["status"], done["metrics"]["inference_time"]) == ("COMPLETED", 100)
    async with client.http.get(made["response_url"]) as response:
        value = await response.json()
        assert response.headers["x-fal-billable-units"] == "0.6144"
    assert [(item["width"], item["content_type"]) for item in value["images"]] == [(640, "image/jpeg")] * 2
    assert (await client.call("GET", value["images"][0]["url"]))[:2] == b"\xff\xd8"


async def test_the_sub_path_does_not_belong_into_the_queues_addresses(client: Client) -> None:
    made = await client.call("POST", f"{QUEUE}/fal-ai/flux/dev", FLUX)
    await client.call("GET", f"{QUEUE}/fal-ai/flux/dev/requests/{made['request_id']}/status", status=404)


async def test_complete_does_not_mean_success(client: Client) -> None:
    await client.control(job_seconds=0, faults={"kind": "moderation"})
    made = await client.call("POST", f"{QUEUE}/fal-ai/flux/dev", FLUX)
    seen = await client.call("GET", made["status_url"])
    assert (seen["status"], seen["error_type"]) == ("COMPLETED", "content_policy_violation")
    value = await client.call("GET", made["response_url"], status=422)
    assert value["detail"][0]["type"] == "content_policy_violation"


async def test_cancel_says_what_became_of_it(client: Client) -> None:
    made = await client.call("POST", f"{QUEUE}/fal-ai/flux/dev", FLUX)
    assert (await client.call("PUT", made["cancel_url"], status=202))["status"] == "CANCELLATION_REQUESTED"
    assert (await client.call("PUT", made["cancel_url"], status=400))["status"] == "ALREADY_COMPLETED"
    unknown = made["cancel_url"].replace(made["request_id"], "nothing")
    assert (await client.call("PUT", unknown, status=404))["status"] == "NOT_FOUND"


async def test_a_callback_is_signed_with_a_published_key(client: Client, hooks: Hooks) -> None:
    await client.control(job_seconds=0)
    made = await client.call("POST", f"{QUEUE}/fal-ai/flux/dev?fal_webhook={hooks.url}", FLUX)
    checker = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    headers, body = await hooks.next()
    value = json.loads(body)
    assert (value["request_id"], value["status"], len(value["payload"]["images"])) == (made["request_id"], "OK", 2)
    (published,) = (await client.call("GET", "/fal/rest.fal.ai/.well-known/jwks.json"))["keys"]
    names = ("request-id", "user-id", "timestamp")
    parts = [headers[f"x-fal-webhook-{name}"] for name in names] + [hashlib.sha256(body).hexdigest()]
    public = checker.Ed25519PublicKey.from_public_bytes(base64.urlsafe_b64decode(published["x"] + "="))
    public.verify(bytes.fromhex(headers["x-fal-webhook-signature"]), "\n".join(parts).encode())


def test_signatures_are_those_of_the_standard() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert ed25519.public_key(seed).hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert (
        ed25519.sign(seed, b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8")
    )


async def test_a_direct_run_looks_like_the_recorded_one(
    client: Client, recording: Callable[[str], dict[str, Any]]
) -> None:
    real = recording("fal/image-flux-dev")["response"]["body_json"]
    value = await client.call("POST", f"{RUN}/fal-ai/flux/dev", {"prompt": "a tiger"})
    assert set(real) <= set(value)
    assert set(real["images"][0]) <= set(value["images"][0])
    told = recording("fal/transcription-fal-ai-wizper")["response"]["body_json"]
    value = await client.call("POST", f"{RUN}/fal-ai/wizper", {"audio_url": "https://example.com/a.mp3"})
    assert set(told) <= set(value)
    assert set(told["chunks"][0]) <= set(value["chunks"][0])


@pytest.mark.parametrize(
    ("endpoint", "body", "field", "length"),
    [
        ("fal-ai/veo3.1", {"prompt": "x", "duration": "6s"}, "video", 6.0),
        ("fal-ai/kling-video/v3/pro/text-to-video", {"prompt": "x", "duration": "5"}, "video", 5.0),
        ("fal-ai/elevenlabs/music", {"prompt": "x", "music_length_ms": 12000}, "audio", 12.0),
        ("fal-ai/elevenlabs/sound-effects/v2", {"text": "x", "duration_seconds": 2.5}, "audio", 2.5),
        ("fal-ai/elevenlabs/tts/multilingual-v2", {"text": "one two three", "voice": "Rachel"}, "audio", 0.9),
        ("fal-ai/minimax/voice-clone", {"audio_url": "https://example.com/a.wav"}, "audio", 0.3),
    ],
)
async def test_films_and_sound_have_their_length(
    client: Client, probe: Probe, endpoint: str, body: dict[str, Any], field: str, length: float
) -> None:
    value = await client.call("POST", f"{RUN}/{endpoint}", body)
    seen = await probe(await client.call("GET", value[field]["url"]))
    assert float(seen["format"]["duration"]) == pytest.approx(length, abs=0.05)


async def test_minimax_speaks_in_hexadecimal(client: Client) -> None:
    value = await client.call("POST", f"{RUN}/fal-ai/minimax/speech-2.8-hd", {"prompt": "hello"})
    assert bytes.fromhex(value["audio"]["url"])[:3] == b"ID3"


@pytest.mark.parametrize(
    ("endpoint", "body", "field"),
    [
        ("fal-ai/flux/dev", {}, "prompt"),
        ("fal-ai/flux/dev", {"prompt": "x", "image_size": "huge"}, "image_size"),
        ("fal-ai/veo3.1", {"prompt": "x", "duration": "7s"}, "duration"),
        ("fal-ai/whisper", {}, "audio_url"),
        ("fal-ai/flux/dev", {"prompt": "x", "num_images": 9}, "num_images"),
    ],
)
async def test_what_cannot_be_made_names_the_field(
    client: Client, endpoint: str, body: dict[str, Any], field: str
) -> None:
    value = await client.call("POST", f"{RUN}/{endpoint}", body, 422)
    assert value["detail"][0]["loc"] == ["body", field]
    assert await client.jobs("fal") == []


async def test_uploads_catalogue_prices_and_status_stream(client: Client) -> None:
    await client.control(job_seconds=0)
    token = await client.call("POST", "/fal/rest.fal.ai/storage/auth/token?storage_type=fal-cdn-v3", {})
    url = token["base_url"] + "/files/upload"
    kept = await client.call(
        "POST", url, b"some bytes", headers={"content-type": "image/png", "x-fal-file-name": "a.png"}
    )
    assert await client.call("GET", kept["access_url"]) == b"some bytes"
    page = await client.call("GET", "/fal/api.fal.ai/v1/models?limit=3")
    assert (len(page["models"]), page["has_more"], page["next_cursor"]) == (3, True, "3")
    prices = await client.call("GET", "/fal/api.fal.ai/v1/models/pricing?endpoint_id=fal-ai/veo3.1")
    assert prices["prices"] == [
        {"endpoint_id": "fal-ai/veo3.1", "unit_price": 0.1, "unit": "seconds", "currency": "USD"}
    ]
    made = await client.call("POST", f"{QUEUE}/fal-ai/flux/dev", FLUX)
    events = (await client.call("GET", made["status_url"] + "/stream")).decode().strip().split("\n\n")
    assert json.loads(events[-1].removeprefix("data: "))["status"] == "COMPLETED"
    await client.control(faults={"kind": "quota"})
    assert "Exhausted balance" in (await client.call("POST", f"{RUN}/fal-ai/flux/dev", FLUX, 403))["detail"]
