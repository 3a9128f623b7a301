"""Which ffmpeg works where, as the system sees it."""

from __future__ import annotations

from pathlib import Path


def runs_below(folder: Path) -> list[str]:
    """Command lines of every ffmpeg that works in a folder."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if str(folder) in line and "ffmpeg" in line.partition(" ")[0]:
                found.append(line)
    return found
