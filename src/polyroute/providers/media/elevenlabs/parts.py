"""What ElevenLabs' makers share: intents that are kept, formats of sound, what was charged."""

from __future__ import annotations

from polyroute.ports import Headers
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import MediaRequest
from polyroute.types.usage import Usage

_FORMATS = {
    "mp3": "mp3_44100_128", "opus": "opus_48000_128", "pcm": "pcm_24000", "wav": "wav_24000", "ulaw": "ulaw_8000",
    "alaw": "alaw_8000",
}  # fmt: skip
_RATES = {"mp3": (22050, 24000, 44100), "pcm": (8000, 16000, 22050, 24000, 32000, 44100, 48000)}
_BITRATE = {"mp3": {22050: 32, 24000: 48, 44100: 128}}
_MEDIA_TYPES = {
    "mp3": "audio/mpeg", "opus": "audio/ogg", "pcm": "audio/pcm", "wav": "audio/wav", "ulaw": "audio/basic",
    "alaw": "audio/basic",
}  # fmt: skip


def given(request: MediaRequest, kept: frozenset[str]) -> tuple[str, ...]:
    """The intents that are not among those."""
    return tuple(
        name for name in request.__struct_fields__ if name not in kept and getattr(request, name) not in (None, (), {})
    )


ALWAYS = frozenset({"task", "n", "options", "idempotency_key", "prompt", "format", "user"})


def format_of(request: MediaRequest) -> tuple[str, str]:
    """`output_format` and media type. Raises PolyrouteError (unsupported)."""
    form = request.format or "mp3"
    if form not in _FORMATS:
        raise PolyrouteError(
            ErrorKind.UNSUPPORTED, f"'format' is {form!r}; ElevenLabs makes {', '.join(_FORMATS)}.", param="format"
        )
    found = _FORMATS[form]
    if request.sample_rate is not None and request.sample_rate in _RATES.get(form, ()):
        rate = _BITRATE.get(form, {}).get(request.sample_rate)
        found = f"{form}_{request.sample_rate}" + (f"_{rate}" if rate else "")
    media_type = _MEDIA_TYPES[form]
    return found, f"{media_type};rate={found.split('_')[1]}" if form == "pcm" else media_type


def need_text(request: MediaRequest, most: int) -> None:
    if not (request.prompt or "").strip():
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'prompt' is required.", param="prompt")
    if len(request.prompt or "") > most:
        raise PolyrouteError(
            ErrorKind.UNSUPPORTED, f"'prompt' has {len(request.prompt or '')} characters; at most {most} are possible.",
            param="prompt",
        )  # fmt: skip


def charged(headers: Headers, otherwise: int | None) -> Usage:
    """What the answer says was charged, in characters."""
    for name, value in headers:
        if name == b"character-cost" and value.isdigit():
            return Usage(characters=int(value), raw={"character-cost": int(value)})
    return Usage(characters=otherwise)
