"""What the Messages API can express survives it: requests, whole answers and streams, generated."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.dialects.anthropic_messages import CODEC
from polyroute.dialects.fold import fold, unfold
from polyroute.dialects.foreign_state import pack_state, unpack_state
from polyroute.types.chat import (
    CacheMark,
    ChatRequest,
    ChatResponse,
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
)
from polyroute.types.operations import Dialect
from support import strategies as canonical

_A = Dialect.ANTHROPIC_MESSAGES
_SIGNATURES = st.from_regex(r"EqQB[A-Za-z0-9]{4,8}", fullmatch=True)
_THOUGHTS = st.builds(
    lambda text, signature: ReasoningPart(text=text, state=ProviderState(_A, {"signature": signature})),
    canonical.texts(0),
    _SIGNATURES,
) | _SIGNATURES.map(lambda data: ReasoningPart(redacted=True, state=ProviderState(_A, {"data": data})))
_USER = canonical.text_parts() | canonical.image_parts(detail=False) | canonical.file_parts()
_THINKS = st.one_of(
    st.none(),
    st.builds(Reasoning, enabled=st.just(True), budget=st.integers(1024, 3000), summary=st.sampled_from([None, "auto"])),
    st.builds(
        Reasoning, enabled=st.just(True), adaptive=st.just(True), effort=st.sampled_from([None, "low", "max"]),
        summary=st.sampled_from([None, "auto", "omitted"]),
    ),
    st.just(Reasoning(enabled=False)),
)  # fmt: skip


def _spoken(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Text blocks must hold more than white space; the last assistant turn may not end in it."""

    def spoken(part: Any) -> Any:
        if isinstance(part, TextPart) and not part.text.strip():
            return msgspec.structs.replace(part, text="x" + part.text)
        if hasattr(part, "content"):
            return msgspec.structs.replace(part, content=tuple(spoken(inner) for inner in part.content))
        return part

    return tuple(
        msgspec.structs.replace(message, parts=tuple(spoken(part) for part in message.parts)) for message in messages
    )


@st.composite
def _requests(draw: st.DrawFn) -> tuple[ChatRequest, str]:
    reasoning = draw(_THINKS)
    conversation = canonical.conversations(
        user_parts=_USER, result_parts=_USER, assistant_reasoning=_THOUGHTS, is_error=True
    )
    request = draw(
        canonical.chat_requests(
            conversation=conversation.map(_spoken),
            tool=canonical.tools(parameters=True),
            fields={
                "max_tokens": st.integers(4000, 32_000),
                "stop": st.lists(canonical.names(), max_size=3).map(tuple),
                "user": st.none() | canonical.texts(),
                "service_tier": st.sampled_from([None, "auto", "standard_only"]),
                "output_format": st.none()
                | st.builds(OutputFormat, kind=st.just("json_schema"), schema=canonical.schemas()),
                "extra": st.sampled_from(
                    [{}, {_A.value: {"container": "c_1", "cache_control": {"type": "ephemeral"}}}]
                ),
                "stream": st.booleans(),
            },
        )
    )
    marked = draw(st.booleans())
    tools = request.tools or (Tool(name="t", parameters={"type": "object", "properties": {}}),)
    if marked:
        tools = (*tools[:-1], msgspec.structs.replace(tools[-1], cache=CacheMark("1h")))
    choice = request.tool_choice
    if choice is not None and choice.mode in ("required", "tool") and reasoning is not None:
        choice = ToolChoice(mode="auto")
    parallel = draw(st.sampled_from([None, True, False])) if choice is not None and choice.mode != "none" else None
    changes: dict[str, Any] = {"tools": tools, "tool_choice": choice, "parallel_tool_calls": parallel}
    model = "claude-opus-4-8"
    if reasoning is None or reasoning.enabled is False:
        model = "claude-sonnet-4-5"
        sampling = st.fixed_dictionaries({"temperature": st.floats(0, 1), "top_k": st.integers(0, 90)})
        changes |= draw(st.just({}) | sampling | st.fixed_dictionaries({"top_p": st.floats(0, 1)}))
    elif reasoning.budget is not None and not _loop_thinks(request.messages):
        reasoning = Reasoning(enabled=True, adaptive=True)
    return msgspec.structs.replace(request, reasoning=reasoning, **changes), model


