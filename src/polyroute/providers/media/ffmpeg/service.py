"""Composing at a Polyroute elsewhere: its files, its jobs, its results."""

from __future__ import annotations

import asyncio
import hashlib
import time
from pathlib import Path
from typing import Any

from polyroute.compose.sources import input_of, source_names, with_sources
from polyroute.compose.timeline import parse_timeline
from polyroute.ports import FormPart, MediaWire
from polyroute.providers.media.ffmpeg.sources import fit_timeline
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.media import Fitted, Handle, MediaInput, MediaRequest, Outcome, Produced, Progress
from polyroute.types.usage import Usage

_BUSY = frozenset({"queued", "running", "needs_attention"})
_KEPT = 86_400
"""Seconds for which the service keeps what was uploaded; its job holds it for as long as that has."""
_ENOUGH = 3600
"""Seconds that a file must still be kept to be used again."""


class ComposeService:
    """Implements `ports.Queued`. The service names files by their content, so that the order that is sent again under our key
    is the same to the byte: the service gives the job that it made of it before."""

    resubmits = True
    pace = (0.5, 5.0)

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """As in process."""
        return fit_timeline(request)

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle:
        """Upload what the timeline names and the service does not have, and hand it over."""
        timeline = dict(request.timeline or {})
        named = source_names(parse_timeline(timeline))
        sent = {source: await self._at_service(input_of(source, request, name), wire) for source, name in named.items()}
        body = {"task": "compose", "model": "ffmpeg", "timeline": with_sources(timeline, sent)}
        headers = [(b"idempotency-key", (request.idempotency_key or "").encode())] if request.idempotency_key else []
        reply = await wire.call("POST", "/v1/jobs", json=body, headers=headers, creates=True)
        return Handle(id=str(reply.json()["id"]))

    async def _at_service(self, item: MediaInput, wire: MediaWire) -> str:
        """The service's own name for these bytes."""
        path, _ = await wire.input_path(item)
        query = {"sha256": await asyncio.to_thread(_checksum, path), "limit": "1"}
        for file in (await wire.call("GET", "/v1/files", query=query)).json()["data"]:
            expires = file.get("expires_at")
            if expires is None or expires > time.time() + _ENOUGH:
                return str(file["artifact"])
        return await self._upload(item, wire)

    async def _upload(self, item: MediaInput, wire: MediaWire) -> str:
        content, media_type = await wire.input_body(item)
        name = item.name or f"input.{media_type.partition('/')[2]}"
        parts = (
            FormPart(name="purpose", value="user_data"),
            FormPart(name="expires_after[anchor]", value="created_at"),
            FormPart(name="expires_after[seconds]", value=str(_KEPT)),
            FormPart(name="file", value=content, filename=name, media_type=media_type),
        )
        return str((await wire.call("POST", "/v1/files", form=parts)).json()["artifact"])

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """Where the job stands."""
        job = (await wire.call("GET", f"/v1/jobs/{handle.id}")).json()
        state = str(job.get("status"))
        if state in _BUSY:
            return Progress(state="queued" if state == "queued" else "running", percent=job.get("percent"))
        if state != "succeeded":
            raise AttemptFailed(_failure(state, job.get("error") or {}))
        produced = tuple(
            Produced(url=_reached(str(one["url"]), wire.base_url), media_type=one.get("media_type"), authenticated=True)
            for one in job.get("artifacts") or ()
        )
        seconds = next((one.get("duration") for one in job.get("artifacts") or () if one.get("duration")), None)
        return Outcome(produced=produced, usage=Usage(seconds=seconds), notes=tuple(job.get("notes") or ()))

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """Told to stop."""
        await wire.call("DELETE", f"/v1/jobs/{handle.id}", accept=(404,))


def _reached(url: str, base: str) -> str:
    """A file's address as we reach the service, which may know itself by another name (within its container, say)."""
    return base + url[url.index("/v1/") :] if "/v1/" in url else url


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _failure(state: str, error: dict[str, Any]) -> Failure:
    kinds = {kind.value: kind for kind in ErrorKind}
    kind = kinds.get(str(error.get("kind") or error.get("type") or error.get("code")), ErrorKind.GENERATION_FAILED)
    if state == "cancelled":
        kind = ErrorKind.GENERATION_FAILED
    message = str(error.get("message") or f"The job ended as {state}.")
    return Failure(kind=kind, message=message, param=error.get("param"))
