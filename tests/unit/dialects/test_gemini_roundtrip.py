"""What Gemini's API can express survives it: requests, whole answers and streams in both framings, generated."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.dialects.fold import fold, unfold
from polyroute.dialects.gemini import CODEC, parse_gemini_request
from polyroute.dialects.gemini.framing import ArrayDecoder
from polyroute.dialects.sse import SseDecoder
from polyroute.types.chat import (
    ChatRequest,
    ChatResponse,
    ImagePart,
    Message,
    ModelProfile,
    OutputFormat,
    ProviderState,
    Reasoning,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from polyroute.types.operations import Dialect
from support import strategies as canonical

_G = Dialect.GEMINI
_SIGNATURES = st.from_regex(r"CsgC[A-Za-z0-9]{4}", fullmatch=True)
_THOUGHTS = st.builds(
    lambda text, signature: ReasoningPart(
        text=text, summary=True, state=signature and ProviderState(_G, {"thoughtSignature": signature})
    ),
    canonical.texts(),
    st.none() | _SIGNATURES,
) | _SIGNATURES.map(
    lambda signature: ReasoningPart(
        redacted=True, state=ProviderState(_G, {"part": {"toolCall": {"id": "1"}, "thoughtSignature": signature}})
    )
)
_IMAGES = st.sampled_from(
    [
        ImagePart(data="iVBORw0KGgo=", media_type="image/png"),
        ImagePart(file_id="gs://bucket/cat.webp", media_type="image/webp"),
        ImagePart(file_id="https://generativelanguage.googleapis.com/v1beta/files/a", media_type="image/png"),
    ]
)
_FILES = canonical.file_parts().map(lambda part: msgspec.structs.replace(part, filename=None))
_USER = canonical.text_parts() | canonical.audio_parts() | _IMAGES | _FILES
_LEVELS = st.builds(
    Reasoning, effort=st.sampled_from(["minimal", "low", "high"]), summary=st.sampled_from(["auto", "omitted"])
)
_BUDGETS = st.one_of(
    st.builds(Reasoning, enabled=st.just(True), budget=st.integers(1, 24_576), summary=st.just("auto")),
    st.just(Reasoning(enabled=True, adaptive=True, summary="omitted")),
    st.just(Reasoning(enabled=False)),
)


def _named(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Every result names its tool, as this API's results do; the text of one result is one part."""
    names = {p.id: p.name for message in messages for p in message.parts if isinstance(p, ToolCallPart)}

    def named(part: Any) -> Any:
        if not isinstance(part, ToolResultPart):
            return part
        text = next((inner for inner in part.content if isinstance(inner, TextPart)), TextPart(text="t"))
        media = tuple(inner for inner in part.content if not isinstance(inner, TextPart))
        return msgspec.structs.replace(part, name=names[part.call_id], content=(text, *media))

    return tuple(msgspec.structs.replace(m, parts=tuple(named(part) for part in m.parts)) for m in messages)


