"""Answers → RunPod jobs."""

from __future__ import annotations

import msgspec

from polyroute.ports import EventRenderer
from polyroute.types.chat import AnyEvent
from polyroute.types.errors import PolyrouteError


def render_job(job_id: str, output: bytes) -> bytes:
    """A completed job around a chat completion."""
    return msgspec.json.encode({"id": job_id, "status": "COMPLETED", "output": msgspec.Raw(output)})


class JobRenderer:
    """Wraps a stream of chat completions: each piece is the output of one poll."""

    def __init__(self, chunks: EventRenderer) -> None:
        self._chunks = chunks

    def feed(self, event: AnyEvent) -> bytes:
        """A poll with what the event becomes."""
        return _poll("IN_PROGRESS", self._chunks.feed(event))

    def close(self) -> bytes:
        """The last poll."""
        return _poll("COMPLETED", self._chunks.close())

    def error(self, error: PolyrouteError) -> bytes:
        """A job that failed."""
        return msgspec.json.encode({"status": "FAILED", "error": error.message}) + b"\n"


def _poll(status: str, text: bytes) -> bytes:
    if not text:
        return b""
    return msgspec.json.encode({"status": status, "stream": [{"output": text.decode()}]}) + b"\n"
