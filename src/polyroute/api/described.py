"""The paths of jobs, pipelines, composing, files, voices and videos as OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from polyroute.api.files import PURPOSES
from polyroute.engine.jobs.requests import ALIASES
from polyroute.types.compose import Timeline
from polyroute.types.jobs import JobError, JobState, JobWebhook
from polyroute.types.media import MediaRequest, Task, Transcript, Voice
from polyroute.types.pipelines import Declared
from polyroute.types.version import __version__

Json = dict[str, Any]

_REFERENCE = "#/components/schemas/"
_SOURCE = "A URL (https), a data URI, the id of a file or artifact, or a list of those."
_STATES = [state.value for state in JobState]
_STEP_STATES = ["waiting", "running", "succeeded", "failed", "cancelled", "skipped", "needs_attention"]


def _ref(name: str) -> Json:
    return {"$ref": _REFERENCE + name}


def _of(kind: str, description: str = "", **more: Any) -> Json:
    return {"type": kind, **({"description": description} if description else {}), **more}


def _object(properties: Json, required: tuple[str, ...] = (), **more: Any) -> Json:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {}), **more}


def _list_of(name: str, **more: Json) -> Json:
    end = {"anyOf": [_of("string"), {"type": "null"}]}
    return _object(
        {
            "object": {"const": "list"}, "data": _of("array", items=_ref(name)), "first_id": end, "last_id": end,
            "has_more": _of("boolean"), **more,
        },
        ("object", "data"),
    )  # fmt: skip


_MOMENT = _of("number", "Seconds since 1970.")
_RESULT: Json = {
    "artifacts": _of("array", "What was made.", items=_ref("Artifact")),
    "imageUrl": _of("string", "The first image."), "videoUrl": _of("string", "The first video."),
    "audioUrl": _of("string", "The first sound."), "text": _of("string", "What was written or said."),
    "transcript": _ref("Transcript"), "voice": _ref("Voice"),
    "revised_prompts": _of("array", items={"anyOf": [_of("string"), {"type": "null"}]}),
    "notes": _of("array", "Where it is something else than was asked for.", items=_of("string")),
    "dropped": _of("array", "Fields that the provider could not honour.", items=_of("string")),
}  # fmt: skip
_STANDING: Json = {
    "status": _of("string", enum=_STATES), "created_at": _MOMENT, "started_at": _MOMENT, "ended_at": _MOMENT,
    "deadline": _MOMENT, "percent": _of("number", "0 to 100; never goes back."),
    "cost_usd": _of("string", "A decimal number; missing while it is unknown."), "error": _ref("JobError"),
    "note": _of("string", "What an operator has to decide."),
}  # fmt: skip
_ASKED: Json = {
    "async": _of("boolean", "`false` waits for the end, `true` does not; `Prefer` says more."),
    "webhook": {"anyOf": [_of("string"), _ref("JobWebhook")], "description": "Where the end is reported."},
    "polyroute": _of("object", "Wishes: policy, budget, require, fallbacks, timeout, tags, user."),
}


def schemas() -> Json:
    """What is sent and answered, by name."""
    types = (MediaRequest, Timeline, JobError, JobWebhook, Transcript, Voice, Declared)
    _, found = msgspec.json.schema_components(types, ref_template=_REFERENCE + "{name}")
    made: Json = dict(found)
    request = made.pop("MediaRequest")
    fields = {name: one for name, one in request["properties"].items() if name not in ("idempotency_key", "timeline")}
    fields |= {name: {"description": _SOURCE, "anyOf": [_of("string"), _of("array")]} for name in ALIASES}
    model = _of("string", "A route, or provider/model.")
    wanted = {"model": model, **fields, "timeline": _ref("Timeline"), **_ASKED}
    made["JobOrder"] = _object(wanted, ("model", "task"), additionalProperties=False)
    task = {"description": "`compose`, unless said.", "default": "compose", **_ref("Task")}
    composed = {**wanted, "model": {**model, "default": "compose"}, "task": task}
    made["ComposeOrder"] = _object(composed, ("timeline",), additionalProperties=False)
    made["Artifact"] = _object(
        {
            "id": _of("string"), "url": _of("string", "Readable without a key, for a while."), "media_type": _of("string"),
            "size": _of("integer", "Bytes."), "sha256": _of("string"), "width": _of("integer"), "height": _of("integer"),
            "duration": _of("number", "Seconds."), "fps": _of("number"), "expires_at": _MOMENT, "simulated": _of("boolean"),
        },
        ("id", "url", "media_type", "size", "sha256"), additionalProperties=False,
    )  # fmt: skip
    tasks = [*(task.value for task in Task), "pipeline"]
    made["Job"] = _object(
        {
            "id": _of("string"), "object": {"const": "job"}, "task": _of("string", enum=tasks), "model": _of("string"),
            **_STANDING, "provider": _of("string"), "provider_model": _of("string"), "attempts": _of("integer"),
            "cancel_requested": _of("boolean"), **_RESULT,
        },
        ("id", "object", "task", "model", "status", "created_at", "deadline", "attempts"), additionalProperties=False,
    )  # fmt: skip
    made["PipelineOrder"] = _object(
        {
            "name": _of("string"), "description": _of("string"),
            "inputs": _of("object", "What it takes.", additionalProperties=_ref("Declared")),
            "steps": _of("array", minItems=1, maxItems=64, items=_ref("StepOrder")),
            "output": _of("string", "The step whose result is the pipeline's; the last one, unless said."),
            "input": _of("object", "What the caller gives."), **_ASKED,
        },
        ("steps",), additionalProperties=False,
    )  # fmt: skip
    made["StepOrder"] = _object(
        {
            "id": _of("string", pattern="^[a-z][a-z0-9_]{0,39}$"), "task": _of("string", enum=[*tasks[:-1], "chat"]),
            "chat": _of("string", "Short for the task chat with this prompt."), "model": model,
            "needs": _of("array", items=_of("string")), "weight": _of("number"), "optional": _of("boolean"),
            "polyroute": _ASKED["polyroute"],
        },
        ("id",), additionalProperties=True, description="The other fields are those of the task's request, with templates.",
    )  # fmt: skip
    made["Step"] = _object(
        {
            "id": _of("string"), "task": _of("string"), "model": _of("string"), "status": _of("string", enum=_STEP_STATES),
            "job": _of("string"), "percent": _of("number"), "provider": _of("string"), "provider_model": _of("string"),
            "cost_usd": _of("string"), "text": _of("string"), "artifacts": _RESULT["artifacts"], "error": _ref("JobError"),
        },
        ("id", "task", "model", "status"), additionalProperties=False,
    )  # fmt: skip
    made["Pipeline"] = _object(
        {
            "id": _of("string"), "object": {"const": "pipeline"}, "name": _of("string"), **_STANDING,
            "input": _of("object"), "round": _of("integer", "How often it was taken up again."),
            "steps": _of("array", items=_ref("Step")), **_RESULT,
        },
        ("id", "object", "name", "status", "created_at", "deadline"), additionalProperties=False,
    )  # fmt: skip
    made["File"] = _object(
        {
            "id": _of("string"), "object": {"const": "file"}, "bytes": _of("integer"), "created_at": _of("integer"),
            "filename": _of("string"), "purpose": _of("string", enum=list(PURPOSES)), "status": {"const": "processed"},
            "sha256": _of("string"), "artifact": _of("string", "The id of its bytes."), "url": _of("string"),
            "media_type": _of("string"), "width": _of("integer"), "height": _of("integer"), "duration": _of("number"),
            "fps": _of("number"), "expires_at": _of("integer"),
        },
        ("id", "object", "bytes", "created_at", "filename", "purpose", "sha256", "artifact", "url"),
        additionalProperties=False,
    )  # fmt: skip
    made["Video"] = _object(
        {"id": _of("string"), "object": {"const": "video"}, "model": _of("string"), "status": _of("string", enum=[
            "queued", "in_progress", "completed", "failed"]), "progress": _of("integer"), "created_at": _of("integer")},
        ("id", "object", "model", "status"), description="OpenAI's video; it has further fields of theirs.",
    )  # fmt: skip
    made["VideoOrder"] = _object(
        {"model": model, "prompt": _of("string"), "seconds": _of("string"), "size": _of("string"),
         "input_reference": _of("string", _SOURCE), "polyroute": _ASKED["polyroute"]},
        ("prompt",), description="OpenAI's, and all that jobs take.",
    )  # fmt: skip
    made["Error"] = _object({"error": _object({
        "message": _of("string"), "type": _of("string"), "param": {}, "code": {}, "request_id": _of("string"),
    }, ("message", "type"))}, ("error",))  # fmt: skip
    for name, listed in (("Jobs", "Job"), ("Pipelines", "Pipeline"), ("Files", "File"), ("Videos", "Video")):
        made[name] = _list_of(listed)
    made["Voices"] = _list_of("Voice", missing=_of("object", "Providers that did not answer, and why."))
    made["Deleted"] = _object({"id": _of("string"), "object": _of("string"), "deleted": {"const": True}})
    return made


_PREFER = {"name": "Prefer", "in": "header", "schema": _of("string", "`wait=N` (seconds) or `respond-async`.")}
_KEY = {
    "name": "Idempotency-Key", "in": "header",
    "schema": _of("string", "The same key with the same body is the same job.", minLength=1, maxLength=256),
}  # fmt: skip
_LAST = {"name": "Last-Event-ID", "in": "header", "schema": _of("integer", "Go on after this event.")}
_PAGE = (
    {"name": "limit", "in": "query", "schema": _of("integer", minimum=1)},
    {"name": "after", "in": "query", "schema": _of("string", "The last id of the page before.")},
)
_STATUS = {"name": "status", "in": "query", "schema": _of("string", f"Some of {', '.join(_STATES)}, with commas.")}
_SIGNED = ("expires", "signature")
_ORDER = {"name": "order", "in": "query", "schema": _of("string", enum=["asc", "desc"])}


def _query(name: str, description: str) -> Json:
    return {"name": name, "in": "query", "schema": _of("string", description)}


def _does(summary: str, answer: str | Json, *parameters: Json, body: Json | None = None, status: int = 200) -> Json:
    """An operation: what it does, what it answers (a schema's name, or content), and what it takes."""
    content = {"application/json": {"schema": _ref(answer)}} if isinstance(answer, str) else answer
    told: Json = {"summary": summary, "responses": {str(status): {"description": "OK", "content": content}}}
    if status == 202:
        told["responses"]["200"] = {"description": "It ended while it was waited for.", "content": content}
    told["responses"]["default"] = {
        "description": "Refused.", "content": {"application/json": {"schema": _ref("Error")}}
    }  # fmt: skip
    if parameters:
        told["parameters"] = list(parameters)
    if body is not None:
        told["requestBody"] = {"required": True, "content": body}
    return told


def _json(name: str) -> Json:
    return {"application/json": {"schema": _ref(name)}}


_EVENTS: Json = {"text/event-stream": {"schema": _of("string")}}
_BYTES: Json = {"*/*": {"schema": _of("string", format="binary")}}
_FORM: Json = {"multipart/form-data": {"schema": _object({
    "file": _of("string", format="binary"), "purpose": _of("string", enum=list(PURPOSES)),
    "expires_after[anchor]": {"const": "created_at"}, "expires_after[seconds]": _of("integer", minimum=3600, maximum=2_592_000),
}, ("file", "purpose"))}}  # fmt: skip

OPERATIONS: Mapping[str, Mapping[str, Json]] = {
    "/v1/jobs": {
        "post": _does("Order any media work", "Job", _PREFER, _KEY, body=_json("JobOrder"), status=202),
        "get": _does("One's own jobs, newest first", "Jobs", _STATUS, *_PAGE),
    },
    "/v1/jobs/{id}": {
        "get": _does("A job; waits for its end where that is wished", "Job", _PREFER),
        "delete": _does("Cancel it, at its provider too", "Job"),
    },
    "/v1/jobs/{id}/events": {"get": _does("What happens to it, and at the end the job", _EVENTS, _LAST)},
    "/v1/compose": {
        "post": _does("Put clips and sound together", "Job", _PREFER, _KEY, body=_json("ComposeOrder"), status=202)
    },
    "/v1/pipelines": {
        "post": _does("Order several steps as one job", "Pipeline", _PREFER, _KEY, body=_json("PipelineOrder"), status=202),
        "get": _does("One's own pipelines, newest first", "Pipelines", *_PAGE),
    },
    "/v1/pipelines/{id}": {
        "get": _does("A pipeline with its steps", "Pipeline", _PREFER),
        "delete": _does("Cancel it, at the providers too", "Pipeline"),
    },
    "/v1/pipelines/{id}/events": {"get": _does("What happens to it, and at the end the pipeline", _EVENTS, _LAST)},
    "/v1/pipelines/{id}/resume": {"post": _does("Take up one that failed, expired or was cancelled", "Pipeline", status=202)},
    "/v1/files": {
        "post": _does("Upload a file", "File", body=_FORM),
        "get": _does(
            "One's own files", "Files", *_PAGE, _ORDER, _query("purpose", "Only these."),
            _query("sha256", "Only with these bytes."),
        ),
    },
    "/v1/files/{id}": {
        "get": _does("A file", "File"),
        "delete": _does("Delete it", "Deleted"),
    },
    "/v1/files/{id}/content": {
        "get": _does("Its bytes, or a range of them", _BYTES, *(_query(name, "Of its `url`.") for name in _SIGNED))
    },
    "/v1/voices": {"get": _does("Voices of every provider that has some", "Voices", _query("provider", "Of this one only."))},
    "/v1/videos": {
        "post": _does("Order a video, as at OpenAI", "Video", _KEY, body=_json("VideoOrder")),
        "get": _does("One's own videos", "Videos", *_PAGE, _ORDER),
    },
    "/v1/videos/{id}": {
        "get": _does("A video", "Video"),
        "delete": _does("Stop and delete it", "Deleted"),
    },
    "/v1/videos/{id}/content": {
        "get": _does("The finished video", _BYTES, _query("variant", "video, thumbnail or spritesheet."))
    },
    "/v1/videos/{id}/remix": {"post": _does("The same video with another prompt", "Video", body=_json("VideoOrder"))},
}  # fmt: skip
"""By path and method."""


@cache
def described() -> Json:
    """An OpenAPI 3.1 document of these paths."""
    paths: Json = {}
    for path, methods in OPERATIONS.items():
        tag = path.split("/")[2]
        item: Json = {method: {"tags": [tag], **told} for method, told in methods.items()}
        if "{id}" in path:
            item["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": _of("string")}]
        paths[path] = item
    info = {"title": "Polyroute: media, jobs and pipelines", "version": __version__}
    return {"openapi": "3.1.0", "info": info, "paths": paths, "components": {"schemas": schemas()}}
