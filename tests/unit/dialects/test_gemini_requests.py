"""generateContent requests: what callers are refused, and how other dialects' requests become Gemini's."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.genai import types as sdk

from polyroute.dialects.gemini import CODEC, parse_gemini_request
from polyroute.dialects.gemini.schemas import from_openapi, to_openapi
from polyroute.types.chat import (
    AudioPart,
    ChatRequest,
    FilePart,
    HostedTool,
    ImagePart,
    Message,
    ModelProfile,
    OutputFormat,
    ProviderState,
    Reasoning,
    ReasoningPart,
    Rendered,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect

_USER = Message(role="user", parts=(TextPart(text="hi"),))
_HI = [{"parts": [{"text": "hi"}]}]
_CALL = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}
_F = [{"functionDeclarations": [{"name": "f"}]}]


def _parse(**fields: Any) -> ChatRequest:
    return parse_gemini_request(json.dumps({"contents": _HI} | fields).encode(), "models/gemini-3-flash", False)


def _render(*messages: Message, model: str = "gemini-3-flash-preview", **fields: Any) -> Rendered:
    request = ChatRequest(model=model, messages=messages or (_USER,), **fields)
    return CODEC.render_request(request, ModelProfile(provider="gemini", model=model))


def _call(call_id: str, name: str = "f", **more: Any) -> ToolCallPart:
    return ToolCallPart(id=call_id, name=name, arguments='{"a":1}', **more)


def _results(*results: ToolResultPart) -> Message:
    return Message(role="tool", parts=results)


def _result(call_id: str, *content: Any, **more: Any) -> ToolResultPart:
    return ToolResultPart(call_id=call_id, content=content or (TextPart(text="ok"),), **more)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"contents": []}, "contents is not specified"),
        ({"contents": "hi"}, "an object is expected"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "valid role: user, model"),
        ({"contents": [{"role": "user", "parts": []}]}, "must not be empty"),
        ({"contents": [{"parts": [{}]}]}, "must have one initialized field"),
        ({"contents": [{"parts": [{"txt": "x"}]}]}, 'Unknown name "txt"'),
        ({"contents": [{"parts": [{"text": 5}]}]}, "TYPE_STRING"),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "%%"}}]}]},
            "Base64 decoding failed",
        ),
        ({"contents": [{"parts": [{"inlineData": {"data": "AAAA"}}]}]}, "MIME type"),
        ({"contents": [*_HI, {"parts": [{"functionResponse": {"name": "f"}}]}]}, "was not called"),
        ({"contents": [*_HI, _CALL, {"parts": [{"functionResponse": {"id": "x", "name": "f"}}]}]}, "was not called"),
        ({"generationConfig": {"temperature": 3}}, "must be in the range"),
        ({"generationConfig": {"maxOutputTokens": "many"}}, "TYPE_INT32"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "must be positive"),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 5, "thinkingLevel": "LOW"}}}, "only one of"),
        ({"generationConfig": {"responseSchema": {"type": "OBJ"}}}, '"OBJ"'),
        ({"tools": [{"functionDeclarations": [{"name": ""}]}]}, "Name cannot be empty"),
        ({"tools": _F * 2}, "Duplicate function declaration"),
        ({"tools": _F, "toolConfig": {"functionCallingConfig": {"mode": "MUST"}}}, '"MUST"'),
        (
            {"tools": _F, "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}}},
            "subset",
        ),
    ],
)
def test_the_api_refuses_in_its_own_words(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(PolyrouteError) as caught:
        _parse(**fields)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert words in caught.value.message


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b'{"contents":[{"parts":[{"text":"hi"}]}]}'])
def test_a_body_without_model_or_object_is_refused(body: bytes) -> None:
    with pytest.raises(PolyrouteError) as caught:
        CODEC.parse_request(body)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST


def test_snake_case_reads_like_camel_case() -> None:
    camel = {
        "systemInstruction": {"parts": [{"text": "S"}]},
        "generationConfig": {
            "maxOutputTokens": 5,
            "topP": 0.5,
            "stopSequences": ["E"],
            "thinkingConfig": {"thinkingBudget": 0},
        },
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "any", "allowedFunctionNames": ["f"]}},
        "safetySettings": [{"category": "C", "threshold": "T"}],
    }
    snake = {
        "system_instruction": {"parts": [{"text": "S"}]},
        "generation_config": {
            "max_output_tokens": 5,
            "top_p": 0.5,
            "stop_sequences": ["E"],
            "thinking_config": {"thinking_budget": 0},
        },
        "tools": [{"function_declarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}],
        "tool_config": {"function_calling_config": {"mode": "any", "allowed_function_names": ["f"]}},
        "safety_settings": [{"category": "C", "threshold": "T"}],
    }
    request = _parse(**camel)
    assert request == _parse(**snake)
    assert (request.model, request.max_tokens, request.stop) == ("gemini-3-flash", 5, ("E",))
    assert request.tool_choice == ToolChoice(mode="tool", names=("f",))
    assert request.reasoning == Reasoning(enabled=False)
    assert request.extra == {"gemini": {"safetySettings": [{"category": "C", "threshold": "T"}]}}


def test_model_and_stream_may_stand_in_the_body() -> None:
    request = CODEC.parse_request(json.dumps({"contents": _HI, "model": "gemini/x", "stream": True}).encode())
    assert (request.model, request.stream, request.extra) == ("gemini/x", True, {})


def test_calls_without_ids_are_matched_to_their_responses_by_name() -> None:
    request = _parse(
        contents=[
            *_HI,
            {"role": "model", "parts": [{"functionCall": {"name": n}} for n in ("f", "g", "f")]},
            {
                "parts": [{"functionResponse": {"name": n, "response": {"output": n}}} for n in ("g", "f", "f")]
                + [{"text": "So?"}]
            },
        ]
    )
    calls = [part.id for part in request.messages[1].parts if isinstance(part, ToolCallPart)]
    answered = [part.call_id for part in request.messages[2].parts if isinstance(part, ToolResultPart)]
    assert len(set(calls)) == 3
    assert answered == [calls[1], calls[0], calls[2]]
    assert request.messages[3] == Message(role="user", parts=(TextPart(text="So?"),))


def test_media_by_place() -> None:
    parts = [
        {"inline_data": {"mime_type": "audio/mpeg", "data": "AAAA"}},
        {"fileData": {"mimeType": "image/png", "fileUri": "https://e.x/a.png"}},
        {"fileData": {"fileUri": "gs://b/c.pdf", "mimeType": "application/pdf"}},
        {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}, "videoMetadata": {"fps": 2}},
    ]
    audio, image, stored, video = _parse(contents=[{"parts": parts}]).messages[0].parts
    assert audio == AudioPart(data="AAAA", format="mp3")
    assert image == ImagePart(url="https://e.x/a.png", media_type="image/png")
    assert stored == FilePart(file_id="gs://b/c.pdf", media_type="application/pdf")
    assert video == FilePart(
        data="AAAA", media_type="video/mp4", state=ProviderState(Dialect.GEMINI, {"videoMetadata": {"fps": 2}})
    )


# ---------------------------------------------------------------- rendering


def test_a_rendered_request_is_what_the_sdk_types_know() -> None:
    body = _render(
        Message(role="system", parts=(TextPart(text="S"),)), _USER,
        Message(role="assistant", parts=(_call("c1"),)), _results(_result("c1")),
        tools=(Tool(name="f", parameters={"type": "object", "properties": {"a": {"type": "integer"}}}),),
        tool_choice=ToolChoice(mode="required"), reasoning=Reasoning(effort="low"), temperature=0.5, stop=("E",),
        output_format=OutputFormat(kind="json_schema", schema={"type": "object"}),
    ).body  # fmt: skip
    for content in body["contents"]:
        sdk.Content.model_validate(content)
    for tool in body["tools"]:
        sdk.Tool.model_validate(tool)
    sdk.GenerationConfig.model_validate(body["generationConfig"])
    sdk.ToolConfig.model_validate(body["toolConfig"])
    assert body["systemInstruction"] == {"parts": [{"text": "S"}]}
    assert body["generationConfig"]["thinkingConfig"] == {"includeThoughts": True, "thinkingLevel": "LOW"}
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}


def test_results_are_grouped_and_named_and_media_follows() -> None:
    picture = ImagePart(data="iVBORw0KGgo=", media_type="image/png")
    turns = (
        _USER, Message(role="assistant", parts=(_call("c1", "f"), _call("c2", "g"))),
        _results(_result("c2", TextPart(text="two"), picture)), _results(_result("c1", is_error=True)), _USER,
    )  # fmt: skip
    parts = _render(*turns).body["contents"][2]["parts"]
    first, second = parts[0]["functionResponse"], parts[1]["functionResponse"]
    assert (first["name"], first["id"], first["response"]) == ("f", "c1", {"error": "ok"})
    assert (second["name"], second["response"], len(second["parts"])) == ("g", {"output": "two"}, 1)
    assert parts[2] == {"text": "hi"}
    older = _render(*turns, model="gemini-2.5-flash").body["contents"][2]["parts"]
    assert [next(iter(part)) for part in older] == [
        "functionResponse",
        "functionResponse",
        "text",
        "inlineData",
        "text",
    ]


def test_only_the_first_call_of_a_turn_gets_the_placeholder_signature() -> None:
    turn = Message(role="assistant", parts=(_call("c1"), _call("c2")))
    done = _results(_result("c1"), _result("c2"))
    newer = _render(_USER, turn, done).body["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in newer] == ["skip_thought_signature_validator", None]
    older = _render(_USER, turn, done, model="gemini-2.5-pro").body["contents"][1]["parts"]
    assert "thoughtSignature" not in older[0]
    own = _call("c1", state=ProviderState(Dialect.GEMINI, {"thoughtSignature": "CsgC"}))
    kept = _render(_USER, Message(role="assistant", parts=(own,)), _results(_result("c1"))).body["contents"][1]["parts"]
    assert kept[0]["thoughtSignature"] == "CsgC"


def test_foreign_reasoning_is_removed() -> None:
    thought = ReasoningPart(text="secret", state=ProviderState(Dialect.ANTHROPIC_MESSAGES, {"signature": "E"}))
    rendered = _render(_USER, Message(role="assistant", parts=(thought, TextPart(text="ok"))), _USER)
    assert "secret" not in json.dumps(rendered.body)
    assert rendered.notes == ("reasoning state of anthropic_messages removed",)


def test_turns_alternate_and_begin_with_the_user() -> None:
    middle = Message(role="system", parts=(TextPart(text="Now rhyme."),))
    contents = _render(Message(role="assistant", parts=(TextPart(text="Hello"),)), _USER, middle, _USER).body[
        "contents"
    ]
    assert [content["role"] for content in contents] == ["user", "model", "user"]
    assert [part["text"] for part in contents[2]["parts"]] == ["hi", "<system>\nNow rhyme.\n</system>", "hi"]
    alone = _render(Message(role="system", parts=(TextPart(text="S"),))).body
    assert (alone["contents"], "systemInstruction" in alone) == ([{"role": "user", "parts": [{"text": "S"}]}], False)


def test_web_images_go_by_url_with_a_note() -> None:
    rendered = _render(Message(role="user", parts=(ImagePart(url="https://e.x/a.webp"),)))
    assert rendered.body["contents"][0]["parts"] == [
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://e.x/a.webp"}}
    ]
    assert any("URL" in note for note in rendered.notes)


@pytest.mark.parametrize(
    ("model", "reasoning", "expected"),
    [
        ("gemini-2.5-flash", Reasoning(effort="medium"), {"includeThoughts": True, "thinkingBudget": 8192}),
        ("gemini-2.5-flash", Reasoning(enabled=False), {"thinkingBudget": 0}),
        ("gemini-2.5-pro", Reasoning(effort="none"), {"thinkingBudget": 128}),
        ("gemini-2.5-flash-lite", Reasoning(enabled=True, budget=100), {"includeThoughts": True, "thinkingBudget": 512}),
        ("gemini-2.5-pro", Reasoning(enabled=True, adaptive=True), {"includeThoughts": True, "thinkingBudget": -1}),
        ("gemini-3-pro-preview", Reasoning(effort="medium"), {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ("gemini-3-pro-preview", Reasoning(enabled=False), {"thinkingLevel": "LOW"}),
        ("gemini-3-flash", Reasoning(effort="max", summary="omitted"), {"thinkingLevel": "HIGH"}),
        ("gemini-3.8-flash", Reasoning(effort="xhigh"), {"includeThoughts": True, "thinkingLevel": "XHIGH"}),
        ("gemini-3.8-flash", Reasoning(enabled=True, budget=5000), {"includeThoughts": True, "thinkingLevel": "MEDIUM"}),
        ("gemini-flash-latest", Reasoning(effort="low"), {"includeThoughts": True, "thinkingLevel": "LOW"}),
    ],
)  # fmt: skip
def test_reasoning_in_the_models_own_words(model: str, reasoning: Reasoning, expected: dict[str, Any]) -> None:
    assert _render(model=model, reasoning=reasoning).body["generationConfig"]["thinkingConfig"] == expected


def test_models_that_cannot_think_drop_the_wish() -> None:
    rendered = _render(model="gemini-2.0-flash", reasoning=Reasoning(effort="low"))
    assert (rendered.dropped, "generationConfig" in rendered.body) == (("reasoning",), False)


def test_inexpressible_parameters_are_listed() -> None:
    rendered = _render(
        parallel_tool_calls=False, logit_bias={"1": 1.0}, user="u", metadata={"a": "b"}, store=True, stop=tuple("abcdefg"),
        tools=(Tool(name="f", strict=True), HostedTool(Dialect.OPENAI_RESPONSES, {"type": "mcp"})),
        extra={"openai_chat": {"prediction": {}}},
    )  # fmt: skip
    assert set(rendered.dropped) == {
        "parallel_tool_calls", "logit_bias", "user", "metadata", "store", "stop", "tools.f.strict", "tools.mcp", "prediction",
    }  # fmt: skip
    assert rendered.body["generationConfig"]["stopSequences"] == list("abcde")
    assert rendered.body["tools"] == [{"functionDeclarations": [{"name": "f"}]}]


def test_own_fields_go_back_where_they_came_from() -> None:
    fields = {
        "generationConfig": {"responseModalities": ["TEXT"], "mediaResolution": "LOW"},
        "tools": [{"googleSearch": {}}, {"functionDeclarations": [{"name": "f", "behavior": "BLOCKING"}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}, "includeServerSideToolInvocations": True},
        "cachedContent": "cachedContents/1",
    }
    request = _parse(**fields)
    body = CODEC.render_request(request, ModelProfile(provider="gemini", model="gemini-3-flash")).body
    assert body["generationConfig"] == fields["generationConfig"]
    assert body["toolConfig"] == fields["toolConfig"]
    assert body["cachedContent"] == "cachedContents/1"
    assert {"googleSearch": {}} in body["tools"]
    assert body["tools"][0]["functionDeclarations"][0]["behavior"] == "BLOCKING"


def test_old_models_get_the_openapi_subset() -> None:
    schema = {
        "type": "object", "additionalProperties": False, "required": ["a", "gone"],
        "properties": {
            "a": {"type": ["string", "null"], "const": "x"}, "b": {"$ref": "#/$defs/node"}, "c": {"type": "array"},
            "d": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            "e": {"oneOf": [{"type": "integer"}, {"type": "string"}], "title": "E"},
            "f": {"enum": [1, 2]}, "g": {"allOf": [{"properties": {"x": {}}}, {"properties": {"y": {}}}]},
        },
        "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}}},
    }  # fmt: skip
    made = to_openapi(schema)
    sdk.Schema.model_validate(made)
    properties = made["properties"]
    assert made["required"] == ["a"]
    assert properties["a"] == {"type": "STRING", "nullable": True, "enum": ["x"]}
    assert properties["b"]["properties"]["next"] == {"type": "OBJECT"}
    assert properties["c"]["items"] == {"type": "STRING"}
    assert properties["d"] == {"type": "INTEGER", "nullable": True}
    assert properties["e"] == {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}]}
    assert "1, 2" in properties["f"]["description"]
    assert set(properties["g"]["properties"]) == {"x", "y"}
    assert "$" not in json.dumps(made)
    body = _render(model="gemini-1.5-pro", tools=(Tool(name="t", parameters=schema),)).body
    assert body["tools"][0]["functionDeclarations"][0]["parameters"] == made


def test_the_subset_reads_as_json_schema() -> None:
    subset = {
        "type": "OBJECT",
        "properties": {
            "a": {"type": "STRING", "nullable": True},
            "b": {"type": "ARRAY", "items": {"type": "NUMBER"}, "minItems": "2"},
        },
    }
    assert from_openapi(subset) == {
        "type": "object",
        "properties": {
            "a": {"type": ["string", "null"]},
            "b": {"type": "array", "items": {"type": "number"}, "minItems": 2},
        },
    }
