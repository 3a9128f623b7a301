"""`contents` of a generateContent request → canonical messages."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Any

import msgspec

from polyroute.dialects.foreign_state import unpack_state
from polyroute.dialects.gemini.names import Fields, invalid
from polyroute.dialects.media_bytes import is_base64
from polyroute.dialects.media_types import audio_format, media_type_of_url
from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    FilePart,
    ImagePart,
    Message,
    ProviderState,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from polyroute.types.operations import Dialect

_G = Dialect.GEMINI
_OPAQUE = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
_BESIDE = ("videoMetadata", "mediaResolution", "partMetadata", "mediaProcessing")


def parse_contents(contents: list[Any]) -> list[Message]:
    """All turns. A user turn with function responses becomes a `tool` turn and, where there is more, a user turn.

    Calls without an id get one from their place, and the responses that follow are matched to them by name.
    """
    if not contents:
        raise invalid("* GenerateContentRequest.contents: contents is not specified\n", "contents")
    messages: list[Message] = []
    calls = _Calls()
    for number, content in enumerate(contents):
        fields = Fields(content, f"contents[{number}]")
        role = fields.typed("role", str) or "user"
        if role not in ("user", "model", "function"):
            raise invalid("Please use a valid role: user, model.", fields.path("role"))
        given = fields.items("parts")
        if not given:
            raise invalid(
                f"* GenerateContentRequest.contents[{number}].parts: contents.parts must not be empty.\n",
                fields.path("parts"),
            )
        parts = [
            parse_part(part, f"contents[{number}].parts[{at}]", calls, (number, at), model=role == "model")
            for at, part in enumerate(given)
        ]
        if role == "model":
            messages.append(Message(role="assistant", parts=tuple(parts)))
            continue
        results = tuple(part for part in parts if isinstance(part, ToolResultPart))
        rest = tuple(part for part in parts if not isinstance(part, ToolResultPart))
        if results:
            messages.append(Message(role="tool", parts=results))
        if rest:
            messages.append(Message(role="user", parts=rest))
    return messages


class _Calls:
    """The calls so far: which ids there are, and which calls wait for their response."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[str]] = defaultdict(deque)
        self.known: set[str] = set()

    def add(self, call_id: str, name: str) -> None:
        self.known.add(call_id)
        self._waiting[name].append(call_id)

    def answer(self, call_id: str | None, name: str) -> str | None:
        """The id of the call that a response answers."""
        waiting = self._waiting[name]
        if call_id is None:
            return waiting.popleft() if waiting else None
        if call_id in waiting:
            waiting.remove(call_id)
        return call_id if call_id in self.known else None


def parse_part(part: Any, place: str, calls: _Calls, at: tuple[int, int], *, model: bool) -> AnyPart:
    """One part of a turn."""
    fields = Fields(part, place)
    signature = fields.typed("thoughtSignature", str)
    beside = {name: value for name in _BESIDE if (value := fields.take(name)) is not None}
    thought = bool(fields.typed("thought", bool))
    text = fields.typed("text", str)
    if text is not None:
        return _text(text, signature, thought=thought)
    if (call := fields.take("functionCall")) is not None:
        return _call(Fields(call, f"{place}.function_call"), signature, calls, at)
    if (response := fields.take("functionResponse")) is not None:
        return _result(Fields(response, f"{place}.function_response"), calls)
    state = ProviderState(_G, beside) if beside else None
    if (data := fields.take("inlineData")) is not None:
        return _inline(Fields(data, f"{place}.inline_data"), state)
    if (data := fields.take("fileData")) is not None:
        return _file(Fields(data, f"{place}.file_data"), state)
    opaque = {name: value for name in _OPAQUE if (value := fields.take(name)) is not None}
    if opaque or signature:
        if signature:
            opaque["thoughtSignature"] = signature
        return ReasoningPart(redacted=True, state=ProviderState(_G, {"part": opaque}))
    if unknown := next(iter(fields.rest()), None):
        raise invalid(
            f"Invalid JSON payload received. Unknown name \"{unknown}\" at '{place}': Cannot find field.", place
        )
    raise invalid(
        f"* GenerateContentRequest.{place}.data: required oneof field 'data' must have one initialized field\n", place
    )


def state_of(signature: str | None) -> ProviderState | None:
    """What a `thoughtSignature` holds: Google's own, or another dialect's state that we packed."""
    if not signature:
        return None
    packed = unpack_state(signature)
    return ProviderState(_G, {"thoughtSignature": signature}) if packed is None else packed.state


