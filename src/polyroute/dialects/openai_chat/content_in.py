"""Content parts of a caller's chat messages → canonical parts."""

from __future__ import annotations

from typing import Any

from polyroute.dialects.openai_chat.checks import (
    check_base64,
    describe,
    invalid,
    list_of,
    object_of,
    optional_text,
    read_data_url,
    text_of,
    unsupported_value,
)
from polyroute.types.chat import (
    AnyPart,
    AudioPart,
    CacheMark,
    FilePart,
    ImagePart,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolResultPart,
)

_OFFICE = "application/vnd.openxmlformats-officedocument."
_MEDIA_TYPES = {
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
    "docx": f"{_OFFICE}wordprocessingml.document",
    "xlsx": f"{_OFFICE}spreadsheetml.sheet",
    "pptx": f"{_OFFICE}presentationml.presentation",
}
_USER_PARTS = ("text", "image_url", "input_audio", "file")


def read_content(value: Any, param: str, role: str) -> tuple[AnyPart, ...]:
    """A message's `content`: a string or a list of parts that its role may have."""
    if isinstance(value, str):
        return (TextPart(text=value),)
    if not isinstance(value, list):
        raise invalid(
            f"Invalid type for '{param}': expected one of a string or array of objects, but got {describe(value)} instead.",
            param,
            "invalid_type",
        )
    return tuple(_read_part(part, f"{param}[{number}]", role) for number, part in enumerate(value))


def read_result_content(value: Any, param: str) -> ToolResultPart:
    """The content of a tool message, as a result that still lacks its call."""
    parts = read_content(value, param, "tool")
    content = tuple(part for part in parts if isinstance(part, TextPart | ImagePart | FilePart | AudioPart))
    return ToolResultPart(call_id="", content=content)


def _read_part(value: Any, param: str, role: str) -> AnyPart:
    part = object_of(value, param)
    kind = part.get("type")
    cache = _read_cache(part)
    match kind:
        case "text":
            return TextPart(text=text_of(part.get("text"), f"{param}.text"), cache=cache)
        case "refusal" if role == "assistant":
            return RefusalPart(text=text_of(part.get("refusal"), f"{param}.refusal"))
        case "thinking" if role == "assistant":
            return ReasoningPart(text=thinking_text(part))
        case "image_url":
            return _read_image(part.get("image_url"), f"{param}.image_url", cache)
        case "input_audio":
            return _read_audio(part.get("input_audio"), f"{param}.input_audio", cache)
        case "file":
            return _read_file(object_of(part.get("file"), f"{param}.file"), f"{param}.file", cache)
        case "document_url" | "file_url" | "pdf_url":
            url = part.get(kind)
            url = url.get("url") if isinstance(url, dict) else url
            return _read_link(text_of(url, f"{param}.{kind}"), f"{param}.{kind}", cache)
        case _:
            raise unsupported_value(f"{param}.type", kind, _USER_PARTS if role != "assistant" else ("text", "refusal"))


def thinking_text(part: dict[str, Any]) -> str:
    """The text of a Mistral `thinking` part."""
    inner = part.get("thinking")
    if isinstance(inner, list):
        return "".join(str(piece.get("text") or "") for piece in inner if isinstance(piece, dict))
    return inner if isinstance(inner, str) else ""


def _read_cache(part: dict[str, Any]) -> CacheMark | None:
    control = part.get("cache_control") or part.get("prompt_cache_breakpoint")
    if not isinstance(control, dict):
        return None
    ttl = control.get("ttl")
    return CacheMark(ttl=ttl if ttl in ("5m", "1h") else None)


def _read_image(value: Any, param: str, cache: CacheMark | None) -> ImagePart:
    image = {"url": value} if isinstance(value, str) else object_of(value, param)
    url = text_of(image.get("url"), f"{param}.url")
    detail = optional_text(image.get("detail"), f"{param}.detail")
    if detail not in (None, "auto", "low", "high", "original"):
        raise unsupported_value(f"{param}.detail", detail, ("auto", "low", "high", "original"))
    if url[:5].lower() == "data:":
        media_type, data = read_data_url(url, f"{param}.url")
        return ImagePart(data=data, media_type=media_type, detail=detail, cache=cache)
    if not url.lower().startswith(("https://", "http://")):
        raise invalid(
            f"Invalid '{param}.url'. Expected a valid URL, but got a value with an invalid format.",
            f"{param}.url",
            "invalid_value",
        )
    return ImagePart(url=url, detail=detail, cache=cache)


def _read_audio(value: Any, param: str, cache: CacheMark | None) -> AudioPart:
    if isinstance(value, str):  # Mistral
        check_base64(value, param, what="audio")
        return AudioPart(data=value, cache=cache)
    audio = object_of(value, param)
    data = text_of(audio.get("data"), f"{param}.data")
    if data[:5].lower() == "data:":
        data = read_data_url(data, f"{param}.data", what="audio")[1]
    check_base64(data, f"{param}.data", what="audio")
    return AudioPart(data=data, format=text_of(audio.get("format"), f"{param}.format"), cache=cache)


def _read_link(url: str, param: str, cache: CacheMark | None) -> FilePart:
    """A document by URL, by data URL (Mistral) or as plain base64 (Perplexity)."""
    if url.lower().startswith(("https://", "http://")):
        return FilePart(url=url, cache=cache)
    return _read_file({"file_data": url}, param, cache)


def _read_file(file: dict[str, Any], param: str, cache: CacheMark | None) -> FilePart:
    filename = optional_text(file.get("filename"), f"{param}.filename")
    if (file_id := optional_text(file.get("file_id"), f"{param}.file_id")) is not None:
        return FilePart(file_id=file_id, filename=filename, cache=cache)
    data = text_of(file.get("file_data"), f"{param}.file_data")
    if data.lower().startswith(("https://", "http://")):  # OpenRouter
        return FilePart(url=data, filename=filename, cache=cache)
    if data[:5].lower() == "data:":
        media_type, data = read_data_url(data, f"{param}.file_data", what="application/pdf")
    else:
        media_type = None
        check_base64(data, f"{param}.file_data", what="file")
    return FilePart(data=data, media_type=media_type or media_type_of(filename, data), filename=filename, cache=cache)


def media_type_of(filename: str | None, data: str) -> str | None:
    """The media type of a document by its name, else by its first bytes; None when neither tells."""
    known = _MEDIA_TYPES.get((filename or "").rpartition(".")[2].lower())
    return known or ("application/pdf" if data.startswith("JVBERi") else None)


def read_annotations(value: Any, param: str) -> tuple[dict[str, Any], ...]:
    """Annotations of an assistant message that a caller replays."""
    return () if value is None else tuple(object_of(item, param) for item in list_of(value, param))
