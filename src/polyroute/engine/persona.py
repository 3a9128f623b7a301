"""Who answers on a route: its system prompt and default parameters, put into a request of any dialect."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.catalog.model import Persona
from polyroute.engine.envelope import invalid
from polyroute.types.chat import ChatRequest, Message, Reasoning, TextPart

_DEFAULTS = ("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty", "seed", "stop")


def apply_persona(request: ChatRequest, persona: Persona) -> ChatRequest:
    """The request as the persona has it: its system prompt first, its parameters where the caller said nothing.

    Raises PolyrouteError(invalid_request) when the caller brings a system prompt and the persona refuses that.
    """
    if persona.caller_system == "refuse" and any(message.role == "system" for message in request.messages):
        raise invalid("This route speaks with a persona of its own: leave the system prompt out.", "messages")
    changes: dict[str, Any] = {}
    for name in _DEFAULTS:
        own, given = getattr(persona, name), getattr(request, name)
        if own not in (None, ()) and given in (None, ()):
            changes[name] = own
    if persona.reasoning_effort is not None and request.reasoning is None:
        changes["reasoning"] = Reasoning(effort=persona.reasoning_effort)
    if persona.system is not None:
        prompt = Message(role="system", parts=(TextPart(text=persona.system),))
        changes["messages"] = (prompt, *request.messages)
    return msgspec.structs.replace(request, **changes)
