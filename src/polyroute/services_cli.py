"""`polyroute services`: local services, and the containers that they run in."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

if TYPE_CHECKING:
    from polyroute.catalog.model import Catalog
    from polyroute.settings import Settings
    from polyroute.types.health import ServiceHealth

services_app = typer.Typer(help="Services on your own machines: see, start and stop them.", no_args_is_help=True)

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Configuration file.", show_default="polyroute.yaml, where there is one"),
]
Name = Annotated[str, typer.Argument(help="The provider: whisper, chatterbox, comfyui …")]


@services_app.command("list")
def list_services(
    config: Config = None, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """Every local service that is on: whether it runs, whether it answers, and what is wrong."""
    found = ask_services(*_configured(config))
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(found), indent=2))
        return
    for one in found:
        _show(one)
    if not found:
        typer.echo(
            "No local service is on: set WHISPER_SERVICE_URL, CHATTERBOX_DOCKER_URL …, or list one under providers."
        )


@services_app.command("start")
def start_service(name: Name, config: Config = None) -> None:
    """Start a service's container (providers.NAME.options.container)."""
    _change(config, name, "start")


@services_app.command("stop")
def stop_service(name: Name, config: Config = None) -> None:
    """Stop a service's container."""
    _change(config, name, "stop")


def ask_services(settings: Settings, catalog: Catalog) -> tuple[ServiceHealth, ...]:
    """What each local service says now."""
    if not any(row.kind == "local" and row.enabled for row in catalog.providers.values()):
        return ()
    return _with_desk(settings, catalog, None, "report")


def _change(config: Path | None, name: str, verb: str) -> None:
    from polyroute.types.errors import PolyrouteError  # noqa: PLC0415 - `--help` must not load everything

    try:
        for one in _with_desk(*_configured(config), name, verb):
            _show(one)
    except PolyrouteError as error:
        typer.echo(f"polyroute: {error.message}", err=True)
        raise typer.Exit(2) from error


def _with_desk(settings: Settings, catalog: Catalog, name: str | None, verb: str) -> tuple[ServiceHealth, ...]:
    from polyroute.app import live_providers, media_storage  # noqa: PLC0415 - `--help` must not load everything
    from polyroute.engine.services import ServiceDesk  # noqa: PLC0415
    from polyroute.media import container_engine  # noqa: PLC0415
    from polyroute.transport.client import ClientTransport  # noqa: PLC0415

    async def ask() -> tuple[ServiceHealth, ...]:
        transport, media, live = ClientTransport(), media_storage(settings), live_providers(catalog)
        desk = ServiceDesk(lambda: live, transport, media.floor(), container_engine(settings))
        try:
            if name is None:
                return await desk.report()
            return (await (desk.start if verb == "start" else desk.stop)(name),)
        finally:
            await transport.aclose()
            await media.stop()

    return asyncio.run(ask())


def _configured(config: Path | None) -> tuple[Settings, Catalog]:
    from polyroute.app import make_catalog, read_configuration  # noqa: PLC0415 - `--help` must not load everything

    settings = read_configuration(config)
    return settings, make_catalog(settings)


def _show(one: ServiceHealth) -> None:
    runs = "running" if one.running else "not running"
    well = "healthy" if one.healthy else "not healthy"
    typer.echo(f"{one.provider:16} {one.state:18} {runs + ', ' + well:26} {one.error or ''}".rstrip())
