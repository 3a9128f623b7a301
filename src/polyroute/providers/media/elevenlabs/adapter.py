"""ElevenLabs as a whole: who makes what, its voices, models, errors and signed callbacks; and its speech."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Callback, Headers, MediaStream, MediaWire, WireResponse
from polyroute.providers.media.elevenlabs.parts import ALWAYS, charged, format_of, given, need_text
from polyroute.providers.media.elevenlabs.recordings import (
    CHANGING,
    DUBBING,
    ISOLATION,
    Dubbing,
    Isolation,
    VoiceChange,
)
from polyroute.providers.media.elevenlabs.scribe import Cloning, ReportedScribe, Scribe
from polyroute.providers.media.elevenlabs.sounds import Music, Sounds
from polyroute.providers.media.intents import OPENAI_VOICES
from polyroute.providers.media.sound import BytesStream
from polyroute.providers.media.spoken import turns_of
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Fitted, MediaRequest, Outcome, Produced, Task, Transcript, Voice, Word

_LONGEST_TEXT = 40_000
_SKEW = 1800.0
"""Seconds that a callback's signature holds, as ElevenLabs' own client takes it."""
_DEFAULT_VOICE = "21m00Tcm4TlvDq8ikWAM"
"""Rachel, one of the premade voices that every account has; the row's option `default_voice` names another."""
_VOICE_ID = re.compile(r"[A-Za-z0-9]{20}")
_VOICES_A_PAGE = "100"
_VOICES_NAMED = 12

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
        self._webhook_secret = str(row.options.get("webhook_secret") or "")
        self._webhook = str(row.options.get("webhook_id") or "")

    def maker(
        self, task: Task, model: str
    ) -> Speech | VoiceChange | Isolation | Dubbing | Sounds | Music | Scribe | ReportedScribe | Cloning | None:
        """By task."""
        match task:
            case Task.SPEECH if CHANGING in model:
                return VoiceChange(self._provider, self.voice_id)
            case Task.SPEECH if model == ISOLATION:
                return Isolation(self._provider)
            case Task.SPEECH if model == DUBBING:
                return Dubbing(self._provider)
            case Task.SPEECH:
                return Speech(self)
            case Task.SOUND_EFFECT:
                return Sounds(self._provider)
            case Task.MUSIC:
                return Music(self._provider)
            case Task.TRANSCRIBE:
                return ReportedScribe(self._provider, self._webhook) if self._webhook else Scribe(self._provider)
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
        if wanted is None or wanted.lower() in OPENAI_VOICES:
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
            known = ", ".join(voice.name for voice in (await self.voices(wire))[:_VOICES_NAMED])
            message = f"'voice' is {wanted!r}; {self._provider} has {known} (GET /v1/voices lists all with their ids)."
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

    async def callback(self, headers: Headers, body: bytes, wire: MediaWire, now: float) -> Callback:
        """A transcript is done: signed with the secret of the webhook (the row's option `webhook_secret`)."""
        given_parts = next((value.decode("latin-1") for name, value in headers if name == b"elevenlabs-signature"), "")
        parts = [part.strip().partition("=") for part in given_parts.split(",")]
        stamp = next((value for name, _, value in parts if name == "t"), "")
        if not self._webhook_secret or not stamp.isdecimal() or abs(int(stamp) - now) > _SKEW:
            raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback's timestamp is missing or too old.")
        digest = hmac.new(self._webhook_secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        if not any(name == "v0" and hmac.compare_digest(digest, value) for name, _, value in parts):
            raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback's signature does not hold.")
        try:
            report = msgspec.json.decode(body)
        except msgspec.MsgspecError as error:
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "The callback is no JSON.") from error
        data = report.get("data") if isinstance(report, dict) else None
        told = data if isinstance(data, dict) else {}
        return Callback(handle_id=str(told.get("request_id") or told.get("transcription_id") or ""))


def _voice(one: dict[str, Any], provider: str) -> Voice:
    labels = one.get("labels") or {}
    language = labels.get("language")
    return Voice(
        id=str(one["voice_id"]), name=str(one.get("name") or one["voice_id"]), provider=provider,
        languages=(str(language),) if language else (), description=one.get("description"),
        preview_url=one.get("preview_url"), cloned=one.get("category") in ("cloned", "professional"),
    )  # fmt: skip


