"""The chat dialects by name, each loaded when it is first needed."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from polyroute.ports import ChatCodec
from polyroute.types.operations import Dialect

_MODULES: dict[Dialect, str] = {
    Dialect.OPENAI_CHAT: "openai_chat",
    Dialect.OPENAI_RESPONSES: "openai_responses",
    Dialect.ANTHROPIC_MESSAGES: "anthropic_messages",
    Dialect.GEMINI: "gemini",
    Dialect.OLLAMA: "ollama",
    Dialect.OLLAMA_GENERATE: "ollama.generate",
    Dialect.COHERE_V2: "cohere_v2",
    Dialect.BEDROCK_CONVERSE: "bedrock_converse",
    Dialect.RUNPOD: "runpod",
}


def is_chat(dialect: Dialect) -> bool:
    """Whether a dialect can be translated into another one."""
    return dialect in _MODULES


@cache
def codec(dialect: Dialect) -> ChatCodec:
    """The codec of a chat dialect; each package `dialects.NAME` offers it as `CODEC`."""
    module = import_module(f"polyroute.dialects.{_MODULES[dialect]}")
    found: ChatCodec = module.CODEC
    return found
