"""Which endpoint a request means, by the end of its path: whatever base path a provider has in front of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from urllib.parse import unquote

import msgspec

from polyroute.sandbox import anthropic, bedrock, cohere, gemini, ollama, openai_responses, runpod, served
from polyroute.sandbox.audio import answer_speech, answer_transcription, answer_translation
from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.exchange import Exchange, Reply, Spoken
from polyroute.sandbox.images import answer_edit, answer_generation
from polyroute.sandbox.listings import answer_account, answer_bedrock_models, answer_model, answer_models
from polyroute.sandbox.openai_chat import answer_chat
from polyroute.sandbox.vectors import answer_embeddings, answer_moderations


class Route(msgspec.Struct, frozen=True):
    """An endpoint: how to know it, and what answers it. A `free` one needs no credential at the providers it names."""

    methods: tuple[str, ...]
    pattern: re.Pattern[str]
    operation: SandboxOperation
    dialect: Spoken
    answer: Callable[[Exchange], Reply]
    free: tuple[str, ...] = ()


def _route(
    line: str,
    operation: SandboxOperation,
    dialect: Spoken,
    answer: Callable[[Exchange], Reply],
    free: tuple[str, ...] = (),
) -> Route:
    method, _, pattern = line.partition(" ")
    return Route(tuple(method.split("|")), re.compile(pattern + r"/?$"), operation, dialect, answer, free)


ROUTES: tuple[Route, ...] = (
    _route(r"POST /deployments/(?P<model>[^/]+)/chat/completions", "chat", "openai_chat", answer_chat),
    _route(r"POST /deployments/(?P<model>[^/]+)/embeddings", "embed", "openai_other", answer_embeddings),
    _route(r"POST /deployments/(?P<model>[^/]+)/images/generations", "image", "openai_other", answer_generation),
    _route(r"POST /deployments/(?P<model>[^/]+)/images/edits", "image", "openai_other", answer_edit),
    _route(r"POST /deployments/(?P<model>[^/]+)/audio/speech", "speech", "openai_other", answer_speech),
    _route(
        r"POST /deployments/(?P<model>[^/]+)/audio/transcriptions",
        "transcription",
        "openai_other",
        answer_transcription,
    ),
    _route(
        r"POST /deployments/(?P<model>[^/]+)/audio/translations", "transcription", "openai_other", answer_translation
    ),
    _route(r"POST /chat/completions", "chat", "openai_chat", answer_chat),
    _route(r"POST /responses/input_tokens", "chat", "openai_responses", openai_responses.answer_token_count),
    _route(r"POST /responses", "chat", "openai_responses", openai_responses.answer_responses),
    _route(
        r"GET /responses/(?P<response>[^/]+)(/input_items)?",
        "other",
        "openai_responses",
        openai_responses.answer_stored,
    ),
    _route(r"DELETE /responses/(?P<response>[^/]+)", "other", "openai_responses", openai_responses.answer_stored),
    _route(r"POST /responses/(?P<response>[^/]+)/cancel", "other", "openai_responses", openai_responses.answer_stored),
    _route(r"POST /messages/count_tokens", "other", "anthropic_messages", anthropic.answer_count),
    _route(r"POST /messages", "chat", "anthropic_messages", anthropic.answer_messages),
    _route(r"POST /models/(?P<model>[^:]+):(stream)?[gG]enerateContent", "chat", "gemini", gemini.answer_gemini),
    _route(r"POST /models/(?P<model>[^:]+):countTokens", "other", "gemini", gemini.answer_count),
    _route(
        r"POST /models/(?P<model>[^:]+):(?P<verb>embedContent|batchEmbedContents)",
        "embed",
        "gemini",
        gemini.answer_embeddings,
    ),
    _route(r"POST /api/chat", "chat", "ollama", ollama.answer_chat),
    _route(r"POST /api/generate", "chat", "ollama", ollama.answer_generate),
    _route(r"POST /api/embed(dings)?", "embed", "ollama", ollama.answer_embed),
    _route(r"POST /api/show", "models", "ollama", ollama.answer_show),
    _route(r"GET /api/tags", "models", "ollama", ollama.answer_tags),
    _route(r"GET /api/ps", "models", "ollama", ollama.answer_running),
    _route(r"GET /api/version", "models", "ollama", ollama.answer_version),
    _route(r"POST /v2/chat", "chat", "cohere_v2", cohere.answer_chat),
    _route(r"POST /v[12]/embed", "embed", "cohere_v2", cohere.answer_embed),
    _route(r"POST /model/(?P<model>[^/]+)/converse(-stream)?", "chat", "bedrock_converse", bedrock.answer_converse),
    _route(r"POST /model/(?P<model>[^/]+)/count-tokens", "other", "bedrock_converse", bedrock.answer_count),
    _route(r"POST /model/(?P<model>[^/]+)/invoke", "chat", "bedrock_converse", anthropic.answer_invoke),
    _route(r"POST /(?P<endpoint>[^/]+)/run", "chat", "runpod", runpod.answer_run),
    _route(r"POST /(?P<endpoint>[^/]+)/runsync", "chat", "runpod", runpod.answer_run_sync),
    _route(r"GET|POST /status/(?P<job>[^/]+)", "other", "runpod", runpod.answer_status),
    _route(r"GET|POST /stream/(?P<job>[^/]+)", "other", "runpod", runpod.answer_stream),
    _route(r"POST /cancel/(?P<job>[^/]+)", "other", "runpod", runpod.answer_cancel),
    _route(r"GET /health", "other", "runpod", runpod.answer_health),
    _route(r"POST /embeddings", "embed", "openai_other", answer_embeddings),
    _route(r"POST /moderations", "moderate", "openai_other", answer_moderations),
    _route(r"POST /images(/generations)?", "image", "openai_other", answer_generation),
    _route(r"POST /images/edits", "image", "openai_other", answer_edit),
    _route(r"POST /audio/speech", "speech", "openai_other", answer_speech),
    _route(r"POST /audio/transcriptions", "transcription", "openai_other", answer_transcription),
    _route(r"POST /audio/translations", "transcription", "openai_other", answer_translation),
    _route(r"GET /foundation-models", "models", "bedrock_converse", answer_bedrock_models),
    _route(r"GET /generation", "other", "openai_other", served.answer_generation),
    _route(r"GET /activity", "other", "openai_other", served.answer_activity),
    _route(r"GET /organization/usage/completions", "other", "openai_other", served.answer_openai_usage),
    _route(r"GET /organization/costs", "other", "openai_other", served.answer_openai_costs),
    _route(r"GET /organizations/usage_report/messages", "other", "anthropic_messages", served.answer_anthropic_usage),
    _route(r"GET /organizations/cost_report", "other", "anthropic_messages", served.answer_anthropic_costs),
    _route(r"GET /(?P<account>key|credits|user/balance|language-models)", "other", "openai_other", answer_account),
    _route(r"GET /models", "models", "openai_other", answer_models, ("openrouter", "aimlapi", "aihubmix")),
    _route(r"GET /models/(?P<model>.+)", "models", "openai_other", answer_model, ("openrouter", "aimlapi", "aihubmix")),
)


def find_route(method: str, raw_path: str) -> tuple[Route, Mapping[str, str]] | None:
    """The endpoint for the path behind the provider's name, and what its pattern caught, percent-decoded."""
    for route in ROUTES:
        if method in route.methods:
            match = route.pattern.search(raw_path)
            if match is not None:
                return route, {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
    return None
