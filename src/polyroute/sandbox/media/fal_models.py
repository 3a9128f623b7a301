"""What the simulated endpoints on fal take, make and answer with."""

from __future__ import annotations

import base64
from typing import Any

from polyroute.sandbox.exchange import Exchange, Json
from polyroute.sandbox.media.artifacts import Artifact, audio, image, speech_seconds, video
from polyroute.sandbox.media.call import (
    answered,
    count,
    film_sides,
    number,
    said,
    seed_number,
    seed_of,
    sides,
    text_of,
    timed_words,
)
from polyroute.sandbox.media.jobs import Job
from polyroute.sandbox.media.kinds import kind_of

_NAMED_SIZES = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
_DURATIONS = {
    "veo3.1": ("4s", "6s", "8s"),
    "v2.6/pro": ("5", "10"),
    "ray-2": ("5s", "9s"),
    "hailuo-02": ("6", "10"),
}
_INPUTS = {"transcription": "audio_url", "clone": "audio_url"}
_PICTURE_WORKERS = ("upscale/image", "upscaler", "birefnet", "rembg")
_FILM_WORKERS = ("upscale/video", "lipsync", "/modify")


def problem(field: str, message: str, kind: str) -> Exception:
    """fal's 422 for one field."""
    return answered({"detail": [{"loc": ["body", field], "msg": message, "type": kind, "input": None}]}, 422)


def check(endpoint: str, given: Json) -> None:
    """Refuse what the endpoint does not take."""
    kind = kind_of(endpoint)
    needed = _INPUTS.get(kind)
    if any(part in endpoint for part in _PICTURE_WORKERS) or endpoint.endswith(("/edit", "/fill")):
        needed = "image_url"
    if any(part in endpoint for part in _FILM_WORKERS):
        needed = "video_url"
    if needed == "image_url" and endpoint.endswith("/edit"):
        needed = "image_urls"
    if needed is None and "image-to-video" in endpoint:
        needed = "start_image_url" if "/v3/" in endpoint else "image_url"
    if needed is not None and not given.get(needed):
        raise problem(needed, "Field required", "missing")
    asks = ("prompt", "text", "tags", "multi_prompt", "composition_plan", *([needed] if needed else []))
    if not any(given.get(name) for name in asks):
        raise problem("text" if kind in ("speech", "effects") else "prompt", "Field required", "missing")
    allowed = next((values for part, values in _DURATIONS.items() if part in endpoint), None)
    duration = given.get("duration")
    if allowed is not None and duration is not None and duration not in allowed:
        listed = " or ".join(f"'{item}'" for item in allowed)
        raise problem("duration", f"unexpected value; permitted: {listed}", "literal_error")
    size = given.get("image_size")
    if size is not None and not isinstance(size, dict) and size not in _NAMED_SIZES:
        raise problem("image_size", f"Input should be one of {sorted(_NAMED_SIZES)}", "literal_error")
    pictures = given.get("num_images")
    if pictures is not None and not 1 <= int(number(pictures, 1)) <= 4:
        raise problem("num_images", "Input should be less than or equal to 4", "less_than_equal")
    voice = given.get("voice")
    if isinstance(voice, str) and "no-such-voice" in voice:
        raise problem("voice", f"Voice '{voice}' not found", "value_error")


