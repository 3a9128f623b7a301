"""Embeddings and moderations: numbers that depend on the text and on nothing else."""

from __future__ import annotations

import base64
import hashlib
import math
import struct
from typing import Any

from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json, Reply, hexadecimal, json_reply, uuid_text
from polyroute.sandbox.openai_reading import required_model, whole
from polyroute.sandbox.openai_usage import reply_headers
from polyroute.sandbox.prompt import tokens_of

_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


def vector(text: str, size: int) -> list[float]:
    """A unit vector. Texts that share words point the same way, so that similarity means something in a demonstration."""
    total = [0.0] * size
    words = text.lower().split() or [""]
    for word in words:
        for place, value in enumerate(_word_vector(word, size)):
            total[place] += value
    length = math.sqrt(sum(value * value for value in total)) or 1.0
    return [round(value / length, 8) for value in total]


def _word_vector(word: str, size: int) -> list[float]:
    data = hashlib.shake_128(word.encode("utf-8", "surrogatepass")).digest(size)
    return [byte / 127.5 - 1.0 for byte in data]


def model_size(model: str) -> int:
    """The length of the model's vectors."""
    if "3-large" in model:
        return 3072
    if "embed" in model and any(part in model for part in ("mistral", "cohere", "v4", "multilingual")):
        return 1024
    return 768 if "nomic" in model or "gemini" in model else 1536


def answer_embeddings(exchange: Exchange) -> Reply:
    """`POST /embeddings`: floats or base64 of little-endian floats."""
    body = exchange.body
    model = required_model(exchange)
    inputs = embedding_inputs(body.get("input"))
    form = body.get("encoding_format") or "float"
    if form not in ("float", "base64"):
        raise invalid(f"Invalid value: '{form}'. Supported values are: 'float' and 'base64'.", param="encoding_format")
    size = whole(body, "dimensions") or model_size(model)
    if size > 4096:
        raise invalid("Invalid value for 'dimensions'.", param="dimensions", code="invalid_value")
    tokens = sum(max(1, tokens_of(text)) for text in inputs)
    if tokens > exchange.context_limit:
        raise Refused("context_too_long", values={"tokens": tokens, "limit": exchange.context_limit}, param="input")
    data = [
        {"object": "embedding", "index": place, "embedding": _encoded(text, size, form)}
        for place, text in enumerate(inputs)
    ]
    usage: Json = {"prompt_tokens": tokens, "total_tokens": tokens}
    value: Json = {"object": "list", "data": data, "model": model, "usage": usage}
    match exchange.profile.name:
        case "mistral":
            value["id"] = hexadecimal(exchange.digest, "embedding", 32)
        case "openrouter":
            value |= {"id": f"gen-emb-{hexadecimal(exchange.digest, 'embedding', 16)}", "provider": "Sandbox"}
            usage["cost"] = round(tokens * 0.00000002, 12)
    return json_reply(value, headers=reply_headers(exchange))


def _encoded(text: str, size: int, form: str) -> list[float] | str:
    values = vector(text, size)
    return values if form == "float" else base64.b64encode(struct.pack(f"<{size}f", *values)).decode()


def embedding_inputs(value: Any) -> list[str]:
    """The texts of `input`: a text, texts, tokens or lists of tokens (which stand for a text of their numbers)."""
    match value:
        case str() if value:
            return [value]
        case [int(), *_]:
            return [" ".join(str(token) for token in value)]
        case [str(), *_] | [list(), *_]:
            return [item if isinstance(item, str) else " ".join(str(token) for token in item) for item in value]
    raise invalid("Invalid 'input': expected a non-empty string or array.", param="input", code="invalid_value")


def answer_moderations(exchange: Exchange) -> Reply:
    """`POST /moderations`: flags what contains the word `violence`, `hate` or `harassment`."""
    value = exchange.body.get("input")
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list) or not parts:
        raise invalid("Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
    if isinstance(parts[0], dict):
        words = " ".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
        kinds = ["image" if part.get("type") == "image_url" else "text" for part in parts if isinstance(part, dict)]
        results = [_verdict(words, sorted(set(kinds)))]
    else:
        results = [_verdict(str(part), ["text"]) for part in parts]
    model = exchange.body.get("model") or "omni-moderation-latest"
    number = uuid_text(exchange.digest, "moderation").split("-")[0]
    return json_reply({"id": f"modr-{number}", "model": model, "results": results}, headers=reply_headers(exchange))


def _verdict(text: str, kinds: list[str]) -> Json:
    lowered = text.lower()
    flags = {name: name in ("violence", "hate", "harassment") and name in lowered for name in _CATEGORIES}
    return {
        "flagged": any(flags.values()),
        "categories": flags,
        "category_scores": {name: 0.97 if flag else 0.0001 for name, flag in flags.items()},
        "category_applied_input_types": dict.fromkeys(_CATEGORIES, kinds),
    }
