"""Transcripts with the times and the speaker of each word, which only interactions give."""

from __future__ import annotations

from functools import reduce
from typing import Any

import msgspec

from polyroute.ports import MediaWire
from polyroute.providers.media import intents
from polyroute.providers.media.google import content, interactions
from polyroute.providers.media.google.audio import Listening
from polyroute.providers.media.spoken import turns_of
from polyroute.types.media import Fitted, MediaRequest, Outcome, Transcript, Word

_TIMED_FORMATS = ("srt", "vtt")


class Transcribing(Listening):
    """Implements `ports.Immediate`: by generateContent, and as an interaction where words need times or speakers."""

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Times and speakers leave no room for hints and a context."""
        if not _is_timed(request):
            return super().fit(request, model)
        intents.need_input(request, "audio", "video")
        fitted = intents.fitted(request, {"language", "timestamps", "diarize", "format"}, ("audio", "video"))
        lost = ("prompt",) if request.prompt else ()
        return msgspec.structs.replace(fitted, dropped=(*fitted.dropped, *lost))

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """One recording, at most 15 minutes of it where words have times."""
        if not _is_timed(request):
            return await super().make(request, model, wire)
        mode: dict[str, Any] = {"type": "verbatim", "timestamp_granularities": ["word"]}
        if request.diarize:
            mode["diarization_mode"] = "speaker"
        config: dict[str, Any] = {"mode": mode}
        if request.language is not None:
            config["language_codes"] = [request.language]
        sound = await interactions.block_of(intents.need_input(request, "audio", "video"), wire)
        body = {"model": model, "input": [sound], "generation_config": {"transcription_config": config}}
        body = content.merged(body, request.options.get(self._provider, {}))
        answers = await interactions.converse(body, wire)
        words = tuple(word for told in answers for block in interactions.blocks_of(told) for word in _words_of(block))
        transcript = Transcript(
            text=" ".join(text for told in answers if (text := interactions.text_of(told).strip())),
            language=request.language,
            duration=words[-1].end if words else None,
            segments=turns_of(words),
            words=words if "word" in request.timestamps else (),
        )
        usage = reduce(content.added, (interactions.usage_of(told) for told in answers))
        last = answers[-1]
        return Outcome(transcript=transcript, usage=usage, model=last.get("model"), upstream_id=last.get("id"))


def _is_timed(request: MediaRequest) -> bool:
    return bool(request.timestamps or request.diarize) or request.format in _TIMED_FORMATS


def _words_of(block: dict[str, Any]) -> list[Word]:
    return [
        Word(
            word=str(one.get("text") or ""), start=_seconds(one.get("start_offset")), end=_seconds(one.get("end_offset")),
            speaker=one.get("speaker"),
        )
        for one in block.get("annotations") or ()
        if one.get("type") == "word_info"
    ]  # fmt: skip


def _seconds(offset: Any) -> float:
    """`"0.700s"`; nothing where it cannot be read."""
    try:
        return float(str(offset).removesuffix("s"))
    except ValueError:
        return 0.0
