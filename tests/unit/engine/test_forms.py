"""Multipart uploads: read in any pieces, sent again as often as wanted, every byte as it came but for what was replaced."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polyroute.engine.forms import Form
from polyroute.types.errors import ErrorKind, PolyrouteError

BOUNDARY = b"xYz"
TYPE = "multipart/form-data; boundary=xYz"

names = st.from_regex(re.compile(r"[a-z][a-z0-9_\[\]]{0,8}", re.ASCII), fullmatch=True).filter(
    lambda name: name != "model"
)
contents = st.binary(max_size=60).filter(lambda data: b"--xYz" not in data)


def field(name: str, content: bytes) -> bytes:
    return b'--xYz\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), content)


def file(name: str, content: bytes) -> bytes:
    return (
        b'--xYz\r\nContent-Disposition: form-data; name="%b"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n%b\r\n'
        % (name.encode(), content)
    )


def read(body: bytes, *cuts: int) -> Form:
    """A form that arrived in pieces."""
    form = Form(TYPE)
    start = 0
    try:
        for cut in (*sorted(cut % (len(body) + 1) for cut in cuts), len(body)):
            form.write(body[start:cut])
            start = cut
        form.finish()
    except PolyrouteError:
        form.close()
        raise
    return form


@settings(max_examples=150, deadline=None)
@example(before=[("prompt", b"")], after=[], model="m", target="longer", content=b"", options=True, cuts=[])
@given(
    before=st.lists(st.tuples(names, contents), max_size=3),
    after=st.lists(st.tuples(names, contents), max_size=2),
    model=st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), min_size=1, max_size=12),
    target=st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), min_size=1, max_size=40),
    content=contents,
    options=st.booleans(),
    cuts=st.lists(st.integers(0, 10_000), max_size=8),
)
def test_only_what_is_replaced_or_removed_changes(
    before: list[tuple[str, bytes]], after: list[tuple[str, bytes]], model: str, target: str, content: bytes,
    options: bool, cuts: list[int],
) -> None:  # fmt: skip
    head = b"".join(field(name, value) for name, value in before)
    tail = file("file", content) + b"".join(file(name, value) for name, value in after) + b"--xYz--\r\n"
    wishes = field("polyroute", b"{}") if options else b""
    form = read(head + wishes + field("model", model.encode()) + tail, *cuts)
    try:
        assert form.get("model") == model
        assert form.has_file("file")
        assert not form.has_file("model")
        body = form.body({"model": target}, frozenset({"polyroute"}))
        due = head + field("model", target.encode()) + tail
        for _ in range(2):  # the next attempt
            sent = b"".join(body.chunks())
            assert body.length == len(sent)
            # Where the first part was removed, its line end stays: an empty preamble.
            assert sent == (b"\r\n" if options and not before else b"") + due
        other = form.body({"model": model}, frozenset({"polyroute"}))
        one, two = iter(body.chunks()), iter(other.chunks())
        assert next(one).lstrip()[:5] == next(two).lstrip()[:5] == b"--xYz"  # two attempts that read by turns
        assert b"".join(form.body({}).chunks()) == head + wishes + field("model", model.encode()) + tail
    finally:
        form.close()


def test_what_is_larger_than_memory_should_hold_is_read_back_whole() -> None:
    content = bytes(range(256)) * 20_000
    body = file("file", content) + field("model", b"m") + b"--xYz--\r\n"
    form = read(body, *range(0, len(body), 65_000))
    try:
        sent = list(form.body({"model": "longer"}).chunks())
        assert b"".join(sent) == body.replace(b"\r\n\r\nm\r\n", b"\r\n\r\nlonger\r\n")
        assert max(len(block) for block in sent) <= 1 << 16
    finally:
        form.close()


@pytest.mark.parametrize(
    "body",
    [b"", b"no form", b"--other\r\n", field("model", b"m"), field("model", b"m") + b"--xYz"],
    ids=["empty", "words", "other-boundary", "broken-off", "broken-end"],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(PolyrouteError) as refused:
        read(body)
    assert refused.value.kind is ErrorKind.INVALID_REQUEST


def test_a_field_of_text_has_an_end() -> None:
    with pytest.raises(PolyrouteError, match="too long"):
        read(field("model", b"m" * 100_000) + b"--xYz--\r\n")


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=", "text/plain"])
def test_a_form_without_a_boundary_is_refused(content_type: str) -> None:
    with pytest.raises(PolyrouteError, match="boundary"):
        Form(content_type)
