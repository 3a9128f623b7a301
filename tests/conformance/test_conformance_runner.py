"""The recorded exchanges of real providers, played through a running gateway by the runner that lies beside the project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import polyroute
from support.recordings import recordings_folder

_SOURCES = str(Path(polyroute.__file__).resolve().parents[1])


def test_every_recorded_exchange_passes(tmp_path: Path) -> None:
    recordings = recordings_folder()
    runner = recordings.parent / "conformance" / "run.py" if recordings is not None else None
    if runner is None or not runner.is_file():
        pytest.skip("no conformance runner beside the project")
    report, settings = tmp_path / "report.json", tmp_path / "settings.yaml"
    told = (runner.parent / "gateways" / "polyroute.yaml").read_text(encoding="utf-8")
    assert "isolate_errors: true" in told  # breakers and cooldowns are off, so one gateway does for all error cases
    settings.write_text(told.replace("isolate_errors: true", "isolate_errors: false"), encoding="utf-8")
    command = f"{sys.executable} -m polyroute serve --config {{config}} --port {{port}}"
    done = subprocess.run(
        [
            sys.executable, runner, "--recordings", str(recordings), "--settings", str(settings), "--command", command,
            "--json", str(report), "--floor", "100",
        ],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONPATH": _SOURCES, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    failed = done.stdout.partition("Failure classes")[2][:4000]
    assert done.returncode == 0, failed or done.stdout[-4000:] + done.stderr[-4000:]
    assert json.loads(report.read_text())
