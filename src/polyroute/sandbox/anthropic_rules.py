"""What single Claude models refuse."""

from __future__ import annotations

import msgspec

from polyroute.sandbox.errors import Refused, invalid
from polyroute.sandbox.exchange import Json


class Claude(msgspec.Struct, frozen=True, kw_only=True):
    """What one family of models accepts."""

    most_output: int
    sampling: bool = True
    thinking_off: bool = True
    thinking_budget: bool = True
    forced_tools: bool = True
    prefill: bool = True
    structured: bool = True


# The first part that is in the model's name decides.
_MODELS: tuple[tuple[str, Claude], ...] = (
    (
        "sonnet-5-5",
        Claude(
            most_output=128_000,
            sampling=False,
            thinking_off=False,
            thinking_budget=False,
            forced_tools=False,
            prefill=False,
        ),
    ),
    (
        "opus-5-5",
        Claude(
            most_output=128_000,
            sampling=False,
            thinking_off=False,
            thinking_budget=False,
            forced_tools=False,
            prefill=False,
        ),
    ),
    ("haiku-5-5", Claude(most_output=128_000, sampling=False, thinking_budget=False, prefill=False)),
    ("opus-5", Claude(most_output=128_000, sampling=False, prefill=False)),
    (
        "fable-5-1",
        Claude(
            most_output=128_000,
            sampling=False,
            thinking_off=False,
            thinking_budget=False,
            forced_tools=False,
            prefill=False,
        ),
    ),
    ("fable-5", Claude(most_output=128_000, sampling=False, thinking_off=False, thinking_budget=False, prefill=False)),
    ("opus-4-8", Claude(most_output=128_000, sampling=False, prefill=False)),
    ("opus-4-7", Claude(most_output=128_000, sampling=False, prefill=False)),
    ("sonnet-5", Claude(most_output=128_000, sampling=False, prefill=False)),
    ("sonnet-4-6", Claude(most_output=128_000, prefill=False)),
    ("opus-4-6", Claude(most_output=128_000, prefill=False)),
    ("-4-5", Claude(most_output=64_000)),
    ("opus-4-1", Claude(most_output=32_000)),
    ("sonnet-4", Claude(most_output=64_000, structured=False)),
    ("opus-4", Claude(most_output=32_000, structured=False)),
    ("claude-3", Claude(most_output=8192, structured=False)),
)
_UNKNOWN = Claude(most_output=128_000)


def claude_of(model: str) -> Claude:
    """What the model accepts; a name that is not known accepts everything."""
    name = model.replace(".", "-")
    return next((row for part, row in _MODELS if part in name), _UNKNOWN)


def check_model_rules(model: str, body: Json) -> None:
    """Raise `Refused` where this model would."""
    claude = claude_of(model)
    limit = body.get("max_tokens")
    if isinstance(limit, int) and limit > claude.most_output:
        raise invalid(
            f"max_tokens: {limit} > {claude.most_output}, which is the maximum allowed number of output tokens for {model}"
        )
    _check_sampling(claude, model, body)
    thinking = body.get("thinking")
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    if kind == "disabled" and not claude.thinking_off:
        raise invalid(f"thinking.type: `disabled` is not supported by {model}")
    if kind == "enabled" and not claude.thinking_budget:
        raise invalid(f"thinking.type: `enabled` is not supported by {model}; use `adaptive`")
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") in ("any", "tool"):
        if not claude.forced_tools:
            raise invalid(f"tool_choice: forced tool use is not supported by {model}")
        if kind == "enabled":
            raise invalid("Thinking may not be enabled when tool_choice forces tool use.")
    config = body.get("output_config")
    if isinstance(config, dict) and config.get("format") is not None and not claude.structured:
        raise invalid(f"'{model}' does not support output format.")
    if body["messages"][-1]["role"] == "assistant" and not claude.prefill:
        raise Refused("prefill")


def _check_sampling(claude: Claude, model: str, body: Json) -> None:
    given = [name for name in ("temperature", "top_p", "top_k") if body.get(name) is not None]
    if given and not claude.sampling:
        raise invalid(f"`{given[0]}` is not supported by {model}")
    temperature = body.get("temperature")
    if isinstance(temperature, int | float) and not 0 <= temperature <= 1:
        raise invalid("temperature: range: 0..1")
    if "temperature" in given and "top_p" in given and claude is not _UNKNOWN:
        raise invalid(
            f"`temperature` and `top_p` cannot both be specified for this model ({model}). Please use only one."
        )
    thinking = body.get("thinking")
    if isinstance(thinking, dict) and thinking.get("type") == "enabled" and given and temperature != 1:
        raise invalid("`temperature` may only be set to 1 when thinking is enabled.")
