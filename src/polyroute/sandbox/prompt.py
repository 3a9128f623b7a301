"""A request to a chat model in no dialect's words: what each dialect's reader makes, and what the answer depends on."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

Role = Literal["system", "user", "assistant", "tool"]


class Attachment(msgspec.Struct, frozen=True):
    """Something other than text in a message. `size` is in bytes, None when only an address or id was given."""

    kind: Literal["image", "audio", "file", "video"]
    media_type: str
    size: int | None
    address: str | None = None


class SeenCall(msgspec.Struct, frozen=True):
    """A tool call in the history."""

    id: str
    name: str


class SeenResult(msgspec.Struct, frozen=True):
    """A tool's result in the history; `name` is empty where the dialect names only the call."""

    id: str
    name: str
    text: str


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One message."""

    role: Role
    text: str = ""
    attachments: tuple[Attachment, ...] = ()
    calls: tuple[SeenCall, ...] = ()
    results: tuple[SeenResult, ...] = ()


class Tool(msgspec.Struct, frozen=True):
    """A tool on offer. `schema` is None for a free-form tool, whose input is a text."""

    name: str
    schema: Mapping[str, Any] | None


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the answer depends on. `forced` names the only tools that may be called; `limit` is in tokens;
    `cached` counts prompt tokens that the provider has in its cache, `cache_written` those that it puts there; with
    `instead` the answer is empty."""

    provider: str
    model: str
    digest: str
    turns: tuple[Turn, ...]
    tools: tuple[Tool, ...] = ()
    choice: Literal["auto", "none", "required"] = "auto"
    forced: tuple[str, ...] = ()
    parallel: bool = True
    schema: Mapping[str, Any] | None = None
    json_object: bool = False
    reasoning: bool = False
    stop: tuple[str, ...] = ()
    limit: int | None = None
    count: int = 1
    logprobs: int | None = None
    stream: bool = False
    cached: int = 0
    cache_written: int = 0
    instead: Literal["filtered", "silent"] | None = None

    @property
    def ask(self) -> Turn:
        """The last thing the user said, or an empty turn."""
        return next(
            (turn for turn in reversed(self.turns) if turn.role == "user" and not turn.results), Turn(role="user")
        )

    @property
    def prefill(self) -> str:
        """The beginning of the answer, when the conversation ends with the assistant's own words."""
        last = self.turns[-1] if self.turns else None
        return last.text if last is not None and last.role == "assistant" else ""


def tokens_of(text: str) -> int:
    """An estimate that is easy to check: four characters a token, rounded up."""
    return -(-len(text) // 4)


def turn_tokens(turn: Turn) -> int:
    """What one message costs: its text, 4 for its frame, 85 an image and 25 any other attachment."""
    extra = sum(85 if item.kind == "image" else 25 for item in turn.attachments)
    results = sum(tokens_of(result.text) + 4 for result in turn.results)
    return tokens_of(turn.text) + 4 + extra + results + 8 * len(turn.calls)


def prompt_tokens(prompt: Prompt) -> int:
    """What the whole prompt costs, tools included."""
    tools = sum(
        tokens_of(tool.name) + tokens_of(msgspec.json.encode(tool.schema or {}).decode()) for tool in prompt.tools
    )
    return sum(turn_tokens(turn) for turn in prompt.turns) + tools


def data_attachment(
    kind: Literal["image", "audio", "file", "video"], url: str, fallback_type: str
) -> Attachment | None:
    """An attachment given as a data URL or an address; None when the data URL is broken."""
    if not url.startswith("data:"):
        return Attachment(kind, fallback_type, None, url)
    head, comma, data = url[5:].partition(",")
    if not comma:
        return None
    media_type = head.split(";")[0] or fallback_type
    if not head.endswith(";base64"):
        return Attachment(kind, media_type, len(data))
    size = base64_size(data)
    return None if size is None else Attachment(kind, media_type, size)


def base64_size(data: str) -> int | None:
    """How many bytes the text stands for; None when it is not base64."""
    try:
        return len(base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError):
        return None
