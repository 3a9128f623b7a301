"""Every provider of the catalog, asked for everything that it serves, in OpenAI's dialect, whole and streamed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from polyroute.catalog.rows import load_rows
from polyroute.types.operations import OPERATION_OF, Operation
from support.asks import CHAT, EMBED, SPEECH, STREAM, TRANSCRIPTION, Ask, events, text_of
from support.gateway_process import GatewayProcess, environment

PICTURE = Ask("image", "image", "/v1/images/generations", {"prompt": "a red square"})
VECTOR = Ask("embed", "embed", EMBED.path, {"input": ["one", "two"]})
OF_OPERATION: dict[Operation, tuple[Ask, ...]] = {
    Operation.CHAT: (CHAT, STREAM),
    Operation.EMBED: (VECTOR,),
    Operation.IMAGE: (PICTURE,),
    Operation.SPEECH: (SPEECH,),
    Operation.TRANSCRIPTION: (TRANSCRIPTION,),
}


def served() -> list[object]:
    """Each default model with each way of asking for it."""
    return [
        pytest.param(f"{name}/{row.default_models[operation]}", ask, id=f"{name}-{ask.name}")
        for name, row in load_rows().items()
        for operation, asks in OF_OPERATION.items()
        if operation in row.default_models and operation in {OPERATION_OF[dialect] for dialect in row.endpoints}
        for ask in asks
    ]


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """`polyroute serve --sandbox`, where every provider is on."""
    with GatewayProcess(tmp_path_factory.mktemp("rehearsal"), "sandbox: {port: 0}\n", ["--sandbox"]) as process:
        yield process


@pytest.fixture(scope="module")
def rehearsing(rehearsal: GatewayProcess) -> Iterator[httpx.Client]:
    """A client of it."""
    with httpx.Client(base_url=rehearsal.url, timeout=20, trust_env=False) as client:
        yield client


@pytest.mark.parametrize(("model", "ask"), served())
def test_a_provider_serves_what_its_row_says(
    rehearsal: GatewayProcess, rehearsing: httpx.Client, model: str, ask: Ask
) -> None:
    provider, _, own_model = model.partition("/")
    answer = ask.send(rehearsing, model)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-polyroute-provider"] == provider
    assert answer.headers["x-polyroute-model"] == own_model
    assert answer.headers["x-polyroute-attempts"] == "1"
    assert answer.headers["x-polyroute-simulated"] == "1"
    entry = rehearsal.entry(answer.headers["x-polyroute-request-id"])
    assert (entry["status"], entry["actual_provider"], entry["simulated"]) == ("COMPLETED", provider, 1)
    assert entry["usage_estimated"] == 0
    if ask.operation == "chat":
        assert entry["input_tokens"], "the provider told its usage"
        assert entry["output_tokens"]
    if ask is CHAT:
        message = answer.json()["choices"][0]["message"]
        assert f"[simulated {provider}" in message["content"]
        assert message["role"] == "assistant"
    elif ask is STREAM:
        assert f"[simulated {provider}" in text_of(answer.content)
        assert not any(
            event.get("usage") for event in events(answer.content) if event != "[DONE]" and not event["choices"]
        )
    elif ask is VECTOR:
        assert [row["index"] for row in answer.json()["data"]] == [0, 1]
    elif ask is PICTURE:
        assert answer.json()["data"]
    else:
        assert answer.content


def test_the_sandbox_alone(tmp_path: Path) -> None:
    """`polyroute sandbox` says where it is on standard output, and stops when it is told to."""
    command = [sys.executable, "-m", "polyroute", "sandbox", "--port", "0", "--tokens-per-second", "0"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=tmp_path, env=environment(tmp_path), text=True, **pipes) as process:  # type: ignore[call-overload] # as Popen takes them
        try:
            url = process.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
            answer = httpx.get(url, trust_env=False)
            assert answer.headers["x-polyroute-simulated"] == "1"
            assert set(load_rows()) - set(answer.json()["providers"]) <= {"ffmpeg"}
        finally:
            process.terminate()
        assert process.wait(10) == 0
    assert os.listdir(tmp_path) == []
