"""How providers of one dialect differ, and how each refuses."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest

from polyroute.sandbox.profiles import built_in_profiles

TOOL = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}},
}
BASES = {
    "openrouter": "/openrouter/api/v1",
    "google": "/google/v1beta/openai",
    "groq": "/groq/openai/v1",
    "fireworks": "/fireworks/inference/v1",
    "perplexity": "/perplexity",
    "deepseek": "/deepseek",
    "cohere": "/cohere/compatibility/v1",
    "azure": "/azure/openai/v1",
    "runpod": "/runpod/v2/abc123/openai/v1",
}


def chat_path(provider: str) -> str:
    return BASES.get(provider, f"/{provider}/v1") + "/chat/completions"


def ask(**more: Any) -> dict[str, Any]:
    return {"model": "some-model", "messages": [{"role": "user", "content": "Good morning"}], **more}


async def whole(http: aiohttp.ClientSession, path: str, body: dict[str, Any], status: int = 200) -> Any:
    async with http.post(path, json=body) as response:
        text = await response.text()
        assert response.status == status, text
        return json.loads(text) if text else None


async def chunks(http: aiohttp.ClientSession, path: str, body: dict[str, Any]) -> tuple[list[Any], str]:
    async with http.post(path, json={**body, "stream": True}) as response:
        text = await response.text()
        assert response.status == 200, text
    return [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")], text


@pytest.mark.parametrize(
    "provider", [name for name, row in built_in_profiles().items() if name != "bedrock" and not row.media]
)
async def test_every_provider_chats_whole_and_streamed_alike(http: aiohttp.ClientSession, provider: str) -> None:
    body = ask()
    answer = await whole(http, chat_path(provider), body)
    content = answer["choices"][0]["message"]["content"]
    assert content.startswith(f'[simulated {provider}/some-model] You said "Good morning" (2 words).')
    found, _ = await chunks(http, chat_path(provider), body)
    pieces = [chunk["choices"][0]["delta"].get("content") for chunk in found if chunk["choices"]]
    assert "".join(piece for piece in pieces if piece) == content
    assert {chunk["id"] for chunk in found if chunk["id"]} == {answer["id"]}


REASONED = "[simulated reasoning]"


@pytest.mark.parametrize(
    ("provider", "field"),
    [
        ("openrouter", "reasoning"),
        ("groq", "reasoning"),
        ("together", "reasoning"),
        ("vllm", "reasoning"),
        ("ollama", "reasoning"),
        ("xai", "reasoning_content"),
        ("deepseek", "reasoning_content"),
        ("fireworks", "reasoning_content"),
        ("lmstudio", "reasoning_content"),
        ("llamacpp", "reasoning_content"),
    ],
)
async def test_reasoning_comes_in_the_providers_field(http: aiohttp.ClientSession, provider: str, field: str) -> None:
    body = ask(reasoning_effort="low")
    message = (await whole(http, chat_path(provider), body))["choices"][0]["message"]
    assert message[field].startswith(REASONED)
    found, _ = await chunks(http, chat_path(provider), body)
    pieces = [chunk["choices"][0]["delta"].get(field) for chunk in found if chunk["choices"]]
    assert "".join(piece for piece in pieces if piece) == message[field]


async def test_reasoning_inside_the_content_and_nowhere(http: aiohttp.ClientSession) -> None:
    body = ask(reasoning_effort="low")
    mistral = (await whole(http, chat_path("mistral"), body))["choices"][0]["message"]["content"]
    assert [part["type"] for part in mistral] == ["thinking", "text"]
    perplexity = (await whole(http, chat_path("perplexity"), body))["choices"][0]["message"]["content"]
    assert perplexity.startswith(f"<think>\n{REASONED}")
    body["model"] = "gpt-5.6-mini"
    openai = await whole(http, chat_path("openai"), body)
    assert REASONED not in json.dumps(openai)
    assert openai["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0


async def test_openrouter_repeats_reasoning_as_details_and_signs_it(http: aiohttp.ClientSession) -> None:
    found, text = await chunks(http, chat_path("openrouter"), ask(reasoning={"effort": "low"}))
    deltas = [chunk["choices"][0]["delta"] for chunk in found if chunk["choices"]]
    details = [detail for delta in deltas for detail in delta.get("reasoning_details", ())]
    told = "".join(delta.get("reasoning") or "" for delta in deltas)
    assert text.startswith(": OPENROUTER PROCESSING\n\n")
    assert "".join(detail.get("text", "") for detail in details) == told
    assert details[-1]["signature"]
    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["cost"] > 0


@pytest.mark.parametrize("provider", ["openai", "azure", "piapi", "deepseek", "vllm", "ollama", "lmstudio"])
async def test_usage_comes_only_when_asked_for(http: aiohttp.ClientSession, provider: str) -> None:
    found, _ = await chunks(http, chat_path(provider), ask())
    assert not any(chunk.get("usage") for chunk in found)
    found, _ = await chunks(http, chat_path(provider), ask(stream_options={"include_usage": True}))
    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["total_tokens"] > 0
    assert all("usage" in chunk for chunk in found if chunk["choices"])


async def test_usage_comes_where_each_provider_puts_it(http: aiohttp.ClientSession) -> None:
    for provider in ("together", "mistral", "fireworks", "google"):
        found, _ = await chunks(http, chat_path(provider), ask())
        assert found[-1]["choices"][0]["finish_reason"] is not None, provider
        assert found[-1]["usage"]["completion_tokens"] > 0
    found, _ = await chunks(http, chat_path("groq"), ask())
    assert found[-1]["x_groq"]["usage"]["total_tokens"] > 0
    assert "usage" not in found[-1]
    found, text = await chunks(http, chat_path("perplexity"), ask())
    assert all(chunk["usage"]["cost"]["total_cost"] > 0 and chunk["citations"] for chunk in found)
    assert "[DONE]" not in text
    found, _ = await chunks(http, chat_path("xai"), ask())
    usage = found[-1]["usage"]
    assert usage["completion_tokens"] + usage["completion_tokens_details"]["reasoning_tokens"] == (
        usage["total_tokens"] - usage["prompt_tokens"]
    )


async def test_streamed_tool_calls_in_pieces_whole_and_unnumbered(http: aiohttp.ClientSession) -> None:
    body = ask(tools=[TOOL], tool_choice="required")
    seen = {}
    for provider in ("openai", "xai", "google", "mistral"):
        found, _ = await chunks(http, chat_path(provider), body)
        seen[provider] = [
            call for chunk in found for call in (chunk["choices"] or [{"delta": {}}])[0]["delta"].get("tool_calls", ())
        ]
    assert len(seen["openai"]) == 3
    assert "".join(call["function"]["arguments"] for call in seen["openai"]) == '{"x":42}'
    assert [call["function"]["arguments"] for call in seen["xai"]] == ['{"x":42}']
    assert "index" not in seen["google"][0]
    assert seen["google"][0]["extra_content"]["google"]["thought_signature"]
    assert len(seen["mistral"][0]["id"]) == 9
    google = await whole(http, chat_path("google"), body)
    assert google["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("provider", "header", "value"),
    [
        ("openai", "x-ratelimit-reset-tokens", "3ms"),
        ("azure", "x-ratelimit-reset-requests", "0"),
        ("groq", "x-ratelimit-reset-requests", "2m59.56s"),
        ("mistral", "x-ratelimit-limit-req-minute", "360"),
        ("fireworks", "x-ratelimit-limit-tokens-prompt", "60000"),
        ("together", "x-ratelimit-reset", "1"),
    ],
)
async def test_rate_headers_have_the_providers_names_and_units(
    http: aiohttp.ClientSession, provider: str, header: str, value: str
) -> None:
    async with http.post(chat_path(provider), json=ask()) as response:
        assert response.headers[header] == value


@pytest.mark.parametrize(
    ("provider", "status", "body"),
    [
        ("openai", 401, {"error": {"type": "invalid_request_error", "code": None, "param": None}}),
        ("azure", 401, {"error": {"code": "401"}}),
        ("openrouter", 401, {"error": {"message": "No cookie auth credentials found", "code": 401}}),
        ("xai", 401, {"code": "unauthenticated:bad-credentials"}),
        ("mistral", 401, {"message": "No API key found in request"}),
        (
            "groq",
            401,
            {"error": {"message": "Invalid API Key", "type": "invalid_request_error", "code": "invalid_api_key"}},
        ),
        ("cohere", 401, {"message": "no api key supplied"}),
        ("perplexity", 401, {"error": {"code": 401}}),
        ("aimlapi", 401, {"statusCode": 401, "message": "Unauthorized"}),
        ("google", 403, [{"error": {"code": 403, "status": "PERMISSION_DENIED"}}]),
    ],
)
async def test_a_missing_credential_is_refused_in_the_providers_shape(
    http: aiohttp.ClientSession, sandbox: Any, provider: str, status: int, body: Any
) -> None:
    async with aiohttp.ClientSession(sandbox.url) as bare, bare.post(chat_path(provider), json=ask()) as response:
        found = await response.json()
        assert response.status == status
    expected, found = (body[0], found[0]) if isinstance(body, list) else (body, found)
    for name, value in expected.items():
        inner = found[name]
        assert inner == value if not isinstance(value, dict) else {key: inner[key] for key in value} == value


async def test_local_servers_want_no_credential(sandbox: Any) -> None:
    async with aiohttp.ClientSession(sandbox.url) as bare:
        for provider in ("ollama", "vllm", "lmstudio", "llamacpp", "somebody_elses_server"):
            assert (await whole(bare, chat_path(provider), ask()))["choices"]


async def test_a_credential_that_says_invalid_is(http: aiohttp.ClientSession) -> None:
    headers = {"authorization": "Bearer invalid-key"}
    async with http.post(chat_path("openai"), json=ask(), headers=headers) as response:
        assert response.status == 401
        assert (await response.json())["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("provider", "status", "words"),
    [
        ("openai", 404, "model_not_found"),
        ("azure", 404, "DeploymentNotFound"),
        ("openrouter", 400, "no-such-model is not a valid model ID"),
        ("deepseek", 400, "Model Not Exist"),
        ("mistral", 400, "Invalid model: no-such-model"),
        ("xai", 404, "The model no-such-model does not exist"),
        ("together", 404, "model_not_available"),
        ("fireworks", 404, "Model not found"),
        ("perplexity", 400, "Invalid model 'no-such-model'"),
        ("vllm", 404, "NotFoundError"),
        ("ollama", 404, "not_found_error"),
    ],
)
async def test_an_unknown_model_is_refused_in_the_providers_words(
    http: aiohttp.ClientSession, provider: str, status: int, words: str
) -> None:
    assert words in json.dumps(await whole(http, chat_path(provider), ask(model="no-such-model"), status))


@pytest.mark.parametrize(
    ("provider", "status", "words"),
    [
        ("openai", 400, "maximum context length is 4000 tokens"),
        ("groq", 400, "reduce the length of the messages"),
        ("mistral", 400, "too large for model with 4000 maximum context length"),
        ("perplexity", 400, "too_many_prompt_tokens"),
        ("together", 400, "`inputs` tokens"),
        ("llamacpp", 400, "exceed_context_size_error"),
    ],
)
async def test_a_long_prompt_overflows(http: aiohttp.ClientSession, provider: str, status: int, words: str) -> None:
    long = ask(messages=[{"role": "user", "content": "word " * 4000}])
    assert words in json.dumps(await whole(http, chat_path(provider), long, status))


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/openai/v1/models", ("data", 0, "id")),
        ("/openrouter/api/v1/models", ("data", 0, "pricing", "prompt")),
        ("/together/v1/models", (0, "context_length")),
        ("/groq/openai/v1/models", ("data", 0, "context_window")),
        ("/mistral/v1/models", ("data", 0, "capabilities", "function_calling")),
        ("/aimlapi/v1/models", ("data", 0, "info", "contextLength")),
        ("/vllm/v1/models", ("data", 0, "max_model_len")),
        ("/llamacpp/v1/models", ("data", 0, "meta", "n_ctx_train")),
        ("/anthropic/v1/models", ("data", 0, "max_input_tokens")),
        ("/google/v1beta/models", ("models", 0, "inputTokenLimit")),
        ("/google/v1beta/openai/models", ("data", 0, "id")),
        ("/cohere/v1/models", ("models", 0, "context_length")),
        ("/ollama/api/tags", ("models", 0, "digest")),
        ("/ollama/v1/models", ("data", 0, "id")),
        ("/bedrock/foundation-models", ("modelSummaries", 0, "modelId")),
        ("/xai/v1/language-models", ("models", 0, "prompt_text_token_price")),
        ("/deepseek/user/balance", ("balance_infos", 0, "total_balance")),
    ],
)
async def test_model_lists_have_the_providers_shape(sandbox: Any, path: str, place: tuple[Any, ...]) -> None:
    headers = {"authorization": "Bearer k", "x-goog-api-key": "k", "x-api-key": "k"}
    async with aiohttp.ClientSession(sandbox.url, headers=headers) as client, client.get(path) as response:
        value = await response.json()
        assert response.status == 200
    for step in place:
        value = value[step]
    assert value
