"""Event streams and lines of JSON: any framing, any split, any size."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.dialects.sse import LineDecoder, ServerEvent, SseDecoder, render_event


def decode(body: bytes, cuts: list[int] | None = None) -> list[ServerEvent]:
    decoder = SseDecoder()
    edges = [0, *sorted(cuts or []), len(body)]
    found = [event for a, b in pairwise(edges) for event in decoder.feed(body[a:b])]
    return found + decoder.close()


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: x\n\n", [ServerEvent("", b"x")]),
        (b"data:x\n\n", [ServerEvent("", b"x")]),
        (b"data:  x\n\n", [ServerEvent("", b" x")]),
        (b"data\n\n", [ServerEvent("", b"")]),
        (b": comment\n\n\n\n", []),
        (b"event: e\ndata: a\ndata: b\nid: 1\nretry: 5\n\n", [ServerEvent("e", b"a\nb")]),
        (b"\xef\xbb\xbfdata: x\n\n", [ServerEvent("", b"x")]),
        (b"data: x", [ServerEvent("", b"x")]),
        ("data: a\u2028b\x85c\n\n".encode(), [ServerEvent("", "a\u2028b\x85c".encode())]),
    ],
)
def test_events_are_read_as_the_standard_says(body: bytes, events: list[ServerEvent]) -> None:
    assert decode(body) == events
    assert decode(body.replace(b"\n", b"\r\n")) == events
    assert decode(body.replace(b"\n", b"\r")) == events


blocks = st.lists(
    st.sampled_from(
        [b"data: x\n\n", b": c\n\n", b"event: e\ndata:y\ndata: z\n\n", b"\n", "data: \u2028🙂\n\n".encode()]
    ),
    max_size=6,
).map(b"".join)


@given(st.sampled_from([b"", b"\xef\xbb\xbf"]), blocks, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.data())
@settings(max_examples=200, deadline=None)
def test_any_split_gives_the_same_events(start: bytes, body: bytes, line_end: bytes, data: st.DataObject) -> None:
    body = start + body.replace(b"\n", line_end)
    cuts = data.draw(st.lists(st.integers(0, len(body)), max_size=8))
    assert decode(body, cuts) == decode(body)


def test_what_is_rendered_is_decoded() -> None:
    assert decode(render_event(b"{}", "ping") + render_event(b"[DONE]")) == [
        ServerEvent("ping", b"{}"),
        ServerEvent("", b"[DONE]"),
    ]


def test_an_event_of_many_megabytes_is_joined_once() -> None:
    """Images come as one line in thousands of pieces."""
    decoder, piece = SseDecoder(), b"x" * 4096
    decoder.feed(b"data: ")
    began = time.process_time()
    for _ in range(4000):
        assert decoder.feed(piece) == []
    (event,) = decoder.feed(b"\n\n")
    assert len(event.data) == 4000 * 4096
    assert time.process_time() - began < 2.0  # joining at every piece takes many times that


@given(st.lists(st.sampled_from([b"{}", b'{"a":1}', b"", b"  "]), max_size=5), st.integers(1, 6), st.booleans())
@settings(max_examples=80, deadline=None)
def test_lines_in_any_split(lines: list[bytes], size: int, ended: bool) -> None:
    body = b"\r\n".join(lines) + (b"\n" if ended else b"")
    decoder = LineDecoder()
    found = [line for at in range(0, len(body), size) for line in decoder.feed(body[at : at + size])] + decoder.close()
    assert found == [line for line in lines if line.strip()]
