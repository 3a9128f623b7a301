"""What Runware's tasks take, make and answer with."""

from __future__ import annotations

import base64
import re
from typing import Any

import msgspec

from polyroute.sandbox.exchange import Exchange, Json, uuid_text
from polyroute.sandbox.media.artifacts import Artifact, audio, image, speech_seconds, video
from polyroute.sandbox.media.call import count, film_sides, is_blocked, number, seed_number, seed_of
from polyroute.sandbox.media.jobs import Job

MAKING = {
    "imageInference": "image",
    "upscale": "image",
    "imageUpscale": "image",
    "removeBackground": "image",
    "imageBackgroundRemoval": "image",
    "videoInference": "video",
    "audioInference": "music",
    "caption": "other",
    "imageCaption": "other",
}
_UUID = re.compile(r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$")
_MODEL = re.compile(r"^[\w.-]+:[\w.-]+@[\w.-]+$")
_PREFIX = {"image": "image", "video": "video", "audio": "audio"}


def error(task: Json, code: str, message: str, parameter: str | None = None, **more: Any) -> Json:
    """An item of `errors`."""
    value: Json = {"code": code, "message": message, "parameter": parameter, "taskType": task.get("taskType")}
    return value | {"taskUUID": task.get("taskUUID"), "documentation": "https://runware.ai/docs"} | more


def operation_of(task: Json) -> str:
    """The operation of a task: an `audioInference` speaks, sings or makes a noise, an `upscale` is of a picture or a film."""
    kind = MAKING.get(str(task.get("taskType")), "other")
    if kind == "music" and isinstance(task.get("speech"), dict):
        return "speech"
    inputs = task.get("inputs")
    if "pscale" in str(task.get("taskType")) and isinstance(inputs, dict) and inputs.get("video"):
        return "video"
    return "effects" if kind == "music" and "mirelo" in str(task.get("model")) else kind


def problem_of(task: Json) -> Json | None:
    """The first thing that is wrong with a making task."""
    kind = str(task.get("taskType"))
    if not _UUID.match(str(task.get("taskUUID") or "")):
        return error(task, "invalidTaskUUID", "Invalid value for 'taskUUID': a UUIDv4 is needed.", "taskUUID")
    model = str(task.get("model") or "")
    if kind.endswith("Inference"):
        if not model:
            return error(task, "missingModel", "'model' is a required parameter.", "model")
        if not _MODEL.match(model) or "no-such-model" in model:
            return error(task, "invalidModel", f"Invalid value for 'model' parameter: {model}.", "model")
    if kind in ("imageInference", "videoInference"):
        if len(str(task.get("positivePrompt") or "")) < 2 and not task.get("inputs") and not task.get("frameImages"):
            return error(task, "invalidPositivePrompt", "positivePrompt too short", "positivePrompt", min=2, max=3000)
        for side in ("width", "height"):
            given = task.get(side)
            if given is not None and (not isinstance(given, int) or not 128 <= given <= 2048 * 2):
                message = f"Invalid value for '{side}' parameter. It must be an integer between 128 and 2048."
                return error(task, f"invalid{side.title()}", message, side, min=128, max=2048)
    wanted = task.get("numberResults", 1)
    if not isinstance(wanted, int) or not 1 <= wanted <= 20:
        return error(task, "invalidNumberResults", "numberResults must be between 1 and 20.", "numberResults")
    duration = task.get("duration")
    if kind == "videoInference" and duration is not None and not 1 <= number(duration, 5) <= 60:
        return error(task, "invalidDuration", "Invalid value for 'duration'.", "duration", allowedValues=[5, 10])
    if kind == "videoInference" and task.get("outputType") not in (None, "URL", ["URL"]):
        return error(task, "unsupportedOutputType", "Only URL is supported for videos.", "outputType")
    if kind == "audioInference" and not task.get("speech") and not task.get("positivePrompt"):
        return error(task, "missingPositivePrompt", "'positivePrompt' is a required parameter.", "positivePrompt")
    if (
        operation_of(task) == "image"
        and kind != "imageInference"
        and not (task.get("inputImage") or task.get("inputs"))
    ):
        return error(task, "missingInputImage", "'inputImage' is a required parameter.", "inputImage")
    return None


def outputs(exchange: Exchange, task: Json) -> list[Artifact]:
    """The files of a task."""
    digest, wanted = digest_of(task), count(task.get("numberResults"), most=20)
    seeds = [seed_of(exchange, place, digest) for place in range(wanted)]
    wide, high = int(number(task.get("width"), 0)), int(number(task.get("height"), 0))
    form = str(task.get("outputFormat") or "").lower()
    match operation_of(task):
        case "other":
            return []
        case "video":
            sides = (wide, high) if wide and high else film_sides(task.get("resolution", "720p"))
            length, rate = number(task.get("duration"), 5), number(task.get("fps"), 24)
            return [video(seed, *sides, length, rate) for seed in seeds]
        case "image":
            factor = int(number(task.get("upscaleFactor"), 2)) if "pscale" in str(task.get("taskType")) else 1
            sides = (wide or 1024) * factor, (high or 1024) * factor
            return [image(seed, *sides, form or "jpg") for seed in seeds]
    settings = task.get("audioSettings") or {}
    speech = task.get("speech") or {}
    seconds = speech_seconds(str(speech.get("text")), number(speech.get("speed"), 1)) if speech else 0.0
    seconds = seconds or number(task.get("duration"), 10)
    form = {"ogg": "opus"}.get(form, form or "mp3")
    rate, kbits = int(number(settings.get("sampleRate"), 44_100)), int(number(settings.get("bitrate"), 128))
    return [audio(seconds, form, rate, kbits) for _ in seeds]


def digest_of(task: Json) -> str:
    """What is asked, without the name that the client gave it."""
    asked = {name: value for name, value in task.items() if name != "taskUUID"}
    return msgspec.json.encode(asked, order="deterministic").hex()


def price_of(task: Json, made: list[Artifact]) -> float:
    """US dollars."""
    prices = {"image": 0.0019, "video": 0.05 * sum(item.seconds for item in made), "speech": 0.001}
    each = prices.get(operation_of(task), 0.001)
    return round(each * (len(made) if operation_of(task) == "image" else 1), 6)


def is_refused(job: Job) -> bool:
    """Whether moderation refuses the task."""
    return job.moderated or is_blocked(job.body.get("positivePrompt"))


def failure(job: Job) -> Json:
    """The item of `errors` of a task that failed."""
    if is_refused(job):
        return error(job.body, "contentPolicyViolation", "The content was refused by moderation.", "positivePrompt")
    return error(job.body, "inferenceError", job.failure)


def acknowledgement(task: Json) -> Json:
    """The item that says that an asynchronous task was taken."""
    return {"taskType": task["taskType"], "taskUUID": task["taskUUID"]}


def items(exchange: Exchange, job: Job) -> list[Json]:
    """The items of `data`, one for each result."""
    task: Json = job.body
    base: Json = acknowledgement(task)
    if not job.artifacts:
        return [base | {"text": f"[simulated {job.provider}/{job.model}] A picture that nobody has looked at."}]
    found = []
    for place, artifact in enumerate(job.artifacts):
        name = uuid_text(job.token, f"result:{place}")
        kind = _PREFIX[artifact.kind]
        item: Json = base | {f"{kind}UUID": name, "seed": seed_number(exchange, task.get("seed")) + place}
        wanted = task.get("outputType") or "URL"
        data = base64.b64encode(artifact.content()).decode() if wanted not in ("URL", ["URL"]) else ""
        match wanted:
            case "base64Data":
                item[f"{kind}Base64Data"] = data
            case "dataURI":
                item[f"{kind}DataURI"] = f"data:{artifact.content_type};base64,{data}"
            case _:
                item[f"{kind}URL"] = job.url(place)
        if artifact.kind == "image":
            item["NSFWContent"] = False
        if task.get("includeCost"):
            item["cost"] = round((job.cost or 0) / len(job.artifacts), 6)
        found.append(item | {"resultIndex": place})
    return found
