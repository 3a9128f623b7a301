"""RunPod jobs: the chat completion inside, and the other outputs that handlers give."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.dialects.fold import fold
from polyroute.dialects.runpod import CODEC
from polyroute.types.chat import ChatRequest, ChatResponse, Message, TextPart, ToolCallPart
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
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


def ask(**fields: Any) -> ChatRequest:
    return ChatRequest(model="m", messages=(Message(role="user", parts=(TextPart(text="Hi"),)),), **fields)


def job(output: Any = None, status: str = "COMPLETED", **fields: Any) -> bytes:
    return json.dumps({"id": "j1", "status": status, "output": output} | fields).encode()


def polls(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def text_of(answer: ChatResponse) -> str:
    return "".join(part.text for part in answer.choices[0].parts if isinstance(part, TextPart))


def chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


COMPLETION = {
    "id": "c1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hi there"}}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip


class TestRequests:
    @given(
        request=canonical.chat_requests(
            tool=canonical.tools(parameters=True), fields={"max_tokens": st.none() | st.integers(1, 99)}
        )
    )
    @settings(max_examples=30, deadline=None)
    def test_what_chat_completions_can_say_survives(self, request: ChatRequest) -> None:
        extra = {"runpod": {"policy": {"ttl": 1000}}}
        assert_request_survives(CODEC, msgspec.structs.replace(request, extra=extra))

    def test_the_job_names_the_route_of_the_worker(self) -> None:
        body = CODEC.render_request(ask(extra={"runpod": {"webhook": "https://x.test"}}), PROFILE).body
        assert body["webhook"] == "https://x.test"
        assert body["input"]["openai_route"] == "/v1/chat/completions"
        assert body["input"]["openai_input"]["messages"] == [{"role": "user", "content": "Hi"}]

    @pytest.mark.parametrize(
        "given_input",
        [
            {"prompt": "Hi", "sampling_params": {"temperature": 0.5}},
            {"messages": [{"role": "user", "content": "Hi"}], "sampling_params": {"temperature": 0.5}},
        ],
    )
    def test_the_workers_own_form_is_read_too(self, given_input: dict[str, Any]) -> None:
        request = CODEC.parse_request(json.dumps({"input": given_input}).encode())
        assert request.messages == ask().messages
        assert request.temperature == 0.5

    @pytest.mark.parametrize("body", [{}, {"input": 5}, {"input": {}}, {"input": {"openai_input": {"model": "m"}}}])
    def test_jobs_without_input_are_refused(self, body: dict[str, Any]) -> None:
        assert refuse(CODEC, body).kind is ErrorKind.INVALID_REQUEST


class TestWholeJobs:
    @pytest.mark.parametrize("output", [COMPLETION, [COMPLETION]])
    def test_a_chat_completion(self, output: Any) -> None:
        answer = fold(CODEC.parse_response(job(output)))
        assert text_of(answer) == "Hi there"
        assert answer.usage is not None
        assert (answer.usage.input, answer.usage.output) == (3, 2)

    @pytest.mark.parametrize(
        "output",
        [
            "Hi there",
            {"text": "Hi there"},
            {"generated_text": "Hi there"},
            ["Hi", " there"],
            [{"choices": [{"tokens": ["Hi", " there"]}], "usage": {"input": 3, "output": 2}}],
            [
                f"data: {json.dumps(chunk({'content': 'Hi there'}))}\n\n",
                f"data: {json.dumps(chunk({}, 'stop'))}\n\ndata: [DONE]\n\n",
            ],
        ],
        ids=["text", "text field", "generated_text", "pieces", "worker", "events"],
    )
    def test_whatever_else_handlers_give(self, output: Any) -> None:
        events = CODEC.parse_response(job(output))
        assert_well_formed(events)
        answer = fold(events)
        assert text_of(answer) == "Hi there"
        assert answer.choices[0].finish.unified == "stop"

    def test_the_workers_counts_are_usage(self) -> None:
        usage = fold(
            CODEC.parse_response(job([{"choices": [{"tokens": ["x"]}], "usage": {"input": 3, "output": 2}}]))
        ).usage
        assert usage == Usage(input=3, output=2, raw={"input": 3, "output": 2})

    @pytest.mark.parametrize(
        ("body", "kind", "words"),
        [
            (job(status="FAILED", error="CUDA out of memory"), ErrorKind.UNAVAILABLE, "CUDA"),
            (
                job(status="FAILED", error='{"error_message": "maximum context length is 9"}'),
                ErrorKind.CONTEXT_TOO_LONG,
                "context",
            ),
            (job(status="TIMED_OUT"), ErrorKind.TIMEOUT, "TIMED_OUT"),
            (job(status="CANCELLED"), ErrorKind.UNAVAILABLE, "CANCELLED"),
            (job(status="IN_QUEUE"), ErrorKind.TIMEOUT, "IN_QUEUE"),
            (job({"error": "model not found: unknown model"}), ErrorKind.MODEL_NOT_FOUND, "unknown model"),
            (job([{"error": {"message": "rate limit"}}]), ErrorKind.RATE_LIMITED, "rate limit"),
            (job(None), ErrorKind.BAD_RESPONSE, "no output"),
            (b"<html>", ErrorKind.BAD_RESPONSE, "no job"),
        ],
    )
    def test_failures(self, body: bytes, kind: ErrorKind, words: str) -> None:
        with pytest.raises(AttemptFailed) as caught:
            CODEC.parse_response(body)
        assert caught.value.failure.kind is kind
        assert words in caught.value.failure.message


class TestStreams:
    def test_pieces_of_an_event_stream(self) -> None:
        first = f"data: {json.dumps(chunk({'role': 'assistant', 'content': 'Hi'}))}\n\n"
        call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
        second = f"data: {json.dumps(chunk({'tool_calls': [call]}))}\n\ndata: {json.dumps(chunk({}, 'tool_calls'))}\n\n"
        stream = polls(
            {"status": "IN_PROGRESS", "stream": [{"output": first[:20]}, {"output": first[20:]}]},
            {"status": "IN_PROGRESS", "stream": []},
            {"status": "COMPLETED", "stream": [{"output": second}, {"output": "data: [DONE]\n\n"}]},
        )
        answer = fold(assert_splits_do_not_matter(CODEC, stream, seed=5))
        assert text_of(answer) == "Hi"
        assert [part.id for part in answer.choices[0].parts if isinstance(part, ToolCallPart)] == ["call_1"]

    def test_plain_text(self) -> None:
        stream = polls({"stream": [{"output": "Hi"}, {"output": " there"}]}, {"status": "COMPLETED", "stream": []})
        answer = fold(parse_all(CODEC.parser(), stream))
        assert text_of(answer) == "Hi there"

    def test_a_failed_job_is_an_error_even_after_text(self) -> None:
        parser = CODEC.parser()
        parser.feed(polls({"status": "IN_PROGRESS", "stream": [{"output": "Hi"}]}))
        with pytest.raises(AttemptFailed, match="worker exited"):
            parser.feed(polls({"status": "FAILED", "error": "worker exited"}))

    def test_nothing_at_all_is_no_answer(self) -> None:
        with pytest.raises(AttemptFailed) as caught:
            parse_all(CODEC.parser(), b"")
        assert caught.value.failure.kind is ErrorKind.BAD_RESPONSE


FINISHES: dict[Any, str] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
}


class TestAnswers:
    @given(response=canonical.chat_responses(finishes=FINISHES, refusals=False))
    @settings(max_examples=30, deadline=None)
    def test_whole_and_streamed_they_survive(self, response: ChatResponse) -> None:
        assert reread(CODEC, response, ask()).choices == response.choices
        assert restreamed(CODEC, response, ask()).choices == response.choices

    @given(
        data=st.binary(max_size=60)
        | canonical.json_values().map(lambda v: json.dumps({"status": "COMPLETED", "output": v}).encode())
    )
    @settings(max_examples=100, deadline=None)
    def test_nothing_crashes_the_parsers(self, data: bytes) -> None:
        assert_only_known_failures(CODEC, data)

    def test_errors(self) -> None:
        error = PolyrouteError(ErrorKind.UNAVAILABLE, "gone")
        assert json.loads(CODEC.render_error(error)) == {"error": "gone"}
        with pytest.raises(AttemptFailed, match="gone"):
            parse_all(CODEC.parser(), CODEC.renderer(ask(), "r", 1).error(error))
