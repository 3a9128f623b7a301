"""One typical request for each way of asking, and what a provider says to it when nobody stands between."""

from __future__ import annotations

import json
from typing import Any

import httpx
import msgspec

from support.simulated_providers import SimulatedProviders

WAV = (
    b"RIFF\x24\x08\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00data"
    + bytes(range(256)) * 8
)
"""A quarter of a second of noise."""


class Ask(msgspec.Struct, frozen=True):
    """A request without its model. `body` are JSON fields, or the fields of a form where `file` is given."""

    name: str
    operation: str
    path: str
    body: dict[str, Any]
    file: bytes | None = None

    @property
    def streamed(self) -> bool:
        """Whether the answer is handed on as it comes."""
        return bool(self.body.get("stream")) or self.operation == "speech"

    def arguments(self, model: str) -> dict[str, Any]:
        """For httpx."""
        fields = {"model": model, **self.body}
        if self.file is None:
            return {"json": fields}
        return {"data": fields, "files": {"file": ("noise.wav", self.file, "audio/wav")}}

    def send(self, client: httpx.Client, model: str, **headers: str) -> httpx.Response:
        """Ask the gateway."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.post(self.path, headers=named, **self.arguments(model))

    def direct(self, sandbox: SimulatedProviders, provider: str, model: str) -> bytes:
        """What the provider itself answers."""
        answer = sandbox.ask(provider, self.path, **self.arguments(model))
        assert answer.status_code == 200, answer.text
        return answer.content


_HELLO = {"messages": [{"role": "user", "content": "Hello"}]}

CHAT = Ask("chat", "chat", "/v1/chat/completions", _HELLO)
STREAM = Ask("stream", "chat", "/v1/chat/completions", {**_HELLO, "stream": True})
EMBED = Ask("embed", "embed", "/v1/embeddings", {"input": ["one", "two"], "encoding_format": "float"})
IMAGE = Ask("image", "image", "/v1/images/generations", {"prompt": "a red square", "response_format": "b64_json"})
SPEECH = Ask("speech", "speech", "/v1/audio/speech", {"input": "Good morning to you all", "voice": "alloy"})
TRANSCRIPTION = Ask("transcription", "transcription", "/v1/audio/transcriptions", {}, WAV)

ASKS = (CHAT, STREAM, EMBED, IMAGE, SPEECH, TRANSCRIPTION)


def events(body: bytes) -> list[Any]:
    """The data of server-sent events, decoded; `[DONE]` as that text."""
    told = [line[6:] for line in body.decode().splitlines() if line.startswith("data: ")]
    return [data if data == "[DONE]" else json.loads(data) for data in told]


def text_of(body: bytes) -> str:
    """What a streamed chat completion says."""
    chunks = [event for event in events(body) if event != "[DONE]"]
    return "".join(
        choice["delta"].get("content") or ""
        for chunk in chunks
        for choice in chunk.get("choices", ())
        if "delta" in choice
    )
