"""What a process has had resident."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.gateway_process import GatewayProcess


def peak_memory(gateway: GatewayProcess) -> int:
    """The most that the process has had resident, in bytes; the test is skipped where the system does not say."""
    status = Path(f"/proc/{gateway.pid}/status")
    if not status.exists():
        pytest.skip("needs /proc")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
    assert found is not None
    return int(found[1]) * 1024
