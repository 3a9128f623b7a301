"""`polyroute serve`: the sandbox beside it when wanted, the socket, the workers, and what is said at the start."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvloop

from polyroute.api.server import bind, make_server
from polyroute.api.workers import Workers
from polyroute.catalog.model import Catalog
from polyroute.composition.app import App, build_app
from polyroute.composition.configuration import make_catalog
from polyroute.settings import Settings
from polyroute.storage.writer_keeper import WriterProcess
from polyroute.telemetry import configure_logging
from polyroute.types.operations import Operation

NOTHING_IS_ON = """No provider is on: no credential was found in the environment, in .env or in the configuration.

  Try it without any:   polyroute serve --sandbox      (simulated providers)
  Use a provider:       export OPENAI_API_KEY=…        (or any other that `polyroute doctor` lists)
"""


def serve(settings: Settings, *, sandbox: bool, sandbox_if_no_keys: bool) -> int:
    """Run until told to stop; gives the exit code."""
    configure_logging()
    if not sandbox and not any(row.enabled and row.wanted for row in make_catalog(settings).providers.values()):
        if not sandbox_if_no_keys:
            sys.stderr.write(NOTHING_IS_ON)
            return 2
        sandbox = True
    try:
        listener = bind(settings.server.host, settings.server.port)
        simulated = _Sandbox(settings.sandbox.host, settings.sandbox.port) if sandbox else None
    except OSError as error:
        sys.stderr.write(f"polyroute: {error.strerror or error}\n")
        return 2
    url = simulated.url if simulated is not None else None
    try:
        if settings.server.workers == 1:
            return run_worker(settings, listener, url, announce=True)
        return Workers(
            settings.server.workers,
            lambda number: run_worker(settings, listener, url, announce=number == 0),
        ).run()
    finally:
        if simulated is not None:
            simulated.stop()


def run_worker(settings: Settings, listener: socket.socket, sandbox_url: str | None, *, announce: bool) -> int:
    """Serve from this process; the worker that announces also keeps the ledger's writer running."""
    found = settings.server.model_copy(update={"port": listener.getsockname()[1]})  # links to results name it
    settings = settings.model_copy(update={"server": found})
    app = build_app(settings, sandbox_url=sandbox_url, writes_ledger=False)
    writer = WriterProcess(settings.storage.database, app.journal) if announce else None
    return uvloop.run(_serve(app, listener, writer, announce=announce))


def work(settings: Settings, sandbox_url: str | None) -> int:
    """Work on durable jobs until told to stop; gives the exit code."""
    configure_logging()
    return uvloop.run(_work(build_app(settings, sandbox_url=sandbox_url, working=True)))


async def _work(app: App) -> int:
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, told.set)
    await app.start()
    sys.stderr.write(f"Polyroute works on jobs (process {os.getpid()})\n")
    try:
        await told.wait()
    finally:
        await app.stop()
    return 0


@asynccontextmanager
async def local_gateway(settings: Settings, *, sandbox: bool, working: bool) -> AsyncIterator[str]:
    """A gateway in this process for as long as the block lasts: its address, which nobody else is told of."""
    simulated = _Sandbox(settings.sandbox.host, 0) if sandbox else None
    try:
        listener = bind("127.0.0.1", 0)
        port = listener.getsockname()[1]
        server = settings.server.model_copy(update={"host": "127.0.0.1", "port": port})
        auth = settings.auth.model_copy(update={"mode": "open"})
        settings = settings.model_copy(update={"server": server, "auth": auth})
        url = None if simulated is None else simulated.url
        app = build_app(settings, sandbox_url=url, working=working)
        lane = app.application()
        served = make_server(lane, lane=lane, patience=1.0)
        await app.start()
        task = asyncio.create_task(served.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            served.should_exit = True
            await asyncio.gather(task, return_exceptions=True)
            await app.stop()
    finally:
        if simulated is not None:
            simulated.stop()


async def _serve(app: App, listener: socket.socket, writer: WriterProcess | None, *, announce: bool) -> int:
    lane = app.application()
    server = make_server(lane, lane=lane)
    loop = asyncio.get_running_loop()
    reloads: set[asyncio.Task[bool]] = set()

    def reload() -> None:
        task = loop.create_task(app.reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, server.handle_exit, name, None)
    loop.add_signal_handler(signal.SIGHUP, reload)
    await app.start()
    # What was loaded stays, so collections need not look at it again; requests leave hardly any cycles behind.
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)
    if writer is not None:
        writer.start()
    if announce:
        address = listener.getsockname()
        _announce(app.gateway.runtime.catalog, f"http://{_host(address[0])}:{address[1]}")
    try:
        await server.serve(sockets=[listener])
    finally:
        await app.stop()
        if writer is not None:
            await writer.stop()
    return 0


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


