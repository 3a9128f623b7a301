"""Families of OpenAI models and the parameters that they refuse (the AI SDK's capability table), by the model's name alone,
because resellers pass the same refusals on; and what other chat providers want otherwise."""

from __future__ import annotations

import re

from polyroute.types.chat import ChatRequest, ModelProfile, Reasoning

_REASONING = re.compile(r"(?:o[134]|gpt-[56])(?:[.\-:@]|$)")
_STOPLESS = re.compile(r"(?:o3|o4-mini)(?:[.\-:@]|$)")
_PLAIN = re.compile(r"(?:gpt-4|gpt-3\.5|chatgpt-|davinci|babbage)")
_EFFORT_NONE_SAMPLES = re.compile(r"gpt-5\.\d")

OPENAI_ITSELF = frozenset({"openai", "azure"})
"""Providers that refuse fields which OpenAI does not know."""
REASONING_FIELD: dict[str, str | None] = {
    **dict.fromkeys(("openrouter", "groq", "together", "vllm", "ollama"), "reasoning"),
    **dict.fromkeys(("openai", "azure", "mistral", "perplexity", "cohere", "cerebras", "google", "anthropic")),
}
"""The message field in which a provider takes reasoning back; None where it takes none; all others: `reasoning_content`."""


def base_name(model: str) -> str:
    """The model's own name without vendor prefixes."""
    return model.rsplit("/", 1)[-1].lower()


def is_reasoning_family(model: str) -> bool:
    """Whether a model is one of OpenAI's reasoning models (o1, o3, o4, gpt-5, gpt-6; not their chat variants)."""
    name = base_name(model)
    return _REASONING.match(name) is not None and "-chat" not in name


def is_plain_family(model: str) -> bool:
    """Whether a model is an OpenAI model that knows no reasoning."""
    name = base_name(model)
    return _PLAIN.match(name) is not None or (_REASONING.match(name) is not None and "-chat" in name)


def has_no_system_role(model: str) -> bool:
    """The first reasoning models refuse system prompts."""
    return base_name(model).startswith(("o1-mini", "o1-preview"))


def refused_fields(request: ChatRequest, profile: ModelProfile) -> set[str]:
    """Names of the request's fields that the target answers with an error."""
    refused = set(profile.refuses)
    name = base_name(profile.model)
    if is_reasoning_family(profile.model):
        refused |= {"frequency_penalty", "presence_penalty", "logit_bias", "top_logprobs"}
        effort = request.reasoning.effort if request.reasoning else None
        if not (effort == "none" and _EFFORT_NONE_SAMPLES.match(name)):
            refused |= {"temperature", "top_p", "logprobs"}
        if _STOPLESS.match(name):
            refused.add("stop")
    elif profile.provider in OPENAI_ITSELF and is_plain_family(profile.model):
        refused.add("reasoning")
    if "search-preview" in name:
        refused.add("temperature")
    return refused


def effort_of(reasoning: Reasoning) -> tuple[str | None, str | None]:
    """The effort word that says what a reasoning setting means, and a note where it had to be chosen."""
    if reasoning.effort is not None:
        return reasoning.effort, None
    if reasoning.enabled is False:
        return "none", None
    if reasoning.budget is not None:
        effort = "low" if reasoning.budget <= 2048 else "medium" if reasoning.budget <= 8192 else "high"
        return effort, f"reasoning budget of {reasoning.budget} tokens became effort {effort}"
    if reasoning.enabled and not reasoning.adaptive:
        return "medium", "reasoning without a measure became effort medium"
    return None, None
