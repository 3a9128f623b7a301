"""Image, video and audio work in one vocabulary: what can be asked of a provider (tasks), how it is asked, what comes out."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

import msgspec

from polyroute.types.artifacts import Artifact
from polyroute.types.operations import Dialect, Operation
from polyroute.types.usage import Usage


class Task(StrEnum):
    """What a provider may be able to make. Routes, prices and health are kept by the coarser `Operation`."""

    TEXT_TO_IMAGE = "text_to_image"
    IMAGE_TO_IMAGE = "image_to_image"
    EDIT_IMAGE = "edit_image"
    UPSCALE_IMAGE = "upscale_image"
    REMOVE_BACKGROUND = "remove_background"
    TEXT_TO_VIDEO = "text_to_video"
    IMAGE_TO_VIDEO = "image_to_video"
    VIDEO_TO_VIDEO = "video_to_video"
    ANIMATE = "animate"
    UPSCALE_VIDEO = "upscale_video"
    SPEECH = "speech"
    CLONE_VOICE = "clone_voice"
    TRANSCRIBE = "transcribe"
    TRANSLATE = "translate"
    MUSIC = "music"
    SOUND_EFFECT = "sound_effect"
    COMPOSE = "compose"


OPERATION_OF_TASK: dict[Task, Operation] = {
    Task.TEXT_TO_IMAGE: Operation.IMAGE,
    Task.IMAGE_TO_IMAGE: Operation.IMAGE,
    Task.EDIT_IMAGE: Operation.IMAGE,
    Task.UPSCALE_IMAGE: Operation.IMAGE,
    Task.REMOVE_BACKGROUND: Operation.IMAGE,
    Task.TEXT_TO_VIDEO: Operation.VIDEO,
    Task.IMAGE_TO_VIDEO: Operation.VIDEO,
    Task.VIDEO_TO_VIDEO: Operation.VIDEO,
    Task.ANIMATE: Operation.VIDEO,
    Task.UPSCALE_VIDEO: Operation.VIDEO,
    Task.SPEECH: Operation.SPEECH,
    Task.CLONE_VOICE: Operation.SPEECH,
    Task.TRANSCRIBE: Operation.TRANSCRIPTION,
    Task.TRANSLATE: Operation.TRANSCRIPTION,
    Task.MUSIC: Operation.MUSIC,
    Task.SOUND_EFFECT: Operation.MUSIC,
    Task.COMPOSE: Operation.COMPOSE,
}

TASKS_OF_DIALECT: dict[Dialect, frozenset[Task]] = {
    Dialect.OPENAI_IMAGES: frozenset({Task.TEXT_TO_IMAGE}),
    Dialect.OPENAI_IMAGE_EDITS: frozenset({Task.IMAGE_TO_IMAGE, Task.EDIT_IMAGE}),
    Dialect.OPENAI_IMAGE_VARIATIONS: frozenset({Task.IMAGE_TO_IMAGE}),
    Dialect.OPENAI_SPEECH: frozenset({Task.SPEECH}),
    Dialect.OPENAI_TRANSCRIPTIONS: frozenset({Task.TRANSCRIBE}),
    Dialect.OPENAI_TRANSLATIONS: frozenset({Task.TRANSLATE}),
}
"""What a provider can make that speaks one of OpenAI's media dialects."""

InputRole = Literal[
    "image", "mask", "first_frame", "last_frame", "reference", "video", "audio", "reference_audio", "subtitles"
]


