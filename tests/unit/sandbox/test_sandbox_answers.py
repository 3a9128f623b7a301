"""The simulated model itself: deterministic, obedient to limits, and true to schemas."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.sandbox.answers import compose, pieces
from polyroute.sandbox.prompt import Prompt, SeenCall, SeenResult, Tool, Turn, tokens_of
from polyroute.sandbox.schemas import value_for

EMPTY = {"type": "object", "properties": {}}


def prompt(text: str = "Hello", **more: Any) -> Prompt:
    values: dict[str, Any] = {
        "provider": "p",
        "model": "m",
        "digest": "0" * 64,
        "turns": (Turn(role="user", text=text),),
    }
    return Prompt(**(values | more))


def test_the_same_prompt_has_the_same_answer_and_says_that_it_is_simulated() -> None:
    assert compose(prompt("Hello there")) == compose(prompt("Hello there"))
    assert compose(prompt("Hello there")).text.startswith('[simulated p/m] You said "Hello there" (2 words).')


def test_a_prompt_may_ask_for_a_length() -> None:
    assert len(compose(prompt("Write 300 words.")).text.split()) == 300
    assert tokens_of(compose(prompt("Write 500 tokens.")).text) == 500


def test_a_limit_cuts_and_says_so() -> None:
    answer = compose(prompt(limit=7))
    assert (answer.finish, answer.usage.output) == ("length", 7)
    assert len(answer.text) == 28
    thinking = compose(prompt(limit=3, reasoning=True))
    assert (thinking.finish, thinking.text, thinking.usage.reasoning) == ("length", "", 3)


def test_a_limit_cuts_the_arguments_of_a_call() -> None:
    tool = Tool("add", {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}})
    answer = compose(prompt("use add", tools=(tool,), limit=9))
    assert answer.finish == "length"
    assert len(answer.calls[0].text) == 12


def test_a_stop_sequence_ends_the_text_before_itself() -> None:
    answer = compose(prompt("one STOP two", stop=("STOP",)))
    assert (answer.finish, answer.stop_sequence) == ("stop_sequence", "STOP")
    assert answer.text == '[simulated p/m] You said "one '


def test_tools_are_called_when_they_are_named_wanted_or_forced() -> None:
    tools = (Tool("get_weather", EMPTY), Tool("get_time", EMPTY))

    def called(text: str, **more: Any) -> list[str]:
        return [call.name for call in compose(prompt(text, tools=tools, **more)).calls]

    assert called("Hello") == []
    assert called("use get_time, then get weather") == ["get_time", "get_weather"]
    assert called("use get_time, then get_weather", parallel=False) == ["get_time"]
    assert called("please use the tool") == ["get_weather"]
    assert called("Hello", choice="required") == ["get_weather"]
    assert called("Hello", choice="required", forced=("get_time",)) == ["get_time"]
    assert called("use get_time", choice="none") == []
    assert called("forget_timetable") == []


def test_a_second_round_calls_what_is_left_and_then_quotes_every_result() -> None:
    tools = (Tool("get_weather", EMPTY), Tool("get_time", EMPTY))
    ask = Turn(role="user", text="get_weather and get_time please")
    first = (ask, Turn(role="assistant", calls=(SeenCall("1", "get_weather"),)))
    told = (*first, Turn(role="tool", results=(SeenResult("1", "", "rain"),)))
    answer = compose(prompt(turns=told, tools=tools, parallel=False))
    assert [call.name for call in answer.calls] == ["get_time"]
    done = (*told, Turn(role="assistant", calls=(SeenCall("2", "get_time"),)))
    done = (*done, Turn(role="tool", results=(SeenResult("2", "", "noon"),)))
    answer = compose(prompt(turns=done, tools=tools, parallel=False))
    assert answer.calls == ()
    assert 'get_time said "noon"' in answer.text


def test_required_tools_move_on_to_the_one_not_called_yet() -> None:
    tools = (Tool("search", EMPTY), Tool("final_result", EMPTY))
    turns = (
        Turn(role="user", text="search for it"),
        Turn(role="assistant", calls=(SeenCall("1", "search"),)),
        Turn(role="tool", results=(SeenResult("1", "", "x"),)),
    )
    assert [call.name for call in compose(prompt(turns=turns, tools=tools, choice="required")).calls] == [
        "final_result"
    ]


def test_arguments_take_names_and_numbers_from_the_prompt() -> None:
    schema = {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "maximum": 10},
            "unit": {"enum": ["kelvin", "Celsius"]},
        },
    }
    text = "Use `get_weather` for New York for 3 days, in Celsius."
    assert value_for(schema, text, ("get_weather",)) == {"city": "New York", "days": 3, "unit": "Celsius"}


async def test_choices_stop_and_logprobs_over_the_wire(http: aiohttp.ClientSession) -> None:
    body = {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Hi"}],
        "n": 2,
        "logprobs": True,
        "top_logprobs": 2,
    }
    async with http.post("/openai/v1/chat/completions", json=body) as response:
        value = await response.json()
    first, second = value["choices"]
    assert "This is choice 2." in second["message"]["content"]
    tokens = [item["token"] for item in first["logprobs"]["content"]]
    assert "".join(tokens) == first["message"]["content"]
    assert len(first["logprobs"]["content"][0]["top_logprobs"]) == 2
    async with http.post("/openai/v1/chat/completions", json={**body, "stream": True}) as response:
        text = await response.text()
    chunks = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
    assert [chunk["choices"][0]["index"] for chunk in chunks if chunk["choices"][0]["finish_reason"]] == [0, 1]


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            "I saw an image (image/png, 3 bytes).",
        ),
        ({"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}, "at https://x.test/a.png"),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            "I heard an audio (audio/wav, 3 bytes).",
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA", "filename": "a"}},
            "I saw a file (application/pdf, 3 bytes).",
        ),
    ],
)
async def test_attachments_are_mentioned_with_their_size(
    http: aiohttp.ClientSession, part: dict[str, Any], words: str
) -> None:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": [{"type": "text", "text": "Look"}, part]}]}
    async with http.post("/openai/v1/chat/completions", json=body) as response:
        assert words in (await response.json())["choices"][0]["message"]["content"]


async def test_a_long_conversation_is_partly_cached(http: aiohttp.ClientSession) -> None:
    long = "word " * 1200
    turns = [
        {"role": "user", "content": long},
        {"role": "assistant", "content": "ok"},
        {"role": "user", "content": "go on"},
    ]
    async with http.post("/openai/v1/chat/completions", json={"model": "gpt-4o", "messages": turns}) as response:
        usage = (await response.json())["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == 1408
    assert usage["prompt_tokens"] > 1408
    turns[0]["content"] = [{"type": "text", "text": long, "cache_control": {"type": "ephemeral"}}]  # type: ignore[assignment]
    body = {"model": "claude-sonnet-5-5", "max_tokens": 99, "messages": turns}
    async with http.post("/anthropic/v1/messages", json=body) as response:
        usage = (await response.json())["usage"]
    assert usage["cache_read_input_tokens"] > 1408
    assert usage["cache_creation_input_tokens"] == 0
    assert usage["input_tokens"] < 20


@given(st.text())
def test_pieces_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
    assert len(list(pieces(text))) == tokens_of(text)


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    bounds = st.integers(-50, 50)
    leaves = st.one_of(
        st.builds(
            lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span}, bounds, st.integers(0, 9)
        ),
        st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, bounds),
        st.builds(lambda step: {"type": "integer", "multipleOf": step, "minimum": 1}, st.integers(1, 9)),
        st.builds(
            lambda low, span: {"type": "string", "minLength": low, "maxLength": low + span},
            st.integers(0, 30),
            st.integers(0, 9),
        ),
        st.lists(st.sampled_from(["red", "blue", 3, None]), min_size=1).map(lambda options: {"enum": options}),
        st.sampled_from([{"type": "boolean"}, {"type": ["string", "null"]}, {"const": 7}, {"type": "null"}]),
    )

    def deeper(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
        names = st.sampled_from(["a", "b", "c"])
        objects = st.dictionaries(names, inner, max_size=3).map(
            lambda properties: {"type": "object", "properties": properties, "required": list(properties)}
        )
        arrays = st.builds(
            lambda items, least: {"type": "array", "items": items, "minItems": least}, inner, st.integers(0, 3)
        )
        return st.one_of(objects, arrays, inner.map(lambda schema: {"anyOf": [{"type": "null"}, schema]}))

    return st.recursive(leaves, deeper, max_leaves=8)


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """A second opinion on the part of JSON Schema that the strategy above writes."""
    if "anyOf" in schema:
        return any(fits(value, option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return value in schema.get("enum", [schema.get("const")])
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    python = {
        "string": str,
        "boolean": bool,
        "null": type(None),
        "array": list,
        "object": dict,
        "number": float,
        "integer": int,
    }
    if not any(isinstance(value, python[kind]) for kind in kinds):
        return False
    match value:
        case bool() | None:
            return True
        case int() | float():
            low = value >= schema.get("minimum", value) and value > schema.get("exclusiveMinimum", value - 1)
            return (low and value <= schema.get("maximum", value) and value % schema.get("multipleOf", 1) == 0) or (
                kinds == ["number"] and low
            )
        case str():
            return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
        case list():
            return len(value) >= schema["minItems"] and all(fits(item, schema["items"]) for item in value)
        case dict():
            names = set(schema["required"]) <= set(value)
            return names and all(fits(value[name], inner) for name, inner in schema["properties"].items())
    return False


@settings(max_examples=150, deadline=None)
@given(schemas(), st.sampled_from(["Hello", 'Take 7 of "red" in Paris, or 12.5', "-3 and 40"]))
def test_a_value_fits_its_schema(schema: dict[str, Any], text: str) -> None:
    value = value_for(schema, text)
    assert fits(value, schema), (value, schema)
    assert value == value_for(schema, text)


def test_references_and_recursion_come_to_an_end() -> None:
    node = {
        "type": "object",
        "properties": {"next": {"$ref": "#/$defs/node"}, "name": {"type": "string"}},
        "required": ["next"],
    }
    value = value_for({"$ref": "#/$defs/node", "$defs": {"node": node}}, "x")
    assert isinstance(value["next"]["next"], dict)
    merged = value_for(
        {"allOf": [{"type": "object", "properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}, ""
    )
    assert merged == {"a": 1, "b": 2}
    assert value_for({"type": "string", "format": "date"}, "Paris") == "2026-11-20"
