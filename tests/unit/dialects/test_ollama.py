"""Ollama's chat and generate APIs against recordings, its SDK, and generated conversations."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import ollama
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.dialects.fold import fold, unfold
from polyroute.dialects.ollama import CODEC
from polyroute.dialects.ollama.generate import CODEC as GENERATE
from polyroute.dialects.registry import codec
from polyroute.ports import ChatCodec
from polyroute.types.chat import (
    AudioPart,
    ChatRequest,
    ChatResponse,
    Choice,
    FilePart,
    Finish,
    HostedTool,
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
    encoded,
    parse_all,
    refuse,
    reread,
    restreamed,
)
from support.recordings import Recording, parametrize

PNG = "iVBORw0KGgow"
BOTH = pytest.mark.parametrize("chosen", [CODEC, GENERATE], ids=["chat", "generate"])


def ask(text: str = "Hi", **fields: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=(Message(role="user", parts=(TextPart(text=text),)),), **fields)


def chat_body(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | fields


def parse(body: dict[str, Any]) -> ChatRequest:
    return CODEC.parse_request(json.dumps(body).encode())


def test_the_registry_knows_both() -> None:
    assert codec(Dialect.OLLAMA) is CODEC
    assert codec(Dialect.OLLAMA_GENERATE) is GENERATE


class TestRecordings:
    @parametrize("ollama", stream=False)
    def test_whole_answers(self, recording: Recording) -> None:
        self.compare(
            json.loads(recording.body), fold(CODEC.parse_response(recording.body)), [json.loads(recording.body)]
        )

    @parametrize("ollama", stream=True)
    def test_streams_in_any_split(self, recording: Recording) -> None:
        events = assert_splits_do_not_matter(CODEC, recording.body, seed=1)
        assert parse_all(CODEC.parser(), *(recording.body[i : i + 1] for i in range(len(recording.body)))) == events
        assert_well_formed(events)
        lines = [json.loads(line) for line in recording.body.splitlines() if line.strip()]
        self.compare(lines[-1], fold(events), lines)

    def compare(self, last: dict[str, Any], answer: ChatResponse, lines: list[dict[str, Any]]) -> None:
        parts = answer.choices[0].parts
        messages = [line["message"] for line in lines]
        calls = [call["function"] for message in messages for call in message.get("tool_calls") or []]
        found = [part for part in parts if isinstance(part, ToolCallPart)]
        assert "".join(p.text for p in parts if isinstance(p, TextPart)) == "".join(m["content"] for m in messages)
        thinking = "".join(m.get("thinking") or "" for m in messages)
        assert "".join(p.text for p in parts if isinstance(p, ReasoningPart)) == thinking
        assert [(c.name, json.loads(c.arguments)) for c in found] == [(c["name"], c["arguments"]) for c in calls]
        assert len({call.id for call in found}) == len(found)
        assert answer.choices[0].finish.unified == ("tool_calls" if calls else "stop")
        assert answer.usage is not None
        assert (answer.usage.input, answer.usage.output) == (last["prompt_eval_count"], last["eval_count"])
        assert answer.usage.raw is not None
        assert answer.usage.raw["total_duration"] == last["total_duration"]
        assert answer.model == last["model"]


REASONINGS = st.sampled_from(
    [
        None,
        Reasoning(enabled=True),
        Reasoning(enabled=False),
        *(Reasoning(effort=e) for e in ("low", "medium", "high", "max")),
    ]
)
FORMATS = st.none() | st.just(OutputFormat(kind="json_object")) | canonical.schemas().map(
    lambda schema: OutputFormat(kind="json_schema", schema=schema)
)  # fmt: skip
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "stream": st.booleans(),
    "reasoning": REASONINGS,
    "output_format": FORMATS,
    "max_tokens": st.none() | st.integers(1, 9999),
    "temperature": st.none() | st.sampled_from([0.0, 0.5, 2.0]),
    "top_p": st.none() | st.just(0.25),
    "top_k": st.none() | st.integers(1, 99),
    "seed": st.none() | st.integers(0, 99),
    "frequency_penalty": st.none() | st.just(0.5),
    "presence_penalty": st.none() | st.just(-0.5),
    "stop": st.lists(canonical.texts(), max_size=3).map(tuple),
    "logprobs": st.none() | st.booleans(),
    "top_logprobs": st.none() | st.integers(0, 20),
    "extra": st.sampled_from([{}, {"ollama": {"keep_alive": "10m", "options": {"num_ctx": 4096}}}]),
}


@st.composite
def chats(draw: st.DrawFn) -> ChatRequest:
    """What `/api/chat` can say: one text a turn, results with the tool's name, no choice among tools."""
    conversation = canonical.conversations(
        assistant_reasoning=canonical.texts().map(lambda text: ReasoningPart(text=text)), several_texts=False
    )
    request = draw(
        canonical.chat_requests(conversation=conversation, tool=canonical.tools(strict=st.none()), fields=FIELDS)
    )
    names = {p.id: p.name for m in request.messages for p in m.parts if isinstance(p, ToolCallPart)}
    messages = tuple(
        msgspec.structs.replace(
            message,
            parts=tuple(
                msgspec.structs.replace(part, name=names[part.call_id]) if isinstance(part, ToolResultPart) else part
                for part in message.parts
            ),
        )
        for message in request.messages
    )
    return msgspec.structs.replace(request, messages=messages, tool_choice=None)


