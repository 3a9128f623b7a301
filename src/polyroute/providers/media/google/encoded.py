"""Speech in formats that only interactions give: MP3, Opus, and other rates."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from polyroute.dialects.sse import SseDecoder
from polyroute.ports import WireResponse
from polyroute.providers.media.google import interactions
from polyroute.providers.media.verdicts import gone_wrong, unreadable
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.media import MediaRequest
from polyroute.types.usage import Usage

USUAL_RATE = 24_000
_BLOCK_PATIENCE = 60.0
_TYPES = {"mp3": "audio/mp3", "opus": "audio/ogg_opus", "alaw": "audio/alaw", "mulaw": "audio/mulaw"}
_BARE = {"wav": "audio/wav", "pcm": "audio/l16"}
FORMATS = (*_TYPES, *_BARE)
"""All that speech can be had in."""
_SENT_AS = {"audio/mp3": "audio/mpeg", "audio/ogg_opus": "audio/ogg"}


def form_of(request: MediaRequest) -> str | None:
    """The media type to ask for; None for what generateContent gives as well, WAV and bare samples at its own rate."""
    other_rate = request.sample_rate not in (None, USUAL_RATE)
    return _TYPES.get(request.format or "") or (_BARE.get(request.format or "") if other_rate else None)


def body_of(request: MediaRequest, model: str, voice: str, text: str) -> dict[str, Any]:
    """An interaction that speaks."""
    speech = {"voice": voice, **({"language": request.language} if request.language else {})}
    config: dict[str, Any] = {"speech_config": [speech]}
    if request.seed is not None:
        config["seed"] = request.seed
    form: dict[str, Any] = {"type": "audio", "mime_type": form_of(request)}
    if request.sample_rate is not None:
        form["sample_rate"] = request.sample_rate
    return {"model": model, "input": text, "response_format": form, "generation_config": config}


def media_type_of(request: MediaRequest) -> str:
    """What the bytes are, in the usual name."""
    asked = form_of(request) or "audio/wav"
    if asked == "audio/l16":
        return f"audio/pcm;rate={request.sample_rate}"
    return _SENT_AS.get(asked, asked)


class EncodedStream:
    """Implements `ports.MediaStream` over the events of an interaction."""

    def __init__(self, response: WireResponse, media_type: str, characters: int) -> None:
        self.media_type = media_type
        self._response = response
        self._usage = Usage(characters=characters)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The file's bytes, piece by piece. Raises AttemptFailed."""
        loop, events, begun, over = asyncio.get_running_loop(), SseDecoder(), False, False
        while data := await self._response.receive(loop.time() + _BLOCK_PATIENCE):
            for event in events.feed(data):
                if event.data == b"[DONE]":
                    continue
                told = _decoded(event.data)
                over = self._ends(told) or over
                if piece := (told.get("delta") or {}).get("data"):
                    begun = True
                    yield _bytes_of(piece)
        if not over:
            raise AttemptFailed(Failure(kind=ErrorKind.TRUNCATED, message="The provider broke off the speech."))
        if not begun:
            raise interactions.nothing_made({})

    def _ends(self, told: dict[str, Any]) -> bool:
        """Whether this event says that it is over. Raises AttemptFailed when it says that it went wrong."""
        if isinstance(error := told.get("error"), dict):
            raise gone_wrong(
                "The provider broke off with an error.", str(error.get("message") or ""), error.get("code")
            )
        found = told.get("interaction") if isinstance(told.get("interaction"), dict) else told
        if not isinstance(found, dict) or "status" not in found or interactions.state_of(found) is not None:
            return False
        interactions.check_over(found)
        if "usage" in found:
            usage = interactions.usage_of(found)
            self._usage = msgspec.structs.replace(usage, characters=self._usage.characters)
        return True

    def usage(self) -> Usage:
        """Tokens, as the last event says."""
        return self._usage

    def abort(self) -> None:
        """Stop."""
        self._response.abort()


def _decoded(data: bytes) -> dict[str, Any]:
    try:
        told = msgspec.json.decode(data)
    except msgspec.MsgspecError as error:
        raise unreadable("The provider's stream is broken.") from error
    return told if isinstance(told, dict) else {}


def _bytes_of(piece: Any) -> bytes:
    try:
        return base64.b64decode(piece, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise unreadable("The provider's data is no base64.") from error
