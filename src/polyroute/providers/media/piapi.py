"""PiAPI: one kind of task for the models of many makers, with results in many places (media.md 9).

A model's id is PiAPI's `model` and `task_type` joined by a slash: `kling/video_generation`, `Qubico/flux1-schnell/txt2img`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Callback, Headers, MediaWire, Reply
from polyroute.providers.media import fields
from polyroute.providers.media.handles import NOT_FOUND, is_settling, new_handle
from polyroute.providers.media.hosts import on_host
from polyroute.providers.media.tabled import Tabled
from polyroute.providers.media.tables import load_table
from polyroute.providers.media.verdicts import gone_wrong, is_moderation, money, unreadable
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Handle, MediaInput, MediaRequest, Outcome, Produced, Progress, Task
from polyroute.types.usage import Usage

_HOME, _FILES = "api.piapi.ai", "upload.theapi.app"
_POINTS_PER_USD = 10_000_000
"""What a dollar buys unless the row's option `points_per_usd` says otherwise; PiAPI's own figure is not published."""
_OLDEST_REPORT = 3600.0
_CANCELABLE = ("kling", "midjourney")
_MONEY = ("insufficient credit", "insufficient balance", "not enough credit", "quota")
_PREFERRED = (
    "resource_without_watermark", "video_raw", "video_url", "image_urls", "image_url", "audio_url", "song_path", "video",
    "resource", "url", "songs", "clips", "works", "images", "videos", "output", "model_file", "temporary_image_urls",
)  # fmt: skip
"""Where results stand, the best first; the first that has any is the result."""
_KINDS: dict[int, tuple[ErrorKind, str]] = {
    401: (ErrorKind.CREDENTIAL_REJECTED, "The provider refused the credential."),
    402: (ErrorKind.QUOTA_EXHAUSTED, "The account has no credit."),
    403: (ErrorKind.CREDENTIAL_REJECTED, "The provider refused the credential."),
    404: (ErrorKind.MODEL_NOT_FOUND, "The provider does not have this model."),
    429: (ErrorKind.RATE_LIMITED, "The provider throttles requests."),
}


class PiapiMedia:
    """Runs any task of any model."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name

    def maker(self, task: Task, model: str) -> Tasks | None:
        """Tasks for what the table knows a form for."""
        spec = load_table("piapi").find(task, model)
        return None if spec is None or "/" not in model else Tasks(spec, self._provider)

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """PiAPI's own envelope; its OpenAI paths have another."""
        try:
            told = msgspec.json.decode(body)
        except msgspec.MsgspecError:
            return None
        if not isinstance(told, dict) or not isinstance(told.get("code"), int):
            return None
        return _fault(told, status)

    async def callback(self, headers: Headers, body: bytes, wire: MediaWire, now: float) -> Callback:
        """Known by the secret that was handed over with the task: a shared word, no signature, so only the task's id is
        taken from the body."""
        given = dict(headers).get(b"x-webhook-secret", b"")
        if not hmac.compare_digest(_webhook_secret(wire).encode(), given):
            raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback's secret is missing or wrong.")
        try:
            told = msgspec.json.decode(body)
            if abs(float(told.get("timestamp", now)) - now) > _OLDEST_REPORT:
                raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback is too old.")
            return Callback(handle_id=str(told["data"]["task_id"]))
        except (AttributeError, ValueError, msgspec.MsgspecError, KeyError, TypeError):
            raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback names no task.") from None


def _webhook_secret(wire: MediaWire) -> str:
    """The row's option `webhook_secret`, or one that follows from the credential and does not tell it."""
    told = wire.options.get("webhook_secret")
    if told:
        return str(told)
    return hmac.new((wire.secret or "").encode(), b"polyroute piapi callbacks", hashlib.sha256).hexdigest()


class Tasks(Tabled):
    """Implements `ports.Queued`."""

    resubmits = False
    pace = (1.0, 30.0)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """A task."""
        filled = fields.fill(self._spec, request, self._provider)
        given = await fields.place(filled, wire, lambda item: _upload(item, wire))
        name, _, task_type = model.rpartition("/")
        config: dict[str, Any] = {"service_mode": str(wire.options.get("service_mode", "public"))}
        if wire.callback_url is not None:
            config["webhook_config"] = {"endpoint": wire.callback_url, "secret": _webhook_secret(wire)}
        body = {"model": name, "task_type": task_type, "input": given, "config": config}
        data = _data(await wire.call("POST", _tasks(wire), json=body, creates=True))
        if not data.get("task_id"):
            raise unreadable("The provider gave no task.")
        characters = len(request.prompt or "") if request.task is Task.SPEECH else None
        return new_handle(
            str(data["task_id"]), model=model, task=request.task.value, seconds=request.duration, characters=characters
        )

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The task as it stands; its state is spelled now so, now so."""
        reply = await wire.call("GET", f"{_tasks(wire)}/{handle.id}", accept=(NOT_FOUND,))
        if is_settling(handle, reply):
            return Progress(state="queued")
        if reply.status == NOT_FOUND:
            raise gone_wrong("The provider no longer knows the task.")
        data = _data(reply)
        percent = data.get("progress")
        match str(data.get("status")).lower():
            case "pending" | "staged" | "queued":
                return Progress(state="queued")
            case "processing" | "running":
                known = min(float(percent), 99.0) if isinstance(percent, int | float) else None
                return Progress(state="running", percent=known)
            case "completed" | "success":
                return _outcome(data, handle, wire)
            case "failed" | "error" | "cancelled" | "canceled":
                error = data.get("error") or {}
                text = f"{error.get('message') or ''} {error.get('raw_message') or ''}".strip()
                raise gone_wrong("The task failed.", text, str(error.get("code") or "") or None)
            case other:
                raise unreadable("The task has a state that is not known.", other)

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Kling's and Midjourney's tasks can be taken back while they wait."""
        if str(handle.data.get("model")).startswith(_CANCELABLE):
            await wire.call("DELETE", f"{_tasks(wire)}/{handle.id}", accept=(400, NOT_FOUND, 409, 422))


