"""ComfyUI: graphs that are queued, their history, their files, and the events of the socket."""

from __future__ import annotations

import re
from typing import Any

from aiohttp import WSMsgType, web

from polyroute.sandbox.control import SandboxOperation
from polyroute.sandbox.exchange import Direct, Exchange, Json, Reply, Whole, json_reply, uuid_text
from polyroute.sandbox.media.artifacts import Artifact, audio, image, video
from polyroute.sandbox.media.call import answered, count, number, polled, seed_of
from polyroute.sandbox.media.files import send_artifact
from polyroute.sandbox.media.jobs import Job, Upload
from polyroute.sandbox.route import Route, route

_UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_SAVERS = {"SaveImage": "images", "PreviewImage": "images", "SaveAudio": "audio", "SaveAudioMP3": "audio"}
_SAVERS |= {"SaveVideo": "video", "VHS_VideoCombine": "gifs", "SaveWEBM": "video", "SaveAnimatedWEBP": "images"}
_STATES = {"queued": "pending", "running": "in_progress", "succeeded": "completed", "failed": "failed"}
_LOOK_EVERY = 0.05


def _nodes(graph: Json) -> dict[str, tuple[str, Json]]:
    return {key: (str(node.get("class_type") or ""), node.get("inputs") or {}) for key, node in graph.items()}


def _invalid(kind: str, message: str, errors: Json | None = None) -> Exception:
    error = {"type": kind, "message": message, "details": "", "extra_info": {}}
    return answered({"error": error, "node_errors": errors or {}}, 400)


def answer_prompt(exchange: Exchange) -> Reply:
    """`POST /prompt`."""
    graph = exchange.body.get("prompt")
    if not isinstance(graph, dict) or not graph:
        raise _invalid("no_prompt", "No prompt provided")
    nodes = _nodes(graph)
    for key, (name, inputs) in nodes.items():
        if not name or name.startswith("NoSuch"):
            raise _invalid("invalid_prompt", f"Cannot execute because node {name or key} does not exist.")
        if "no-such" in str(inputs.get("ckpt_name") or ""):
            wrong = {
                "type": "value_not_in_list",
                "message": "Value not in list",
                "details": "ckpt_name",
                "extra_info": {},
            }
            errors = {key: {"errors": [wrong], "dependent_outputs": [], "class_type": name}}
            raise _invalid("prompt_outputs_failed_validation", "Prompt outputs failed validation", errors)
    savers = [key for key, (name, _) in nodes.items() if name in _SAVERS]
    if not savers:
        raise _invalid("prompt_no_outputs", "Prompt has no outputs")
    wanted = str(exchange.body.get("prompt_id") or "")
    if wanted and not _UUID.match(wanted):
        raise _invalid("invalid_prompt_id", "prompt_id must be a lower-case UUID")
    made, outputs = _outputs(exchange, nodes, savers)
    kind = "video" if any(item.kind == "video" for item in made) else "music" if made[0].kind == "audio" else "image"
    job = exchange.desk.submit(
        exchange,
        kind,
        "graph",
        made,
        name=lambda digest: wanted or uuid_text(digest, "prompt"),
        cost=0.0,
        extra={"outputs": outputs, "client": str(exchange.body.get("client_id") or ""), "savers": savers},
    )
    return json_reply({"prompt_id": job.name, "number": len(exchange.desk.jobs("comfyui")), "node_errors": {}})


def _outputs(exchange: Exchange, nodes: dict[str, tuple[str, Json]], savers: list[str]) -> tuple[list[Artifact], Json]:
    latent = next((inputs for name, inputs in nodes.values() if name.startswith("Empty") and "width" in inputs), {})
    wide, high = int(number(latent.get("width"), 512)), int(number(latent.get("height"), 512))
    length = number(latent.get("length"), 49) / 24
    first = len(exchange.desk.jobs("comfyui")) + 1
    made: list[Artifact] = []
    outputs: Json = {}
    for key in savers:
        name, inputs = nodes[key]
        field = _SAVERS[name]
        prefix = str(inputs.get("filename_prefix") or "ComfyUI")
        rows = []
        for _ in range(count(latent.get("batch_size")) if field == "images" else 1):
            seed = seed_of(exchange, len(made))
            if field == "images":
                made.append(image(seed, wide, high, "png"))
            elif field == "audio":
                made.append(audio(number(latent.get("seconds"), 10), "mp3" if name.endswith("MP3") else "flac"))
            else:
                made.append(video(seed, wide, high, length))
            file = f"{prefix.rpartition('/')[2]}_{first:05}_{len(made)}_.{made[-1].extension}"
            row = {"filename": file, "subfolder": prefix.rpartition("/")[0], "type": "output"}
            rows.append(row | {"place": len(made) - 1})
        outputs[key] = {field: rows}
    return made, outputs


