"""fal: a queue before a thousand models, each at an address of its own (media.md 5)."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Callback, Headers, MediaWire, Reply
from polyroute.providers.media import ed25519, fields
from polyroute.providers.media.fal_answers import outcome_of, read_failure
from polyroute.providers.media.handles import NOT_FOUND, is_settling, new_handle
from polyroute.providers.media.hosts import on_host
from polyroute.providers.media.tabled import Tabled
from polyroute.providers.media.tables import ModelSpec, load_table
from polyroute.providers.media.verdicts import gone_wrong, unreadable
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Handle, MediaInput, MediaRequest, Outcome, Progress, Task

_HOME = "queue.fal.run"
_PERCENT = re.compile(r"(\d{1,3})\s?%")
_SKEW = 300.0
_KEYS_LAST, _KEYS_REST = 86_400.0, 60.0
"""Seconds that published keys hold at most; and how soon they may be asked for again when none of them fits."""
_PRICES_LAST = 3600.0
_LARGEST_UPLOAD = 100 << 20
_JUDGED = (400, 422, 499, 500, 504)
"""Statuses by which a result says that the work failed."""
_TASKS_OF_CATEGORY: dict[str, tuple[Task, ...]] = {
    "text-to-image": (Task.TEXT_TO_IMAGE,),
    "image-to-image": (Task.IMAGE_TO_IMAGE,),
    "text-to-video": (Task.TEXT_TO_VIDEO,),
    "image-to-video": (Task.IMAGE_TO_VIDEO,),
    "video-to-video": (Task.VIDEO_TO_VIDEO,),
    "text-to-audio": (Task.MUSIC,),
    "text-to-music": (Task.MUSIC,),
    "text-to-speech": (Task.SPEECH,),
    "speech-to-text": (Task.TRANSCRIBE,),
}


class FalMedia:
    """Runs any endpoint by its id, `owner/alias[/path]`."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name
        self._keys: tuple[bytes, ...] = ()
        self._keys_read = float("-inf")
        self._prices: dict[str, tuple[float, Decimal | None]] = {}

    def maker(self, task: Task, model: str) -> Requests | None:
        """Queued requests for each task that the table knows a form for."""
        spec = load_table("fal").find(task, model)
        return None if spec is None else Requests(self, spec, self._provider)

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """All active endpoints, by their category."""
        found: list[tuple[str, tuple[Task, ...]]] = []
        query = {"status": "active", "limit": "50"}
        for _ in range(100):
            page = (await wire.call("GET", _at(wire, "api.fal.ai") + "/v1/models", query=query)).json()
            for one in page.get("models", ()):
                category = str((one.get("metadata") or {}).get("category"))
                found.append((str(one["endpoint_id"]), _TASKS_OF_CATEGORY.get(category, ())))
            if not page.get("has_more") or not page.get("next_cursor"):
                break
            query["cursor"] = str(page["next_cursor"])
        return tuple(found)

    async def unit_price(self, model: str, wire: MediaWire) -> Decimal | None:
        """US dollars for one billable unit of a model, None when fal does not say; asked at most once an hour."""
        known = self._prices.get(model)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        price = None
        try:
            query = {"endpoint_id": model}
            listed = (await wire.call("GET", _at(wire, "api.fal.ai") + "/v1/models/pricing", query=query)).json()
            for one in listed.get("prices", ()):
                if one.get("endpoint_id") == model and one.get("currency", "USD") == "USD":
                    price = Decimal(str(one["unit_price"]))
        except (AttemptFailed, msgspec.MsgspecError, InvalidOperation, KeyError):
            price = None
        self._prices[model] = (time.monotonic() + _PRICES_LAST, price)
        return price

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """fal's two shapes of errors."""
        return read_failure(status, headers, body)

    async def callback(self, headers: Headers, body: bytes, wire: MediaWire, now: float) -> Callback:
        """Signed with one of fal's published keys, over request, user, time and the body's hash."""
        named = dict(headers)
        request, user, stamp, signature = (
            named.get(b"x-fal-webhook-" + name, b"") for name in (b"request-id", b"user-id", b"timestamp", b"signature")
        )
        if not stamp.isdigit() or abs(int(stamp) - now) > _SKEW:
            raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback's timestamp is missing or too old.")
        try:
            signed = bytes.fromhex(signature.decode("ascii"))
            told = msgspec.json.decode(body)
        except (ValueError, msgspec.MsgspecError):
            signed, told = b"", None
        message = b"\n".join((request, user, stamp, hashlib.sha256(body).hexdigest().encode()))
        if not isinstance(told, dict) or not await self._is_signed(signed, message, wire, now):
            raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback's signature does not hold.")
        return Callback(handle_id=str(told.get("request_id") or ""))

    async def _is_signed(self, signature: bytes, message: bytes, wire: MediaWire, now: float) -> bool:
        for rest in (_KEYS_LAST, _KEYS_REST):
            if now - self._keys_read > rest:
                listed = (
                    await wire.call("GET", _at(wire, "rest.fal.ai") + "/.well-known/jwks.json", anonymous=True)
                ).json()
                self._keys = tuple(
                    key for one in listed.get("keys", ()) if (key := _key(one.get("x"))) is not None
                )  # fmt: skip
                self._keys_read = now
            if any(ed25519.verifies(key, signature, message) for key in self._keys):
                return True
        return False


