"""What the real APIs refuse, each in its own words."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from polyroute.sandbox.control import SandboxOptions
from polyroute.sandbox.server import start

USER = {"role": "user", "content": "Hello"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}
TOLD = {"role": "tool", "tool_call_id": "call_1", "content": "3"}
TOOL_USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "add", "input": {}}]}
PICTURE = "data:image/png;base64,AAAA"


def chat(model: str, *messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": list(messages) or [USER], **more}


def claude(model: str, *messages: Any, **more: Any) -> dict[str, Any]:
    return {"model": model, "max_tokens": 2000, "messages": list(messages) or [USER], **more}


def gemini(*contents: Any, **more: Any) -> dict[str, Any]:
    return {"contents": list(contents) or [{"role": "user", "parts": [{"text": "Hello"}]}], **more}


OPENAI = "/openai/v1/chat/completions"
RESPONSES = "/openai/v1/responses"
MISTRAL = "/mistral/v1/chat/completions"
CLAUDE = "/anthropic/v1/messages"
GEMINI = "/google/v1beta/models/gemini-3.8-flash:generateContent"
CONVERSE = "/bedrock/model/us.anthropic.claude-sonnet-5-5-v1%3A0/converse"
SCHEMA_WITH_REF = {"type": "object", "properties": {"a": {"$ref": "#/x"}}}

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (OPENAI, {"messages": [USER]}, "you must provide a model parameter"),
    (OPENAI, {"model": "m", "messages": []}, "empty array"),
    (OPENAI, chat("m", {"role": "robot", "content": "x"}), "Invalid value: 'robot'"),
    (OPENAI, chat("m", USER, TOLD), "must be a response to a preceeding message with 'tool_calls'"),
    (OPENAI, chat("m", USER, CALLED, USER), "did not have response messages: call_1"),
    (OPENAI, chat("m", USER, CALLED), "did not have response messages: call_1"),
    (OPENAI, chat("m", stream_options={"include_usage": True}), "only allowed when 'stream' is enabled"),
    (OPENAI, chat("m", tool_choice="required"), "only allowed when 'tools' are specified"),
    ("/together/v1/chat/completions", chat("m", polyroute={"policy": "cheapest"}), "Unrecognized request argument"),
    (OPENAI, chat("m", n=0), "integer_below_min_value"),
    (
        OPENAI,
        chat("m", {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}),
        "image_url",
    ),
    (OPENAI, chat("gpt-5.6-mini", max_tokens=9), "Use 'max_completion_tokens' instead"),
    (OPENAI, chat("o4-mini", temperature=0.2), "unsupported_value"),
    ("/groq/openai/v1/chat/completions", chat("m", n=2), "'n'"),
    ("/groq/openai/v1/chat/completions", chat("m", logprobs=True), "property 'logprobs' is unsupported"),
    (MISTRAL, chat("m", USER, CALLED, TOLD), "3280"),
    (MISTRAL, chat("m", USER, {"role": "assistant", "content": "x"}), "Expected last role User or Tool"),
    ("/perplexity/chat/completions", chat("m", USER, USER), "should alternate"),
    ("/lmstudio/v1/chat/completions", chat("m", response_format={"type": "json_object"}), "must be 'json_schema'"),
    (
        "/ollama/v1/chat/completions",
        chat("m", {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}),
        "image URLs are not currently supported",
    ),
    ("/deepseek/chat/completions", chat("deepseek-v4-flash", USER, CALLED, TOLD), "reasoning_content"),
    ("/xai/v1/chat/completions", chat("grok", search_parameters={}), "Live search is deprecated"),
    (RESPONSES, {"model": "m", "input": "x", "stop": "y"}, "Unknown parameter: 'stop'"),
    (
        RESPONSES,
        {"model": "m", "input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
        "No tool call",
    ),
    (RESPONSES, {"model": "m", "input": "x", "previous_response_id": "resp_9"}, "previous_response_not_found"),
    (
        RESPONSES,
        {"model": "m", "input": [{"type": "reasoning", "id": "rs_1", "summary": []}, USER]},
        "without its required following item",
    ),
    (
        RESPONSES,
        {
            "model": "m",
            "input": [
                {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "EqQB"},
                {**USER, "role": "assistant"},
            ],
        },
        "invalid_encrypted_content",
    ),
    (CLAUDE, {"model": "claude-sonnet-5-5", "messages": [USER]}, "max_tokens: Field required"),
    (CLAUDE, claude("claude-sonnet-5-5", polyroute={}), "polyroute: Extra inputs are not permitted"),
    (CLAUDE, claude("claude-sonnet-5-5", {"role": "assistant", "content": "x"}), "first message must use"),
    (CLAUDE, claude("claude-sonnet-5-5", {"role": "user", "content": ""}), "text content blocks must be non-empty"),
    (
        CLAUDE,
        claude("claude-sonnet-5-5", {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t9"}]}),
        "unexpected `tool_use_id`",
    ),
    (CLAUDE, claude("claude-sonnet-5-5", USER, TOOL_USE, USER), "without `tool_result` blocks immediately after: t1"),
    (CLAUDE, claude("claude-sonnet-5-5", temperature=0.5), "`temperature` is not supported"),
    (CLAUDE, claude("claude-sonnet-4-6", USER, {"role": "assistant", "content": "Well"}), "assistant message prefill"),
    (CLAUDE, claude("claude-haiku-4-5", USER, {"role": "assistant", "content": "Well "}), "trailing whitespace"),
    (
        CLAUDE,
        claude(
            "claude-opus-5-5", tools=[{"name": "a", "input_schema": {"type": "object"}}], tool_choice={"type": "any"}
        ),
        "forced",
    ),
    (CLAUDE, claude("claude-haiku-4-5", thinking={"type": "enabled", "budget_tokens": 3000}), "must be greater than"),
    (CLAUDE, claude("claude-haiku-4-5", stop_sequences=[" "]), "non-whitespace"),
    (GEMINI, {"contents": []}, "contents is not specified"),
    (GEMINI, gemini(polyroute={}), 'Unknown name \\"polyroute\\"'),
    (
        GEMINI,
        gemini(tools=[{"functionDeclarations": [{"name": "f", "parameters": SCHEMA_WITH_REF}]}]),
        'Unknown name \\"$ref\\"',
    ),
    (GEMINI, gemini(generationConfig={"thinkingConfig": {"thinkingBudget": 1, "thinkingLevel": "LOW"}}), "only one of"),
    (
        GEMINI,
        gemini({"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}),
        "number of function",
    ),
    ("/ollama/api/chat", chat("llama3.2", think=True), "does not support thinking"),
    ("/ollama/api/chat", chat("qwen3", {"role": "user", "content": "x", "images": [PICTURE]}), "illegal base64 data"),
    (
        "/ollama/api/chat",
        chat("qwen3", {"role": "user", "content": "word " * 4000}, truncate=False),
        "exceeds maximum context",
    ),
    ("/cohere/v2/chat", chat("command-a", top_p=1), "parameter 'top_p' is not a valid field"),
    ("/cohere/v2/embed", {"model": "embed-v4.0", "texts": ["x"]}, "input_type is required"),
    (CONVERSE, {"messages": [{"role": "assistant", "content": [{"text": "x"}]}]}, "must start with a user message"),
    (CONVERSE, {"messages": [{"role": "user", "content": [{"text": " "}]}]}, "is blank"),
    (CONVERSE, {"messages": [{"role": "user", "content": [{"text": "a"}]}] * 2}, "must alternate"),
    (CONVERSE, {"messages": [{"role": "user", "content": [{"text": "a"}]}], "seed": 1}, "extraneous key [seed]"),
    ("/openai/v1/embeddings", {"model": "m", "input": []}, "Invalid 'input'"),
    (
        "/openai/v1/images/generations",
        {"model": "gpt-image-2", "prompt": "x", "response_format": "url"},
        "Unknown parameter",
    ),
    ("/openai/v1/audio/speech", {"model": "tts-1", "input": "x" * 5000, "voice": "alloy"}, "at most 4096 characters"),
    ("/runpod/v2/abc/run", {"prompt": "x"}, "input is required"),
]


@pytest.mark.parametrize(("path", "body", "words"), REFUSED, ids=[words for _, _, words in REFUSED])
async def test_refused(http: aiohttp.ClientSession, path: str, body: dict[str, Any], words: str) -> None:
    async with http.post(path, json=body) as response:
        text = await response.text()
        assert response.status in (400, 422), text
    assert words in text
    json.loads(text)


async def test_without_strictness_single_models_accept_everything() -> None:
    running = await start(options=SandboxOptions(tokens_per_second=0, strict=False, require_credentials=False))
    bodies = [
        (OPENAI, chat("gpt-5.6-mini", max_tokens=9)),
        (CLAUDE, claude("claude-sonnet-5-5", temperature=0.5, anything=1)),
    ]
    async with aiohttp.ClientSession(running.url) as client:
        for path, body in bodies:
            async with client.post(path, json=body) as response:
                assert response.status == 200, await response.text()
    await running.stop()


@pytest.mark.parametrize(
    "raw", [b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"model": 5, "messages": {}}', b""]
)
@pytest.mark.parametrize("path", [OPENAI, RESPONSES, CLAUDE, GEMINI, CONVERSE, "/ollama/api/chat", "/cohere/v2/chat"])
async def test_hostile_bodies_get_a_400(http: aiohttp.ClientSession, path: str, raw: bytes) -> None:
    async with http.post(path, data=raw, headers={"content-type": "application/json"}) as response:
        assert response.status == 400
        await response.json()


async def test_shapes_that_no_reader_expects_get_a_400(http: aiohttp.ClientSession) -> None:
    for path, body in (
        (OPENAI, chat("m", tools=["x"])),
        (OPENAI, chat("m", {"role": "user", "content": [7]})),
        (CLAUDE, claude("claude-sonnet-5-5", {"role": "user", "content": [7]})),
        (CLAUDE, claude("claude-sonnet-5-5", tools=[7])),
        (GEMINI, gemini({"role": "user", "parts": [7]})),
        (RESPONSES, {"model": "m", "input": [7]}),
        (CONVERSE, {"messages": [{"role": "user", "content": [7]}]}),
        ("/cohere/v2/chat", chat("m", {"role": "assistant", "tool_calls": [7]})),
    ):
        async with http.post(path, json=body) as response:
            assert response.status == 400, path


async def test_an_unknown_path_is_a_404(http: aiohttp.ClientSession) -> None:
    async with http.post("/openai/v1/nothing", json={}) as response:
        assert response.status == 404
        assert response.headers["x-polyroute-simulated"] == "1"
