"""Our words for a request's fields → those of the caller's dialect, in errors; pure."""

from __future__ import annotations

from collections.abc import Mapping

from polyroute.types.operations import Dialect

_OF_IMAGES = {"width": "size", "height": "size", "format": "output_format", "compression": "output_compression",
              "reference": "image", "guidance": "guidance_scale"}  # fmt: skip
_OF_SPEECH = {"prompt": "input", "format": "response_format"}
_OF_SOUND = {"audio": "file", "format": "response_format", "timestamps": "timestamp_granularities",
             "speakers": "num_speakers", "hints": "keywords"}  # fmt: skip
_WORDS: dict[Dialect, dict[str, str]] = {
    Dialect.OPENAI_IMAGES: _OF_IMAGES,
    Dialect.OPENAI_IMAGE_EDITS: _OF_IMAGES,
    Dialect.OPENAI_IMAGE_VARIATIONS: _OF_IMAGES,
    Dialect.OPENAI_SPEECH: _OF_SPEECH,
    Dialect.OPENAI_TRANSCRIPTIONS: _OF_SOUND,
    Dialect.OPENAI_TRANSLATIONS: _OF_SOUND,
}
OF_VIDEOS: Mapping[str, str] = {
    "duration": "seconds", "width": "size", "height": "size", "first_frame": "input_reference",
    "image": "input_reference", "reference": "input_reference",
}  # fmt: skip
"""The words of `/v1/videos`."""
NONE: Mapping[str, str] = {}


def words_of(dialect: Dialect) -> Mapping[str, str]:
    """What a dialect calls our fields, where it calls them something else."""
    return _WORDS.get(dialect, NONE)


def in_words(words: Mapping[str, str], param: str | None, message: str) -> tuple[str | None, str]:
    """The field and the message of an error, in the caller's words."""
    if param is None or param not in words:
        return param, message
    return words[param], message.replace(f"'{param}'", f"'{words[param]}'")
