"""Sentences put together from words with their times."""

from __future__ import annotations

from collections.abc import Iterable

from polyroute.types.media import Segment, Word


def turns_of(words: Iterable[Word]) -> tuple[Segment, ...]:
    """Stretches of one speaker, broken at the ends of sentences."""
    found: list[list[Word]] = []
    for word in words:
        last = found[-1][-1] if found else None
        if last is None or word.speaker != last.speaker or last.word.endswith((".", "!", "?")):
            found.append([])
        found[-1].append(word)
    return tuple(_turn(held) for held in found)


def _turn(words: list[Word]) -> Segment:
    text = " ".join(word.word for word in words)
    return Segment(text=text, start=words[0].start, end=words[-1].end, speaker=words[0].speaker)
