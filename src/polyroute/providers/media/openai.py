"""OpenAI's own images, speech and transcription, and every server that imitates them (media.md 3)."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Body, FormPart, Immediate, MediaStream, MediaWire, Queued, Streamed
from polyroute.providers.media.openai_videos import Videos
from polyroute.providers.media.reach import out_of_reach
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
    Word,
)
from polyroute.types.operations import Dialect
from polyroute.types.usage import Usage

_MEDIA_TYPES = {
    "mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/wav",
    "pcm": "audio/pcm", "png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "svg": "image/svg+xml",
}  # fmt: skip
_IMAGE_FIELDS = {
    "prompt": "prompt", "quality": "quality", "background": "background", "format": "output_format",
    "compression": "output_compression", "moderation": "moderation", "style": "style", "user": "user",
}  # fmt: skip
_MOST_IMAGES = 10
_VERBOSE = ("whisper", "Systran", "faster")
"""Models that give times; the others answer with the text alone."""


class OpenAIMedia:
    """Makers at the paths that the row's endpoints name."""

    def __init__(self, row: Provider) -> None:
        self._paths = {endpoint.dialect: endpoint.path for endpoint in row.endpoints}
        self._provider = row.name

    def maker(self, task: Task, model: str) -> Immediate | Streamed | Queued | None:
        """By task, where the row has the endpoint."""
        match task:
            case Task.TEXT_TO_IMAGE:
                path = self._paths.get(Dialect.OPENAI_IMAGES)
                return None if path is None else Images(path, self._provider)
            case Task.IMAGE_TO_IMAGE | Task.EDIT_IMAGE:
                path = self._paths.get(Dialect.OPENAI_IMAGE_EDITS)
                return None if path is None else ImageEdits(path, self._provider)
            case Task.SPEECH:
                path = self._paths.get(Dialect.OPENAI_SPEECH)
                return None if path is None else Speech(path, self._provider)
            case Task.TRANSCRIBE | Task.TRANSLATE:
                dialect = Dialect.OPENAI_TRANSLATIONS if task is Task.TRANSLATE else Dialect.OPENAI_TRANSCRIPTIONS
                path = self._paths.get(dialect)
                return None if path is None else Transcription(path, self._provider)
            case Task.TEXT_TO_VIDEO | Task.IMAGE_TO_VIDEO | Task.VIDEO_TO_VIDEO:
                path = self._paths.get(Dialect.MEDIA_VIDEO)
                return Videos(path, self._provider) if path else None
            case _:
                return None


class Images:
    """Implements `ports.Immediate`: pictures from words."""

    def __init__(self, path: str, provider: str) -> None:
        self._path = path
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Everything but size, count and what `_IMAGE_FIELDS` names is dropped."""
        return _fit_image(request)

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The pictures of one call."""
        body = {"model": model, **image_fields(request), **request.options.get(self._provider, {})}
        return image_outcome((await wire.call("POST", self._path, json=body, creates=True)).json(), request)