class TestRequests:
    @given(request=chats())
    @settings(max_examples=60, deadline=None)
    def test_what_can_be_said_survives(self, request: ChatRequest) -> None:
        assert_request_survives(CODEC, request)

    def test_the_sdk_understands_the_body(self) -> None:
        request = ask(
            tools=(Tool(name="ocr", description="Read", parameters={"type": "object", "properties": {}}),),
            reasoning=Reasoning(effort="low"), max_tokens=5, stop=("END",), stream=True,
        )  # fmt: skip
        body = CODEC.render_request(request, PROFILE).body
        parsed = ollama._types.ChatRequest(**body)  # type: ignore[attr-defined]
        assert parsed.model == "m"
        assert parsed.think == "low"
        assert parsed.options is not None
        assert body["options"] == {"num_predict": 5, "stop": ["END"]}

    def test_streaming_is_on_unless_switched_off(self) -> None:
        assert parse(chat_body()).stream is True
        assert parse(chat_body(stream=False)).stream is False

    def test_results_without_ids_are_paired_by_name_and_order(self) -> None:
        call = {"function": {"name": "a", "arguments": {}}}
        other = {"function": {"name": "b", "arguments": {"x": 1}}}
        request = parse(
            chat_body(
                messages=[
                    {"role": "user", "content": "Go"},
                    {"role": "assistant", "content": "", "tool_calls": [call, other, call]},
                    {"role": "tool", "tool_name": "b", "content": "second"},
                    {"role": "tool", "tool_name": "a", "content": "first"},
                    {"role": "tool", "content": "third"},
                ]
            )
        )
        calls = [part for part in request.messages[1].parts if isinstance(part, ToolCallPart)]
        results = [part for part in request.messages[2].parts if isinstance(part, ToolResultPart)]
        assert [result.call_id for result in results] == [calls[1].id, calls[0].id, calls[2].id]
        assert [result.name for result in results] == ["b", "a", "a"]
        assert len({call.id for call in calls}) == 3

    def test_images_are_base64_and_their_type_is_sniffed(self) -> None:
        request = parse(chat_body(messages=[{"role": "user", "content": "See", "images": [PNG]}]))
        assert request.messages[0].parts[1] == ImagePart(data=PNG, media_type="image/png")
        assert CODEC.render_request(request, PROFILE).body["messages"][0]["images"] == [PNG]

    @pytest.mark.parametrize(
        ("body", "param", "words"),
        [
            ({"messages": [{"role": "user", "content": "x"}]}, "model", "required"),
            ({"model": "m"}, "messages", "empty"),
            (chat_body(messages=[{"role": "robot", "content": "x"}]), "messages[0].role", "invalid role: robot"),
            (chat_body(messages=["x"]), "messages[0]", "object"),
            (chat_body(messages=[{"role": "user", "images": ["§"]}]), "messages[0].images[0]", "illegal base64"),
            (chat_body(think="a lot"), "think", "invalid think value"),
            (chat_body(format=5), "format", "invalid format"),
            (chat_body(stream="yes"), "stream", "true or false"),
            (chat_body(options={"temperature": "hot"}), "options.temperature", "number"),
            (chat_body(options={"num_predict": 1.5}), "options.num_predict", "integer"),
            (chat_body(tools=[{"type": "function"}]), "tools[0].function", "object"),
            (chat_body(tools=[{"function": {"parameters": {}}}]), "tools[0].function.name", "required"),
            (
                chat_body(
                    messages=[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}]
                ),
                "messages[0].tool_calls[0].function.arguments",
                "object",
            ),
        ],
    )
    def test_what_ollama_refuses_is_refused(self, body: dict[str, Any], param: str, words: str) -> None:
        error = refuse(CODEC, body)
        assert error.kind is ErrorKind.INVALID_REQUEST
        assert error.param == param
        assert words in error.message

    def test_broken_json_is_refused(self) -> None:
        with pytest.raises(PolyrouteError, match="invalid JSON"):
            CODEC.parse_request(b'{"model":')


