"""Transcription: the caller's file reaches the provider byte for byte, whatever its size and however often it is sent."""

from __future__ import annotations

import hashlib
import json
import random
import re
import socket
from pathlib import Path

import httpx
import pytest

from support.asks import TRANSCRIPTION, WAV
from support.gateway_process import GatewayProcess
from support.scripted_provider import ScriptedProvider, whole
from support.simulated_providers import SimulatedProviders

PATH = TRANSCRIPTION.path
SAID = whole(b'{"text":"scripted words"}')
DOWN = whole(b'{"error":{"message":"down"}}', status="503 Service Unavailable")
BOUNDARY = b"----boundary-of-the-test"
CONTENT_TYPE = "multipart/form-data; boundary=" + BOUNDARY.decode()


def part(name: bytes, content: bytes, *extra: bytes, filename: bytes | None = None) -> bytes:
    """One part of a form, as a client may write it."""
    disposition = b'Content-Disposition: form-data; name="' + name + b'"'
    if filename is not None:
        disposition += b'; filename="' + filename + b'"'
    return b"--" + BOUNDARY + b"\r\n" + b"\r\n".join((disposition, *extra, b"", content)) + b"\r\n"


def mine(provider: ScriptedProvider, **more: object) -> str:
    """A configuration with one provider of one's own."""
    entry = {
        "adapter": "openai_compatible", "base_url": f"{provider.url}/v1", "api_key": "sk-mine", "serves": ["transcription"],
    }  # fmt: skip
    return json.dumps({"defaults": {"retries": 0}, "providers": {"mine": entry, **more}})


def test_every_byte_but_the_model_is_as_the_caller_wrote_it(tmp_path: Path) -> None:
    noise = random.Random(1).randbytes(300_000) + b"\r\n--" + BOUNDARY[:-1] + b"\r\n--not-the-boundary\r\n"
    before = (
        part(b"language", b"vi") + part(b"prompt", "Xin chào".encode())
        + part(b"timestamp_granularities[]", b"word") + part(b"timestamp_granularities[]", b"segment")
    )  # fmt: skip
    file = part(b"file", noise, b"Content-Type: audio/x-odd", b"X-Own: yes", filename="tiếng ü.wav".encode())
    after = part(b"temperature", b"0.2") + b"--" + BOUNDARY + b"--\r\n"
    body = before + part(b"model", b"mine/whisper") + file + part(b"polyroute", b"{}") + after
    with (
        ScriptedProvider(SAID) as provider,
        GatewayProcess(tmp_path, mine(provider)) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False) as client,
    ):
        answer = client.post(PATH, content=body, headers={"content-type": CONTENT_TYPE})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"text": "scripted words"}
    [received] = provider.received
    assert received.target == "/v1/audio/transcriptions"
    assert received.headers["content-type"] == CONTENT_TYPE
    assert received.headers["authorization"] == "Bearer sk-mine"
    assert received.body == before + part(b"model", b"whisper") + file + after


def test_a_large_file_is_spooled_and_sent_again_to_the_next_provider(
    simulated: SimulatedProviders, tmp_path: Path
) -> None:
    recording = WAV[:44] + random.Random(2).randbytes(1 << 20) * 20
    form = {"files": {"file": ("long.wav", recording, "audio/wav")}, "data": {"model": "words"}}
    with ScriptedProvider(DOWN) as first, ScriptedProvider(SAID) as second:
        other = json.loads(mine(second))["providers"]["mine"]
        config = json.loads(mine(first, other=other))
        config["routes"] = {
            "words": {"operation": "transcription", "targets": ["mine/a-model", "other/longer-model-name"]}
        }
        with (
            GatewayProcess(tmp_path, json.dumps(config)) as gateway,
            httpx.Client(base_url=gateway.url, timeout=30, trust_env=False) as client,
        ):
            before = peak_memory(gateway)
            answer = client.post(PATH, **form)
            grown = peak_memory(gateway) - before
    assert answer.status_code == 200, answer.text
    assert (answer.headers["x-polyroute-provider"], answer.headers["x-polyroute-attempts"]) == ("other", "2")
    digest = hashlib.sha256(recording).digest()
    for received, model in ((first.received[0], b"a-model"), (second.received[0], b"longer-model-name")):
        boundary = re.search("boundary=(.+)", received.headers["content-type"])
        assert boundary is not None
        parts = received.body.split(b"--" + boundary[1].encode())
        assert parts[1].endswith(b"\r\n\r\n" + model + b"\r\n")
        assert hashlib.sha256(parts[2].partition(b"\r\n\r\n")[2][:-2]).digest() == digest
        assert int(received.headers["content-length"]) == len(received.body)
    assert grown < 15 << 20, "the file must not be held in memory"


def peak_memory(gateway: GatewayProcess) -> int:
    """The most that the process has had resident, in bytes."""
    status = Path(f"/proc/{gateway.pid}/status")
    if not status.exists():
        pytest.skip("needs /proc")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert found is not None
    return int(found[1]) * 1024


def test_the_file_is_sent_again_after_a_provider_broke_off_in_mid_upload(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client
) -> None:
    recording = WAV + bytes(8 << 20)
    sandbox.break_down("openai", "reset")
    form = {"files": {"file": ("long.wav", recording, "audio/wav")}, "data": {"model": "transcription-route"}}
    answer = client.post(PATH, **form)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-polyroute-provider"] == "together"
    [seen] = sandbox.seen("together")
    assert seen["files"][0]["size"] == len(recording)


@pytest.mark.parametrize("form", ["text", "srt", "vtt", "verbose_json"])
def test_other_forms_of_a_transcript_pass_as_they_are(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client, form: str
) -> None:
    arguments = {"files": {"file": ("noise.wav", WAV, "audio/wav")}, "data": {"response_format": form}}
    due = sandbox.ask("openai", PATH, **{**arguments, "data": {"response_format": form, "model": "transcription-1"}})
    answer = client.post(PATH, **{**arguments, "data": {"response_format": form, "model": "transcription-route"}})
    assert answer.status_code == 200
    assert answer.content == due.content
    assert answer.headers["content-type"] == due.headers["content-type"]


def test_a_slow_upload_is_taken_piece_by_piece(sandbox: SimulatedProviders, gateway: GatewayProcess) -> None:
    body = (
        part(b"model", b"transcription-route")
        + part(b"file", WAV, filename=b"noise.wav")
        + b"--"
        + BOUNDARY
        + b"--\r\n"
    )
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: {CONTENT_TYPE}\r\ntransfer-encoding: chunked\r\n\r\n"
    with socket.create_connection(gateway.address, timeout=10) as connection:
        connection.sendall(head.encode())
        for start in range(0, len(body), 7):
            piece = body[start : start + 7]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        received = b""
        while b"}" not in received:
            received += connection.recv(65536)
    assert b"transcribed noise.wav: %d bytes" % len(WAV) in received
