"""Transcripts as SRT and WebVTT."""

from __future__ import annotations

from collections.abc import Iterable

from polyroute.types.media import Segment, Transcript, Word

_LONGEST_CUE = 7.0  # seconds
_SENTENCE_ENDS = (".", "!", "?", "\u3002", "\uff1f", "\uff01")
_MOST_CHARACTERS = 84  # two lines of 42, the usual limit for subtitles


def to_srt(transcript: Transcript) -> str:
    """SubRip: numbered cues, a comma before the milliseconds."""
    cues = (
        f"{number}\n{_time(cue.start, ',')} --> {_time(cue.end, ',')}\n{_text(cue)}\n"
        for number, cue in enumerate(cues_of(transcript), 1)
    )
    return "\n".join(cues)


def to_vtt(transcript: Transcript) -> str:
    """WebVTT."""
    cues = (f"{_time(cue.start, '.')} --> {_time(cue.end, '.')}\n{_text(cue)}\n" for cue in cues_of(transcript))
    return "WEBVTT\n\n" + "\n".join(cues)


def cues_of(transcript: Transcript) -> tuple[Segment, ...]:
    """The segments; made from the words where there are none, one for all where there are neither."""
    if transcript.segments:
        return transcript.segments
    if transcript.words:
        return tuple(_from_words(transcript.words))
    if not transcript.text.strip():
        return ()
    return (Segment(text=transcript.text, start=0.0, end=transcript.duration or 0.0),)


def _from_words(words: Iterable[Word]) -> Iterable[Segment]:
    held: list[Word] = []
    for word in words:
        if held and (
            word.end - held[0].start > _LONGEST_CUE
            or sum(len(one.word) + 1 for one in held) + len(word.word) > _MOST_CHARACTERS
            or word.speaker != held[0].speaker
            or held[-1].word.rstrip().endswith(_SENTENCE_ENDS)
        ):
            yield _joined(held)
            held = []
        held.append(word)
    if held:
        yield _joined(held)


def _joined(words: list[Word]) -> Segment:
    text = " ".join(word.word.strip() for word in words)
    return Segment(text=text, start=words[0].start, end=words[-1].end, speaker=words[0].speaker)


def _text(cue: Segment) -> str:
    text = " ".join(cue.text.split()).replace("-->", "→")
    return f"{cue.speaker}: {text}" if cue.speaker else text


def _time(seconds: float, mark: str) -> str:
    milliseconds = max(round(seconds * 1000), 0)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{mark}{rest % 1000:03}"
