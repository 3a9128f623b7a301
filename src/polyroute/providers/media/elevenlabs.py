"""ElevenLabs: speech while it is spoken, voices and their clones, transcripts, sound effects and music (media.md 4)."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import FormPart, Headers, MediaStream, MediaWire, Reply, WireResponse
from polyroute.providers.media.sound import BytesStream
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import (
    Fitted,
    MediaRequest,
    Outcome,
    Produced,
    Segment,
    Task,
    Transcript,
    Voice,
    Word,
)
from polyroute.types.usage import Usage

_OPENAI_VOICES = frozenset({
    "alloy", "ash", "ballad", "coral", "echo", "fable", "onyx", "nova", "sage", "shimmer", "verse", "marin", "cedar",
})  # fmt: skip
_DEFAULT_VOICE = "21m00Tcm4TlvDq8ikWAM"
"""Rachel, one of the premade voices that every account has; the row's option `default_voice` names another."""
_VOICE_ID = re.compile(r"[A-Za-z0-9]{20}")
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
_LONGEST_TEXT = 40_000
_VOICES_A_PAGE = "100"

_KINDS = {
    "text_too_long": ErrorKind.INVALID_REQUEST,
    "empty_text": ErrorKind.INVALID_REQUEST,
    "invalid_api_key": ErrorKind.CREDENTIAL_REJECTED,
    "missing_api_key": ErrorKind.CREDENTIAL_REJECTED,
    "quota_exceeded": ErrorKind.QUOTA_EXHAUSTED,
    "insufficient_credits": ErrorKind.QUOTA_EXHAUSTED,
    "detected_unusual_activity": ErrorKind.CREDENTIAL_REJECTED,
    "feature_not_available": ErrorKind.UNSUPPORTED,
    "subscription_required": ErrorKind.UNSUPPORTED,
    "voice_access_denied": ErrorKind.UNSUPPORTED,
    "model_access_denied": ErrorKind.MODEL_NOT_FOUND,
    "voice_not_found": ErrorKind.UNSUPPORTED,
    "invalid_voice_id": ErrorKind.UNSUPPORTED,
    "model_not_found": ErrorKind.MODEL_NOT_FOUND,
    "unsupported_model": ErrorKind.MODEL_NOT_FOUND,
    "concurrent_limit_exceeded": ErrorKind.RATE_LIMITED,
    "rate_limit_exceeded": ErrorKind.RATE_LIMITED,
    "too_many_concurrent_requests": ErrorKind.RATE_LIMITED,
    "system_busy": ErrorKind.RATE_LIMITED,
}


