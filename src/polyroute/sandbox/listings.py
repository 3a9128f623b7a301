"""Model lists and the small account endpoints, each in its provider's own shape."""

from __future__ import annotations

from polyroute.sandbox.errors import Refused
from polyroute.sandbox.exchange import CREATED, CREATED_TEXT, Exchange, Json, Reply, hexadecimal, json_reply
from polyroute.sandbox.openai_reading import check_model

_CAPABILITIES = ("batch", "citations", "code_execution", "image_input", "pdf_input", "structured_outputs", "thinking")
_PRICE = {"input": 0.15, "output": 0.6}


def answer_models(exchange: Exchange) -> Reply:
    """`GET …/models` of the OpenAI-like providers, and of Anthropic when its version header is there."""
    profile = exchange.profile
    if profile.name == "anthropic" or "anthropic-version" in exchange.headers:
        rows = [_anthropic(model) for model in profile.models]
        first, last = (rows[0]["id"], rows[-1]["id"]) if rows else (None, None)
        return json_reply({"data": rows, "has_more": False, "first_id": first, "last_id": last})
    if profile.name == "google" and "/openai/" not in exchange.path:
        return json_reply({"models": [_gemini(model) for model in profile.models]})
    if profile.name == "cohere" and "/compatibility/" not in exchange.path:
        return json_reply({"models": [_cohere(model) for model in profile.models]})
    rows = [_row(exchange, model) for model in profile.models]
    if profile.listing == "together":
        return json_reply(rows)
    value: Json = {"object": "list", "data": rows}
    if profile.listing == "openrouter":
        value = {"data": rows, "total_count": len(rows), "links": {"next": None}}
    return json_reply(value)


def answer_model(exchange: Exchange) -> Reply:
    """`GET …/models/{id}`."""
    model = exchange.groups["model"].removeprefix("models/")
    check_model(model)
    if model not in exchange.profile.models:
        raise Refused("model_not_found", values={"model": model}, param="model")
    if exchange.profile.name == "anthropic":
        return json_reply(_anthropic(model))
    if exchange.profile.name == "google" and "/openai/" not in exchange.path:
        return json_reply(_gemini(model))
    return json_reply(_row(exchange, model))


def _row(exchange: Exchange, model: str) -> Json:
    row: Json = {"id": model, "object": "model", "created": CREATED, "owned_by": exchange.profile.name}
    match exchange.profile.listing:
        case "openrouter":
            return _openrouter(model)
        case "aimlapi":
            info = {
                "name": model,
                "developer": model.partition("/")[0],
                "description": "Simulated",
                "contextLength": 128000,
            }
            return {"id": model, "type": "openai/chat-completions", "info": info | {"outputMax": 16384}, "tags": []}
        case "together":
            row |= {
                "type": "chat",
                "display_name": model,
                "organization": model.partition("/")[0],
                "context_length": 131072,
            }
            row["pricing"] = {"hourly": 0, **_PRICE, "base": 0, "finetune": 0}
            del row["owned_by"]
        case "groq":
            row |= {"active": True, "context_window": 131072, "max_completion_tokens": 32768, "public_apps": None}
        case "mistral":
            names = ("completion_chat", "completion_fim", "function_calling", "vision", "fine_tuning")
            row |= {
                "name": model,
                "description": "Simulated",
                "max_context_length": 131072,
                "aliases": [],
                "type": "base",
            }
            row["capabilities"] = {name: name in ("completion_chat", "function_calling", "vision") for name in names}
        case "vllm":
            row |= {"owned_by": "vllm", "root": model, "parent": None, "max_model_len": 32768, "permission": []}
        case "llamacpp":
            meta = {"vocab_type": 2, "n_vocab": 201088, "n_ctx_train": 131072, "n_embd": 2880, "n_params": 20914757184}
            row |= {"owned_by": "llamacpp", "meta": meta}
        case "perplexity":
            row |= {"created": 0, "pricing": {"input": 1, "output": 1, "unit": "usd_per_1m_tokens"}}
    return row


