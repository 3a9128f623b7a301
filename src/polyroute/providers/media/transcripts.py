"""Sentences put together from words that have times."""

from __future__ import annotations

from collections.abc import Sequence

from polyroute.types.media import Segment, Word

_ENDS = (".", "!", "?")


def segments_of(words: Sequence[Word]) -> tuple[Segment, ...]:
    """Stretches of one speaker, broken at the ends of sentences."""
    found: list[Segment] = []
    held: list[Word] = []
    for word in words:
        if held and (word.speaker != held[0].speaker or held[-1].word.endswith(_ENDS)):
            found.append(_joined(held))
            held = []
        held.append(word)
    return (*found, _joined(held)) if held else ()


def _joined(words: Sequence[Word]) -> Segment:
    text = " ".join(word.word for word in words)
    return Segment(text=text, start=words[0].start, end=words[-1].end, speaker=words[0].speaker)
