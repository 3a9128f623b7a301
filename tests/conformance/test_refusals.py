"""Requests that each API refuses are refused here in its words and its shape, and nobody is asked."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from support.sdk_matrix import UPSTREAMS
from support.simulated_providers import SimulatedProviders

CHAT, VAPI, RESPONSES, MESSAGES = "/v1/chat/completions", "/vapi/chat/completions", "/v1/responses", "/v1/messages"
GEMINI, OLLAMA, GENERATE = "/v1beta/models/{}:generateContent", "/api/chat", "/api/generate"
OWN = {
    CHAT: "openai", VAPI: "openai", RESPONSES: "xai", MESSAGES: "anthropic", GEMINI: "google", OLLAMA: "ollama",
    GENERATE: "ollama",
}  # fmt: skip

HI = {"role": "user", "content": "Hi"}
OBJECT = {"type": "object", "properties": {}}
FUNCTION = {"type": "function", "function": {"name": "w", "parameters": OBJECT}}
CALL = {"id": "c1", "type": "function", "function": {"name": "w", "arguments": "{}"}}

Case = tuple[str, dict[str, Any], str, str | None]
"""Path, body without its model, words of the refusal, and the field that it names (OpenAI's paths only)."""


def chat(words: str, param: str | None, path: str = CHAT, **fields: Any) -> Case:
    return path, {"messages": [HI], **fields}, words, param


def user_part(words: str, param: str, **part: Any) -> Case:
    return chat(words, param, messages=[{"role": "user", "content": [part]}])


def responses(words: str, param: str | None, **fields: Any) -> Case:
    return RESPONSES, {"input": "Hi", **fields}, words, param


def messages(words: str, **fields: Any) -> Case:
    given = {"messages": [HI], "max_tokens": 50, **fields}
    return MESSAGES, {name: value for name, value in given.items() if value is not None}, words, None


def blocks(words: str, *content: dict[str, Any]) -> Case:
    return messages(words, messages=[{"role": "user", "content": list(content)}])


def gemini(words: str, **fields: Any) -> Case:
    return GEMINI, {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], **fields}, words, None


def turn(words: str, *parts: dict[str, Any], role: str = "user") -> Case:
    return gemini(words, contents=[{"role": role, "parts": list(parts)}])


def ollama(words: str, **fields: Any) -> Case:
    return OLLAMA, {"messages": [HI], "stream": False, **fields}, words, None


