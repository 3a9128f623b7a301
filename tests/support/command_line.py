"""The command line inside this process: as a process of its own would run it, without the wait for one to start."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from polyroute.cli.program import main
from support.gateway_process import environment


def run_here(*arguments: str, folder: Path, extra: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """One command, run to its end in `folder`; a traceback is an exception here."""
    out, err = io.StringIO(), io.StringIO()
    status: object = 0
    with (
        chdir(folder),
        patch.dict(os.environ, environment(folder, extra), clear=True),
        patch.object(sys, "argv", ["polyroute", *arguments]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as stop:
            status = stop.code or 0
    assert isinstance(status, int), status
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())
