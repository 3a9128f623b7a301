"""Composing at a Polyroute elsewhere: its files, its jobs, its results."""

from __future__ import annotations

from typing import Any

from polyroute.compose.sources import input_of, source_names, with_sources
from polyroute.compose.timeline import parse_timeline
from polyroute.ports import FormPart, MediaWire
from polyroute.providers.media.ffmpeg.sources import fit_timeline
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.media import Fitted, Handle, MediaInput, MediaRequest, Outcome, Produced, Progress
from polyroute.types.usage import Usage

_BUSY = frozenset({"queued", "running", "needs_attention"})


class ComposeService:
    """Implements `ports.Queued`. The job's key is ours, so that asking twice is one job."""

    resubmits = True
    pace = (0.5, 5.0)

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """As in process."""
        return fit_timeline(request)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle:
        """Upload what the timeline names, and hand it over."""
        timeline = dict(request.timeline or {})
        named = source_names(parse_timeline(timeline))
        sent = {source: await self._upload(input_of(source, request, name), wire) for source, name in named.items()}
        body = {"task": "compose", "model": "ffmpeg", "timeline": with_sources(timeline, sent)}
        headers = [(b"idempotency-key", (request.idempotency_key or "").encode())] if request.idempotency_key else []
        reply = await wire.call("POST", "/v1/jobs", json=body, headers=headers, creates=True)
        return Handle(id=str(reply.json()["id"]))

    async def _upload(self, item: MediaInput, wire: MediaWire) -> str:
        content, media_type = await wire.input_body(item)
        name = item.name or f"input.{media_type.partition('/')[2]}"
        parts = (
            FormPart(name="purpose", value="user_data"),
            FormPart(name="file", value=content, filename=name, media_type=media_type),
        )
        return str((await wire.call("POST", "/v1/files", form=parts)).json()["id"])

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """Where the job stands."""
        job = (await wire.call("GET", f"/v1/jobs/{handle.id}")).json()
        state = str(job.get("status"))
        if state in _BUSY:
            return Progress(state="queued" if state == "queued" else "running", percent=job.get("percent"))
        if state != "succeeded":
            raise AttemptFailed(_failure(state, job.get("error") or {}))
        produced = tuple(
            Produced(url=str(one["url"]) if "://" in str(one["url"]) else wire.base_url + str(one["url"]),
                     media_type=one.get("media_type"), authenticated=True)
            for one in job.get("artifacts") or ()
        )  # fmt: skip
        seconds = next((one.get("duration") for one in job.get("artifacts") or () if one.get("duration")), None)
        return Outcome(produced=produced, usage=Usage(seconds=seconds), notes=tuple(job.get("notes") or ()))

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Told to stop."""
        await wire.call("DELETE", f"/v1/jobs/{handle.id}", accept=(404,))


def _failure(state: str, error: dict[str, Any]) -> Failure:
    kinds = {kind.value: kind for kind in ErrorKind}
    kind = kinds.get(str(error.get("kind") or error.get("type") or error.get("code")), ErrorKind.GENERATION_FAILED)
    if state == "cancelled":
        kind = ErrorKind.GENERATION_FAILED
    message = str(error.get("message") or f"The job ended as {state}.")
    return Failure(kind=kind, message=message, param=error.get("param"))