def outputs(exchange: Exchange, endpoint: str, given: Json) -> list[Artifact]:
    """The files that the endpoint makes."""
    match kind_of(endpoint):
        case "transcription":
            return []
        case "video":
            wide, high = film_sides(given.get("resolution", "720p"), given.get("aspect_ratio"))
            loud = given.get("generate_audio") is not False
            return [video(seed_of(exchange), wide, high, number(given.get("duration"), 5), sound=loud)]
        case "speech" | "clone":
            speed = number(given.get("speed"), 1.0)
            return [audio(speech_seconds(text_of(given, "text", "prompt") or "hello", speed))]
        case "effects":
            return [audio(number(given.get("duration_seconds"), 4))]
        case "music":
            seconds = number(given.get("music_length_ms"), 0) / 1000
            seconds = seconds or number(given.get("duration", given.get("seconds_total")), 30)
            return [audio(seconds, "wav" if "stable-audio" in endpoint else "mp3")]
    size = given.get("image_size", "landscape_4_3")
    wide, high = sides(given.get("aspect_ratio")) or _NAMED_SIZES.get(str(size), (1024, 768))
    if isinstance(size, dict):
        wide, high = int(number(size.get("width"), 512)), int(number(size.get("height"), 512))
    factor = int(number(given.get("upscale_factor"), 2)) if "upscale" in endpoint else 1
    form = str(given.get("output_format") or "jpeg")
    pictures = count(given.get("num_images"), most=4)
    return [image(seed_of(exchange, place), wide * factor, high * factor, form) for place in range(pictures)]


def billable_units(job: Job) -> float:
    """What `x-fal-billable-units` says: megapixels, seconds, thousands of characters."""
    if job.operation == "image":
        return round(sum(item.width * item.height for item in job.artifacts) / 1_000_000, 4)
    if job.operation in ("speech", "clone"):
        return max(1, len(text_of(job.body, "text", "prompt"))) / 1000
    return sum(item.seconds for item in job.artifacts) or 1.0


def _file(job: Job, place: int) -> Json:
    item = job.artifacts[place]
    inline = job.body.get("sync_mode") is True
    url = job.url(place)
    if inline:
        url = f"data:{item.content_type};base64,{base64.b64encode(item.content()).decode()}"
    value: Json = {"url": url, "content_type": item.content_type, "file_name": f"{job.token}.{item.extension}"}
    value["file_size"] = None if job.has("huge_file") else len(item.content())
    return value | ({"width": item.width, "height": item.height} if item.kind == "image" else {})


def result(exchange: Exchange, job: Job) -> Json:
    """The body of a result."""
    given: Json = job.body
    seed = seed_number(exchange, given.get("seed"))
    match job.operation:
        case "transcription":
            return _transcript(job)
        case "video":
            return {"video": _file(job, 0), "seed": seed}
        case "clone":
            return {"custom_voice_id": f"Voice{job.token[:12]}", "audio": _file(job, 0)}
        case "speech" if "minimax" in job.model and given.get("output_format", "hex") == "hex":
            return {
                "audio": {"url": job.artifacts[0].content().hex()},
                "duration_ms": int(job.artifacts[0].seconds * 1000),
            }
        case "speech" | "effects":
            return {"audio": _file(job, 0)}
        case "music":
            return {"audio_file" if job.model.endswith("stable-audio") else "audio": _file(job, 0), "seed": seed}
    pictures = [_file(job, place) for place in range(len(job.artifacts))]
    if any(part in job.model for part in _PICTURE_WORKERS):
        return {"image": pictures[0]}
    flags = [False] * len(pictures)
    value: Json = {"images": pictures, "timings": {"inference": round(job.seconds, 6)}, "seed": seed}
    return value | {"has_nsfw_concepts": flags, "prompt": text_of(given, "prompt")}


def _transcript(job: Job) -> Json:
    text, seconds = said(job), 3.0
    if "scribe" in job.model:
        words: list[Any] = [
            {"text": word, "start": start, "end": end, "type": "word", "speaker_id": "speaker_0"}
            for word, start, end in timed_words(text, seconds)
        ]
        return {"text": text, "language_code": "eng", "language_probability": 1.0, "words": words}
    level = job.body.get("chunk_level", "segment")
    pieces = timed_words(text, seconds) if level == "word" else [(text, 0.0, seconds)]
    chunks = [{"timestamp": [start, end], "text": piece, "speaker": None} for piece, start, end in pieces]
    return {"text": text, "chunks": chunks, "inferred_languages": ["en"], "diarization_segments": []}
