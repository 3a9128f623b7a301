"""Usage as each provider of the chat completions dialect reports it, and the headers around the answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from polyroute.sandbox.answers import Answer
from polyroute.sandbox.exchange import Exchange, Json, hexadecimal, identifier, uuid_text


def chat_usage(exchange: Exchange, answers: list[Answer]) -> Json:
    """The `usage` object: prompt tokens once, generated tokens of every choice."""
    prompt = answers[0].usage.prompt
    cached = answers[0].usage.cached
    output = sum(answer.usage.output for answer in answers)
    reasoning = sum(answer.usage.reasoning for answer in answers)
    usage: Json = {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}
    details = {
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": reasoning},
    }
    match exchange.profile.name:
        case "openai" | "azure":
            usage["prompt_tokens_details"] = {"cached_tokens": cached, "cache_write_tokens": 0, "audio_tokens": 0}
            usage["completion_tokens_details"] = {
                "reasoning_tokens": reasoning,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            }
        case "openrouter":
            cost = round(prompt * 0.000001 + output * 0.000005, 9)
            upstream = {"upstream_inference_cost": cost}
            upstream["upstream_inference_prompt_cost"] = round(prompt * 0.000001, 9)
            upstream["upstream_inference_completions_cost"] = round(output * 0.000005, 9)
            usage |= {"cost": cost, "is_byok": False, "cost_details": upstream}
            usage["prompt_tokens_details"] = {"cached_tokens": cached, "cache_write_tokens": 0, "audio_tokens": 0}
            usage["completion_tokens_details"] = {"reasoning_tokens": reasoning, "image_tokens": 0}
        case "xai":
            spoken = output - reasoning
            usage |= {"completion_tokens": spoken, "total_tokens": prompt + output, "num_sources_used": 0}
            usage["cost_in_usd_ticks"] = prompt * 2000 + output * 5000
            usage["prompt_tokens_details"] = {
                "text_tokens": prompt,
                "audio_tokens": 0,
                "image_tokens": 0,
                "cached_tokens": cached,
            }
            usage["completion_tokens_details"] = {"reasoning_tokens": reasoning, "audio_tokens": 0}
        case "groq":
            usage |= {"queue_time": 0.05, "prompt_time": 0.008, "completion_time": 0.1, "total_time": 0.108}
            usage |= details
        case "deepseek":
            usage |= details | {"prompt_cache_hit_tokens": cached, "prompt_cache_miss_tokens": prompt - cached}
        case "perplexity":
            usage |= {"search_context_size": "low"}
            if reasoning:
                usage["reasoning_tokens"] = reasoning
            usage["cost"] = {
                "input_tokens_cost": round(prompt * 0.000001, 9),
                "output_tokens_cost": round(output * 0.000001, 9),
                "request_cost": 0.005,
                "total_cost": round((prompt + output) * 0.000001 + 0.005, 9),
            }
        case "mistral" | "fireworks" | "llamacpp":
            usage["prompt_tokens_details"] = {"cached_tokens": cached}
        case "together" | "ollama" | "vllm" | "lmstudio" | "runpod" | "google" | "cohere":
            pass
        case _:
            usage |= details
    return usage


def request_id_header(exchange: Exchange) -> dict[str, str]:
    """The header under which the provider names the request."""
    name = exchange.profile.request_id
    match name:
        case None | "":
            return {}
        case "request-id":
            return {name: "req_011" + identifier(exchange.digest, "request", 21)}
        case "server-timing":
            return {name: "gfet4t7; dur=120"}
        case "x-generation-id":
            return {name: "gen-1795000000-" + identifier(exchange.digest, "chat", 20)}
        case "x-request-id" if exchange.profile.name == "openai":
            return {name: "req_" + hexadecimal(exchange.digest, "request", 32)}
        case _:
            return {name: uuid_text(exchange.digest, "request")}


def rate_headers(exchange: Exchange) -> dict[str, str]:
    """What is left of the provider's limits, in its own names and time formats."""
    match exchange.profile.rate_headers:
        case "openai":
            return _limits("x-ratelimit", requests=(10000, 9999, "6ms"), tokens=(2000000, 1999900, "3ms"))
        case "azure":
            return _limits("x-ratelimit", requests=(2500, 2499, "0"), tokens=(250000, 249988, "0"))
        case "xai":
            return _limits("x-ratelimit", requests=(1800, 1799, None), tokens=(10000000, 9999900, None))
        case "groq":
            return _limits("x-ratelimit", requests=(14400, 14399, "2m59.56s"), tokens=(8000, 7900, "7.66s"))
        case "mistral":
            return {
                "x-ratelimit-limit-tokens-minute": "2000000",
                "x-ratelimit-remaining-tokens-minute": "1999900",
                "x-ratelimit-tokens-query-cost": "100",
                "x-ratelimit-limit-req-minute": "360",
                "x-ratelimit-remaining-req-minute": "359",
            }
        case "fireworks":
            return {"x-ratelimit-limit-tokens-prompt": "60000", "x-ratelimit-limit-tokens-generated": "6000"}
        case "together":
            return {
                "x-ratelimit-limit": "60",
                "x-ratelimit-remaining": "59",
                "x-ratelimit-reset": "1",
                "x-tokenlimit-limit": "60000",
                "x-tokenlimit-remaining": "59900",
            }
        case "anthropic":
            reset = (datetime.now(UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
            limits = {"requests": (10000, 9999), "input-tokens": (450000, 449000), "output-tokens": (90000, 89000)}
            limits["tokens"] = (540000, 538000)
            headers = {}
            for what, (limit, remaining) in limits.items():
                headers[f"anthropic-ratelimit-{what}-limit"] = str(limit)
                headers[f"anthropic-ratelimit-{what}-remaining"] = str(remaining)
                headers[f"anthropic-ratelimit-{what}-reset"] = reset
            return headers
        case "none":
            return {}


def _limits(prefix: str, **rows: tuple[int, int, str | None]) -> dict[str, str]:
    headers = {}
    for what, (limit, remaining, reset) in rows.items():
        headers[f"{prefix}-limit-{what}"] = str(limit)
        headers[f"{prefix}-remaining-{what}"] = str(remaining)
        if reset is not None:
            headers[f"{prefix}-reset-{what}"] = reset
    return headers


def reply_headers(exchange: Exchange, answers: list[Answer] | None = None) -> dict[str, str]:
    """Headers of a good chat answer that only some providers send."""
    match exchange.profile.name:
        case "openai":
            return {"openai-version": "2020-10-01", "openai-processing-ms": "120", "openai-organization": "org-sandbox"}
        case "azure":
            return {"x-ms-region": "Sandbox", "x-ms-rai-invoked": "true"}
        case "aimlapi" if answers is not None:
            return {"x-aimlapi-credits-used": "21", "x-aimlapi-usd-spent": "0.0000105"}
    return {}