class ElevenLabsMedia:
    """All that it makes, and its voices."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name
        self._default_voice = str(row.options.get("default_voice") or _DEFAULT_VOICE)
        self._voice_ids: dict[str, str] = {}

    def maker(self, task: Task, model: str) -> Speech | Sounds | Music | Scribe | Cloning | None:
        """By task."""
        match task:
            case Task.SPEECH:
                return Speech(self)
            case Task.SOUND_EFFECT:
                return Sounds(self._provider)
            case Task.MUSIC:
                return Music(self._provider)
            case Task.TRANSCRIBE:
                return Scribe(self._provider)
            case Task.CLONE_VOICE:
                return Cloning()
            case _:
                return None

    @property
    def provider(self) -> str:
        """Whose options are ours."""
        return self._provider

    async def voices(self, wire: MediaWire) -> tuple[Voice, ...]:
        """All voices of the account."""
        found: list[Voice] = []
        token: str | None = None
        while True:
            query = {"page_size": _VOICES_A_PAGE, **({"next_page_token": token} if token else {})}
            page = (await wire.call("GET", "/v2/voices", query=query)).json()
            found += [_voice(one, self._provider) for one in page.get("voices", ())]
            token = page.get("next_page_token")
            if not page.get("has_more") or not token:
                return tuple(found)

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """The models, with what they can do."""
        listed = (await wire.call("GET", "/v1/models")).json()
        return tuple(
            (str(one["model_id"]), (Task.SPEECH,) if one.get("can_do_text_to_speech") else ()) for one in listed
        )

    async def voice_id(self, wanted: str | None, wire: MediaWire) -> str:
        """The id of a voice that is given by id or by name. Raises AttemptFailed (unsupported) for one that is not there."""
        if wanted is None or wanted.lower() in _OPENAI_VOICES:
            return self._default_voice
        if _VOICE_ID.fullmatch(wanted):
            return wanted
        if wanted.lower() not in self._voice_ids:
            page = (await wire.call("GET", "/v2/voices", query={"search": wanted, "page_size": _VOICES_A_PAGE})).json()
            for one in page.get("voices", ()):
                name = str(one["name"]).lower()
                self._voice_ids[name] = self._voice_ids[name.partition(" - ")[0]] = str(one["voice_id"])
        found = self._voice_ids.get(wanted.lower())
        if found is None:
            message = f"There is no voice {wanted!r} at {self._provider}; GET /v1/voices lists those that there are."
            raise AttemptFailed(Failure(kind=ErrorKind.UNSUPPORTED, message=message, param="voice"))
        return found

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """By the code, or its older twin `status`, wherever it stands."""
        try:
            detail = msgspec.json.decode(body).get("detail")
        except (msgspec.MsgspecError, AttributeError):
            return None
        if not isinstance(detail, dict):
            return None
        for name in ("code", "status"):
            kind = _KINDS.get(str(detail.get(name)))
            if kind is not None:
                message = f"ElevenLabs: {str(detail.get('message') or detail[name])[:300]}"
                return Failure(
                    kind=kind, message=message, http_status=status, code=str(detail[name]), param=detail.get("param")
                )
        return None


def _voice(one: dict[str, Any], provider: str) -> Voice:
    labels = one.get("labels") or {}
    language = labels.get("language")
    return Voice(
        id=str(one["voice_id"]), name=str(one.get("name") or one["voice_id"]), provider=provider,
        languages=(str(language),) if language else (), description=one.get("description"),
        preview_url=one.get("preview_url"), cloned=one.get("category") in ("cloned", "professional"),
    )  # fmt: skip


def _given(request: MediaRequest, kept: frozenset[str]) -> tuple[str, ...]:
    """The intents that are not among those."""
    return tuple(
        name for name in request.__struct_fields__ if name not in kept and getattr(request, name) not in (None, (), {})
    )


_ALWAYS = frozenset({"task", "n", "options", "idempotency_key", "prompt", "format", "user"})


def _format_of(request: MediaRequest) -> tuple[str, str]:
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


def _needs_text(request: MediaRequest, most: int) -> None:
    if not (request.prompt or "").strip():
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'prompt' is required.", param="prompt")
    if len(request.prompt or "") > most:
        raise PolyrouteError(
            ErrorKind.UNSUPPORTED, f"'prompt' has {len(request.prompt or '')} characters; at most {most} are possible.",
            param="prompt",
        )  # fmt: skip


def _charged(headers: Headers, otherwise: int | None) -> Usage:
    """What the answer says was charged, in characters."""
    for name, value in headers:
        if name == b"character-cost" and value.isdigit():
            return Usage(characters=int(value), raw={"character-cost": int(value)})
    return Usage(characters=otherwise)


class Speech:
    """Implements `ports.Streamed`."""

    def __init__(self, adapter: ElevenLabsMedia) -> None:
        self._adapter = adapter

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Text, voice, speed, language and seed."""
        _needs_text(request, _LONGEST_TEXT)
        _format_of(request)
        notes = []
        if request.voice and request.voice.lower() in _OPENAI_VOICES:
            notes.append(f"voice {request.voice} became the default voice")
        speed = request.speed
        if speed is not None and not 0.7 <= speed <= 1.2:
            request = msgspec.structs.replace(request, speed=min(max(speed, 0.7), 1.2))
            notes.append(f"speed {speed:g} became {request.speed:g}")
        kept = _ALWAYS | {"voice", "speed", "language", "seed", "sample_rate"}
        return Fitted(request=request, dropped=_given(request, kept), notes=tuple(notes))

    async def stream(self, request: MediaRequest, model: str, wire: MediaWire) -> MediaStream:
        """Ask; the sound follows while it is spoken."""
        voice = await self._adapter.voice_id(request.voice, wire)
        form, media_type = _format_of(request)
        body: dict[str, Any] = {"text": request.prompt, "model_id": model}
        if request.language is not None:
            body["language_code"] = request.language
        if request.seed is not None:
            body["seed"] = request.seed
        if request.speed is not None:
            body["voice_settings"] = {"speed": request.speed}
        body |= request.options.get(self._adapter.provider, {})
        response: WireResponse = await wire.open(
            "POST", f"/v1/text-to-speech/{voice}/stream", json=body, query={"output_format": form}
        )
        return BytesStream(response, media_type, _charged(response.headers, len(request.prompt or "")))


