"""What can be asked for (operations), in which wire format (dialects), and what a target may be able to do (capabilities)."""

from __future__ import annotations

from enum import StrEnum


class Operation(StrEnum):
    """A kind of call. Routes, health, prices and the ledger are kept by operation."""

    CHAT = "chat"
    EMBED = "embed"
    MODERATE = "moderate"
    IMAGE = "image"
    SPEECH = "speech"
    TRANSCRIPTION = "transcription"
    VIDEO = "video"
    MUSIC = "music"
    COMPOSE = "compose"


class Category(StrEnum):
    """The modality under which operators see an operation."""

    TEXT = "TEXT"
    IMAGE = "IMAGE"
    VIDEO = "VIDEO"
    AUDIO = "AUDIO"


CATEGORY_OF: dict[Operation, Category] = {
    Operation.CHAT: Category.TEXT,
    Operation.EMBED: Category.TEXT,
    Operation.MODERATE: Category.TEXT,
    Operation.IMAGE: Category.IMAGE,
    Operation.SPEECH: Category.AUDIO,
    Operation.TRANSCRIPTION: Category.AUDIO,
    Operation.MUSIC: Category.AUDIO,
    Operation.VIDEO: Category.VIDEO,
    Operation.COMPOSE: Category.VIDEO,
}


class Dialect(StrEnum):
    """A wire format. The chat dialects translate into each other; the others are relayed as they are, or made by a
    provider's media adapter. `media_*` is our own vocabulary of media work (`types.media.MediaRequest`), by operation: what
    the jobs API speaks, and what a provider serves through its media adapter."""

    OPENAI_CHAT = "openai_chat"
    OPENAI_RESPONSES = "openai_responses"
    ANTHROPIC_MESSAGES = "anthropic_messages"
    GEMINI = "gemini"
    OLLAMA = "ollama"
    OLLAMA_GENERATE = "ollama_generate"
    COHERE_V2 = "cohere_v2"
    BEDROCK_CONVERSE = "bedrock_converse"
    RUNPOD = "runpod"
    OPENAI_EMBEDDINGS = "openai_embeddings"
    OPENAI_MODERATIONS = "openai_moderations"
    OPENAI_IMAGES = "openai_images"
    OPENAI_IMAGE_EDITS = "openai_image_edits"
    OPENAI_IMAGE_VARIATIONS = "openai_image_variations"
    OPENAI_SPEECH = "openai_speech"
    OPENAI_TRANSCRIPTIONS = "openai_transcriptions"
    OPENAI_TRANSLATIONS = "openai_translations"
    MEDIA_IMAGE = "media_image"
    MEDIA_VIDEO = "media_video"
    MEDIA_SPEECH = "media_speech"
    MEDIA_TRANSCRIPTION = "media_transcription"
    MEDIA_MUSIC = "media_music"
    MEDIA_COMPOSE = "media_compose"


OPERATION_OF: dict[Dialect, Operation] = {
    Dialect.OPENAI_CHAT: Operation.CHAT,
    Dialect.OPENAI_RESPONSES: Operation.CHAT,
    Dialect.ANTHROPIC_MESSAGES: Operation.CHAT,
    Dialect.GEMINI: Operation.CHAT,
    Dialect.OLLAMA: Operation.CHAT,
    Dialect.OLLAMA_GENERATE: Operation.CHAT,
    Dialect.COHERE_V2: Operation.CHAT,
    Dialect.BEDROCK_CONVERSE: Operation.CHAT,
    Dialect.RUNPOD: Operation.CHAT,
    Dialect.OPENAI_EMBEDDINGS: Operation.EMBED,
    Dialect.OPENAI_MODERATIONS: Operation.MODERATE,
    Dialect.OPENAI_IMAGES: Operation.IMAGE,
    Dialect.OPENAI_IMAGE_EDITS: Operation.IMAGE,
    Dialect.OPENAI_IMAGE_VARIATIONS: Operation.IMAGE,
    Dialect.OPENAI_SPEECH: Operation.SPEECH,
    Dialect.OPENAI_TRANSCRIPTIONS: Operation.TRANSCRIPTION,
    Dialect.OPENAI_TRANSLATIONS: Operation.TRANSCRIPTION,
    Dialect.MEDIA_IMAGE: Operation.IMAGE,
    Dialect.MEDIA_VIDEO: Operation.VIDEO,
    Dialect.MEDIA_SPEECH: Operation.SPEECH,
    Dialect.MEDIA_TRANSCRIPTION: Operation.TRANSCRIPTION,
    Dialect.MEDIA_MUSIC: Operation.MUSIC,
    Dialect.MEDIA_COMPOSE: Operation.COMPOSE,
}

MEDIA_DIALECT_OF: dict[Operation, Dialect] = {
    OPERATION_OF[dialect]: dialect for dialect in Dialect if dialect.value.startswith("media_")
}
"""Our own vocabulary for an operation, where there is one."""


class Capability(StrEnum):
    """A yes/no within an operation. Those of media are named as the tasks of `types.media.Task`."""

    STREAMING = "streaming"
    TOOLS = "tools"
    VISION = "vision"
    AUDIO_INPUT = "audio_input"
    AUDIO_OUTPUT = "audio_output"
    FILES = "files"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"
    REASONING = "reasoning"
    LOGPROBS = "logprobs"
    CHOICES = "choices"
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


class ProviderKind(StrEnum):
    """The maker of the model, a reseller of many, or a service on one's own machines."""

    DIRECT = "direct"
    GATEWAY = "gateway"
    LOCAL = "local"
