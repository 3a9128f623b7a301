"""Reads a Gemini request as Google would, refusing what it refuses. Names may be in camel or in snake case."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from polyroute.sandbox.errors import invalid
from polyroute.sandbox.exchange import Exchange, Json
from polyroute.sandbox.openai_reading import cached_tokens, check_context, check_model, texts
from polyroute.sandbox.prompt import Attachment, Prompt, SeenCall, SeenResult, Tool, Turn, base64_size
from polyroute.sandbox.signatures import is_signed_by

_KNOWN = {
    *("model", "contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings"),
    *("cachedContent", "serviceTier", "labels", "store"),
}
_UNKNOWN_IN_SCHEMAS = {
    *(
        "$ref",
        "$defs",
        "$schema",
        "$id",
        "additionalProperties",
        "propertyNames",
        "const",
        "definitions",
        "allOf",
        "oneOf",
    ),
    *(
        "not",
        "if",
        "then",
        "else",
        "patternProperties",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "uniqueItems",
        "examples",
    ),
}
_DUMMY = "skip_thought_signature_validator"
_SNAKE = re.compile(r"_([a-z])")


def camel(name: str) -> str:
    """`system_instruction` as `systemInstruction`."""
    return _SNAKE.sub(lambda match: match.group(1).upper(), name)


def fields(value: Any) -> Json:
    """An object with its own keys in camel case; anything else is an empty object."""
    return {camel(name): item for name, item in value.items()} if isinstance(value, dict) else {}


def read_gemini(exchange: Exchange) -> Prompt:
    """The neutral form of a generateContent request."""
    body = fields(exchange.body)
    model = exchange.groups["model"].removeprefix("models/")
    check_model(model)
    if exchange.strict:
        for name in body:
            if name not in _KNOWN:
                raise invalid(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
    turns = read_contents(body)
    if exchange.strict:
        _check_signatures(model, body["contents"])
    config = fields(body.get("generationConfig"))
    tools = _tools(body, strict=exchange.strict)
    choice, forced = _choice(body, tools)
    prompt = Prompt(
        provider=exchange.profile.name,
        model=model,
        digest=exchange.digest,
        turns=turns,
        tools=tools,
        choice=choice,
        forced=forced,
        schema=_schema(config, strict=exchange.strict),
        json_object=config.get("responseMimeType") == "application/json",
        reasoning=_thinks(model, config),
        stop=texts(config.get("stopSequences")),
        limit=_limit(config),
        count=int(config.get("candidateCount") or 1),
        logprobs=int(config.get("logprobs") or 0) if config.get("responseLogprobs") else None,
        stream="stream" in exchange.path,
        cached=cached_tokens(turns),
        instead=exchange.instead,
    )
    check_context(exchange, prompt)
    return prompt


def read_contents(body: Json) -> tuple[Turn, ...]:
    """System instruction and contents as turns."""
    turns: list[Turn] = []
    system = body.get("systemInstruction")
    if system is not None:
        parts = [{"text": system}] if isinstance(system, str) else fields(system).get("parts") or []
        turns.append(Turn(role="system", text="\n".join(str(fields(part).get("text", "")) for part in parts)))
    contents = body.get("contents")
    if isinstance(contents, dict | str):
        contents = [contents]
    if not isinstance(contents, list) or not contents:
        raise invalid("* GenerateContentRequest.contents: contents is not specified\n")
    open_calls = 0
    for place, content in enumerate(contents):
        found = _content({"parts": [{"text": content}]} if isinstance(content, str) else fields(content), place)
        responses = sum(len(turn.results) for turn in found)
        if responses != open_calls and (responses or open_calls):
            raise invalid(
                "Please ensure that the number of function response parts is equal to the number of function call parts of "
                "the function call turn."
            )
        open_calls = sum(len(turn.calls) for turn in found)
        turns += found
    return tuple(turns)


def _content(content: Json, place: int) -> list[Turn]:
    role = content.get("role") or "user"
    if role not in ("user", "model", "function", "tool"):
        raise invalid("Please use a valid role: user, model.")
    parts = content.get("parts")
    if not isinstance(parts, list) or not parts:
        raise invalid(f"* GenerateContentRequest.contents[{place}].parts: contents.parts must not be empty.\n")
    said: list[str] = []
    attachments: list[Attachment] = []
    calls: list[SeenCall] = []
    results: list[SeenResult] = []
    for number, raw in enumerate(parts):
        part = fields(raw)
        if "functionCall" in part:
            call = fields(part["functionCall"])
            if not call.get("name"):
                raise invalid(
                    f"* GenerateContentRequest.contents[{place}].parts[{number}].function_call.name: Name cannot be empty.\n"
                )
            calls.append(SeenCall(str(call.get("id", "")), str(call["name"])))
        elif "functionResponse" in part:
            results.append(_result(fields(part["functionResponse"]), f"contents[{place}].parts[{number}]"))
        elif "inlineData" in part or "fileData" in part:
            attachments.append(_attachment(part, f"contents[{place}].parts[{number}]"))
        elif isinstance(part.get("text"), str):
            said += [] if part.get("thought") else [part["text"]]
        elif (
            not {"executableCode", "codeExecutionResult", "thoughtSignature", "toolCall", "toolResponse"} & part.keys()
        ):
            where = f"contents[{place}].parts[{number}].data"
            raise invalid(
                f"* GenerateContentRequest.{where}: required oneof field 'data' must have one initialized field\n"
            )
    turns = [Turn(role="tool", results=tuple(results))] if results else []
    if said or attachments or calls or not turns:
        name: Literal["assistant", "user"] = "assistant" if role == "model" else "user"
        turns.append(Turn(role=name, text="\n".join(said), attachments=tuple(attachments), calls=tuple(calls)))
    return turns


def _result(response: Json, where: str) -> SeenResult:
    if not response.get("name"):
        raise invalid(f"* GenerateContentRequest.{where}.function_response.name: Name cannot be empty.\n")
    value = response.get("response")
    if not isinstance(value, dict):
        raise invalid(
            f"Invalid value at '{where}.function_response.response' (type.googleapis.com/google.protobuf.Struct), \"{value}\""
        )
    shown = value.get("output", value.get("result", value.get("error", value)))
    text = shown if isinstance(shown, str) else msgspec.json.encode(shown).decode()
    return SeenResult(str(response.get("id", "")), str(response["name"]), text)


def _attachment(part: Json, where: str) -> Attachment:
    inline = fields(part.get("inlineData") or part.get("fileData"))
    media_type = str(inline.get("mimeType", "application/octet-stream"))
    main = media_type.partition("/")[0]
    kind: Literal["image", "audio", "video", "file"] = "file"
    if main in ("image", "audio", "video"):
        kind = main  # type: ignore[assignment]  # one of the three
    if "fileData" in part:
        return Attachment(kind, media_type, None, str(inline.get("fileUri", "")))
    data = str(inline.get("data", ""))
    size = base64_size(data.replace("-", "+").replace("_", "/"))
    if size is None:
        raise invalid(
            f"Invalid value at '{where}.inline_data.data' (TYPE_BYTES), Base64 decoding failed for \"{data[:20]}\""
        )
    return Attachment(kind, media_type, size)


def _check_signatures(model: str, contents: Any) -> None:
    """From Gemini 3 on, the first call of each batch since the last question must carry the signature that it came with."""
    listed = [fields(content) for content in contents] if isinstance(contents, list) else []
    batches: list[tuple[int, Json]] = []
    for place, content in enumerate(listed):
        parts = [fields(part) for part in content.get("parts") or ()]
        if content.get("role") != "model" and not any("functionResponse" in part for part in parts):
            batches = []
        calls = [part for part in parts if "functionCall" in part]
        if calls:
            batches.append((place, calls[0]))
        for part in parts:
            signature = part.get("thoughtSignature")
            if signature is not None and not _is_valid(str(signature)):
                raise invalid("Thought signature is not valid.")
    for place, call in batches:
        if call.get("thoughtSignature") is None and re.search(r"gemini-([3-9]|\d\d)", model):
            name = fields(call["functionCall"]).get("name")
            raise invalid(
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to work "
                "correctly, and missing thought_signature may lead to degraded model performance. Additional data, function "
                f"call `default_api:{name}` , position {place}. Please refer to "
                "https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
            )


def _is_valid(signature: str) -> bool:
    standard = signature.replace("-", "+").replace("_", "/")
    dummy = base64.b64encode(_DUMMY.encode()).decode()
    return is_signed_by("google", standard) or signature == _DUMMY or standard.rstrip("=") == dummy.rstrip("=")


def _tools(body: Json, *, strict: bool) -> tuple[Tool, ...]:
    tools = []
    for place, group in enumerate(body.get("tools") or ()):
        for number, raw in enumerate(fields(group).get("functionDeclarations") or ()):
            declared = fields(raw)
            if not isinstance(declared.get("name"), str):
                raise invalid(
                    f"* GenerateContentRequest.tools[{place}].function_declarations[{number}].name: [FIELD_INVALID]"
                )
            schema = declared.get("parametersJsonSchema")
            if schema is None:
                schema = declared.get("parameters") or {"type": "object", "properties": {}}
                if strict:
                    check_schema(schema, f"tools[{place}].function_declarations[{number}].parameters")
            tools.append(Tool(declared["name"], schema))
    return tuple(tools)


def check_schema(schema: Any, where: str) -> None:
    """Gemini's own schema form knows fewer words than JSON Schema."""
    if not isinstance(schema, dict):
        return
    for name, value in schema.items():
        if name in _UNKNOWN_IN_SCHEMAS:
            raise invalid(f"Invalid JSON payload received. Unknown name \"{name}\" at '{where}': Cannot find field.")
        if name == "type" and isinstance(value, list):
            detail = f"Unknown name \"type\" at '{where}': Proto field is not repeating, cannot start list."
            raise invalid(f"Invalid JSON payload received. {detail}")
        if name == "properties" and isinstance(value, dict):
            for key, inner in value.items():
                check_schema(inner, f"{where}.properties[{key}].value")
        elif name == "items":
            check_schema(value, f"{where}.items")
        elif name == "anyOf" and isinstance(value, list):
            for number, inner in enumerate(value):
                check_schema(inner, f"{where}.any_of[{number}]")