def _shown_outputs(job: Job) -> Json:
    hidden = ("place",)
    return {
        key: {
            field: [{name: row[name] for name in row if name not in hidden} for row in rows]
            for field, rows in found.items()
        }
        for key, found in job.extra["outputs"].items()
    }


def _row(job: Job) -> list[Any]:
    """As the queue and the history have it: number, id, graph, what was sent beside it, and what it gives."""
    return [1, job.name, job.body.get("prompt"), {"client_id": job.extra["client"]}, job.extra["savers"]]


def _history(job: Job) -> Json:
    good = job.phase == "succeeded"
    data: Json = {"prompt_id": job.name}
    if not good:
        data |= {"node_id": job.extra["savers"][0], "node_type": "KSampler", "exception_message": job.failure}
    event = "execution_success" if good else "execution_interrupted" if job.phase == "canceled" else "execution_error"
    status = {"status_str": "success" if good else "error", "completed": good, "messages": [[event, data]]}
    graph = _row(job)
    return {"prompt": graph, "outputs": _shown_outputs(job) if good else {}, "status": status, "meta": {}}


def answer_history(exchange: Exchange) -> Reply:
    """`GET /history`, `/history/{id}`: nothing until the end."""
    name = exchange.groups.get("job")
    if name is None:
        return json_reply(
            {job.name: _history(job) for job in exchange.desk.jobs("comfyui") if job.ended and not job.deleted}
        )
    job = exchange.desk.find("comfyui", name)
    if job is None:
        return json_reply({})
    job.polls += 1
    hidden = job.has("missing_at_first") and job.fault is not None and job.polls <= job.fault.polls
    return json_reply({name: _history(job)} if job.ended and not job.deleted and not hidden else {})


def answer_history_change(exchange: Exchange) -> Reply:
    """`POST /history`: clear or delete."""
    named = exchange.body.get("delete") or []
    for job in exchange.desk.jobs("comfyui"):
        if exchange.body.get("clear") or job.name in named:
            job.deleted = True
    return Whole(body=b"")


def answer_queue(exchange: Exchange) -> Reply:
    """`GET /queue`, `GET /prompt`, and `POST /queue` that clears or deletes what waits."""
    jobs = [job for job in exchange.desk.jobs("comfyui") if not job.ended]
    if exchange.method == "POST":
        for job in jobs:
            if exchange.body.get("clear") or job.name in (exchange.body.get("delete") or []):
                job.cancel()
        return Whole(body=b"")
    if exchange.path.endswith("/prompt"):
        return json_reply({"exec_info": {"queue_remaining": len(jobs)}})
    rows = [_row(job) for job in jobs]
    running = [row for row, job in zip(rows, jobs, strict=True) if job.phase == "running"]
    pending = [row for row, job in zip(rows, jobs, strict=True) if job.phase == "queued"]
    return json_reply({"queue_running": running, "queue_pending": pending})


def answer_interrupt(exchange: Exchange) -> Reply:
    """`POST /interrupt`: one prompt, or all that run."""
    wanted = exchange.body.get("prompt_id")
    for job in exchange.desk.jobs("comfyui"):
        if wanted in (None, job.name) and not job.ended:
            job.cancel()
    return Whole(body=b"")


def answer_job(exchange: Exchange) -> Reply:
    """`GET /api/jobs/{id}`, and its cancel, which may be repeated."""
    job = polled(exchange, exchange.groups["job"])
    if exchange.method == "POST":
        return json_reply({"cancelled": job.cancel() or job.phase == "canceled"})
    value: Json = {
        "id": job.name,
        "status": _STATES.get(job.phase, "cancelled"),
        "create_time": int(job.submitted_at * 1000),
    }
    return json_reply(
        value | {"outputs_count": len(job.artifacts), "outputs": _shown_outputs(job) if job.ended else {}}
    )


def answer_view(exchange: Exchange) -> Reply:
    """`GET /view`: the bytes of an output, or of an input that was uploaded."""
    name = exchange.query.get("filename", "")
    kept = exchange.memory.find("inputs", name)
    if exchange.query.get("type") == "input" and isinstance(kept, Upload):
        return Whole(body=kept.data or bytes(kept.size), content_type=kept.content_type)
    shown = (
        (job, row["place"])
        for job in exchange.desk.jobs("comfyui")
        for found in job.extra["outputs"].values()
        for rows in found.values()
        for row in rows
        if row["filename"] == name and job.phase == "succeeded"
    )
    job, place = next(shown, (None, 0))
    if job is None:
        return Whole(body=b"", status=404, content_type="text/plain")

    async def send(request: web.Request) -> web.StreamResponse:
        headers = {"content-disposition": f'filename="{name}"'}
        return await send_artifact(request, job, job.artifacts[place], headers)

    return Direct(send)


