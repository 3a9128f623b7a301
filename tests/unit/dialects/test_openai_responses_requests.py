"""Responses requests: items in and out, what OpenAI refuses, what the target cannot take."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.dialects.openai_responses import CODEC
from polyroute.types.chat import (
    AnyPart,
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
    RefusalPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect
from support import strategies
from support.recordings import Recording, parametrize

PROFILE = ModelProfile(provider="openai", model="gpt-5.6-mini")
USER = {"role": "user", "content": [{"type": "input_text", "text": "hi"}]}
CALL = {"type": "function_call", "call_id": "call_1", "name": "ocr", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "call_1", "output": "EXIT"}
TOOLS = [{"type": "function", "name": "ocr", "parameters": {"type": "object", "properties": {}}, "strict": False}]


def parse(**fields: Any) -> ChatRequest:
    return CODEC.parse_request(msgspec.json.encode({"model": "m", "input": "hi"} | fields))


def rendered(asked: ChatRequest, to: ModelProfile = PROFILE) -> dict[str, Any]:
    return CODEC.render_request(asked, to).body


def state(**fields: Any) -> ProviderState:
    return ProviderState(Dialect.OPENAI_RESPONSES, fields)


@st.composite
def encrypted_reasoning(draw: st.DrawFn) -> ReasoningPart:
    """A reasoning item as OpenAI gives it when nothing is stored."""
    summary = draw(st.lists(strategies.texts(), max_size=2))
    fields = {
        "id": "rs_" + draw(strategies.names()),
        "encrypted_content": "gAAAA" + draw(strategies.names()),
        "summary": [{"type": "summary_text", "text": text} for text in summary],
    }
    return ReasoningPart(text="\n\n".join(summary), summary=bool(summary), state=state(**fields))


user_parts: st.SearchStrategy[AnyPart] = st.one_of(
    strategies.text_parts(),
    strategies.image_parts().map(lambda part: msgspec.structs.replace(part, detail=part.detail or "auto")),
    strategies.audio_parts(),
    strategies.file_parts(),
)
fields = {
    "max_tokens": st.none() | st.integers(1, 10_000),
    "user": st.none() | strategies.texts(),
    "metadata": st.none() | st.dictionaries(strategies.names(), strategies.texts(), max_size=2),
    "service_tier": st.sampled_from([None, "auto", "flex"]),
    "store": st.booleans(),
    "stream": st.booleans(),
    "temperature": st.none() | st.floats(0, 2),
    "top_p": st.none() | st.floats(0, 1),
    "logprobs": st.sampled_from([None, True]),
    "top_logprobs": st.none() | st.integers(0, 20),
    "output_format": st.none()
    | strategies.output_formats().map(
        lambda asked: msgspec.structs.replace(asked, strict=bool(asked.strict) if asked.kind == "json_schema" else None)
    ),
    "reasoning": st.none()
    | st.builds(Reasoning, effort=st.sampled_from(["none", "low", "high"]), summary=st.sampled_from([None, "auto"])),
    "extra": st.sampled_from([{}, {"openai_responses": {"truncation": "auto", "max_tool_calls": 3}}]),
}


@given(
    strategies.chat_requests(
        conversation=strategies.conversations(
            user_parts=user_parts,
            assistant_reasoning=encrypted_reasoning(),
            result_parts=strategies.text_parts(),
            custom_calls=True,
        ),
        tool=strategies.tools(strict=st.booleans()),
        fields=fields,
    )
)
@settings(max_examples=60, deadline=None)
def test_what_is_rendered_is_read_back(asked: ChatRequest) -> None:
    """Nothing that Responses can say is lost on the way out and in again."""
    assert (
        CODEC.parse_request(msgspec.json.encode(rendered(asked, ModelProfile(provider="somebody", model="m")))) == asked
    )


@parametrize("openai_responses")
def test_recorded_requests_are_read_and_rendered_equivalently(recording: Recording) -> None:
    if recording.request is None or "input" not in recording.request:
        pytest.skip("no request of this kind was kept")
    asked = CODEC.parse_request(msgspec.json.encode(recording.request))
    again = CODEC.parse_request(
        msgspec.json.encode(rendered(msgspec.structs.replace(asked, store=True), ModelProfile(provider="x", model="m")))
    )
    assert again.messages == asked.messages
    assert again.tool_choice == asked.tool_choice
    assert [tool for tool in again.tools if isinstance(tool, HostedTool)] == [
        tool for tool in asked.tools if isinstance(tool, HostedTool)
    ]


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"model": None}, "model", "Missing required"),
        ({"input": None}, "input", "Missing required"),
        ({"input": []}, "input", "empty array"),
        ({"input": 5}, "input", "one of a string or array"),
        ({"input": [{"type": "boat"}]}, "input[0].type", "Supported values"),
        ({"input": [{"role": "boss", "content": "x"}]}, "input[0].role", "Supported values"),
        ({"input": [USER, OUTPUT]}, "input", "No tool call found for function call output with call_id call_1"),
        ({"input": [USER, CALL]}, "input", "No tool output found for function call call_1"),
        (
            {"input": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "input[0].content[0].type",
            "Supported values",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:x"}]}]},
            "input[0].content[0].image_url",
            "data URL",
        ),
        ({"tool_choice": "maybe"}, "tool_choice", "Supported values"),
        ({"tool_choice": "required"}, "tool_choice", "must be specified with 'tools'"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "x"}}, "tool_choice", "not found"),
        ({"tools": [{"name": "x"}]}, "tools[0].type", "Missing required"),
        (
            {"tools": [{**TOOLS[0], "parameters": {"type": "string"}}]},
            "tools[0].parameters",
            "schema must be a JSON Schema",
        ),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema", "Missing required"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type", "Supported values"),
        ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "Supported values"),
        ({"max_output_tokens": 0}, "max_output_tokens", "below minimum"),
        ({"stream_options": {"include_obfuscation": False}}, "stream_options", "only allowed when 'stream'"),
    ],
)
def test_what_openai_refuses_is_refused_in_its_words(fields: dict[str, Any], param: str, words: str) -> None:
    with pytest.raises(PolyrouteError) as caught:
        parse(**fields)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert caught.value.param == param
    assert words in caught.value.message


items = st.dictionaries(st.sampled_from(["type", "role", "content", "output"]), strategies.json_values())


@given(st.lists(strategies.json_values() | items, max_size=3))
@settings(max_examples=100, deadline=None)
def test_no_input_crashes_the_reader(found: list[Any]) -> None:
    body = {"model": "m", "input": found, "tools": found, "text": {"format": found}, "include": found}
    with suppress(PolyrouteError):
        CODEC.parse_request(msgspec.json.encode(body))
    with suppress(PolyrouteError):
        CODEC.parse_request(msgspec.json.encode({"model": "m", "input": found}))


# ---------------------------------------------------------------- reading


def test_items_of_one_turn_are_one_message_and_results_follow_their_calls() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gA"}
    second = {**CALL, "call_id": "call_2", "id": "fc_2"}
    asked = parse(
        instructions="Be brief.",
        input=[
            USER,
            reasoning,
            CALL,
            second,
            {**OUTPUT, "call_id": "call_2"},
            {"role": "user", "content": "wait"},
            OUTPUT,
        ],
    )
    assert [message.role for message in asked.messages] == ["system", "user", "assistant", "tool", "user"]
    thought, first, other = asked.messages[2].parts
    assert thought.state == state(id="rs_1", summary=[], encrypted_content="gA")
    assert (first.state, other.state) == (None, state(id="fc_2"))
    results = [part.call_id for part in asked.messages[3].parts if isinstance(part, ToolResultPart)]
    assert results == ["call_1", "call_2"]


def test_outputs_may_hold_images_and_belong_to_stored_turns() -> None:
    output = [{"type": "input_image", "image_url": "https://e.com/a.png"}, {"type": "input_text", "text": "t"}]
    asked = parse(input=[{**OUTPUT, "output": output}], previous_response_id="resp_1")
    result = asked.messages[0].parts[0]
    assert isinstance(result, ToolResultPart)
    assert result.content == (ImagePart(url="https://e.com/a.png"), TextPart(text="t"))
    assert asked.extra["openai_responses"] == {"previous_response_id": "resp_1"}


def test_message_ids_phases_and_hosted_items_go_back_verbatim() -> None:
    said = {
        "type": "message",
        "id": "msg_1",
        "phase": "commentary",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "Looking.", "annotations": []}],
    }
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    asked = parse(input=[USER, search, said, USER])
    sent = rendered(asked)["input"]
    assert sent[1] == search
    assert sent[2] == said


# ---------------------------------------------------------------- rendering


def test_nothing_is_stored_unless_asked_and_reasoning_is_encrypted() -> None:
    body = rendered(parse(reasoning={"effort": "low"}))
    assert body["store"] is False
    assert body["include"] == ["reasoning.encrypted_content"]
    assert "include" not in rendered(parse(), ModelProfile(provider="openai", model="gpt-4o"))
    assert rendered(parse(store=True))["store"] is True


def test_instructions_are_the_leading_system_message_and_others_stay() -> None:
    asked = ChatRequest(
        model="m",
        messages=(
            Message(role="system", parts=(TextPart(text="Be brief."),)),
            Message(role="user", parts=(TextPart(text="hi"),)),
            Message(role="system", parts=(TextPart(text="Now shout."),)),
        ),
    )
    body = rendered(asked)
    assert body["instructions"] == "Be brief."
    assert [item["role"] for item in body["input"]] == ["user", "developer"]


def test_what_this_api_cannot_say_is_named() -> None:
    asked = ChatRequest(
        model="m", messages=(Message(role="user", parts=(TextPart(text="hi"),)),), n=2, stop=("END",), seed=1, top_k=5,
        logit_bias={"1": 1.0}, frequency_penalty=1.0, presence_penalty=1.0, temperature=1.0,
        tools=(HostedTool(Dialect.GEMINI, {"googleSearch": {}}),), extra={"openai_chat": {"prediction": {}}},
    )  # fmt: skip
    out = CODEC.render_request(asked, PROFILE)
    named = {
        "n",
        "stop",
        "seed",
        "top_k",
        "logit_bias",
        "frequency_penalty",
        "presence_penalty",
        "temperature",
        "tools",
    }
    assert set(out.dropped) == named | {"prediction"}
    assert not named & set(out.body)


def test_tools_say_whether_they_are_strict() -> None:
    asked = parse(tools=[{"type": "function", "name": "f", "parameters": None}])
    assert rendered(asked)["tools"] == [{"type": "function", "name": "f", "parameters": None, "strict": False}]
    choice = msgspec.structs.replace(asked, tool_choice=ToolChoice(mode="tool", names=("f",)))
    assert rendered(choice)["tool_choice"] == {"type": "function", "name": "f"}


def test_foreign_and_stateless_reasoning_is_removed_with_a_note() -> None:
    foreign = ReasoningPart(text="hm", state=ProviderState(Dialect.ANTHROPIC_MESSAGES, {"signature": "s"}))
    kept = ReasoningPart(state=state(id="rs_1", encrypted_content="gA", summary=[]))
    stored_only = ReasoningPart(state=state(id="rs_2", summary=[]))
    turn = Message(
        role="assistant", parts=(foreign, ReasoningPart(text="hm"), stored_only, kept, TextPart(text="Hello"))
    )
    asked = ChatRequest(model="m", messages=(Message(role="user", parts=(TextPart(text="x"),)), turn))
    out = CODEC.render_request(asked, PROFILE)
    assert [item.get("id", item["type"]) for item in out.body["input"]] == ["message", "rs_1", "message"]
    assert "hm" not in str(out.body)
    assert "reasoning state of anthropic_messages removed" in out.notes
    assert len(out.notes) == 3


def test_free_form_calls_refusals_and_documents() -> None:
    asked = ChatRequest(
        model="m",
        messages=(
            Message(role="user", parts=(FilePart(url="https://e.com/a.pdf"), ImagePart(file_id="file_1"))),
            Message(
                role="assistant", parts=(ToolCallPart(id="call_1", name="sql", arguments="select 1", custom=True),)
            ),
            Message(role="tool", parts=(ToolResultPart(call_id="call_1", content=(TextPart(text="1"),)),)),
            Message(role="assistant", parts=(RefusalPart(text="No."),)),
        ),
        tools=(Tool(name="sql", custom=True),),
    )
    files, call, output, refusal = rendered(asked)["input"]
    assert files["content"][0] == {"type": "input_file", "file_url": "https://e.com/a.pdf"}
    assert files["content"][1]["file_id"] == "file_1"
    assert (call["type"], call["input"]) == ("custom_tool_call", "select 1")
    assert (output["type"], output["output"]) == ("custom_tool_call_output", "1")
    assert refusal["content"] == [{"type": "refusal", "refusal": "No."}]


def test_structured_output_is_flat() -> None:
    asked = msgspec.structs.replace(
        parse(), output_format=OutputFormat(kind="json_schema", name="n", schema={"type": "object"})
    )
    expected = {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": False}
    assert rendered(asked)["text"] == {"format": expected}
