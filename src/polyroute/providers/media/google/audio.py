"""Speech while it is spoken, music, transcripts, and voices replicated from recordings."""

from __future__ import annotations

import asyncio
import base64
import re
import struct
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from polyroute.dialects.sse import SseDecoder
from polyroute.ports import MediaStream, MediaWire, WireResponse
from polyroute.providers.media import intents
from polyroute.providers.media.google import content, encoded, interactions
from polyroute.providers.media.reach import check_choice, out_of_reach
from polyroute.types.errors import ErrorKind
from polyroute.types.media import Fitted, MediaRequest, Outcome, Produced, Task, Transcript, Voice
from polyroute.types.usage import Usage

_RATE = re.compile(r"rate=(\d+)")
_USUAL_RATE = 24_000
_BLOCK_PATIENCE = 60.0
_DEFAULT_VOICE = "Kore"
PREBUILT = (
    "Zephyr", "Puck", "Charon", "Kore", "Fenrir", "Leda", "Orus", "Aoede", "Callirrhoe", "Autonoe", "Enceladus", "Iapetus",
    "Umbriel", "Algieba", "Despina", "Erinome", "Algenib", "Rasalgethi", "Laomedeia", "Achernar", "Alnilam", "Schedar",
    "Gacrux", "Pulcherrima", "Achird", "Zubenelgenubi", "Vindemiatrix", "Sadachbia", "Sadaltager", "Sulafat",
)  # fmt: skip
_ENDLESS = 0xFFFFFFFF


def wave(samples: bytes, rate: int) -> bytes:
    """Raw 16-bit mono sound as a WAV file."""
    return _wave_head(rate, len(samples)) + samples


def _wave_head(rate: int, size: int) -> bytes:
    """A WAV header; `_ENDLESS` for a size that is not known yet, as players take it."""
    whole = size if size == _ENDLESS else 36 + size
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", whole, b"WAVE") + form + struct.pack("<4sI", b"data", size)


def _rate_of(media_type: str) -> int:
    found = _RATE.search(media_type)
    return int(found[1]) if found else _USUAL_RATE


