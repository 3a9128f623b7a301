"""Black Forest Labs: FLUX, ordered at one host and polled at the one that the answer names (media.md 15.1)."""

from __future__ import annotations

import hashlib
import hmac
import time
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Callback, Headers, MediaWire
from polyroute.providers.media import fields, intents
from polyroute.providers.media.handles import NOT_FOUND, is_settling, new_handle
from polyroute.providers.media.tabled import Tabled
from polyroute.providers.media.tables import load_table
from polyroute.providers.media.verdicts import filtered, gone_wrong, is_moderation, money, unreadable
from polyroute.providers.retry_after import retry_after
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Fitted, Handle, MediaRequest, Outcome, Produced, Progress, Task
from polyroute.types.usage import Usage

_IMAGES = "input_image"
_OLDEST_REPORT = 3600.0
_SIGNED_WITH = b"polyroute callbacks of Black Forest Labs"
_BY_STATUS: dict[int, tuple[ErrorKind, str]] = {
    400: (ErrorKind.INVALID_REQUEST, "The provider refused the request"),
    401: (ErrorKind.CREDENTIAL_REJECTED, "The provider refused the credential."),
    402: (ErrorKind.QUOTA_EXHAUSTED, "The account has no credit."),
    403: (ErrorKind.CREDENTIAL_REJECTED, "The provider refused the credential."),
    404: (ErrorKind.MODEL_NOT_FOUND, "The provider does not have this model."),
    422: (ErrorKind.INVALID_REQUEST, "The provider refused the request"),
    429: (ErrorKind.RATE_LIMITED, "The account has as much under way as it may."),
}


class BlackForestLabsMedia:
    """Every model by its name, which is the endpoint's."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name

    def maker(self, task: Task, model: str) -> Tasks | None:
        """By the model's table."""
        spec = load_table("bfl").find(task, model)
        return None if spec is None else Tasks(spec, self._provider)

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """`detail` as words or as pydantic's list, or `error`, `message` and `details` by field."""
        if status not in _BY_STATUS:
            return None
        param, said = _complaint(body)
        if status in (400, 403, 422) and is_moderation(said):
            return msgspec.structs.replace(filtered(said).failure, http_status=status)
        kind, message = _BY_STATUS[status]
        if kind is ErrorKind.INVALID_REQUEST:
            about = f"'{param}': " if param else ""
            message = f"{message}: {about}{said[:300]}"
        wait = retry_after(headers, None, said, time.time) if status == 429 else None
        return Failure(
            kind=kind, message=message, http_status=status, param=param, detail=said[:2000], retry_after=wait
        )

    async def callback(self, headers: Headers, body: bytes, wire: MediaWire, now: float) -> Callback:
        """Signed over the body, the time of the event with it, with the secret that came with the order."""
        given = dict(headers).get(b"x-bfl-signature", b"").removeprefix(b"sha256=")
        expected = hmac.new(_callback_secret(wire).encode(), body, hashlib.sha256).hexdigest().encode()
        if not hmac.compare_digest(expected, given):
            raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback's signature does not hold.")
        told = msgspec.json.decode(body)
        if _age(told.get("timestamp"), now) > _OLDEST_REPORT:
            raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback is too old.")
        return Callback(handle_id=str(told.get("id", "")))


def _age(stamp: Any, now: float) -> float:
    """Seconds since a time in RFC 3339, or in seconds; 0 when none is told."""
    try:
        moment = datetime.fromisoformat(stamp).timestamp() if isinstance(stamp, str) else float(stamp)
    except (ValueError, TypeError):
        return 0.0
    return now - moment


def _callback_secret(wire: MediaWire) -> str:
    """What BFL signs its callbacks with: of each credential its own, so that nothing has to be set or kept."""
    return hmac.new((wire.secret or "").encode(), _SIGNED_WITH, hashlib.sha256).hexdigest()


