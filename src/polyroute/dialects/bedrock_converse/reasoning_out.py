"""How a Bedrock model is asked to think: in its vendor's own words."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.request_fields import Losses
from polyroute.types.chat import ChatRequest, ModelProfile, Reasoning

_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 24576, "max": 32768}
_SMALLEST_BUDGET = 1024
_SAMPLING = (("temperature", "temperature"), ("topP", "top_p"))


def add_reasoning(
    request: ChatRequest,
    profile: ModelProfile,
    losses: Losses,
    *,
    inference: dict[str, Any],
    additional: dict[str, Any],
    tool_config: dict[str, Any],
    body: dict[str, Any],
) -> None:
    """Writes into the request's sections; thinking forbids some of what they hold."""
    reasoning = request.reasoning
    if reasoning is None:
        return
    name = profile.model.lower()
    if "claude" in name or "anthropic" in name:
        _claude(reasoning, profile, losses, additional)
        if additional.get("thinking", {}).get("type") == "enabled":
            _make_room(inference, additional, tool_config, losses)
            if _open_loop_without_thinking(body["messages"]):
                del additional["thinking"]
                losses.note("thinking switched off: the tool loop under way has none")
    elif "gpt-oss" in name or "openai" in name:
        if reasoning.effort is not None:
            additional["reasoning_effort"] = reasoning.effort
        else:
            losses.drop("reasoning")
    elif reasoning.enabled is not False and reasoning.effort != "none":
        losses.drop("reasoning")


def _claude(reasoning: Reasoning, profile: ModelProfile, losses: Losses, additional: dict[str, Any]) -> None:
    if reasoning.enabled is False or reasoning.effort == "none":
        if "thinking_disabled" in profile.refuses:
            losses.drop("reasoning")
        else:
            additional["thinking"] = {"type": "disabled"}
        return
    if reasoning.adaptive or "thinking_budget" in profile.refuses:
        losses.note("thinking budget left to the model", when=reasoning.budget is not None)
        additional["thinking"] = {"type": "adaptive"}
        if reasoning.effort is not None:
            additional["output_config"] = {"effort": reasoning.effort}
        return
    budget = reasoning.budget or _BUDGETS.get(reasoning.effort or "medium", _BUDGETS["medium"])
    losses.note(f"reasoning effort sent as a budget of {budget} tokens", when=reasoning.budget is None)
    losses.note("thinking budget raised to 1024", when=budget < _SMALLEST_BUDGET)
    additional["thinking"] = {"type": "enabled", "budget_tokens": max(budget, _SMALLEST_BUDGET)}


def _make_room(
    inference: dict[str, Any], additional: dict[str, Any], tool_config: dict[str, Any], losses: Losses
) -> None:
    """Manual thinking: fewer tokens than the answer may have, no sampling parameters, no forced tool."""
    budget = additional["thinking"]["budget_tokens"]
    longest = inference.get("maxTokens")
    if longest is not None and longest <= budget:
        if longest <= _SMALLEST_BUDGET:
            del additional["thinking"]
            losses.note("thinking switched off: max_tokens leaves no room for it")
            return
        additional["thinking"]["budget_tokens"] = longest - 1
        losses.note("thinking budget cut below max_tokens")
    for theirs, ours in _SAMPLING:
        losses.drop(ours, when=inference.pop(theirs, None) is not None)
    losses.drop("top_k", when=additional.pop("top_k", None) is not None)
    choice = tool_config.get("toolChoice", {})
    if "any" in choice or "tool" in choice:
        tool_config["toolChoice"] = {"auto": {}}
        losses.note("forced tool use lowered to auto, as the model is thinking")


def _open_loop_without_thinking(messages: list[dict[str, Any]]) -> bool:
    """Whether the conversation ends in tool results whose calls have no thinking before them."""
    if len(messages) < 2 or not any("toolResult" in block for block in messages[-1]["content"]):
        return False
    calls = messages[-2]["content"]
    return not any("reasoningContent" in block for block in calls)
