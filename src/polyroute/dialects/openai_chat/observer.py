"""The relay lane's eyes on chat completions: bytes pass through unchanged while the few facts that the engine needs are
read from them."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from polyroute.dialects.openai_chat.failures import failed, failed_inside
from polyroute.dialects.openai_chat.usage import observe_usage
from polyroute.dialects.openai_chat.wire import FINISH_KINDS, NOT_JSON, WireAnswer, WireMessage, decode_answer
from polyroute.dialects.service_tiers import with_tier
from polyroute.ports import Observation
from polyroute.types.errors import AttemptFailed, ErrorKind

_BOUNDARY = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2,}")
_LF, _CR = b"\n\r"  # as numbers: `in` is quick for those, and makes an exception on its way for bytes
_LINE = re.compile(rb"\r\n|\n|\r")
_EMPTY_IS_FINE = ("length", "content_filter")


class ChatObserver:
    """An AnswerReader for streams. Bytes leave in whole events, so that an event that is withheld (the usage chunk that the
    caller did not ask for) or that tells an error never leaves in part; the bytes themselves are not changed."""

    __slots__ = ("_began", "_body", "_pieces", "_tail", "_withhold_usage", "seen")

    def __init__(self, seen: Observation, withhold_usage: bool) -> None:
        self.seen = seen
        self._withhold_usage = withhold_usage
        self._pieces: list[bytes] = []
        self._tail = b""
        self._began = False
        self._body = False

    def feed(self, data: bytes) -> bytes:
        """Take upstream bytes, give the events that are complete."""
        if self._pieces:
            self._pieces.append(data)
            probe = self._tail + data
            if probe.find(b"\n\n") < 0 and (_CR not in probe or _BOUNDARY.search(probe) is None):
                self._tail = probe[-4:]
                return b""
            data = b"".join(self._pieces)
            self._pieces.clear()
        if not self._began and not self._begin(data):
            return b""
        if _CR in data:
            return self._feed_other_line_ends(data)
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            self._keep(data)
            return b""
        if end != len(data):
            self._keep(data[end:])
            data = data[:end]
        if data.find(b"\n\n") == end - 2:  # the usual case: one event
            return b"" if self._observe(data[:-2]) and self._withhold_usage else data
        if self._withhold_usage:
            return b"".join(block + b"\n\n" for block in data[:-2].split(b"\n\n") if not self._observe(block))
        for block in data[:-2].split(b"\n\n"):
            self._observe(block)
        return data

    def end(self) -> bytes:
        """The upstream body ended. Raises AttemptFailed (`truncated`, `bad_response`) when the answer did not."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        if self._body:
            return self._end_of_body(rest)
        if rest.strip():
            try:
                rest = b"" if self._observe(rest) and self._withhold_usage else rest
            except AttemptFailed as failure:
                if failure.failure.kind is ErrorKind.BAD_RESPONSE and self.seen.meaningful:
                    raise failed(ErrorKind.TRUNCATED, "the stream broke off inside an event", rest) from failure
                raise
        seen = self.seen
        if not seen.complete:
            if seen.meaningful or seen.model is not None or seen.upstream_id is not None:
                raise failed(ErrorKind.TRUNCATED, "the stream ended before its answer did", rest)
            raise failed(ErrorKind.BAD_RESPONSE, "empty answer: the stream held no event", rest)
        if not seen.meaningful and seen.finish not in _EMPTY_IS_FINE:
            raise failed(ErrorKind.BAD_RESPONSE, "empty answer: the stream finished without content")
        return rest

    def _begin(self, data: bytes) -> bool:
        """Looks at the first bytes that are no white space; False while there are none or the body is no event stream."""
        start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
        if start and not self._body:
            if start.startswith(b"<"):
                raise failed(ErrorKind.BAD_RESPONSE, "the provider answered with a page instead of a stream", data)
            self._body = start.startswith((b"{", b"["))
            self._began = not self._body
        if not self._began:
            self._keep(data)
        return self._began

    def _keep(self, data: bytes) -> None:
        self._pieces.append(data)
        self._tail = data[-4:]

    def _feed_other_line_ends(self, data: bytes) -> bytes:
        """As `feed`, for CRLF and CR. A CR at the end is kept: it may be half of a CRLF."""
        limit = len(data) - data.endswith(b"\r")
        start, passed = 0, []
        for match in _BOUNDARY.finditer(data, 0, limit):
            if not (self._observe(data[start : match.start()]) and self._withhold_usage):
                passed.append(data[start : match.end()])
            start = match.end()
        if start < len(data):
            self._keep(data[start:])
        return b"".join(passed)

    def _observe(self, block: bytes) -> bool:
        """Reads one event; True when it holds nothing but usage."""
        if block.startswith(b"data:") and _LF not in block and _CR not in block:
            data = block[5:]
        else:
            data = _event_data(block)
            if not data:
                return False
        seen = self.seen
        try:
            chunk = decode_answer(data)
        except msgspec.ValidationError:
            return self._observe_odd(data)
        except NOT_JSON as error:
            if not data.strip():
                return False
            raise failed(ErrorKind.BAD_RESPONSE, "the stream held an event that is not JSON", data) from error
        if chunk.error or chunk.object == "error":
            raise failed_inside(chunk.error or {"message": chunk.message, "code": chunk.code}, data)
        if seen.model is None:
            seen.model = chunk.model or None
            seen.upstream_id = seen.upstream_id or chunk.id or None
        if chunk.usage or chunk.x_groq or chunk.meta:
            note_usage(seen, chunk, data)
        if not chunk.choices:
            return bool(chunk.usage)
        for choice in chunk.choices:
            if choice.delta is not None and (length := _delivered(choice.delta)) is not None:
                seen.meaningful = True
                seen.characters += length
            if choice.finish_reason:
                note_finish(seen, choice.finish_reason, data)
        return False

    def _observe_odd(self, data: bytes) -> bool:
        """The terminator, or an event of JSON whose types are not the usual ones: only an error in it matters."""
        if data.strip() == b"[DONE]":
            self.seen.complete = self.seen.ended = True
            return False
        try:
            value = msgspec.json.decode(data)
        except NOT_JSON as error:
            raise failed(ErrorKind.BAD_RESPONSE, "the stream held an event that is not JSON", data) from error
        if isinstance(value, dict) and (value.get("error") or value.get("object") == "error"):
            raise failed_inside(value.get("error") or value, data)
        if isinstance(value, dict) and value.get("choices"):
            self.seen.meaningful = True
            if b'"finish_reason":null' not in data.replace(b" ", b"") and b'"finish_reason"' in data:
                self.seen.complete = True
        return False

    def _end_of_body(self, body: bytes) -> bytes:
        """A JSON body where a stream was due: an error, or an answer that is passed on as a stream of one chunk."""
        try:
            observed = observe_chat(body)
        except AttemptFailed as failure:
            if failure.failure.kind is ErrorKind.BAD_RESPONSE and self._pieces:
                raise failed(ErrorKind.TRUNCATED, "the answer broke off", body) from failure
            raise
        for name in Observation.__struct_fields__:
            setattr(self.seen, name, getattr(observed, name))
        chunk = msgspec.json.decode(body)
        chunk["object"] = "chat.completion.chunk"
        for choice in chunk["choices"]:
            choice["delta"] = choice.pop("message", None) or {}
            for index, call in enumerate(choice["delta"].get("tool_calls") or ()):
                call.setdefault("index", index)
        return b"data: %b\n\ndata: [DONE]\n\n" % msgspec.json.encode(chunk)


