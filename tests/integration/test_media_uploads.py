"""A recording for a provider that speaks another dialect than its caller: stored, told from its bytes, sent on from disk."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from support.gateway_process import GatewayProcess
from support.media_files import wav
from support.process_memory import peak_memory
from support.scripted_provider import ScriptedProvider, whole

_SAID = whole(b'{"text":"scripted words","language_code":"eng","words":[]}')
_MOST_GROWTH = 10 << 20


def test_a_recording_of_100_mb_is_never_in_memory(tmp_path: Path) -> None:
    recording = wav(100 * (1 << 20) / 16_000)
    with ScriptedProvider(_SAID, _SAID) as provider:
        entry = {"adapter": "elevenlabs", "base_url": provider.url, "api_key": "sk-mine"}
        config = {
            "providers": {"mine": entry},
            "storage": {"database": f"sqlite:///{tmp_path / 'p.db'}", "artifacts": str(tmp_path / "artifacts")},
        }
        with (
            GatewayProcess(tmp_path, json.dumps(config)) as gateway,
            httpx.Client(base_url=gateway.url, timeout=120, trust_env=False) as client,
        ):
            form = {"data": {"model": "mine/scribe_v2"}}
            first = client.post("/v1/audio/transcriptions", files={"file": ("a.wav", wav(20.0), "audio/wav")}, **form)
            assert first.status_code == 200, first.text
            before = peak_memory(gateway)
            answer = client.post("/v1/audio/transcriptions", files={"file": ("a.wav", recording, "audio/wav")}, **form)
            grown = peak_memory(gateway) - before
    assert answer.json() == {"text": "scripted words"}
    assert recording in provider.received[1].body
    assert grown <= _MOST_GROWTH, f"resident memory grew by {grown / (1 << 20):.1f} MB"
