"""Hypothesis strategies for canonical chat values. Each dialect's tests choose what that dialect can express by keyword."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import strategies as st

from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    ChatRequest,
    ChatResponse,
    Choice,
    FilePart,
    Finish,
    FinishKind,
    ImagePart,
    Message,
    OutputFormat,
    ReasoningPart,
    RefusalPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)
from polyroute.types.usage import Usage

_PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n0").decode()


def texts(min_size: int = 1, max_size: int = 20) -> st.SearchStrategy[str]:
    """Any text that JSON in UTF-8 can hold: line separators, emoji, quotes, tags."""
    odd = st.sampled_from(["\u2028", "\x85", "é", "🙂", '"', "\\", "\n", "\r\n", "data: ", "</think>", "\x00", "plain"])
    plain = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
    return st.lists(odd | plain, min_size=min_size, max_size=3).map(lambda pieces: "".join(pieces)[:max_size])


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def names() -> st.SearchStrategy[str]:
    """Names of tools and functions."""
    rest = st.text(_LETTERS + "0123456789_-", max_size=8)
    return st.builds(str.__add__, st.sampled_from(_LETTERS), rest)


def call_ids() -> st.SearchStrategy[str]:
    """Ids of tool calls that every dialect accepts."""
    return st.text(_LETTERS, min_size=6, max_size=12).map("call_".__add__)


def json_values(depth: int = 2) -> st.SearchStrategy[Any]:
    """Any JSON; numbers are integers of 53 bits or halves, so that they survive every parser."""
    number = st.integers(-(2**53), 2**53) | st.integers(-1000, 1000).map(lambda value: value / 2)
    leaf = st.none() | st.booleans() | number | texts(0)
    if depth == 0:
        return leaf
    inner = json_values(depth - 1)
    return leaf | st.lists(inner, max_size=3) | st.dictionaries(texts(), inner, max_size=3)


def json_objects() -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects, as tool arguments are."""
    return st.dictionaries(texts(), json_values(1), max_size=3)


