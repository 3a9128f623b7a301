"""Which endpoint a request means, by the end of its path: whatever base path a provider has in front of it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote

from polyroute.sandbox import anthropic, bedrock, cohere, gemini, ollama, openai_responses, runpod, served
from polyroute.sandbox.audio import answer_speech, answer_transcription, answer_translation
from polyroute.sandbox.images import answer_edit, answer_generation, answer_variation
from polyroute.sandbox.listings import answer_account, answer_bedrock_models, answer_model, answer_models
from polyroute.sandbox.media import openai_videos
from polyroute.sandbox.media.routes import MEDIA_ROUTES
from polyroute.sandbox.openai_chat import answer_chat
from polyroute.sandbox.profiles import profile_of
from polyroute.sandbox.route import Route, route
from polyroute.sandbox.vectors import answer_embeddings, answer_moderations

ROUTES: tuple[Route, ...] = (
    *openai_videos.ROUTES,
    route(r"POST /deployments/(?P<model>[^/]+)/chat/completions", "chat", "openai_chat", answer_chat),
    route(r"POST /deployments/(?P<model>[^/]+)/embeddings", "embed", "openai_other", answer_embeddings),
    route(r"POST /deployments/(?P<model>[^/]+)/images/generations", "image", "openai_other", answer_generation),
    route(r"POST /deployments/(?P<model>[^/]+)/images/edits", "image", "openai_other", answer_edit),
    route(r"POST /deployments/(?P<model>[^/]+)/audio/speech", "speech", "openai_other", answer_speech),
    route(
        r"POST /deployments/(?P<model>[^/]+)/audio/transcriptions",
        "transcription",
        "openai_other",
        answer_transcription,
    ),
    route(
        r"POST /deployments/(?P<model>[^/]+)/audio/translations", "transcription", "openai_other", answer_translation
    ),
    route(r"POST /chat/completions", "chat", "openai_chat", answer_chat),
    route(r"POST /responses/input_tokens", "chat", "openai_responses", openai_responses.answer_token_count),
    route(r"POST /responses", "chat", "openai_responses", openai_responses.answer_responses),
    route(
        r"GET /responses/(?P<response>[^/]+)(/input_items)?",
        "other",
        "openai_responses",
        openai_responses.answer_stored,
    ),
    route(r"DELETE /responses/(?P<response>[^/]+)", "other", "openai_responses", openai_responses.answer_stored),
    route(r"POST /responses/(?P<response>[^/]+)/cancel", "other", "openai_responses", openai_responses.answer_stored),
    route(r"POST /messages/count_tokens", "other", "anthropic_messages", anthropic.answer_count),
    route(r"POST /messages", "chat", "anthropic_messages", anthropic.answer_messages),
    route(r"POST /models/(?P<model>[^:]+):(stream)?[gG]enerateContent", "chat", "gemini", gemini.answer_gemini),
    route(r"POST /models/(?P<model>[^:]+):countTokens", "other", "gemini", gemini.answer_count),
    route(
        r"POST /models/(?P<model>[^:]+):(?P<verb>embedContent|batchEmbedContents)",
        "embed",
        "gemini",
        gemini.answer_embeddings,
    ),
    route(r"POST /api/chat", "chat", "ollama", ollama.answer_chat),
    route(r"POST /api/generate", "chat", "ollama", ollama.answer_generate),
    route(r"POST /api/embed(dings)?", "embed", "ollama", ollama.answer_embed),
    route(r"POST /api/show", "models", "ollama", ollama.answer_show),
    route(r"GET /api/tags", "models", "ollama", ollama.answer_tags),
    route(r"GET /api/ps", "models", "ollama", ollama.answer_running),
    route(r"GET /api/version", "models", "ollama", ollama.answer_version),
    route(r"POST /v2/chat", "chat", "cohere_v2", cohere.answer_chat),
    route(r"POST /v[12]/embed", "embed", "cohere_v2", cohere.answer_embed),
    route(r"POST /model/(?P<model>[^/]+)/converse(-stream)?", "chat", "bedrock_converse", bedrock.answer_converse),
    route(r"POST /model/(?P<model>[^/]+)/count-tokens", "other", "bedrock_converse", bedrock.answer_count),
    route(r"POST /model/(?P<model>[^/]+)/invoke", "chat", "bedrock_converse", anthropic.answer_invoke),
    route(r"POST /(?P<endpoint>[^/]+)/run", "chat", "runpod", runpod.answer_run),
    route(r"POST /(?P<endpoint>[^/]+)/runsync", "chat", "runpod", runpod.answer_run_sync),
    route(r"GET|POST /status/(?P<job>[^/]+)", "other", "runpod", runpod.answer_status),
    route(r"GET|POST /stream/(?P<job>[^/]+)", "other", "runpod", runpod.answer_stream),
    route(r"POST /cancel/(?P<job>[^/]+)", "other", "runpod", runpod.answer_cancel),
    route(r"GET /health", "other", "runpod", runpod.answer_health),
    route(r"POST /embeddings", "embed", "openai_other", answer_embeddings),
    route(r"POST /moderations", "moderate", "openai_other", answer_moderations),
    route(r"POST /images(/generations)?", "image", "openai_other", answer_generation),
    route(r"POST /images/edits", "image", "openai_other", answer_edit),
    route(r"POST /images/variations", "image", "openai_other", answer_variation),
    route(r"POST /audio/speech", "speech", "openai_other", answer_speech),
    route(r"POST /audio/transcriptions", "transcription", "openai_other", answer_transcription),
    route(r"POST /audio/translations", "transcription", "openai_other", answer_translation),
    route(r"GET /foundation-models", "models", "bedrock_converse", answer_bedrock_models),
    route(r"GET /generation", "other", "openai_other", served.answer_generation),
    route(r"GET /activity", "other", "openai_other", served.answer_activity),
    route(r"GET /organization/usage/completions", "other", "openai_other", served.answer_openai_usage),
    route(r"GET /organization/costs", "other", "openai_other", served.answer_openai_costs),
    route(r"GET /organizations/usage_report/messages", "other", "anthropic_messages", served.answer_anthropic_usage),
    route(r"GET /organizations/cost_report", "other", "anthropic_messages", served.answer_anthropic_costs),
    route(r"GET /(?P<account>key|credits|user/balance|language-models)", "other", "openai_other", answer_account),
    route(r"GET /models", "models", "openai_other", answer_models, ("openrouter", "aimlapi", "aihubmix")),
    route(r"GET /models/(?P<model>.+)", "models", "openai_other", answer_model, ("openrouter", "aimlapi", "aihubmix")),
)


def find_route(provider: str, method: str, raw_path: str) -> tuple[Route, Mapping[str, str]] | None:
    """The endpoint for the path behind the provider's name, and what its pattern caught, percent-decoded. What the
    provider has for itself comes before what many have."""
    shared = () if profile_of(provider).media else ROUTES
    for candidate in (*MEDIA_ROUTES.get(provider, ()), *shared):
        if method in candidate.methods:
            match = candidate.pattern.search(raw_path)
            if match is not None:
                return candidate, {
                    name: unquote(value) for name, value in match.groupdict().items() if value is not None
                }
    return None
