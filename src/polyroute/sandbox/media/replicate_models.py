"""What the simulated models on Replicate take, make and answer with."""

from __future__ import annotations

from typing import Any

from polyroute.sandbox.exchange import Exchange, Json
from polyroute.sandbox.media.artifacts import Artifact, audio, image, speech_seconds, video
from polyroute.sandbox.media.call import count, film_sides, number, said, seed_of, sides, text_of
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.media.kinds import kind_of

_PICTURE_WORK = ("upscale", "esrgan", "clarity", "topaz", "rembg", "background")
_DURATIONS = {"kling": (5, 10), "veo": (4, 6, 8), "ray-": (5, 9), "hailuo": (6, 10)}
_ARRAYS = ("flux-schnell", "flux-dev", "stable-diffusion", "sdxl", "esrgan-array")


def problem_of(model: str, given: Json) -> tuple[str, str] | None:
    """The first field that the model does not take, and why; None when all is well."""
    kind = kind_of(model)
    if kind == "transcription":
        return None if text_of(given, "audio", "audio_file", "file") else ("audio", "audio is required")
    if any(part in model for part in _PICTURE_WORK):
        return None if text_of(given, "image", "video") else ("image", "image is required")
    if not text_of(given, "prompt", "text"):
        return "prompt", "prompt is required"
    if kind == "video" and "duration" in given:
        allowed = next((values for part, values in _DURATIONS.items() if part in model), ())
        if allowed and given["duration"] not in allowed:
            return "duration", f"Must be one of {', '.join(map(str, allowed))}"
    if "kling-v2.1" in model and "start_image" not in given:
        return "start_image", "start_image is required"
    aspect = given.get("aspect_ratio")
    if aspect is not None and aspect not in ("custom", "match_input_image") and sides(aspect) is None:
        return "aspect_ratio", f'"{aspect}" is not a valid choice'
    outputs_wanted = given.get("num_outputs", 1)
    if not isinstance(outputs_wanted, int) or not 1 <= outputs_wanted <= 4:
        return "num_outputs", "Must be less than or equal to 4"
    form = given.get("output_format", "webp")
    if kind == "image" and form not in ("webp", "jpg", "jpeg", "png"):
        return "output_format", f'"{form}" is not a valid choice'
    return None


def outputs(exchange: Exchange, model: str, given: Json) -> list[Artifact]:
    """The files that the model makes of its input."""
    match kind_of(model):
        case "transcription":
            return []
        case "video":
            wide, high = film_sides(given.get("resolution", "720p"), given.get("aspect_ratio"))
            return [video(seed_of(exchange), wide, high, number(given.get("duration"), 5))]
        case "music":
            return [audio(number(given.get("duration"), 8), str(given.get("output_format") or "wav"), 32_000)]
        case "speech":
            return [audio(speech_seconds(text_of(given, "prompt", "text")), "wav", 24_000)]
    wide, high = sides(given.get("aspect_ratio")) or (1024, 1024)
    if isinstance(given.get("width"), int) and isinstance(given.get("height"), int):
        wide, high = given["width"], given["height"]
    form = str(given.get("output_format") or "webp")
    made = count(given.get("num_outputs"), most=4)
    return [image(seed_of(exchange, place), wide, high, form) for place in range(made)]


def output_of(job: Job) -> Any:
    """The `output` of a prediction: an address, several, or an object, as the model has it."""
    if job.operation == "transcription":
        text = said(job)
        segment = {"id": 0, "start": 0.0, "end": 3.0, "text": text}
        return {"transcription": text, "segments": [segment], "detected_language": "english"}
    if "bark" in job.model:
        return {"audio_out": job.url(), "prompt_npz": None}
    return job.urls() if any(part in job.model for part in _ARRAYS) else job.url()


def schemas(model: str) -> Json:
    """`components.schemas` of a model's version."""
    uri: Json = {"type": "string", "format": "uri"}
    output = {"type": "array", "items": uri} if any(part in model for part in _ARRAYS) else uri
    properties = {"prompt": {"type": "string"}, "seed": {"type": "integer"}, "aspect_ratio": {"type": "string"}}
    return {"Input": {"type": "object", "properties": properties, "required": ["prompt"]}, "Output": output}
