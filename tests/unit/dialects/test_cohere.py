"""Cohere's chat API against recordings, its SDK, and generated conversations."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from cohere.core.pydantic_utilities import parse_obj_as
from cohere.v2.types import V2ChatResponse, V2ChatStreamResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.dialects.cohere_v2 import CODEC
from polyroute.dialects.cohere_v2.request_in import TOOL_PLAN
from polyroute.dialects.fold import fold, unfold
from polyroute.types.chat import (
    AudioPart,
    ChatRequest,
    ChatResponse,
    Choice,
    FilePart,
    Finish,
    ImagePart,
    Message,
    OutputFormat,
    ProviderState,
    Reasoning,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage
from support import strategies as canonical
from support.codec_laws import (
    PROFILE,
    assert_only_known_failures,
    assert_request_survives,
    assert_splits_do_not_matter,
    assert_well_formed,
    parse_all,
    refuse,
    reread,
    restreamed,
)
from support.recordings import Recording, parametrize


def ask(*messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=messages or (Message(role="user", parts=(TextPart(text="Hi"),)),), **fields)


def body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | fields


def events_of(stream: bytes) -> list[dict[str, Any]]:
    lines = stream.decode().replace("\r\n", "\n").split("\n")
    return [json.loads(line[5:]) for line in lines if line.startswith("data:") and line[5:].strip() != "[DONE]"]


def texts(answer: ChatResponse, kind: Any) -> str:
    return "".join(part.text for part in answer.choices[0].parts if isinstance(part, kind))


class TestRecordings:
    @parametrize("cohere_v2", stream=False)
    def test_whole_answers(self, recording: Recording) -> None:
        raw = json.loads(recording.body)
        answer = fold(CODEC.parse_response(recording.body))
        message = raw["message"]
        content = message.get("content") or []
        assert texts(answer, TextPart) == "".join(b["text"] for b in content if b["type"] == "text")
        thinking = "".join(b["thinking"] for b in content if b["type"] == "thinking")
        assert texts(answer, ReasoningPart) == message.get("tool_plan", "") + thinking
        self.compare(answer, message.get("tool_calls") or [], raw)
        assert answer.extra.get("cohere_v2", {}).get("citations", []) == (message.get("citations") or [])

    @parametrize("cohere_v2", stream=True)
    def test_streams_in_any_split(self, recording: Recording) -> None:
        events = assert_splits_do_not_matter(CODEC, recording.body, seed=3)
        assert parse_all(CODEC.parser(), *(recording.body[i : i + 1] for i in range(len(recording.body)))) == events
        assert_well_formed(events)
        answer = fold(events)
        sent = events_of(recording.body)
        calls: list[dict[str, Any]] = []
        written = ""
        for event in sent:
            message = (event.get("delta") or {}).get("message") or {}
            match event["type"]:
                case "tool-call-start":
                    calls.append(json.loads(json.dumps(message["tool_calls"])))
                case "tool-call-delta":
                    calls[-1]["function"]["arguments"] += message["tool_calls"]["function"]["arguments"]
                case "content-start" | "content-delta":
                    written += message["content"].get("text") or ""
        assert texts(answer, TextPart) == written
        self.compare(answer, calls, sent[-1]["delta"])

    def compare(self, answer: ChatResponse, calls: list[dict[str, Any]], end: dict[str, Any]) -> None:
        found = [part for part in answer.choices[0].parts if isinstance(part, ToolCallPart)]
        assert [(c.id, c.name, json.loads(c.arguments)) for c in found] == [
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls
        ]
        assert answer.choices[0].finish.raw == end["finish_reason"]
        assert answer.choices[0].finish.unified == ("tool_calls" if calls else "stop")
        tokens = end["usage"]["tokens"]
        assert answer.usage is not None
        assert (answer.usage.input_total, answer.usage.output_total) == (
            tokens["input_tokens"],
            tokens["output_tokens"],
        )

    @parametrize("cohere_v2")
    def test_recorded_requests_survive(self, recording: Recording) -> None:
        if recording.request is None:
            pytest.skip("the request was not recorded")
        again = CODEC.render_request(CODEC.parse_request(json.dumps(recording.request).encode()), PROFILE)
        assert (again.dropped, again.notes) == ((), ())
        for name, value in recording.request.items():
            if name == "messages":
                assert len(again.body[name]) == len(value)
            elif value is not None:
                assert again.body[name] == value


REASONING = canonical.texts().map(lambda text: ReasoningPart(text=text))
PLAN = canonical.texts().map(lambda text: ReasoningPart(text=text, state=TOOL_PLAN))
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "stream": st.booleans(),
    "reasoning": st.sampled_from([None, Reasoning(enabled=True), Reasoning(enabled=False), Reasoning(budget=900)]),
    "output_format": st.none() | st.just(OutputFormat(kind="json_object")) | canonical.schemas().map(
        lambda schema: OutputFormat(kind="json_schema", schema=schema)
    ),
    "max_tokens": st.none() | st.integers(1, 9999),
    "temperature": st.none() | st.sampled_from([0.0, 0.5]),
    "top_p": st.none() | st.just(0.25),
    "top_k": st.none() | st.integers(0, 99),
    "seed": st.none() | st.integers(0, 99),
    "frequency_penalty": st.none() | st.just(0.5),
    "stop": st.lists(canonical.texts(), max_size=5).map(tuple),
    "logprobs": st.none() | st.booleans(),
    "extra": st.sampled_from([{}, {"cohere_v2": {"safety_mode": "OFF", "documents": [{"id": "1"}]}}]),
}  # fmt: skip


@st.composite
def chats(draw: st.DrawFn) -> ChatRequest:
    """One text and images a turn; the choice among tools that Cohere has; `strict` for all tools or none."""
    strict = draw(st.sampled_from([None, True, False]))
    conversation = canonical.conversations(
        user_parts=canonical.text_parts() | canonical.image_parts(), assistant_reasoning=REASONING | PLAN
    )
    request = draw(
        canonical.chat_requests(conversation=conversation, tool=canonical.tools(strict=st.just(strict)), fields=FIELDS)
    )
    choice = draw(st.sampled_from([None, ToolChoice(mode="none"), ToolChoice(mode="required")]))
    return msgspec.structs.replace(request, tool_choice=choice if request.tools else None)


class TestRequests:
    @given(request=chats())
    @settings(max_examples=60, deadline=None)
    def test_what_can_be_said_survives(self, request: ChatRequest) -> None:
        assert_request_survives(CODEC, request)

    def test_documents_of_tool_results_go_back_as_they_came(self) -> None:
        content = [{"type": "document", "document": {"id": "d", "data": {"text": "EXIT"}}}]
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        messages = [
            {"role": "user", "content": "Go"},
            {"role": "assistant", "tool_plan": "Read it.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": content},
        ]
        request = CODEC.parse_request(json.dumps(body(messages=messages)).encode())
        result = request.messages[2].parts[0]
        assert isinstance(result, ToolResultPart)
        assert isinstance(result.content[0], TextPart)
        assert json.loads(result.content[0].text) == {"text": "EXIT"}
        assert CODEC.render_request(request, PROFILE).body["messages"] == messages

    @pytest.mark.parametrize(
        ("given_body", "param"),
        [
            ({"messages": [{"role": "user", "content": "x"}]}, "model"),
            ({"model": "m"}, "messages"),
            (body(messages=[{"role": "robot", "content": "x"}]), "messages[0].role"),
            (body(messages=[{"role": "tool", "content": "x"}]), "messages[0].tool_call_id"),
            (body(messages=[{"role": "user", "content": [{"type": "smell"}]}]), "messages[0].content[0].type"),
            (
                body(messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]),
                "messages[0].content[0].image_url.url",
            ),
            (body(tool_choice="sometimes"), "tool_choice"),
            (body(response_format={"type": "xml"}), "response_format"),
            (body(thinking={"type": "maybe"}), "thinking"),
            (body(p="high"), "p"),
            (body(stop_sequences=[1]), "stop_sequences"),
        ],
    )
    def test_what_cohere_refuses_is_refused(self, given_body: dict[str, Any], param: str) -> None:
        assert refuse(CODEC, given_body).param == param

    def test_what_cohere_has_not_is_named(self) -> None:
        request = ask(
            n=2, top_logprobs=3, logit_bias={"1": 1.0}, user="u", metadata={"a": "b"}, service_tier="flex", store=True,
            parallel_tool_calls=False, presence_penalty=-0.5, extra={"openai_chat": {"verbosity": "low"}},
        )  # fmt: skip
        assert set(CODEC.render_request(request, PROFILE).dropped) == {
            "n", "top_logprobs", "logit_bias", "user", "metadata", "service_tier", "store", "parallel_tool_calls",
            "presence_penalty", "verbosity",
        }  # fmt: skip

    def test_only_one_penalty_and_no_more_than_one(self) -> None:
        rendered = CODEC.render_request(ask(frequency_penalty=1.5, presence_penalty=0.5), PROFILE)
        assert rendered.body["frequency_penalty"] == 1
        assert rendered.dropped == ("presence_penalty",)
        assert rendered.notes == ("frequency_penalty cut to 1",)

    def test_one_tool_wanted_is_sent_alone_and_required(self) -> None:
        tools = (Tool(name="f", strict=True), Tool(name="g"))
        rendered = CODEC.render_request(ask(tools=tools, tool_choice=ToolChoice(mode="tool", names=("f",))), PROFILE)
        assert [tool["function"]["name"] for tool in rendered.body["tools"]] == ["f"]
        assert rendered.body["tool_choice"] == "REQUIRED"
        assert rendered.body["strict_tools"] is True

    def test_effort_is_a_budget(self) -> None:
        rendered = CODEC.render_request(ask(reasoning=Reasoning(effort="low")), PROFILE)
        assert rendered.body["thinking"] == {"type": "enabled", "token_budget": 2048}
        assert rendered.notes
        off = CODEC.render_request(ask(reasoning=Reasoning(effort="none")), PROFILE)
        assert off.body["thinking"] == {"type": "disabled"}

    def test_foreign_state_is_removed_with_a_note(self) -> None:
        state = ProviderState(Dialect.GEMINI, {"thoughtSignature": "x"})
        message = Message(role="assistant", parts=(ReasoningPart(text="Hm", state=state), TextPart(text="Yes")))
        rendered = CODEC.render_request(ask(message), PROFILE)
        assert rendered.notes == ("state of gemini removed",)
        assert "thoughtSignature" not in json.dumps(rendered.body)

    def test_images_of_results_follow_after_all_results(self) -> None:
        image = ImagePart(data="iVBORw0KGgo=", media_type="image/png")
        results = tuple(ToolResultPart(call_id=i, content=(TextPart(text="see"), image)) for i in ("a", "b"))
        request = ask(Message(role="tool", parts=results), Message(role="user", parts=(TextPart(text="So?"),)))
        messages = CODEC.render_request(request, PROFILE).body["messages"]
        assert [message["role"] for message in messages] == ["tool", "tool", "user", "user"]
        assert [block["type"] for block in messages[2]["content"]] == ["image_url", "image_url"]

    @pytest.mark.parametrize(
        "part",
        [
            FilePart(data="JVBE", media_type="application/pdf"),
            AudioPart(data="AA", format="wav"),
            ImagePart(file_id="f"),
        ],
    )
    def test_content_that_cannot_be_sent_is_never_dropped(self, part: Any) -> None:
        with pytest.raises(PolyrouteError) as caught:
            CODEC.render_request(ask(Message(role="user", parts=(part,))), PROFILE)
        assert caught.value.kind is ErrorKind.UNSUPPORTED


FINISHES: dict[Any, str] = {
    "stop": "STOP_SEQUENCE",
    "length": "MAX_TOKENS",
    "content_filter": "ERROR_TOXIC",
    "tool_calls": "TOOL_CALL",
}
COUNT = st.integers(0, 999)
USAGE = st.builds(Usage, input=COUNT, cache_read=st.none() | COUNT, output=COUNT, reasoning=st.none() | COUNT)


def responses(reasoning: st.SearchStrategy[ReasoningPart]) -> st.SearchStrategy[ChatResponse]:
    drawn = canonical.chat_responses(finishes=FINISHES, refusals=False, reasoning=reasoning, usage=USAGE)
    return drawn.map(lambda response: msgspec.structs.replace(response, model=None, created=None))


class TestAnswers:
    @given(response=responses(REASONING | PLAN))
    @settings(max_examples=40, deadline=None)
    def test_whole_answers_survive_and_the_sdk_reads_them(self, response: ChatResponse) -> None:
        assert reread(CODEC, response, ask()) == response
        parsed = parse_obj_as(V2ChatResponse, json.loads(CODEC.render_response(response, ask())))  # type: ignore[type-var]
        assert parsed.message is not None

    @given(response=responses(REASONING), seed=st.integers(0, 999))
    @settings(max_examples=40, deadline=None)
    def test_streams_survive_in_any_split_and_the_sdk_reads_them(self, response: ChatResponse, seed: int) -> None:
        assert restreamed(CODEC, response, ask()) == response
        renderer = CODEC.renderer(ask(), "r", 1)
        stream = b"".join(renderer.feed(event) for event in unfold(response)) + renderer.close()
        assert_splits_do_not_matter(CODEC, stream, seed)
        for event in events_of(stream):
            assert parse_obj_as(V2ChatStreamResponse, event).type == event["type"]  # type: ignore[type-var]

    @given(data=st.binary(max_size=60) | canonical.json_values().map(lambda value: json.dumps(value).encode()))
    @settings(max_examples=100, deadline=None)
    def test_nothing_crashes_the_parsers(self, data: bytes) -> None:
        assert_only_known_failures(CODEC, data)
        assert_only_known_failures(CODEC, b"data: " + data + b"\n\n")

    def test_cached_and_reasoning_tokens_are_taken_out(self) -> None:
        usage = {"tokens": {"input_tokens": 100.0, "output_tokens": 40, "reasoning_tokens": 30}, "cached_tokens": 60}
        answer = {
            "id": "c",
            "finish_reason": "COMPLETE",
            "message": {"content": [{"type": "text", "text": "x"}]},
            "usage": usage,
        }
        found = fold(CODEC.parse_response(json.dumps(answer).encode())).usage
        assert found is not None
        assert (found.input, found.cache_read, found.output, found.reasoning) == (40, 60, 10, 30)
        assert found.raw == usage

    def test_billed_units_stand_in_for_missing_tokens(self) -> None:
        answer = {
            "finish_reason": "COMPLETE",
            "message": {},
            "usage": {"billed_units": {"input_tokens": 3, "output_tokens": 4}},
        }
        found = fold(CODEC.parse_response(json.dumps(answer).encode())).usage
        assert found is not None
        assert (found.input, found.output) == (3, 4)

    def test_free_form_calls_are_wrapped(self) -> None:
        part = ToolCallPart(id="c", name="run", arguments="print(1)", custom=True)
        response = ChatResponse(id="x", model=None, choices=(Choice(parts=(part,), finish=Finish("tool_calls")),))
        for answer in (reread(CODEC, response, ask()), restreamed(CODEC, response, ask())):
            found = answer.choices[0].parts[0]
            assert isinstance(found, ToolCallPart)
            assert json.loads(found.arguments) == {"input": "print(1)"}


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


class TestFailures:
    @pytest.mark.parametrize(("reason", "kind"), [("ERROR", ErrorKind.UNAVAILABLE), ("TIMEOUT", ErrorKind.TIMEOUT)])
    def test_a_finish_that_is_a_failure(self, reason: str, kind: ErrorKind) -> None:
        whole = json.dumps({"finish_reason": reason, "message": {"content": []}}).encode()
        stream = sse({"type": "message-end", "delta": {"finish_reason": reason}})
        for read in (lambda: CODEC.parse_response(whole), lambda: parse_all(CODEC.parser(), stream)):
            with pytest.raises(AttemptFailed) as caught:
                read()
            assert caught.value.failure.kind is kind

    def test_a_late_error(self) -> None:
        stream = sse({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "too many tokens: 9"}})
        with pytest.raises(AttemptFailed) as caught:
            parse_all(CODEC.parser(), stream)
        assert caught.value.failure.kind is ErrorKind.CONTEXT_TOO_LONG
        assert caught.value.failure.message == "too many tokens: 9"

    def test_an_error_body_in_place_of_a_stream(self) -> None:
        with pytest.raises(AttemptFailed, match="rate limit"):
            parse_all(CODEC.parser(), b'data: {"id":"x","message":"rate limit exceeded"}\n\n')
        with pytest.raises(AttemptFailed, match="rate limit"):
            CODEC.parse_response(b'{"id":"x","message":"rate limit exceeded"}')

    def test_streams_that_break_off(self) -> None:
        start = sse({"type": "message-start", "id": "c"})
        for stream, kind in (
            (b"", ErrorKind.BAD_RESPONSE),
            (start, ErrorKind.TRUNCATED),
            (b"data: x\n\n", ErrorKind.BAD_RESPONSE),
        ):
            with pytest.raises(AttemptFailed) as caught:
                parse_all(CODEC.parser(), stream)
            assert caught.value.failure.kind is kind

    def test_unknown_events_and_a_done_mark_are_passed_over(self) -> None:
        stream = sse(
            {"type": "message-start", "id": "c"},
            {"type": "debug", "prompt": "…"},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "Hi"}}}},
            {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}},
        )
        answer = fold(parse_all(CODEC.parser(), stream + b"data: [DONE]\n\n"))
        assert answer.choices[0].parts == (TextPart(text="Hi"),)

    def test_errors_are_said_as_cohere_says_them(self) -> None:
        error = PolyrouteError(ErrorKind.RATE_LIMITED, "slow down", request_id="req_1")
        assert json.loads(CODEC.render_error(error)) == {"message": "slow down", "id": "req_1"}
        with pytest.raises(AttemptFailed, match="slow down"):
            parse_all(CODEC.parser(), CODEC.renderer(ask(), "r", 1).error(error))