def observe_chat(body: bytes) -> Observation:
    """What a whole answer says. Raises AttemptFailed for an error object, a page, or an answer that holds nothing."""
    answer = read_whole(body)
    seen = Observation(model=answer.model or None, upstream_id=answer.id or None)
    if answer.usage or answer.x_groq or answer.meta:
        note_usage(seen, answer, body)
    for choice in answer.choices or ():
        if choice.message is not None and (length := _delivered(choice.message)) is not None:
            seen.meaningful = True
            seen.characters += length
        if choice.finish_reason:
            note_finish(seen, choice.finish_reason, body)
    if not seen.meaningful and seen.finish not in _EMPTY_IS_FINE:
        raise failed(ErrorKind.BAD_RESPONSE, "empty answer: no content in any choice", body)
    seen.complete = True
    return seen


def read_whole(body: bytes) -> WireAnswer:
    """A whole answer. Raises AttemptFailed when it is an error, a page, or no completion; white space before it is fine."""
    if not body.strip():
        raise failed(ErrorKind.BAD_RESPONSE, "empty answer: the body is empty")
    try:
        answer = decode_answer(body)
    except msgspec.ValidationError as error:
        told = error_in(body)
        if told is not None:
            raise failed_inside(told, body) from error
        raise failed(ErrorKind.BAD_RESPONSE, "the answer is no chat completion", body) from error
    except NOT_JSON as error:
        if body.lstrip().startswith(b"<"):
            raise failed(ErrorKind.BAD_RESPONSE, "the provider answered with a page instead of JSON", body) from error
        raise failed(ErrorKind.BAD_RESPONSE, "the answer is not JSON", body) from error
    if answer.error or answer.object == "error":
        raise failed_inside(answer.error or {"message": answer.message, "code": answer.code}, body)
    if not answer.choices:
        if answer.message is not None:
            raise failed_inside({"message": answer.message, "code": answer.code}, body)
        raise failed(ErrorKind.BAD_RESPONSE, "empty answer: no choices", body)
    return answer


