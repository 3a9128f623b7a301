"""The simulated model: a prompt in, the same answer out every time, and plainly not a real model's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import takewhile
from typing import Literal

import msgspec

from polyroute.sandbox.prompt import Prompt, Tool, Turn, prompt_tokens, tokens_of
from polyroute.sandbox.schemas import value_for

Finish = Literal["stop", "stop_sequence", "length", "tool_calls", "content_filter"]

_LENGTH_WISH = re.compile(r"\b(\d{1,5}) (words?|tokens?)\b", re.IGNORECASE)
_TOOL_WISH = re.compile(
    r"\b(us(e|ing)|call(ing)?) (the|a|an|your|this|that|one of the|some) ?(\w+ )?(tools?|functions?)\b", re.IGNORECASE
)
_STEP_BY_STEP = re.compile(r"\b(step by step|one after the other)\b", re.IGNORECASE)
_LONGEST_ECHO = 80


class Call(msgspec.Struct, frozen=True):
    """A tool call of the answer. `arguments` is the whole value; `text` is it as JSON, cut off when the answer ran into
    its limit."""

    name: str
    arguments: dict[str, object]
    text: str
    number: int
    free_form: bool = False


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens, by our own estimate. `prompt` includes `cached` and `cache_written`; `output` includes `reasoning`."""

    prompt: int
    cached: int
    cache_written: int
    output: int
    reasoning: int

    @property
    def uncached(self) -> int:
        """Prompt tokens that were neither read from nor written to the cache."""
        return self.prompt - self.cached - self.cache_written


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulated model says, in no dialect's words. `stop_sequence` is the one that ended it."""

    reasoning: str
    text: str
    calls: tuple[Call, ...]
    finish: Finish
    stop_sequence: str | None
    usage: Usage


def pieces(text: str) -> Iterator[str]:
    """The text as a model would stream it: one token (four characters) at a time."""
    for start in range(0, len(text), 4):
        yield text[start : start + 4]


def compose(prompt: Prompt, choice: int = 0) -> Answer:
    """The answer to `prompt`; `choice` counts alternatives when several were asked for."""
    if prompt.instead is not None:
        usage = Usage(prompt=prompt_tokens(prompt), cached=0, cache_written=0, output=0, reasoning=0)
        reason: Finish = "content_filter" if prompt.instead == "filtered" else "stop"
        return Answer(reasoning="", text="", calls=(), finish=reason, stop_sequence=None, usage=usage)
    reasoning = _reasoning(prompt) if prompt.reasoning else ""
    tools = _wanted_tools(prompt)
    calls = tuple(_call(prompt, tool, number) for number, tool in enumerate(tools))
    text = _preamble(prompt) if calls else _text(prompt, choice)
    finish: Finish = "tool_calls" if calls else "stop"
    stop_sequence = None
    for mark in prompt.stop:
        if mark and mark in text:
            text, finish, stop_sequence, calls = text[: text.index(mark)], "stop_sequence", mark, ()
    if prompt.limit is not None:
        reasoning, text, calls, cut = _within(prompt.limit, reasoning, text, calls)
        if cut:
            finish, stop_sequence = "length", None
    thought = tokens_of(reasoning)
    output = thought + tokens_of(text) + sum(tokens_of(call.text) + 6 for call in calls)
    usage = Usage(
        prompt=prompt_tokens(prompt),
        cached=min(prompt.cached, prompt_tokens(prompt)),
        cache_written=min(prompt.cache_written, prompt_tokens(prompt)),
        output=max(1, output),
        reasoning=thought,
    )
    return Answer(reasoning=reasoning, text=text, calls=calls, finish=finish, stop_sequence=stop_sequence, usage=usage)


def _within(limit: int, reasoning: str, text: str, calls: tuple[Call, ...]) -> tuple[str, str, tuple[Call, ...], bool]:
    thought = reasoning[: 4 * max(0, limit)]
    left = limit - tokens_of(thought)
    said = text[: 4 * left]
    left -= tokens_of(said)
    kept: list[Call] = []
    for call in calls:
        if left <= 6:
            break
        cut = call.text[: 4 * (left - 6)]
        kept.append(msgspec.structs.replace(call, text=cut))
        left -= tokens_of(cut) + 6
    cut_short = (thought, said) != (reasoning, text) or tuple(kept) != calls
    return thought, said, tuple(kept), cut_short


def _mentioned(prompt: Prompt) -> tuple[Tool, ...]:
    """The tools that the last question asks for, in the order in which it names them."""
    text = prompt.ask.text.lower()
    found: list[tuple[int, Tool]] = []
    for tool in prompt.tools:
        name = tool.name.lower()
        for spelling in dict.fromkeys((name, name.replace("_", " ").replace("-", " "))):
            match = re.search(rf"(?<![\w-]){re.escape(spelling)}(?![\w-])", text)
            if match:
                found.append((match.start(), tool))
                break
    if found:
        return tuple(tool for _, tool in sorted(found, key=lambda item: item[0]))
    return prompt.tools[:1] if _TOOL_WISH.search(prompt.ask.text) else ()


