"""Templates of pipelines: what they can say, and that they can say nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.engine.pipelines.templates import Missing, Reference, TemplateError, fill, templates_in
from polyroute.engine.pipelines.values import StepValues
from polyroute.types.pipelines import StepResult

SAID = '```json\n{"scenes": [{"picture": "a quay"}], "seconds": 4}\n```'
VALUES = StepValues(
    {"topic": "ships", "count": 3},
    {"script": StepResult(state="succeeded", text=SAID), "film": StepResult(state="skipped")},
)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("about {{input.topic}}, {{ input.count }} times", "about ships, 3 times"),
        ("{{input.count}}", 3),
        ("{{script.json.scenes[0].picture}}!", "a quay!"),
        ("{{script.json.scenes}}", [{"picture": "a quay"}]),
        ("{{script.json.seconds}}", 4),
        ("{{film.artifacts[0] | input.topic}}", "ships"),
        ("{{script.lines[0]}}", "```json"),
        ("nothing {to} {{input.topic}} {here}", "nothing {to} ships {here}"),
    ],
)
def test_a_template_becomes_its_value(template: str, value: Any) -> None:
    assert fill({"field": [template]}, VALUES) == {"field": [value]}


def test_what_has_no_value_is_left_out_where_the_template_says_so() -> None:
    clips = [
        {"source": "{{film.artifacts[0] | none}}", "at": 1},
        {"source": "{{input.topic}}"},
        "{{film.duration | none}}",
    ]
    filled = fill({"clips": clips, "voice": "{{film.voice | none}}", "text": "a{{film.text | none}}b"}, VALUES)
    assert filled == {"clips": [{"source": "ships"}], "text": "ab"}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{script.json.scenes[1].picture}}", r"script\.json\.scenes has 1 items"),
        ("{{script.json.title}}", "has scenes, seconds"),
        ("{{film.artifacts[0]}}", "step 'film' made nothing"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(template: str, words: str) -> None:
    with pytest.raises(Missing, match=words):
        fill({"field": template}, VALUES)


@pytest.mark.parametrize(
    "text",
    [
        "{{}}",
        "{{a.b()}}",
        "{{a + b}}",
        "{{a['b']}}",
        "{{a.__class__ }} {{1}}",
        "{{none}}",
        "{{none | a.b}}",
        "{{a..b}}",
    ],
)
def test_anything_else_between_braces_is_refused(text: str) -> None:
    with pytest.raises(TemplateError):
        list(templates_in(text))


@settings(max_examples=150)
@given(st.text(alphabet="{}ab. |[]0_\n", max_size=40))
def test_no_text_reaches_more_than_the_values_that_it_names(text: str) -> None:
    asked: list[Reference] = []

    def look_up(reference: Reference) -> Any:
        asked.append(reference)
        return "{{a.b}}"  # what a step made is never read as a template

    try:
        filled = fill({"field": text}, look_up).get("field", "")
    except TemplateError:
        return
    assert isinstance(filled, str)
    named = [one for alternatives in templates_in(text) for one in alternatives]
    assert all(reference in named for reference in asked)
    assert filled.count("{{a.b}}") >= len(asked)
