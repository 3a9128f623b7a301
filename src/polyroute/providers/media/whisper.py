"""Whisper on one's own machine: whisper-asr-webservice, and servers of OpenAI's dialect such as speaches (media.md 18).

Option `api` says which (`asr` or `openai`); unless said, the first answer of the server does.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import FormPart, Headers, Immediate, MediaWire
from polyroute.providers.media.asking import ask_once
from polyroute.providers.media.drops import keeping
from polyroute.providers.media.openai import transcription_outcome
from polyroute.types.errors import ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Fitted, MediaRequest, Outcome, Segment, Task, Transcript, Word
from polyroute.types.usage import Usage

_OPENAI_MODEL = "Systran/faster-whisper-small"
_GENERIC = "whisper"
"""The row's own name for whatever model the server has loaded."""


class WhisperMedia:
    """Makers for transcription, whichever of the two servers it is."""

    def __init__(self, row: Provider) -> None:
        self._service = Service(str(row.options.get("api") or "") or None)
        self._provider = row.name

    def maker(self, task: Task, model: str) -> Immediate | None:
        """Transcribes and translates."""
        return Hearing(self._service, self._provider) if task in (Task.TRANSCRIBE, Task.TRANSLATE) else None

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """FastAPI's `detail`."""
        return detail_failure(status, body)

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """What is installed at a server of OpenAI's dialect; the other kind has loaded the one that it has."""
        if await self._service.api(wire) == "asr":
            return ((_GENERIC, (Task.TRANSCRIBE, Task.TRANSLATE)),)
        listed = (await wire.call("GET", "/v1/models", query={"task": "automatic-speech-recognition"})).json()
        return tuple((str(one["id"]), (Task.TRANSCRIBE, Task.TRANSLATE)) for one in listed.get("data", ()))

    async def healthy(self, wire: MediaWire) -> str | None:
        """See `ports.LocalService.healthy`."""
        await self._service.api(wire, again=True)
        return None


class Service:
    """Which of the two the server is, found out once."""

    def __init__(self, given: str | None) -> None:
        self._given = given
        self._found: str | None = None
        self._one = asyncio.Lock()

    async def api(self, wire: MediaWire, *, again: bool = False) -> str:
        """`asr` or `openai`. Raises AttemptFailed when the server does not answer."""
        async with self._one:
            if self._found is None or again:
                reply = await wire.call("GET", "/health", accept=(401, 404, 405))
                if reply.status >= 300:
                    await wire.call("GET", "/openapi.json")
                    self._found = "asr"
                else:
                    self._found = "openai"
            return self._given or self._found


class Hearing:
    """Implements `ports.Immediate`."""

    def __init__(self, service: Service, provider: str) -> None:
        self._service = service
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Language, hints as a prompt, times, speakers."""
        if not request.given("audio") and not request.given("video"):
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'audio' is required: the sound itself.", param="audio")
        return keeping(
            request, "inputs", "language", "prompt", "timestamps", "diarize", "speakers", "temperature", "format"
        )

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The transcript of one call."""
        item = (*request.given("audio"), *request.given("video"))[0]
        content, media_type = await wire.input_body(item)
        name = item.name or f"audio.{media_type.partition('/')[2].removeprefix('x-')}"
        given = request.options.get(self._provider, {})
        if await self._service.api(wire) == "asr":
            part = FormPart(name="audio_file", value=content, filename=name, media_type=media_type)
            query = {**_asr_query(request), **{key: _text(value) for key, value in given.items()}}
            reply = await ask_once(wire, "/asr", form=(part,), query=query)
            return asr_outcome(reply.json())
        chosen = _OPENAI_MODEL if model == _GENERIC else model
        fields: dict[str, Any] = {
            "model": chosen, "response_format": "verbose_json", "language": request.language, "prompt": request.prompt,
            "temperature": request.temperature, **given,
        }  # fmt: skip
        parts = [FormPart(name="file", value=content, filename=name, media_type=media_type)]
        parts += [FormPart(name=key, value=_text(value)) for key, value in fields.items() if value is not None]
        parts += [FormPart(name="timestamp_granularities[]", value=stamp) for stamp in request.timestamps]
        what = "translations" if request.task is Task.TRANSLATE else "transcriptions"
        return transcription_outcome((await ask_once(wire, f"/v1/audio/{what}", form=tuple(parts))).json())


def _asr_query(request: MediaRequest) -> dict[str, str]:
    query = {
        "output": "json",
        "encode": "true",
        "task": "translate" if request.task is Task.TRANSLATE else "transcribe",
    }
    if request.language:
        query["language"] = request.language
    if request.prompt:
        query["initial_prompt"] = request.prompt
    if "word" in request.timestamps:
        query["word_timestamps"] = "true"
    if request.diarize:
        query["diarize"] = "true"
    if request.speakers is not None:
        query |= {"min_speakers": str(request.speakers), "max_speakers": str(request.speakers)}
    return query


def asr_outcome(answer: dict[str, Any]) -> Outcome:
    """whisper-asr-webservice's JSON. Segments are objects, or arrays with some versions of faster-whisper, where begin, end
    and text are the third to fifth item."""
    segments, words = [], []
    for one in answer.get("segments") or ():
        if isinstance(one, list):
            segments.append(Segment(text=str(one[4]).strip(), start=float(one[2]), end=float(one[3])))
            continue
        segments.append(
            Segment(
                text=str(one.get("text", "")).strip(), start=float(one.get("start") or 0), end=float(one.get("end") or 0),
                speaker=one.get("speaker"),
            )
        )  # fmt: skip
        words += [
            Word(
                word=str(word.get("word", "")).strip(), start=float(word.get("start") or 0), end=float(word.get("end") or 0),
                speaker=word.get("speaker"),
            )
            for word in one.get("words") or ()
        ]  # fmt: skip
    duration = segments[-1].end if segments else None
    transcript = Transcript(
        text=str(answer["text"]).strip(), language=answer.get("language"), duration=duration,
        segments=tuple(segments), words=tuple(words),
    )  # fmt: skip
    return Outcome(transcript=transcript, usage=Usage(seconds=duration))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def detail_failure(status: int, body: bytes, kinds: dict[int, ErrorKind] | None = None) -> Failure | None:
    """An error of FastAPI: `{detail}`, in words or as a list of what is wrong with which field."""
    try:
        detail = msgspec.json.decode(body).get("detail")
    except (msgspec.DecodeError, AttributeError):
        return None
    param = None
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        param = str((detail[0].get("loc") or [None])[-1])
        detail = f"{param}: {detail[0].get('msg')}"
    if not isinstance(detail, str):
        return None
    kind = (kinds or {}).get(status)
    if kind is None:
        if status == 404:
            kind = ErrorKind.MODEL_NOT_FOUND
        elif status in (400, 413, 415, 422):
            kind = ErrorKind.INVALID_REQUEST
        elif status == 500 and "load audio" in detail:  # what cannot be decoded
            kind, param = ErrorKind.INVALID_REQUEST, "audio"
        else:
            return None
    return Failure(
        kind=kind, message=f"The service refused: {detail[:300]}", http_status=status, param=param, detail=detail
    )
