"""generateContent answers: read whole and streamed, rendered as the official client reads them, failures told."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from google.genai import types as sdk
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.dialects.fold import fold
from polyroute.dialects.gemini import CODEC
from polyroute.dialects.sse import SseDecoder
from polyroute.types.chat import (
    AudioPart,
    ChatRequest,
    ChatResponse,
    Choice,
    Finish,
    Finished,
    ImagePart,
    Measured,
    PartDelta,
    PartEnded,
    PartStarted,
    ProviderState,
    Reasoning,
    ReasoningPart,
    Started,
    TextPart,
    ToolCallPart,
)
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage
from support.recordings import Recording, parametrize
from support.strategies import json_values

_REQUEST = ChatRequest(model="m", messages=())


def _chunk(*parts: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {
        "candidates": [candidate | more.pop("candidate", {})],
        "responseId": "abc",
        "modelVersion": "gemini-3",
        **more,
    }


def _stream(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)


def _read(body: bytes) -> ChatResponse:
    parser = CODEC.parser()
    return fold(parser.feed(body) + parser.close())


def _chunks(recording: Recording) -> list[dict[str, Any]]:
    if not recording.stream:
        return [json.loads(recording.body)]
    return [json.loads(event.data) for event in SseDecoder().feed(recording.body)]


@parametrize("gemini")
def test_recordings_are_read_in_full(recording: Recording) -> None:
    chunks = _chunks(recording)
    response = _read(recording.body) if recording.stream else fold(CODEC.parse_response(recording.body))
    parts = [p for c in chunks for d in c.get("candidates", []) for p in (d.get("content") or {}).get("parts", [])]
    (choice,) = response.choices
    texts = "".join(p.text for p in choice.parts if isinstance(p, TextPart))
    thoughts = "".join(p.text for p in choice.parts if isinstance(p, ReasoningPart))
    assert texts == "".join(p["text"] for p in parts if "text" in p and not p.get("thought"))
    assert thoughts == "".join(p["text"] for p in parts if p.get("thought"))
    calls = [p for p in choice.parts if isinstance(p, ToolCallPart)]
    told = [p["functionCall"] for p in parts if "functionCall" in p]
    assert [(p.name, json.loads(p.arguments)) for p in calls] == [(c["name"], c["args"]) for c in told]
    assert all(p.id == c.get("id", p.id) and p.id for p, c in zip(calls, told, strict=True))
    kept = json.dumps([p.state.fields for p in choice.parts if p.state])
    assert all(p["thoughtSignature"] in kept for p in parts if "thoughtSignature" in p)
    usage: dict[str, Any] = {}
    for chunk in chunks:
        usage |= chunk.get("usageMetadata", {})
    assert response.usage is not None
    assert response.usage.raw == usage
    if "promptTokenCount" in usage:
        assert response.usage.input_total == usage["promptTokenCount"] + usage.get("toolUsePromptTokenCount", 0)
        assert response.usage.reasoning == usage.get("thoughtsTokenCount")


@parametrize("gemini", stream=True)
def test_recordings_give_the_same_events_byte_by_byte_and_as_an_array(recording: Recording) -> None:
    whole, bytewise, array = CODEC.parser(), CODEC.parser(), CODEC.parser()
    events = whole.feed(recording.body) + whole.close()
    assert [e for byte in recording.body for e in bytewise.feed(bytes([byte]))] + bytewise.close() == events
    body = json.dumps(_chunks(recording), indent=1).encode()
    found = [e for at in range(0, len(body), 7) for e in array.feed(body[at : at + 7])] + array.close()
    assert found == events


def test_the_turns_of_a_call_are_read_whatever_chunk_they_come_in() -> None:
    call = {"functionCall": {"name": "f", "args": {"q": "é"}}, "thoughtSignature": "CsgC"}
    response = _read(
        _stream(
            _chunk({"text": "hm", "thought": True}),
            _chunk(call, {"functionCall": {"name": "f"}}),
            _chunk({"functionCall": {"name": "f"}}),
            _chunk({"text": ""}, finish="STOP", usageMetadata={"promptTokenCount": 9, "cachedContentTokenCount": 4}),
        )
    )
    thought, *calls = response.choices[0].parts
    assert thought == ReasoningPart(text="hm", summary=True)
    assert [part.arguments for part in calls if isinstance(part, ToolCallPart)] == ['{"q":"é"}', "{}", "{}"]
    assert len({part.id for part in calls if isinstance(part, ToolCallPart)}) == 3
    assert calls[0].state == ProviderState(Dialect.GEMINI, {"thoughtSignature": "CsgC"})
    assert response.choices[0].finish == Finish("tool_calls", "STOP")
    assert response.usage is not None
    assert (response.usage.input, response.usage.cache_read) == (5, 4)


def test_synthesised_ids_differ_between_answers() -> None:
    call = {"functionCall": {"name": "f"}}
    first = fold(CODEC.parse_response(json.dumps(_chunk(call, finish="STOP", responseId="1")).encode()))
    again = fold(CODEC.parse_response(json.dumps(_chunk(call, finish="STOP", responseId="1")).encode()))
    other = fold(CODEC.parse_response(json.dumps(_chunk(call, finish="STOP", responseId="2")).encode()))
    assert first == again
    assert first.choices[0].parts[0].id != other.choices[0].parts[0].id  # type: ignore[union-attr]  # a call


def test_old_models_say_stop_on_every_chunk() -> None:
    response = _read(_stream(_chunk({"text": "a"}, finish="STOP"), _chunk({"text": "b"}, finish="STOP")))
    assert response.choices[0] == Choice(parts=(TextPart(text="ab"),), finish=Finish("stop", "STOP"))


def test_signatures_stay_with_their_text() -> None:
    response = _read(
        _stream(
            _chunk({"text": "a"}), _chunk({"text": "", "thoughtSignature": "S1"}), _chunk({"text": "b"}, finish="STOP")
        )
    )
    signed, plain = response.choices[0].parts
    assert signed == TextPart(text="a", state=ProviderState(Dialect.GEMINI, {"thoughtSignature": "S1"}))
    assert plain == TextPart(text="b")


def test_media_and_hidden_steps_in_answers() -> None:
    parts = (
        {"executableCode": {"code": "1+1"}}, {"inlineData": {"mimeType": "image/png", "data": "iVBO"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}},
    )  # fmt: skip
    hidden, image, audio = (
        fold(CODEC.parse_response(json.dumps(_chunk(*parts, finish="STOP")).encode())).choices[0].parts
    )
    assert hidden == ReasoningPart(
        redacted=True, state=ProviderState(Dialect.GEMINI, {"part": {"executableCode": {"code": "1+1"}}})
    )
    assert (image, audio) == (ImagePart(data="iVBO", media_type="image/png"), AudioPart(data="UklG", format="wav"))


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", "stop"), ("MAX_TOKENS", "length"), ("CONTINUATION", "length"), ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"), ("MODEL_ARMOR", "content_filter"), ("OTHER", "other"), ("NEW", "other"),
    ],
)  # fmt: skip
def test_finish_reasons(reason: str, expected: str) -> None:
    assert _read(_stream(_chunk({"text": "a"}, finish=reason))).choices[0].finish == Finish(expected, reason)  # type: ignore[arg-type]  # from a table


def test_truncation_beats_calls() -> None:
    assert (
        _read(_stream(_chunk({"functionCall": {"name": "f"}}, finish="MAX_TOKENS"))).choices[0].finish.unified
        == "length"
    )


def test_a_blocked_prompt_is_filtered_content() -> None:
    response = fold(CODEC.parse_response(b'{"promptFeedback":{"blockReason":"SAFETY"}}'))
    assert response.choices == (Choice(parts=(), finish=Finish("content_filter", "SAFETY")),)
    assert json.loads(CODEC.render_response(response, _REQUEST))["promptFeedback"] == {"blockReason": "SAFETY"}


def test_grounding_becomes_citations_counted_in_characters() -> None:
    grounding = {
        "groundingChunks": [{"web": {"uri": "https://e.x", "title": "E"}}],
        "groundingSupports": [{"segment": {"startIndex": 3, "endIndex": 5}, "groundingChunkIndices": [0]}],
    }
    body = _chunk({"text": "é ok", "thoughtSignature": "S"}, finish="STOP", candidate={"groundingMetadata": grounding})
    response = fold(CODEC.parse_response(json.dumps(body).encode()))
    (text,) = response.choices[0].parts
    assert isinstance(text, TextPart)
    assert text.annotations == (
        {
            "type": "url_citation",
            "url_citation": {"url": "https://e.x", "title": "E", "start_index": 2, "end_index": 4},
        },
    )
    assert response.extra["gemini"]["groundingMetadata"] == grounding


def test_log_probabilities() -> None:
    told = {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5}],
        "topCandidates": [{"candidates": [{"token": "a", "logProbability": -0.5}]}],
    }
    body = json.dumps(_chunk({"text": "a"}, finish="STOP", candidate={"logprobsResult": told})).encode()
    response = fold(CODEC.parse_response(body))
    token = {"token": "a", "logprob": -0.5, "bytes": None}
    assert response.choices[0].logprobs == ({**token, "top_logprobs": [token]},)
    assert json.loads(CODEC.render_response(response, _REQUEST))["candidates"][0]["logprobsResult"] == told


def test_several_candidates() -> None:
    body = {
        "candidates": [{"index": n, "content": {"parts": [{"text": str(n)}]}, "finishReason": "STOP"} for n in (0, 1)]
    }
    response = fold(CODEC.parse_response(json.dumps(body).encode()))
    assert [choice.parts[0].text for choice in response.choices] == ["0", "1"]  # type: ignore[union-attr]  # text parts


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 503, "message": "The model is overloaded", "status": "UNAVAILABLE"}, ErrorKind.UNAVAILABLE),
        ({"code": 429, "message": "slow", "status": "RESOURCE_EXHAUSTED"}, ErrorKind.RATE_LIMITED),
        (
            {
                "code": 400, "status": "INVALID_ARGUMENT",
                "message": "The input token count (9) exceeds the maximum number of tokens allowed (8).",
            },
            ErrorKind.CONTEXT_TOO_LONG,
        ),
    ],
)  # fmt: skip
def test_errors_inside_an_answer(error: dict[str, Any], kind: ErrorKind) -> None:
    told = json.dumps([{"error": error}]).encode()
    for fail in (
        lambda: CODEC.parse_response(told),
        lambda: _read(told),
        lambda: _read(_stream(_chunk({"text": "a"}), {"error": error})),
    ):
        with pytest.raises(AttemptFailed) as caught:
            fail()
        assert caught.value.failure.kind is kind
        assert error["message"] in caught.value.failure.message


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", ErrorKind.BAD_RESPONSE),
        (b"[]", ErrorKind.BAD_RESPONSE),
        (b"<html>", ErrorKind.BAD_RESPONSE),
        (b"data: nonsense\n\n", ErrorKind.BAD_RESPONSE),
        (_stream({"usageMetadata": {"promptTokenCount": 3}}), ErrorKind.TRUNCATED),
        (_stream(_chunk({"text": "a"})), ErrorKind.TRUNCATED),
        (_stream(_chunk({"text": "a"}), _chunk({"text": "b"}, finish="STOP"))[:-30], ErrorKind.TRUNCATED),
        (b"[" + json.dumps(_chunk({"text": "a"})).encode() + b',\r\n{"candid', ErrorKind.TRUNCATED),
        (_stream(_chunk({"text": "a"}, finish="MALFORMED_FUNCTION_CALL")), ErrorKind.BAD_RESPONSE),
    ],
)
def test_streams_that_are_no_answer(body: bytes, kind: ErrorKind) -> None:
    with pytest.raises(AttemptFailed) as caught:
        _read(body)
    assert caught.value.failure.kind is kind


@given(st.binary(max_size=60) | json_values(2).map(lambda value: json.dumps(value).encode()), st.booleans())
@settings(max_examples=80, deadline=None)
def test_nonsense_never_crashes(body: bytes, framed: bool) -> None:
    for read in (CODEC.parse_response, _read, CODEC.parse_request):
        with contextlib.suppress(AttemptFailed, PolyrouteError):
            read(b"data: " + body + b"\n\n" if framed and read is _read else body)


_PARTS = st.dictionaries(
    st.sampled_from(["text", "thought", "thoughtSignature", "functionCall", "inlineData", "fileData", "toolCall"]),
    json_values(1) | st.fixed_dictionaries({"name": json_values(0), "args": json_values(1)}),
    max_size=3,
)
_CANDIDATES = st.dictionaries(
    st.sampled_from(["index", "finishReason", "groundingMetadata", "logprobsResult", "citationMetadata"]),
    json_values(1) | st.sampled_from(["STOP"]),
    max_size=3,
)


@given(st.lists(st.tuples(st.lists(_PARTS, max_size=3), _CANDIDATES), max_size=3), st.booleans())
@settings(max_examples=100, deadline=None)
def test_odd_chunks_never_crash(drawn: list[tuple[list[dict[str, Any]], dict[str, Any]]], valid: bool) -> None:
    chunks = [_chunk(*parts, candidate=more if not valid else {}) for parts, more in drawn]
    try:
        response = _read(_stream(*chunks, _chunk(finish="STOP")))
    except AttemptFailed:
        return
    assert CODEC.render_response(response, _REQUEST)


# ---------------------------------------------------------------- rendering


_EVENTS = (
    Started(id="x", model="y"),
    PartStarted(index=0, part=ReasoningPart()), PartDelta(index=0, text="hm"), PartEnded(index=0),
    PartStarted(index=1, part=TextPart(text="")), PartDelta(index=1, text="Hi"),
    PartStarted(index=2, part=ToolCallPart(id="c", name="f")), PartDelta(index=2, text='{"a"'), PartDelta(index=2, text=":1}"),
    PartEnded(index=2), Finished(finish=Finish("tool_calls")), Measured(usage=Usage(input=3, output=4, reasoning=5)),
)  # fmt: skip


def test_a_stream_is_what_the_sdk_reads() -> None:
    renderer = CODEC.renderer(_REQUEST, "r1", 0)
    body = b"".join(renderer.feed(event) for event in _EVENTS) + renderer.close()
    chunks = [json.loads(event.data) for event in SseDecoder().feed(body)]
    answers = [sdk.GenerateContentResponse.model_validate(chunk) for chunk in chunks]
    parts = [p for a in answers for c in a.candidates or () for p in (c.content and c.content.parts) or ()]
    assert [(p.text, p.thought) for p in parts[:2]] == [("hm", True), ("Hi", None)]
    assert parts[2].function_call == sdk.FunctionCall(id="c", name="f", args={"a": 1})
    assert (answers[-1].candidates or [sdk.Candidate()])[0].finish_reason == sdk.FinishReason.STOP
    usage = answers[-1].usage_metadata
    assert usage is not None
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count) == (3, 4, 5)
    assert usage.total_token_count == 12
    assert {a.response_id for a in answers} == {"r1"}


def test_an_error_ends_a_stream() -> None:
    error = PolyrouteError(ErrorKind.UNAVAILABLE, "gone")
    (event,) = SseDecoder().feed(CODEC.renderer(_REQUEST, "r1", 0).error(error))
    told = json.loads(event.data)["error"]
    assert (told["status"], told["message"]) == ("UNAVAILABLE", "gone")


def test_arguments_that_are_no_object_are_wrapped() -> None:
    call = ToolCallPart(id="c", name="f", arguments='{"a": ')
    response = ChatResponse(id="x", model="m", choices=(Choice(parts=(call,), finish=Finish("length")),))
    answer = sdk.GenerateContentResponse.model_validate_json(CODEC.render_response(response, _REQUEST))
    assert answer.function_calls
    assert answer.function_calls[0].args == {"_raw": '{"a": '}
    assert (answer.candidates or [sdk.Candidate()])[0].finish_reason == sdk.FinishReason.MAX_TOKENS


def test_state_of_other_dialects_travels_in_thought_signatures_through_the_sdk() -> None:
    state = ProviderState(Dialect.OPENAI_RESPONSES, {"encrypted_content": "g>>??"})
    parts = (
        ReasoningPart(text="hm", summary=True, state=state),
        ToolCallPart(id="c", name="f", arguments="{}", state=state),
    )
    response = ChatResponse(id="x", model="m", choices=(Choice(parts=parts, finish=Finish("tool_calls")),))
    answer = sdk.GenerateContentResponse.model_validate_json(CODEC.render_response(response, _REQUEST))
    content = (answer.candidates or [sdk.Candidate()])[0].content
    assert content is not None
    replayed = json.loads(content.model_dump_json(by_alias=True, exclude_none=True))
    body = {"model": "m", "contents": [{"parts": [{"text": "hi"}]}, replayed]}
    assert CODEC.parse_request(json.dumps(body).encode()).messages[1].parts == parts


def test_thoughts_are_left_out_for_callers_who_said_so() -> None:
    request = ChatRequest(model="m", messages=(), reasoning=Reasoning(effort="low", summary="omitted"))
    renderer = CODEC.renderer(request, "r1", 0)
    assert b"hm" not in b"".join(renderer.feed(event) for event in _EVENTS) + renderer.close()


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_every_error_has_the_apis_shape(kind: ErrorKind) -> None:
    error = PolyrouteError(kind, "went wrong", retry_after=7, param="contents", request_id="req_1")
    told = json.loads(CODEC.render_error(error))["error"]
    assert (told["code"], told["message"]) == (error.status, "went wrong")
    assert told["status"].isupper()
    assert told["details"][0]["metadata"] == {"request_id": "req_1", "param": "contents"}
    assert told["details"][1]["retryDelay"] == "7s"
