"""The sandbox: one HTTP server that stands in for every provider, under `/{provider}` and that provider's own paths."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress

from aiohttp import web

from polyroute.sandbox.control import SandboxOptions
from polyroute.sandbox.handlers import Sandbox

_LARGEST_BODY = 128 << 20
_SHUTDOWN_SECONDS = 0.2


def build_app(options: SandboxOptions | None = None) -> web.Application:
    """The sandbox as an aiohttp application. Run it with `handler_cancellation=True`, or callers who leave go unnoticed."""
    sandbox = Sandbox(options or SandboxOptions())
    app = web.Application(client_max_size=_LARGEST_BODY)
    app.router.add_get("/", sandbox.index)
    app.router.add_get("/_health", sandbox.health)
    app.router.add_get("/_control", sandbox.control_get)
    app.router.add_post("/_control", sandbox.control_post)
    app.router.add_delete("/_control", sandbox.control_delete)
    app.router.add_get("/_control/jobs", sandbox.jobs)
    app.router.add_get("/_requests", sandbox.requests)
    app.router.add_get("/_media/{name}", sandbox.media)
    app.on_cleanup.append(sandbox.close)
    app.router.add_get("/_files/{name}", sandbox.file)
    app.router.add_get("/_ping", sandbox.provide)
    app.router.add_get("/version", sandbox.provide)
    app.router.add_route("*", "/{provider}/{tail:.*}", sandbox.provide)
    return app


class Running:
    """A sandbox that listens at `url` until `stop()`."""

    def __init__(self, url: str, runner: web.AppRunner) -> None:
        self.url = url
        self._runner = runner

    async def stop(self) -> None:
        """Close every connection and stop listening."""
        await self._runner.cleanup()


async def start(host: str = "127.0.0.1", port: int = 0, options: SandboxOptions | None = None) -> Running:
    """Listen; port 0 takes a free one. Raises OSError when the address is taken."""
    runner = web.AppRunner(
        build_app(options),
        access_log=None,
        handler_cancellation=True,
        handle_signals=False,
        shutdown_timeout=_SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, reuse_address=True).start()
    except OSError:
        await runner.cleanup()
        raise
    address = runner.addresses[0]
    shown = f"[{address[0]}]" if ":" in address[0] else address[0]
    return Running(f"http://{shown}:{address[1]}", runner)


def run(
    host: str,
    port: int,
    options: SandboxOptions | None = None,
    exit_with_stdin: bool = False,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGINT or SIGTERM, or until standard input ends when `exit_with_stdin`: so a parent that dies takes the
    sandbox with it. `on_ready` gets the address."""
    asyncio.run(_run(host, port, options, exit_with_stdin, on_ready))


async def _run(
    host: str,
    port: int,
    options: SandboxOptions | None,
    exit_with_stdin: bool,
    on_ready: Callable[[str], None] | None,
) -> None:
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, done.set)
    running = await start(host, port, options)
    if exit_with_stdin:
        threading.Thread(target=_watch_stdin, args=(loop, done), daemon=True).start()
    if on_ready is not None:
        on_ready(running.url)
    try:
        await done.wait()
    finally:
        await running.stop()


def _watch_stdin(loop: asyncio.AbstractEventLoop, done: asyncio.Event) -> None:
    """Read the descriptor itself: a buffered reader would hold a lock that the interpreter needs to exit."""
    try:
        while os.read(sys.stdin.fileno(), 4096):
            pass
    except (OSError, ValueError):
        pass
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(done.set)