def arguments() -> st.SearchStrategy[str]:
    """Tool arguments as compact JSON text."""
    return json_objects().map(lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def schemas() -> st.SearchStrategy[dict[str, Any]]:
    """JSON Schemas of objects."""
    kinds = st.sampled_from([{"type": "string"}, {"type": "integer"}, {"type": "array", "items": {"type": "number"}}])
    return st.dictionaries(names(), kinds, max_size=3).map(
        lambda properties: {
            "type": "object",
            "properties": properties,
            "required": sorted(properties),
            "additionalProperties": False,
        }
    )


@st.composite
def tools(draw: st.DrawFn, *, strict: st.SearchStrategy[bool | None] | None = None, parameters: bool = False) -> Tool:
    """A function; `parameters` makes its schema always there."""
    shape = schemas() if parameters else st.none() | schemas()
    return Tool(
        name=draw(names()),
        description=draw(st.none() | texts()),
        parameters=draw(shape),
        strict=draw(strict if strict is not None else st.none() | st.booleans()),
    )


def image_parts(*, detail: bool = True) -> st.SearchStrategy[ImagePart]:
    """Images by URL and by data."""
    details = st.sampled_from([None, "auto", "low", "high"]) if detail else st.none()
    by_url = st.builds(ImagePart, url=st.just("https://example.com/cat.png"), detail=details)
    by_data = st.builds(ImagePart, data=st.just(_PNG), media_type=st.just("image/png"), detail=details)
    return by_url | by_data


def audio_parts() -> st.SearchStrategy[AudioPart]:
    """Spoken input."""
    data = st.binary(min_size=3, max_size=12).map(lambda raw: base64.b64encode(raw).decode())
    return st.builds(AudioPart, data=data, format=st.sampled_from(["wav", "mp3"]))


def file_parts() -> st.SearchStrategy[FilePart]:
    """Documents by data."""
    data = st.binary(min_size=3, max_size=12).map(lambda raw: base64.b64encode(raw).decode())
    return st.builds(
        FilePart, data=data, media_type=st.just("application/pdf"), filename=st.sampled_from(["a.pdf", "brief.pdf"])
    )


def text_parts(min_size: int = 1) -> st.SearchStrategy[TextPart]:
    """Plain text."""
    return texts(min_size).map(lambda text: TextPart(text=text))


@st.composite
def conversations(
    draw: st.DrawFn,
    *,
    user_parts: st.SearchStrategy[AnyPart] | None = None,
    assistant_reasoning: st.SearchStrategy[ReasoningPart] | None = None,
    result_parts: st.SearchStrategy[Any] | None = None,
    calls: bool = True,
    system: bool = True,
    several_texts: bool = True,
    custom_calls: bool = False,
    is_error: bool = False,
    max_turns: int = 3,
) -> tuple[Message, ...]:
    """A conversation that every API accepts: system, then user and assistant in turn, each call answered right after it.
    It ends with a user or tool turn."""
    most = 3 if several_texts else 1
    messages: list[Message] = []
    if system and draw(st.booleans()):
        messages.append(Message(role="system", parts=(draw(text_parts()),)))
    asked = st.lists(text_parts() if user_parts is None else user_parts, min_size=1, max_size=most)
    messages.append(Message(role="user", parts=tuple(draw(asked))))
    used: set[str] = set()
    for _ in range(draw(st.integers(0, max_turns))):
        parts: list[AnyPart] = []
        if assistant_reasoning is not None and draw(st.booleans()):
            parts.append(draw(assistant_reasoning))
        made = _calls(draw, used, custom_calls) if calls and draw(st.booleans()) else []
        if not made or draw(st.booleans()):
            parts.append(draw(text_parts()))
        messages.append(Message(role="assistant", parts=(*parts, *made)))
        if made:
            results = tuple(
                ToolResultPart(
                    call_id=call.id,
                    content=tuple(
                        draw(
                            st.lists(text_parts() if result_parts is None else result_parts, min_size=1, max_size=most)
                        )
                    ),
                    is_error=is_error and draw(st.booleans()),
                )
                for call in made
            )
            messages.append(Message(role="tool", parts=results))
        else:
            messages.append(Message(role="user", parts=tuple(draw(asked))))
    return tuple(messages)


def _calls(draw: st.DrawFn, used: set[str], custom: bool) -> list[ToolCallPart]:
    found = []
    for call_id in draw(st.lists(call_ids(), min_size=1, max_size=3, unique=True)):
        if call_id in used:
            continue
        used.add(call_id)
        free = custom and draw(st.booleans())
        found.append(
            ToolCallPart(id=call_id, name=draw(names()), arguments=draw(texts() if free else arguments()), custom=free)
        )
    return found


def tool_choices(available: list[Tool]) -> st.SearchStrategy[ToolChoice | None]:
    """A choice that the tools allow; none without tools."""
    if not available:
        return st.none()
    modes = [ToolChoice(mode="auto"), ToolChoice(mode="none"), ToolChoice(mode="required")]
    modes += [ToolChoice(mode="tool", names=(tool.name,)) for tool in available]
    return st.none() | st.sampled_from(modes)


def output_formats() -> st.SearchStrategy[OutputFormat]:
    """Structured output."""
    schema = st.builds(
        OutputFormat, kind=st.just("json_schema"), name=names(), schema=schemas(), strict=st.none() | st.booleans(),
        description=st.none() | texts(),
    )  # fmt: skip
    return st.just(OutputFormat(kind="json_object")) | schema


@st.composite
def chat_requests(
    draw: st.DrawFn,
    *,
    conversation: st.SearchStrategy[tuple[Message, ...]] | None = None,
    tool: st.SearchStrategy[Tool] | None = None,
    fields: dict[str, st.SearchStrategy[Any]] | None = None,
) -> ChatRequest:
    """A request with a conversation, perhaps tools and a choice among them, and what `fields` draws for other fields."""
    available = draw(st.lists(tools() if tool is None else tool, max_size=3, unique_by=lambda found: found.name))
    drawn = {name: draw(strategy) for name, strategy in (fields or {}).items()}
    return ChatRequest(
        model="m",
        messages=draw(conversations() if conversation is None else conversation),
        tools=tuple(available),
        tool_choice=draw(tool_choices(available)),
        **drawn,
    )


def usages(*, audio: bool = True, write_1h: bool = False) -> st.SearchStrategy[Usage]:
    """Usage without a raw record."""
    count = st.integers(0, 10_000)
    return st.builds(
        Usage,
        input=count,
        cache_read=count,
        cache_write_5m=count,
        cache_write_1h=count if write_1h else st.none(),
        output=count,
        reasoning=count,
        audio_input=count if audio else st.none(),
        audio_output=count if audio else st.none(),
    )


@st.composite
def chat_responses(
    draw: st.DrawFn,
    *,
    finishes: dict[FinishKind, str],
    reasoning: st.SearchStrategy[ReasoningPart] | None = None,
    usage: st.SearchStrategy[Usage | None] | None = None,
    refusals: bool = True,
) -> ChatResponse:
    """An answer: perhaps reasoning, then text or a refusal, then calls. `finishes` maps our finish words to the dialect's;
    with calls the finish is `tool_calls`."""
    parts: list[AnyPart] = []
    if reasoning is not None and draw(st.booleans()):
        parts.append(draw(reasoning))
    made = _calls(draw, set(), custom=False) if draw(st.booleans()) else []
    if not made or draw(st.booleans()):
        refused = refusals and not made and draw(st.integers(0, 5)) == 0
        parts.append(RefusalPart(text=draw(texts())) if refused else draw(text_parts()))
    unified: FinishKind = "tool_calls" if made else draw(st.sampled_from([k for k in finishes if k != "tool_calls"]))
    return ChatResponse(
        id="id_" + draw(st.text(_LETTERS, min_size=4, max_size=8)),
        model="m",
        created=draw(st.integers(1, 2**31)),
        choices=(Choice(parts=(*parts, *made), finish=Finish(unified, finishes[unified])),),
        usage=draw(usage if usage is not None else st.none()),
    )