def _text(text: str, signature: str | None, *, thought: bool) -> AnyPart:
    if thought:
        return ReasoningPart(text=text, summary=True, state=state_of(signature))
    if not text and signature:
        return ReasoningPart(
            redacted=True, state=ProviderState(_G, {"part": {"text": "", "thoughtSignature": signature}})
        )
    return TextPart(text=text, state=state_of(signature))


def _call(fields: Fields, signature: str | None, calls: _Calls, at: tuple[int, int]) -> ToolCallPart:
    name = fields.typed("name", str)
    if not name:
        raise invalid(f"* GenerateContentRequest.{fields.place}.name: Name cannot be empty.\n", fields.path("name"))
    call_id = fields.typed("id", str) or f"call_{at[0]}_{at[1]}"
    calls.add(call_id, name)
    arguments = fields.typed("args", dict) or {}
    return ToolCallPart(
        id=call_id, name=name, arguments=msgspec.json.encode(arguments).decode(), state=state_of(signature)
    )


def _result(fields: Fields, calls: _Calls) -> ToolResultPart:
    name = fields.typed("name", str)
    if not name:
        raise invalid(f"* GenerateContentRequest.{fields.place}.name: Name cannot be empty.\n", fields.path("name"))
    call_id = calls.answer(fields.typed("id", str), name)
    if call_id is None:
        raise invalid(
            "Please ensure that the number of function response parts is equal to the number of function call parts of the"
            f" function call turn. ({name} was not called)",
            fields.place,
        )
    response = fields.typed("response", dict) or {}
    content: list[TextPart | ImagePart | FilePart | AudioPart] = []
    state: ProviderState | None = None
    is_error = False
    match response:
        case {"output": str(text)} if len(response) == 1:
            content = [TextPart(text=text)] if text else []
        case {"error": str(text)} if len(response) == 1:
            content, is_error = [TextPart(text=text)] if text else [], True
        case {} if not response:
            pass
        case _:
            shown = response["output"] if response.keys() == {"output"} else response
            content = [TextPart(text=msgspec.json.encode(shown).decode())]
            state = ProviderState(_G, {"response": response})
            is_error = response.keys() == {"error"}
    for number, part in enumerate(fields.items("parts")):
        inner = parse_part(part, f"{fields.place}.parts[{number}]", calls, (0, 0), model=False)
        if isinstance(inner, TextPart | ImagePart | FilePart | AudioPart):
            content.append(inner)
    return ToolResultPart(call_id=call_id, name=name, content=tuple(content), is_error=is_error, state=state)


def _inline(fields: Fields, state: ProviderState | None) -> AnyPart:
    media_type = fields.typed("mimeType", str)
    if not media_type:
        raise invalid("Unsupported MIME type: ", fields.path("mimeType"))
    data = (fields.typed("data", str) or "").replace("-", "+").replace("_", "/")
    data += "=" * (-len(data) % 4)
    if not is_base64("".join(data.split())):
        raise invalid(
            f"Invalid value at '{fields.path('data')}' (TYPE_BYTES), Base64 decoding failed", fields.path("data")
        )
    if media_type.startswith("image/"):
        return ImagePart(data=data, media_type=media_type, state=state)
    if media_type.startswith("audio/"):
        return AudioPart(data=data, format=audio_format(media_type), state=state)
    return FilePart(data=data, media_type=media_type, filename=fields.typed("displayName", str), state=state)


def _file(fields: Fields, state: ProviderState | None) -> AnyPart:
    uri = fields.typed("fileUri", str)
    if not uri:
        raise invalid(f"* GenerateContentRequest.{fields.place}.file_uri: must not be empty\n", fields.path("fileUri"))
    media_type = fields.typed("mimeType", str)
    kind = media_type or media_type_of_url(uri) or ""
    stored = not uri.startswith(("https://", "http://")) or "googleapis.com/" in uri
    url, file_id = (None, uri) if stored else (uri, None)
    if kind.startswith("image/"):
        return ImagePart(media_type=media_type, url=url, file_id=file_id, state=state)
    if kind.startswith("audio/") and not stored:
        return AudioPart(url=uri, format=audio_format(kind), state=state)
    filename = fields.typed("displayName", str)
    return FilePart(media_type=media_type, filename=filename, url=url, file_id=file_id, state=state)