class TestLosses:
    def render(self, request: ChatRequest) -> tuple[dict[str, Any], tuple[str, ...], tuple[str, ...]]:
        rendered = CODEC.render_request(request, PROFILE)
        return rendered.body, rendered.dropped, rendered.notes

    def test_what_ollama_has_not_is_named(self) -> None:
        request = ask(
            n=2, logit_bias={"1": 1.0}, user="u", metadata={"a": "b"}, service_tier="flex", store=True,
            parallel_tool_calls=False, tool_choice=ToolChoice(mode="required"), extra={"openai_chat": {"verbosity": "low"}},
        )  # fmt: skip
        assert set(self.render(request)[1]) == {
            "n", "logit_bias", "user", "metadata", "service_tier", "store", "parallel_tool_calls", "tool_choice", "verbosity",
        }  # fmt: skip

    def test_no_call_wanted_means_no_tools(self) -> None:
        body, dropped, notes = self.render(ask(tools=(Tool(name="f"),), tool_choice=ToolChoice(mode="none")))
        assert "tools" not in body
        assert (dropped, len(notes)) == ((), 1)

    def test_one_tool_wanted_means_only_that_one(self) -> None:
        tools = (Tool(name="f"), Tool(name="g"), HostedTool(Dialect.OPENAI_RESPONSES, {"type": "web_search"}))
        body, dropped, _ = self.render(ask(tools=tools, tool_choice=ToolChoice(mode="tool", names=("g",))))
        assert [tool["function"]["name"] for tool in body["tools"]] == ["g"]
        assert dropped == ("tool_choice", "tools.web_search")

    def test_free_form_tools_become_functions_and_their_calls_too(self) -> None:
        call = ToolCallPart(id="c", name="run", arguments="print(1)", custom=True)
        messages = (*ask().messages, Message(role="assistant", parts=(call,)))
        body, _, notes = self.render(ChatRequest(model="m", messages=messages, tools=(Tool(name="run", custom=True),)))
        assert body["tools"][0]["function"]["parameters"]["required"] == ["input"]
        assert body["messages"][1]["tool_calls"][0]["function"]["arguments"] == {"input": "print(1)"}
        assert notes

    @pytest.mark.parametrize(("arguments", "sent"), [("", {}), ("[1]", {"_raw": "[1]"}), ('{"a":', {"_raw": '{"a":'})])
    def test_arguments_that_are_no_object(self, arguments: str, sent: dict[str, Any]) -> None:
        part = ToolCallPart(id="c", name="f", arguments=arguments)
        body, _, notes = self.render(ChatRequest(model="m", messages=(Message(role="assistant", parts=(part,)),)))
        assert body["messages"][0]["tool_calls"][0]["function"]["arguments"] == sent
        assert bool(notes) is ("_raw" in sent)

    def test_foreign_reasoning_loses_its_state_and_keeps_its_place(self) -> None:
        state = ProviderState(Dialect.ANTHROPIC_MESSAGES, {"signature": "x"})
        message = Message(role="assistant", parts=(ReasoningPart(text="Hm", state=state), TextPart(text="Yes")))
        body, _, notes = self.render(ChatRequest(model="m", messages=(message,)))
        assert body["messages"] == [{"role": "assistant", "content": "Yes", "thinking": "Hm"}]
        assert notes == ("state of anthropic_messages removed",)

    def test_a_failed_tool_is_told_in_words(self) -> None:
        result = ToolResultPart(call_id="c", content=(TextPart(text="no file"),), is_error=True)
        body, _, _ = self.render(ChatRequest(model="m", messages=(Message(role="tool", parts=(result,)),)))
        assert body["messages"][0]["content"] == "Error: no file"

    @pytest.mark.parametrize(
        ("effort", "sent"), [("minimal", "low"), ("xhigh", "max"), ("none", False), ("ultra", True)]
    )
    def test_efforts_without_a_word_take_the_nearest(self, effort: str, sent: Any) -> None:
        assert self.render(ask(reasoning=Reasoning(effort=effort)))[0]["think"] == sent

    @pytest.mark.parametrize(
        "part",
        [ImagePart(url="https://x.test/a.png"), ImagePart(file_id="f"), FilePart(data="JVBE", media_type="application/pdf"),
         AudioPart(data="AAAA", format="wav")],
    )  # fmt: skip
    def test_content_that_cannot_be_sent_is_never_dropped(self, part: Any) -> None:
        with pytest.raises(PolyrouteError) as caught:
            self.render(ChatRequest(model="m", messages=(Message(role="user", parts=(part,)),)))
        assert caught.value.kind is ErrorKind.UNSUPPORTED

    def test_text_files_become_text(self) -> None:
        part = FilePart(data="aGVsbG8=", media_type="text/plain")
        body = self.render(ChatRequest(model="m", messages=(Message(role="user", parts=(part,)),)))[0]
        assert body["messages"][0]["content"] == "hello"


