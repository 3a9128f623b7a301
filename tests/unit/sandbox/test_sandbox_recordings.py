"""What real clients were recorded to send is understood, and the answer has what the real one had."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from yarl import URL

from polyroute.sandbox.control import SandboxOptions
from polyroute.sandbox.profiles import built_in_profiles
from polyroute.sandbox.server import start
from support.recordings import recordings_folder

OPERATIONS = ("chat", "chat_stream", "responses", "responses_stream", "embeddings", "count_tokens", "moderation")
# A version of an API that the sandbox does not speak, and a conversation that it has not stored.
LEFT_OUT = ("cohere/chat-stream-chat-with-streaming", "openai/responses-create-with-followup-2")
# What the sandbox does not imitate: padding, timings, settings of an account, hosted tools, older spellings beside newer.
NOT_IMITATED = {
    *("p", "obfuscation", "latency_checkpoint", "service_tier", "usage.service_tier", "usageMetadata.serviceTier"),
    *(
        "billing",
        "moderation",
        "content_filters",
        "prompt_cache_retention",
        "tool_usage",
        "output_text",
        "usage_breakdown",
    ),
    *("annotation", "annotation_index", "code", "name", "arguments", "usage.server_tool_use", "usage.serverToolUsage"),
    *("usage.server_tool_use_details", "usage.num_server_side_tools_used", "usage.server_side_tool_usage_details"),
    *("usage.inference_geo", "usage.iterations", "usage.audio_prompt_tokens", "usage.num_sources_used"),
    *("usage.cacheWriteInputTokenCount", "usage.cacheReadInputTokenCount", "usage.num_cached_tokens"),
    *(
        "usageMetadata.cacheTokensDetails",
        "usageMetadata.cachedContentTokenCount",
        "usageMetadata.candidatesTokensDetails",
    ),
    *("usageMetadata.toolUsePromptTokenCount", "usageMetadata.toolUsePromptTokensDetails"),
}
# In embeddings, only the vectors and the two token counts matter to a client.
OF_EMBEDDINGS = {
    "object",
    "data",
    "model",
    "embeddings",
    "embedding",
    "usage",
    "usage.prompt_tokens",
    "usage.total_tokens",
}
# Errors inside a stream; usage that depends on what was generated; Groq's second copy of its usage; Azure's null.
LEFT_OUT_KEYS = {
    "groq": {"error", "usage"},
    "azure": {"system_fingerprint"},
    "anthropic": {"usage.output_tokens_details"},
    "google": {"usageMetadata.thoughtsTokenCount"},
}


def recorded() -> Iterator[Any]:
    folder = recordings_folder()
    if folder is None:
        yield pytest.param("", None, marks=pytest.mark.skip(reason="no recordings beside the project"))
        return
    rows = [json.loads(line) for line in (folder / "index.jsonl").read_text(encoding="utf-8").splitlines()]
    for provider in sorted({row["provider"] for row in rows} & set(built_in_profiles())):
        exchanges = []
        for row in rows:
            if row["provider"] == provider and row["operation"] in OPERATIONS and row["id"] not in LEFT_OUT:
                exchange = json.loads((folder / row["path"]).read_text(encoding="utf-8"))
                if "body_json" in exchange["request"] and exchange.get("request_recorded", True):
                    exchanges.append(exchange)
        if exchanges:
            yield pytest.param(provider, exchanges, id=provider)


def names(value: Any) -> set[str]:
    """The keys of an object and of its usage record."""
    found: set[str] = set()
    if isinstance(value, dict):
        found = set(value)
        for record in ("usage", "usageMetadata"):
            if isinstance(value.get(record), dict):
                found |= {f"{record}.{name}" for name in value[record]}
    return found


def names_in(text: str) -> set[str]:
    """The keys of a JSON body, or of every event of a stream."""
    try:
        return names(json.loads(text))
    except json.JSONDecodeError:
        lines = [line.removeprefix("data:").strip() for line in text.split("\n") if line.startswith(("data:", "{"))]
        return {name for line in lines if line.startswith("{") for name in names(json.loads(line))}


@pytest.mark.parametrize(("provider", "exchanges"), list(recorded()))
async def test_recorded_requests_get_answers_of_the_recorded_shape(provider: str, exchanges: list[Any]) -> None:
    options = SandboxOptions(tokens_per_second=0, strict=False, require_credentials=False)
    async with AsyncExitStack() as stack:
        running = await start(options=options)
        stack.push_async_callback(running.stop)
        client = await stack.enter_async_context(aiohttp.ClientSession())
        for exchange in exchanges:
            request, reply = exchange["request"], exchange["response"]
            parts = urlsplit(request["url"])
            url = URL(f"{running.url}/{provider}{parts.path}?{parts.query}", encoded=True)
            async with client.request(request["method"], url, json=request["body_json"]) as response:
                raw = await response.read()
                assert response.status == 200, (exchange["id"], raw)
                assert response.content_type == reply["headers"]["content-type"].split(";")[0], exchange["id"]
            if "body_base64" in reply:
                continue
            theirs = names(reply["body_json"]) if "body_json" in reply else names_in(reply["body_text"])
            if "embedding" in str(exchange["operation"]):
                theirs &= OF_EMBEDDINGS
            missing = theirs - names_in(raw.decode()) - NOT_IMITATED - LEFT_OUT_KEYS.get(provider, set())
            if "usage" in LEFT_OUT_KEYS.get(provider, ()):
                missing = {name for name in missing if not name.startswith("usage.")}
            assert missing == set(), exchange["id"]
