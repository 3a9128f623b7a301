"""Chat Completions requests: what callers send is read, refused in OpenAI's words, and rendered for each provider."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.dialects.openai_chat import CODEC
from polyroute.types.chat import (
    AnyPart,
    CacheMark,
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

USER = {"role": "user", "content": "hi"}
CALLS = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "ocr", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "EXIT"}
TOOLS = [{"type": "function", "function": {"name": "ocr", "parameters": {"type": "object", "properties": {}}}}]


def profile(provider: str = "openai", model: str = "gpt-4o-mini", **more: Any) -> ModelProfile:
    return ModelProfile(provider=provider, model=model, **more)


def parse(**fields: Any) -> ChatRequest:
    body = {"model": "m", "messages": [USER]} | fields
    return CODEC.parse_request(msgspec.json.encode(body))


def request(*messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=messages or (Message(role="user", parts=(TextPart(text="hi"),)),), **fields)


def rendered(asked: ChatRequest, to: ModelProfile) -> dict[str, Any]:
    return CODEC.render_request(asked, to).body


user_parts: st.SearchStrategy[AnyPart] = st.one_of(
    strategies.text_parts(),
    strategies.image_parts(),
    strategies.audio_parts(),
    strategies.file_parts(),
)
fields = {
    "temperature": st.none() | st.floats(0, 2),
    "top_p": st.none() | st.floats(0, 1),
    "top_k": st.none() | st.integers(1, 100),
    "frequency_penalty": st.none() | st.floats(-2, 2),
    "presence_penalty": st.none() | st.floats(-2, 2),
    "seed": st.none() | st.integers(0, 2**31),
    "stop": st.lists(strategies.texts(), max_size=4).map(tuple),
    "n": st.none() | st.integers(1, 4),
    "logit_bias": st.none() | st.dictionaries(st.sampled_from(["1", "50256"]), st.floats(-100, 100), max_size=2),
    "logprobs": st.just(True),
    "top_logprobs": st.none() | st.integers(0, 20),
    "max_tokens": st.none() | st.integers(1, 10_000),
    "user": st.none() | strategies.texts(),
    "metadata": st.none() | st.dictionaries(strategies.names(), strategies.texts(), max_size=2),
    "service_tier": st.sampled_from([None, "auto", "flex"]),
    "store": st.none() | st.booleans(),
    "output_format": st.none() | strategies.output_formats(),
    "reasoning": st.none() | st.builds(Reasoning, effort=st.sampled_from(["none", "low", "high"])),
    "extra": st.just({}) | st.builds(lambda v: {"openai_chat": {"verbosity": v}}, st.sampled_from(["low", "high"])),
}


@given(
    strategies.chat_requests(
        conversation=strategies.conversations(
            user_parts=user_parts,
            assistant_reasoning=strategies.texts().map(lambda text: ReasoningPart(text=text)),
        ),
        fields=fields,
    )
)
@settings(max_examples=60, deadline=None)
def test_what_is_rendered_is_read_back(asked: ChatRequest) -> None:
    """Nothing that chat completions can say is lost on the way out and in again."""
    to = profile("somebody", "m")
    body = msgspec.json.encode(rendered(asked, to))
    assert CODEC.parse_request(body) == asked


@given(strategies.chat_requests(conversation=strategies.conversations(custom_calls=True)))
@settings(max_examples=40, deadline=None)
def test_free_form_calls_survive_at_openai(asked: ChatRequest) -> None:
    assert CODEC.parse_request(msgspec.json.encode(rendered(asked, profile("openai", "m")))) == asked


@parametrize("openai_chat")
def test_recorded_requests_are_read_and_rendered_equivalently(recording: Recording) -> None:
    """Requests that real clients sent; a second round changes nothing more."""
    if recording.request is None:
        pytest.skip("the source kept no request")
    asked = CODEC.parse_request(msgspec.json.encode(recording.request))
    provider = "perplexity" if recording.id.startswith("perplexity") else "openrouter"
    again = CODEC.parse_request(msgspec.json.encode(rendered(asked, profile(provider, asked.model))))
    assert again.messages == asked.messages
    assert again.tools == asked.tools
    if asked.output_format is not None and asked.output_format.name is not None:
        assert again.output_format == asked.output_format


def refusal(**fields: Any) -> PolyrouteError:
    with pytest.raises(PolyrouteError) as caught:
        parse(**fields)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert caught.value.param
    return caught.value


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"messages": None}, "messages", "Missing required"),
        ({"messages": []}, "messages", "empty array"),
        ({"model": None}, "model", "Missing required"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role", "Supported values"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "expected one of a string or array"),
        ({"messages": [USER, RESULT]}, "messages.[1].role", "must be a response to a preceeding message"),
        ({"messages": [USER, CALLS, USER]}, "messages.[2].role", "did not have response messages: call_1"),
        ({"messages": [USER, CALLS]}, "messages.[2].role", "did not have response messages"),
        ({"tool_choice": "maybe", "tools": TOOLS}, "tool_choice", "Supported values"),
        ({"tool_choice": "required"}, "tool_choice", "only allowed when 'tools'"),
        ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "x"}}}, "tool_choice", "not found"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name", "pattern"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
            "tools[0].function.parameters",
            "schema must be a JSON Schema",
        ),
        ({"response_format": {"type": "xml"}}, "response_format.type", "Supported values"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": "no"}}},
            "response_format",
            "Invalid schema for response_format 'n'",
        ),
        ({"stream_options": {"include_usage": True}}, "stream_options", "only allowed when 'stream'"),
        ({"temperature": 3}, "temperature", "above maximum"),
        ({"temperature": "hot"}, "temperature", "expected a decimal"),
        ({"n": 0}, "n", "below minimum"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens", "at the same time"),
        ({"stop": ["a"] * 5}, "stop", "array too long"),
        ({"top_logprobs": 2}, "top_logprobs", "only allowed when 'logprobs'"),
        ({"reasoning_effort": "huge"}, "reasoning_effort", "Supported values"),
    ],
)
def test_what_openai_refuses_is_refused_in_its_words(fields: dict[str, Any], param: str, words: str) -> None:
    error = refusal(**fields)
    assert error.param == param
    assert words in error.message


@pytest.mark.parametrize(
    "url", ["data:image/png,raw", "data:image/png;base64,%%%", "ftp://x/y.png", "data:image/png;base64,"]
)
def test_broken_images_are_refused(url: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url}}
    error = refusal(messages=[{"role": "user", "content": [part]}])
    assert error.param == "messages[0].content[0].image_url.url"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000])
def test_bodies_that_are_no_object_are_refused(body: bytes) -> None:
    with pytest.raises(PolyrouteError) as caught:
        CODEC.parse_request(body)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=4),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "role",
                        "content",
                        "type",
                        "text",
                        "tool_calls",
                        "function",
                        "name",
                        "id",
                        "image_url",
                        "url",
                        "tools",
                    ]
                ),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
@settings(max_examples=100, deadline=None)
def test_no_body_crashes_the_reader(value: Any) -> None:
    body = {"model": "m", "messages": [value], "tools": [value], "tool_choice": value, "response_format": value}
    with suppress(PolyrouteError):  # anything else escapes and fails
        CODEC.parse_request(msgspec.json.encode(body))


# ---------------------------------------------------------------- reading


def test_legacy_functions_become_tools() -> None:
    asked = parse(
        functions=[{"name": "ocr", "parameters": {"type": "object"}}],
        function_call={"name": "ocr"},
        messages=[
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "ocr", "arguments": "{}"}},
            {"role": "function", "name": "ocr", "content": "EXIT"},
        ],
    )
    call, result = asked.messages[1].parts[0], asked.messages[2].parts[0]
    assert isinstance(call, ToolCallPart)
    assert isinstance(result, ToolResultPart)
    assert (call.name, result.call_id, asked.messages[2].role) == ("ocr", call.id, "tool")
    assert asked.tool_choice == ToolChoice(mode="tool", names=("ocr",))
    assert isinstance(asked.tools[0], Tool)


def test_developer_is_system_and_unknown_fields_are_kept() -> None:
    asked = parse(messages=[{"role": "developer", "content": "Be brief."}, USER], verbosity="low", prediction=None)
    assert asked.messages[0].role == "system"
    assert asked.extra == {"openai_chat": {"verbosity": "low"}}
    assert rendered(asked, profile())["verbosity"] == "low"


def test_consecutive_tool_messages_are_one_turn() -> None:
    two = {**CALLS, "tool_calls": [*CALLS["tool_calls"], {**CALLS["tool_calls"][0], "id": "call_2"}]}
    asked = parse(messages=[USER, two, RESULT, {**RESULT, "tool_call_id": "call_2"}])
    assert [message.role for message in asked.messages] == ["user", "assistant", "tool"]
    assert len(asked.messages[2].parts) == 2


def test_openrouter_reasoning_and_cache_marks_are_read() -> None:
    part = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    asked = parse(messages=[{"role": "user", "content": [part]}], reasoning={"max_tokens": 2000, "exclude": True})
    assert asked.messages[0].parts[0].cache == CacheMark("1h")
    assert asked.reasoning == Reasoning(budget=2000, summary="omitted")
    sent = rendered(asked, profile("openrouter", "a/b"))
    assert sent["messages"][0]["content"] == [part]
    assert sent["reasoning"] == {"max_tokens": 2000, "exclude": True}
    assert "cache marks removed" in CODEC.render_request(asked, profile()).notes


# ---------------------------------------------------------------- rendering for a target


def test_reasoning_families_get_what_they_accept() -> None:
    asked = request(
        Message(role="system", parts=(TextPart(text="Be brief."),)),
        Message(role="user", parts=(TextPart(text="hi"),)),
        max_tokens=10, temperature=0.5, presence_penalty=1.0, stop=("END",), logit_bias={"1": 1.0},
        reasoning=Reasoning(effort="low"),
    )  # fmt: skip
    out = CODEC.render_request(asked, profile("openai", "o3"))
    assert out.body["max_completion_tokens"] == 10
    assert out.body["messages"][0]["role"] == "developer"
    assert out.body["reasoning_effort"] == "low"
    assert not {"max_tokens", "temperature", "presence_penalty", "stop", "logit_bias"} & set(out.body)
    assert set(out.dropped) == {"temperature", "presence_penalty", "stop", "logit_bias"}
    plain = CODEC.render_request(asked, profile("openai", "gpt-4o"))
    assert plain.body["max_tokens"] == 10
    assert plain.body["temperature"] == 0.5
    assert plain.dropped == ("reasoning",)


def test_no_effort_lets_newer_models_sample() -> None:
    asked = request(temperature=0.5, reasoning=Reasoning(effort="none"))
    assert "temperature" in rendered(asked, profile("openai", "gpt-5.2"))
    assert "temperature" not in rendered(asked, profile("openai", "gpt-5"))


def test_what_a_profile_refuses_is_dropped_and_named() -> None:
    asked = request(seed=7, output_format=OutputFormat(kind="json_object"))
    out = CODEC.render_request(asked, profile("groq", "m", refuses=frozenset({"seed", "output_format"})))
    assert set(out.dropped) == {"seed", "output_format"}
    assert not {"seed", "response_format"} & set(out.body)


def test_foreign_fields_and_tools_are_reported() -> None:
    asked = request(
        tools=(HostedTool(Dialect.ANTHROPIC_MESSAGES, {"type": "web_search_20250305"}),),
        extra={"anthropic_messages": {"container": "c"}},
    )
    out = CODEC.render_request(asked, profile())
    assert set(out.dropped) == {"tools", "container"}
    assert any("web_search_20250305" in note for note in out.notes)


def test_foreign_reasoning_state_is_removed_and_never_becomes_text() -> None:
    state = ProviderState(Dialect.ANTHROPIC_MESSAGES, {"signature": "sig"})
    thought = ReasoningPart(text="secret thought", state=state)
    asked = request(
        Message(role="assistant", parts=(thought, TextPart(text="Hello"))),
        Message(role="user", parts=(TextPart(text="hi"),)),
    )
    out = CODEC.render_request(asked, profile())
    assert out.body["messages"][0] == {"role": "assistant", "content": "Hello"}
    assert "reasoning state of anthropic_messages removed" in out.notes
    at_deepseek = rendered(asked, profile("deepseek", "deepseek-chat"))["messages"][0]
    assert at_deepseek["content"] == "Hello"
    assert "sig" not in str(at_deepseek)


def test_own_reasoning_details_go_back_verbatim() -> None:
    details = [{"type": "reasoning.text", "text": "t", "signature": "s", "index": 0}]
    asked = parse(
        messages=[USER, {"role": "assistant", "content": "x", "reasoning": "t", "reasoning_details": details}, USER]
    )
    sent = rendered(asked, profile("openrouter", "anthropic/claude"))["messages"][1]
    assert sent["reasoning_details"] == details
    assert sent["reasoning"] == "t"


def test_images_in_tool_results_follow_all_results() -> None:
    image = ImagePart(url="https://example.com/a.png")
    call = [ToolCallPart(id=f"call_{n}", name="shoot") for n in "ab"]
    asked = request(
        Message(role="user", parts=(TextPart(text="go"),)),
        Message(role="assistant", parts=tuple(call)),
        Message(
            role="tool", parts=(ToolResultPart(call_id="call_a", content=(image,)), ToolResultPart(call_id="call_b"))
        ),
    )
    out = rendered(asked, profile())["messages"]
    assert [message["role"] for message in out] == ["user", "assistant", "tool", "tool", "user"]
    assert out[1]["tool_calls"][0]["function"]["arguments"] == "{}"
    assert out[1]["content"] is None
    assert out[4]["content"][1] == {"type": "image_url", "image_url": {"url": image.url}}


def test_mistral_gets_its_ids_and_prefix() -> None:
    asked = parse(messages=[USER, CALLS, RESULT, {"role": "assistant", "content": "The sign"}])
    out = rendered(asked, profile("mistral", "mistral-small"))["messages"]
    made = out[1]["tool_calls"][0]["id"]
    assert len(made) == 9
    assert out[2]["tool_call_id"] == made
    assert out[3]["prefix"] is True


def test_long_ids_are_shortened_alike_at_openai() -> None:
    long = "toolu_" + "x" * 60
    call = {**CALLS, "tool_calls": [{**CALLS["tool_calls"][0], "id": long}]}
    out = rendered(parse(messages=[USER, call, {**RESULT, "tool_call_id": long}]), profile())["messages"]
    assert len(out[1]["tool_calls"][0]["id"]) <= 40
    assert out[1]["tool_calls"][0]["id"] == out[2]["tool_call_id"]


def test_perplexity_gets_alternating_roles() -> None:
    out = CODEC.render_request(parse(messages=[USER, USER]), profile("perplexity", "sonar"))
    assert out.body["messages"] == [{"role": "user", "content": "hi\n\nhi"}]
    assert out.notes


def test_free_form_tools_become_functions_elsewhere() -> None:
    tool = Tool(name="sql", custom=True)
    asked = request(
        Message(role="user", parts=(TextPart(text="go"),)),
        Message(role="assistant", parts=(ToolCallPart(id="call_1", name="sql", arguments="select 1", custom=True),)),
        Message(role="tool", parts=(ToolResultPart(call_id="call_1", content=(TextPart(text="1"),)),)),
        tools=(tool,),
    )  # fmt: skip
    out = rendered(asked, profile("groq", "m"))
    assert out["tools"][0]["function"]["parameters"]["required"] == ["input"]
    assert out["messages"][1]["tool_calls"][0]["function"]["arguments"] == '{"input":"select 1"}'
    assert rendered(asked, profile())["messages"][1]["tool_calls"][0]["custom"] == {"name": "sql", "input": "select 1"}


def test_refusals_and_files_by_url_fit_the_target() -> None:
    asked = request(
        Message(role="user", parts=(FilePart(url="https://example.com/a.pdf"), TextPart(text="hi"))),
        Message(role="assistant", parts=(RefusalPart(text="No."),)),
        Message(role="user", parts=(TextPart(text="why"),)),
    )
    out = CODEC.render_request(asked, profile())
    assert out.body["messages"][1] == {"role": "assistant", "content": None, "refusal": "No."}
    assert "messages.file" in out.dropped
    assert rendered(asked, profile("groq", "m"))["messages"][1]["content"] == "No."


def test_streams_ask_for_usage() -> None:
    assert rendered(request(stream=True), profile())["stream_options"] == {"include_usage": True}