def _openrouter(model: str) -> Json:
    free = model.endswith(":free")
    modalities = {"input_modalities": ["text", "image", "file"], "output_modalities": ["text"], "tokenizer": "Other"}
    return {
        "id": model,
        "canonical_slug": model,
        "name": model,
        "created": CREATED,
        "description": "Simulated",
        "context_length": 128000,
        "architecture": {"modality": "text+image->text", "instruct_type": None, **modalities},
        "pricing": {"prompt": "0" if free else "0.000001", "completion": "0" if free else "0.000005", "request": "0"},
        "top_provider": {"context_length": 128000, "max_completion_tokens": 16384, "is_moderated": False},
        "per_request_limits": None,
        "supported_parameters": ["tools", "tool_choice", "reasoning", "max_tokens", "response_format"],
        "default_parameters": {},
    }


def _anthropic(model: str) -> Json:
    row: Json = {"id": model, "type": "model", "display_name": model.replace("-", " ").title()}
    row |= {"created_at": CREATED_TEXT, "max_input_tokens": 200000, "max_tokens": 64000, "lifecycle": "active"}
    return row | {"capabilities": {name: {"supported": True} for name in _CAPABILITIES}}


def _gemini(model: str) -> Json:
    methods = ["embedContent"] if "embedding" in model else ["generateContent", "countTokens"]
    row: Json = {"name": f"models/{model}", "version": "001", "displayName": model, "description": "Simulated"}
    row |= {"inputTokenLimit": 1048576, "outputTokenLimit": 65536, "supportedGenerationMethods": methods}
    return row | {"temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2, "thinking": True}


def _cohere(model: str) -> Json:
    endpoints = ["embed"] if "embed" in model else ["chat"]
    row: Json = {"name": model, "endpoints": endpoints, "context_length": 256000, "features": ["tools", "json_schema"]}
    return row | {"is_deprecated": False, "finetuned": False, "tokenizer_url": None, "default_endpoints": []}


def answer_bedrock_models(exchange: Exchange) -> Reply:
    """`GET /foundation-models`."""
    rows = [
        {
            "modelId": model,
            "modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{model}",
            "modelName": model,
            "providerName": model.removeprefix("us.").split(".")[0].title(),
            "inputModalities": ["TEXT", "IMAGE"],
            "outputModalities": ["TEXT"],
            "responseStreamingSupported": True,
            "inferenceTypesSupported": ["ON_DEMAND"],
            "customizationsSupported": [],
            "modelLifecycle": {"status": "ACTIVE"},
        }
        for model in exchange.profile.models
    ]
    return json_reply({"modelSummaries": rows})


def answer_account(exchange: Exchange) -> Reply:
    """Balances and limits, where a provider tells them: OpenRouter's key and credits, DeepSeek's balance, xAI's models."""
    match exchange.groups["account"]:
        case "key":
            return json_reply({"data": {"label": "sandbox", "limit": None, "limit_remaining": None, "usage": 0}})
        case "credits":
            return json_reply({"data": {"total_credits": 10.0, "total_usage": 1.5}})
        case "user/balance":
            balance = {
                "currency": "USD",
                "total_balance": "110.00",
                "granted_balance": "10.00",
                "topped_up_balance": "100.00",
            }
            return json_reply({"is_available": True, "balance_infos": [balance]})
    rows = [
        {
            "id": model,
            "fingerprint": f"fp_{hexadecimal(model, 'fingerprint', 10)}",
            "created": CREATED,
            "object": "model",
            "owned_by": "xai",
            "version": "1.0.0",
            "input_modalities": ["text", "image"],
            "output_modalities": ["text"],
            "prompt_text_token_price": 2000,
            "cached_prompt_text_token_price": 500,
            "prompt_image_token_price": 2000,
            "completion_text_token_price": 5000,
            "search_price": 0,
            "aliases": [],
        }
        for model in exchange.profile.models
    ]
    return json_reply({"models": rows})
