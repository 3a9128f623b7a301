"""Running ffmpeg: fenced in, looked at, and gone when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from polyroute.types.errors import AttemptFailed, ErrorKind, Failure

if sys.platform != "win32":
    import resource

_KEPT_LINES = 30
_GRACE = 3.0
_LINE = 1 << 16
_BANNER = ("-hide_banner", "-nostdin", "-loglevel", "warning")
READABLE = (
    "mov,matroska,webm,mp3,wav,flac,ogg,aac,avi,mpegts,mpeg,flv,gif,amr,aiff,caf,au,asf,image2,png_pipe,jpeg_pipe,"
    "webp_pipe,bmp_pipe,tiff_pipe"
)
"""Demuxers that open one file and nothing that it points at: no playlists, no lists of files."""
FENCE = ("-protocol_whitelist", "file,pipe", "-format_whitelist", READABLE)
"""Stands before each `-i`: no network, whatever a file says."""
_LEASH = (
    "import ctypes,os,sys\n"
    "ctypes.CDLL(None).prctl(1,9)\n"
    "if os.getppid()!=int(sys.argv[1]):sys.exit(1)\n"
    "os.execv(sys.argv[2],sys.argv[2:])"
)
"""Asks the kernel (Linux: PR_SET_PDEATHSIG) to kill this process when its parent dies, `kill -9` included, and becomes the
program. A function between fork and exec would do the same, and is not safe in a process that has threads."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one run may use. `cpu` in seconds of all threads together, `memory` (address space) and `output` (each file) in
    bytes, `wall` in seconds."""

    cpu: int = 3600
    memory: int = 8 << 30
    output: int = 1 << 30
    wall: float = 1800.0
    threads: int = 2


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended; `told` are its last lines."""

    code: int
    told: str


async def run(
    binary: str, arguments: Sequence[str], limits: Limits, *, folder: Path,
    on_time: Callable[[float], Awaitable[None]] | None = None,
) -> Finished:  # fmt: skip
    """Run it in a folder, in which names of files in `arguments` are read. `on_time` is told how many seconds of the result
    are done.

    Raises AttemptFailed: `unavailable` when it cannot be started, `timeout` when it took longer than it may.
    """
    command = [*_leash(), binary, *_BANNER, "-nostats", "-progress", "pipe:1", *arguments]
    if shutil.which(binary) is None:  # on a leash, its absence would not show here
        raise AttemptFailed(Failure(kind=ErrorKind.UNAVAILABLE, message="ffmpeg cannot be started: it is not there."))
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            cwd=folder, env=_environment(), start_new_session=True, limit=_LINE,
        )  # fmt: skip
    except OSError as error:
        raise AttemptFailed(
            Failure(kind=ErrorKind.UNAVAILABLE, message=f"ffmpeg cannot be started: {error.strerror}.")
        ) from error
    _restrict(process.pid, limits)
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        async with asyncio.timeout(limits.wall), asyncio.TaskGroup() as group:
            group.create_task(_listen(process, lines))
            await _follow(process, on_time)
            code = await process.wait()
    except TimeoutError:
        raise AttemptFailed(
            Failure(kind=ErrorKind.TIMEOUT, message=f"ffmpeg took longer than the {limits.wall:g} seconds that it may.")
        ) from None  # fmt: skip
    finally:
        await _end(process)
    return Finished(code=code, told="\n".join(lines))


async def capture(binary: str, arguments: Sequence[str], limits: Limits, *, folder: Path) -> tuple[int, bytes, bytes]:
    """Run a program whose answer is short; its code, output and errors. Raises as `run` does."""
    try:
        process = await asyncio.create_subprocess_exec(
            binary, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, cwd=folder, env=_environment(), start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise AttemptFailed(
            Failure(kind=ErrorKind.UNAVAILABLE, message=f"{Path(binary).name} cannot be started: {error.strerror}.")
        ) from error
    _restrict(process.pid, limits)
    try:
        async with asyncio.timeout(limits.wall):
            out, errors = await process.communicate()
    except TimeoutError:
        raise AttemptFailed(Failure(kind=ErrorKind.TIMEOUT, message="A file could not be read in time.")) from None
    finally:
        await _end(process)
    return process.returncode or 0, out, errors


async def _follow(process: asyncio.subprocess.Process, on_time: Callable[[float], Awaitable[None]] | None) -> None:
    assert process.stdout is not None
    async for line in process.stdout:
        name, _, value = line.decode("ascii", "replace").strip().partition("=")
        if on_time is not None and name == "out_time_us" and value.lstrip("-").isdigit():
            await on_time(max(int(value), 0) / 1e6)


async def _listen(process: asyncio.subprocess.Process, lines: deque[str]) -> None:
    assert process.stderr is not None
    with contextlib.suppress(ValueError):  # a line without an end; the rest is of no use
        async for line in process.stderr:
            lines.append(line.decode("utf-8", "replace").rstrip()[:1000])


async def _end(process: asyncio.subprocess.Process) -> None:
    """Nothing of it is left when this returns, also when the task that waits is cancelled meanwhile."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            await asyncio.shield(asyncio.wait_for(process.wait(), _GRACE))
    transport: Any = getattr(process, "_transport", None)
    if transport is not None:
        transport.close()


def _leash() -> tuple[str, ...]:
    """What goes before a command that must not outlive this process. Nothing on other systems than Linux."""
    if sys.platform != "linux" or not sys.executable:
        return ()
    return (sys.executable, "-I", "-S", "-c", _LEASH, str(os.getpid()))


def _environment() -> dict[str, str]:
    """Nothing of ours: no credentials, no proxies."""
    return {"PATH": os.defpath, "LC_ALL": "C", "HOME": "/nonexistent"}


def _restrict(pid: int, limits: Limits) -> None:
    """The kernel ends what uses more. Where it cannot be told (other systems than Linux), time and size are bounded by the
    arguments and the clock alone."""
    if not hasattr(resource, "prlimit"):
        return
    with contextlib.suppress(ProcessLookupError, PermissionError, ValueError, OSError):
        resource.prlimit(pid, resource.RLIMIT_CPU, (limits.cpu, limits.cpu + 5))
        resource.prlimit(pid, resource.RLIMIT_AS, (limits.memory, limits.memory))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limits.output, limits.output))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (256, 256))
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
