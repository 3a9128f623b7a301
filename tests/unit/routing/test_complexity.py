"""Simple or complex, and the rule that decided."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from polyroute.catalog.model import ComplexityRules
from polyroute.routing.complexity import classify, facts_of_fields
from polyroute.routing.requirements import requirements_of_fields
from polyroute.types.operations import Dialect

OFF = ComplexityRules(
    tokens=None, turns=None, tools=False, structured_output=False, reasoning=False, code=False, media=False
)


def judge(body: dict[str, Any], rules: ComplexityRules | None = None) -> tuple[str, str]:
    encoded = msgspec.json.encode(body)
    fields = msgspec.json.decode(encoded, type=dict[str, msgspec.Raw])
    needs = requirements_of_fields(Dialect.OPENAI_CHAT, fields, encoded)
    found = classify(facts_of_fields(fields, encoded, needs), rules or ComplexityRules())
    return found.level, found.rule.split(":")[0]


def said(*texts: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text} for text in texts]} | more


@pytest.mark.parametrize(
    ("body", "level", "rule"),
    [
        (said("Hi"), "simple", "no rule for complex requests fired"),
        (said("Hi", tools=[{"type": "function"}]), "complex", "tools"),
        (said("Hi", reasoning_effort="high"), "complex", "reasoning"),
        (said("Hi", response_format={"type": "json_object"}), "complex", "structured_output"),
        (said("Mend this:\n```python\nx\n```"), "complex", "code"),
        (said("word " * 2000), "complex", "tokens"),
        (said(*["Hi"] * 10), "complex", "turns"),
        (said(*["Hi"] * 9), "simple", "no rule for complex requests fired"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "complex", "media"),
    ],
)
def test_the_rule_that_fires(body: dict[str, Any], level: str, rule: str) -> None:
    assert judge(body) == (level, rule)
    assert judge(body, OFF)[0] == "simple"


def test_thresholds_are_settings() -> None:
    assert judge(said("Hi", "Hi"), ComplexityRules(turns=2)) == ("complex", "turns")
    assert judge(said("word " * 100), ComplexityRules(tokens=100)) == ("complex", "tokens")
