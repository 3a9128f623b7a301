"""What resellers of many models share: the files that a model of that name makes of the usual fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polyroute.sandbox.exchange import Exchange
from polyroute.sandbox.media.artifacts import Artifact, audio, image, speech_seconds, video
from polyroute.sandbox.media.call import count, film_sides, number, seed_of, sides, text_of

_CLASSES = {"0.5K": 512, "512": 512, "1K": 1024, "2K": 2048, "4K": 4096}
_PROMPTS = (
    "prompt",
    "text",
    "lyrics",
    "positivePrompt",
    "gpt_description_prompt",
    "tags",
    "gen_text",
    "lyrics_prompt",
    "style_prompt",
)
_INPUTS = (
    "image",
    "image_url",
    "image_urls",
    "image_input",
    "imageUrls",
    "audio_url",
    "video_url",
    "url",
    "ref_audio",
    "audio",
    "video",
)
_SECONDS = {"video": 0.1, "music": 0.005, "effects": 0.01, "speech": 0.002, "clone": 0.01}


def missing_prompt(given: Mapping[str, Any]) -> bool:
    """Whether there is nothing to work from."""
    return not text_of(given, *_PROMPTS).strip() and not any(given.get(name) for name in _INPUTS)


def bad_field(kind: str, given: Mapping[str, Any]) -> str | None:
    """The first field whose value no model takes; None when there is none."""
    aspect = given.get("aspect_ratio")
    if aspect not in (None, "auto", "Auto", "adaptive", "match_input_image") and sides(aspect) is None:
        return "aspect_ratio"
    if kind == "video":
        duration = given.get("duration")
        if duration is not None and not 1 <= number(duration, -1) <= 60:
            return "duration"
    if kind == "image":
        for side in ("width", "height"):
            if side in given and not 16 <= number(given[side], -1) <= 4096:
                return side
    return None


def outputs(exchange: Exchange, kind: str, given: Mapping[str, Any], digest: str = "") -> list[Artifact]:
    """The files."""
    seed = seed_of(exchange, 0, digest)
    match kind:
        case "transcription" | "other":
            return []
        case "video":
            ratio = given.get("aspect_ratio") or given.get("ratio")
            wide, high = film_sides(given.get("resolution") or given.get("mode_resolution") or "720p", ratio)
            wide, high = int(number(given.get("width"), wide)), int(number(given.get("height"), high))
            loud = given.get("generate_audio") is not False and given.get("sound") is not False
            return [video(seed, wide, high, number(given.get("duration", given.get("seconds")), 5), sound=loud)]
        case "speech" | "clone":
            form = str(given.get("format") or given.get("output_format") or "mp3")
            form = form if form in ("mp3", "wav", "flac", "opus") else "mp3"
            return [audio(speech_seconds(text_of(given, *_PROMPTS) or "hello"), form)]
        case "effects":
            return [audio(number(given.get("duration_seconds", given.get("duration")), 4))]
        case "music":
            return [audio(number(given.get("seconds_total", given.get("duration")), 30))]
    area = _CLASSES.get(str(given.get("resolution") or given.get("size") or "1K").upper(), 1024)
    ratio = given.get("aspect_ratio") or given.get("image_size") or "1:1"
    pair = sides(ratio, area * area) or (area, area)
    if "width" in given and "height" in given:
        pair = int(number(given["width"], 1024)), int(number(given["height"], 1024))
    form = str(given.get("output_format") or given.get("outputFormat") or "png").replace("jpg", "jpeg")
    form = form if form in ("png", "jpeg", "webp") else "png"
    wanted = count(given.get("num_images", given.get("n", given.get("num_outputs"))))
    return [image(seed_of(exchange, place, digest), *pair, form) for place in range(wanted)]


def price(made: list[Artifact], kind: str) -> float:
    """US dollars for these files."""
    if kind == "image":
        return round(0.02 * len(made), 6)
    return round(sum(max(1.0, item.seconds) * _SECONDS.get(kind, 0.001) for item in made) or 0.001, 6)
