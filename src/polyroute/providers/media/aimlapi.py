"""AI/ML API: pictures and speech at once; films, music and transcripts by a generation's id (media.md 10)."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import FormPart, Headers, MediaWire
from polyroute.providers.media import fields
from polyroute.providers.media.asking import ask_once
from polyroute.providers.media.handles import NOT_FOUND, is_settling, new_handle
from polyroute.providers.media.spoken import turns_of
from polyroute.providers.media.tabled import Tabled
from polyroute.providers.media.tables import load_table
from polyroute.providers.media.verdicts import gone_wrong, is_moderation, money, unreadable
from polyroute.types.errors import ErrorKind, Failure
from polyroute.types.media import (
    Handle,
    MediaRequest,
    Outcome,
    Produced,
    Progress,
    Task,
    Transcript,
    Word,
)
from polyroute.types.usage import Usage

_LISTEN, _FILM, _SOUND = "/stt", "/v2/video/generations", "/v2/generate/audio"
_MONEY = ("credit", "balance", "fund", "plan", "subscription", "billing")
_FIELD = re.compile(r"(?:^|\s)([a-z]\w*): ")
_TASKS_OF_TYPE: dict[str, tuple[Task, ...]] = {
    "image": (Task.TEXT_TO_IMAGE,),
    "video": (Task.TEXT_TO_VIDEO,),
    "tts": (Task.SPEECH,),
    "stt": (Task.TRANSCRIBE,),
    "audio": (Task.MUSIC,),
    "music": (Task.MUSIC,),
}


class AimlMedia:
    """All that it makes."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name

    def maker(self, task: Task, model: str) -> Pictures | Speech | Generations | None:
        """By task."""
        spec = load_table("aimlapi").find(task, model)
        if spec is None:
            return None
        match task:
            case Task.TEXT_TO_IMAGE | Task.IMAGE_TO_IMAGE | Task.UPSCALE_IMAGE:
                return Pictures(spec, self._provider)
            case Task.SPEECH:
                return Speech(spec, self._provider)
            case _:
                return Generations(spec, self._provider)

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """All models, by their type."""
        listed = (await wire.call("GET", "/models")).json()
        rows = listed.get("data", ()) if isinstance(listed, dict) else listed
        return tuple((str(one["id"]), _TASKS_OF_TYPE.get(str(one.get("type")), ())) for one in rows)

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """403 is about money or the plan; 400 lists what is wrong with which field."""
        try:
            told = msgspec.json.decode(body)
        except msgspec.MsgspecError:
            return None
        if not isinstance(told, dict) or status >= 500:
            return None
        param, text = _complaint(told)
        kind = None
        if status in (400, 403, 422) and is_moderation(text):
            kind, message = ErrorKind.CONTENT_FILTERED, "The provider's safety check refused this."
        elif status == 402 or (status == 403 and any(word in text.lower() for word in _MONEY)):
            kind, message = ErrorKind.QUOTA_EXHAUSTED, "The account has no credit, or its plan lacks this model."
        elif status in (400, 422) and param is not None:
            kind, message = ErrorKind.INVALID_REQUEST, f"The provider says: '{param}': {text[:300]}"
        if kind is None:
            return None
        return Failure(kind=kind, message=message, http_status=status, param=param, detail=text[:2000])


def _complaint(told: dict[str, Any]) -> tuple[str | None, str]:
    """The field, in our words, and what is said of it: issues stand in a list, or as `field: what`."""
    said = told.get("message") or told.get("error") or ""
    if isinstance(said, dict):
        said = said.get("message") or ""
    if isinstance(said, list) and said:
        first = said[0]
        path = first.get("path") if isinstance(first, dict) else None
        name = str(path[0]) if isinstance(path, list) and path else None
        text = str(first.get("message") if isinstance(first, dict) else first)
    else:
        text = str(said)
        found = _FIELD.search(text)
        name = None if found is None else found[1]
    return (None if name is None else load_table("aimlapi").intent_of(name) or name), text


def _root(wire: MediaWire) -> str:
    return wire.base_url.removesuffix("/v1")


def _spent(told: dict[str, Any], **measured: Any) -> Usage:
    """What the provider says that it took, beside what was measured."""
    usage = (told.get("meta") or {}).get("usage") or {}
    return Usage(reported_cost_usd=money(usage.get("usd_spent")), raw=usage or None, **measured)


class Pictures(Tabled):
    """Implements `ports.Immediate`."""

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The pictures of one call."""
        told = (await ask_once(wire, "/images/generations", json=await self.body(request, model, wire))).json()
        produced = tuple(
            Produced(data=base64.b64decode(one["b64_json"])) if one.get("b64_json") else Produced(url=str(one["url"]))
            for one in told.get("data") or told.get("images") or ()
        )
        if not produced:
            raise unreadable("The provider gave no picture.")
        return Outcome(produced=produced, usage=_spent(told, images=len(produced)), model=model)


class Speech(Tabled):
    """Implements `ports.Immediate`: some models answer with the sound, some with its address."""

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The sound of one call."""
        reply = await ask_once(wire, "/tts", json=await self.body(request, model, wire))
        characters, told_type = len(request.prompt or ""), reply.header("content-type") or ""
        inference = reply.header("x-inference-id")
        if not told_type.startswith("application/json"):
            file = Produced(data=reply.body, media_type=told_type or None)
            return Outcome(produced=(file,), usage=Usage(characters=characters), model=model, upstream_id=inference)
        told = reply.json()
        audio = told.get("audio") or told.get("audio_file") or {}
        if not isinstance(audio, dict) or not audio.get("url"):
            raise unreadable("The provider gave no sound.")
        usage = _spent(told, characters=characters)
        return Outcome(produced=(Produced(url=audio["url"]),), usage=usage, model=model, upstream_id=inference)


