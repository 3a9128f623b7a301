"""Records a terminal session of real commands against a real gateway: an asciicast (v2) and its text.

    python docs/sessions/record.py drill

The gateway runs on the sandbox in a folder of its own. What is typed is typed by this script; what is answered is what the
programs wrote, with the times at which they wrote it (waits over two seconds are shortened in the cast).
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
COLUMNS, ROWS = 118, 32
ASK = (
    "curl -s localhost:{port}/v1/chat/completions -H 'content-type: application/json' "
    """-d '{{"model": "text", "messages": [{{"role": "user", "content": "Hello"}}]}}' -D - -o /dev/null """
    "| grep -E 'HTTP|provider|attempts'"
)
HEALTH = (
    "curl -s localhost:{port}/admin/api/health "
    "| jq -c '.providers[] | select(.provider == \"aimlapi\") | {{health, drill}}'"
)
LEDGER = (
    "sqlite3 -box polyroute.db "
    '"select number, provider, outcome, error_message from attempts order by started_at desc limit 3"'
)
SESSIONS = {
    "drill": [
        "# Who answers now?",
        ASK,
        "# Rehearse an outage of that provider, for five minutes",
        "polyroute drill --provider aimlapi --fault 503 --for 5m",
        "# The callers notice nothing: the next provider answers",
        ASK,
        "# Health shows the drill, and what it does to the breaker",
        HEALTH,
        "# The ledger tells which attempts were only rehearsed",
        LEDGER,
        "# Enough: end it before its time",
        "polyroute drill --end --provider aimlapi",
    ],
}
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


class Cast:
    """Events of a terminal with their times."""

    def __init__(self) -> None:
        self.events: list[tuple[float, str]] = []
        self._clock = 0.0

    def write(self, text: str, after: float) -> None:
        """Text that appeared so many seconds after the one before."""
        self._clock += min(after, 2.0)
        self.events.append((round(self._clock, 3), text))

    def save(self, path: Path, title: str) -> None:
        """As asciicast v2."""
        head = {"version": 2, "width": COLUMNS, "height": ROWS, "title": title, "env": {"TERM": "xterm-256color"}}
        lines = [json.dumps(head), *(json.dumps([moment, "o", text]) for moment, text in self.events)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @property
    def text(self) -> str:
        """What a reader sees in the end."""
        seen = _ESCAPES.sub("", "".join(text for _, text in self.events)).replace("\r\n", "\n")
        return "\n".join(line.rstrip() for line in seen.splitlines()) + "\n"


def run(command: str, cast: Cast, folder: Path, environ: dict[str, str]) -> None:
    """One command in a terminal of its own, recorded."""
    child, fd = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execvpe("bash", ["bash", "--noprofile", "--norc", "-c", command], environ)
    last = time.monotonic()
    while True:
        select.select([fd], [], [], 60)
        try:
            data = os.read(fd, 65536)
        except OSError:
            break
        if not data:
            break
        now = time.monotonic()
        cast.write(data.decode("utf-8", "replace"), now - last)
        last = now
    os.waitpid(child, 0)


def main(name: str) -> int:
    """Record one session."""
    cast, port = Cast(), 8099
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **os.environ,
            "TERM": "xterm-256color",
            "COLUMNS": str(COLUMNS),
            "PATH": f"{_bin(Path(folder))}:{os.environ['PATH']}",
        }
        server = subprocess.Popen(
            ["polyroute", "serve", "--sandbox", "--port", str(port)], cwd=folder, env=environ,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wait = f"until curl -sf localhost:{port}/ready >/dev/null; do sleep 0.1; done"
            subprocess.run(["bash", "-c", wait], check=True, timeout=30)
            for line in SESSIONS[name]:
                command = line.format(port=port) if not line.startswith("#") else line
                cast.write("$ ", 0.4)
                for character in command:
                    cast.write(character, 0.015)
                cast.write("\r\n", 0.3)
                if not command.startswith("#"):
                    run(command, cast, Path(folder), environ)
                    time.sleep(
                        1.0
                    )  # as somebody would who reads; the ledger's rows and the workers' news are there by then
        finally:
            server.terminate()
            server.wait(20)
    cast.save(HERE / f"{name}.cast", f"polyroute {name}")
    (HERE / f"{name}.txt").write_text(cast.text, encoding="utf-8")
    return 0


def _bin(folder: Path) -> Path:
    """A folder with `polyroute` in it, whatever Python this is."""
    script = folder / "bin" / "polyroute"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m polyroute "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    return script.parent


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
