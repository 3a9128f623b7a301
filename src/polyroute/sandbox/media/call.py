"""What the simulated media providers share in reading a request: jobs by id, sizes, numbers, prompts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec

from polyroute.sandbox.errors import Refused
from polyroute.sandbox.exchange import Answered, Exchange, Json, Reply, Whole, hexadecimal, json_reply
from polyroute.sandbox.media.artifacts import Artifact
from polyroute.sandbox.media.jobs import Job

BLOCKED_WORD = "forbidden-content"


def seed_of(exchange: Exchange, place: int = 0, digest: str = "") -> str:
    """What picture `place` of this request is painted from."""
    return hexadecimal(digest or exchange.digest, f"artifact:{place}", 16)


def seed_number(exchange: Exchange, given: Any = None) -> int:
    """The seed that was asked for, or one that the request decides."""
    if isinstance(given, int) and given > 0:
        return given
    return int(hexadecimal(exchange.digest, "seed", 8), 16) >> 1


def polled(exchange: Exchange, name: str, missing: Refused | None = None) -> Job:
    """The job that a poll asks for, with the faults that polls meet. Raises `missing` when there is none."""
    job = exchange.desk.find(exchange.profile.name, name)
    if job is None or job.deleted:
        raise missing or Refused("not_found")
    job.polls += 1
    if job.has("missing_at_first") and job.fault is not None and job.polls <= job.fault.polls:
        raise missing or Refused("not_found")
    check_account(job)
    return job


def check_account(job: Job) -> None:
    """Refuse the credential of a job whose key was revoked meanwhile."""
    if job.has("key_revoked"):
        raise Refused("credential")


def answered(value: Any, status: int = 200, headers: Mapping[str, str] = MappingProxyType({})) -> Answered:
    """An answer to raise."""
    return Answered(json_reply(value, status=status, headers=headers))


def bytes_reply(artifact: Artifact, headers: Mapping[str, str] = MappingProxyType({})) -> Reply:
    """A file as the whole answer."""
    return Whole(body=artifact.content(), content_type=artifact.content_type, headers=headers, tokens=64)


def is_blocked(*texts: Any) -> bool:
    """Whether a prompt asks to be refused by moderation."""
    return any(isinstance(text, str) and BLOCKED_WORD in text for text in texts)


def sides(aspect: Any, area: float = 1024 * 1024, step: int = 16) -> tuple[int, int] | None:
    """Width and height of about `area` pixels in the ratio `16:9`; None when it is no ratio."""
    if not isinstance(aspect, str):
        return None
    wide, colon, high = aspect.partition(":")
    try:
        ratio = float(wide) / float(high) if colon else 0.0
    except (ValueError, ZeroDivisionError):
        return None
    if not 0.05 <= ratio <= 20:
        return None
    height = math.sqrt(area / ratio)
    return max(step, round(height * ratio / step) * step), max(step, round(height / step) * step)


_LINES = {"360p": 360, "480p": 480, "540p": 540, "720p": 720, "768p": 768, "1080p": 1080, "1440p": 1440, "4k": 2160}


def film_sides(resolution: Any, aspect: Any = "16:9") -> tuple[int, int]:
    """Width and height of a film of `720p` in a ratio; 16:9 where the ratio says nothing."""
    short = _LINES.get(str(resolution).lower(), 720)
    found = sides(aspect, 1.0 * 10_000 * 10_000, 1) or (16, 9)
    wide, high = found
    if wide >= high:
        return round(short * wide / high / 2) * 2, short
    return short, round(short * high / wide / 2) * 2


def number(value: Any, fallback: float) -> float:
    """A number given as one or as text (`5`, `"5"`, `"5s"`, `"auto"`)."""
    if isinstance(value, bool) or value is None:
        return fallback
    if isinstance(value, int | float):
        return float(value)
    try:
        return float(str(value).rstrip("s"))
    except ValueError:
        return fallback


def count(value: Any, fallback: int = 1, most: int = 10) -> int:
    """How many results are wanted."""
    return max(1, min(most, int(number(value, fallback))))


def text_of(value: Mapping[str, Any], *names: str) -> str:
    """The first of the fields that holds text, or nothing."""
    return next((str(value[name]) for name in names if isinstance(value.get(name), str)), "")


def stamp(job: Job, after: float = 0.0, *, milliseconds: bool = True) -> str:
    """The time `after` seconds after the submission, in RFC 3339."""
    moment = datetime.fromtimestamp(job.submitted_at + after, UTC)
    return moment.isoformat(timespec="milliseconds" if milliseconds else "seconds").replace("+00:00", "Z")


def said(job: Job) -> str:
    """What a simulated transcription says."""
    return f"[simulated {job.provider}/{job.model}] Nobody has listened to this recording."


def timed_words(text: str, seconds: float) -> list[tuple[str, float, float]]:
    """Each word with its start and end, spread evenly."""
    words = text.split()
    step = seconds / max(1, len(words))
    return [(word, round(place * step, 3), round((place + 1) * step, 3)) for place, word in enumerate(words)]


def encoded(value: Any) -> bytes:
    """JSON as bytes."""
    return msgspec.json.encode(value)


def keep(value: Json, names: Iterable[str]) -> Json:
    """Only these fields, where they are there."""
    return {name: value[name] for name in names if name in value}