class _Sandbox:
    """The simulated providers at `url`, as a process of their own, which ends when this one does."""

    def __init__(self, host: str, port: int) -> None:
        self._process = subprocess.Popen(  # noqa: S603 (our own program, with a host and port from the settings)
            [sys.executable, "-m", "polyroute", "sandbox", "--host", host, "--port", str(port), "--exit-with-stdin"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the gateway, which then ends this one
        )
        self.url = self._await_address()

    def _await_address(self) -> str:
        """Its address, as soon as it listens. Raises OSError when it could not start; it has said why itself."""
        assert self._process.stdout is not None
        for raw in self._process.stdout:
            line = raw.decode().strip()
            if line.startswith("http://"):
                return line
        raise OSError(
            f"the sandbox could not start (status {self._process.wait()}); `sandbox: {{port: 0}}` takes a free port"
        )

    def stop(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()


def _announce(catalog: Catalog, url: str) -> None:
    """The start-up table: what is on, what is not and why, the routes, and a call that works."""
    from rich.console import Console  # noqa: PLC0415 - not needed before the socket listens
    from rich.table import Table  # noqa: PLC0415

    console = Console(stderr=True)
    if not console.is_terminal:
        console = Console(stderr=True, width=140)
    providers = [row for row in catalog.providers.values() if row.enabled]
    simulated = any(row.simulated for row in providers)
    on = Table(title="Providers", title_justify="left", box=None, pad_edge=False)
    for column in ("provider", "kind", "serves") if simulated else ("provider", "kind", "serves", "address"):
        on.add_column(column, no_wrap=column != "serves")
    for row in providers:
        on.add_row(*(row.name, row.kind, ", ".join(sorted(row.serves)), row.base_url)[: len(on.columns)])
    console.print(on)
    if catalog.skipped:
        names = ", ".join(skipped.name for skipped in catalog.skipped)
        console.print(f"[dim]Off: {names}  (`polyroute doctor` says why)[/dim]", highlight=False)
    routes = Table(title="\nRoutes", title_justify="left", box=None, pad_edge=False)
    routes.add_column("route", no_wrap=True)
    routes.add_column("operation", no_wrap=True)
    routes.add_column("targets, in order", overflow="fold")
    for route in catalog.routes.values():
        targets = [str(target) for target in (*route.targets, *route.fallbacks)]
        shown = ", ".join(targets[:4]) + (f" and {len(targets) - 4} more" if len(targets) > 4 else "")
        routes.add_row(route.name, route.operation, shown)
    console.print(routes)
    for warning in catalog.warnings:
        console.print(f"[yellow]warning:[/yellow] {warning}", highlight=False)
    if simulated:
        console.print("\n[bold yellow]SANDBOX[/bold yellow]: all answers are simulated.", highlight=False)
    chat = next((route.name for route in catalog.routes.values() if route.operation is Operation.CHAT), None)
    console.print(f"\nPolyroute listens on [bold]{url}[/bold] (process {os.getpid()})", highlight=False)
    if chat is not None:
        body = f'{{"model": "{chat}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
        console.print(
            f"Try:  curl {url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'",
            highlight=False, soft_wrap=True, markup=False,
        )  # fmt: skip
