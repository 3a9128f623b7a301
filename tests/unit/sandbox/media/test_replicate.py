"""Replicate: predictions waited for, polled, canceled, called back; and the faults that jobs can have."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from support.media_sandbox import Client, Hooks, until

FLUX = "/replicate/v1/models/black-forest-labs/flux-dev/predictions"
PRO = "/replicate/v1/models/black-forest-labs/flux-1.1-pro/predictions"
VEO = "/replicate/v1/models/google/veo-3.1/predictions"
PROMPT = {"input": {"prompt": "a red bicycle", "output_format": "png"}}
Probe = Callable[[bytes], Awaitable[dict[str, Any]]]


async def test_a_prediction_starts_is_processed_and_succeeds(client: Client) -> None:
    made = await client.call("POST", FLUX, PROMPT, 201)
    assert (made["status"], made["output"], len(made["id"])) == ("starting", None, 26)
    await client.control(advance=50)
    seen = await client.call("GET", made["urls"]["get"])
    assert (seen["status"], seen["output"]) == ("processing", None)
    await client.control(advance=50)
    done = await client.call("GET", made["urls"]["get"])
    assert done["status"] == "succeeded"
    assert isinstance(done["output"], list)
    assert (await client.call("GET", done["output"][0]))[:4] == b"\x89PNG"
    (row,) = await client.jobs("replicate")
    assert (row["polls"], row["downloads"], row["state"]) == (2, 1, "succeeded")


async def test_outputs_are_a_string_an_array_or_an_object_as_the_model_has_it(client: Client) -> None:
    await client.control(job_seconds=0)
    one = await client.call("POST", PRO, PROMPT, 201, headers={"prefer": "wait=5"})
    assert isinstance(one["output"], str)
    many = await client.call(
        "POST", FLUX, {"input": {"prompt": "x", "num_outputs": 3}}, 201, headers={"prefer": "wait"}
    )
    assert len(many["output"]) == 3
    bark = await client.call(
        "POST", "/replicate/v1/predictions", {"version": "suno-ai/bark:abc", "input": {"prompt": "hello"}}, 201
    )
    done = await client.call("GET", bark["urls"]["get"])
    assert set(done["output"]) == {"audio_out", "prompt_npz"}


async def test_waiting_ends_with_the_job_or_with_the_time(client: Client) -> None:
    waiting = asyncio.create_task(client.call("POST", FLUX, PROMPT, 201, headers={"prefer": "wait=60"}))
    await until(lambda: client.jobs("replicate"))
    await client.control(advance=50)
    assert not waiting.done()
    await client.control(advance=60)
    assert (await waiting)["status"] in ("starting", "processing")


async def test_a_waited_prediction_looks_like_the_recorded_one(
    client: Client, recording: Callable[[str], dict[str, Any]]
) -> None:
    real = recording("replicate/prediction-flux-dev-predictions")["response"]
    await client.control(job_seconds=0)
    async with client.http.post(FLUX, json=PROMPT, headers={"prefer": "wait"}) as response:
        value = await response.json()
    assert (response.status, response.headers["preference-applied"]) == (real["status"], "wait=60")
    assert set(real["body_json"]) <= set(value)
    assert (value["status"], type(value["output"])) == (real["body_json"]["status"], list)


async def test_a_film_has_the_length_and_size_that_were_asked_for(client: Client, probe: Probe) -> None:
    await client.control(job_seconds=0)
    body = {"input": {"prompt": "waves", "duration": 8, "resolution": "1080p", "aspect_ratio": "9:16"}}
    made = await client.call("POST", VEO, body, 201, headers={"prefer": "wait"})
    seen = await probe(await client.call("GET", made["output"]))
    assert float(seen["format"]["duration"]) == pytest.approx(8.0, abs=0.01)
    assert (seen["streams"][0]["width"], seen["streams"][0]["height"]) == (1080, 1920)
    assert "imulated" in seen["format"]["tags"]["comment"]


async def test_a_callback_is_signed_and_may_come_twice(client: Client, hooks: Hooks) -> None:
    await client.control(faults={"kind": "duplicate_callback"})
    body = {**PROMPT, "webhook": hooks.url, "webhook_events_filter": ["completed"]}
    made = await client.call("POST", FLUX, body, 201)
    await client.control(advance=101)
    (headers, first), (_, second) = await hooks.next(), await hooks.next()
    assert first == second
    assert (json.loads(first)["id"], json.loads(first)["status"]) == (made["id"], "succeeded")
    secret = (await client.call("GET", "/replicate/v1/webhooks/default/secret"))["key"]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + first
    digest = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


async def test_a_callback_is_repeated_until_it_is_taken(client: Client, hooks: Hooks) -> None:
    hooks.answers = [500]
    await client.call("POST", FLUX, {**PROMPT, "webhook": hooks.url, "webhook_events_filter": ["completed"]}, 201)
    await client.control(advance=101)
    await hooks.next()
    await client.control(advance=1)
    await hooks.next()

    async def taken() -> bool:
        return (await client.jobs("replicate"))[0]["callbacks"][0]["statuses"] == [500, 200]

    assert await until(taken)


async def test_cancel_and_deadline(client: Client) -> None:
    made = await client.call("POST", FLUX, PROMPT, 201)
    assert (await client.call("POST", made["urls"]["cancel"]))["status"] == "canceled"
    late = await client.call("POST", FLUX, PROMPT, 201, headers={"cancel-after": "10s"})
    assert late["id"] != made["id"]
    await client.control(advance=11)

    async def aborted() -> Any:
        seen = await client.call("GET", late["urls"]["get"])
        return seen if seen["status"] == "aborted" else None

    assert (await until(aborted))["output"] is None


async def test_what_is_wrong_gets_the_providers_words(client: Client) -> None:
    value = await client.call("POST", FLUX, {"input": {}}, 422)
    assert (value["title"], value["status"]) == ("Input validation failed", 422)
    assert "prompt" in value["detail"]
    assert "duration" in (await client.call("POST", VEO, {"input": {"prompt": "x", "duration": 7}}, 422))["detail"]
    await client.call("POST", "/replicate/v1/models/missing/model/predictions", PROMPT, 404)
    await client.control(faults={"kind": "status", "status": 429, "times": 1})
    assert (await client.call("POST", FLUX, PROMPT, 429))["detail"].endswith("resets in ~30s.")
    assert await client.jobs("replicate") == []


async def test_faults_of_jobs(client: Client) -> None:
    await client.control(job_seconds=0, faults={"kind": "lost_after_acceptance", "times": 1})
    with pytest.raises(aiohttp.ClientError):
        await client.call("POST", FLUX, PROMPT, 201)
    (lost,) = await client.jobs("replicate")
    assert (lost["state"], lost["fault"]) == ("succeeded", "lost_after_acceptance")

    async def made(kind: str, **more: Any) -> Any:
        await client.control(faults={"kind": kind, **more})
        return await client.call("POST", FLUX, PROMPT, 201)

    moderated = await client.call("GET", (await made("moderation"))["urls"]["get"])
    assert (moderated["status"], "NSFW" in moderated["error"]) == ("failed", True)
    await client.call("GET", (await made("key_revoked"))["urls"]["get"], status=401)
    missing = (await made("missing_at_first", polls=2))["urls"]["get"]
    assert [await _status(client, missing) for _ in range(3)] == [404, 404, 200]
    expired = await client.call("GET", (await made("expired_url"))["urls"]["get"])
    await client.call("GET", expired["output"][0], status=403)
    wrong = await client.call("GET", (await made("wrong_media_type"))["urls"]["get"])
    assert (await client.call("GET", wrong["output"][0])).startswith(b"<!doctype html>")
    stuck = (await made("stuck"))["urls"]["get"]
    assert (await client.call("GET", stuck))["logs"].startswith(" 99%")


async def _status(client: Client, url: str) -> int:
    async with client.http.get(url) as response:
        return response.status


async def test_results_are_gone_after_an_hour(client: Client) -> None:
    await client.control(job_seconds=0)
    made = await client.call("POST", FLUX, PROMPT, 201, headers={"prefer": "wait"})
    await client.control(advance=3601)
    gone = await client.call("GET", made["urls"]["get"])
    assert (gone["data_removed"], gone["output"]) == (True, None)
    await client.call("GET", made["output"][0], status=403)


async def test_stream_files_and_lists(client: Client) -> None:
    await client.control(job_seconds=0)
    made = await client.call("POST", FLUX, PROMPT, 201)
    events = (await client.call("GET", made["urls"]["stream"])).decode()
    assert [line for line in events.split("\n") if line.startswith("event:")][-2:] == ["event: output", "event: done"]
    form = aiohttp.FormData()
    form.add_field("content", b"hello", filename="a.txt", content_type="text/plain")
    file = await client.call("POST", "/replicate/v1/files", form, 201)
    assert await client.call("GET", file["urls"]["get"]) == b"hello"
    await client.call("DELETE", f"/replicate/v1/files/{file['id']}", status=204)
    assert (await client.call("GET", "/replicate/v1/account"))["username"] == "sandbox"
    models = (await client.call("GET", "/replicate/v1/models"))["results"]
    assert {"owner", "name", "latest_version"} <= set(models[0])
