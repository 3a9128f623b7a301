"""A whole answer → the body of a Message, and errors in this API's shape."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.anthropic_messages.content_out import legal_id
from polyroute.dialects.anthropic_messages.reading import FINISH_KINDS
from polyroute.dialects.anthropic_messages.usage import render_usage
from polyroute.dialects.foreign_state import pack_state
from polyroute.dialects.tool_turns import arguments_object
from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    ChatRequest,
    ChatResponse,
    Choice,
    Finish,
    ProviderState,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
)
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Dialect

_A = Dialect.ANTHROPIC_MESSAGES
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_ERROR_TYPES: dict[ErrorKind, str] = {
    ErrorKind.INVALID_REQUEST: "invalid_request_error",
    ErrorKind.UNSUPPORTED: "invalid_request_error",
    ErrorKind.CONTENT_FILTERED: "invalid_request_error",
    ErrorKind.CONTEXT_TOO_LONG: "invalid_request_error",
    ErrorKind.NOT_FOUND: "not_found_error",
    ErrorKind.MODEL_NOT_FOUND: "not_found_error",
    ErrorKind.TOO_LARGE: "request_too_large",
    ErrorKind.UNAUTHORIZED: "authentication_error",
    ErrorKind.FORBIDDEN: "permission_error",
    ErrorKind.OVER_BUDGET: "billing_error",
    ErrorKind.OVER_LIMIT: "rate_limit_error",
    ErrorKind.RATE_LIMITED: "rate_limit_error",
    ErrorKind.TIMEOUT: "timeout_error",
}


class CallIds:
    """Ids for the calls of one answer: legal here, distinct, the provider's own wherever those are."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._used: set[str] = set()

    def take(self, call_id: str) -> str:
        """The id for the next call."""
        legal = unique = legal_id(call_id or f"{self._seed}/{len(self._used)}")
        number = 2
        while unique in self._used:
            unique = f"{legal[:120]}_{number}"
            number += 1
        self._used.add(unique)
        return unique


def render_response(response: ChatResponse, request: ChatRequest) -> bytes:
    """A whole answer; this API knows one choice."""
    choice = response.choices[0] if response.choices else Choice(parts=(), finish=Finish("other"))
    identity = response.id or "msg_unknown"
    ids = CallIds(identity)
    quiet = hides_reasoning(request)
    content = [block for part in choice.parts for block in _blocks(part, ids, quiet=quiet)]
    reason, sequence = stop_reason(
        choice.finish,
        refused=any(isinstance(part, RefusalPart) for part in choice.parts),
        called=any(asks_caller(part) for part in choice.parts),
    )
    extra = response.extra.get(_A.value, {})
    return msgspec.json.encode(
        {
            "id": identity, "type": "message", "role": "assistant", "model": request.model, "content": content,
            "stop_reason": reason, "stop_sequence": sequence, "stop_details": None,
            **extra, "usage": render_usage(response.usage),
        }
    )  # fmt: skip


def hides_reasoning(request: ChatRequest) -> bool:
    """Whether the caller asked for thinking blocks without their text (`display: omitted`)."""
    return request.reasoning is not None and request.reasoning.summary == "omitted"


def asks_caller(part: AnyPart) -> bool:
    """Whether a part is a call that waits for the caller: not one that the provider's own code made and answered."""
    if not isinstance(part, ToolCallPart):
        return False
    return part.state is None or part.state.dialect is not _A or "caller" not in part.state.fields


def stop_reason(finish: Finish, *, refused: bool, called: bool) -> tuple[str, str | None]:
    """`stop_reason` and `stop_sequence`: the provider's own words where they are this API's, and say the same."""
    unified = "content_filter" if refused else finish.unified
    if unified == "stop" and called:
        unified = "tool_calls"
    if unified == "stop" and finish.stop_sequence is not None:
        return "stop_sequence", finish.stop_sequence
    if finish.raw is not None and FINISH_KINDS.get(finish.raw) == unified:
        return finish.raw, finish.stop_sequence
    return _REASONS.get(unified, "end_turn"), None


def _blocks(part: AnyPart, ids: CallIds, *, quiet: bool) -> list[dict[str, Any]]:
    own = part.state.fields if part.state is not None and part.state.dialect is _A else {}
    match part:
        case TextPart():
            return [{"type": "text", "text": part.text, **own}] if part.text else []
        case RefusalPart():
            return [{"type": "text", "text": part.text}] if part.text else []
        case AudioPart():
            return [{"type": "text", "text": part.transcript}] if part.transcript else []
        case ReasoningPart():
            block = closed_reasoning(part.state)
            if block is not None:
                return [block]
            if not part.text and part.state is None:
                return []
            text = "" if quiet else part.text
            return [{"type": "thinking", "thinking": text, "signature": signature_of(part.state)}]
        case ToolCallPart():
            call = {
                "type": "tool_use", "id": ids.take(part.id), "name": part.name, "input": arguments_object(part), **own
            }  # fmt: skip
            attached = attached_state(part.state)
            return [call] if attached is None else [attached, call]
        case _:
            return []  # pictures have no place in this API's answers


def closed_reasoning(state: ProviderState | None) -> dict[str, Any] | None:
    """The block of reasoning that this API issued without text: redacted thinking, or a step of the provider's own tools."""
    if state is None or state.dialect is not _A:
        return None
    if "data" in state.fields:
        return {"type": "redacted_thinking", "data": state.fields["data"]}
    block = state.fields.get("block")
    return block if isinstance(block, dict) else None


def signature_of(state: ProviderState | None) -> str:
    """The signature of a thinking block: this API's own, or ours with what another dialect wants back."""
    if state is not None and state.dialect is _A:
        signature = state.fields.get("signature")
        return signature if isinstance(signature, str) else ""
    return pack_state(state)


def attached_state(state: ProviderState | None) -> dict[str, Any] | None:
    """An empty thinking block that carries another dialect's state of the call that follows it."""
    if state is None or state.dialect is _A:
        return None
    return {"type": "thinking", "thinking": "", "signature": pack_state(state, attached=True)}


def render_error(error: PolyrouteError) -> bytes:
    """The body of an error answer."""
    kind = _ERROR_TYPES.get(error.kind, "api_error")
    if kind == "api_error" and "overloaded" in (error.code or ""):
        kind = "overloaded_error"
    message = error.message
    if error.kind is ErrorKind.CONTEXT_TOO_LONG and "prompt is too long" not in message:
        message = f"prompt is too long: {message}"  # clients look for these words before they shorten
    details = {"error_code": error.code} if error.code is not None else None
    return msgspec.json.encode(
        {
            "type": "error",
            "error": {"type": kind, "message": message, "details": details},
            "request_id": error.request_id,
        }
    )