class _Sound:
    """What effects and music have in common: one call, and the answer is the sound."""

    path = ""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The sound of one call."""
        form, media_type = _format_of(request)
        body = {**self.body(request), "model_id": model, **request.options.get(self._provider, {})}
        reply: Reply = await wire.call("POST", self.path, json=body, query={"output_format": form}, creates=True)
        if (reply.header("content-type") or "").startswith(("application/json", "text/")):
            message = "The provider answered with text where sound was due."
            raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message=message))
        return Outcome(
            produced=(Produced(data=reply.body, media_type=media_type),),
            usage=msgspec.structs.replace(_charged(reply.headers, None), seconds=request.duration),
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
        _needs_text(request, 5000)
        _format_of(request)
        request, notes = _bounded(request, 0.5, 30)
        return Fitted(request=request, dropped=_given(request, _ALWAYS | {"duration", "loop", "guidance"}), notes=notes)

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
        _needs_text(request, 10_000)
        _format_of(request)
        request, notes = _bounded(request, 3, 600)
        kept = _ALWAYS | {"duration", "instrumental", "lyrics"}
        return Fitted(request=request, dropped=_given(request, kept), notes=notes)

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
    return msgspec.structs.replace(request, duration=found), (f"duration {wanted:g} became {found:g}",)


class Scribe:
    """Implements `ports.Immediate`: transcripts with times and speakers."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Everything that a transcript can be asked for, but a prompt."""
        if not request.given("audio") and not request.given("video"):
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'audio' is required: the sound itself.", param="audio")
        kept = (_ALWAYS - {"prompt"}) | {
            "inputs", "language", "diarize", "speakers", "timestamps", "temperature", "seed", "hints",
        }  # fmt: skip
        return Fitted(request=request, dropped=_given(request, kept))

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The transcript of one call."""
        item = (*request.given("audio"), *request.given("video"))[0]
        content, media_type = await wire.input_body(item)
        fields: dict[str, Any] = {
            "model_id": model, "language_code": request.language, "num_speakers": request.speakers,
            "diarize": True if request.diarize else None, "temperature": request.temperature, "seed": request.seed,
            "timestamps_granularity": "word",
        }  # fmt: skip
        fields |= request.options.get(self._provider, {})
        parts = [FormPart(name="file", value=content, filename=item.name or "audio", media_type=media_type)]
        parts += [FormPart(name=name, value=_text(value)) for name, value in fields.items() if value is not None]
        parts += [FormPart(name="keyterms", value=hint) for hint in request.hints]
        answer = (await wire.call("POST", "/v1/speech-to-text", form=tuple(parts))).json()
        transcript = _transcript(answer)
        return Outcome(
            transcript=transcript, usage=Usage(seconds=transcript.duration), upstream_id=answer.get("transcription_id")
        )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _transcript(answer: dict[str, Any]) -> Transcript:
    words = tuple(
        Word(
            word=str(one.get("text", "")), start=float(one.get("start") or 0), end=float(one.get("end") or 0),
            speaker=one.get("speaker_id"),
        )
        for one in answer.get("words") or ()
        if one.get("type", "word") == "word"
    )  # fmt: skip
    return Transcript(
        text=str(answer.get("text") or ""),
        language=answer.get("language_code"),
        duration=answer.get("audio_duration_secs") or (words[-1].end if words else None),
        segments=tuple(_turns(words)),
        words=words,
    )


def _turns(words: tuple[Word, ...]) -> list[Segment]:
    """Stretches of one speaker, broken at the ends of sentences."""
    found: list[Segment] = []
    held: list[Word] = []
    for word in words:
        if held and (word.speaker != held[0].speaker or held[-1].word.endswith((".", "!", "?"))):
            found.append(_turn(held))
            held = []
        held.append(word)
    return [*found, _turn(held)] if held else found


def _turn(words: list[Word]) -> Segment:
    text = " ".join(word.word for word in words)
    return Segment(text=text, start=words[0].start, end=words[-1].end, speaker=words[0].speaker)


class Cloning:
    """Implements `ports.Immediate`: a voice from recordings of it."""

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """A name and recordings."""
        if not request.given("reference_audio"):
            raise PolyrouteError(
                ErrorKind.INVALID_REQUEST, "'reference_audio' is required: recordings of the voice.", param="reference_audio"
            )  # fmt: skip
        kept = _ALWAYS | {"inputs", "voice_name", "instructions"}
        return Fitted(request=request, dropped=_given(request, kept))

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The new voice."""
        name = request.voice_name or "cloned voice"
        parts = [FormPart(name="name", value=name)]
        if request.instructions:
            parts.append(FormPart(name="description", value=request.instructions))
        for number, item in enumerate(request.given("reference_audio"), 1):
            content, media_type = await wire.input_body(item)
            filename = item.name or f"recording-{number}.{media_type.partition('/')[2]}"
            parts.append(FormPart(name="files", value=content, filename=filename, media_type=media_type))
        answer = (await wire.call("POST", "/v1/voices/add", form=tuple(parts), creates=True)).json()
        return Outcome(voice=Voice(id=str(answer["voice_id"]), name=name, cloned=True), usage=Usage())
