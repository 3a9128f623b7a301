"""Transcripts, and voices cloned from recordings."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.ports import FormPart, MediaWire, Reply
from polyroute.providers.media.elevenlabs.parts import ALWAYS, given
from polyroute.providers.media.spoken import turns_of
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import Fitted, Handle, MediaRequest, Outcome, Progress, Transcript, Voice, Word
from polyroute.types.usage import Usage

_LANGUAGES = {
    "afr": "af", "amh": "am", "ara": "ar", "asm": "as", "aze": "az", "bel": "be", "ben": "bn", "bos": "bs", "bul": "bg",
    "cat": "ca", "ces": "cs", "cmn": "zh", "cym": "cy", "dan": "da", "deu": "de", "ell": "el", "eng": "en", "est": "et",
    "fas": "fa", "fil": "tl", "fin": "fi", "fra": "fr", "ful": "ff", "gle": "ga", "glg": "gl", "guj": "gu", "hau": "ha",
    "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "hye": "hy", "ibo": "ig", "ind": "id", "isl": "is", "ita": "it",
    "jav": "jv", "jpn": "ja", "kan": "kn", "kat": "ka", "kaz": "kk", "khm": "km", "kir": "ky", "kor": "ko", "kur": "ku",
    "lao": "lo", "lav": "lv", "lin": "ln", "lit": "lt", "ltz": "lb", "lug": "lg", "mal": "ml", "mar": "mr", "mkd": "mk",
    "mlt": "mt", "mon": "mn", "mri": "mi", "msa": "ms", "mya": "my", "nep": "ne", "nld": "nl", "nor": "no", "nya": "ny",
    "oci": "oc", "ori": "or", "pan": "pa", "pol": "pl", "por": "pt", "pus": "ps", "ron": "ro", "rus": "ru", "slk": "sk",
    "slv": "sl", "sna": "sn", "snd": "sd", "som": "so", "spa": "es", "srp": "sr", "swa": "sw", "swe": "sv", "tam": "ta",
    "tel": "te", "tgk": "tg", "tha": "th", "tur": "tr", "ukr": "uk", "urd": "ur", "uzb": "uz", "vie": "vi", "wol": "wo",
    "xho": "xh", "yor": "yo", "yue": "zh", "zho": "zh", "zul": "zu",
}  # fmt: skip
"""ISO 639-3, in which Scribe answers, as ISO 639-1; a language without a code there keeps its own."""


class _Hearing:
    """What both ways of asking for a transcript have in common."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Everything that a transcript can be asked for, but a prompt."""
        if not request.given("audio") and not request.given("video"):
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'audio' is required: the sound itself.", param="audio")
        kept = (ALWAYS - {"prompt"}) | {
            "inputs", "language", "diarize", "speakers", "timestamps", "temperature", "seed", "hints",
        }  # fmt: skip
        return Fitted(request=request, dropped=given(request, kept))

    async def _ask(self, request: MediaRequest, model: str, wire: MediaWire, **more: str) -> Reply:
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
        parts += [FormPart(name=name, value=value) for name, value in more.items()]
        return await wire.call("POST", "/v1/speech-to-text", form=tuple(parts), creates=True)


class Scribe(_Hearing):
    """Implements `ports.Immediate`: transcripts with times and speakers."""

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The transcript of one call."""
        return _outcome((await self._ask(request, model, wire)).json())


class ReportedScribe(_Hearing):
    """Implements `ports.Queued`: transcripts that ElevenLabs reports to a webhook of the account when they are done."""

    resubmits = False
    pace = (5.0, 30.0)

    def __init__(self, provider: str, webhook: str) -> None:
        super().__init__(provider)
        self._webhook = webhook

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle:
        """Have the recording accepted."""
        told = (await self._ask(request, model, wire, webhook="true", webhook_id=self._webhook)).json()
        return Handle(id=str(told["request_id"]), data={"transcript": str(told["transcription_id"])})

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The transcript, which is not there before it is done."""
        reply = await wire.call("GET", f"/v1/speech-to-text/transcripts/{handle.data['transcript']}", accept=(404,))
        return Progress() if reply.status == 404 else _outcome(reply.json())

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """There is no way to."""


def _outcome(answer: dict[str, Any]) -> Outcome:
    transcript = read_transcript(answer)
    return Outcome(
        transcript=transcript, usage=Usage(seconds=transcript.duration), upstream_id=answer.get("transcription_id")
    )


def language_of(code: str | None) -> str | None:
    """A language as callers know it: two letters where there are two."""
    return None if code is None else _LANGUAGES.get(code.lower(), code)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def read_transcript(answer: dict[str, Any]) -> Transcript:
    """Scribe's answer; spaces and noises are no words."""
    words = tuple(
        Word(
            word=str(one.get("text", "")), start=float(one.get("start") or 0), end=float(one.get("end") or 0),
            speaker=one.get("speaker_id"),
        )
        for one in answer.get("words") or ()
        if one.get("type", "word") == "word"
    )  # fmt: skip
    return Transcript(
        text=str(answer["text"]),
        language=language_of(answer.get("language_code")),
        duration=answer.get("audio_duration_secs") or (words[-1].end if words else None),
        segments=turns_of(words),
        words=words,
    )


class Cloning:
    """Implements `ports.Immediate`: a voice from recordings of it."""

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """A name and recordings."""
        if not request.given("reference_audio"):
            raise PolyrouteError(
                ErrorKind.INVALID_REQUEST, "'reference_audio' is required: recordings of the voice.", param="reference_audio"
            )  # fmt: skip
        kept = ALWAYS | {"inputs", "voice_name", "instructions"}
        return Fitted(request=request, dropped=given(request, kept))

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
