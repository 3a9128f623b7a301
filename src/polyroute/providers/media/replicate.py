"""Replicate: predictions that are polled (media.md 2)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Callback, FormPart, Headers, MediaWire
from polyroute.providers.media import fields
from polyroute.providers.media.tabled import Tabled
from polyroute.providers.media.tables import load_table
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import (
    Handle,
    MediaInput,
    MediaRequest,
    Outcome,
    Produced,
    Progress,
    Segment,
    Task,
    Transcript,
)
from polyroute.types.usage import Usage

_WAIT = b"wait=1"
"""Short work is answered at once; everything else is polled."""
_MODERATED = re.compile(r"nsfw|sensitive|flagged|safety|moderat", re.IGNORECASE)
_RESETS = re.compile(r"resets in ~?(\d+)\s*s")
_PERCENT = re.compile(r"(\d{1,3})%\|")
_OFFICIAL = re.compile(r"[^/:]+/[^/:]+")
_DEPLOYED = re.compile(r"deployments/[^/:]+/[^/:]+")
_SKEW = 300.0


class ReplicateMedia:
    """Runs any model by its name: official ones as `owner/name`, others as `owner/name:version` or a version's id, one's own
    deployments as `deployments/owner/name`."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name
        self._secrets: dict[str, bytes] = {}

    def maker(self, task: Task, model: str) -> Predictions | None:
        """Predictions for each task that the table knows a form for."""
        spec = load_table("replicate").find(task, model)
        return None if spec is None else Predictions(spec, self._provider)

    async def models(self, wire: MediaWire) -> tuple[tuple[str, tuple[Task, ...]], ...]:
        """The public models of the first pages; what they are for is not said."""
        found: list[tuple[str, tuple[Task, ...]]] = []
        path: str | None = "/models"
        for _ in range(4):
            if path is None:
                break
            page = (await wire.call("GET", path)).json()
            found += [(f"{model['owner']}/{model['name']}", ()) for model in page.get("results", ())]
            path = page.get("next")
        return tuple(found)

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """Throttling says in words when it ends; 402 is about money."""
        detail = _detail(body)
        if status == 402:
            return Failure(kind=ErrorKind.QUOTA_EXHAUSTED, message="The account has no credit.", http_status=status)
        if status == 429 and (resets := _RESETS.search(detail)) is not None:
            return Failure(
                kind=ErrorKind.RATE_LIMITED, message="The provider throttles requests.", http_status=status,
                retry_after=float(resets[1]), detail=detail,
            )  # fmt: skip
        if status == 422:
            return Failure(
                kind=ErrorKind.INVALID_REQUEST, message=f"The provider refused the input: {detail[:300]}",
                http_status=status, detail=detail,
            )  # fmt: skip
        return None

    async def callback(self, headers: Headers, body: bytes, wire: MediaWire, now: float) -> Callback:
        """Standard webhooks, signed with the account's secret."""
        named = dict(headers)
        stamp, identifier = named.get(b"webhook-timestamp", b""), named.get(b"webhook-id", b"")
        if not stamp.isdigit() or abs(int(stamp) - now) > _SKEW:
            raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback's timestamp is missing or too old.")
        key = await self._webhook_key(wire)
        expected = base64.b64encode(hmac.digest(key, b".".join((identifier, stamp, body)), hashlib.sha256))
        given = [entry.partition(b",")[2] for entry in named.get(b"webhook-signature", b"").split()]
        if not any(hmac.compare_digest(expected, one) for one in given):
            raise PolyrouteError(ErrorKind.UNAUTHORIZED, "The callback's signature does not hold.")
        return Callback(handle_id=str(msgspec.json.decode(body).get("id", "")))

    async def _webhook_key(self, wire: MediaWire) -> bytes:
        account = wire.secret or ""
        if account not in self._secrets:
            secret = (await wire.call("GET", "/webhooks/default/secret")).json()["key"]
            self._secrets[account] = base64.b64decode(secret.removeprefix("whsec_"))
        return self._secrets[account]