def _key(text: Any) -> bytes | None:
    try:
        return base64.urlsafe_b64decode(f"{text}==")
    except ValueError:
        return None


class Requests(Tabled):
    """Implements `ports.Queued`."""

    resubmits = False
    pace = (0.5, 5.0)

    def __init__(self, adapter: FalMedia, spec: ModelSpec, provider: str) -> None:
        super().__init__(spec, provider)
        self._adapter = adapter

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """Into the queue."""
        filled = fields.fill(self._spec, request, self._provider)
        body = await fields.place(filled, wire, lambda item: _upload(item, wire))
        query = {"fal_webhook": wire.callback_url} if wire.callback_url else None
        queue = _at(wire, _HOME)
        told = (await wire.call("POST", f"{queue}/{model}", json=body, query=query, creates=True)).json()
        identifier = str(told["request_id"])
        base = f"{queue}/{_application(model)}/requests/{identifier}"
        addresses = {"status": f"{base}/status", "response": base, "cancel": f"{base}/cancel"}
        for name in addresses:
            given = str(told.get(f"{name}_url") or "")
            if given.startswith(f"{queue}/"):
                addresses[name] = given
        data = {
            **addresses, "task": request.task.value, "model": model, "seconds": request.duration,
            "characters": len(request.prompt or "") if request.task is Task.SPEECH else None,
            "voice_name": request.voice_name, "words": "word" in request.timestamps,
        }  # fmt: skip
        return new_handle(identifier, **data)

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The place in the queue, the logs, and at the end the result."""
        reply = await wire.call("GET", handle.data["status"], query={"logs": "1"}, accept=(NOT_FOUND,))
        if is_settling(handle, reply):
            return Progress(state="queued")
        told = reply.json()
        logs = tuple(str(one.get("message", "")) for one in told.get("logs") or ())
        match told.get("status"):
            case "IN_QUEUE":
                return Progress(state="queued", queue_position=told.get("queue_position"))
            case "IN_PROGRESS":
                return Progress(state="running", percent=_percent(logs), logs=logs)
            case "COMPLETED":
                return await self._result(handle, wire)
            case None if reply.status == NOT_FOUND:
                raise gone_wrong("The provider no longer knows the request.")
            case other:
                raise unreadable("The request has a state that is not known.", str(other))

    async def _result(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        reply = await wire.call("GET", handle.data["response"], accept=_JUDGED)
        if reply.status < 300:
            return outcome_of(reply, handle, await self._price(reply, handle, wire))
        failure = read_failure(reply.status, reply.headers, reply.body)
        if failure is None:
            return Progress(state="running")  # a proxy's error page: the result is asked for again
        if failure.kind in (ErrorKind.CONTENT_FILTERED, ErrorKind.INVALID_REQUEST, ErrorKind.UNSUPPORTED):
            raise AttemptFailed(failure)
        raise gone_wrong("The request failed.", failure.detail or "", failure.code)

    async def _price(self, reply: Reply, handle: Handle, wire: MediaWire) -> Decimal | None:
        if reply.header("x-fal-billable-units") is None:
            return None
        return await self._adapter.unit_price(handle.data["model"], wire)

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Out of the queue; what runs already may go on all the same."""
        await wire.call("PUT", handle.data["cancel"], accept=(400, 404, 409))


def _at(wire: MediaWire, host: str) -> str:
    return on_host(wire.base_url, _HOME, host)


def _application(model: str) -> str:
    """Owner and alias: the queue's other paths have no sub path."""
    parts = model.split("/")
    return "/".join(parts[: 3 if parts[0] in ("workflows", "comfy") else 2])


async def _upload(item: MediaInput, wire: MediaWire) -> str:
    content, media_type = await wire.input_body(item)
    if content.length > _LARGEST_UPLOAD:
        message = f"'{item.role}' has {content.length >> 20} MB; at most {_LARGEST_UPLOAD >> 20} MB can be sent to fal."
        raise AttemptFailed(Failure(kind=ErrorKind.UNSUPPORTED, message=message, param=item.role))
    path = _at(wire, "rest.fal.ai") + "/storage/auth/token"
    token = (await wire.call("POST", path, json={}, query={"storage_type": "fal-cdn-v3"})).json()
    name = item.name or f"{item.role}.{media_type.partition('/')[2].removeprefix('x-')}"
    headers: Headers = [
        (b"authorization", f"{token['token_type']} {token['token']}".encode()),
        (b"content-type", media_type.encode()),
        (b"x-fal-file-name", re.sub(r"[^A-Za-z0-9._-]", "_", name).encode()),
    ]
    reply = await wire.call("POST", f"{token['base_url']}/files/upload", body=content, headers=headers)
    return str(reply.json()["access_url"])


def _percent(logs: tuple[str, ...]) -> float | None:
    """The last percentage that the model wrote."""
    for line in reversed(logs):
        if found := _PERCENT.findall(line):
            return min(float(found[-1]), 99.0)
    return None