def _root(wire: MediaWire) -> str:
    return wire.base_url.removesuffix("/v1")


def _tasks(wire: MediaWire) -> str:
    return _root(wire) + "/api/v1/task"


def _data(reply: Reply) -> dict[str, Any]:
    """What is in a good answer. Raises AttemptFailed for one whose code is not 200."""
    told = reply.json()
    if told.get("code") != 200:
        raise AttemptFailed(_fault(told, None))
    data = told.get("data")
    return data if isinstance(data, dict) else {}


def _fault(told: dict[str, Any], status: int | None) -> Failure:
    data = told.get("data")
    error = (data.get("error") or {}) if isinstance(data, dict) else {}
    text = " ".join(str(part) for part in (told.get("message"), error.get("raw_message"), error.get("detail")) if part)
    code = told.get("code") if isinstance(told.get("code"), int) else status
    code = code or 500
    kind, message = _KINDS.get(code, (ErrorKind.INVALID_REQUEST if 400 <= code < 500 else ErrorKind.UNAVAILABLE, ""))
    param = None
    if any(word in text.lower() for word in _MONEY) and code != 429:
        kind, message = ErrorKind.QUOTA_EXHAUSTED, "The account has no credit."
    elif kind is ErrorKind.INVALID_REQUEST and is_moderation(text):
        kind, message = ErrorKind.CONTENT_FILTERED, "The provider's safety check refused this."
    elif kind is ErrorKind.INVALID_REQUEST:
        table = load_table("piapi")
        words = (word.strip(".,:;'\"`") for word in text.split())
        param = next((intent for word in words if (intent := table.intent_of(word))), None)
    return Failure(
        kind=kind, message=message or f"The provider says: {text[:300]}", http_status=status or code, code=str(code),
        param=param, detail=text[:2000],
    )  # fmt: skip


def _outcome(data: dict[str, Any], handle: Handle, wire: MediaWire) -> Outcome:
    urls = tuple(dict.fromkeys(_results(data.get("output"))))
    if not urls:
        raise unreadable("The task has no result.")
    usage = ((data.get("meta") or {}).get("usage")) or {}
    points = money(usage.get("consume")) if usage.get("type", "point") == "point" else None
    worth = Decimal(str(wire.options.get("points_per_usd", _POINTS_PER_USD)))
    measured = Usage(
        images=len(urls) if "image" in handle.data["task"] else None, seconds=handle.data.get("seconds"),
        characters=handle.data.get("characters"), reported_cost_usd=None if points is None else points / worth,
        raw=usage or None,
    )  # fmt: skip
    produced = tuple(Produced(url=url) for url in urls)
    return Outcome(produced=produced, usage=measured, model=handle.data["model"], upstream_id=handle.id)


def _results(output: Any) -> Iterator[str]:
    """The addresses under the best name that has any."""
    match output:
        case str() if output.startswith(("https://", "http://")):
            yield output
        case list():
            for item in output:
                yield from _results(item)
        case dict():
            known = [*_PREFERRED, *(name for name in output if name.endswith("url") and name not in _PREFERRED)]
            for name in known:
                found = list(_results(output.get(name)))
                if found:
                    yield from found
                    return
            if not any(name in output for name in _PREFERRED):
                for value in output.values():
                    if isinstance(value, dict):
                        yield from _results(value)
        case _:
            return


async def _upload(item: MediaInput, wire: MediaWire) -> str:
    content, media_type = await wire.input_bytes(item)
    extension = media_type.partition("/")[2].removeprefix("x-")
    body = {
        "file_name": item.name or f"{item.role}.{extension}",
        "file_data": f"data:{media_type};base64,{base64.b64encode(content).decode()}",
    }
    address = on_host(wire.base_url, _HOME, _FILES) + "/api/ephemeral_resource"
    url = _data(await wire.call("POST", address, json=body)).get("url")
    if not url:
        raise unreadable("The provider took the file, but gave no address for it.")
    return str(url)
