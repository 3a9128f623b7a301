"""Conditional and partial requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyroute.api.ranges import Selection, select

ETAG = b'"abc"'


@pytest.mark.parametrize(
    ("headers", "due"),
    [
        ({}, (200, 0, 10)),
        ({b"range": b"bytes=2-4"}, (206, 2, 5)),
        ({b"range": b"bytes=2-"}, (206, 2, 10)),
        ({b"range": b"bytes=-3"}, (206, 7, 10)),
        ({b"range": b"bytes=-30"}, (206, 0, 10)),
        ({b"range": b"bytes=0-99"}, (206, 0, 10)),
        ({b"range": b"bytes=10-"}, (416, 0, 0)),
        ({b"range": b"bytes=-0"}, (416, 0, 0)),
        ({b"range": b"bytes=4-2"}, (200, 0, 10)),
        ({b"range": b"bytes=-"}, (200, 0, 10)),
        ({b"range": b"bytes=a-b"}, (200, 0, 10)),
        ({b"range": b"bytes=0-1,3-4"}, (200, 0, 10)),
        ({b"range": b"bytes=%d-" % 10**30}, (416, 0, 0)),
        ({b"range": b"bytes=0-1", b"if-range": ETAG}, (206, 0, 2)),
        ({b"range": b"bytes=0-1", b"if-range": b'W/"abc"'}, (200, 0, 10)),
        ({b"range": b"bytes=0-1", b"if-range": b"Sat, 21 Nov 2026 00:00:00 GMT"}, (200, 0, 10)),
        ({b"if-none-match": ETAG}, (304, 0, 0)),
        ({b"if-none-match": b'W/"abc"'}, (304, 0, 0)),
        ({b"if-none-match": b"*"}, (304, 0, 0)),
        ({b"if-none-match": b'"abd"'}, (200, 0, 10)),
        ({b"if-none-match": ETAG, b"range": b"bytes=0-1"}, (304, 0, 0)),
    ],
)
def test_what_is_sent(headers: dict[bytes, bytes], due: tuple[int, int, int]) -> None:
    assert select(list(headers.items()), ETAG, 10) == Selection(*due)


@given(st.binary(max_size=30), st.integers(0, 50))
def test_whatever_is_asked_is_within_the_file(value: bytes, size: int) -> None:
    for header in (value, b"bytes=" + value):
        found = select([(b"range", header)], ETAG, size)
        assert 0 <= found.start <= found.stop <= size
        assert found.status in (200, 206, 416)
