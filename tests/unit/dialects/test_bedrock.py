"""Bedrock's Converse against recordings and generated conversations, and the frames of its streams."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import msgspec
import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.dialects.bedrock_converse import CODEC
from polyroute.dialects.bedrock_converse.frames import BrokenFrame, FrameDecoder, event_frame, exception_frame
from polyroute.dialects.fold import fold, unfold
from polyroute.types.chat import (
    AudioPart,
    CacheMark,
    ChatRequest,
    ChatResponse,
    FilePart,
    ImagePart,
    Message,
    ModelProfile,
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
    pieces_of,
    refuse,
    reread,
    restreamed,
)
from support.recordings import Recording, parametrize

OWN = Dialect.BEDROCK_CONVERSE
CLAUDE = ModelProfile(provider="bedrock", model="us.anthropic.claude-haiku-4-5-v1:0")
PNG = "iVBORw0KGgow"


def user(*texts: str) -> Message:
    return Message(role="user", parts=tuple(TextPart(text=text) for text in texts))


def assistant(*parts: Any) -> Message:
    return Message(role="assistant", parts=tuple(TextPart(text=p) if isinstance(p, str) else p for p in parts))


def ask(*messages: Message, **fields: Any) -> ChatRequest:
    return ChatRequest(model="", messages=messages or (user("Hi"),), **fields)


def render(request: ChatRequest, profile: ModelProfile = CLAUDE) -> dict[str, Any]:
    return CODEC.render_request(request, profile).body


class TestFrames:
    @given(
        events=st.lists(st.tuples(st.sampled_from(["messageStart", "é"]), st.binary(max_size=40)), max_size=5),
        seed=st.integers(0, 999),
    )
    @settings(max_examples=60, deadline=None)
    def test_any_split_gives_the_same_frames_and_aws_reads_them(
        self, events: list[tuple[str, bytes]], seed: int
    ) -> None:
        stream = b"".join(event_frame(name, payload) for name, payload in events)
        decoder = FrameDecoder()
        frames = [frame for piece in pieces_of(stream, seed) for frame in decoder.feed(piece)]
        assert [(frame.headers[":event-type"], frame.payload) for frame in frames] == events
        assert not decoder.pending
        theirs = EventStreamBuffer()
        theirs.add_data(stream)
        assert [message.payload for message in theirs] == [payload for _, payload in events]

    @given(place=st.integers(0, 10_000), flip=st.integers(1, 255))
    @settings(max_examples=80, deadline=None)
    def test_damage_is_noticed(self, place: int, flip: int) -> None:
        stream = bytearray(event_frame("contentBlockDelta", b'{"delta":{"text":"hello"}}') * 2)
        stream[place % len(stream)] ^= flip
        decoder = FrameDecoder()
        with pytest.raises(BrokenFrame):
            decoder.feed(bytes(stream))

    def test_headers_of_other_types_are_stepped_over(self) -> None:
        headers = b"\x01a\x00" + b"\x01b\x08" + b"12345678" + b"\x01c\x06\x00\x02xy" + b"\x01d\x07\x00\x02zz"
        lengths = struct.pack(">II", 16 + len(headers) + 2, len(headers))
        frame = lengths + zlib.crc32(lengths).to_bytes(4, "big") + headers + b"{}"
        frame += zlib.crc32(frame).to_bytes(4, "big")
        (found,) = FrameDecoder().feed(frame)
        assert (found.headers, found.payload) == ({"d": "zz"}, b"{}")


class TestRecordings:
    @parametrize("bedrock_converse", stream=False)
    def test_whole_answers(self, recording: Recording) -> None:
        raw = json.loads(recording.body)
        answer = fold(CODEC.parse_response(recording.body))
        content = raw["output"]["message"]["content"]
        parts = answer.choices[0].parts
        texts = [block["text"] for block in content if "text" in block]
        assert [part.text for part in parts if isinstance(part, TextPart)] == texts
        calls = [block["toolUse"] for block in content if "toolUse" in block]
        assert [(c.id, c.name, json.loads(c.arguments)) for c in parts if isinstance(c, ToolCallPart)] == [
            (call["toolUseId"], call["name"], call["input"]) for call in calls
        ]
        assert answer.usage is not None
        assert (answer.usage.input, answer.usage.output) == (raw["usage"]["inputTokens"], raw["usage"]["outputTokens"])
        assert answer.choices[0].finish.raw == raw["stopReason"]
        signed = [block["reasoningContent"]["reasoningText"] for block in content if "reasoningContent" in block]
        found = [part for part in parts if isinstance(part, ReasoningPart)]
        assert [part.text for part in found] == [reasoning["text"] for reasoning in signed]
        assert [part.state.fields["signature"] for part in found if part.state] == [r["signature"] for r in signed]

    @parametrize("bedrock_converse", stream=True)
    def test_streams_in_any_split(self, recording: Recording) -> None:
        events = assert_splits_do_not_matter(CODEC, recording.body, seed=2)
        assert parse_all(CODEC.parser(), *(recording.body[i : i + 1] for i in range(len(recording.body)))) == events
        assert_well_formed(events)
        answer = fold(events)
        buffer = EventStreamBuffer()
        buffer.add_data(recording.body)
        payloads = [(m.headers[":event-type"], json.loads(m.payload)) for m in buffer]
        texts = "".join(p["delta"].get("text", "") for name, p in payloads if name == "contentBlockDelta")
        assert "".join(part.text for part in answer.choices[0].parts if isinstance(part, TextPart)) == texts
        stop = next(p["stopReason"] for name, p in payloads if name == "messageStop")
        assert answer.choices[0].finish.raw == stop
        usage = next(p["usage"] for name, p in payloads if name == "metadata")
        assert answer.usage is not None
        assert answer.usage.output == usage["outputTokens"]

    @parametrize("bedrock_converse")
    def test_recorded_requests_survive(self, recording: Recording) -> None:
        if recording.request is None:
            pytest.skip("the request was not recorded")
        body = json.dumps(recording.request).encode()
        again = render(CODEC.parse_request(body))
        for name, value in recording.request.items():
            if value and name != "additionalModelRequestFields":
                assert again[name] == value


def own_reasoning() -> st.SearchStrategy[ReasoningPart]:
    signed = st.builds(
        lambda text, mark: ReasoningPart(text=text, state=ProviderState(OWN, {"signature": mark})),
        canonical.texts(),
        canonical.names(),
    )
    hidden = canonical.names().map(
        lambda data: ReasoningPart(redacted=True, state=ProviderState(OWN, {"redactedContent": data}))
    )
    return signed | hidden | canonical.texts().map(lambda text: ReasoningPart(text=text, state=ProviderState(OWN, {})))


def shown() -> st.SearchStrategy[TextPart]:
    """Text that is not blank, perhaps with a cache point after it."""
    marks = st.sampled_from([None, CacheMark(), CacheMark(ttl="1h")])
    return st.builds(TextPart, text=canonical.texts().map(lambda text: f"a{text}z"), cache=marks)


def spoken(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The conversation with no blank text in it, and user turns after results folded away: Bedrock would refuse them."""

    def fill(part: Any) -> Any:
        return msgspec.structs.replace(part, text=f"a{part.text}z") if isinstance(part, TextPart) else part

    return tuple(msgspec.structs.replace(m, parts=tuple(fill(p) for p in m.parts)) for m in messages)


FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "max_tokens": st.none() | st.integers(1, 9999),
    "temperature": st.none() | st.sampled_from([0.0, 0.5, 1.0]),
    "top_p": st.none() | st.just(0.25),
    "top_k": st.none() | st.integers(1, 99),
    "stop": st.lists(st.sampled_from(["END", "\n\nx", "|"]), max_size=3).map(tuple),
    "metadata": st.none() | st.just({"team": "a"}),
    "service_tier": st.sampled_from([None, "priority", "flex"]),
    "output_format": st.none() | st.builds(
        OutputFormat, kind=st.just("json_schema"), name=st.none() | canonical.names(), schema=canonical.schemas(),
        description=st.none() | canonical.texts(),
    ),
    "extra": st.sampled_from([{}, {"bedrock_converse": {
        "guardrailConfig": {"guardrailIdentifier": "g"}, "additionalModelRequestFields": {"anthropic_beta": ["x"]}}}]),
}  # fmt: skip
USER_PARTS = shown() | st.just(ImagePart(data=PNG, media_type="image/png")) | st.builds(
    FilePart, data=st.just("JVBERi0="), media_type=st.sampled_from(["application/pdf", "text/csv"]),
    filename=st.just("my plan (2)"),
) | st.just(AudioPart(data="AAAA", format="wav"))  # fmt: skip


