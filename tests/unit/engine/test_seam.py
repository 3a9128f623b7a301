"""Joining two texts of one answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.engine.seam import LEAST_REPEAT, Continuation, Restart, Seam
from polyroute.types.errors import AttemptFailed

STORY = "The quick brown fox jumps over the lazy dog, and then it rests in the shade of an old tree."


def joined(seam: Seam, pieces: list[str]) -> str:
    """What the caller gets of the second text."""
    return "".join(seam.feed(piece) for piece in pieces) + seam.close()


def cut(text: str, places: list[int]) -> list[str]:
    """A text in pieces."""
    ends = sorted({place % (len(text) + 1) for place in places} | {len(text)})
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


@settings(max_examples=150)
@given(at=st.integers(0, len(STORY)), repeat=st.integers(LEAST_REPEAT, 60), places=st.lists(st.integers(0, 200)))
def test_a_repeated_ending_is_told_once_in_any_split(at: int, repeat: int, places: list[int]) -> None:
    sent = STORY[:at]
    second = STORY[max(0, at - repeat) :]
    assert sent + joined(Continuation(sent, word_by_word=True), cut(second, places)) == STORY


@settings(max_examples=150)
@given(at=st.integers(0, len(STORY)), places=st.lists(st.integers(0, 200)))
def test_a_text_that_goes_straight_on_is_joined_as_it_is(at: int, places: list[int]) -> None:
    sent = STORY[:at]
    assert sent + joined(Continuation(sent, word_by_word=False), cut(STORY[at:], places)) == STORY


@settings(max_examples=100)
@given(sent=st.text(max_size=40), second=st.text(max_size=40), places=st.lists(st.integers(0, 200)))
def test_nothing_new_is_lost_however_it_is_split(sent: str, second: str, places: list[int]) -> None:
    whole = joined(Continuation(sent, word_by_word=False), [second])
    assert joined(Continuation(sent, word_by_word=False), cut(second, places)) == whole
    assert second.strip().endswith(whole.strip())


@pytest.mark.parametrize(
    ("sent", "second", "due"),
    [
        ("It was a dark", "and stormy night", " and stormy night"),
        ("It was a dark,", "stormy night", " stormy night"),
        ("It was a dark ", "and stormy night", "and stormy night"),
        ("It was a (", "dark night", "dark night"),
        ("It was", ", they say, dark", ", they say, dark"),
        ("これは", "テスト", "テスト"),
    ],
)
def test_a_turn_of_its_own_gets_the_space_that_it_lost(sent: str, second: str, due: str) -> None:
    assert joined(Continuation(sent, word_by_word=True), [second]) == due


def test_white_space_is_not_doubled() -> None:
    assert joined(Continuation("One.\n", word_by_word=False), ["\n\nTwo."]) == "\nTwo."
    assert joined(Continuation("One. ", word_by_word=False), [" Two."]) == "Two."


@settings(max_examples=100)
@given(at=st.integers(0, len(STORY)), places=st.lists(st.integers(0, 200)))
def test_an_answer_that_was_asked_for_anew_and_says_the_same_has_no_seam(at: int, places: list[int]) -> None:
    sent = STORY[:at]
    assert sent + joined(Restart(sent, exact=True), cut(STORY, places)) == STORY


def test_another_answer_follows_after_an_empty_line() -> None:
    assert joined(Restart("Hello", exact=False), ["He", "y", " you"]) == "\n\nHey you"


def test_half_an_object_is_never_followed_by_another_one() -> None:
    seam = Restart('{"a": 1, "b"', exact=True)
    assert seam.feed('{"a": ') == ""
    with pytest.raises(AttemptFailed, match="differs"):
        seam.feed("2}")
