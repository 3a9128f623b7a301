"""Vapi's custom-LLM contract: OpenAI chat with objects of Vapi's own beside it, which no provider may see.

Source: Vapi's OpenAPI document and guides, August 2026 (`metadata`, `call`, `phoneNumber`, `customer`, and metadata spread
over the top level).
"""

from __future__ import annotations

from polyroute.ports import Call

PATHS = ("/vapi/chat/completions", "/vapi/chat/completions/chat/completions")
"""Vapi appends `/chat/completions` to the URL that it is given; guides show URLs that end in it already."""

# fmt: off
_KNOWN = frozenset({
    "messages", "model", "stream", "stream_options", "temperature", "top_p", "n", "stop", "max_tokens",
    "max_completion_tokens", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs",
    "top_logprobs", "seed", "user", "tools", "tool_choice", "parallel_tool_calls", "response_format",
    "functions", "function_call", "reasoning_effort", "verbosity", "service_tier", "store", "prediction",
    "modalities", "audio", "web_search_options", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "prompt_cache_options",
})
# fmt: on


def keep_openai_fields(call: Call) -> None:
    """Leave only OpenAI's own request fields. `metadata` is OpenAI's too, but here it is Vapi's."""
    call.fields = {name: raw for name, raw in (call.fields or {}).items() if name in _KNOWN}