def error_in(body: bytes) -> Any:
    """The `error` of a JSON object, or of the first one in a list (Gemini's layer); None when there is none."""
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON:
        return None
    if isinstance(value, list) and value:
        value = value[0]
    return (value.get("error") or None) if isinstance(value, dict) else None


def note_usage(seen: Observation, answer: WireAnswer, raw: bytes) -> None:
    """Keeps the last usage that is told. Raises AttemptFailed for Groq's error in `x_groq`."""
    usage = answer.usage
    if answer.x_groq is not None:
        if answer.x_groq.get("error"):
            raise failed_inside(answer.x_groq["error"], raw)
        told = answer.x_groq.get("usage")
        usage = usage or (told if isinstance(told, dict) else None)
    if usage:
        seen.usage = observe_usage(usage, answer.meta)
        if answer.service_tier is not None:
            seen.usage = with_tier(seen.usage, answer.service_tier)
    elif answer.meta is not None and isinstance(spent := answer.meta.get("usage"), dict):
        seen.usage = observe_usage({**((seen.usage and seen.usage.raw) or {}), **spent})


def note_finish(seen: Observation, reason: str, raw: bytes) -> None:
    """Keeps the finish reason in our word. Raises AttemptFailed for the reasons that mean that the provider gave up."""
    finish = FINISH_KINDS.get(reason, "other")
    if finish == "error":
        raise failed(ErrorKind.UNAVAILABLE, f"the provider broke off its answer: {reason}", raw)
    seen.finish = finish
    seen.complete = True


def _delivered(message: WireMessage) -> int | None:
    """Characters that a message or delta delivers; None when it delivers nothing."""
    if message.content.__class__ is str and message.content:
        return len(message.content)
    length = 0
    found = False
    for text in (message.content, message.reasoning_content, message.reasoning, message.refusal):
        if text:
            found = True
            length += len(text) if isinstance(text, str) else _part_characters(text)
            if text is not message.content:
                break
    if message.tool_calls:
        found = True
        for call in message.tool_calls:
            arguments = call.function.arguments if call.function else call.custom.input if call.custom else None
            length += len(arguments) if isinstance(arguments, str) else 0
    if message.function_call or message.images or message.reasoning_details:
        found = True
    if message.audio:
        found = True
        transcript = message.audio.get("transcript")
        length += len(transcript) if isinstance(transcript, str) else 0
    return length if found else None


def _part_characters(parts: Any) -> int:
    """Length of the text in a list of content parts (Mistral)."""
    if not isinstance(parts, list):
        return 0
    total = 0
    for part in parts:
        if isinstance(part, dict):
            text = part.get("text") or part.get("thinking")
            total += len(text) if isinstance(text, str) else _part_characters(text)
    return total


def _event_data(block: bytes) -> bytes:
    """The data of an event whose lines are not the usual single one; a bare JSON line counts as data."""
    lines = _LINE.split(block.removeprefix(b"\xef\xbb\xbf"))
    data = [line[6:] if line[5:6] == b" " else line[5:] for line in lines if line.startswith(b"data:")]
    if not data:
        data = [line for line in lines if line.startswith((b'{"', b"{ "))]
    return b"\n".join(data)
