"""Sound effects and music."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.ports import MediaWire, Reply
from polyroute.providers.media.elevenlabs.parts import ALWAYS, charged, format_of, given, need_text
from polyroute.providers.media.reach import out_of_reach
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.media import Fitted, MediaRequest, Outcome, Produced


class _Sound:
    """What effects and music have in common: one call, and the answer is the sound."""

    path = ""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The sound of one call."""
        form, media_type = format_of(request)
        body = {**self.body(request), "model_id": model, **request.options.get(self._provider, {})}
        reply: Reply = await wire.call("POST", self.path, json=body, query={"output_format": form}, creates=True)
        if (reply.header("content-type") or "").startswith(("application/json", "text/")):
            message = "The provider answered with text where sound was due."
            raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message=message))
        return Outcome(
            produced=(Produced(data=reply.body, media_type=media_type),),
            usage=msgspec.structs.replace(charged(reply.headers, None), seconds=request.duration),
            upstream_id=reply.header("song-id") or reply.header("request-id"),
        )

    def body(self, request: MediaRequest) -> dict[str, Any]:
        """The fields of the call."""
        return {}


class Sounds(_Sound):
    """Implements `ports.Immediate`: sound effects."""

    path = "/v1/sound-generation"

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Words, length and whether it loops."""
        need_text(request, 5000)
        format_of(request)
        request, notes = _bounded(request, 0.5, 30)
        return Fitted(request=request, dropped=given(request, ALWAYS | {"duration", "loop", "guidance"}), notes=notes)

    def body(self, request: MediaRequest) -> dict[str, Any]:
        """Text with what was said of it."""
        found: dict[str, Any] = {"text": request.prompt}
        if request.duration is not None:
            found["duration_seconds"] = request.duration
        if request.loop is not None:
            found["loop"] = request.loop
        if request.guidance is not None:
            found["prompt_influence"] = min(max(request.guidance, 0.0), 1.0)
        return found


class Music(_Sound):
    """Implements `ports.Immediate`: songs and instrumental pieces."""

    path = "/v1/music"

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Words, length, lyrics and whether somebody sings."""
        need_text(request, 10_000)
        format_of(request)
        request, notes = _bounded(request, 3, 600)
        kept = ALWAYS | {"duration", "instrumental", "lyrics"}
        return Fitted(request=request, dropped=given(request, kept), notes=notes)

    def body(self, request: MediaRequest) -> dict[str, Any]:
        """A prompt, or with lyrics a plan of one section."""
        if request.lyrics:
            section = {
                "section_name": "Song", "positive_local_styles": [], "negative_local_styles": [],
                "duration_ms": round((request.duration or 60) * 1000), "lines": request.lyrics.splitlines(),
            }  # fmt: skip
            return {
                "composition_plan": {
                    "positive_global_styles": [request.prompt], "negative_global_styles": [], "sections": [section],
                }
            }  # fmt: skip
        found: dict[str, Any] = {"prompt": request.prompt}
        if request.duration is not None:
            found["music_length_ms"] = round(request.duration * 1000)
        if request.instrumental is not None:
            found["force_instrumental"] = request.instrumental
        return found


def _bounded(request: MediaRequest, least: float, most: float) -> tuple[MediaRequest, tuple[str, ...]]:
    wanted = request.duration
    if wanted is None or least <= wanted <= most:
        return request, ()
    found = min(max(wanted, least), most)
    if wanted > most:
        raise out_of_reach("duration", wanted, f"is {least:g} to {most:g}")
    return msgspec.structs.replace(request, duration=found), (f"duration {wanted:g} became {found:g}",)