def _signed(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The first call of a turn has a signature, as Gemini 3 gives it."""

    def signed(message: Message) -> Message:
        parts = list(message.parts)
        for at, part in enumerate(parts):
            if isinstance(part, ToolCallPart):
                parts[at] = msgspec.structs.replace(part, state=ProviderState(_G, {"thoughtSignature": "CsgCabcd"}))
                break
        return msgspec.structs.replace(message, parts=tuple(parts))

    return tuple(signed(message) for message in messages)


@st.composite
def _requests(draw: st.DrawFn) -> tuple[ChatRequest, str]:
    conversation = canonical.conversations(
        user_parts=_USER, result_parts=canonical.text_parts() | _IMAGES, assistant_reasoning=_THOUGHTS, is_error=True
    )
    number = st.none() | st.floats(0, 2)
    request = draw(
        canonical.chat_requests(
            conversation=conversation.map(_named).map(_signed),
            tool=canonical.tools(strict=st.none()),
            fields={
                "max_tokens": st.none() | st.integers(1, 9999),
                "temperature": number,
                "top_p": number,
                "top_k": st.none() | st.integers(1, 64),
                "seed": st.none() | st.integers(0, 99),
                "presence_penalty": number,
                "frequency_penalty": number,
                "stop": st.lists(canonical.texts(), max_size=5).map(tuple),
                "n": st.none() | st.integers(1, 4),
                "logprobs": st.none() | st.booleans(),
                "top_logprobs": st.none() | st.integers(0, 5),
                "service_tier": st.sampled_from([None, "flex", "standard"]),
                "output_format": st.none()
                | st.just(OutputFormat(kind="json_object"))
                | st.builds(OutputFormat, kind=st.just("json_schema"), schema=canonical.schemas()),
                "extra": st.sampled_from(
                    [
                        {},
                        {
                            _G.value: {
                                "cachedContent": "cachedContents/1",
                                "generationConfig": {"responseModalities": ["TEXT"]},
                            }
                        },
                    ]
                ),
                "stream": st.booleans(),
            },
        )
    )
    model, thinks = draw(
        st.tuples(st.just("gemini-3-flash-preview"), st.none() | _LEVELS)
        | st.tuples(st.just("gemini-2.5-flash"), st.none() | _BUDGETS)
    )
    if model == "gemini-2.5-flash":  # takes no pictures inside results
        messages = tuple(_without_media(message) for message in request.messages)
        request = msgspec.structs.replace(request, messages=messages)
    return msgspec.structs.replace(request, reasoning=thinks), model


def _without_media(message: Message) -> Message:
    parts = tuple(
        msgspec.structs.replace(part, content=part.content[:1]) if isinstance(part, ToolResultPart) else part
        for part in message.parts
    )
    return msgspec.structs.replace(message, parts=parts)


@given(_requests())
@settings(max_examples=80, deadline=None)
def test_a_request_survives_rendering_and_parsing(drawn: tuple[ChatRequest, str]) -> None:
    request, model = drawn
    rendered = CODEC.render_request(request, ModelProfile(provider="gemini", model=model))
    assert rendered.dropped == ()
    assert rendered.notes == ()
    assert rendered.body.keys().isdisjoint({"model", "stream"})
    assert parse_gemini_request(msgspec.json.encode(rendered.body), "models/m", request.stream) == request


_FINISHES = {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY", "tool_calls": "STOP"}


@st.composite
def _responses(draw: st.DrawFn) -> ChatResponse:
    response = draw(
        canonical.chat_responses(
            finishes=_FINISHES,  # type: ignore[arg-type]  # literals in a plain dict
            reasoning=_THOUGHTS,
            usage=canonical.usages().map(lambda usage: msgspec.structs.replace(usage, cache_write_5m=None)),
            refusals=False,
        )
    )
    return msgspec.structs.replace(response, created=None)


def _plain(response: ChatResponse) -> ChatResponse:
    usage = response.usage
    return msgspec.structs.replace(response, usage=usage and msgspec.structs.replace(usage, raw=None))


@given(_responses())
@settings(max_examples=60, deadline=None)
def test_a_whole_answer_survives_rendering_and_parsing(response: ChatResponse) -> None:
    body = CODEC.render_response(response, ChatRequest(model="m", messages=()))
    assert _plain(fold(CODEC.parse_response(body))) == response


@pytest.mark.parametrize("framing", ["events", "array"])
@given(response=_responses(), data=st.data())
@settings(max_examples=80, deadline=None)
def test_a_streamed_answer_survives_any_split(framing: str, response: ChatResponse, data: st.DataObject) -> None:
    request = ChatRequest(model="m", messages=())
    renderer = CODEC.renderer(request, response.id or "", 0)
    stream = b"".join(renderer.feed(event) for event in unfold(response)) + renderer.close()
    if framing == "array":
        stream = b"[%b]" % b",\r\n".join(event.data for event in SseDecoder().feed(stream))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser = CODEC.parser()
    events = [
        e for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True) for e in parser.feed(stream[start:end])
    ]
    events += parser.close()
    whole = CODEC.parser()
    assert events == whole.feed(stream) + whole.close()
    assert _plain(fold(events)) == response


@given(
    st.lists(st.dictionaries(canonical.texts(0), canonical.json_values(2), max_size=3), max_size=4), st.integers(1, 7)
)
@settings(max_examples=100, deadline=None)
def test_an_array_is_cut_into_its_objects(values: list[dict[str, Any]], step: int) -> None:
    stream = msgspec.json.format(msgspec.json.encode(values), indent=1)
    decoder = ArrayDecoder()
    found = [chunk for at in range(0, len(stream), step) for chunk in decoder.feed(stream[at : at + step])]
    assert [msgspec.json.decode(chunk) for chunk in found] == values
