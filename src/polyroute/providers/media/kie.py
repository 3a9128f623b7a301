"""Kie: jobs for most models, older endpoints for some products; errors come in the body of a 200 (media.md 8)."""

from __future__ import annotations

import base64
import hashlib
import hmac
from decimal import Decimal
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Callback, FormPart, Headers, MediaWire, Reply
from polyroute.providers.media import fields
from polyroute.providers.media.handles import NOT_FOUND, is_settling, new_handle
from polyroute.providers.media.hosts import on_host
from polyroute.providers.media.kie_answers import Report, fault, job_report, product_report
from polyroute.providers.media.tabled import Tabled
from polyroute.providers.media.tables import load_table
from polyroute.providers.media.verdicts import gone_wrong, unreadable
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import (
    Handle,
    MediaInput,
    MediaRequest,
    Outcome,
    Produced,
    Progress,
    Task,
    Transcript,
)
from polyroute.types.usage import Usage

_HOME, _FILES = "api.kie.ai", "kieai.redpandaai.co"
_SKEW = 300.0
_CREDIT_USD = "0.005"
"""What a credit is worth unless the row's option `credit_usd` says otherwise; Kie publishes no exact rate."""
_PASSING = frozenset({429, 455, 500})
"""Codes after which a poll is made again."""


class KieMedia:
    """Runs any model of the unified jobs by its name, and the products that the table knows."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name

    def maker(self, task: Task, model: str) -> Jobs | None:
        """Jobs for each task that the table knows a form for."""
        spec = load_table("kie").find(task, model)
        return None if spec is None else Jobs(spec, self._provider)

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """Errors with an HTTP status have the same body as those without."""
        try:
            told = msgspec.json.decode(body)
        except msgspec.MsgspecError:
            return None
        if not isinstance(told, dict) or not isinstance(told.get("code"), int):
            return None
        return fault(told["code"], str(told.get("msg") or ""), headers, status)

    async def callback(self, headers: Headers, body: bytes, wire: MediaWire, now: float) -> Callback:
        """Signed over task and time with the account's webhook key (option `webhook_key`); the body is not covered, so only
        the task's id is taken from it."""
        named, key = dict(headers), wire.options.get("webhook_key")
        stamp, signature = named.get(b"x-webhook-timestamp", b""), named.get(b"x-webhook-signature", b"")
        if not key:
            raise PolyrouteError(ErrorKind.UNAUTHORIZED, "Callbacks need the provider's option webhook_key.")
        if not stamp.isdigit() or abs(int(stamp) - now) > _SKEW:
            raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback's timestamp is missing or too old.")
        try:
            identifier = str(msgspec.json.decode(body)["data"]["taskId"])
        except (msgspec.MsgspecError, KeyError, TypeError):
            identifier = ""
        digest = hmac.digest(str(key).encode(), f"{identifier}.".encode() + stamp, hashlib.sha256)
        if not hmac.compare_digest(base64.b64encode(digest), signature):
            raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback's signature does not hold.")
        return Callback(handle_id=identifier)


class Jobs(Tabled):
    """Implements `ports.Queued`."""

    resubmits = False
    pace = (2.0, 10.0)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """A task of the unified jobs, or of a product."""
        filled = fields.fill(self._spec, request, self._provider)
        given = await fields.place(filled, wire, lambda item: _upload(item, wire))
        extra = self._spec.extra
        if words := given.pop("lyrics", None):
            style = given.get("style") or given.get("prompt")
            given |= {"customMode": True, "prompt": words, "style": style, "title": str(style)[:80]}
        if "create" in extra:
            body = {**given, **({"model": model} if extra.get("model") else {})}
        else:
            body = {"model": model, "input": given}
        if wire.callback_url is not None and (wire.options.get("webhook_key") or extra.get("needs_callback")):
            body["callBackUrl"] = wire.callback_url
        elif extra.get("needs_callback"):
            body["callBackUrl"] = wire.base_url  # must be there; nobody listens, the record is polled
        reply = await wire.call("POST", str(extra.get("create", "/jobs/createTask")), json=body, creates=True)
        identifier = _data(reply).get("taskId")
        if not identifier:
            raise unreadable("The provider gave no task.")
        return new_handle(
            str(identifier), read=str(extra.get("read", "/jobs/recordInfo")), product="create" in extra, model=model,
            task=request.task.value, seconds=request.duration,
            characters=len(request.prompt or "") if request.task is Task.SPEECH else None,
        )  # fmt: skip

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The task's record."""
        reply = await wire.call("GET", handle.data["read"], query={"taskId": handle.id}, accept=(NOT_FOUND,))
        try:
            data = _data(reply)
        except AttemptFailed as failed:
            code = int(failed.failure.code or 0)
            if code in _PASSING or (code in (NOT_FOUND, 422) and is_settling(handle)):
                return Progress(state="queued")
            if code in (NOT_FOUND, 422):
                raise gone_wrong("The provider no longer knows the task.") from failed
            raise
        report = (product_report if handle.data.get("product") else job_report)(data)
        if report.over:
            return _outcome(report, handle, wire)
        return Progress(state="running" if report.running else "queued", percent=report.percent)

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """There is no way to."""


def _data(reply: Reply) -> dict[str, Any]:
    """What is in a good answer. Raises AttemptFailed for one whose code is not 200."""
    told = reply.json()
    code = told.get("code")
    if code != 200:
        raise AttemptFailed(fault(int(code or 500), str(told.get("msg") or told.get("message") or ""), reply.headers))
    data = told.get("data")
    return data if isinstance(data, dict) else {}


def _outcome(report: Report, handle: Handle, wire: MediaWire) -> Outcome:
    data, task = handle.data, Task(handle.data["task"])
    credits_ = report.credits
    cost = None if credits_ is None else credits_ * Decimal(str(wire.options.get("credit_usd", _CREDIT_USD)))
    usage = Usage(
        images=len(report.urls) if "image" in task else None,
        seconds=report.seconds or data.get("seconds"), characters=data.get("characters"), reported_cost_usd=cost,
        raw=None if credits_ is None else {"credits": float(credits_)},
    )  # fmt: skip
    if task is Task.TRANSCRIBE:
        text = report.text
        if text is None:
            raise unreadable("The task has no transcript.")
        return Outcome(transcript=Transcript(text=text), usage=usage, model=data["model"], upstream_id=handle.id)
    if not report.urls:
        raise unreadable("The task has no result.")
    produced = tuple(Produced(url=url) for url in report.urls)
    return Outcome(produced=produced, usage=usage, model=data["model"], upstream_id=handle.id)


async def _upload(item: MediaInput, wire: MediaWire) -> str:
    content, media_type = await wire.input_body(item)
    name = item.name or f"{item.role}.{media_type.partition('/')[2].removeprefix('x-')}"
    parts = (
        FormPart(name="file", value=content, filename=name, media_type=media_type),
        FormPart(name="uploadPath", value="polyroute"),
        FormPart(name="fileName", value=name),
    )
    address = on_host(wire.base_url, _HOME, _FILES) + "/api/file-stream-upload"
    data = _data(await wire.call("POST", address, form=parts))
    url = data.get("downloadUrl") or data.get("fileUrl")
    if not url:
        raise unreadable("The provider took the file, but gave no address for it.")
    return str(url)