@st.composite
def chats(draw: st.DrawFn) -> ChatRequest:
    conversation = canonical.conversations(
        user_parts=USER_PARTS, assistant_reasoning=own_reasoning(), result_parts=shown().map(lambda p: TextPart(text=p.text)),
        is_error=True,
    ).map(spoken)  # fmt: skip
    request = draw(
        canonical.chat_requests(conversation=conversation, tool=canonical.tools(parameters=True), fields=FIELDS)
    )
    calls = any(isinstance(part, ToolCallPart) for message in request.messages for part in message.parts)
    choice = request.tool_choice
    tools = request.tools or ((Tool(name="t", parameters={"type": "object", "properties": {}}),) if calls else ())
    return msgspec.structs.replace(
        request, model="", tools=tools, tool_choice=None if choice and choice.mode == "none" else choice
    )


class TestRequests:
    @given(request=chats())
    @settings(max_examples=60, deadline=None)
    def test_what_can_be_said_survives(self, request: ChatRequest) -> None:
        assert_request_survives(CODEC, request)

    @pytest.mark.parametrize("reasoning", [Reasoning(budget=2000), Reasoning(enabled=False), Reasoning(adaptive=True)])
    def test_claudes_thinking_survives(self, reasoning: Reasoning) -> None:
        assert_request_survives(CODEC, ask(reasoning=reasoning), CLAUDE)

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"messages": [{"role": "robot", "content": [{"text": "x"}]}]}, "messages[0].role"),
            ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
            (
                {"messages": [{"role": "user", "content": [{"image": {"format": "tiff", "source": {"bytes": "A"}}}]}]},
                "messages[0].content[0].image.format",
            ),
            (
                {
                    "messages": [
                        {"role": "user", "content": [{"image": {"format": "png", "source": {"s3Location": {}}}}]}
                    ]
                },
                "messages[0].content[0].image.source",
            ),
            (
                {"messages": [], "toolConfig": {"tools": [{"toolSpec": {"name": "f"}}]}},
                "toolConfig.tools[0].toolSpec.inputSchema",
            ),
            ({"messages": [], "toolConfig": {"toolChoice": {"perhaps": {}}}}, "toolConfig.toolChoice"),
            ({"messages": [], "inferenceConfig": {"maxTokens": "many"}}, "inferenceConfig.maxTokens"),
        ],
    )
    def test_what_bedrock_refuses_is_refused(self, body: dict[str, Any], param: str) -> None:
        assert refuse(CODEC, body).param == param


CALL = ToolCallPart(id="c1", name="ocr", arguments='{"a":1}')
RESULT = Message(role="tool", parts=(ToolResultPart(call_id="c1", content=(TextPart(text="EXIT"),)),))


