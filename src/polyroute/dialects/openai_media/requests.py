"""OpenAI's media requests → `MediaRequest`. Fields that are no intent of ours go to OpenAI itself verbatim, as its options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from polyroute.dialects.openai_media.fields import Fields, read_size, refuse
from polyroute.types.media import MediaInput, MediaRequest, Task
from polyroute.types.operations import Dialect

VARIATION = "A variation of this picture: the same subject and style, composed anew."
"""What models that want words are told, for `/images/variations` has none."""
OWN = "openai"
"""The provider whose options unknown fields are."""
_LONGEST_PROMPT = 32_000
_LONGEST_SPEECH = 100_000
_OURS = frozenset({"model", "stream", "partial_images", "polyroute", "async", "response_format", "stream_format"})
TRANSCRIPT_FORMATS = ("json", "text", "srt", "verbose_json", "vtt", "diarized_json")
SPEECH_FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
"""Those of OpenAI itself."""
_MORE_SPEECH_FORMATS = ("ogg", "webm", "m4a", "mulaw", "ulaw", "alaw")
"""Those that only others make."""
IMAGE_FORMATS = ("png", "jpeg", "webp", "gif", "svg")


def parse_media(dialect: Dialect, values: Mapping[str, Any], files: Sequence[MediaInput] = ()) -> MediaRequest:
    """A request of one of OpenAI's media dialects. `files` are the uploads, in the caller's order.

    Raises PolyrouteError(invalid_request) naming the field, its value and what is possible.
    """
    fields = Fields(values)
    for name in _OURS:
        fields.take(name)
    match dialect:
        case Dialect.OPENAI_IMAGES | Dialect.OPENAI_IMAGE_EDITS:
            return _image(fields, tuple(files))
        case Dialect.OPENAI_IMAGE_VARIATIONS:
            return _variation(values, tuple(files))
        case Dialect.OPENAI_SPEECH:
            return _speech(fields)
        case Dialect.OPENAI_TRANSCRIPTIONS | Dialect.OPENAI_TRANSLATIONS:
            return _transcription(fields, tuple(files), translate=dialect is Dialect.OPENAI_TRANSLATIONS)
        case _:
            raise ValueError(f"{dialect} is none of OpenAI's media dialects")


def _image(fields: Fields, files: tuple[MediaInput, ...]) -> MediaRequest:
    inputs = files + _linked_images(fields)
    task = Task.TEXT_TO_IMAGE
    if any(item.role == "mask" for item in inputs):
        task = Task.EDIT_IMAGE
    elif inputs:
        task = Task.IMAGE_TO_IMAGE
    width, height = read_size(fields.text("size"))
    return MediaRequest(
        task=task,
        prompt=fields.text("prompt", required=True, most=_LONGEST_PROMPT),
        negative_prompt=fields.text("negative_prompt"),
        inputs=inputs,
        width=width,
        height=height,
        aspect_ratio=fields.text("aspect_ratio"),
        resolution=fields.text("resolution"),
        n=fields.whole("n", 1, 10) or 1,
        seed=fields.whole("seed", 0, 2**32 - 1),
        steps=fields.whole("steps", 1, 500),
        guidance=fields.number("guidance_scale", 0, 100),
        strength=fields.number("strength", 0, 1),
        quality=_not_auto(fields.text("quality")),
        style=fields.text("style"),
        background=_not_auto(fields.choice("background", ("auto", "transparent", "opaque"))),
        moderation=_not_auto(fields.text("moderation")),
        format=fields.choice("output_format", IMAGE_FORMATS),
        compression=fields.whole("output_compression", 0, 100),
        user=fields.text("safety_identifier") or fields.text("user"),
        options=_options(fields),
    )


def _variation(values: Mapping[str, Any], files: tuple[MediaInput, ...]) -> MediaRequest:
    """Pictures like another one: there are no words, so we put in some of ours."""
    fields = Fields({**values, "prompt": VARIATION})
    for name in _OURS:
        fields.take(name)
    found = _image(fields, files)
    if len(found.given("image")) != 1 or found.given("mask"):
        raise refuse("'image' must be one picture, without a mask.", "image")
    return found


def _linked_images(fields: Fields) -> tuple[MediaInput, ...]:
    """Images named by address in a JSON body: `image` or `images`, and `mask`, each a URL, a data URI or an object with
    `image_url` or `file_id`."""
    found: list[MediaInput] = []
    for name, role in (("image", "image"), ("image[]", "image"), ("images", "image"), ("mask", "mask")):
        value = fields.take(name)
        listed = value if isinstance(value, list) else [] if value is None else [value]
        found += [_linked(item, "mask" if role == "mask" else "image", name) for item in listed]
    return tuple(found)


def _linked(value: Any, role: Literal["image", "mask"], param: str) -> MediaInput:
    if isinstance(value, dict):
        if isinstance(value.get("file_id"), str):
            return MediaInput(role=role, artifact=value["file_id"])
        value = value.get("image_url", value.get("url"))
        value = value.get("url") if isinstance(value, dict) else value
    if not isinstance(value, str) or not value.startswith(("https://", "http://", "data:")):
        raise refuse(f"'{param}' must be a file, an https URL, a data URI or an object with image_url.", param)
    return MediaInput(role=role, url=value)


def _speech(fields: Fields) -> MediaRequest:
    voice = fields.take("voice")
    if isinstance(voice, dict):
        voice = voice.get("id")
    if voice is not None and not isinstance(voice, str):
        raise refuse("'voice' must be a voice's name, or an object with its id.", "voice")
    given = fields.take("response_format")
    if given is not None and given not in (*SPEECH_FORMATS, *_MORE_SPEECH_FORMATS):
        raise refuse(f"'response_format' is {given!r}; possible are {', '.join(SPEECH_FORMATS)}.", "response_format")
    return MediaRequest(
        task=Task.SPEECH,
        prompt=fields.text("input", required=True, most=_LONGEST_SPEECH),
        voice=voice or None,
        instructions=fields.text("instructions"),
        format=given or "mp3",
        speed=fields.number("speed", 0.25, 4),
        language=fields.text("language"),
        sample_rate=fields.whole("sample_rate", 8000, 192_000),
        seed=fields.whole("seed", 0, 2**32 - 1),
        options=_options(fields),
    )


def _transcription(fields: Fields, files: tuple[MediaInput, ...], *, translate: bool) -> MediaRequest:
    form = transcript_format(fields.take("response_format"))
    wanted = fields.words("timestamp_granularities")
    if any(word not in ("word", "segment") for word in wanted):
        raise refuse("'timestamp_granularities' may hold word and segment.", "timestamp_granularities")
    stamps: tuple[Literal["word", "segment"], ...] = tuple(kind for kind in ("word", "segment") if kind in wanted) or (
        ("segment",) if form in ("srt", "vtt", "verbose_json", "diarized_json") else ()
    )
    prompt = fields.text("prompt")
    return MediaRequest(
        task=Task.TRANSLATE if translate else Task.TRANSCRIBE,
        prompt=prompt,
        inputs=files,
        format=form,
        language=fields.text("language") or next(iter(fields.words("languages")), None),
        temperature=fields.number("temperature", 0, 1),
        timestamps=stamps,
        diarize=True if form == "diarized_json" else fields.flag("diarize"),
        speakers=fields.whole("num_speakers", 1, 64),
        hints=fields.words("keywords"),
        options=_options(fields),
    )


def transcript_format(given: Any) -> str:
    """A transcription's `response_format`. Raises PolyrouteError(invalid_request)."""
    if given is None or given == "":
        return "json"
    if given not in TRANSCRIPT_FORMATS:
        raise refuse(
            f"'response_format' is {given!r}; possible are {', '.join(TRANSCRIPT_FORMATS)}.", "response_format"
        )
    return str(given)


def _not_auto(text: str | None) -> str | None:
    return None if text == "auto" else text


def _options(fields: Fields) -> dict[str, dict[str, Any]]:
    """What is left, for OpenAI; a `provider_options` object is by provider name."""
    named = fields.take("provider_options")
    if named is not None and not (isinstance(named, dict) and all(isinstance(value, dict) for value in named.values())):
        raise refuse("'provider_options' must be an object of objects, by provider name.", "provider_options")
    found: dict[str, dict[str, Any]] = dict(named or {})
    rest = fields.rest
    if rest:
        found[OWN] = {**rest, **found.get(OWN, {})}
    return found
