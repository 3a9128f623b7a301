"""Other gateways, where they are installed: LiteLLM's proxy and Portkey's gateway, each with a route of six targets.

`BENCH_LITELLM` names the program `litellm` (else it is looked for on PATH), `BENCH_PORTKEY` the file `start-server.js` of the
npm package `@portkey-ai/gateway` (else it is looked for in `node_modules` here and of npm's global folder). Nothing is
downloaded.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks import load
from benchmarks.contenders import ROOT, Contender
from benchmarks.machine import Process, answers, free_port, program

_PATIENCE = 120.0
_SERVER = Path("@portkey-ai/gateway/build/start-server.js")
_TARGETS = 6


def find_litellm() -> str | None:
    """The program; None where it is not installed."""
    return os.environ.get("BENCH_LITELLM") or program("litellm")


def find_portkey() -> Path | None:
    """The server's file; None where it is not installed, or node is not."""
    if program("node") is None:
        return None
    places = [Path(given)] if (given := os.environ.get("BENCH_PORTKEY")) else list(_node_folders())
    return next((place for place in places if place.is_file()), None)


def _node_folders() -> Iterator[Path]:
    yield ROOT / "node_modules" / _SERVER
    npm = program("npm")
    if npm is not None:
        told = subprocess.run([npm, "root", "-g"], capture_output=True, text=True, check=False).stdout.strip()
        yield Path(told) / _SERVER


def start_litellm(core: int, folder: Path, upstream: int) -> Contender | None:
    """LiteLLM's proxy with one worker, a master key and no database; None where it is not installed."""
    litellm = find_litellm()
    if litellm is None:
        return None
    port, key = free_port(), "sk-benchmark"
    targets = [
        {"model_name": "six", "litellm_params": {
            "model": f"openai/m{number}", "api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "k"}}
        for number in range(1, _TARGETS + 1)
    ]  # fmt: skip
    configuration = folder / "litellm.yaml"
    configuration.write_text(json.dumps({"model_list": targets, "general_settings": {"master_key": key}}))
    command = [litellm, "--config", str(configuration), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", "1", "--telemetry", "False"]
    process = Process(command, core, folder=folder, environment={"LITELLM_LOG": "ERROR"})
    process.wait_for(answers(port, load.request(port, load.body("six", 64), key)), _PATIENCE)
    return Contender("LiteLLM", port, process, key)


def start_portkey(core: int, folder: Path, upstream: int) -> Contender | None:
    """Portkey's gateway under node; None where it is not installed."""
    server = find_portkey()
    if server is None:
        return None
    port = free_port()
    host = f"http://127.0.0.1:{upstream}/v1"
    target = {"provider": "openai", "api_key": "k", "custom_host": host}
    config = {"strategy": {"mode": "fallback"}, "targets": [target] * _TARGETS}
    headers = {"x-portkey-config": json.dumps(config, separators=(",", ":"))}
    process = Process(["node", str(server), "--headless", f"--port={port}"], core, folder=folder)
    process.wait_for(answers(port, load.request(port, load.body("six", 64), "none", headers)), _PATIENCE)
    return Contender("Portkey", port, process, headers=headers)
