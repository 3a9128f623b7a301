"""Recorded exchanges with real providers, where they lie beside the project; tests skip without them."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

_TAILS = {
    "/chat/completions": "openai_chat",
    "/responses": "openai_responses",
    "/messages": "anthropic_messages",
    ":generateContent": "gemini",
    ":streamGenerateContent": "gemini",
    "/converse": "bedrock_converse",
    "/converse-stream": "bedrock_converse",
    "/v2/chat": "cohere_v2",
    "/api/chat": "ollama",
    "/embeddings": "openai_embeddings",
}


@dataclass(frozen=True)
class Recording:
    """One exchange; `request` is None where the source did not keep it."""

    id: str
    dialect: str
    operation: str
    stream: bool
    status: int
    request: dict[str, Any] | None
    body: bytes


def recordings_folder() -> Path | None:
    """The folder beside the repository (or one of its worktrees) that holds recordings."""
    for parent in Path(__file__).resolve().parents:
        folder = parent / "shared" / "recordings"
        if (folder / "index.jsonl").is_file():
            return folder
    return None


@cache
def recordings(dialect: str) -> tuple[Recording, ...]:
    """All exchanges of one dialect."""
    folder = recordings_folder()
    if folder is None:
        return ()
    found = []
    for line in (folder / "index.jsonl").read_text(encoding="utf-8").splitlines():
        path = folder / json.loads(line)["path"]
        raw = json.loads(path.read_text(encoding="utf-8"))
        url = urlsplit(raw["request"]["url"]).path
        if dialect != next((name for tail, name in _TAILS.items() if url.endswith(tail)), None):
            continue
        sent = raw["request"].get("body_json") if raw.get("request_recorded", True) else None
        found.append(
            Recording(
                id=raw["id"],
                dialect=dialect,
                operation=raw["operation"],
                stream=bool(raw["stream"]),
                status=raw["response"]["status"],
                request=sent if isinstance(sent, dict) else None,
                body=_body(raw["response"]),
            )
        )
    return tuple(found)


def parametrize(dialect: str, *, ok: bool = True, stream: bool | None = None) -> pytest.MarkDecorator:
    """Runs a test with every answer of a dialect; one skipped case with the reason where there are none."""
    chosen = [
        pytest.param(r, id=r.id)
        for r in recordings(dialect)
        if (r.status < 400) is ok and stream in (None, r.stream) and r.body
    ]
    missing = pytest.param(None, marks=pytest.mark.skip(reason="no recordings beside the project"))
    return pytest.mark.parametrize("recording", chosen or [missing])


def _body(message: dict[str, Any]) -> bytes:
    if "body_json" in message:
        return json.dumps(message["body_json"], ensure_ascii=False, separators=(",", ":")).encode()
    if "body_text" in message:
        return str(message["body_text"]).encode()
    return base64.b64decode(message.get("body_base64", ""))
