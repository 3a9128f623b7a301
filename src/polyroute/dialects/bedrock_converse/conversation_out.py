"""Canonical turns → Converse messages: user and assistant by turns, results first, no blank text."""

from __future__ import annotations

import base64
from typing import Any

from polyroute.dialects.bedrock_converse.formats import DOCUMENT_FORMATS, IMAGE_FORMATS, document_name
from polyroute.dialects.media_bytes import sniff_image
from polyroute.dialects.request_fields import Losses, arguments_object
from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    CacheMark,
    FilePart,
    ImagePart,
    Message,
    ModelProfile,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect

_OWN = Dialect.BEDROCK_CONVERSE
_EMPTY = "(empty)"
_CONTINUE = "Continue."

Block = dict[str, Any]


def cache_point(mark: CacheMark) -> Block:
    """A breakpoint of the prompt cache."""
    return {"cachePoint": {"type": "default"} | ({"ttl": mark.ttl} if mark.ttl else {})}


class ConversationRenderer:
    """Renders the turns of one request; `system` holds the leading system blocks afterwards."""

    def __init__(self, losses: Losses, profile: ModelProfile) -> None:
        self.system: list[Block] = []
        self._losses = losses
        self._profile = profile
        self._messages: list[Block] = []
        self._documents = 0

    def render(self, messages: tuple[Message, ...]) -> list[Block]:
        """The messages as Bedrock takes them."""
        leading = True
        for message in messages:
            self._losses.note("names of speakers left out", when=message.name is not None)
            if message.role == "system":
                self._system(message, leading=leading)
                continue
            leading = False
            role = "assistant" if message.role == "assistant" else "user"
            blocks = [block for part in message.parts for block in self._blocks(part)]
            if not any("cachePoint" not in block for block in blocks):
                self._losses.note("empty turn filled")
                blocks = [{"text": _EMPTY}]
            self._add(role, blocks)
        self._mend_ends()
        return self._messages

    def _add(self, role: str, blocks: list[Block]) -> None:
        previous = self._messages[-1] if self._messages else None
        if previous is None or previous["role"] != role:
            self._messages.append({"role": role, "content": _results_first(blocks)})
            return
        previous["content"] = _results_first([*previous["content"], *blocks])

    def _system(self, message: Message, *, leading: bool) -> None:
        blocks = [block for part in message.parts for block in self._blocks(part)]
        if leading:
            self.system += blocks
            return
        text = "\n\n".join(block["text"] for block in blocks if "text" in block)
        if text:
            self._losses.note("system message in the middle sent as a user turn")
            self._add("user", [{"text": f"<system>\n{text}\n</system>"}])

    def _mend_ends(self) -> None:
        """Bedrock wants a user turn first, and newer Claude models one at the end."""
        messages = self._messages
        if not messages and self.system:
            self._losses.note("system prompt sent as a user turn, as there is no other")
            messages.append({"role": "user", "content": [block for block in self.system if "text" in block]})
            self.system = []
        if messages and messages[0]["role"] == "assistant":
            self._losses.note("user turn added at the start")
            messages.insert(0, {"role": "user", "content": [{"text": _CONTINUE}]})
        if not messages or messages[-1]["role"] != "assistant":
            return
        if "prefill" in self._profile.refuses:
            self._losses.note("user turn added at the end, as the model takes no prefill")
            messages.append({"role": "user", "content": [{"text": _CONTINUE}]})
            return
        last = messages[-1]["content"][-1]
        if "text" in last:
            messages[-1]["content"][-1] = {"text": last["text"].rstrip()}

    def _blocks(self, part: AnyPart) -> list[Block]:
        block = self._block(part)
        if block is None:
            return []
        return [block] if part.cache is None else [block, cache_point(part.cache)]

    def _block(self, part: AnyPart) -> Block | None:
        match part:
            case ReasoningPart():
                return self._reasoning(part)
            case ToolCallPart():
                self._losses.state(part.state, _OWN)
                return {"toolUse": self._call(part)}
            case ToolResultPart():
                return {"toolResult": self._result(part)}
            case _:
                own = self._losses.state(part.state, _OWN)
                if own is not None and "block" in own:
                    verbatim: Block = own["block"]
                    return verbatim
                return self._content(part)

    def _content(self, part: AnyPart) -> Block | None:
        match part:
            case TextPart() | RefusalPart():
                return {"text": part.text} if part.text.strip() else None
            case ImagePart():
                return {"image": _image(part)}
            case FilePart():
                return {"document": self._document(part)}
            case AudioPart(data=str() as data, format=str() as kind):
                return {"audio": {"format": kind, "source": {"bytes": data}}}
            case AudioPart(transcript=str() as transcript):
                return {"text": transcript}
            case _:
                raise _unsupported("audio by URL")

    def _reasoning(self, part: ReasoningPart) -> Block | None:
        """Only what Bedrock itself gave; reasoning of others would be refused."""
        own = self._losses.state(part.state, _OWN)
        if own is None:
            self._losses.note("reasoning of another origin left out", when=part.state is None)
            return None
        if "redactedContent" in own:
            return {"reasoningContent": {"redactedContent": own["redactedContent"]}}
        return {"reasoningContent": {"reasoningText": {"text": part.text, **own}}}

    def _call(self, part: ToolCallPart) -> Block:
        if part.custom:
            return {"toolUseId": part.id, "name": part.name, "input": {"input": part.arguments}}
        arguments, valid = arguments_object(part.arguments)
        self._losses.note("tool arguments that are no JSON object wrapped as _raw", when=not valid)
        return {"toolUseId": part.id, "name": part.name, "input": arguments}

    def _result(self, part: ToolResultPart) -> Block:
        content = [block for inner in part.content for block in self._blocks(inner) if "cachePoint" not in block]
        return {
            "toolUseId": part.call_id,
            "content": content or [{"text": _EMPTY}],
            "status": "error" if part.is_error else "success",
        }

    def _document(self, part: FilePart) -> Block:
        self._documents += 1
        name = document_name(part.filename, self._documents)
        if part.text is not None:
            data = base64.b64encode(part.text.encode()).decode()
            return {"format": "txt", "name": name, "source": {"bytes": data}}
        kind = DOCUMENT_FORMATS.get(part.media_type or "application/pdf")
        if part.data is None or kind is None:
            raise _unsupported(
                f"files of {part.media_type}" if part.data else "files by URL or id: it takes bytes only"
            )
        return {"format": kind, "name": name, "source": {"bytes": part.data}}


def _image(part: ImagePart) -> Block:
    if part.data is None:
        raise _unsupported("images by URL or file id: it takes bytes only")
    media_type = sniff_image(part.data) or part.media_type or ""
    kind = IMAGE_FORMATS.get(media_type)
    if kind is None:
        raise _unsupported(f"images of type {media_type or 'unknown'}")
    return {"format": kind, "source": {"bytes": part.data}}


def _results_first(blocks: list[Block]) -> list[Block]:
    """Tool results stand before everything else of their turn."""
    if not any("toolResult" in block for block in blocks):
        return blocks
    return [b for b in blocks if "toolResult" in b] + [b for b in blocks if "toolResult" not in b]


def _unsupported(what: str) -> PolyrouteError:
    return PolyrouteError(ErrorKind.UNSUPPORTED, f"Bedrock does not take {what}", param="messages")
