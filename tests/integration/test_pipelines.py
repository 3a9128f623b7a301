"""Pipelines over HTTP, as callers see them, at the simulated providers."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.media_gateway import MediaGateway, media_gateway

SCHEMA = {
    "type": "object",
    "properties": {"scenes": {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}},
    "required": ["scenes"],
}
ROUTES = {
    "text": {"operation": "chat", "targets": ["openai/gpt-4o-mini", "groq/llama-3.3-70b-versatile"]},
    "picture": {"operation": "image", "targets": ["replicate/black-forest-labs/flux-schnell", "openai/gpt-image-1"]},
    "film": {"operation": "video", "targets": ["replicate/kwaivgi/kling-v2.1"]},
    "voice": {"operation": "speech", "targets": ["elevenlabs/eleven_multilingual_v2"]},
}
PIPELINE: dict[str, Any] = {
    "name": "scene",
    "inputs": {"topic": {"description": "what it is about"}, "style": {"default": "watercolour"}},
    "steps": [
        {"id": "script", "task": "chat", "model": "text", "prompt": "Two scenes about {{input.topic}}.", "schema": SCHEMA},
        {"id": "picture", "task": "text_to_image", "model": "picture", "prompt": "{{script.json.scenes[0]}}, {{input.style}}"},
        {"id": "moving", "task": "image_to_video", "model": "film", "prompt": "slowly",
         "inputs": {"first_frame": "{{picture.artifacts[0]}}"}},
        {"id": "voice", "task": "speech", "model": "voice", "prompt": "{{script.text}}"},
    ],
    "output": "moving",
}  # fmt: skip


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[MediaGateway]:
    async with media_gateway(tmp_path, {"routes": ROUTES}) as running:
        yield running


def pipeline(**changes: Any) -> dict[str, Any]:
    """The pipeline, with these fields of the request."""
    return {**PIPELINE, "input": {"topic": "Lighthouses"}, **changes}


def with_step(place: int, **changes: Any) -> dict[str, Any]:
    """The pipeline with one step changed; None takes a field out."""
    steps = [dict(step) for step in PIPELINE["steps"]]
    steps[place] = {name: value for name, value in {**steps[place], **changes}.items() if value is not None}
    return pipeline(steps=steps)


async def ended(gateway: MediaGateway, answer: httpx.Response) -> dict[str, Any]:
    """The pipeline, when it is over."""
    told = await gateway.http.get(f"/v1/pipelines/{answer.json()['id']}", headers={"prefer": "wait=25"})
    found: dict[str, Any] = told.json()
    assert found["status"] not in ("queued", "running"), found
    return found


def steps_of(told: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["id"]: step for step in told["steps"]}


async def test_steps_use_what_earlier_steps_made(gateway: MediaGateway) -> None:
    answer = await gateway.post("/v1/pipelines", 202, json=pipeline())
    told = await ended(gateway, answer)
    assert told["status"] == "succeeded", told
    print(told)
