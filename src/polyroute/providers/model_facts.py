"""What is known of model families by their ids: longest output, and the parameters that they answer with an error.

Source: the AI SDK's table of Claude models, November 2026; OpenAI's families, whose refusals depend on the request, are
known to the `openai_chat` dialect. The vocabulary of `refuses` is ChatRequest's field names, and:
`prefill` (an assistant turn at the end), `forced_tool` (tool choice required or named), `thinking_disabled`,
`thinking_budget` (manual thinking), `json_schema`, `system` (no system role), `image_url` (bytes only).
"""

from __future__ import annotations

from functools import lru_cache

import msgspec


class ModelFacts(msgspec.Struct, frozen=True):
    """What holds for a family of models."""

    max_output: int | None = None
    refuses: frozenset[str] = frozenset()


_UNKNOWN = ModelFacts()

_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
_STRICT_THINKING = frozenset({"thinking_disabled", "thinking_budget"})

# Matched anywhere in the id in this order; dots count as hyphens.
_CLAUDE: tuple[tuple[str, ModelFacts], ...] = (
    ("claude-sonnet-5-5", ModelFacts(128_000, _SAMPLING | _STRICT_THINKING | {"forced_tool", "prefill"})),
    ("claude-opus-5-5", ModelFacts(128_000, _SAMPLING | _STRICT_THINKING | {"forced_tool", "prefill"})),
    ("claude-haiku-5-5", ModelFacts(128_000, _SAMPLING | {"thinking_budget", "prefill"})),
    ("claude-opus-5", ModelFacts(128_000, _SAMPLING | {"prefill"})),
    ("claude-fable-5-1", ModelFacts(128_000, _SAMPLING | _STRICT_THINKING | {"forced_tool", "prefill"})),
    ("claude-fable-5", ModelFacts(128_000, _SAMPLING | _STRICT_THINKING | {"prefill"})),
    ("claude-opus-4-8", ModelFacts(128_000, _SAMPLING | {"prefill"})),
    ("claude-opus-4-7", ModelFacts(128_000, _SAMPLING | {"prefill"})),
    ("claude-sonnet-5", ModelFacts(128_000, _SAMPLING | {"prefill"})),
    ("claude-sonnet-4-6", ModelFacts(128_000, frozenset({"prefill"}))),
    ("claude-opus-4-6", ModelFacts(128_000, frozenset({"prefill"}))),
    ("claude-sonnet-4-5", ModelFacts(64_000)),
    ("claude-opus-4-5", ModelFacts(64_000)),
    ("claude-haiku-4-5", ModelFacts(64_000)),
    ("claude-opus-4-1", ModelFacts(32_000)),
    ("claude-sonnet-4", ModelFacts(64_000, frozenset({"json_schema"}))),
    ("claude-opus-4", ModelFacts(32_000, frozenset({"json_schema"}))),
    ("claude-3-7-sonnet", ModelFacts(64_000, frozenset({"json_schema"}))),
    ("claude-3-5", ModelFacts(8_192, frozenset({"json_schema"}))),
    ("claude-3", ModelFacts(4_096, frozenset({"json_schema"}))),
    ("claude-2", ModelFacts(4_096, frozenset({"json_schema"}))),
)
_NEWER_CLAUDE = ModelFacts(128_000, _SAMPLING | {"prefill"})


@lru_cache(maxsize=4096)
def model_facts(model: str) -> ModelFacts:
    """The facts of a model id as a maker or reseller writes it (`anthropic/claude-…`, `us.anthropic.claude-…`)."""
    name = model.lower().replace(".", "-")
    if "claude" not in name:
        return _UNKNOWN
    for part, facts in _CLAUDE:
        if part in name:
            return facts
    return _NEWER_CLAUDE
