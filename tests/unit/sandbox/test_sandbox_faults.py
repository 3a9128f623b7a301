"""Everything that can be broken on purpose, seen by a plain HTTP client."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import aiohttp
import pytest

from polyroute.sandbox.server import Running

ASK = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say 60 words about harbours."}]}
STREAM = {**ASK, "stream": True}
CHAT = "/openai/v1/chat/completions"
# It takes a millisecond; the rest is for a machine that is busy with other tests.
PATIENCE = 1.0


async def control(http: aiohttp.ClientSession, faults: Any = None, **more: Any) -> dict[str, Any]:
    body = {"provider": "openai", **more}
    if faults is not None:
        body["faults"] = faults
    async with http.post("/_control", json=body) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def state(http: aiohttp.ClientSession) -> dict[str, Any]:
    async with http.get("/_control") as response:
        return await response.json()


async def post(http: aiohttp.ClientSession, body: dict[str, Any], path: str = CHAT) -> tuple[int, str, dict[str, str]]:
    async with http.post(path, json=body) as response:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return response.status, await response.text(), headers


def said(text: str) -> str:
    """The content of a chat completion stream."""
    chunks = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])


async def test_a_status_lasts_as_many_times_as_asked_and_tells_when_to_return(http: aiohttp.ClientSession) -> None:
    await control(http, {"kind": "status", "status": 429, "times": 2, "retry_after": "3"})
    answers = [await post(http, ASK) for _ in range(3)]
    assert [status for status, _, _ in answers] == [429, 429, 200]
    assert answers[0][2]["retry-after"] == "3"
    assert answers[0][2]["retry-after-ms"] == "3000"
    assert json.loads(answers[0][1])["error"]["code"] == "rate_limit_exceeded"
    assert all(headers["x-polyroute-simulated"] == "1" for _, _, headers in answers)


async def test_gemini_puts_the_wait_into_the_body(http: aiohttp.ClientSession) -> None:
    await control(http, {"kind": "status", "status": 429, "retry_after": "37"}, provider="google")
    body = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
    status, text, headers = await post(http, body, "/google/v1beta/models/gemini-3.8-flash:generateContent")
    details = json.loads(text)["error"]["details"]
    assert status == 429
    assert "retry-after" not in headers
    assert details[-1]["retryDelay"] == "37s"


async def test_the_narrowest_setting_wins_and_delete_clears_all(http: aiohttp.ClientSession) -> None:
    await control(http, {"kind": "status", "status": 500}, provider="*")
    await control(http, {"kind": "status", "status": 502}, provider="openai")
    await control(http, {"kind": "status", "status": 504}, provider="openai", operation="chat")
    assert (await post(http, ASK))[0] == 504
    embedding = {"model": "text-embedding-3-small", "input": "x"}
    assert (await post(http, embedding, "/openai/v1/embeddings"))[0] == 502
    assert (await post(http, ASK, "/groq/openai/v1/chat/completions"))[0] == 500
    async with http.delete("/_control") as response:
        after = await response.json()
    assert after["settings"] == []
    assert after["requests"] == 0
    assert (await post(http, ASK))[0] == 200


async def test_null_faults_mend_one_provider(http: aiohttp.ClientSession) -> None:
    await control(http, {"kind": "status", "status": 500})
    assert (await post(http, ASK))[0] == 500
    async with http.post("/_control", json={"provider": "openai", "faults": None}) as response:
        assert response.status == 200
    assert (await post(http, ASK))[0] == 200


async def test_a_probable_fault_strikes_the_same_requests_every_time(http: aiohttp.ClientSession) -> None:
    fault = {"kind": "status", "status": 500, "probability": 0.4, "seed": 11}
    runs = []
    for _ in range(2):
        await control(http, fault)
        runs.append([(await post(http, ASK))[0] for _ in range(12)])
    assert runs[0] == runs[1]
    assert set(runs[0]) == {200, 500}


async def test_reset_breaks_the_connection_before_a_byte(http: aiohttp.ClientSession) -> None:
    await control(http, {"kind": "reset", "times": 1})
    with pytest.raises(aiohttp.ClientError):
        await post(http, ASK)
    assert (await post(http, ASK))[0] == 200


@pytest.mark.parametrize("body", [ASK, STREAM], ids=["whole", "stream"])
async def test_cut_ends_in_the_middle(http: aiohttp.ClientSession, body: dict[str, Any]) -> None:
    await control(http, {"kind": "cut", "after_tokens": 20})
    received = bytearray()

    async def read_all(response: aiohttp.ClientResponse) -> None:
        async for chunk in response.content.iter_any():
            received.extend(chunk)

    async with http.post(CHAT, json=body) as response:
        assert response.status == 200
        with pytest.raises(aiohttp.ClientError):
            await read_all(response)
    assert received
    if body is STREAM:
        assert len(said(received.decode())) == 80
        assert b"[DONE]" not in received


async def test_hang_and_slow_first_token_and_stall_last_as_long_as_asked(http: aiohttp.ClientSession) -> None:
    for kind in ("hang", "slow_first_token", "stall"):
        await control(http, {"kind": kind, "seconds": 0.15, "times": 1})
        started = time.monotonic()
        async with http.post(CHAT, json=STREAM) as response:
            headers_at = time.monotonic() - started
            first = await response.content.readany()
            first_at = time.monotonic() - started
            rest = await response.content.read()
            end_at = time.monotonic() - started
        assert said((first + rest).decode()).startswith("[simulated openai/gpt-4o-mini]")
        assert end_at >= 0.15
        assert (headers_at >= 0.15) == (kind == "hang")
        assert (first_at >= 0.15) == (kind != "stall")


async def test_an_endless_hang_ends_when_the_caller_leaves_and_is_counted_at_once(http: aiohttp.ClientSession) -> None:
    await control(http, {"kind": "hang"})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await post(http, ASK)
    left = time.monotonic()
    while (await state(http))["aborted_by_client"] == 0:
        assert time.monotonic() - left < PATIENCE
    counters = (await state(http))["counters"]["openai"]
    assert counters == {"requests": 1, "faulted": 1, "aborted_by_client": 1, "open_streams": 0}


async def test_a_stream_that_the_caller_leaves_is_counted_at_once(http: aiohttp.ClientSession) -> None:
    await control(http, tokens_per_second=100)
    async with http.post(CHAT, json=STREAM) as response:
        await response.content.readany()
        assert (await state(http))["counters"]["openai"]["open_streams"] == 1
        response.close()
    left = time.monotonic()
    while (await state(http))["aborted_by_client"] == 0:
        assert time.monotonic() - left < PATIENCE
    assert (await state(http))["open_streams"] == 0


async def test_bodies_that_are_none(http: aiohttp.ClientSession) -> None:
    await control(http, {"kind": "empty", "times": 1})
    assert (await post(http, ASK))[:2] == (200, "")
    await control(http, {"kind": "html", "status": 502, "times": 1})
    status, text, headers = await post(http, ASK)
    assert (status, headers["content-type"]) == (502, "text/html")
    assert "<html>" in text
    await control(http, {"kind": "garbage", "times": 1})
    async with http.post(CHAT, json=STREAM) as response:
        raw = await response.read()
        assert response.content_type == "text/event-stream"
    assert b"data:" not in raw
    await control(http, {"kind": "malformed_chunk", "times": 1})
    _, text, _ = await post(http, ASK)
    with pytest.raises(json.JSONDecodeError):
        json.loads(text)


async def test_no_content_is_well_formed_and_empty(http: aiohttp.ClientSession) -> None:
    await control(http, {"kind": "no_content"})
    whole = json.loads((await post(http, ASK))[1])
    assert whole["choices"][0]["message"]["content"] == ""
    assert whole["choices"][0]["finish_reason"] == "stop"
    streamed = (await post(http, STREAM))[1]
    assert said(streamed) == ""
    assert streamed.endswith("data: [DONE]\n\n")


async def test_a_malformed_chunk_comes_between_good_ones(http: aiohttp.ClientSession) -> None:
    await control(http, {"kind": "malformed_chunk", "after_tokens": 4})
    lines = [line for line in (await post(http, STREAM))[1].split("\n") if line.startswith("data: {")]
    broken = []
    for place, line in enumerate(lines):
        try:
            json.loads(line[6:])
        except json.JSONDecodeError:
            broken.append(place)
    assert broken == [5]
    assert len(lines) > 10


@pytest.mark.parametrize(
    ("path", "body", "end"),
    [
        (CHAT, STREAM, b"data: [DONE]"),
        ("/perplexity/chat/completions", STREAM, b'"finish_reason":"stop"'),
        ("/openai/v1/responses", {"model": "gpt-4o", "input": "x", "stream": True}, b"response.completed"),
        (
            "/anthropic/v1/messages",
            {"model": "claude-sonnet-5-5", "max_tokens": 99, "messages": ASK["messages"], "stream": True},
            b"message_stop",
        ),
        (
            "/google/v1beta/models/gemini-3.8-flash:streamGenerateContent?alt=sse",
            {"contents": [{"role": "user", "parts": [{"text": "x"}]}]},
            b'"finishReason"',
        ),
        ("/ollama/api/chat", {"model": "qwen3", "messages": ASK["messages"]}, b'"done":true'),
        (
            "/cohere/v2/chat",
            {"model": "command-a-03-2025", "messages": ASK["messages"], "stream": True},
            b"message-end",
        ),
        (
            "/bedrock/model/amazon.nova-pro-v1%3A0/converse-stream",
            {"messages": [{"role": "user", "content": [{"text": "x"}]}]},
            b"messageStop",
        ),
    ],
)
async def test_missing_done_lacks_only_the_dialects_own_end(
    http: aiohttp.ClientSession, path: str, body: dict[str, Any], end: bytes
) -> None:
    async with http.post(path, json=body) as response:
        good = await response.read()
    await control(http, {"kind": "missing_done"}, provider="*")
    async with http.post(path, json=body) as response:
        ended = await response.read()
    assert end in good
    assert end not in ended
    assert good.startswith(ended)
    assert len(ended) > 300


@pytest.mark.parametrize(
    ("kind", "provider", "status", "words"),
    [
        ("context_too_long", "openai", 400, "context_length_exceeded"),
        ("context_too_long", "perplexity", 400, "too_many_prompt_tokens"),
        ("content_filter", "azure", 400, "ResponsibleAIPolicyViolation"),
        ("invalid_key", "openai", 401, "invalid_api_key"),
        ("invalid_key", "xai", 400, "Incorrect API key provided"),
        ("quota", "openai", 429, "insufficient_quota"),
        ("quota", "deepseek", 402, "Insufficient Balance"),
        ("quota", "aimlapi", 403, "run out of credits"),
        ("quota", "aihubmix", 403, "insufficient_user_quota"),
    ],
)
async def test_refusals_are_in_the_providers_own_words(
    http: aiohttp.ClientSession, kind: str, provider: str, status: int, words: str
) -> None:
    await control(http, {"kind": kind}, provider=provider)
    found, text, _ = await post(http, ASK, f"/{provider}/v1/chat/completions")
    assert found == status
    assert words in text


async def test_reject_prefill_waits_for_a_prefilled_conversation(http: aiohttp.ClientSession) -> None:
    await control(http, {"kind": "reject_prefill", "times": 1}, provider="mistral")
    path = "/mistral/v1/chat/completions"
    assert (await post(http, ASK, path))[0] == 200
    prefilled = {**ASK, "messages": [*ASK["messages"], {"role": "assistant", "content": "Well", "prefix": True}]}
    status, text, _ = await post(http, prefilled, path)
    assert (status, "prefill" in text) == (400, True)
    assert (await post(http, prefilled, path))[0] == 200


async def test_filtered_content_is_a_good_answer_where_the_dialect_has_one(http: aiohttp.ClientSession) -> None:
    await control(http, {"kind": "content_filter"}, provider="*")
    body = {"model": "claude-sonnet-5-5", "max_tokens": 99, "messages": ASK["messages"]}
    status, text, _ = await post(http, body, "/anthropic/v1/messages")
    assert (status, json.loads(text)["stop_reason"]) == (200, "refusal")
    contents = {"contents": [{"role": "user", "parts": [{"text": "x"}]}]}
    status, text, _ = await post(http, contents, "/google/v1beta/models/gemini-3.8-flash:generateContent")
    assert (status, "candidates" in json.loads(text)) == (200, False)
    assert json.loads(text)["promptFeedback"] == {"blockReason": "PROHIBITED_CONTENT"}


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ('{"provider": "opnai"}', "no provider 'opnai'"),
        ('{"provider": "openai", "faults": {"kind": "explode"}}', "explode"),
        ('{"provider": "openai", "fault": {"kind": "reset"}}', "fault"),
        ('{"provider": "openai", "operation": "dance"}', "dance"),
        ('{"provider": "openai", "latency": -1}', "latency"),
        ('{"provider": "openai", "faults": {"kind": "reset", "probability": 2}}', "probability"),
        ('{"faults": {"kind": "reset"}}', "provider"),
        ("[]", "object"),
        ("{", "truncated"),
        ('"\\xff"', "malformed"),
    ],
)
async def test_a_bad_control_body_is_told_what_is_possible(
    http: aiohttp.ClientSession, body: str, complaint: str
) -> None:
    async with http.post("/_control", data=body) as response:
        value = await response.json()
        assert response.status == 400
    assert complaint in value["error"]
    assert "openai" in value["possible"]["provider"]
    assert {"cut", "reset", "missing_done"} <= set(value["possible"]["faults"]["kind"])
    assert (await state(http))["settings"] == []


async def test_latency_and_pace_are_kept(http: aiohttp.ClientSession) -> None:
    await control(http, latency=0.1, tokens_per_second=500)
    started = time.monotonic()
    whole = json.loads((await post(http, ASK))[1])
    took = time.monotonic() - started
    assert took >= 0.1 + whole["usage"]["completion_tokens"] / 500
    shown = (await state(http))["settings"]
    assert shown == [
        {"provider": "openai", "operation": None, "latency": 0.1, "tokens_per_second": 500.0, "faults": []}
    ]


async def test_requests_seen_are_kept_without_secrets_and_bounded(
    http: aiohttp.ClientSession, sandbox: Running
) -> None:
    for number in range(7):
        await post(http, {**ASK, "seed": number})
    await post(http, ASK, "/groq/openai/v1/chat/completions")
    async with http.get("/_requests") as response:
        text = await response.text()
    rows = json.loads(text)["requests"]
    assert len(rows) == 5
    assert "sk-test" not in text
    assert rows[-1]["provider"] == "groq"
    assert rows[-1]["path"] == "/openai/v1/chat/completions"
    assert rows[-1]["outcome"] == 200
    assert rows[0]["headers"]["authorization"].startswith("[redacted sha256:")
    async with http.get("/_requests", params={"provider": "openai"}) as response:
        seen = (await response.json())["requests"]
    assert [row["body"]["seed"] for row in seen] == [3, 4, 5, 6]
