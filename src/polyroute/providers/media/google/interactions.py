"""The Interactions API: what it is asked, the states that an interaction has, and what it made (media.md 12.3)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from polyroute.ports import MediaWire
from polyroute.providers.media.google import content
from polyroute.providers.media.intents import failed
from polyroute.providers.media.verdicts import filtered, gone_wrong, unreadable
from polyroute.types.errors import AttemptFailed, ErrorKind
from polyroute.types.media import MediaInput, Produced
from polyroute.types.usage import Usage

_UNDER_WAY = {"queued": "queued", "in_progress": "running"}
_OVER = {
    "failed": "The interaction failed.",
    "cancelled": "The interaction was cancelled.",
    "requires_action": "The interaction waits for a tool that nobody gave it.",
    "requires_continuation": "The interaction came to its limit before it was done.",
    "incomplete": "The interaction ended before it was done.",
}
_MOST_HOPS = 20
"""Continuations of one answer; each is charged for its input again."""


async def block_of(item: MediaInput, wire: MediaWire) -> dict[str, Any]:
    """An input as a block: inline when it is small, else as a file."""
    own = item.url is not None and item.url.startswith(f"{wire.base_url}/files/")
    part = await (content.filed(item, wire) if own else content.part_of(item, wire))
    if (file := part.get("fileData")) is not None:
        kind, found = str(file["mimeType"]), {"uri": file["fileUri"]}
    else:
        kind, found = str(part["inlineData"]["mimeType"]), {"data": part["inlineData"]["data"]}
    return {"type": kind.partition("/")[0], "mime_type": kind, **found}


async def converse(body: dict[str, Any], wire: MediaWire) -> list[dict[str, Any]]:
    """The answer to something that is not kept at Google: as many interactions as it took to get to its end.

    Raises AttemptFailed for one that ended badly.
    """
    given, answers = {**body, "store": False}, list[dict[str, Any]]()
    for _ in range(_MOST_HOPS):
        told: dict[str, Any] = (await wire.call("POST", "/interactions", json=given, creates=True)).json()
        answers.append(told)
        token = told.get("continuation_token")
        if told.get("status") != "requires_continuation" or not token:
            break
        given = {**given, "continuation_token": token}
    check_over(answers[-1])
    return answers


def state_of(told: dict[str, Any]) -> str | None:
    """`queued` or `running` for one that is under way, None for one that is over."""
    return _UNDER_WAY.get(str(told.get("status")))


def check_over(told: dict[str, Any]) -> None:
    """Raises AttemptFailed for an interaction that ended without what was asked; one that is incomplete may have made
    something."""
    status = str(told.get("status"))
    if status == "completed" or (status == "incomplete" and any(media_of(told))):
        return
    if status == "budget_exceeded":
        raise failed(ErrorKind.QUOTA_EXHAUSTED, "The interaction's budget at the provider is used up.")
    if status not in _OVER:
        raise unreadable("The interaction has a state that is not known.", status)
    code, said = _error_of(told)
    raise gone_wrong(_OVER[status], said, code)


def _error_of(told: dict[str, Any]) -> tuple[str | None, str]:
    """Code and words of an interaction's errors, or of the steps in which they were."""
    found = [*(told.get("errors") or ()), told.get("error"), *(step.get("error") for step in told.get("steps") or ())]
    errors = [one for one in found if isinstance(one, dict)]
    code = next((str(one["code"]) for one in errors if one.get("code")), None)
    return code, "; ".join(str(one["message"]) for one in errors if one.get("message"))


def blocks_of(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What the model put out, in its order; thoughts are none of it."""
    for step in told.get("steps") or ():
        if step.get("type") == "model_output":
            yield from step.get("content") or ()


def text_of(told: dict[str, Any]) -> str:
    """The words of an answer."""
    return "".join(str(block.get("text") or "") for block in blocks_of(told) if block.get("type") == "text")


def media_of(told: dict[str, Any]) -> Iterator[Produced]:
    """The media of an answer: bytes, or an address of Google's that wants the key. Raises AttemptFailed for broken base64."""
    for block in blocks_of(told):
        kind = block.get("mime_type")
        if block.get("uri"):
            yield Produced(url=_download(str(block["uri"])), media_type=kind, authenticated=True)
        elif block.get("data") and block.get("type") != "text":
            try:
                data = base64.b64decode(block["data"], validate=True)
            except (binascii.Error, ValueError) as error:
                raise unreadable("The provider's data is no base64.") from error
            yield Produced(data=data, media_type=kind)


def _download(uri: str) -> str:
    """An address that gives the file itself, and not what is known of it."""
    return uri if "alt=" in uri else f"{uri}{'&' if '?' in uri else '?'}alt=media"


def nothing_made(told: dict[str, Any]) -> AttemptFailed:
    """An interaction that is complete without a medium: words alone are how a refusal is put."""
    if _counted(told, "output").get("video"):
        return gone_wrong("The provider made a film and did not give it.")
    return filtered(text_of(told) or "completed without output")


def usage_of(told: dict[str, Any]) -> Usage:
    """Google's counts in disjoint buckets; tokens of films are counted among those of pictures."""
    raw = told.get("usage")
    counts = raw if isinstance(raw, dict) else {}
    given, made = _counted(told, "input"), _counted(told, "output")
    prompt, output, cached = (counts.get(f"total_{name}_tokens") for name in ("input", "output", "cached"))
    audio_in, audio_out = given.get("audio"), made.get("audio")
    seen_out = made.get("image", 0) + made.get("video", 0) or None
    tools = counts.get("total_tool_use_tokens") or 0
    return Usage(
        input=None if prompt is None else max(prompt - (audio_in or 0) - (cached or 0), 0) + tools,
        cache_read=cached or None,
        audio_input=audio_in,
        output=None if output is None else max(output - (seen_out or 0) - (audio_out or 0), 0),
        image_output=seen_out,
        audio_output=audio_out,
        reasoning=counts.get("total_thought_tokens") or None,
        raw=raw if isinstance(raw, dict) else None,
    )


def _counted(told: dict[str, Any], side: str) -> dict[str, int]:
    counts = told.get("usage") or {}
    listed = counts.get(f"{side}_tokens_by_modality") or ()
    return {str(one.get("modality")).lower(): int(one.get("tokens") or 0) for one in listed}
