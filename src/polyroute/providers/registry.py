"""Adapters by the name that a provider's row gives them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

from polyroute.catalog.model import Provider
from polyroute.ports import Adapter

_CLASSES: dict[str, str] = {
    "openai_compatible": "openai_compatible:CompatibleAdapter",
    "openai_responses": "openai_compatible:CompatibleAdapter",
    "anthropic": "anthropic:AnthropicAdapter",
    "gemini": "gemini:GeminiAdapter",
    "ollama": "ollama:OllamaAdapter",
    "cohere": "cohere:CohereAdapter",
    "bedrock": "bedrock:BedrockAdapter",
    "azure": "azure:AzureAdapter",
    "runpod": "runpod:RunpodAdapter",
}


@cache
def _adapter_class(name: str) -> Callable[[Provider], Adapter]:
    module, _, attribute = _CLASSES[name].partition(":")
    found: Callable[[Provider], Adapter] = getattr(import_module(f"polyroute.providers.{module}"), attribute)
    return found


def build_adapter(provider: Provider) -> Adapter:
    """The adapter of a row. Raises ValueError for a name that none has."""
    if provider.adapter not in _CLASSES:
        raise ValueError(
            f"provider {provider.name}: no adapter is named {provider.adapter!r} (there are: {', '.join(_CLASSES)})"
        )
    return _adapter_class(provider.adapter)(provider)