class MediaInput(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the caller gives to work on: exactly one of `url` (https, or a data URI) and `artifact` (the id of
    stored bytes). Uploads are stored as artifacts before they get here. A mask is white where it may be painted. `made_by` is
    ours to fill: `provider/id` of the work that it is the result of, for providers that change only what they made."""

    role: InputRole
    url: str | None = None
    artifact: str | None = None
    media_type: str | None = None
    name: str | None = None
    made_by: str | None = None

    def own_work(self, provider: str) -> str | None:
        """The id that the provider itself gave to what it made; None for the work of others."""
        maker, _, work = (self.made_by or "").partition("/")
        return work if work and maker == provider else None


class MediaRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One piece of media work, in the field's common intents; None is "the provider decides".

    Pixels for `width`, `height`; `aspect_ratio` "16:9"; `resolution` a class such as "1K" or "720p"; seconds for
    `duration`; `strength` 0 to 1, higher is further from the source; `speed` 1 is usual; `language` ISO 639-1; `format`
    a short name (png, jpeg, webp, mp4, mp3, wav, opus, flac, pcm, srt, vtt, json, text …); `sample_rate` in hertz.
    `options` are handed to a provider verbatim, by provider name. `idempotency_key` is ours, the same for every try of
    one target within one job, and free to be used as the provider's own task id.
    """

    task: Task
    prompt: str | None = None
    negative_prompt: str | None = None
    inputs: tuple[MediaInput, ...] = ()
    width: int | None = None
    height: int | None = None
    aspect_ratio: str | None = None
    resolution: str | None = None
    n: int = 1
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    strength: float | None = None
    scale: float | None = None
    quality: str | None = None
    style: str | None = None
    background: str | None = None
    moderation: str | None = None
    format: str | None = None
    compression: int | None = None
    duration: float | None = None
    fps: float | None = None
    sound: bool | None = None
    camera: str | None = None
    voice: str | None = None
    voice_name: str | None = None
    instructions: str | None = None
    speed: float | None = None
    sample_rate: int | None = None
    language: str | None = None
    temperature: float | None = None
    timestamps: tuple[Literal["word", "segment"], ...] = ()
    diarize: bool | None = None
    speakers: int | None = None
    hints: tuple[str, ...] = ()
    lyrics: str | None = None
    instrumental: bool | None = None
    loop: bool | None = None
    timeline: dict[str, Any] | None = None
    user: str | None = None
    options: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    idempotency_key: str | None = None

    def given(self, role: InputRole) -> tuple[MediaInput, ...]:
        """The inputs of one role, in the caller's order."""
        return tuple(item for item in self.inputs if item.role == role)


class Word(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One spoken word; times in seconds."""

    word: str
    start: float
    end: float
    speaker: str | None = None


class Segment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A stretch of speech; times in seconds."""

    text: str
    start: float
    end: float
    speaker: str | None = None


class Transcript(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was said. `duration` in seconds."""

    text: str
    language: str | None = None
    duration: float | None = None
    segments: tuple[Segment, ...] = ()
    words: tuple[Word, ...] = ()


class Voice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A voice that a provider speaks with. `id` is what a request's `voice` names."""

    id: str
    name: str
    provider: str = ""
    languages: tuple[str, ...] = ()
    description: str | None = None
    preview_url: str | None = None
    cloned: bool = False


class Produced(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One result as the provider hands it over, before it is stored: exactly one of `url`, `data` and `path` (a file of this
    process's own making in a maker's workspace, which goes with it).

    `authenticated`: the URL belongs to the provider's API and needs our credential (which goes to that host alone).
    `media_type` is what the provider says; it is sniffed, not believed.
    """

    url: str | None = None
    data: bytes | None = None
    path: str | None = None
    media_type: str | None = None
    authenticated: bool = False
    revised_prompt: str | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a provider made. `notes` say where it did something else than was asked (a duration that was rounded)."""

    produced: tuple[Produced, ...] = ()
    text: str | None = None
    transcript: Transcript | None = None
    voice: Voice | None = None
    usage: Usage = Usage()
    model: str | None = None
    upstream_id: str | None = None
    notes: tuple[str, ...] = ()


class Made(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An outcome whose results are stored: what a job keeps, and what answers are rendered from. `revised_prompts` are by
    artifact, where the provider changed any."""

    artifacts: tuple[Artifact, ...] = ()
    text: str | None = None
    transcript: Transcript | None = None
    voice: Voice | None = None
    usage: Usage = Usage()
    revised_prompts: tuple[str | None, ...] = ()
    notes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


class Handle(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The provider's opaque reference to accepted work: all that polling, cancelling and fetching need, without secrets.
    `data` must survive JSON. `first_poll` in seconds, when the provider says (or is known) to need that long."""

    id: str
    data: dict[str, Any] = msgspec.field(default_factory=dict)
    first_poll: float | None = None


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Work that is still under way. `percent` 0 to 100; `poll_after` in seconds when the provider sets the pace."""

    state: Literal["queued", "running"] = "running"
    percent: float | None = None
    queue_position: int | None = None
    logs: tuple[str, ...] = ()
    previews: tuple[Produced, ...] = ()
    poll_after: float | None = None


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A request as one target can take it: `dropped` names what it cannot honour, `notes` what was substituted."""

    request: MediaRequest
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
