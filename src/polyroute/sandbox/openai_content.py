"""Reads the content of chat messages: text, images, sound and files, by address or in place."""

from __future__ import annotations

from typing import Any, Literal

from polyroute.sandbox.errors import invalid
from polyroute.sandbox.exchange import Json
from polyroute.sandbox.prompt import Attachment, base64_size, data_attachment


def read_content(content: Any, where: str) -> tuple[str, tuple[Attachment, ...]]:
    """The texts of a message, joined by line breaks, and what is attached to it; `where` names it in refusals."""
    if isinstance(content, str):
        return content, ()
    if content is None:
        return "", ()
    if not isinstance(content, list):
        raise invalid(
            f"Invalid type for '{where}.content': expected one of a string or array of objects.",
            param=f"{where}.content",
            code="invalid_type",
        )
    said: list[str] = []
    attachments: list[Attachment] = []
    for place, part in enumerate(content):
        _part(part, f"{where}.content[{place}]", said, attachments)
    return "\n".join(said), tuple(attachments)


def _part(part: Any, where: str, said: list[str], attachments: list[Attachment]) -> None:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise invalid(
            f"Missing required parameter: '{where}.type'.", param=f"{where}.type", code="missing_required_parameter"
        )
    match part["type"]:
        case "text" | "refusal":
            said.append(str(part.get(part["type"], "")))
        case "image_url" | "video_url" | "document_url" | "pdf_url" | "audio_url" as kind:
            attachments.append(_by_url(kind, part.get(kind), where))
        case "input_audio":
            audio = part.get("input_audio")
            data, form = (audio, "wav") if isinstance(audio, str) else _pair(audio, "data", "format")
            attachments.append(Attachment("audio", f"audio/{form}", checked_size(data, where)))
        case "file" | "file_url":
            inner = part.get(part["type"])
            attachments.append(_file(inner if isinstance(inner, dict) else {}, where))
        case "thinking" | "reference":
            pass
        case other:
            raise invalid(
                f"Invalid value: '{other}'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', 'file'.",
                param=f"{where}.type",
                code="invalid_value",
            )


def _by_url(kind: str, value: Any, where: str) -> Attachment:
    url = value.get("url") if isinstance(value, dict) else value
    sort: Literal["image", "video", "audio", "file"] = "file"
    if kind in ("image_url", "video_url", "audio_url"):
        sort = kind.removesuffix("_url")  # type: ignore[assignment]  # one of the three named above
    found = data_attachment(sort, url, f"{sort}/unknown") if isinstance(url, str) and url else None
    if found is None:
        raise invalid(
            f"Invalid '{where}.{kind}'. Expected a valid URL or a base64-encoded data URL.",
            param=f"{where}.{kind}",
            code="invalid_image_url" if sort == "image" else "invalid_value",
        )
    return found


def _pair(value: Any, first: str, second: str) -> tuple[Any, str]:
    return (value.get(first), str(value.get(second, ""))) if isinstance(value, dict) else (None, "")


def _file(inner: Json, where: str) -> Attachment:
    data = inner.get("file_data")
    if isinstance(data, str):
        found = data_attachment("file", data, "application/pdf")
        if found is None:
            raise invalid("Invalid file data.", param=f"{where}.file.file_data", code="invalid_file_data")
        return found
    address = inner.get("file_id") or inner.get("url") or inner.get("file_url")
    if not isinstance(address, str):
        raise invalid(
            f"Missing required parameter: '{where}.file.file_id'.", param=where, code="missing_required_parameter"
        )
    return Attachment("file", "application/octet-stream", None, address)


def checked_size(data: Any, where: str) -> int:
    """The size of base64 data in bytes."""
    size = base64_size(data) if isinstance(data, str) else None
    if size is None:
        raise invalid(f"Invalid '{where}': expected base64-encoded data.", param=where, code="invalid_value")
    return size
