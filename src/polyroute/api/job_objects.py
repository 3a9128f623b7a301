"""A job as callers see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from polyroute.types.artifacts import Artifact
from polyroute.types.jobs import Job, JobEvent, JobState
from polyroute.types.media import Made

Link = Callable[[str], str]
"""An artifact's id → an address from which it can be read for a while."""

_CONVENIENCE = {"image": "imageUrl", "video": "videoUrl", "audio": "audioUrl"}


def job_object(job: Job, link: Link) -> dict[str, Any]:
    """The job, with what came of it. Unknown is left out."""
    order = job.order
    told: dict[str, Any] = {
        "id": job.id, "object": "job",
        "task": "pipeline" if order.surface == "pipelines" else order.task, "model": order.model, "status": job.state,
        "created_at": order.created_at, "started_at": job.started_at, "ended_at": job.ended_at,
        "deadline": order.deadline, "percent": job.percent, "provider": job.provider,
        "provider_model": job.provider_model, "attempts": job.attempts,
        "cost_usd": None if job.cost_usd is None else f"{job.cost_usd.normalize():f}",
    }  # fmt: skip
    if job.cancel_requested and not job.ended:
        told["cancel_requested"] = True
    if job.result is not None:
        told |= result_fields(job.result, link)
    if job.error is not None:
        told["error"] = msgspec.to_builtins(job.error)
    if job.state is JobState.NEEDS_ATTENTION:
        told["note"] = "A provider may have accepted this work; an operator has to decide how it goes on."
    return {name: value for name, value in told.items() if value is not None}


def result_fields(made: Made, link: Link) -> dict[str, Any]:
    """What was made, and the first of each kind by itself."""
    told: dict[str, Any] = {"artifacts": [artifact_object(one, link) for one in made.artifacts]}
    for artifact in made.artifacts:
        name = _CONVENIENCE.get(artifact.family or "")
        if name is not None:
            told.setdefault(name, link(artifact.id))
    if made.text is not None:
        told["text"] = made.text
    if made.transcript is not None:
        told["transcript"] = msgspec.to_builtins(made.transcript)
    if made.voice is not None:
        told["voice"] = msgspec.to_builtins(made.voice)
    if any(made.revised_prompts):
        told["revised_prompts"] = list(made.revised_prompts)
    if made.notes:
        told["notes"] = list(made.notes)
    if made.dropped:
        told["dropped"] = list(made.dropped)
    return told


def artifact_object(artifact: Artifact, link: Link) -> dict[str, Any]:
    """A produced file: sizes in bytes and pixels, times in seconds."""
    told = {
        "id": artifact.id, "url": link(artifact.id), "media_type": artifact.media_type, "size": artifact.size,
        "sha256": artifact.sha256, "width": artifact.width, "height": artifact.height, "duration": artifact.duration_s,
        "fps": artifact.fps, "expires_at": artifact.expires_at, "simulated": artifact.simulated or None,
    }  # fmt: skip
    return {name: value for name, value in told.items() if value is not None}


def event_bytes(event: JobEvent, link: Link) -> bytes:
    """An event as server-sent events have it; `id` is what a client resumes from."""
    data: dict[str, Any] = {"at": event.at, **event.data}
    if event.name == "preview":
        data["url"] = link(data["artifact"])
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.number, event.name.encode(), msgspec.json.encode(data))
