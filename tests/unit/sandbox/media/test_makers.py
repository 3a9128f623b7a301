"""Luma, Black Forest Labs, Stability and Runway."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import aiohttp

from support.media_sandbox import Client, Hooks

Recording = Callable[[str], dict[str, Any]]


async def test_luma_dreams_and_its_agents_sign_addresses_anew(client: Client, hooks: Hooks) -> None:
    body = {"model": "ray-2", "prompt": "a storm", "duration": "5s", "callback_url": hooks.url}
    made = await client.call("POST", "/luma/dream-machine/v1/generations", body, 201)
    assert json.loads((await hooks.next())[1])["state"] in ("queued", "dreaming")
    await client.control(advance=101)
    done = await client.call("GET", f"/luma/dream-machine/v1/generations/{made['id']}")
    assert (await client.call("GET", done["assets"]["video"]))[4:8] == b"ftyp"
    assert json.loads((await hooks.next())[1])["state"] == "completed"
    await client.call("DELETE", f"/luma/dream-machine/v1/generations/{made['id']}", status=204)
    await client.call("GET", f"/luma/dream-machine/v1/generations/{made['id']}", status=404)
    await client.control(job_seconds=0)
    agents = {"type": "video", "model": "ray-3.2", "prompt": "a storm", "video": {"duration": "10s"}}
    made = await client.call("POST", "/luma/v1/generations", agents, 201)
    path = f"/luma/v1/generations/{made['id']}"
    first, second = [(await client.call("GET", path))["output"][0]["url"] for _ in range(2)]
    assert first != second
    assert (await client.call("GET", second))[4:8] == b"ftyp"
    await client.call("POST", "/luma/v1/generations", {**agents, "model": "nothing"}, 400)


async def test_bfl_is_polled_at_another_address_and_signs(client: Client, hooks: Hooks, recording: Recording) -> None:
    body = {"prompt": "a kiln", "width": 512, "height": 512}
    made = await client.call("POST", "/bfl/v1/flux-2-pro", body)
    assert "/bfl/api.us1.bfl.ai/v1/get_result?id=" in made["polling_url"]
    waiting = await client.call("GET", made["polling_url"])
    assert (waiting["status"], waiting["result"]) == ("Pending", None)
    told = await client.call("POST", "/bfl/v1/flux-2-pro", {**body, "webhook_url": hooks.url, "webhook_secret": "s"})
    assert "polling_url" not in told
    await client.control(advance=101)
    done = await client.call("GET", made["polling_url"])
    assert (await client.call("GET", f"/bfl/v1/get_result?id={told['id']}"))["status"] == "Ready"
    real = recording("bfl/image-text-to-image-default-black-forest-labs-text-to-image-4")["response"]["body_json"]
    assert (set(real), set(real["result"])) == (set(done), set(done["result"]))
    assert (await client.call("GET", done["result"]["sample"]))[:2] == b"\xff\xd8"
    headers, told = await hooks.next()
    assert headers["x-bfl-signature"] == "sha256=" + hmac.new(b"s", told, hashlib.sha256).hexdigest()
    await client.control(advance=700)
    await client.call("GET", done["result"]["sample"], status=403)
    assert (await client.call("GET", "/bfl/v1/get_result?id=nothing", status=404))["status"] == "Task not found"
    assert (await client.call("POST", "/bfl/v1/flux-2-pro", {"prompt": "x", "width": 511}, 422))["detail"][0]["loc"][
        1
    ] == "width"
    await client.control(job_seconds=0, faults={"kind": "foreign_url"})
    foreign = await client.call("POST", "/bfl/v1/flux-2-pro", {"prompt": "x"})
    assert foreign["polling_url"].startswith("https://api.us1.bfl.example.invalid/")
    await client.control(faults={"kind": "moderation"})
    made = await client.call("POST", "/bfl/v1/flux-2-pro", {"prompt": "x"})
    assert (await client.call("GET", made["polling_url"]))["status"] == "Content Moderated"


async def test_stability_answers_in_the_form_that_is_accepted(client: Client) -> None:
    def form(**fields: str) -> aiohttp.FormData:
        made = aiohttp.FormData({"prompt": "x", **fields})
        made.add_field("none", b"", filename="", content_type="application/octet-stream")
        return made

    base = "/stability/v2beta/stable-image"
    value = await client.call("POST", f"{base}/generate/core", form(), headers={"accept": "application/json"})
    assert (value["finish_reason"], base64.b64decode(value["image"])[:4]) == ("SUCCESS", b"\x89PNG")
    data = await client.call(
        "POST", f"{base}/generate/ultra", form(output_format="webp"), headers={"accept": "image/*"}
    )
    assert data[8:12] == b"WEBP"
    wrong = await client.call("POST", f"{base}/generate/core", form(aspect_ratio="7:1"), 400)
    assert set(wrong) == {"id", "name", "errors"}
    large = aiohttp.FormData({"prompt": "x"})
    large.add_field("image", bytes(99), filename="a.png", content_type="image/png")
    made = await client.call("POST", f"{base}/upscale/creative", large)
    path = f"/stability/v2beta/results/{made['id']}"
    assert (await client.call("GET", path, status=202))["status"] == "in-progress"
    await client.control(advance=101)
    assert (await client.call("GET", path))[:4] == b"\x89PNG"
    await client.control(faults={"kind": "moderation", "times": 1})
    value = await client.call("POST", f"{base}/generate/core", form(), headers={"accept": "application/json"})
    assert value["finish_reason"] == "CONTENT_FILTERED"


async def test_runway_wants_its_version_and_is_throttled_before_it_runs(client: Client) -> None:
    body = {
        "model": "gen4.5",
        "promptText": "dolly in",
        "promptImage": "https://e/a.png",
        "ratio": "1280:720",
        "duration": 5,
    }
    await client.call("POST", "/runway/v1/image_to_video", body, 400, headers={"x-runway-version": ""})
    made = await client.call("POST", "/runway/v1/image_to_video", body)
    path, seen = f"/runway/v1/tasks/{made['id']}", []
    for seconds in (5, 10, 50, 50):
        await client.control(advance=seconds)
        seen.append(await client.call("GET", path))
    assert [item["status"] for item in seen] == ["PENDING", "THROTTLED", "RUNNING", "SUCCEEDED"]
    assert (seen[2]["progress"], seen[3]["cost"]["credits"]) == (0.65, 60)
    assert (await client.call("GET", seen[3]["output"][0]))[4:8] == b"ftyp"
    other = await client.call("POST", "/runway/v1/image_to_video", body)
    await client.call("DELETE", f"/runway/v1/tasks/{other['id']}", status=204)
    assert (await client.call("GET", f"/runway/v1/tasks/{other['id']}"))["status"] == "CANCELLED"
    await client.control(job_seconds=0, faults={"kind": "moderation"})
    bad = await client.call(
        "POST", "/runway/v1/text_to_image", {"model": "gen4_image", "promptText": "x", "ratio": "720:720"}
    )
    failed = await client.call("GET", f"/runway/v1/tasks/{bad['id']}")
    assert (failed["failureCode"], failed["cost"]["credits"]) == ("SAFETY.INPUT.TEXT", 0)
