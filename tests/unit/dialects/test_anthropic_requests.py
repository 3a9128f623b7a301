"""Requests of the Messages API: what callers are refused, and how other dialects' requests become Messages."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polyroute.dialects.anthropic_messages import CODEC, parse_count_request
from polyroute.dialects.foreign_state import holds_packed_state, pack_state
from polyroute.types.chat import (
    AudioPart,
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
    Rendered,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect

_PNG = "iVBORw0KGgo="
_USER = Message(role="user", parts=(TextPart(text="hi"),))
_TOOL = Tool(name="f", parameters={"type": "object", "properties": {}})
_USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {}}
_RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "ok"}


def _parse(**fields: Any) -> ChatRequest:
    body = {"model": "claude", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]} | fields
    return CODEC.parse_request(json.dumps({k: v for k, v in body.items() if v != "absent"}).encode())


def _turns(*contents: Any) -> list[dict[str, Any]]:
    return [{"role": ("user", "assistant")[at % 2], "content": content} for at, content in enumerate(contents)]


def _render(
    *messages: Message, model: str = "claude-sonnet-4-5", refuses: frozenset[str] = frozenset(), **fields: Any
) -> Rendered:
    request = ChatRequest(model=model, messages=messages or (_USER,), **fields)
    return CODEC.render_request(request, ModelProfile(provider="anthropic", model=model, refuses=refuses))


def _assistant(*parts: Any) -> Message:
    return Message(role="assistant", parts=parts)


def _call(call_id: str = "t1", name: str = "f", arguments: str = "{}", **more: Any) -> ToolCallPart:
    return ToolCallPart(id=call_id, name=name, arguments=arguments, **more)


def _tool_turn(*ids: str) -> Message:
    parts = tuple(ToolResultPart(call_id=call_id, content=(TextPart(text=f"r-{call_id}"),)) for call_id in ids)
    return Message(role="tool", parts=parts)


@pytest.mark.parametrize(
    ("fields", "param", "words"),
    [
        ({"max_tokens": "absent"}, "max_tokens", "Field required"),
        ({"max_tokens": "10"}, "max_tokens", "valid integer"),
        ({"max_tokens": True}, "max_tokens", "valid integer"),
        ({"max_tokens": -1}, "max_tokens", "greater than or equal to 0"),
        ({"model": "absent"}, "model", "Field required"),
        ({"messages": []}, "messages", "at least one message"),
        ({"messages": "hi"}, "messages", "valid list"),
        ({"messages": _turns("")}, "messages", "non-empty content"),
        ({"messages": _turns([{"type": "text", "text": ""}])}, "messages", "must be non-empty"),
        ({"messages": _turns([{"type": "text", "text": " \n"}])}, "messages", "non-whitespace"),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, "messages", 'must use the "user" role'),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages.0.role", "'user' or 'assistant'"),
        ({"messages": [{"role": "system", "content": "hi"}]}, "messages", 'must use the "user" role'),
        ({"messages": [*_turns("a", "b"), {"role": "system", "content": "x"}]}, "messages.2.role", "follow a user"),
        ({"messages": _turns("a", [_USE])}, "messages.1", "without `tool_result` blocks immediately after: t1"),
        ({"messages": _turns("a", [_USE], "b")}, "messages.1", "without `tool_result` blocks"),
        (
            {"messages": _turns("a", [_USE], [{"type": "text", "text": "b"}, _RESULT])},
            "messages.1",
            "without `tool_result`",
        ),
        ({"messages": _turns("a", "b", [_RESULT])}, "messages.2.content.0", "unexpected `tool_use_id`"),
        ({"messages": _turns("a", [_USE], [_RESULT], [_USE], [_RESULT])}, "messages.3", "ids must be unique"),
        ({"messages": _turns([{"type": "video"}])}, "messages.0.content.0", "Input tag 'video'"),
        (
            {
                "messages": _turns(
                    [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "%"}}]
                )
            },
            "messages.0.content.0.image.source.base64.data",
            "invalid base64",
        ),
        (
            {
                "messages": _turns(
                    [{"type": "image", "source": {"type": "base64", "media_type": "image/bmp", "data": _PNG}}]
                )
            },
            "messages.0.content.0.image.source.base64.media_type",
            "image/webp",
        ),
        (
            {
                "messages": _turns(
                    [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA" * 1_800_000},
                        }
                    ]
                )
            },
            "messages.0.content.0.image.source.base64",
            "exceeds 5 MB",
        ),
        ({"temperature": 1.5}, "temperature", "less than or equal to 1"),
        ({"stop_sequences": [" "]}, "stop_sequences.0", "non-whitespace"),
        ({"tools": [{"name": "f"}]}, "tools.0.input_schema", "Field required"),
        (
            {"tools": [{"name": "f", "input_schema": {"type": "string"}}]},
            "tools.0.custom.input_schema.type",
            "'object'",
        ),
        (
            {"tools": [{"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "strnig"}}}}]},
            "tools.0.custom.input_schema.properties.a.type",
            "JSON schema is invalid",
        ),
        ({"tools": [{"name": "f", "input_schema": {"type": "object"}}] * 2}, "tools", "must be unique"),
        ({"tool_choice": {"type": "auto"}}, "tool_choice", "while providing tools"),
        (
            {"tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "must"}},
            "tool_choice",
            "Input tag 'must'",
        ),
        (
            {
                "tools": [{"name": "f", "input_schema": {"type": "object"}}],
                "tool_choice": {"type": "tool", "name": "g"},
            },
            "tool_choice",
            "'g' not found",
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.enabled.budget_tokens", "1024"),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            None,
            "must be greater than `thinking.budget_tokens`",
        ),
        ({"metadata": {"user": "u"}}, "metadata.user", "Extra inputs"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema", "Field required"),
    ],
)
def test_the_api_refuses_in_its_own_words(fields: dict[str, Any], param: str | None, words: str) -> None:
    with pytest.raises(PolyrouteError) as caught:
        _parse(**fields)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST
    assert caught.value.param == param
    assert words in caught.value.message


@pytest.mark.parametrize("body", [b"", b"[]", b'{"model"', b"\xff\xfe", b"null"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(PolyrouteError) as caught:
        CODEC.parse_request(body)
    assert caught.value.kind is ErrorKind.INVALID_REQUEST


def test_counting_needs_no_max_tokens() -> None:
    request = parse_count_request(b'{"model":"m","messages":[{"role":"user","content":"hi"}]}')
    assert (request.max_tokens, request.messages) == (None, (_USER,))


def test_all_kinds_of_blocks_are_read() -> None:
    request = _parse(
        system=[{"type": "text", "text": "S", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        messages=[
            {
                "role": "user",
                "content": [
                    {
                        "type": "document",
                        "title": "T",
                        "context": "c",
                        "source": {"type": "text", "media_type": "text/plain", "data": "D"},
                    },
                    {
                        "type": "search_result",
                        "title": "R",
                        "source": "x",
                        "content": [{"type": "text", "text": "found"}],
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "", "signature": "EqQB"},
                    {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"a": 1}, "caller": {"type": "x"}},
                ],
            },
            {"role": "user", "content": [{**_RESULT, "is_error": True}, {"type": "text", "text": "So?"}]},
        ],
        metadata={"user_id": "u-7"},
        speed="fast",
    )
    state = ProviderState(Dialect.ANTHROPIC_MESSAGES, {"signature": "EqQB"})
    assert request.messages[0].parts == (TextPart(text="S", cache=CacheMark("1h")),)
    document, search = request.messages[1].parts
    assert isinstance(document, FilePart)
    assert (document.text, document.filename, document.state and document.state.fields) == ("D", "T", {"context": "c"})
    assert isinstance(search, FilePart)
    assert search.text == "found"
    thought, hidden, call = request.messages[2].parts
    assert thought == ReasoningPart(state=state)
    assert isinstance(hidden, ReasoningPart)
    assert hidden.redacted
    assert isinstance(call, ToolCallPart)
    assert call.arguments == '{"a":1}'
    assert [message.role for message in request.messages[3:]] == ["tool", "user"]
    assert (request.user, request.extra) == ("u-7", {"anthropic_messages": {"speed": "fast"}})
    body = _render(*request.messages, extra=request.extra, user="u-7", tools=(_TOOL,)).body
    assert body["messages"][1]["content"][1] == {
        "type": "server_tool_use",
        "id": "s1",
        "name": "web_search",
        "input": {"query": "q"},
    }
    assert body["messages"][2]["content"][1] == {"type": "text", "text": "So?"}
    assert body["speed"] == "fast"


# ---------------------------------------------------------------- rendering: turns


def test_parallel_results_go_first_into_one_turn_in_the_order_of_the_calls() -> None:
    body = _render(
        _USER, _assistant(_call("a"), _call("b")), _tool_turn("b"), _tool_turn("a"),
        Message(role="user", parts=(TextPart(text="So?"),)),
        tools=(_TOOL,),
    ).body  # fmt: skip
    last = body["messages"][2]
    assert [block.get("tool_use_id") for block in last["content"]] == ["a", "b", None]
    assert last["content"][2]["text"] == "So?"


def test_missing_and_orphaned_results_are_mended_with_notes() -> None:
    rendered = _render(_USER, _assistant(_call("a")), _tool_turn("z"), tools=(_TOOL,))
    (result,) = rendered.body["messages"][2]["content"]
    assert (result["tool_use_id"], result["is_error"]) == ("a", True)
    assert len(rendered.notes) >= 2
    assert any("z without a call removed" in note for note in rendered.notes)


def test_calls_of_neighbouring_assistant_turns_are_one_batch() -> None:
    body = _render(_USER, _assistant(_call("a")), _assistant(_call("b")), _tool_turn("a", "b"), tools=(_TOOL,)).body
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize("call_id", ["functions.get:0", "ü", "x" * 300, ""])
def test_illegal_call_ids_are_mapped_alike_in_call_and_result(call_id: str) -> None:
    messages = _render(_USER, _assistant(_call(call_id)), _tool_turn(call_id), tools=(_TOOL,)).body["messages"]
    used = messages[1]["content"][0]["id"]
    assert used.startswith("toolu_")
    assert messages[2]["content"][0]["tool_use_id"] == used


def test_repeated_call_ids_become_unique() -> None:
    again = (_assistant(_call("a")), _tool_turn("a"))
    messages = _render(_USER, *again, *again, tools=(_TOOL,)).body["messages"]
    assert [messages[at]["content"][0]["id"] for at in (1, 3)] == ["a", "a_2"]
    assert [messages[at]["content"][0]["tool_use_id"] for at in (2, 4)] == ["a", "a_2"]


@pytest.mark.parametrize(
    ("model", "messages", "expected"),
    [
        ("claude-opus-4-8", 2, ["user", "system", "assistant", "user"]),
        ("claude-sonnet-4-5", 2, ["user", "user", "assistant", "user"]),
    ],
)
def test_a_system_message_in_the_middle_stays_in_its_place(model: str, messages: int, expected: list[str]) -> None:
    middle = Message(role="system", parts=(TextPart(text="Now rhyme."),))
    body = _render(_USER, middle, _assistant(TextPart(text="ok")), _USER, model=model, max_tokens=10).body
    assert [message["role"] for message in body["messages"]] == expected
    assert "Now rhyme." in json.dumps(body["messages"][1])
    assert "system" not in body


def test_leading_system_messages_keep_their_blocks_and_marks() -> None:
    first = Message(role="system", parts=(TextPart(text="A", cache=CacheMark()),))
    body = _render(first, Message(role="system", parts=(TextPart(text="B"),)), _USER).body
    assert body["system"] == [
        {"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "B"},
    ]


def test_a_conversation_without_user_turn_gets_one() -> None:
    only_system = _render(Message(role="system", parts=(TextPart(text="S"),))).body
    assert (only_system["messages"], "system" in only_system) == ([{"role": "user", "content": "S"}], False)
    starts = _render(_assistant(TextPart(text="Hello")), _USER).body["messages"]
    assert [message["role"] for message in starts] == ["user", "assistant", "user"]


@pytest.mark.parametrize(("model", "kept"), [("claude-sonnet-4-5", True), ("claude-sonnet-4-6", False)])
def test_prefill_only_where_the_model_continues(model: str, kept: bool) -> None:
    rendered = _render(_USER, _assistant(TextPart(text="The answer is ")), model=model)
    last = rendered.body["messages"][-1]
    assert (last["role"] == "assistant") is kept
    assert ("prefill" in rendered.dropped) is not kept
    if kept:
        assert last["content"] == "The answer is"


def test_empty_text_never_goes_out() -> None:
    rendered = _render(
        _USER, _assistant(TextPart(text=""), _call()), _tool_turn("t1"), _assistant(TextPart(text=" ")),
        Message(role="user", parts=()),
        tools=(_TOOL,),
    )  # fmt: skip
    messages = rendered.body["messages"]
    assert [block["type"] for block in messages[1]["content"]] == ["tool_use"]
    assert "(empty)" not in json.dumps(messages[:3])
    assert all(message["content"] for message in messages)


def test_images_are_sniffed_and_pdfs_are_documents() -> None:
    body = _render(
        Message(
            role="user",
            parts=(
                ImagePart(data=_PNG, media_type="image/jpeg"),
                ImagePart(url="https://e.x/a.png"),
                FilePart(data="JVBERi0=", filename="plan.pdf"),
                FilePart(data="aGk=", media_type="text/csv"),
            ),
        )
    ).body
    image, url, pdf, text = body["messages"][0]["content"]
    assert image["source"]["media_type"] == "image/png"
    assert url["source"] == {"type": "url", "url": "https://e.x/a.png"}
    assert (pdf["source"]["media_type"], pdf["title"]) == ("application/pdf", "plan.pdf")
    assert text["source"] == {"type": "text", "media_type": "text/plain", "data": "hi"}


@pytest.mark.parametrize(
    "part", [AudioPart(data="AAAA", format="wav"), FilePart(data="AAAA", media_type="application/msword")]
)
def test_what_the_api_cannot_take_is_never_dropped_silently(part: Any) -> None:
    with pytest.raises(PolyrouteError) as caught:
        _render(Message(role="user", parts=(part,)))
    assert caught.value.kind is ErrorKind.UNSUPPORTED


def test_foreign_reasoning_is_removed_never_turned_into_text() -> None:
    foreign = ReasoningPart(
        text="secret plan", state=ProviderState(Dialect.OPENAI_RESPONSES, {"encrypted_content": "g"})
    )
    rendered = _render(_USER, _assistant(ReasoningPart(text="loose thought"), foreign, TextPart(text="ok")), _USER)
    assert "secret plan" not in json.dumps(rendered.body)
    assert "loose thought" not in json.dumps(rendered.body)
    assert "reasoning state of openai_responses removed" in rendered.notes


def test_replayed_state_of_ours_is_told_from_the_providers() -> None:
    packed = pack_state(ProviderState(Dialect.GEMINI, {"thoughtSignature": "C"}))
    assert holds_packed_state(json.dumps({"signature": packed}).encode())
    assert not holds_packed_state(b'{"signature":"EqQBCgIYAhIM1gbc"}')


def test_arguments_that_are_no_object_are_wrapped() -> None:
    broken = _assistant(
        _call("a", arguments='{"q": "cut o'), _call("b", arguments=""), _call("c", arguments="free", custom=True)
    )
    content = _render(_USER, broken, _tool_turn("a", "b", "c"), tools=(_TOOL,)).body["messages"][1]["content"]
    assert [block["input"] for block in content] == [{"_raw": '{"q": "cut o'}, {}, {"input": "free"}]


def test_at_most_four_cache_marks() -> None:
    marked = Message(role="user", parts=tuple(TextPart(text=str(at), cache=CacheMark()) for at in range(6)))
    rendered = _render(Message(role="system", parts=(TextPart(text="S", cache=CacheMark()),)), marked)
    marks = ["cache_control" in block for block in rendered.body["messages"][0]["content"]]
    assert marks == [False, False, False, True, True, True]
    assert any("cache marks" in note for note in rendered.notes)


# ---------------------------------------------------------------- rendering: parameters


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-opus-5-5", 128_000), ("anthropic/claude-sonnet-4.5", 64_000), ("claude-opus-4-1-20250805", 32_000),
        ("claude-sonnet-4-20250514", 64_000), ("claude-3-haiku-20240307", 4096), ("claude-next-9", 128_000),
        ("deepseek-chat", 8192),
    ],
)  # fmt: skip
def test_max_tokens_defaults_to_what_the_model_can(model: str, expected: int) -> None:
    assert _render(model=model).body["max_tokens"] == expected
    known = CODEC.render_request(
        ChatRequest(model=model, messages=(_USER,)), ModelProfile(provider="p", model=model, max_output=777)
    )
    assert known.body["max_tokens"] == 777


def test_inexpressible_parameters_are_listed() -> None:
    rendered = _render(
        seed=1, n=2, logprobs=True, top_logprobs=2, logit_bias={"1": 1.0}, frequency_penalty=0.5, presence_penalty=0.0,
        metadata={"a": "b"}, store=True, service_tier="flex", stop=(" ", "END"), extra={"openai_chat": {"prediction": {}}},
    )  # fmt: skip
    assert set(rendered.dropped) == {
        "seed", "n", "logprobs", "top_logprobs", "logit_bias", "frequency_penalty", "metadata", "store", "service_tier",
        "stop", "prediction",
    }  # fmt: skip
    assert rendered.body["stop_sequences"] == ["END"]


def test_sampling_where_the_model_takes_it() -> None:
    both = _render(temperature=1.7, top_p=0.5)
    assert (both.body["temperature"], "top_p" in both.body, both.dropped) == (1.0, False, ("top_p",))
    newer = _render(model="claude-opus-4-8", temperature=0.2, top_k=4)
    assert set(newer.dropped) == {"temperature", "top_k"}
    assert _render(model="claude-opus-4-8", temperature=1.0).dropped == ()
    assert _render(refuses=frozenset({"temperature"}), temperature=0.5).dropped == ("temperature",)


@pytest.mark.parametrize(
    ("model", "reasoning", "thinking", "effort"),
    [
        ("claude-opus-4-8", Reasoning(effort="high"), {"type": "adaptive"}, "high"),
        ("claude-sonnet-5-5", Reasoning(enabled=True, budget=9000), {"type": "adaptive"}, "high"),
        ("claude-sonnet-4-5", Reasoning(effort="low"), {"type": "enabled", "budget_tokens": 2048}, None),
        ("claude-sonnet-4-5", Reasoning(enabled=True, budget=100), {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-sonnet-4-5", Reasoning(enabled=False), {"type": "disabled"}, None),
        ("claude-opus-5-5", Reasoning(effort="none"), None, "low"),
        ("claude-opus-5", Reasoning(enabled=False, effort="max"), {"type": "disabled"}, "high"),
        ("claude-3-haiku", Reasoning(enabled=False), None, None),
    ],
)  # fmt: skip
def test_reasoning_in_the_models_own_words(
    model: str, reasoning: Reasoning, thinking: dict[str, Any] | None, effort: str | None
) -> None:
    body = _render(model=model, reasoning=reasoning).body
    assert body.get("thinking") == thinking
    assert body.get("output_config", {}).get("effort") == effort


def test_a_budget_stays_below_max_tokens() -> None:
    tight = _render(reasoning=Reasoning(effort="high"), max_tokens=3000).body
    assert tight["thinking"]["budget_tokens"] == 2999
    none = _render(reasoning=Reasoning(effort="high"), max_tokens=1000)
    assert ("thinking" in none.body, none.dropped) == (False, ("reasoning",))


def test_manual_thinking_is_off_in_a_tool_loop_that_began_without() -> None:
    rendered = _render(_USER, _assistant(_call()), _tool_turn("t1"), tools=(_TOOL,), reasoning=Reasoning(effort="low"))
    assert "thinking" not in rendered.body
    assert "reasoning" in rendered.dropped


def test_forced_tools_and_thinking_exclude_each_other() -> None:
    forced: dict[str, Any] = {
        "tools": (_TOOL,),
        "tool_choice": ToolChoice(mode="required"),
        "reasoning": Reasoning(effort="low"),
    }
    able = _render(model="claude-sonnet-4-6", **forced)
    assert (able.body["tool_choice"], able.body["thinking"]) == ({"type": "any"}, {"type": "disabled"})
    assert able.dropped == ("reasoning",)
    unable = _render(model="claude-opus-5-5", **forced)
    assert unable.body["tool_choice"] == {"type": "auto"}
    assert "must call" in json.dumps(unable.body["system"])
    assert unable.dropped == ("tool_choice",)


def test_tool_choices() -> None:
    two = (_TOOL, Tool(name="g"))
    subset = _render(tools=two, tool_choice=ToolChoice(mode="required", names=("g",))).body
    assert [tool["name"] for tool in subset["tools"]] == ["g"]
    serial = _render(tools=two, parallel_tool_calls=False).body
    assert serial["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    named = _render(tools=two, tool_choice=ToolChoice(mode="tool", names=("g",))).body
    assert named["tool_choice"] == {"type": "tool", "name": "g"}
    assert named["tools"][1]["input_schema"] == {"type": "object", "properties": {}}
    without = _render(tool_choice=ToolChoice(mode="tool", names=("g",)))
    assert ("tool_choice" in without.body, without.dropped) == (False, ("tool_choice",))


def test_tools_of_the_history_are_declared_where_none_are_given() -> None:
    body = _render(_USER, _assistant(_call(name="old")), _tool_turn("t1")).body
    assert [tool["name"] for tool in body["tools"]] == ["old"]
    assert body["tool_choice"] == {"type": "none"}


def test_hosted_and_free_form_tools() -> None:
    search = {"type": "web_search_20250305", "name": "web_search"}
    rendered = _render(
        tools=(
            HostedTool(Dialect.ANTHROPIC_MESSAGES, search),
            HostedTool(Dialect.OPENAI_RESPONSES, {"type": "file_search"}),
            Tool(name="patch", custom=True, format={"type": "grammar"}),
        )
    )
    assert rendered.body["tools"][0] == search
    assert rendered.body["tools"][1]["input_schema"]["required"] == ["input"]
    assert rendered.dropped == ("tools.file_search",)


def test_structured_output() -> None:
    open_object = {"type": "object", "properties": {"a": {"type": "object"}}}
    closed = _render(output_format=OutputFormat(kind="json_schema", schema={"type": "object", "properties": {"a": {}}}))
    assert closed.body["output_config"]["format"]["schema"]["additionalProperties"] is False
    assert closed.dropped == ()
    for model, schema in (
        ("claude-sonnet-4-5", open_object),
        ("claude-sonnet-4-0", {"type": "object", "properties": {"a": {}}}),
    ):
        told = _render(model=model, output_format=OutputFormat(kind="json_schema", schema=schema))
        assert "JSON Schema" in json.dumps(told.body["system"])
        assert told.dropped == ("output_format",)
    free = _render(output_format=OutputFormat(kind="json_object"))
    assert "JSON object" in json.dumps(free.body["system"])


def test_recursive_schemas_are_not_sent() -> None:
    tree = {
        "type": "object", "properties": {"child": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"type": "object", "properties": {"child": {"$ref": "#/$defs/node"}}}},
    }  # fmt: skip
    rendered = _render(output_format=OutputFormat(kind="json_schema", schema=tree))
    assert "output_config" not in rendered.body