def _complaint(body: bytes) -> tuple[str | None, str]:
    """The field in our words, and what is said of it."""
    try:
        told = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return None, ""
    if not isinstance(told, dict):
        return None, ""
    detail, by_field = told.get("detail"), told.get("details")
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        names = [part for part in detail[0].get("loc") or () if isinstance(part, str) and part != "body"]
        return _intent(names[0]) if names else None, str(detail[0].get("msg") or "")
    if isinstance(by_field, dict) and by_field:
        name, said = next(iter(by_field.items()))
        return _intent(str(name)), str(said)
    return None, " ".join(str(told[name]) for name in ("detail", "error", "message") if told.get(name))


def _intent(name: str) -> str:
    return load_table("bfl").intent_of(name) or name


class Tasks(Tabled):
    """Implements `ports.Queued`."""

    resubmits = False
    pace = (0.5, 1.5)

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """By the model's table, and by what only options can say."""
        intents.need_options(request, self._provider, self._spec.extra.get("needs", ()), model)
        if request.task is Task.IMAGE_TO_IMAGE and not request.inputs:
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'image' is required.", param="image")
        return super().fit(request, model)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """Order it. With a callback the answer names no address to poll at."""
        body = await fields.place(fields.fill(self._spec, request, self._provider), wire)
        pictures = body.pop(_IMAGES, None)
        for number, picture in enumerate(pictures or (), 1):
            body[_IMAGES if number == 1 else f"{_IMAGES}_{number}"] = _bare(picture)
        if wire.callback_url is not None:
            body |= {"webhook_url": wire.callback_url, "webhook_secret": _callback_secret(wire)}
        told = (await wire.call("POST", f"/v1/{model}", json=body, creates=True)).json()
        return new_handle(
            str(told["id"]), url=told.get("polling_url"), model=model, cost=told.get("cost"), size=told.get("output_mp")
        )

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The task where its answer said: the key goes to BFL's own hosts alone."""
        address = handle.data.get("url") or f"/v1/get_result?id={handle.id}"
        try:
            reply = await wire.call("GET", str(address), accept=(NOT_FOUND,))
        except AttemptFailed as failed:
            if failed.failure.kind is ErrorKind.BAD_RESPONSE and failed.failure.http_status is None:
                raise gone_wrong(failed.failure.message, str(address)) from failed  # accepted: not to be ordered again
            raise
        told = reply.json()
        match told.get("status"):
            case "Ready":
                return _outcome(told, handle)
            case "Pending":
                return Progress(state="running", percent=_percent(told.get("progress")))
            case "Task not found" if is_settling(handle):
                return Progress(state="queued")
            case "Request Moderated" | "Content Moderated" as status:
                raise filtered(f"{status}: {told.get('details')}", status)
            case "Error" | "Failed" | "Task not found" as status:
                raise gone_wrong(f"The task ended: {status}.", str(told.get("details") or ""), status)
            case other:
                raise unreadable("The task has a state that is not known.", str(other))

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """There is no way to."""


def _bare(picture: str) -> str:
    """An address, or base64 without what a data URI puts before it."""
    return picture.partition(",")[2] if picture.startswith("data:") else picture


def _percent(progress: Any) -> float | None:
    return min(float(progress) * 100, 99.0) if isinstance(progress, int | float) else None


def _outcome(told: dict[str, Any], handle: Handle) -> Outcome:
    result, data = told.get("result") or {}, handle.data
    if not result.get("sample"):
        raise unreadable("The task has no picture.")
    spent: Decimal | None = money(told.get("cost"))
    size = data.get("size")
    usage = Usage(
        images=1, megapixels=float(size) if isinstance(size, int | float) and size > 0 else None,
        reported_credits=money(data.get("cost")) if spent is None else spent,
    )  # fmt: skip
    return Outcome(
        produced=(Produced(url=str(result["sample"])),), usage=usage, model=data.get("model"), upstream_id=handle.id
    )
