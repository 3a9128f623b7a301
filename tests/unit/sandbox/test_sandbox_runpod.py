"""RunPod's queue: run, poll, stream, cancel."""

from __future__ import annotations

import json
from typing import Any

import aiohttp

BASE = "/runpod/v2/endpoint1"
INPUT = {
    "openai_route": "/v1/chat/completions",
    "openai_input": {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
}


async def call(http: aiohttp.ClientSession, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    async with http.request(method, BASE + path, json=body) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def test_a_job_is_queued_works_and_completes(http: aiohttp.ClientSession) -> None:
    job = await call(http, "POST", "/run", {"input": INPUT})
    assert job["status"] == "IN_QUEUE"
    seen = [await call(http, "GET", f"/status/{job['id']}") for _ in range(3)]
    assert [item["status"] for item in seen] == ["IN_PROGRESS", "COMPLETED", "COMPLETED"]
    assert seen[1]["output"][0]["choices"][0]["message"]["content"].startswith("[simulated runpod/m]")
    assert "output" not in seen[0]


async def test_runsync_answers_at_once_and_streams_raw_events(http: aiohttp.ClientSession) -> None:
    streamed = {"input": {**INPUT, "openai_input": {**INPUT["openai_input"], "stream": True}}}  # type: ignore[dict-item]
    whole = await call(http, "POST", "/runsync", {"input": INPUT})
    assert whole["status"] == "COMPLETED"
    job = await call(http, "POST", "/run", streamed)
    pieces, status = [], ""
    while status != "COMPLETED":
        value = await call(http, "GET", f"/stream/{job['id']}")
        status = value["status"]
        pieces += [item["output"] for item in value["stream"]]
    chunks = [json.loads(line[6:]) for line in "".join(pieces).split("\n") if line.startswith("data: {")]
    said = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
    assert said == whole["output"][0]["choices"][0]["message"]["content"]
    assert pieces[-1] == "data: [DONE]\n\n"


async def test_the_workers_own_form_cancel_and_what_is_unknown(http: aiohttp.ClientSession) -> None:
    done = await call(http, "POST", "/runsync", {"input": {"prompt": "Hi", "sampling_params": {"max_tokens": 5}}})
    assert done["output"][0]["usage"]["output"] == 5
    job = await call(http, "POST", "/run", {"input": INPUT})
    assert (await call(http, "POST", f"/cancel/{job['id']}"))["status"] == "CANCELLED"
    assert (await call(http, "GET", f"/status/{job['id']}"))["status"] == "CANCELLED"
    await call(http, "GET", "/status/nothing", status=404)
    failed = {"openai_input": {"model": "no-such-model", "messages": [{"role": "user", "content": "x"}]}}
    value = await call(http, "POST", "/runsync", {"input": failed})
    assert value["output"][0]["error"]["type"] == "worker_error"
