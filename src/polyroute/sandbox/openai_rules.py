"""What only some providers of the chat completions dialect refuse."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json
from polyroute.sandbox.openai_reading import is_reasoning_model

_MISTRAL_ID = re.compile(r"^[A-Za-z0-9]{9}$")


def check_provider_rules(exchange: Exchange) -> None:
    """Raise `Refused` where the real provider would, beyond what all providers refuse. What is meant for the gateway alone
    is refused by all, so that a gateway that forwards it is caught."""
    if exchange.strict and "polyroute" in exchange.body:
        raise invalid("Unrecognized request argument supplied: polyroute")
    check = _RULES.get(exchange.profile.name)
    if exchange.strict and check is not None:
        check(exchange.body)


def _openai(body: Json) -> None:
    if not is_reasoning_model(str(body.get("model"))):
        return
    if body.get("max_tokens") is not None:
        raise Refused(
            "unsupported_parameter",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            param="max_tokens",
        )
    sampling = body.get("reasoning_effort") == "none"
    for name in ("temperature", "top_p"):
        value = body.get(name)
        if value not in (None, 1) and not sampling:
            raise Refused(
                "unsupported_parameter",
                f"Unsupported value: '{name}' does not support {value} with this model. Only the default (1) value is "
                "supported.",
                param=name,
                code="unsupported_value",
            )
    refused = [
        "frequency_penalty",
        "presence_penalty",
        "logit_bias",
        *([] if sampling else ["logprobs", "top_logprobs"]),
    ]
    for name in refused:
        if body.get(name):
            detail = f"Unsupported parameter: '{name}' is not supported with this model."
            raise Refused("unsupported_parameter", detail, param=name)


def _groq(body: Json) -> None:
    if body.get("n") not in (None, 1):
        raise invalid("'n' : number must be at most 1", param="n")
    for name in ("logprobs", "top_logprobs", "logit_bias"):
        if body.get(name):
            raise invalid(f"property '{name}' is unsupported", param=name)
    for place, message in enumerate(body["messages"]):
        if message.get("name") is not None:
            raise invalid(f"'messages.{place}' : for 'role:{message['role']}' property 'name' is unsupported")
    if body.get("reasoning_format") is not None and body.get("include_reasoning") is not None:
        raise invalid("cannot specify both `reasoning_format` and `include_reasoning`")


def _mistral(body: Json) -> None:
    for message in body["messages"]:
        ids = [call.get("id") for call in message.get("tool_calls") or ()]
        if message["role"] == "tool":
            ids.append(message.get("tool_call_id"))
        for found in ids:
            if not isinstance(found, str) or not _MISTRAL_ID.match(found):
                raise Refused(
                    "invalid_request",
                    f"Tool call id was {found} but must be a-z, A-Z, 0-9, with a length of 9.",
                    code="3280",
                )
    last = body["messages"][-1]
    if last["role"] not in ("user", "tool") and last.get("prefix") is not True:
        raise Refused(
            "invalid_request",
            f"Expected last role User or Tool (or Assistant with prefix True) for serving but got {last['role']}",
            code="3230",
        )
    for name in ("seed", "logit_bias", "user", "store", "max_completion_tokens", "stream_options"):
        if name in body:
            detail = {
                "detail": [{"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}]
            }
            raise Refused("invalid_request", str(detail), status=422)


def _perplexity(body: Json) -> None:
    roles = [message["role"] for message in body["messages"] if message["role"] not in ("system", "developer")]
    if not roles or roles[-1] not in ("user", "tool"):
        raise invalid("Last message must have role `user` or `tool`.", code="400")
    for before, after in pairwise(roles):
        if before == after == "user" or before == after == "assistant":
            raise invalid(
                "After the (optional) system message(s), user or tool message(s) should alternate with assistant message(s)."
            )


def _lmstudio(body: Json) -> None:
    if _kind(body.get("response_format")) == "json_object":
        raise invalid("'response_format.type' must be 'json_schema' or 'text'", param="response_format")


def _ollama(body: Json) -> None:
    for message in body["messages"]:
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, dict) else image
            if _kind(part) == "image_url" and not str(url).startswith("data:"):
                raise invalid("image URLs are not currently supported, please use base64 encoded data instead")


def _deepseek(body: Json) -> None:
    if _kind(body.get("response_format")) == "json_schema":
        raise invalid("This response_format type is unavailable now")
    if _kind(body.get("thinking")) == "disabled":
        return
    messages = body["messages"]
    last_user = max((place for place, item in enumerate(messages) if item["role"] == "user"), default=0)
    for place, message in enumerate(messages):
        if place > last_user and message.get("tool_calls") and "reasoning_content" not in message:
            raise invalid(
                f"Missing `reasoning_content` field in the assistant message at message index {place}. For more "
                "information, please refer to https://api-docs.deepseek.com/guides/thinking_mode#tool-calls"
            )


def _xai(body: Json) -> None:
    if body.get("search_parameters") is not None:
        raise invalid("Live search is deprecated. Please switch to the Agent Tools API.", code="invalid-argument")


def _google(body: Json) -> None:
    if body.get("reasoning_effort") == "minimal":
        raise invalid("Invalid reasoning_effort: minimal. Valid values are: high, low, medium, none")


def _kind(value: Any) -> Any:
    return value.get("type") if isinstance(value, dict) else None


_RULES = {
    "openai": _openai,
    "azure": _openai,
    "groq": _groq,
    "mistral": _mistral,
    "perplexity": _perplexity,
    "lmstudio": _lmstudio,
    "ollama": _ollama,
    "deepseek": _deepseek,
    "xai": _xai,
    "google": _google,
}