FINISHES: dict[Any, str] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "stop",
}
RESPONSES = canonical.chat_responses(
    finishes=FINISHES,
    refusals=False,
    reasoning=canonical.texts().map(lambda text: ReasoningPart(text=text)),
    usage=st.none() | st.builds(Usage, input=st.integers(0, 9), output=st.integers(0, 9)),
)


class TestAnswers:
    @BOTH
    @given(response=RESPONSES)
    @settings(max_examples=40, deadline=None)
    def test_whole_and_streamed_they_survive(self, chosen: ChatCodec, response: ChatResponse) -> None:
        response = msgspec.structs.replace(response, id=None)
        assert reread(chosen, response, ask()) == response
        assert restreamed(chosen, response, ask()) == response

    @given(response=RESPONSES, seed=st.integers(0, 999))
    @settings(max_examples=40, deadline=None)
    def test_splits_do_not_matter(self, response: ChatResponse, seed: int) -> None:
        renderer = CODEC.renderer(ask(), "r", 1)
        stream = b"".join(renderer.feed(event) for event in unfold(response)) + renderer.close()
        assert_splits_do_not_matter(CODEC, stream, seed)
        for line in stream.splitlines():
            ollama.ChatResponse(**json.loads(line))

    @given(data=st.binary(max_size=60) | canonical.json_values().map(lambda value: json.dumps(value).encode()))
    @settings(max_examples=100, deadline=None)
    def test_nothing_crashes_the_parsers(self, data: bytes) -> None:
        assert_only_known_failures(CODEC, data)
        assert_only_known_failures(GENERATE, data)

    def test_the_answer_carries_the_name_that_the_caller_used(self) -> None:
        response = ChatResponse(
            id="x", model="native", created=1_790_000_000,
            choices=(Choice(parts=(TextPart(text="Hi"),), finish=Finish("stop", "end_turn")),),
            usage=Usage(input=3, cache_read=4, output=5, reasoning=6),
        )  # fmt: skip
        body = json.loads(CODEC.render_response(response, ask()))
        assert body["model"] == "m"
        assert body["created_at"] == "2026-09-21T14:13:20Z"
        assert (body["prompt_eval_count"], body["eval_count"]) == (7, 11)
        assert (body["done"], body["done_reason"]) == (True, "stop")
        sdk = ollama.ChatResponse(**body)
        assert sdk.message.content == "Hi"

    def test_generate_has_its_own_fields(self) -> None:
        response = ChatResponse(
            id=None,
            model="x",
            choices=(Choice(parts=(ReasoningPart(text="Hm"), TextPart(text="Hi")), finish=Finish("length")),),
        )
        body = json.loads(GENERATE.render_response(response, ask()))
        sdk = ollama.GenerateResponse(**body)
        assert (sdk.response, sdk.thinking, sdk.done_reason) == ("Hi", "Hm", "length")
        assert "message" not in body

    def test_unknown_ids_differ_between_calls_and_answers(self) -> None:
        def answer(moment: str) -> list[str]:
            call = {"function": {"name": "f", "arguments": {}}}
            message = {"role": "assistant", "content": "", "tool_calls": [call, call]}
            body = {"model": "m", "created_at": moment, "message": message, "done": True, "done_reason": "stop"}
            parts = fold(CODEC.parse_response(json.dumps(body).encode())).choices[0].parts
            return [part.id for part in parts if isinstance(part, ToolCallPart)]

        first, second = answer("2026-01-01T00:00:00Z"), answer("2026-01-01T00:00:01Z")
        assert len({*first, *second}) == 4
        assert answer("2026-01-01T00:00:00Z") == first

    def test_truncation_beats_tools(self) -> None:
        call = {"function": {"name": "f", "arguments": {}}}
        body = {
            "message": {"role": "assistant", "content": "", "tool_calls": [call]},
            "done": True,
            "done_reason": "length",
        }
        assert fold(CODEC.parse_response(json.dumps(body).encode())).choices[0].finish.unified == "length"

    def test_arguments_in_text_are_read_too(self) -> None:
        call = {"id": "c1", "function": {"name": "f", "arguments": '{"a": 1}'}}
        body = {"message": {"role": "assistant", "tool_calls": [call]}, "done": True}
        part = fold(CODEC.parse_response(json.dumps(body).encode())).choices[0].parts[0]
        assert part == ToolCallPart(id="c1", name="f", arguments='{"a": 1}')


