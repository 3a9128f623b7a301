"""Pictures for Ollama's models that see, in the dialects of those who ask."""

from __future__ import annotations

import base64
from pathlib import Path

from support.local_services import local_gateway
from support.media_files import PNG

ENCODED = base64.b64encode(PNG).decode()


async def test_a_picture_in_a_chat_reaches_ollama(tmp_path: Path) -> None:
    async with local_gateway(tmp_path, {"ollama": "ollama"}) as gateway:
        content = [
            {"type": "text", "text": "What is it?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{ENCODED}"}},
        ]
        body = {"model": "ollama/llava", "messages": [{"role": "user", "content": content}]}
        answer = await gateway.post("/v1/chat/completions", json=body)
        assert answer.headers["x-polyroute-provider"] == "ollama"
        assert answer.json()["choices"][0]["message"]["content"]
        [seen] = await gateway.seen("ollama")
        assert seen["path"].endswith("/v1/chat/completions")
        assert seen["body"]["messages"][0]["content"][1]["image_url"]["url"].endswith(ENCODED)


async def test_a_picture_of_another_dialect_is_put_where_ollama_wants_it(tmp_path: Path) -> None:
    async with local_gateway(tmp_path, {"ollama": "ollama"}) as gateway:
        parts = [{"text": "What is it?"}, {"inlineData": {"mimeType": "image/png", "data": ENCODED}}]
        answer = await gateway.post(
            "/v1beta/models/ollama/llava:generateContent", json={"contents": [{"role": "user", "parts": parts}]}
        )
        assert answer.json()["candidates"][0]["content"]["parts"][0]["text"]
        [seen] = await gateway.seen("ollama")
        assert seen["path"].endswith("/api/chat")
        [message] = seen["body"]["messages"]
        assert message["images"] == [ENCODED]