class TestConversations:
    def test_results_come_first_and_join_the_users_turn(self) -> None:
        other = Message(role="tool", parts=(ToolResultPart(call_id="c2", content=()),))
        call = ToolCallPart(id="c2", name="ocr")
        body = render(ask(user("Go"), assistant("Ok", CALL, call), RESULT, other, user("So?")))
        assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
        last = body["messages"][-1]["content"]
        assert [next(iter(block)) for block in last] == ["toolResult", "toolResult", "text"]
        assert last[1]["toolResult"]["content"] == [{"text": "(empty)"}]
        assert body["messages"][1]["content"][2]["toolUse"]["input"] == {}

    def test_tools_of_history_are_declared_even_if_no_call_is_wanted(self) -> None:
        rendered = CODEC.render_request(ask(user("Go"), assistant(CALL), RESULT), CLAUDE)
        assert [tool["toolSpec"]["name"] for tool in rendered.body["toolConfig"]["tools"]] == ["ocr"]
        assert rendered.notes == ("tools of earlier turns declared again",)
        unwanted = ask(
            user("Go"), assistant(CALL), RESULT, tools=(Tool(name="ocr"),), tool_choice=ToolChoice(mode="none")
        )
        rendered = CODEC.render_request(unwanted, CLAUDE)
        assert "toolConfig" in rendered.body
        assert rendered.dropped == ("tool_choice",)

    def test_blank_text_is_left_out_and_an_empty_turn_filled(self) -> None:
        body = render(ask(user("Go"), assistant(" ", CALL), RESULT, assistant(""), user("x")))
        assert [next(iter(block)) for block in body["messages"][1]["content"]] == ["toolUse"]
        assert body["messages"][3]["content"] == [{"text": "(empty)"}]

    def test_the_first_turn_is_the_users(self) -> None:
        assert render(ask(assistant("Hello"), user("Hi")))["messages"][0] == {
            "role": "user",
            "content": [{"text": "Continue."}],
        }

    def test_only_system_becomes_a_user_turn(self) -> None:
        body = render(ask(Message(role="system", parts=(TextPart(text="Be brief."),))))
        assert body == {"messages": [{"role": "user", "content": [{"text": "Be brief."}]}]}

    def test_system_in_the_middle_stays_in_its_place(self) -> None:
        system = Message(role="system", parts=(TextPart(text="Now French."),))
        rendered = CODEC.render_request(ask(user("Hi"), assistant("Hello"), system, user("Go")), CLAUDE)
        assert rendered.body["messages"][2]["content"] == [{"text": "<system>\nNow French.\n</system>"}, {"text": "Go"}]
        assert "system" not in rendered.body
        assert rendered.notes

    def test_prefill_loses_its_trailing_space_or_gets_a_user_turn(self) -> None:
        assert render(ask(user("Hi"), assistant("It is \n")))["messages"][-1]["content"] == [{"text": "It is"}]
        newer = ModelProfile(provider="b", model="anthropic.claude-opus-4-8", refuses=frozenset({"prefill"}))
        assert render(ask(user("Hi"), assistant("It is")), newer)["messages"][-1]["role"] == "user"

    def test_only_bedrocks_own_reasoning_goes_back(self) -> None:
        mine = ReasoningPart(text="a", state=ProviderState(OWN, {"signature": "s"}))
        theirs = ReasoningPart(text="b", state=ProviderState(Dialect.ANTHROPIC_MESSAGES, {"signature": "t"}))
        bare = ReasoningPart(text="c")
        rendered = CODEC.render_request(ask(user("Hi"), assistant(mine, theirs, bare, "Yes"), user("x")), CLAUDE)
        content = rendered.body["messages"][1]["content"]
        assert content == [{"reasoningContent": {"reasoningText": {"text": "a", "signature": "s"}}}, {"text": "Yes"}]
        assert rendered.notes == ("state of anthropic_messages removed", "reasoning of another origin left out")

    def test_document_names_are_made_acceptable(self) -> None:
        file = FilePart(data="JVBERi0=", media_type="application/pdf", filename="Ünïcode_plan.v2.pdf")
        name = render(ask(Message(role="user", parts=(file,))))["messages"][0]["content"][0]["document"]["name"]
        assert name == "n code plan v2 pdf"

    @pytest.mark.parametrize(
        "part",
        [ImagePart(url="https://x.test/a.png"), FilePart(url="https://x.test/a.pdf"),
         FilePart(data="AA", media_type="application/zip"), AudioPart(url="https://x.test/a.wav"),
         ImagePart(data="AAAA", media_type="image/tiff")],
    )  # fmt: skip
    def test_content_that_cannot_be_sent_is_never_dropped(self, part: Any) -> None:
        with pytest.raises(PolyrouteError) as caught:
            render(ask(Message(role="user", parts=(part,))))
        assert caught.value.kind is ErrorKind.UNSUPPORTED


