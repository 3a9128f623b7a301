"""Whatever a file holds, its reader answers with values or problems, and never with anything else."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.settings.document import Document, expand_references, parse_document
from polyroute.settings.environment import parse_env_file
from polyroute.settings.load import load_settings
from polyroute.settings.problems import ConfigurationError, Problem

names = st.from_regex(r"[A-Z_][A-Z0-9_]{0,10}", fullmatch=True)
plain = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), max_size=20)
KEYS = ["server", "providers", "routes", "text", "openai", "targets", "port", "timeouts"]
yamlish = st.text(st.sampled_from(list("ab:-[]{}&*!|>'\"#%$\n \t<,?0~@`")), max_size=60)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(names, plain.filter(lambda text: not set(text) & set("'\"#\\"))))
def test_what_is_written_into_an_env_file_is_read_from_it(values):
    problems: list[Problem] = []
    for form in ("{}={}", "export {}='{}'", '  {} = "{}"  # spoken'):
        text = "\n".join(form.format(name, value) for name, value in values.items())
        assert parse_env_file(text, ".env", problems) == values
    assert problems == []


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_env_file_is_read(text):
    problems: list[Problem] = []
    values = parse_env_file(text, ".env", problems)
    assert all(isinstance(value, str) for value in values.values())
    assert all(problem.origin.line for problem in problems)


@settings(max_examples=150, deadline=None)
@given(st.one_of(yamlish, st.text(max_size=60)))
def test_any_document_is_read(text):
    document = Document()
    parse_document(text, "polyroute.yaml", document)
    assert isinstance(expand_references(document, {}), dict)


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
        max_leaves=8,
    )
)
def test_any_shape_is_accepted_or_refused(tmp_path_factory, value):
    file = tmp_path_factory.getbasetemp() / "shape.yaml"
    file.write_text(json.dumps(value), encoding="utf-8")
    try:
        problems = () if load_settings(file, {}).server.port >= 0 else None
    except ConfigurationError as error:
        problems = error.problems
    assert problems is not None