class Generations(Tabled):
    """Implements `ports.Queued`: films, music, transcripts."""

    resubmits = False
    pace = (2.0, 15.0)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """Start it."""
        if request.task is Task.TRANSCRIBE:
            return await self._listen(request, model, wire)
        path = _SOUND if request.task in (Task.MUSIC, Task.SOUND_EFFECT) else _FILM
        body = await self.body(request, model, wire)
        told = (await wire.call("POST", _root(wire) + path, json=body, creates=True)).json()
        return new_handle(str(told["id"]), path=path, model=model, seconds=request.duration)

    async def _listen(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle:
        item = (*request.given("audio"), *request.given("video"))[0]
        given = {"model": model, **fields.fill(self._spec, request, self._provider).fields}
        if item.url is not None and item.url.startswith("https://"):
            reply = await wire.call("POST", f"{_LISTEN}/create", json={**given, "url": item.url}, creates=True)
        else:
            content, media_type = await wire.input_body(item)
            name = item.name or f"audio.{media_type.partition('/')[2].removeprefix('x-')}"
            parts = [FormPart(name=name_, value=_text(value)) for name_, value in given.items()]
            parts.append(FormPart(name="audio", value=content, filename=name, media_type=media_type))
            reply = await wire.call("POST", f"{_LISTEN}/create", form=tuple(parts), creates=True)
        return new_handle(str(reply.json()["generation_id"]), path=_LISTEN, model=model)

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """How far it is, and at the end its result."""
        path = handle.data["path"]
        if path == _LISTEN:
            reply = await wire.call("GET", f"{_LISTEN}/{handle.id}", accept=(NOT_FOUND,))
        else:
            reply = await wire.call("GET", _root(wire) + path, query={"generation_id": handle.id}, accept=(NOT_FOUND,))
        if reply.status == NOT_FOUND:
            if is_settling(handle):
                return Progress(state="queued")
            raise gone_wrong("The provider no longer knows the generation.")
        told = reply.json()
        match told.get("status"):
            case "queued" | "waiting":
                return Progress(state="queued")
            case "generating" | "active" | "processing" | "in_progress":
                return Progress(state="running")
            case "completed" | "succeeded":
                return _heard(told, handle) if path == _LISTEN else _file(told, handle)
            case "error" | "failed":
                error = told.get("error") or {}
                name, text = (error.get("name"), error.get("message")) if isinstance(error, dict) else (None, error)
                raise gone_wrong("The generation failed.", str(text or ""), name)
            case other:
                raise unreadable("The generation has a state that is not known.", str(other))

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """There is no way to."""


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _file(told: dict[str, Any], handle: Handle) -> Outcome:
    file = told.get("video") or told.get("audio_file") or told.get("audio") or {}
    listed = file if isinstance(file, list) else [file]
    produced = tuple(
        Produced(url=str(one["url"]), media_type=one.get("content_type")) for one in listed if one.get("url")
    )
    if not produced:
        raise unreadable("The generation has no result.")
    seconds = listed[0].get("duration") or handle.data.get("seconds")
    return Outcome(
        produced=produced, usage=_spent(told, seconds=seconds), model=handle.data["model"], upstream_id=handle.id
    )


def _heard(told: dict[str, Any], handle: Handle) -> Outcome:
    result = told.get("result") or {}
    words = tuple(_words(result))
    duration = (result.get("metadata") or {}).get("duration") or result.get("duration") or result.get("audio_duration")
    transcript = Transcript(
        text=_said(result), language=result.get("language") or result.get("language_code"), duration=duration,
        segments=turns_of(words), words=words,
    )  # fmt: skip
    usage = _spent(told, seconds=duration)
    return Outcome(transcript=transcript, usage=usage, model=handle.data["model"], upstream_id=handle.id)


def _alternative(result: dict[str, Any]) -> dict[str, Any]:
    """Deepgram's best reading; elsewhere the result itself."""
    try:
        found: dict[str, Any] = result["results"]["channels"][0]["alternatives"][0]
    except (KeyError, IndexError, TypeError):
        return result
    return found


def _said(result: dict[str, Any]) -> str:
    best = _alternative(result)
    return str(best.get("transcript") or best.get("text") or "")


def _words(result: dict[str, Any]) -> Iterator[Word]:
    """Seconds; AssemblyAI's whole numbers are milliseconds."""
    for one in _alternative(result).get("words") or ():
        start, end = one.get("start") or 0, one.get("end") or 0
        scale = 1000 if isinstance(end, int) and end > 1000 else 1
        speaker = one.get("speaker")
        text = str(one.get("punctuated_word") or one.get("word") or one.get("text") or "")
        yield Word(word=text, start=start / scale, end=end / scale, speaker=None if speaker is None else str(speaker))