CASES: dict[str, Case] = {
    "chat-role": chat("Invalid value: 'wizard'", "messages[0].role", messages=[{"role": "wizard", "content": "x"}]),
    "chat-nothing": chat("empty array", "messages", messages=[]),
    "chat-result-without-call": chat(
        "must be a response to a preceeding message with 'tool_calls'", "messages.[1].role",
        messages=[HI, {"role": "tool", "tool_call_id": "nope", "content": "x"}], tools=[FUNCTION],
    ),
    "chat-call-without-result": chat(
        "did not have response messages: c1", "messages.[2].role",
        messages=[HI, {"role": "assistant", "content": None, "tool_calls": [CALL]}, HI], tools=[FUNCTION],
    ),
    "chat-choice": chat("'sometimes'", "tool_choice", tools=[FUNCTION], tool_choice="sometimes"),
    "chat-choice-of-no-tool": chat(
        "Tool choice 'x' not found", "tool_choice",
        tools=[FUNCTION], tool_choice={"type": "function", "function": {"name": "x"}},
    ),
    "chat-choice-without-tools": chat("only allowed when 'tools' are", "tool_choice", tool_choice="required"),
    "chat-image": user_part(
        "base64", "messages[0].content[0].image_url", type="image_url", image_url={"url": "data:image/png;base64,@@@"}
    ),
    "chat-data-url": user_part(
        "base64-encoded data URL", "messages[0].content[0].image_url",
        type="image_url", image_url={"url": "data:image/png"},
    ),
    "chat-part": user_part("Invalid value: 'hologram'", "messages[0].content[0].type", type="hologram"),
    "chat-tool-schema": chat(
        "Invalid schema for function 'w'", "tools[0].function.parameters",
        tools=[{"type": "function", "function": {"name": "w", "parameters": "no"}}],
    ),
    "chat-n": chat("Expected a value >= 1, but got 0", "n", n=0),
    "vapi-role": chat(
        "Invalid value: 'wizard'", "messages[0].role", VAPI, messages=[{"role": "wizard", "content": "x"}], stream=True
    ),
    "responses-previous": responses(
        "revious response with id", None, previous_response_id="resp_unknown"
    ),
    "responses-role": responses("'wizard'", None, input=[{"role": "wizard", "content": "x"}]),
    "responses-item": responses("'hologram'", None, input=[{"type": "hologram"}]),
    "responses-result-without-call": responses(
        "No tool call found for function call output with call_id x", None,
        input=[{"type": "function_call_output", "call_id": "x", "output": "y"}],
    ),
    "responses-choice": responses(
        "'sometimes'", None, tools=[{"type": "function", "name": "w", "parameters": OBJECT}], tool_choice="sometimes"
    ),
    "messages-max-tokens": messages("max_tokens: Field required", max_tokens=None),
    "messages-role": messages("messages.0.role: Input should be", messages=[{"role": "tool", "content": "x"}]),
    "messages-nothing": messages("at least one message is required", messages=[]),
    "messages-result-without-call": blocks(
        "unexpected `tool_use_id` found", {"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}
    ),
    "messages-call-without-result": messages(
        "without `tool_result` blocks immediately after: toolu_1",
        messages=[
            HI, {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "w", "input": {}}]}, HI,
        ],
    ),
    "messages-choice": messages(
        "does not match any of the expected tags", tools=[{"name": "w", "input_schema": OBJECT}],
        tool_choice={"type": "sometimes"},
    ),
    "messages-choice-of-no-tool": messages(
        "Tool 'x' not found", tools=[{"name": "w", "input_schema": OBJECT}], tool_choice={"type": "tool", "name": "x"}
    ),
    "messages-image": blocks(
        "invalid base64 data",
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "@@@"}},
    ),
    "messages-image-type": blocks(
        "Input should be 'image/jpeg'",
        {"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": "AAAA"}},
    ),
    "messages-schema": messages(
        "output_config.format.schema", output_config={"format": {"type": "json_schema", "schema": "no"}}
    ),
    "messages-tool-schema": messages(
        "input_schema.type: Input should be 'object'", tools=[{"name": "w", "input_schema": {"type": "string"}}]
    ),
    "messages-block": blocks("Input tag 'hologram'", {"type": "hologram"}),
    "messages-budget": messages(
        "greater than or equal to 1024", thinking={"type": "enabled", "budget_tokens": 10}
    ),
    "gemini-role": turn("Please use a valid role: user, model.", {"text": "x"}, role="wizard"),
    "gemini-nothing": gemini("contents is not specified", contents=[]),
    "gemini-result-without-call": turn(
        "equal to the number of function call parts", {"functionResponse": {"name": "w", "response": {"a": 1}}}
    ),
    "gemini-image": turn("Base64 decoding failed", {"inlineData": {"mimeType": "image/png", "data": "@@@"}}),
    "ollama-role": ollama("invalid role: wizard", messages=[{"role": "wizard", "content": "x"}]),
    "ollama-image": ollama("illegal base64 data", messages=[{**HI, "images": ["@@@"]}]),
    "ollama-think": ollama("think", think=7),
    "generate-prompt": (GENERATE, {"stream": False}, "prompt must not be empty", None),
    "generate-image": (GENERATE, {"prompt": "x", "images": ["@@@"], "stream": False}, "illegal base64 data", None),
}  # fmt: skip
"""Refused by the provider itself where it speaks the caller's dialect, by us where it does not."""

