"""Whether a request is simple or complex, by rules that can be read, with the rule that decided."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from polyroute.catalog.model import ComplexityRules, Level
from polyroute.routing.requirements import Requirements
from polyroute.types.operations import Capability


class ComplexityFacts(msgspec.Struct, frozen=True):
    """What the rules look at."""

    requirements: Requirements
    turns: int
    code: bool


class Complexity(msgspec.Struct, frozen=True):
    """The level, and the rule that fired, in words; for `simple` it says that none did."""

    level: Level
    rule: str


_MEDIA = frozenset({Capability.VISION, Capability.AUDIO_INPUT, Capability.FILES})
_STRUCTURED = frozenset({Capability.JSON_OBJECT, Capability.JSON_SCHEMA})
_SIMPLE = Complexity("simple", "no rule for complex requests fired")


def facts_of_fields(fields: Mapping[str, msgspec.Raw], body: bytes, requirements: Requirements) -> ComplexityFacts:
    """From a body that is relayed: turns by their roles, code by its fences."""
    prompt = any(name in fields for name in ("messages", "input", "contents", "prompt"))
    return ComplexityFacts(requirements, max(body.count(b'"role"'), 1 if prompt else 0), b"```" in body)


def classify(facts: ComplexityFacts, rules: ComplexityRules) -> Complexity:
    """The first rule that fires decides."""
    needs, tokens = facts.requirements.needs, facts.requirements.tokens
    if rules.reasoning and Capability.REASONING in needs:
        return Complexity("complex", "reasoning: the request asks for it")
    if rules.tools and Capability.TOOLS in needs:
        return Complexity("complex", "tools: the request offers some")
    if rules.structured_output and not needs.isdisjoint(_STRUCTURED):
        return Complexity("complex", "structured_output: the request asks for it")
    if rules.media and not needs.isdisjoint(_MEDIA):
        return Complexity("complex", "media: the request holds images, audio or files")
    if rules.code and facts.code:
        return Complexity("complex", "code: the request holds a fenced block")
    if rules.tokens is not None and tokens >= rules.tokens:
        return Complexity("complex", f"tokens: about {tokens}, from {rules.tokens} on it is complex")
    if rules.turns is not None and facts.turns >= rules.turns:
        return Complexity("complex", f"turns: {facts.turns}, from {rules.turns} on it is complex")
    return _SIMPLE