class TestParameters:
    def test_what_bedrock_has_not_is_named(self) -> None:
        request = ask(
            n=2, seed=1, frequency_penalty=0.1, presence_penalty=0.1, logprobs=True, top_logprobs=2, user="u", store=True,
            logit_bias={"1": 1.0}, parallel_tool_calls=False, tools=(Tool(name="f"),),
            extra={"openai_chat": {"verbosity": "low"}},
        )  # fmt: skip
        assert set(CODEC.render_request(request, PROFILE).dropped) == {
            "n", "seed", "frequency_penalty", "presence_penalty", "logprobs", "top_logprobs", "user", "store", "logit_bias",
            "parallel_tool_calls", "verbosity",
        }  # fmt: skip

    def test_refused_sampling_is_dropped_and_high_temperature_cut(self) -> None:
        newer = ModelProfile(
            provider="b", model="claude-opus-4-8", refuses=frozenset({"temperature", "top_p", "top_k"})
        )
        rendered = CODEC.render_request(ask(temperature=0.5, top_p=0.5, top_k=4), newer)
        assert rendered.dropped == ("temperature", "top_p", "top_k")
        assert render(ask(temperature=1.7))["inferenceConfig"] == {"temperature": 1.0}

    @pytest.mark.parametrize(
        ("model", "sent"),
        [("amazon.nova-pro-v1:0", {"inferenceConfig": {"topK": 7}}), ("cohere.x", {"k": 7}), ("anthropic.x", {"top_k": 7})],
    )  # fmt: skip
    def test_top_k_is_spelled_as_the_vendor_does(self, model: str, sent: dict[str, Any]) -> None:
        assert render(ask(top_k=7), ModelProfile(provider="b", model=model))["additionalModelRequestFields"] == sent

    def test_effort_is_a_budget_that_leaves_room(self) -> None:
        request = ask(
            reasoning=Reasoning(effort="high"),
            max_tokens=4000,
            temperature=0.2,
            tools=(Tool(name="f"),),
            tool_choice=ToolChoice(mode="required"),
        )
        rendered = CODEC.render_request(request, CLAUDE)
        assert rendered.body["additionalModelRequestFields"] == {"thinking": {"type": "enabled", "budget_tokens": 3999}}
        assert rendered.body["toolConfig"]["toolChoice"] == {"auto": {}}
        assert rendered.dropped == ("temperature",)

    def test_newer_models_think_adaptively(self) -> None:
        newer = ModelProfile(
            provider="b", model="claude-opus-5-5", refuses=frozenset({"thinking_budget", "thinking_disabled"})
        )
        body = render(ask(reasoning=Reasoning(effort="high")), newer)
        assert body["additionalModelRequestFields"] == {
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "high"},
        }
        assert CODEC.render_request(ask(reasoning=Reasoning(enabled=False)), newer).dropped == ("reasoning",)

    def test_thinking_is_switched_off_in_a_loop_that_began_without(self) -> None:
        request = ask(user("Go"), assistant(CALL), RESULT, reasoning=Reasoning(budget=2000))
        rendered = CODEC.render_request(request, CLAUDE)
        assert "additionalModelRequestFields" not in rendered.body
        assert any("tool loop" in note for note in rendered.notes)

    def test_models_that_cannot_think_say_so(self) -> None:
        assert CODEC.render_request(ask(reasoning=Reasoning(effort="low")), PROFILE).dropped == ("reasoning",)

    def test_a_model_that_cannot_be_forced_is_asked(self) -> None:
        newer = ModelProfile(provider="b", model="claude-opus-5-5", refuses=frozenset({"forced_tool"}))
        rendered = CODEC.render_request(ask(tools=(Tool(name="f"),), tool_choice=ToolChoice(mode="required")), newer)
        assert rendered.body["toolConfig"]["toolChoice"] == {"auto": {}}
        assert rendered.notes

    def test_json_mode_is_asked_for_in_words(self) -> None:
        rendered = CODEC.render_request(ask(output_format=OutputFormat(kind="json_object")), CLAUDE)
        assert "JSON" in rendered.body["system"][0]["text"]
        assert rendered.notes


EVENTS = ["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"]
DELTAS = [{"text": "x"}, {"toolUse": {"input": "{"}}, {"reasoningContent": {"text": "r"}}, {}, None]
FINISHES: dict[Any, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "content_filter": "guardrail_intervened",
    "tool_calls": "tool_use",
}
COUNT = st.integers(0, 999)
RESPONSES = canonical.chat_responses(
    finishes=FINISHES, refusals=False, reasoning=own_reasoning(),
    usage=st.builds(Usage, input=COUNT, output=COUNT, cache_read=st.none() | COUNT, cache_write_5m=COUNT, cache_write_1h=COUNT),
)  # fmt: skip


def nameless(response: ChatResponse) -> ChatResponse:
    return msgspec.structs.replace(response, id=None, model=None, created=None)