OURS_ALONE: dict[str, Case] = {
    "chat-schema": chat(
        "Invalid schema for response_format 'a'", "response_format",
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": "no"}},
    ),
    "chat-schema-type": chat(
        "Invalid schema for response_format 'a'", "response_format",
        response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "thing"}}},
    ),
    "chat-choices": chat("cannot do choices", None, n=2),
    "chat-audio": user_part(
        "cannot do audio_input", "", type="input_audio", input_audio={"data": "AAAA", "format": "wav"}
    ),
    "chat-temperature": chat("Invalid type for 'temperature'", "temperature", temperature="hot"),
    "responses-image": responses(
        "image", None,
        input=[{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,@@@"}]}],
    ),
    "responses-schema": responses(
        "Invalid schema", None, text={"format": {"type": "json_schema", "name": "a", "schema": "no"}}
    ),
    "gemini-mode": gemini(
        "Mode), \"SOMETIMES\"", tools=[{"functionDeclarations": [{"name": "w"}]}],
        toolConfig={"functionCallingConfig": {"mode": "SOMETIMES"}},
    ),
    "gemini-schema": gemini(
        "response_json_schema", generationConfig={"responseMimeType": "application/json", "responseJsonSchema": "no"}
    ),
    "ollama-format": ollama("invalid format", format="yaml"),
}  # fmt: skip
"""Said wherever the request has to be understood here; in its own dialect the provider judges alone."""


def ask(client: httpx.Client, upstream: str, case: Case) -> httpx.Response:
    path, body, _, _ = case
    name = f"{upstream}/{UPSTREAMS[upstream].model}"
    return client.post(path.format(name), json=body if "{}" in path else {"model": name, **body})


def check(answer: httpx.Response, case: Case) -> None:
    """Status, shape and words of a refusal in the caller's API."""
    path, _, words, param = case
    assert answer.status_code == 400, answer.text
    body = answer.json()
    match path:
        case "/v1/messages":
            assert body["type"] == "error"
            assert body["error"]["type"] == "invalid_request_error"
            message = body["error"]["message"]
        case "/v1beta/models/{}:generateContent":
            assert (body["error"]["code"], body["error"]["status"]) == (400, "INVALID_ARGUMENT")
            message = body["error"]["message"]
        case "/api/chat" | "/api/generate":
            assert list(body) == ["error"]
            message = body["error"]
        case _:
            assert set(body["error"]) == {"message", "type", "param", "code", "request_id"}
            assert body["error"]["type"] == "invalid_request_error"
            assert (body["error"]["param"] or "").startswith(param or "")
            message = body["error"]["message"]
    assert words in message


@pytest.mark.parametrize("name", [*CASES, *OURS_ALONE])
def test_a_request_that_must_be_understood_is_refused_before_anybody_is_asked(
    sandbox: SimulatedProviders, client: httpx.Client, name: str
) -> None:
    case = {**CASES, **OURS_ALONE}[name]
    upstream = "openai" if case[0] == MESSAGES else "anthropic"
    check(ask(client, upstream, case), case)
    assert sandbox.seen() == []


@pytest.mark.parametrize("name", CASES)
def test_a_provider_of_the_same_dialect_refuses_in_the_same_shape(
    sandbox: SimulatedProviders, client: httpx.Client, name: str
) -> None:
    case = CASES[name]
    check(ask(client, OWN[case[0]], case), case)
    assert len(sandbox.seen()) == (0 if case[0] == GENERATE else 1)  # /api/generate is always translated


def test_an_unknown_previous_response_has_openais_code(sandbox: SimulatedProviders, client: httpx.Client) -> None:
    error = ask(client, "anthropic", CASES["responses-previous"]).json()["error"]
    assert (error["code"], error["param"]) == ("previous_response_not_found", "previous_response_id")
    not_text = ask(client, "xai", responses("", None, previous_response_id=5))
    assert not_text.status_code == 400
    assert not_text.json()["error"]["param"] == "previous_response_id"
    assert sandbox.seen() == []


def test_a_schema_that_a_provider_cannot_follow_is_not_sent(sandbox: SimulatedProviders, client: httpx.Client) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": OBJECT}}
    answer = ask(client, "deepseek", chat("", None, response_format=wanted))
    assert answer.status_code == 400
    assert "cannot do json_schema" in answer.json()["error"]["message"]
    assert sandbox.seen() == []
