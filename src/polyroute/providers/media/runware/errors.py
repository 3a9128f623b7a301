"""What Runware's error codes mean."""

from __future__ import annotations

from typing import Any

from polyroute.types.errors import AttemptFailed, ErrorKind, Failure

_SAFETY = frozenset({
    "contentPolicyViolation", "providerContentPolicyViolation", "sensitiveContentDetected", "unsafeContentDetected",
    "nsfwContentDetected", "promptBlocked", "imageBlocked", "moderationFailed", "invalidProviderContent",
})  # fmt: skip
_OURS = {
    "positivePrompt": "prompt", "negativePrompt": "negative_prompt", "width": "size", "height": "size",
    "numberResults": "n", "CFGScale": "guidance", "seedImage": "image", "inputImage": "image", "maskImage": "mask",
    "frameImages": "first_frame", "referenceImages": "reference", "outputFormat": "format", "upscaleFactor": "scale",
    "speech.voice": "voice", "speech.text": "prompt",
}  # fmt: skip
_ACCEPTED = "conflictTaskUUID"


def is_accepted(item: dict[str, Any]) -> bool:
    """Whether an error says that the task is already at work."""
    return item.get("code") == _ACCEPTED


def is_missing(item: dict[str, Any]) -> bool:
    """Whether an error says that the task is not known (yet, or any more)."""
    return item.get("code") == "taskFailedOrNotFound"


def kind_of(code: str, *, accepted: bool) -> ErrorKind:
    """By the code; `accepted`: the work had begun, so that asking the same again would be paid again."""
    lower = code.lower()
    if code in _SAFETY:
        return ErrorKind.CONTENT_FILTERED
    if lower.endswith("apikey") or lower.startswith("unauthorized"):
        return ErrorKind.CREDENTIAL_REJECTED
    if lower.endswith("credits") or lower.startswith(("quota", "payment")):
        return ErrorKind.QUOTA_EXHAUSTED
    if lower.startswith("ratelimit"):
        return ErrorKind.RATE_LIMITED
    if lower == "invalidmodel":
        return ErrorKind.MODEL_NOT_FOUND
    if lower.startswith("unsupported"):
        return ErrorKind.UNSUPPORTED
    if lower.startswith(("invalid", "missing", "conflict")) or lower.endswith("value"):
        return ErrorKind.INVALID_REQUEST
    return ErrorKind.GENERATION_FAILED if accepted else ErrorKind.UNAVAILABLE


def failure_of(item: dict[str, Any], *, accepted: bool, http_status: int | None = None) -> Failure:
    """An item of `errors`, with the field in our words and what is possible."""
    code, message = str(item.get("code") or "unknown"), str(item.get("message") or "")
    kind = kind_of(code, accepted=accepted)
    parameter = item.get("parameter")
    param = str(parameter[0] if isinstance(parameter, list) and parameter else parameter or "") or None
    shown = "The provider's safety check refused this." if kind is ErrorKind.CONTENT_FILTERED else f"Runware: {message}"
    if kind is ErrorKind.INVALID_REQUEST and isinstance(item.get("allowedValues"), list):
        shown += f" Possible are {', '.join(str(value) for value in item['allowedValues'][:20])}."
    if kind is ErrorKind.CREDENTIAL_REJECTED:
        shown = "Runware does not accept the API key."
    return Failure(
        kind=kind, message=shown[:500], code=code, http_status=http_status, detail=message[:2000],
        param=None if param is None else _OURS.get(param, param),
    )  # fmt: skip


def refusal(item: dict[str, Any], *, accepted: bool) -> AttemptFailed:
    """The same, to be raised."""
    return AttemptFailed(failure_of(item, accepted=accepted))