class TestAnswers:
    @given(response=RESPONSES)
    @settings(max_examples=50, deadline=None)
    def test_whole_and_streamed_they_survive(self, response: ChatResponse) -> None:
        response = nameless(response)
        assert reread(CODEC, response, ask()) == response
        assert restreamed(CODEC, response, ask()) == response

    @given(response=RESPONSES, seed=st.integers(0, 999))
    @settings(max_examples=40, deadline=None)
    def test_splits_do_not_matter(self, response: ChatResponse, seed: int) -> None:
        renderer = CODEC.renderer(ask(), "r", 1)
        assert_splits_do_not_matter(
            CODEC, b"".join(renderer.feed(e) for e in unfold(response)) + renderer.close(), seed
        )

    @given(data=st.binary(max_size=60) | canonical.json_values().map(lambda value: json.dumps(value).encode()))
    @settings(max_examples=100, deadline=None)
    def test_nothing_crashes_the_parsers(self, data: bytes) -> None:
        assert_only_known_failures(CODEC, data)

    @given(
        events=st.lists(
            st.tuples(
                st.sampled_from(EVENTS),
                st.fixed_dictionaries({}, optional={
                    "contentBlockIndex": st.integers(0, 1), "stopReason": st.sampled_from(["end_turn", "malformed_tool_use"]),
                    "start": st.just({"toolUse": {"toolUseId": "t", "name": "f"}}),
                    "delta": st.sampled_from(DELTAS),
                    "usage": st.sampled_from([{}, {"inputTokens": "many"}, None]),
                }),
            ), max_size=8)
    )  # fmt: skip
    @settings(max_examples=120, deadline=None)
    def test_events_in_any_order_are_read_or_refused(self, events: list[tuple[str, dict[str, Any]]]) -> None:
        stream = b"".join(event_frame(name, json.dumps(payload).encode()) for name, payload in events)
        try:
            assert_well_formed(parse_all(CODEC.parser(), stream))
        except AttemptFailed as failed:
            assert failed.failure.kind in (ErrorKind.BAD_RESPONSE, ErrorKind.TRUNCATED)  # noqa: PT017


class TestFailures:
    @pytest.mark.parametrize(
        ("code", "message", "kind"),
        [
            ("throttlingException", "Too many tokens, please wait", ErrorKind.RATE_LIMITED),
            ("validationException", "Input is too long for requested model.", ErrorKind.CONTEXT_TOO_LONG),
            ("validationException", "Malformed input request", ErrorKind.INVALID_REQUEST),
            ("modelStreamErrorException", "broken", ErrorKind.UNAVAILABLE),
            ("serviceUnavailableException", "busy", ErrorKind.UNAVAILABLE),
            ("internalServerException", "oops", ErrorKind.UNAVAILABLE),
        ],
    )
    def test_exceptions_inside_a_stream(self, code: str, message: str, kind: ErrorKind) -> None:
        parser = CODEC.parser()
        parser.feed(event_frame("messageStart", b'{"role":"assistant"}'))
        with pytest.raises(AttemptFailed) as caught:
            parser.feed(exception_frame(code, json.dumps({"message": message}).encode()))
        assert (caught.value.failure.kind, caught.value.failure.message) == (kind, message)
        assert caught.value.failure.code == code

    def test_streams_that_break_off(self) -> None:
        start = event_frame("messageStart", b"{}")
        for stream, kind in (
            (b"", ErrorKind.BAD_RESPONSE),
            (start, ErrorKind.TRUNCATED),
            (b"{}" * 9, ErrorKind.BAD_RESPONSE),
        ):
            with pytest.raises(AttemptFailed) as caught:
                parse_all(CODEC.parser(), stream)
            assert caught.value.failure.kind is kind

    def test_usage_may_be_missing(self) -> None:
        stream = event_frame("contentBlockDelta", b'{"delta":{"text":"Hi"}}') + event_frame(
            "messageStop", b'{"stopReason":"end_turn"}'
        )
        answer = fold(parse_all(CODEC.parser(), stream))
        assert answer.choices[0].parts == (TextPart(text="Hi"),)
        assert answer.usage is None

    def test_errors_are_said_as_bedrock_says_them(self) -> None:
        error = PolyrouteError(ErrorKind.RATE_LIMITED, "slow down")
        assert json.loads(CODEC.render_error(error)) == {"message": "slow down"}
        with pytest.raises(AttemptFailed, match="slow down") as caught:
            CODEC.parser().feed(CODEC.renderer(ask(), "r", 1).error(error))
        assert caught.value.failure.kind is ErrorKind.RATE_LIMITED