class ImageEdits:
    """Implements `ports.Immediate`: pictures from pictures, in a multipart form."""

    def __init__(self, path: str, provider: str) -> None:
        self._path = path
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """As for pictures from words."""
        if not request.given("image") and not request.given("reference"):
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'image' is required.", param="image")
        return _fit_image(request)

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The pictures of one call."""
        images = (*request.given("image"), *request.given("reference"))
        parts = [FormPart(name="model", value=model)]
        fields = {**image_fields(request), **request.options.get(self._provider, {})}
        parts += _form_parts(fields)
        for number, item in enumerate((*images, *request.given("mask")), 1):
            content: bytes | Body
            if item.role == "mask":
                content, media_type = await wire.mask_for_openai(item)
            else:
                content, media_type = await wire.input_body(item)
            name = "mask" if item.role == "mask" else "image" if len(images) == 1 else "image[]"
            filename = item.name or f"{item.role}-{number}.{media_type.partition('/')[2]}"
            parts.append(FormPart(name=name, value=content, filename=filename, media_type=media_type))
        return image_outcome((await wire.call("POST", self._path, form=tuple(parts), creates=True)).json(), request)


def _fit_image(request: MediaRequest) -> Fitted:
    known = {*_IMAGE_FIELDS, "task", "inputs", "n", "width", "height", "options", "idempotency_key", "aspect_ratio"}
    dropped = [
        name for name in request.__struct_fields__ if name not in known and getattr(request, name) not in (None, (), {})
    ]
    if request.n > _MOST_IMAGES:
        raise out_of_reach("n", request.n, f"is at most {_MOST_IMAGES}")
    notes = []
    if request.aspect_ratio and not request.width:
        notes.append(f"aspect_ratio {request.aspect_ratio} became size {_size(request)}")
    return Fitted(request=request, dropped=tuple(dropped), notes=tuple(notes))


def image_fields(request: MediaRequest) -> dict[str, Any]:
    """A request's intents under OpenAI's names."""
    found = {theirs: value for ours, theirs in _IMAGE_FIELDS.items() if (value := getattr(request, ours)) is not None}
    if request.n != 1:
        found["n"] = request.n
    if (size := _size(request)) is not None:
        found["size"] = size
    return found


def _size(request: MediaRequest) -> str | None:
    if request.width and request.height:
        return f"{request.width}x{request.height}"
    if request.aspect_ratio is None:
        return None
    width, _, height = request.aspect_ratio.partition(":")
    try:
        wide, tall = float(width), float(height)
    except ValueError:
        return None
    return "1024x1024" if wide == tall else "1536x1024" if wide > tall else "1024x1536"


def _form_parts(fields: dict[str, Any]) -> list[FormPart]:
    """Fields of a form; lists under a name with `[]` are repeated, whatever else is no text is JSON."""
    listed = [
        (name, one)
        for name, value in fields.items()
        for one in (value if name.endswith("[]") and isinstance(value, list) else [value])
    ]
    return [
        FormPart(name=name, value=one if isinstance(one, str) else msgspec.json.encode(one).decode())
        for name, one in listed
    ]


def image_outcome(answer: dict[str, Any], request: MediaRequest) -> Outcome:
    """OpenAI's images answer, with its usage in disjoint buckets. Raises AttemptFailed (bad_response)."""
    produced = tuple(_image(item, answer) for item in answer.get("data") or ())
    if not produced:
        raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message="The provider gave no picture."))
    raw = answer.get("usage") if isinstance(answer.get("usage"), dict) else None
    told = raw or {}
    given = told.get("input_tokens_details") or {}
    made = told.get("output_tokens_details") or {}
    image_in, image_out = given.get("image_tokens"), made.get("image_tokens")
    total_in, total_out = told.get("input_tokens"), told.get("output_tokens")
    usage = Usage(
        input=None if total_in is None else total_in - (image_in or 0),
        image_input=image_in,
        output=None if total_out is None else total_out - (image_out if image_out is not None else total_out),
        image_output=image_out if image_out is not None else total_out,
        images=len(produced),
        image_size=answer.get("size") or _size(request),
        image_quality=answer.get("quality") or request.quality,
        raw=raw,
    )
    return Outcome(produced=produced, usage=usage, model=answer.get("model"))


def _image(item: dict[str, Any], answer: dict[str, Any]) -> Produced:
    revised = item.get("revised_prompt")
    if item.get("b64_json"):
        media_type = _MEDIA_TYPES.get(str(answer.get("output_format")))
        return Produced(data=base64.b64decode(item["b64_json"]), media_type=media_type, revised_prompt=revised)
    return Produced(url=str(item.get("url") or ""), revised_prompt=revised)


# ---------------------------------------------------------------- speech


