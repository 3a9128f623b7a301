"""Reads a Responses request as OpenAI would, refusing what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Exchange, Json
from polyroute.sandbox.openai_content import checked_size
from polyroute.sandbox.openai_reading import (
    cached_tokens,
    check_context,
    check_streaming,
    checked_schema,
    is_reasoning_model,
    read_choice,
    required_model,
    whole,
)
from polyroute.sandbox.prompt import Attachment, Prompt, SeenCall, SeenResult, Tool, Turn, data_attachment
from polyroute.sandbox.signatures import is_signed_by

SHELF = "responses"
_KNOWN = {
    *(
        "model",
        "input",
        "instructions",
        "stream",
        "stream_options",
        "store",
        "include",
        "reasoning",
        "max_output_tokens",
    ),
    *(
        "tools",
        "tool_choice",
        "text",
        "temperature",
        "top_p",
        "top_logprobs",
        "parallel_tool_calls",
        "metadata",
        "user",
    ),
    *("previous_response_id", "conversation", "background", "truncation", "max_tool_calls", "service_tier", "prompt"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "moderation"),
    "context_management",
}
_OTHER_ITEMS = (
    "item_reference",
    "web_search_call",
    "file_search_call",
    "code_interpreter_call",
    "image_generation_call",
)


class Kept:
    """A stored response, with the conversation up to and including it."""

    def __init__(self, value: Json, turns: tuple[Turn, ...], items: list[Any]) -> None:
        self.value = value
        self.turns = turns
        self.items = items


def read_responses(exchange: Exchange) -> Prompt:
    """The neutral form of a Responses request."""
    body = exchange.body
    model = required_model(exchange)
    if exchange.strict and exchange.profile.name in ("openai", "azure"):
        _check_known(body, model)
    check_streaming(body)
    earlier = _earlier(exchange)
    turns = (*_instructions(body), *earlier, *_input(exchange, earlier))
    tools = tuple(_tool(item, place) for place, item in enumerate(body.get("tools") or ()))
    choice, forced = read_choice(body.get("tool_choice"))
    prompt = Prompt(
        provider=exchange.profile.name,
        model=model,
        digest=exchange.digest,
        turns=turns,
        tools=tuple(tool for tool in tools if tool is not None),
        choice=choice,
        forced=tuple(name for name in forced if name),
        parallel=body.get("parallel_tool_calls") is not False,
        schema=_schema(body),
        json_object=_format(body).get("type") == "json_object",
        reasoning=_thinks(exchange, model),
        limit=whole(body, "max_output_tokens"),
        logprobs=_logprobs(body),
        stream=body.get("stream") is True,
        cached=cached_tokens(turns),
        instead=exchange.instead,
    )
    check_context(exchange, prompt)
    return prompt


def _check_known(body: Json, model: str) -> None:
    for name in body:
        if name not in _KNOWN:
            raise invalid(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    effort = (body.get("reasoning") or {}).get("effort")
    if is_reasoning_model(model) and effort != "none":
        for name in ("temperature", "top_p"):
            if body.get(name) not in (None, 1):
                detail = f"Unsupported parameter: '{name}' is not supported with this model."
                raise invalid(detail, param=name)
    elif body.get("reasoning") and not is_reasoning_model(model) and model.startswith("gpt-4"):
        detail = "Unsupported parameter: 'reasoning.effort' is not supported with this model."
        raise Refused("unsupported_parameter", detail, param="reasoning.effort")


def _earlier(exchange: Exchange) -> tuple[Turn, ...]:
    name = exchange.body.get("previous_response_id")
    if name is None:
        return ()
    kept = exchange.memory.find(SHELF, str(name))
    if not isinstance(kept, Kept):
        raise invalid(
            f"Previous response with id '{name}' not found.",
            param="previous_response_id",
            code="previous_response_not_found",
        )
    return kept.turns


def _instructions(body: Json) -> tuple[Turn, ...]:
    value = body.get("instructions")
    return (Turn(role="system", text=str(value)),) if value else ()


def input_items(body: Json) -> list[Any]:
    """The input as a list of items."""
    value = body.get("input")
    if isinstance(value, str):
        return [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": value}]}]
    if not isinstance(value, list):
        raise invalid("Missing required parameter: 'input'.", param="input", code="missing_required_parameter")
    return value


def _input(exchange: Exchange, earlier: tuple[Turn, ...]) -> list[Turn]:
    items = input_items(exchange.body)
    turns: list[Turn] = []
    for place, item in enumerate(items):
        where = f"input[{place}]"
        if not isinstance(item, dict):
            raise invalid(f"Invalid type for '{where}': expected an object.", param=where, code="invalid_type")
        kind = item.get("type") or ("message" if "role" in item else None)
        match kind:
            case "message":
                turns.append(_message(item, where))
            case "function_call" | "custom_tool_call":
                call = SeenCall(str(item.get("call_id", "")), str(item.get("name", "")))
                turns.append(Turn(role="assistant", calls=(call,)))
            case "function_call_output" | "custom_tool_call_output":
                result = SeenResult(str(item.get("call_id", "")), "", _output_text(item.get("output")))
                turns.append(Turn(role="tool", results=(result,)))
            case "reasoning":
                _check_reasoning(exchange, items, place)
            case _ if kind not in _OTHER_ITEMS:
                raise invalid(f"Invalid value: '{kind}'.", param=f"{where}.type", code="invalid_value")
    _check_pairs([*earlier, *turns])
    return turns


def _message(item: Json, where: str) -> Turn:
    content = item.get("content")
    said: list[str] = []
    attachments: list[Attachment] = []
    for place, part in enumerate(
        [{"type": "input_text", "text": content}] if isinstance(content, str) else content or ()
    ):
        spot = f"{where}.content[{place}]"
        match part.get("type"):
            case "input_text" | "output_text" | "text":
                said.append(str(part.get("text", "")))
            case "refusal":
                said.append(str(part.get("refusal", "")))
            case "input_image":
                attachments.append(_image(part, spot))
            case "input_file":
                attachments.append(_file(part, spot))
            case "input_audio":
                audio = part.get("input_audio") or part
                attachments.append(
                    Attachment("audio", f"audio/{audio.get('format')}", checked_size(audio.get("data"), spot))
                )
            case other:
                raise invalid(
                    f"Invalid value: '{other}'. Supported values are: 'input_text', 'input_image', 'output_text', 'refusal', "
                    "'input_file'.",
                    param=spot,
                    code="invalid_value",
                )
    role: Literal["user", "assistant", "system"] = "system"
    if item.get("role") in ("user", "assistant"):
        role = item["role"]
    elif item.get("role") not in ("system", "developer"):
        raise invalid(f"Invalid value: '{item.get('role')}'.", param=f"{where}.role", code="invalid_value")
    return Turn(role=role, text="\n".join(said), attachments=tuple(attachments))


def _image(part: Json, where: str) -> Attachment:
    if isinstance(part.get("file_id"), str):
        return Attachment("image", "image/file", None, part["file_id"])
    url = part.get("image_url")
    found = data_attachment("image", url, "image/unknown") if isinstance(url, str) and url else None
    if found is None:
        detail = f"Invalid '{where}.image_url'. Expected a valid URL or a base64-encoded data URL."
        raise invalid(detail, param=f"{where}.image_url", code="invalid_image_url")
    return found


def _file(part: Json, where: str) -> Attachment:
    if isinstance(part.get("file_data"), str):
        found = data_attachment("file", part["file_data"], "application/pdf")
        if found is None:
            raise invalid("Invalid file data.", param=f"{where}.file_data", code="invalid_file_data")
        return found
    return Attachment("file", "application/octet-stream", None, str(part.get("file_id") or part.get("file_url")))


def _output_text(output: Any) -> str:
    if isinstance(output, list):
        return "\n".join(str(part.get("text", f"[{part.get('type')}]")) for part in output if isinstance(part, dict))
    return "" if output is None else str(output)


def _check_reasoning(exchange: Exchange, items: list[Any], place: int) -> None:
    item = items[place]
    state = item.get("encrypted_content")
    if (
        state is not None
        and exchange.strict
        and not is_signed_by(exchange.profile.name, str(state).removeprefix("gAAAAA"))
    ):
        raise invalid(
            f"The encrypted content {str(state)[:12]}... could not be verified. Reason: Encrypted content could not be "
            "decrypted or parsed.",
            code="invalid_encrypted_content",
        )
    follower = items[place + 1] if place + 1 < len(items) else {}
    if not isinstance(follower, dict) or follower.get("type", "message") not in (
        *("message", "function_call", "custom_tool_call", "reasoning"),
        *_OTHER_ITEMS,
    ):
        follower = {}
    if not follower or follower.get("role", "assistant") != "assistant":
        detail = f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item."
        raise invalid(detail, param="input")


def _check_pairs(turns: list[Turn]) -> None:
    called = {call.id for turn in turns for call in turn.calls}
    told = {result.id for turn in turns for result in turn.results}
    for name in [result.id for turn in turns for result in turn.results]:
        if name not in called:
            raise invalid(f"No tool call found for function call output with call_id {name}.", param="input")
    for name in [call.id for turn in turns for call in turn.calls]:
        if name not in told:
            raise invalid(f"No tool output found for function call {name}.", param="input")


def _tool(item: Any, place: int) -> Tool | None:
    if not isinstance(item, dict) or not isinstance(item.get("type"), str):
        detail = f"Missing required parameter: 'tools[{place}].type'."
        raise invalid(detail, param=f"tools[{place}].type", code="missing_required_parameter")
    if item["type"] not in ("function", "custom"):
        return None
    if not isinstance(item.get("name"), str):
        detail = f"Missing required parameter: 'tools[{place}].name'."
        raise invalid(detail, param=f"tools[{place}].name", code="missing_required_parameter")
    return Tool(item["name"], None if item["type"] == "custom" else checked_schema(item, f"tools[{place}]"))


def _format(body: Json) -> Json:
    text = body.get("text")
    form = text.get("format") if isinstance(text, dict) else None
    return form if isinstance(form, dict) else {}


def _schema(body: Json) -> Mapping[str, Any] | None:
    form = _format(body)
    if form.get("type") != "json_schema":
        return None
    if not isinstance(form.get("schema"), dict) or not form.get("name"):
        raise invalid(
            "Missing required parameter: 'text.format.name'.",
            param="text.format.name",
            code="missing_required_parameter",
        )
    return form["schema"]  # type: ignore[no-any-return]  # checked above


def _thinks(exchange: Exchange, model: str) -> bool:
    reasoning = exchange.body.get("reasoning") or {}
    if reasoning.get("effort") == "none":
        return False
    if exchange.profile.name in ("openai", "azure"):
        return is_reasoning_model(model)
    return (
        bool(reasoning) or is_reasoning_model(model) or any(part in model.lower() for part in exchange.profile.thinks)
    )


def _logprobs(body: Json) -> int | None:
    if "message.output_text.logprobs" not in (body.get("include") or ()):
        return None
    return int(body.get("top_logprobs") or 0)