def answer_upload(exchange: Exchange) -> Reply:
    """`POST /upload/image`, `/upload/mask`."""
    upload = next((item for item in exchange.uploads if item.field == "image"), None)
    if upload is None:
        return Whole(body=b"", status=400, content_type="text/plain")
    kept = Upload(name=upload.filename, content_type=upload.content_type, size=upload.size, data=upload.data)
    exchange.memory.keep("inputs", upload.filename, kept)
    return json_reply(
        {"name": upload.filename, "subfolder": str(exchange.body.get("subfolder") or ""), "type": "input"}
    )


def answer_about(exchange: Exchange) -> Reply:
    """`GET /system_stats`, `/object_info`, `/models`, `/features`, `POST /free`."""
    end = exchange.path.rpartition("/")[2]
    if end == "system_stats":
        system = {"os": "posix", "comfyui_version": "0.9.0", "python_version": "3.12"}
        return json_reply({"system": system, "devices": [{"name": "cpu", "type": "cpu", "vram_total": 0}]})
    names = list(exchange.profile.models)
    if "object_info" in exchange.path:
        loader = {
            "input": {"required": {"ckpt_name": [names]}},
            "output": ["MODEL", "CLIP", "VAE"],
            "output_node": False,
        }
        return json_reply({"CheckpointLoaderSimple": loader, **{name: {"output_node": True} for name in _SAVERS}})
    if "models" in exchange.path:
        return json_reply(
            ["checkpoints", "loras"] if end == "models" else ["4x-UltraSharp.pth"] if "upscale" in end else names
        )
    return json_reply({"supports_preview_metadata": True} if end == "features" else {})


def answer_socket(exchange: Exchange) -> Reply:
    """`WS /ws?clientId=`: the events of the prompts that this client has queued."""
    client = exchange.query.get("clientId") or uuid_text("anonymous", "client")

    async def send(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        status = {"exec_info": {"queue_remaining": 0}}
        await socket.send_json({"type": "status", "data": {"status": status, "sid": client}})
        told: dict[str, int] = {}
        while not socket.closed:
            for job in exchange.desk.jobs("comfyui"):
                if job.extra["client"] == client and told.get(job.name) != 101:
                    await _tell(socket, job, told)
            try:
                message = await socket.receive(timeout=_LOOK_EVERY)
            except TimeoutError:
                continue
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                break
        return socket

    return Direct(send)


async def _tell(socket: web.WebSocketResponse, job: Job, told: dict[str, int]) -> None:
    """Say what is new of a job. `told` holds the last percentage; 101 is all."""

    async def say(kind: str, **data: Any) -> None:
        await socket.send_json({"type": kind, "data": {**data, "prompt_id": job.name}})

    node = job.extra["savers"][0]
    if job.name not in told and job.phase != "queued":
        await say("execution_start")
        await say("execution_cached", nodes=[])
        await say("executing", node=node)
        preview = image(job.token, 64, 64, "jpeg").content()
        await socket.send_bytes((1).to_bytes(4, "big") + (1).to_bytes(4, "big") + preview)
        told[job.name] = -1
    if job.phase == "queued" or (told.get(job.name) == job.percent and not job.ended):
        return
    told[job.name] = job.percent
    await say("progress", value=job.percent, max=100, node=node)
    if not job.ended:
        return
    told[job.name] = 101
    if job.phase == "succeeded":
        for key, output in _shown_outputs(job).items():
            await say("executed", node=key, output=output)
        await say("execution_success")
    elif job.phase == "canceled":
        await say("execution_interrupted", node_id=node, node_type="KSampler", executed=[])
    else:
        await say(
            "execution_error", node_id=node, exception_message=job.failure, exception_type="RuntimeError", traceback=[]
        )
    await say("executing", node=None)


def _of(line: str, operation: SandboxOperation, answer: Any) -> Route:
    return route(line, operation, "media", answer)


_JOB = r"(?P<job>[^/]+)"
ROUTES: tuple[Route, ...] = (
    _of(r"GET /ws", "other", answer_socket),
    _of(r"POST /prompt", "image", answer_prompt),
    _of(r"GET /(prompt|queue)", "other", answer_queue),
    _of(r"POST /queue", "cancel", answer_queue),
    _of(r"POST /interrupt", "cancel", answer_interrupt),
    _of(r"GET /history", "poll", answer_history),
    _of(r"POST /history", "other", answer_history_change),
    _of(rf"GET /history/{_JOB}", "poll", answer_history),
    _of(rf"GET /jobs/{_JOB}", "poll", answer_job),
    _of(rf"POST /jobs/{_JOB}/cancel", "cancel", answer_job),
    _of(r"GET /view", "file", answer_view),
    _of(r"POST /upload/(image|mask)", "file", answer_upload),
    _of(r"GET /(system_stats|object_info(/[^/]+)?|models(/[^/]+)?|features|embeddings)", "models", answer_about),
    _of(r"POST /free", "other", answer_about),
)
