"""Folders of work: gone when it ends, and when its process was killed as soon as somebody else looks."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from polyroute.engine.media.workspaces import open_workspace, sweep_workspaces
from support.gateway_process import environment

_LEAVES = """
import os, signal, sys
from pathlib import Path
from polyroute.engine.media.workspaces import open_workspace
with open_workspace(Path(sys.argv[1])) as folder:
    (folder / "half.mp4").write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_workspace_is_gone_when_its_work_is_over(tmp_path: Path) -> None:
    with open_workspace(tmp_path) as folder:
        (folder / "film.mp4").write_bytes(b"film")
        assert folder.is_dir()
    assert list(tmp_path.iterdir()) == []


def test_what_others_work_in_is_left_alone(tmp_path: Path) -> None:
    with open_workspace(tmp_path) as first, open_workspace(tmp_path) as second:
        assert sweep_workspaces(tmp_path) == 0
        assert first != second
        assert first.is_dir()
        assert second.is_dir()


def test_what_a_killed_process_left_goes_when_somebody_looks(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _LEAVES, str(tmp_path)]
    done = subprocess.run(command, env=environment(tmp_path), timeout=30, check=False)
    assert done.returncode == -signal.SIGKILL
    assert len(list(tmp_path.rglob("half.mp4"))) == 1
    with open_workspace(tmp_path) as folder:
        assert list(tmp_path.iterdir()) == [folder]
