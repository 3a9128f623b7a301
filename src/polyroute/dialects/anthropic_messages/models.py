"""What Claude models accept, as a table: the first row whose words are in the model's id holds.

From Anthropic's model pages and the AI SDK's capability table, November 2026. Ids are compared in lower case with dots as
hyphens, so resellers' spellings match ("anthropic/claude-sonnet-4.5", "anthropic.claude-3-haiku-20240307-v1:0").
"""

from __future__ import annotations

from functools import lru_cache

import msgspec


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """What one family of models accepts.

    `max_output` in tokens, None when unknown. `sampling`: temperature, top_p, top_k; `sampling_pair`: temperature and top_p
    together. `thinking`: can think at all; `thinking_off`, `budget`, `adaptive`: the accepted `thinking` types;
    `off_limits_effort`: with thinking off, effort above high is refused. `forced_tools`: tool choice `any` and `tool`.
    `structured`: `output_config.format` and strict tools. `prefill`: a conversation may end with an assistant turn.
    `system_turns`: system messages inside the conversation.
    """

    max_output: int | None = None
    sampling: bool = True
    sampling_pair: bool = True
    thinking: bool = True
    thinking_off: bool = True
    budget: bool = True
    adaptive: bool = True
    off_limits_effort: bool = False
    forced_tools: bool = True
    structured: bool = True
    prefill: bool = False
    system_turns: bool = False


_NEWEST = Behaviour(
    max_output=128_000, sampling=False, thinking_off=False, budget=False, forced_tools=False, system_turns=True
)
_LIVELY = msgspec.structs.replace(_NEWEST, forced_tools=True)
_FOUR_EIGHT = Behaviour(max_output=128_000, sampling=False, system_turns=True)
_FOUR_SIX = Behaviour(max_output=128_000, sampling_pair=False)
_FOUR_FIVE = Behaviour(max_output=64_000, sampling_pair=False, adaptive=False, prefill=True)
_FOUR = msgspec.structs.replace(_FOUR_FIVE, structured=False)
_THREE = Behaviour(max_output=4096, thinking=False, adaptive=False, structured=False, prefill=True)

_TABLE: tuple[tuple[str, Behaviour], ...] = (
    ("claude-sonnet-5-5", _NEWEST),
    ("claude-opus-5-5", _NEWEST),
    ("claude-haiku-5-5", msgspec.structs.replace(_LIVELY, thinking_off=True, off_limits_effort=True)),
    ("claude-opus-5", msgspec.structs.replace(_FOUR_EIGHT, off_limits_effort=True)),
    ("claude-fable-5-1", _NEWEST),
    ("claude-fable-5", _LIVELY),
    ("claude-opus-4-8", _FOUR_EIGHT),
    ("claude-opus-4-7", msgspec.structs.replace(_FOUR_EIGHT, system_turns=False)),
    ("claude-sonnet-5", _FOUR_EIGHT),
    ("claude-sonnet-4-6", _FOUR_SIX),
    ("claude-opus-4-6", _FOUR_SIX),
    ("claude-sonnet-4-5", _FOUR_FIVE),
    ("claude-opus-4-5", _FOUR_FIVE),
    ("claude-haiku-4-5", _FOUR_FIVE),
    ("claude-opus-4-1", msgspec.structs.replace(_FOUR_FIVE, max_output=32_000)),
    ("claude-sonnet-4", _FOUR),
    ("claude-opus-4", msgspec.structs.replace(_FOUR, max_output=32_000)),
    ("claude-3-7", msgspec.structs.replace(_FOUR, sampling_pair=True)),
    ("claude-3-5", msgspec.structs.replace(_THREE, max_output=8192)),
    ("claude-3", _THREE),
    ("claude-2", _THREE),
    ("claude-instant", _THREE),
    # A newer Claude than this table knows: sampling parameters are refused since 4.7.
    ("claude", msgspec.structs.replace(_FOUR_EIGHT, system_turns=False)),
)
_OTHER = Behaviour(adaptive=False, prefill=True)
"""Models of other makers behind the same wire format: what is unknown is sent, and the provider decides."""


@lru_cache(maxsize=1024)
def behaviour_of(model: str) -> Behaviour:
    """The row for a model id."""
    name = model.lower().replace(".", "-")
    return next((row for words, row in _TABLE if words in name), _OTHER)
