"""What an official SDK's user holds after one call, in no SDK's words, and what the callers of the matrix are asked for."""

from __future__ import annotations

import base64
from typing import Any, Protocol

import msgspec

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PIXEL_TEXT = base64.b64encode(PIXEL).decode()
PIXEL_URL = f"data:image/png;base64,{PIXEL_TEXT}"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
ARGUMENTS = {"city": "Berlin", "days": 3}
TOOLS = ("get_weather", "local_time")
"""Two tools with `SCHEMA` as parameters; the sandbox calls those that a prompt names, both at once."""
RESULTS = {"get_weather": "rain, 7 degrees", "local_time": "half past nine"}


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `image`: with `PIXEL` attached. `schema`: the answer shall be JSON after `SCHEMA`. `reasoning`: thinking
    is asked for and shall be shown."""

    model: str
    prompt: str
    stream: bool = False
    image: bool = False
    schema: bool = False
    reasoning: bool = False


class ToolUse(msgspec.Struct, frozen=True):
    """A call of a tool, its arguments decoded."""

    name: str
    arguments: Any
    id: str | None = None


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `finish` is `stop` or `tool_calls` whatever the dialect says for it; None where it has no word. `pieces`
    counts the parts of the text that came one by one."""

    text: str
    reasoning: str = ""
    calls: tuple[ToolUse, ...] = ()
    finish: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    pieces: int = 1


class Failed(msgspec.Struct, frozen=True):
    """An error as the SDK raised it: the class's name, the HTTP status where it knows one, the message."""

    raised: str
    status: int | None
    message: str


class Caller(Protocol):
    """One ingress dialect behind its own SDK."""

    def ask(self, question: Question) -> Told:
        """One answer."""

    def use_tools(self, question: Question) -> tuple[Told, Told]:
        """The answer that calls `TOOLS`, and the one after `RESULTS` were sent back."""

    def fail(self, question: Question) -> Failed:
        """The error that this call raises; an AssertionError when it does not."""

    def close(self) -> None:
        """Close the connections."""