def _choice(body: Json, tools: tuple[Tool, ...]) -> tuple[Literal["auto", "none", "required"], tuple[str, ...]]:
    config = fields(fields(body.get("toolConfig")).get("functionCallingConfig"))
    forced = texts(config.get("allowedFunctionNames"))
    match str(config.get("mode", "AUTO")).upper():
        case "NONE":
            return "none", ()
        case "ANY" if tools:
            return "required", forced
        case "ANY":
            raise invalid("Function calling config is set without function_declarations.")
    return "auto", forced


def _schema(config: Json, *, strict: bool) -> Mapping[str, Any] | None:
    schema = config.get("responseJsonSchema")
    if schema is None:
        schema = config.get("responseSchema")
        if strict:
            check_schema(schema, "generation_config.response_schema")
    if schema is not None and config.get("responseMimeType") != "application/json":
        raise invalid("Response schema is only supported with response mime type `application/json`.")
    return schema if isinstance(schema, dict) else None


def _thinks(model: str, config: Json) -> bool:
    thinking = fields(config.get("thinkingConfig"))
    if thinking.get("thinkingBudget") is not None and thinking.get("thinkingLevel") is not None:
        raise invalid("You can only set only one of thinking budget and thinking level.")
    if thinking.get("thinkingBudget") == 0:
        return False
    return bool(thinking) or re.search(r"gemini-(2\.5|[3-9]|\d\d)", model) is not None


def _limit(config: Json) -> int | None:
    value = config.get("maxOutputTokens")
    if value is not None and (not isinstance(value, int) or value < 1):
        raise invalid("max_output_tokens must be positive.")
    return value
