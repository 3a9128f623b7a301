"""Reading what callers ask of jobs: whatever they send becomes a request that holds together, or a refusal of a field."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.engine.jobs.requests import ALIASES, check_request, read_media_request
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import MediaRequest, Task

FIELDS = sorted({*MediaRequest.__struct_fields__, *ALIASES, "inputs", "input", "text", "bogus"})
ADDRESSES = ["https://example.com/a.png", "data:image/png;base64,AA==", "file-1", "art_1", "/etc/passwd", "ftp://x", ""]
ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.sampled_from(ADDRESSES)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
CLIPS = st.fixed_dictionaries({"source": st.sampled_from(ADDRESSES)})
LIKELY: dict[str, st.SearchStrategy[Any]] = {
    "task": st.sampled_from([*Task, "text_to_dance"]),
    "prompt": st.sampled_from(["a red fox", " ", ""]),
    "width": st.integers(-5, 20_000),
    "n": st.integers(-1, 20),
    "duration": st.floats(-1, 20_000),
    "timeline": st.fixed_dictionaries({"clips": st.lists(CLIPS, max_size=2)}),
    **{name: st.sampled_from(ADDRESSES) for name in ALIASES},
}  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    values=st.fixed_dictionaries(
        {"task": st.one_of(LIKELY["task"], ANYTHING)},
        optional={name: LIKELY.get(name, ANYTHING) for name in FIELDS if name != "task"},
    ),
    odd=st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=2),
)
def test_whatever_is_sent_is_read_or_refused_by_its_field(values: dict[str, Any], odd: dict[str, Any]) -> None:
    sent = {**values, **odd}
    before = repr(sent)
    refused = None
    try:
        request = read_media_request(sent)
    except PolyrouteError as error:
        refused = error
    assert repr(sent) == before
    if refused is None:
        check_request(request)
        assert request.idempotency_key is None
        assert msgspec.json.decode(msgspec.json.encode(request), type=MediaRequest) == request
        return
    assert (refused.kind, refused.status) == (ErrorKind.INVALID_REQUEST, 400)
    assert refused.message
    assert refused.param is None or refused.param.partition(".")[0].partition("[")[0] in {*sent, *FIELDS}


def test_a_key_of_ours_cannot_be_given() -> None:
    with pytest.raises(PolyrouteError) as refused:
        read_media_request({"task": "text_to_image", "prompt": "x", "idempotency_key": "mine"})
    assert refused.value.param == "idempotency_key"


@pytest.mark.parametrize(
    ("task", "field", "role"),
    [
        ("image_to_video", "image", "first_frame"),
        ("animate", "image", "first_frame"),
        ("image_to_image", "image", "image"),
        ("edit_image", "image", "image"),
        ("transcribe", "audio", "audio"),
        ("clone_voice", "reference_audio", "reference_audio"),
    ],
)
def test_a_field_of_a_role_becomes_an_input(task: str, field: str, role: str) -> None:
    request = read_media_request({"task": task, "prompt": "x", field: ["art_1", "https://example.com/a"]})
    assert [(item.role, item.artifact, item.url) for item in request.inputs] == [
        (role, "art_1", None), (role, None, "https://example.com/a"),
    ]  # fmt: skip