class Predictions(Tabled):
    """Implements `ports.Queued`."""

    resubmits = False
    pace = (0.5, 5.0)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """A prediction; one that is done at once is its own result."""
        filled = fields.fill(self._spec, request, self._provider)
        inputs = await fields.place(filled, wire, lambda item: _upload(item, wire))
        body: dict[str, Any] = {"input": inputs}
        if _OFFICIAL.fullmatch(model):
            path = f"/models/{model}/predictions"
        elif _DEPLOYED.fullmatch(model):
            path = f"/{model}/predictions"
        else:
            path, body["version"] = "/predictions", model
        if wire.callback_url is not None:
            body |= {"webhook": wire.callback_url, "webhook_events_filter": ["completed"]}
        reply = await wire.call("POST", path, json=body, headers=_wait_headers(wire), creates=True)
        prediction = reply.json()
        handle = Handle(id=prediction["id"], data={"task": request.task.value, "n": request.n})
        state = _state(prediction, handle)
        return state if isinstance(state, Outcome) else handle

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The prediction as it stands."""
        return _state((await wire.call("GET", f"/predictions/{handle.id}")).json(), handle)

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Stop it; it is charged for what ran."""
        await wire.call("POST", f"/predictions/{handle.id}/cancel")


def _wait_headers(wire: MediaWire) -> Headers:
    return [] if wire.durable else [(b"prefer", _WAIT)]


async def _upload(item: MediaInput, wire: MediaWire) -> str:
    body, media_type = await wire.input_body(item)
    part = FormPart(name="content", value=body, filename=item.name or item.role, media_type=media_type)
    return str((await wire.call("POST", "/files", form=(part,))).json()["urls"]["get"])


def _state(prediction: dict[str, Any], handle: Handle) -> Progress | Outcome:
    """Raises AttemptFailed for a prediction that ended without a result."""
    match prediction.get("status"):
        case "starting":
            return Progress(state="queued")
        case "processing":
            return Progress(state="running", percent=_percent(prediction.get("logs") or ""))
        case "succeeded":
            return _outcome(prediction, handle)
        case "canceled" | "aborted" as status:
            raise AttemptFailed(Failure(kind=ErrorKind.GENERATION_FAILED, message=f"The prediction was {status}."))
        case "failed":
            raise AttemptFailed(_failure(str(prediction.get("error") or "")))
        case other:
            message = "The prediction has a state that is not known."
            raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message=message, detail=str(other)[:200]))


def _failure(error: str) -> Failure:
    if _MODERATED.search(error):
        return Failure(
            kind=ErrorKind.CONTENT_FILTERED, message="The provider's safety check refused this.", detail=error[:2000]
        )
    return Failure(kind=ErrorKind.GENERATION_FAILED, message="The prediction failed.", detail=error[:2000])


def _outcome(prediction: dict[str, Any], handle: Handle) -> Outcome:
    output, task = prediction.get("output"), handle.data.get("task")
    if output is None:
        message = "The result is gone." if prediction.get("data_removed") else "The prediction produced nothing."
        raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message=message))
    usage = _usage(prediction)
    if task in (Task.TRANSCRIBE, Task.TRANSLATE):
        return Outcome(transcript=_transcript(output), usage=usage, upstream_id=handle.id)
    produced = tuple(Produced(url=url) for url in _addresses(output))
    return Outcome(
        produced=produced,
        usage=msgspec.structs.replace(usage, images=len(produced)) if task and "image" in task else usage,
        upstream_id=handle.id,
    )


def _addresses(output: Any) -> Iterator[str]:
    """Strings, lists of them, and what objects hold: whatever is an address (media.md 2.4)."""
    match output:
        case str() if output.startswith(("https://", "http://", "data:")):
            yield output
        case list():
            for item in output:
                yield from _addresses(item)
        case dict():
            for value in output.values():
                yield from _addresses(value)
        case _:
            return


def _transcript(output: Any) -> Transcript:
    if not isinstance(output, dict):
        return Transcript(text=str(output))
    segments = tuple(
        Segment(text=str(one.get("text", "")), start=float(one.get("start", 0)), end=float(one.get("end", 0)))
        for one in output.get("segments") or ()
        if isinstance(one, dict)
    )
    text = output.get("transcription") or output.get("text") or " ".join(one.text.strip() for one in segments)
    language = output.get("detected_language") or output.get("language")
    return Transcript(text=str(text), language=language, segments=segments)


def _usage(prediction: dict[str, Any]) -> Usage:
    metrics = prediction.get("metrics")
    return Usage(raw=metrics if isinstance(metrics, dict) else None)


def _percent(logs: str) -> float | None:
    """The last progress bar in the logs, as tqdm draws it."""
    found = _PERCENT.findall(logs[-2000:])
    return min(float(found[-1]), 99.0) if found else None


def _detail(body: bytes) -> str:
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.MsgspecError:
        return ""
    return str(decoded.get("detail") or "")[:2000] if isinstance(decoded, dict) else ""