def _loop_thinks(messages: tuple[Message, ...]) -> bool:
    return messages[-1].role != "tool" or isinstance(messages[-2].parts[0], ReasoningPart)


@given(_requests())
@settings(max_examples=80, deadline=None)
def test_a_request_survives_rendering_and_parsing(drawn: tuple[ChatRequest, str]) -> None:
    request, model = drawn
    rendered = CODEC.render_request(request, ModelProfile(provider="anthropic", model=model))
    assert rendered.dropped == ()
    assert rendered.notes == ()
    assert CODEC.parse_request(msgspec.json.encode(rendered.body)) == request


_FINISHES = {"stop": "end_turn", "length": "max_tokens", "content_filter": "refusal", "tool_calls": "tool_use"}


@st.composite
def _responses(draw: st.DrawFn) -> ChatResponse:
    response = draw(
        canonical.chat_responses(
            finishes=_FINISHES,  # type: ignore[arg-type]  # literals in a plain dict
            reasoning=_THOUGHTS,
            usage=canonical.usages(audio=False, write_1h=True),
            refusals=False,
        )
    )
    return msgspec.structs.replace(response, created=None, id=f"msg_{response.id}")


def _plain(response: ChatResponse) -> ChatResponse:
    usage = response.usage
    return msgspec.structs.replace(response, usage=usage and msgspec.structs.replace(usage, raw=None))


def _ask(response: ChatResponse) -> ChatRequest:
    return ChatRequest(model=response.model or "", messages=())


@given(_responses())
@settings(max_examples=60, deadline=None)
def test_a_whole_answer_survives_rendering_and_parsing(response: ChatResponse) -> None:
    body = CODEC.render_response(response, _ask(response))
    assert _plain(fold(CODEC.parse_response(body))) == response


@given(_responses(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_streamed_answer_survives_any_split(response: ChatResponse, data: st.DataObject) -> None:
    renderer = CODEC.renderer(_ask(response), response.id or "", 0)
    stream = b"".join(renderer.feed(event) for event in unfold(response)) + renderer.close()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser = CODEC.parser()
    events = [
        e for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True) for e in parser.feed(stream[start:end])
    ]
    events += parser.close()
    whole = CODEC.parser()
    assert events == whole.feed(stream) + whole.close()
    assert _plain(fold(events)) == response


@given(st.dictionaries(st.text(max_size=5), canonical.json_values(1), max_size=3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_packed_state_comes_back(fields: dict[str, Any], attached: bool) -> None:
    state = ProviderState(Dialect.OPENAI_RESPONSES, fields)
    packed = pack_state(state, attached=attached)
    for spelled in (packed, packed.replace("+", "-").replace("/", "_").rstrip("=")):
        found = unpack_state(spelled)
        assert found is not None
        assert (found.state, found.attached) == (state, attached)


def test_state_of_other_dialects_travels_in_signatures() -> None:
    thought = ReasoningPart(text="hm", state=ProviderState(Dialect.OPENAI_RESPONSES, {"encrypted_content": "gAAA"}))
    call = ToolCallPart(
        id="call_1", name="f", arguments="{}", state=ProviderState(Dialect.GEMINI, {"thoughtSignature": "CsgC"})
    )
    response = fold(
        CODEC.parse_response(json.dumps({"id": "msg_1", "content": [], "stop_reason": "end_turn"}).encode())
    )
    choice = msgspec.structs.replace(response.choices[0], parts=(thought, call))
    answer = msgspec.structs.replace(response, choices=(choice,))
    message = json.loads(CODEC.render_response(answer, ChatRequest(model="m", messages=())))
    turns = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": message["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "ok"}]},
    ]
    body = {"model": "m", "max_tokens": 9, "messages": turns}
    replayed = CODEC.parse_request(json.dumps(body).encode())
    assert replayed.messages[1].parts == (thought, call)
