"""`generateContent` as the door to Gemini's media: what it is asked, what it answers, what that consumed (media.md 12)."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterator
from typing import Any

from polyroute.ports import MediaWire
from polyroute.providers.media.intents import failed
from polyroute.types.errors import ErrorKind
from polyroute.types.media import MediaInput, Produced
from polyroute.types.usage import Usage

_MOST_INLINE = 14 << 20
"""Bytes; a request may hold 20 MB, and base64 makes three into four. What is larger goes by the file store."""
_UPLOAD_POLLS = 60


def merged(body: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """A body with the caller's own fields over it; those that are objects of settings are merged, not replaced."""
    found = {**body, **extra}
    for name in ("generationConfig", "parameters", "generation_config", "response_format"):
        if isinstance(body.get(name), dict) and isinstance(extra.get(name), dict):
            found[name] = {**body[name], **extra[name]}
    return found


async def inline(item: MediaInput, wire: MediaWire) -> dict[str, Any]:
    """An input as `inlineData`."""
    head, _, data = (await wire.input_data_uri(item)).partition(",")
    return {"inlineData": {"mimeType": head.removeprefix("data:").partition(";")[0], "data": data}}


async def part_of(item: MediaInput, wire: MediaWire) -> dict[str, Any]:
    """An input as a part: inline when it is small, else as a file."""
    body, _ = await wire.input_body(item)
    return await inline(item, wire) if body.length <= _MOST_INLINE else await filed(item, wire)


async def filed(item: MediaInput, wire: MediaWire) -> dict[str, Any]:
    """An input as a file of Google's: the one that its address names, or one that is uploaded from disk as it is sent."""
    if item.url is not None and item.url.startswith(f"{wire.base_url}/files/"):
        return {"fileData": {"mimeType": item.media_type or "video/mp4", "fileUri": item.url}}
    body, media_type = await wire.input_body(item)
    root, _, version = wire.base_url.rpartition("/")
    start = await wire.call(
        "POST", f"{root}/upload/{version}/files", json={"file": {"display_name": item.name or item.role}},
        headers=[
            (b"x-goog-upload-protocol", b"resumable"), (b"x-goog-upload-command", b"start"),
            (b"x-goog-upload-header-content-type", media_type.encode()),
            (b"x-goog-upload-header-content-length", str(body.length).encode()),
        ],
    )  # fmt: skip
    where = start.header("x-goog-upload-url")
    if where is None:
        raise failed(ErrorKind.BAD_RESPONSE, "The provider gave no address for the upload.")
    sent = await wire.call(
        "POST", where, body=body,
        headers=[(b"x-goog-upload-offset", b"0"), (b"x-goog-upload-command", b"upload, finalize")],
    )  # fmt: skip
    file = sent.json()["file"]
    for _ in range(_UPLOAD_POLLS):
        if file.get("state", "ACTIVE") != "PROCESSING":
            break
        await wire.pause(1.0)
        file = (await wire.call("GET", f"/{file['name']}")).json()
    return {"fileData": {"mimeType": file.get("mimeType") or media_type, "fileUri": file["uri"]}}


async def generate(body: dict[str, Any], model: str, wire: MediaWire) -> dict[str, Any]:
    """One answer. Raises AttemptFailed, `content_filtered` when it was blocked (which Google says with status 200)."""
    answer: dict[str, Any] = (
        await wire.call("POST", f"/models/{model}:generateContent", json=body, creates=True)
    ).json()
    return answer


def parts_of(answer: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The visible parts of the first candidate; thoughts are none."""
    for candidate in (answer.get("candidates") or ())[:1]:
        for part in (candidate.get("content") or {}).get("parts") or ():
            if not part.get("thought"):
                yield part


def media_of(answer: dict[str, Any]) -> Iterator[tuple[bytes, str]]:
    """Bytes and media type of each inline medium. Raises AttemptFailed(bad_response) for broken base64."""
    for part in parts_of(answer):
        data = part.get("inlineData") or part.get("inline_data")
        if not isinstance(data, dict):
            continue
        try:
            content = base64.b64decode(data.get("data") or "", validate=True)
        except (binascii.Error, ValueError) as error:
            raise failed(ErrorKind.BAD_RESPONSE, "The provider's data is no base64.") from error
        yield content, str(data.get("mimeType") or data.get("mime_type") or "")


def check_blocked(answer: dict[str, Any], *, empty: bool) -> None:
    """Raises AttemptFailed: `content_filtered` when the prompt or the result was blocked, `bad_response` when there is
    nothing although it was not. `empty`: no medium was found."""
    reason = (answer.get("promptFeedback") or {}).get("blockReason")
    if reason is None and not empty:
        return
    for candidate in answer.get("candidates") or ():
        reason = reason or candidate.get("finishReason")
    message = "The provider's safety check refused this."
    if reason in (None, "STOP", "MAX_TOKENS", "OTHER", "IMAGE_OTHER", "NO_IMAGE", "FINISH_REASON_UNSPECIFIED"):
        raise failed(ErrorKind.BAD_RESPONSE, "The provider's answer holds no medium.", detail=reason)
    raise failed(ErrorKind.CONTENT_FILTERED, message, detail=reason)


def usage_of(answer: dict[str, Any], *, images: int | None = None, image_size: str | None = None) -> Usage:
    """Google's counts in disjoint buckets."""
    raw = answer.get("usageMetadata")
    told = raw if isinstance(raw, dict) else {}
    given, made = _modalities(told, "promptTokensDetails"), _modalities(told, "candidatesTokensDetails")
    prompt, output = told.get("promptTokenCount"), told.get("candidatesTokenCount")
    audio_in, image_out, audio_out = given.get("AUDIO"), made.get("IMAGE"), made.get("AUDIO")
    return Usage(
        input=None if prompt is None else max(prompt - (audio_in or 0), 0),
        audio_input=audio_in,
        output=None if output is None else max(output - (image_out or 0) - (audio_out or 0), 0),
        image_output=image_out,
        audio_output=audio_out,
        reasoning=told.get("thoughtsTokenCount"),
        images=images,
        image_size=image_size,
        raw=raw if isinstance(raw, dict) else None,
    )


def _modalities(told: dict[str, Any], name: str) -> dict[str, int]:
    return {str(one.get("modality")): int(one.get("tokenCount") or 0) for one in told.get(name) or ()}


def added(first: Usage, second: Usage) -> Usage:
    """The sum of two answers' tokens and pictures."""

    def total(name: str) -> Any:
        one, other = getattr(first, name), getattr(second, name)
        return other if one is None else one if other is None else one + other

    names = ("input", "audio_input", "output", "image_output", "audio_output", "reasoning", "images")
    return Usage(**{name: total(name) for name in names}, image_size=first.image_size, raw=first.raw)


async def several(bodies: list[dict[str, Any]], model: str, wire: MediaWire) -> list[dict[str, Any] | BaseException]:
    """Answers to several requests at once, each with its own failure."""
    return await asyncio.gather(*(generate(body, model, wire) for body in bodies), return_exceptions=True)


def pictures(answer: dict[str, Any]) -> tuple[Produced, ...]:
    """The pictures of one answer. Raises AttemptFailed."""
    found = tuple(Produced(data=content, media_type=kind) for content, kind in media_of(answer))
    check_blocked(answer, empty=not found)
    return found