class Speech:
    """Implements `ports.Streamed`: the answer's bytes are the sound."""

    def __init__(self, path: str, provider: str) -> None:
        self._path = path
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Voice, instructions, speed and format."""
        if not request.prompt:
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'prompt' is required: the words to speak.", param="prompt")
        kept = {
            "task", "prompt", "voice", "instructions", "format", "speed", "n", "options", "idempotency_key", "language",
        }  # fmt: skip
        dropped = [
            name
            for name in request.__struct_fields__
            if name not in kept and getattr(request, name) not in (None, (), {})
        ]
        return Fitted(request=request, dropped=tuple(dropped))

    async def stream(self, request: MediaRequest, model: str, wire: MediaWire) -> MediaStream:
        """Ask; the sound follows."""
        form = request.format or "mp3"
        body: dict[str, Any] = {
            "model": model, "input": request.prompt, "voice": request.voice or "alloy", "response_format": form,
        }  # fmt: skip
        for name in ("instructions", "speed"):
            if getattr(request, name) is not None:
                body[name] = getattr(request, name)
        body |= request.options.get(self._provider, {})
        response = await wire.open("POST", self._path, json=body)
        return BytesStream(response, _MEDIA_TYPES.get(form, "audio/mpeg"), Usage(characters=len(request.prompt or "")))


# ---------------------------------------------------------------- transcription


class Transcription:
    """Implements `ports.Immediate`: words from sound."""

    def __init__(self, path: str, provider: str) -> None:
        self._path = path
        self._provider = provider

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Times and speakers only from models that give them."""
        if not request.given("audio"):
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'audio' is required: the sound itself.", param="audio")
        dropped = []
        if request.diarize and "diarize" not in model:
            dropped.append("diarize")
        if request.timestamps and not self._is_verbose(model) and "diarize" not in model:
            dropped.append("timestamps")
        if request.speakers is not None:
            dropped.append("speakers")
        return Fitted(request=request, dropped=tuple(dropped))

    def _is_verbose(self, model: str) -> bool:
        return any(name in model for name in _VERBOSE)

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The transcript of one call."""
        item = request.given("audio")[0]
        content, media_type = await wire.input_body(item)
        form = "diarized_json" if request.diarize and "diarize" in model else "json"
        if form == "json" and self._is_verbose(model):
            form = "verbose_json"
        parts = [
            FormPart(name="file", value=content, filename=item.name or _filename(media_type), media_type=media_type),
            FormPart(name="model", value=model),
            FormPart(name="response_format", value=form),
        ]
        given = {name: getattr(request, name) for name in ("language", "prompt", "temperature")}
        parts += [FormPart(name=name, value=str(value)) for name, value in given.items() if value is not None]
        if form == "verbose_json":
            parts += [FormPart(name="timestamp_granularities[]", value=stamp) for stamp in request.timestamps]
        if "diarize" in model:
            parts.append(FormPart(name="chunking_strategy", value="auto"))
        parts += [FormPart(name="keywords[]", value=hint) for hint in request.hints]
        extra = request.options.get(self._provider, {})
        parts += _form_parts(extra)
        return transcription_outcome((await wire.call("POST", self._path, form=tuple(parts), creates=True)).json())


def _filename(media_type: str) -> str:
    kind = media_type.partition("/")[2].removeprefix("x-")
    return "audio." + {"mpeg": "mp3", "mp4": "m4a"}.get(kind, kind)


def transcription_outcome(answer: dict[str, Any]) -> Outcome:
    """OpenAI's transcription, plain, verbose or diarized."""
    transcript = Transcript(
        text=str(answer["text"]),
        language=answer.get("language"),
        duration=answer.get("duration"),
        segments=tuple(
            Segment(
                text=str(one.get("text", "")).strip(), start=float(one.get("start") or 0), end=float(one.get("end") or 0),
                speaker=one.get("speaker") or one.get("speaker_id"),
            )
            for one in answer.get("segments") or ()
        ),
        words=tuple(
            Word(word=str(one.get("word", "")), start=float(one.get("start") or 0), end=float(one.get("end") or 0))
            for one in answer.get("words") or ()
        ),
    )  # fmt: skip
    raw = answer.get("usage") if isinstance(answer.get("usage"), dict) else None
    told = raw or {}
    audio = (told.get("input_token_details") or {}).get("audio_tokens")
    total = told.get("input_tokens")
    usage = Usage(
        input=None if total is None else total - (audio or 0),
        audio_input=audio,
        output=told.get("output_tokens"),
        seconds=told.get("seconds", told.get("prompt_audio_seconds", answer.get("duration"))),
        raw=raw,
    )
    return Outcome(transcript=transcript, usage=usage, model=answer.get("model"))
