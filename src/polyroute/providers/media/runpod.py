"""RunPod's serverless endpoints, public ones and one's own: jobs whose output is whatever the worker returns (media.md 17)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import Callback, Headers, MediaWire
from polyroute.providers.media import fields, intents
from polyroute.providers.media.callback_tokens import address_with_token, check_token
from polyroute.providers.media.tabled import Tabled
from polyroute.providers.media.tables import ModelSpec, load_table
from polyroute.types.errors import ErrorKind
from polyroute.types.media import Handle, MediaRequest, Outcome, Produced, Progress, Segment, Task, Transcript
from polyroute.types.usage import Usage

_RUNNING: dict[str, Literal["queued", "running"]] = {
    "IN_QUEUE": "queued", "IN_PROGRESS": "running", "RUNNING": "running",
}  # fmt: skip
_FIELDS = (
    "image_url", "video_url", "audio_url", "images", "videos", "audios", "image", "video", "audio", "result", "results",
    "url", "output", "data",
)  # fmt: skip
"""Where workers put what they made, most particular first."""
_REFUSALS = ("nsfw", "safety", "moderat", "sensitive", "policy", "flagged")
_MISSES = 2
_SHORTEST_BASE64 = 64


class RunpodMedia:
    """Runs an endpoint by its id or slug, which is the model's name."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name

    def maker(self, task: Task, model: str) -> Endpoints | None:
        """Jobs for each task that the table knows a form for."""
        spec = load_table("runpod").find(task, model)
        return None if spec is None else Endpoints(spec, self._provider)

    async def callback(self, headers: Headers, body: bytes, wire: MediaWire, now: float) -> Callback:
        """The job's state, posted to an address that only RunPod was told."""
        check_token(headers, wire, now)
        return Callback(handle_id=str(msgspec.json.decode(body)["id"]))


class Endpoints(Tabled):
    """Implements `ports.Queued`."""

    resubmits = False
    pace = (1.0, 10.0)

    def __init__(self, spec: ModelSpec, provider: str) -> None:
        super().__init__(spec, provider)
        self._misses = 0

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle:
        """Hand the job over."""
        filled = fields.fill(self._spec, request, self._provider)
        body: dict[str, Any] = {"input": await fields.place(filled, wire)}
        report_to = address_with_token(wire, request.idempotency_key or "")
        if report_to is not None:
            body["webhook"] = report_to
        job = (await wire.call("POST", f"{_address(wire, model)}/run", json=body, creates=True)).json()
        data = {
            "endpoint": model, "task": request.task.value, "seconds": request.duration,
            "characters": len(request.prompt or "") if request.task is Task.SPEECH else None,
        }  # fmt: skip
        return Handle(id=str(job["id"]), data={name: value for name, value in data.items() if value is not None})

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """The job as it stands; one that is gone has expired."""
        address = f"{_address(wire, str(handle.data['endpoint']))}/status/{handle.id}"
        reply = await wire.call("GET", address, accept=(404,))
        if reply.status == 404:
            self._misses += 1
            if self._misses > _MISSES:
                raise intents.failed(ErrorKind.GENERATION_FAILED, "The job is not there any more.")
            return Progress(state="queued")
        return read_job(reply.json(), handle)

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Take it back, or stop it."""
        await wire.call("POST", f"{_address(wire, str(handle.data['endpoint']))}/cancel/{handle.id}", accept=(404,))


def _address(wire: MediaWire, endpoint: str) -> str:
    """Beside the endpoint in the base URL, which is the one for text."""
    return f"{wire.base_url.rpartition('/')[0]}/{quote(endpoint, safe='')}"


def read_job(job: dict[str, Any], handle: Handle) -> Progress | Outcome:
    """A job's state. Raises AttemptFailed for one that ended without a result."""
    status = str(job.get("status"))
    if status in _RUNNING:
        percent = job.get("output") if isinstance(job.get("output"), int | float) else None
        return Progress(state=_RUNNING[status], percent=None if percent is None else min(float(percent), 99.0))
    output = job.get("output")
    error = job.get("error") or (output.get("error") if isinstance(output, dict) else None)
    if status != "COMPLETED" or (error and not (isinstance(output, dict) and len(output) > 1)):
        if any(word in str(error).lower() for word in _REFUSALS):
            raise intents.failed(ErrorKind.CONTENT_FILTERED, "The provider's safety check refused this.", detail=error)
        raise intents.failed(ErrorKind.GENERATION_FAILED, f"The job ended as {status}.", detail=error)
    return _outcome(job, output, handle)


def _outcome(job: dict[str, Any], output: Any, handle: Handle) -> Outcome:
    task, told = handle.data.get("task"), output if isinstance(output, dict) else {}
    cost, seconds = told.get("cost"), handle.data.get("seconds")
    reported = Decimal(str(cost)) if isinstance(cost, int | float) else None
    raw: dict[str, Any] = {name: value for name, value in job.items() if name in ("delayTime", "executionTime")}
    if task in (Task.TRANSCRIBE, Task.TRANSLATE):
        return Outcome(
            transcript=_transcript(output), usage=Usage(reported_cost_usd=reported, raw=raw), upstream_id=handle.id
        )
    produced = tuple(_made(output))
    if not produced:
        raise intents.failed(ErrorKind.BAD_RESPONSE, "The job is done and made nothing.")
    usage = Usage(
        images=len(produced) if task and ("image" in task or "background" in task) else None,
        seconds=None if seconds is None else float(seconds),
        characters=handle.data.get("characters"),
        reported_cost_usd=reported,
        raw=raw,
    )
    return Outcome(produced=produced, usage=usage, upstream_id=handle.id)


def _made(output: Any) -> Iterator[Produced]:
    """Addresses, data URIs and base64, wherever a worker puts them."""
    match output:
        case str() if output.startswith(("https://", "http://", "data:")):
            yield Produced(url=output)
        case str() if len(output) >= _SHORTEST_BASE64:
            yield Produced(data=_decoded(output))
        case list():
            for one in output:
                yield from _made(one)
        case dict() if output.get("type") == "base64" and isinstance(output.get("data"), str):
            yield Produced(data=_decoded(output["data"].partition(",")[2] or output["data"]))
        case dict():
            name = next((name for name in _FIELDS if output.get(name)), None)
            if name is not None:
                yield from _made(output[name])
        case _:
            return


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise intents.failed(ErrorKind.BAD_RESPONSE, "The job's output is no base64.") from error


def _transcript(output: Any) -> Transcript:
    if not isinstance(output, dict):
        return Transcript(text=str(output))
    segments = tuple(
        Segment(text=str(one.get("text", "")).strip(), start=float(one.get("start", 0)), end=float(one.get("end", 0)))
        for one in output.get("segments") or ()
        if isinstance(one, dict)
    )
    text = output.get("transcription") or output.get("text") or " ".join(one.text for one in segments)
    return Transcript(text=str(text), language=output.get("detected_language"), segments=segments)