def _since_ask(prompt: Prompt) -> list[Turn]:
    """The turns after the question, newest first."""
    return list(takewhile(lambda turn: turn.role != "user" or bool(turn.results), reversed(prompt.turns)))


def _wanted_tools(prompt: Prompt) -> tuple[Tool, ...]:
    """Which tools the answer calls: those that the question names and that were not called yet, all at once when
    parallel calls are allowed and the question does not say "step by step". A forced choice always gives a call."""
    if not prompt.tools or prompt.choice == "none" or prompt.prefill:
        return ()
    offered = tuple(tool for tool in prompt.tools if not prompt.forced or tool.name in prompt.forced)
    done = {call.name for turn in _since_ask(prompt) for call in turn.calls}
    wanted = tuple(tool for tool in _mentioned(prompt) if tool in offered and tool.name not in done)
    if prompt.choice == "required" and not wanted:
        wanted = tuple(tool for tool in offered if tool.name not in done)[:1] or offered[:1]
    at_once = prompt.parallel and _STEP_BY_STEP.search(prompt.ask.text) is None
    return wanted if at_once else wanted[:1]


def _call(prompt: Prompt, tool: Tool, number: int) -> Call:
    if tool.schema is None:
        text = f"simulated input for {tool.name}: {_short(prompt.ask.text)}"
        return Call(tool.name, {"input": text}, text, number, free_form=True)
    names = tuple(other.name for other in prompt.tools)
    results = [_words(result.text) for turn in _since_ask(prompt) for result in turn.results]
    value = value_for({"type": "object", **tool.schema}, "\n".join([*results, prompt.ask.text]), names)
    arguments = value if isinstance(value, dict) else {}
    return Call(tool.name, arguments, msgspec.json.encode(arguments).decode(), number)


def _words(result: str) -> str:
    """What a tool said, without the names of the fields in which it said so."""
    try:
        fields = msgspec.json.decode(result)
    except msgspec.DecodeError:
        return result
    return "\n".join(map(str, fields.values())) if isinstance(fields, dict) else result


def _reasoning(prompt: Prompt) -> str:
    subject = f'"{_short(prompt.ask.text)}"' if prompt.ask.text else "the attachments"
    return f"[simulated reasoning] The user asks about {subject}. I will say what I was sent and make nothing up."


def _preamble(prompt: Prompt) -> str:
    if "explain" not in prompt.ask.text.lower():
        return ""
    return f"[simulated {prompt.provider}/{prompt.model}] I will call a tool for this."


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST_ECHO else flat[: _LONGEST_ECHO - 1].rstrip() + "…"


def _text(prompt: Prompt, choice: int) -> str:
    if prompt.schema is not None:
        return msgspec.json.encode(value_for(prompt.schema, prompt.ask.text)).decode()
    if prompt.json_object:
        value = {"simulated": True, "provider": prompt.provider, "model": prompt.model, "echo": _short(prompt.ask.text)}
        return msgspec.json.encode(value).decode()
    if prompt.prefill:
        return f" … [simulated {prompt.provider}/{prompt.model}] this goes on from your last words."
    parts = [
        f"[simulated {prompt.provider}/{prompt.model}]",
        *_results(prompt),
        *_echo(prompt),
        *_attachments(prompt.ask),
    ]
    if choice:
        parts.append(f"This is choice {choice + 1}.")
    parts.append("No model has read this: the sandbox answered, and nothing was charged.")
    return _of_wished_length(" ".join(parts), prompt.ask.text)


def _results(prompt: Prompt) -> list[str]:
    names = {call.id: call.name for turn in prompt.turns for call in turn.calls}
    results = []
    for turn in reversed(prompt.turns):
        if turn.role == "assistant":
            break
        results.append(
            [f'{item.name or names.get(item.id) or "a tool"} said "{_short(item.text)}".' for item in turn.results]
        )
    return [text for group in reversed(results) for text in group]


def _echo(prompt: Prompt) -> list[str]:
    text = prompt.ask.text
    words = len(text.split())
    if not words:
        return []
    messages = len(prompt.turns)
    count = f"{words} word{'s' if words != 1 else ''}"
    history = f", message {messages} of this conversation" if messages > 1 else ""
    return [f'You said "{_short(text)}" ({count}{history}).']


def _attachments(turn: Turn) -> list[str]:
    said = []
    for item in turn.attachments:
        size = f"{item.size} bytes" if item.size is not None else f"at {item.address}"
        verb = "heard" if item.kind == "audio" else "saw"
        article = "an" if item.kind in ("image", "audio") else "a"
        said.append(f"I {verb} {article} {item.kind} ({item.media_type}, {size}).")
    return said


def _of_wished_length(text: str, wish: str) -> str:
    match = _LENGTH_WISH.search(wish)
    if match is None:
        return text
    wanted = int(match.group(1))
    if match.group(2).lower().startswith("token"):
        missing = wanted - tokens_of(text)
        return text + "".join(f" {number % 1000:03d}" for number in range(1, missing + 1))
    missing = wanted - len(text.split())
    return text + "".join(f" word{number}" for number in range(1, missing + 1))
