"""OpenAI's videos: what may be asked for → `MediaRequest`, a job → its `video` object; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from polyroute.dialects.openai_media.fields import Fields, read_size, refuse
from polyroute.types.jobs import Job, JobState
from polyroute.types.media import MediaInput, MediaRequest, Task

USUAL_MODEL = "video"
"""The route that is meant when no model is named."""

_STATUS = {
    JobState.QUEUED: "queued",
    JobState.RUNNING: "in_progress",
    JobState.NEEDS_ATTENTION: "in_progress",
    JobState.SUCCEEDED: "completed",
}
_OURS = frozenset({"model", "polyroute"})


def parse_video(values: Mapping[str, Any], files: Sequence[MediaInput] = ()) -> MediaRequest:
    """The fields of `POST /v1/videos`. Raises PolyrouteError(invalid_request) naming the field."""
    fields = Fields(values)
    prompt = fields.text("prompt", required=True)
    width, height = read_size(fields.text("size"))
    seconds = fields.number("seconds", 1, 3600)
    reference = values.get("input_reference")
    inputs = [*files, *([] if reference is None or files else [_reference(reference)])]
    rest = {name for name in fields.rest if name not in _OURS and not name.startswith("input_reference")}
    if rest:
        name = min(rest)
        raise refuse(
            f"'{name}' is no field of /v1/videos; there are prompt, model, seconds, size and input_reference "
            "(POST /v1/jobs takes more).", name,
        )  # fmt: skip
    return MediaRequest(
        task=Task.IMAGE_TO_VIDEO if inputs else Task.TEXT_TO_VIDEO, prompt=prompt, inputs=tuple(inputs), width=width,
        height=height, duration=seconds,
    )  # fmt: skip


def _reference(value: Any) -> MediaInput:
    """A picture to begin with: `{image_url}` or `{file_id}`."""
    if isinstance(value, str):
        value = {"image_url": value}
    if isinstance(value, dict):
        if isinstance(url := value.get("image_url"), str):
            return MediaInput(role="first_frame", url=url)
        if isinstance(file_id := value.get("file_id"), str):
            return MediaInput(role="first_frame", artifact=file_id)
    raise refuse("'input_reference' must be a file, or {image_url} or {file_id}.", "input_reference")


def video_details(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a `video` object repeats of the request."""
    return {name: str(values[name]) for name in ("seconds", "size") if values.get(name) is not None}


def video_object(job: Job) -> dict[str, Any]:
    """The job in OpenAI's words. What came out tells seconds and size where the request did not."""
    details, order = job.order.details, job.order
    made = next((one for one in job.result.artifacts if one.family == "video"), None) if job.result else None
    seconds = details.get("seconds") or (f"{made.duration_s:g}" if made is not None and made.duration_s else "")
    size = details.get("size") or (f"{made.width}x{made.height}" if made is not None and made.width else "")
    status = _STATUS.get(job.state, "failed")
    told: dict[str, Any] = {
        "id": job.id, "object": "video", "model": order.model, "status": status, "progress": int(job.percent or 0),
        "created_at": int(order.created_at), "completed_at": None, "expires_at": None, "prompt": order.request.prompt,
        "seconds": seconds, "size": size, "remixed_from_video_id": details.get("remixed_from"), "error": None,
    }  # fmt: skip
    if status == "completed" and job.ended_at is not None:
        told["completed_at"] = int(job.ended_at)
        if made is not None and made.expires_at is not None:
            told["expires_at"] = int(made.expires_at)
    if status == "failed":
        error = job.error
        told["error"] = {
            "code": error.kind if error is not None else job.state.value,
            "message": error.message if error is not None else f"The job was {job.state}.",
        }
    return told
