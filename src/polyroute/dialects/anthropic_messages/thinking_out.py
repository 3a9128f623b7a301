"""How much a model shall think, in the words that the model at hand accepts."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.anthropic_messages.models import Behaviour
from polyroute.types.chat import Reasoning

_BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 32_000}
_SMALLEST_BUDGET = 1024


class Thinking(msgspec.Struct, frozen=True, kw_only=True):
    """The `thinking` object and the effort; `on` when the model will think. `lost`: the wish could not be met."""

    thinking: dict[str, Any] | None = None
    effort: str | None = None
    on: bool = False
    lost: bool = False
    notes: tuple[str, ...] = ()


def render_thinking(wish: Reasoning | None, behaviour: Behaviour, *, max_tokens: int, loop_thinks: bool) -> Thinking:
    """What to send for a wish. `loop_thinks` as in RenderedTurns: manual thinking is refused where it is False."""
    if wish is None:
        return Thinking()
    if not behaviour.thinking:
        off = wish.enabled is False or wish.effort == "none"
        return Thinking(lost=not off, notes=() if off else ("the model cannot think",))
    if wish.enabled is False or wish.effort == "none":
        return _off(wish, behaviour)
    display = {"omitted": "omitted", None: None}.get(wish.summary, "summarized")
    if wish.budget is not None and behaviour.budget:
        return _manual(wish.budget, wish.effort, display, behaviour, max_tokens=max_tokens, loop_thinks=loop_thinks)
    if not behaviour.adaptive:
        if wish.enabled is None and wish.effort is None and not wish.adaptive:
            return Thinking()
        budget = _BUDGETS.get(wish.effort or "medium", _BUDGETS["medium"])
        made = _manual(budget, None, display, behaviour, max_tokens=max_tokens, loop_thinks=loop_thinks)
        words = f"reasoning effort {wish.effort or 'medium'} sent as a budget of {budget} tokens"
        return msgspec.structs.replace(made, notes=(words, *made.notes))
    notes: tuple[str, ...] = ()
    effort = wish.effort
    if effort is None and wish.budget is not None:
        effort = _effort_of(wish.budget)
        notes = (f"reasoning budget of {wish.budget} tokens sent as effort {effort}",)
    if effort == "minimal":
        effort, notes = "low", (*notes, "reasoning effort minimal sent as low")
    return Thinking(thinking=_object("adaptive", display), effort=effort, on=True, notes=notes)


def _off(wish: Reasoning, behaviour: Behaviour) -> Thinking:
    effort = None if wish.effort == "none" else wish.effort
    if not behaviour.thinking_off:
        return Thinking(effort="low", on=True, notes=("thinking cannot be switched off on this model: effort low",))
    if behaviour.off_limits_effort and effort in ("xhigh", "max"):
        return Thinking(
            thinking={"type": "disabled"}, effort="high", notes=(f"effort {effort} sent as high: thinking is off",)
        )
    return Thinking(thinking={"type": "disabled"}, effort=effort)


def _manual(
    budget: int, effort: str | None, display: str | None, behaviour: Behaviour, *, max_tokens: int, loop_thinks: bool
) -> Thinking:
    """Thinking within a budget: at least 1024 and below max_tokens."""
    if not loop_thinks:
        words = "the tool loop under way has no thinking blocks"
        if behaviour.adaptive:
            return Thinking(
                thinking=_object("adaptive", display), effort=effort, on=True, notes=(words + ": adaptive",)
            )
        return Thinking(lost=True, notes=(words + ": thinking is off for this request",))
    fitting = min(max(budget, _SMALLEST_BUDGET), max_tokens - 1)
    if fitting < _SMALLEST_BUDGET:
        return Thinking(lost=True, notes=("max_tokens leaves no room to think",))
    notes = () if fitting == budget else (f"reasoning budget of {budget} tokens sent as {fitting}",)
    thinking = _object("enabled", display) | {"budget_tokens": fitting}
    return Thinking(thinking=thinking, effort=effort, on=True, notes=notes)


def _object(kind: str, display: str | None) -> dict[str, Any]:
    return {"type": kind} if display is None else {"type": kind, "display": display}


def _effort_of(budget: int) -> str:
    for effort, limit in (("low", 2048), ("medium", 8192), ("high", 24_576)):
        if budget <= limit:
            return effort
    return "xhigh"