def line(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "created_at": "2026-01-01T00:00:00Z"} | fields).encode() + b"\n"


class TestFailures:
    @pytest.mark.parametrize(
        ("message", "kind"),
        [
            ("rate limit exceeded", ErrorKind.RATE_LIMITED),
            ("model 'x' not found", ErrorKind.MODEL_NOT_FOUND),
            ("the input is too long: prompt is too long", ErrorKind.CONTEXT_TOO_LONG),
            ("llama runner process has terminated", ErrorKind.UNAVAILABLE),
        ],
    )
    def test_errors_inside_a_stream(self, message: str, kind: ErrorKind) -> None:
        parser = CODEC.parser()
        parser.feed(line(message={"role": "assistant", "content": "Hel"}, done=False))
        with pytest.raises(AttemptFailed) as caught:
            parser.feed(json.dumps({"error": message}).encode() + b"\n")
        assert caught.value.failure.kind is kind
        assert caught.value.failure.message == message

    def test_a_stream_without_its_end_is_truncated(self) -> None:
        parser = CODEC.parser()
        parser.feed(line(message={"role": "assistant", "content": "Hel"}, done=False))
        with pytest.raises(AttemptFailed) as caught:
            parser.close()
        assert caught.value.failure.kind is ErrorKind.TRUNCATED

    @pytest.mark.parametrize("data", [b"", b"\n\n", b"<html>\n", b"{}\n", b'{"object":"list"}\n'])
    def test_what_is_no_answer_is_a_bad_response(self, data: bytes) -> None:
        with pytest.raises(AttemptFailed) as caught:
            parse_all(CODEC.parser(), data)
        assert caught.value.failure.kind is ErrorKind.BAD_RESPONSE

    def test_the_last_line_may_lack_its_newline(self) -> None:
        data = line(message={"role": "assistant", "content": "Hi"}, done=True, done_reason="stop").rstrip()
        assert fold(parse_all(CODEC.parser(), data)).choices[0].parts == (TextPart(text="Hi"),)

    def test_errors_are_said_as_ollama_says_them(self) -> None:
        error = PolyrouteError(ErrorKind.RATE_LIMITED, "slow down")
        assert json.loads(CODEC.render_error(error)) == {"error": "slow down"}
        stream = CODEC.renderer(ask(), "r", 1).error(error)
        assert stream.endswith(b"\n")
        assert json.loads(stream) == {"error": "slow down"}


class TestGenerate:
    def test_a_prompt_is_a_turn(self) -> None:
        body = {
            "model": "m",
            "prompt": "Why?",
            "system": "Brief.",
            "images": [PNG],
            "options": {"seed": 1},
            "suffix": "!",
        }
        request = GENERATE.parse_request(json.dumps(body).encode())
        assert request.messages == (
            Message(role="system", parts=(TextPart(text="Brief."),)),
            Message(role="user", parts=(TextPart(text="Why?"), ImagePart(data=PNG, media_type="image/png"))),
        )
        assert request.seed == 1
        assert json.loads(encoded(GENERATE.render_request(request, PROFILE))) == body | {"stream": True}

    def test_its_own_fields_are_reported_by_others(self) -> None:
        body = {"model": "m", "prompt": "Why?", "suffix": "!", "context": [1], "keep_alive": "5m"}
        request = GENERATE.parse_request(json.dumps(body).encode())
        rendered = CODEC.render_request(request, PROFILE)
        assert rendered.dropped == ("suffix", "context")
        assert rendered.body["keep_alive"] == "5m"

    def test_an_empty_prompt_is_refused(self) -> None:
        assert refuse(GENERATE, {"model": "m", "prompt": ""}).param == "prompt"