class Speech:
    """Implements `ports.Streamed`, and `ports.Immediate` for speech that is wanted whole, and perhaps with its times."""

    def __init__(self, adapter: ElevenLabsMedia) -> None:
        self._adapter = adapter

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Text, voice, speed, language and seed."""
        need_text(request, _LONGEST_TEXT)
        format_of(request)
        notes = []
        if request.voice and request.voice.lower() in OPENAI_VOICES:
            notes.append(f"voice {request.voice} became the default voice")
        speed = request.speed
        if speed is not None and not 0.7 <= speed <= 1.2:
            request = msgspec.structs.replace(request, speed=min(max(speed, 0.7), 1.2))
            notes.append(f"speed {speed:g} became {request.speed:g}")
        kept = ALWAYS | {"voice", "speed", "language", "seed", "sample_rate", "timestamps"}
        return Fitted(request=request, dropped=given(request, kept), notes=tuple(notes))

    async def look(self, request: MediaRequest, model: str, wire: MediaWire) -> None:
        """See `ports.Looking.look`: whether there is such a voice."""
        await self._adapter.voice_id(request.voice, wire)

    async def stream(self, request: MediaRequest, model: str, wire: MediaWire) -> MediaStream:
        """Ask; the sound follows while it is spoken."""
        form, media_type = format_of(request)
        path, body = await self._order(request, model, wire)
        response: WireResponse = await wire.open("POST", f"{path}/stream", json=body, query={"output_format": form})
        return BytesStream(response, media_type, charged(response.headers, len(request.prompt or "")))

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The sound of one call; where times are wanted, with what is said when."""
        if not request.timestamps:
            stream = await self.stream(request, model, wire)
            try:
                content = b"".join([block async for block in stream.chunks()])
            finally:
                stream.abort()
            return Outcome(produced=(Produced(data=content, media_type=stream.media_type),), usage=stream.usage())
        form, media_type = format_of(request)
        path, body = await self._order(request, model, wire)
        reply = await wire.call(
            "POST", f"{path}/with-timestamps", json=body, query={"output_format": form}, creates=True
        )
        told = reply.json()
        words = spoken_words(told.get("alignment") or {})
        transcript = Transcript(
            text=request.prompt or "", language=request.language, duration=words[-1].end if words else None,
            segments=turns_of(words), words=words,
        )  # fmt: skip
        sound = Produced(data=base64.b64decode(told["audio_base64"]), media_type=media_type)
        usage = charged(reply.headers, len(request.prompt or ""))
        return Outcome(produced=(sound,), transcript=transcript, usage=usage, upstream_id=reply.header("request-id"))

    async def _order(self, request: MediaRequest, model: str, wire: MediaWire) -> tuple[str, dict[str, Any]]:
        """Path and fields, whatever form the answer has."""
        voice = await self._adapter.voice_id(request.voice, wire)
        body: dict[str, Any] = {"text": request.prompt, "model_id": model}
        if request.language is not None:
            body["language_code"] = request.language
        if request.seed is not None:
            body["seed"] = request.seed
        if request.speed is not None:
            body["voice_settings"] = {"speed": request.speed}
        body |= request.options.get(self._adapter.provider, {})
        return f"/v1/text-to-speech/{voice}", body


def spoken_words(alignment: dict[str, Any]) -> tuple[Word, ...]:
    """The words of an alignment, which has the times of every character."""
    names = ("characters", "character_start_times_seconds", "character_end_times_seconds")
    found: list[Word] = []
    text, begun = "", 0.0
    until = 0.0
    for character, start, end in (*zip(*(alignment.get(name) or () for name in names), strict=False), (" ", 0.0, 0.0)):
        if not str(character).strip():
            if text:
                found.append(Word(word=text, start=begun, end=until))
            text = ""
            continue
        begun = begun if text else float(start)
        text, until = text + str(character), float(end)
    return tuple(found)