class Speech:
    """Implements `ports.Streamed`, and `Immediate` for those who want it whole."""

    def __init__(self, provider: str, default_voice: str | None) -> None:
        self._provider = provider
        self._default = default_voice or _DEFAULT_VOICE

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Words, voice, language, and how to speak, which is said in words. No AAC and no FLAC."""
        intents.need_prompt(request)
        notes = []
        if request.voice and request.voice.lower() in intents.OPENAI_VOICES:
            notes.append(f"voice {request.voice} became {self._default}")
        elif request.voice and not request.voice.startswith("voice_") and request.voice.title() not in PREBUILT:
            raise out_of_reach("voice", request.voice, f"are {', '.join(PREBUILT)}, and the ids of replicated voices")
        by_interaction = encoded.form_of(request) is not None
        if request.format not in (None, "wav", "pcm") and not by_interaction:
            raise out_of_reach("format", request.format, f"are {', '.join(encoded.FORMATS)}")
        kept = {"voice", "language", "instructions", "format", "seed", *(() if by_interaction else ("temperature",))}
        kept |= {"sample_rate"} if by_interaction or request.sample_rate == _USUAL_RATE else set()
        return intents.fitted(request, kept, (), notes)

    def _voice(self, request: MediaRequest) -> str:
        if not request.voice or request.voice.lower() in intents.OPENAI_VOICES:
            return self._default
        return request.voice if request.voice.startswith("voice_") else request.voice.title()

    def _interaction(self, request: MediaRequest, model: str) -> dict[str, Any]:
        body = encoded.body_of(request, model, self._voice(request), _spoken(request))
        return content.merged(body, request.options.get(self._provider, {}))

    def _body(self, request: MediaRequest) -> dict[str, Any]:
        voice = self._voice(request)
        speech: dict[str, Any] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}
        if request.language is not None:
            speech["languageCode"] = request.language
        config: dict[str, Any] = {"responseModalities": ["AUDIO"], "speechConfig": speech}
        config |= {
            name: value
            for name, value in (("temperature", request.temperature), ("seed", request.seed))
            if value is not None
        }
        body = {"contents": [{"role": "user", "parts": [{"text": _spoken(request)}]}], "generationConfig": config}
        return content.merged(body, request.options.get(self._provider, {}))

    async def stream(self, request: MediaRequest, model: str, wire: MediaWire) -> MediaStream:
        """Ask; the sound follows while it is spoken."""
        if encoded.form_of(request) is not None:
            body = {**self._interaction(request, model), "stream": True, "store": False}
            response = await wire.open("POST", "/interactions", json=body)
            return encoded.EncodedStream(response, encoded.media_type_of(request), len(request.prompt or ""))
        response = await wire.open(
            "POST", f"/models/{model}:streamGenerateContent", json=self._body(request), query={"alt": "sse"}
        )
        return SpokenStream(response, raw=request.format == "pcm", characters=len(request.prompt or ""))

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The whole of it, as a file whose header says its length."""
        if encoded.form_of(request) is not None:
            return await self._encoded(request, model, wire)
        answer = await content.generate(self._body(request), model, wire)
        parts = list(content.media_of(answer))
        content.check_blocked(answer, empty=not parts)
        samples, rate = b"".join(part for part, _ in parts), _rate_of(parts[0][1])
        raw = request.format == "pcm"
        made = Produced(data=samples, media_type=f"audio/pcm;rate={rate}") if raw else Produced(
            data=wave(samples, rate), media_type="audio/wav"
        )  # fmt: skip
        usage = msgspec.structs.replace(
            content.usage_of(answer), characters=len(request.prompt or ""), seconds=len(samples) / 2 / rate
        )
        return Outcome(
            produced=(made,), usage=usage, model=answer.get("modelVersion"), upstream_id=answer.get("responseId")
        )

    async def _encoded(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        told = (await interactions.converse(self._interaction(request, model), wire))[-1]
        produced = tuple(interactions.media_of(told))
        if not produced:
            raise interactions.nothing_made(told)
        usage = msgspec.structs.replace(interactions.usage_of(told), characters=len(request.prompt or ""))
        given = tuple(msgspec.structs.replace(one, media_type=encoded.media_type_of(request)) for one in produced)
        return Outcome(produced=given, usage=usage, model=told.get("model"), upstream_id=told.get("id"))


def _spoken(request: MediaRequest) -> str:
    """What is to be said, after how to say it."""
    return f"{request.instructions.strip()}\n\n{request.prompt}" if request.instructions else request.prompt or ""


class SpokenStream:
    """Implements `ports.MediaStream` over the events of streamGenerateContent."""

    def __init__(self, response: WireResponse, *, raw: bool, characters: int) -> None:
        self.media_type = f"audio/pcm;rate={_USUAL_RATE}" if raw else "audio/wav"
        self._response = response
        self._raw = raw
        self._usage = Usage(characters=characters)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Samples, after a header where a file is wanted. Raises AttemptFailed."""
        loop, events, begun, last = asyncio.get_running_loop(), SseDecoder(), False, {}
        while True:
            data = await self._response.receive(loop.time() + _BLOCK_PATIENCE)
            for event in events.feed(data) if data else events.close():
                last = self._read(event.data)
                for samples, media_type in content.media_of(last):
                    if not begun and not self._raw:
                        yield _wave_head(_rate_of(media_type), _ENDLESS)
                    begun = True
                    yield samples
                if not begun:
                    self._check(last)
            if not data:
                break
        if not begun:
            content.check_blocked(last, empty=True)

    def _read(self, data: bytes) -> dict[str, Any]:
        try:
            answer = msgspec.json.decode(data)
        except msgspec.MsgspecError as error:
            raise intents.failed(ErrorKind.BAD_RESPONSE, "The provider's stream is broken.") from error
        if isinstance(answer, dict) and isinstance(answer.get("error"), dict):
            detail = answer["error"].get("message")
            raise intents.failed(ErrorKind.UNAVAILABLE, "The provider broke off with an error.", detail=detail)
        if isinstance(answer.get("usageMetadata"), dict):
            self._usage = msgspec.structs.replace(content.usage_of(answer), characters=self._usage.characters)
        return answer if isinstance(answer, dict) else {}

    def _check(self, answer: dict[str, Any]) -> None:
        ended = any(candidate.get("finishReason") for candidate in answer.get("candidates") or ())
        content.check_blocked(answer, empty=ended)

    def usage(self) -> Usage:
        """Tokens, as the last event says."""
        return self._usage

    def abort(self) -> None:
        """Stop."""
        self._response.abort()


class Music:
    """Implements `ports.Immediate`: Lyria; how long and with which words is said in the prompt."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Words, lyrics, whether somebody sings; a length is told in words. The format is the provider's."""
        intents.need_prompt(request)
        if request.format not in (None, "mp3"):
            check_choice(request, "format", request.format, ("mp3",))
        notes = ()
        kept = {"lyrics", "instrumental", "negative_prompt", "seed", "duration", "format"}
        return intents.fitted(request, kept, ("image",), notes)

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """One piece."""
        words = [request.prompt or ""]
        if request.instrumental:
            words.append("Instrumental only, no vocals.")
        if request.duration is not None:
            words.append(f"About {request.duration:g} seconds long.")
        if request.negative_prompt:
            words.append(f"Without: {request.negative_prompt}")
        if request.lyrics:
            words.append(f"Lyrics:\n{request.lyrics}")
        pictures = [await content.inline(item, wire) for item in request.given("image")]
        parts: list[Any] = [{"text": "\n".join(words)}, *pictures]
        config: dict[str, Any] = {"responseModalities": ["AUDIO"]}
        if request.seed is not None:
            config["seed"] = request.seed
        body = {"contents": [{"role": "user", "parts": parts}], "generationConfig": config}
        body = content.merged(body, request.options.get(self._provider, {}))
        answer = await content.generate(body, model, wire)
        found = list(content.media_of(answer))
        content.check_blocked(answer, empty=not found)
        made = tuple(_sound(data, media_type) for data, media_type in found)
        lyrics = "".join(str(part["text"]) for part in content.parts_of(answer) if part.get("text")) or None
        return Outcome(
            produced=made, text=lyrics, usage=content.usage_of(answer), model=answer.get("modelVersion"),
            upstream_id=answer.get("responseId"),
        )  # fmt: skip


def _sound(data: bytes, media_type: str) -> Produced:
    if media_type.lower().startswith(("audio/l16", "audio/pcm")):
        return Produced(data=wave(data, _rate_of(media_type)), media_type="audio/wav")
    return Produced(data=data, media_type=media_type)


_TRANSCRIBE = (
    "Transcribe the speech in this recording word for word{language}. Answer with the transcript alone: no remarks, "
    "no times, no names of speakers. Answer with nothing when nobody speaks."
)
_TRANSLATE = (
    "Translate the speech in this recording into English. Answer with the translation alone: no remarks, no times. "
    "Answer with nothing when nobody speaks."
)


class Listening:
    """Implements `ports.Immediate`: transcripts and translations by generateContent, which gives words without times."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """The sound, its language, hints and a prompt. Subtitles need times, which are not to be had here."""
        intents.need_input(request, "audio", "video")
        if request.format in ("srt", "vtt"):
            raise intents.failed_field("format", request.format, "Gemini's transcripts have no times")
        return intents.fitted(request, {"language", "hints", "temperature", "format"}, ("audio", "video"))

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The words of one recording; a large one is uploaded first, from disk as it is sent."""
        item = intents.need_input(request, "audio", "video")
        sound = await content.part_of(item, wire)
        language = f" in {request.language}" if request.language else ""
        text = _TRANSLATE if request.task is Task.TRANSLATE else _TRANSCRIBE.format(language=language)
        if request.prompt:
            text += f"\nContext: {request.prompt}"
        if request.hints:
            text += f"\nWords that may occur: {', '.join(request.hints)}"
        config = {} if request.temperature is None else {"temperature": request.temperature}
        body = {"contents": [{"role": "user", "parts": [{"text": text}, sound]}], "generationConfig": config}
        body = content.merged(body, request.options.get(self._provider, {}))
        answer = await content.generate(body, model, wire)
        spoken = "".join(str(part.get("text") or "") for part in content.parts_of(answer)).strip()
        if not spoken:
            content.check_blocked(answer, empty=not answer.get("candidates"))
        language_code = "en" if request.task is Task.TRANSLATE else request.language
        return Outcome(
            transcript=Transcript(text=spoken, language=language_code), usage=content.usage_of(answer),
            model=answer.get("modelVersion"), upstream_id=answer.get("responseId"),
        )  # fmt: skip


class Cloning:
    """Implements `ports.Immediate`: a replicated voice, from a recording and one in which its owner consents; or one that is
    made up from a description."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Two recordings: the voice, and the consent to its use; or a prompt that says what it is like."""
        given = len(request.given("reference_audio"))
        if not given and request.prompt:
            return intents.fitted(request, {"voice_name", "language", "voice"}, ("reference_audio",))
        if given != 2:
            raise intents.failed_field(
                "reference_audio", given, "Google needs two recordings: the voice, then its owner's consent"
            )
        return intents.fitted(request, {"voice_name", "language"}, ("reference_audio",))

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The new voice, kept at Google."""
        recordings = []
        for item in request.given("reference_audio"):
            data, media_type = await wire.input_bytes(item)
            recordings.append({"data": base64.b64encode(data).decode(), "mime_type": media_type})
        name = request.voice_name or "cloned voice"
        voice: dict[str, Any] = {"display_name": name}
        if recordings:
            source, consent = recordings
            voice |= {"type": "replicated", "replicated": {"source_audio": source, "consent_audio": consent}}
        else:
            base = {"base_voice": request.voice.title()} if request.voice else {}
            voice |= {"type": "prompted", "prompted": {"input": request.prompt, **base}}
        if request.language is not None:
            voice["language_code"] = request.language
        voice |= request.options.get(self._provider, {})
        answer = (await wire.call("POST", "/voices", json={"voice": voice, "store": True}, creates=True)).json()
        return Outcome(voice=Voice(id=str(answer["id"]), name=name, provider=self._provider, cloned=True))
