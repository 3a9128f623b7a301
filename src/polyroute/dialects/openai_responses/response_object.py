"""The response object that callers get: what they asked, echoed, and what came of it."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.openai_responses.request_out import render_choice, render_format, render_tool
from polyroute.types.chat import ChatRequest, HostedTool, TextPart
from polyroute.types.operations import Dialect


def echo_request(request: ChatRequest) -> dict[str, Any]:
    """The fields of a response object that repeat the request."""
    extra = request.extra.get(Dialect.OPENAI_RESPONSES, {})
    first = request.messages[0] if request.messages else None
    instructions = None
    if first is not None and first.role == "system" and len(first.parts) == 1 and isinstance(first.parts[0], TextPart):
        instructions = first.parts[0].text
    own = [
        tool
        for tool in request.tools
        if not isinstance(tool, HostedTool) or tool.dialect is Dialect.OPENAI_RESPONSES
    ]  # fmt: skip
    reasoning = request.reasoning
    choice = request.tool_choice
    text = extra.get("text")
    return {
        "instructions": instructions,
        "max_output_tokens": request.max_tokens,
        "metadata": request.metadata or {},
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": extra.get("previous_response_id"),
        "reasoning": {
            "effort": reasoning.effort if reasoning else None,
            "summary": reasoning.summary if reasoning else None,
        },
        "service_tier": request.service_tier,
        "store": request.store is not False,
        "temperature": request.temperature,
        "text": {
            "format": {"type": "text"} if request.output_format is None else render_format(request.output_format),
            **(text if isinstance(text, dict) else {}),
        },
        "tool_choice": "auto" if choice is None else render_choice(choice, request),
        "tools": [render_tool(tool) for tool in own],
        "top_logprobs": request.top_logprobs or 0,
        "top_p": request.top_p,
        "truncation": extra.get("truncation") or "disabled",
        "user": request.user,
    }
