"""`polyroute services`: local services, and the containers that they run in."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polyroute.cli.options import AsJson, Config, print_json, read_catalog, refusals_in_words

if TYPE_CHECKING:
    from polyroute.catalog.model import Catalog
    from polyroute.settings import Settings
    from polyroute.types.health import ServiceHealth

services_app = typer.Typer(help="Services on your own machines: see, start and stop them.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The provider: whisper, chatterbox, comfyui …")]


@services_app.command("list")
def list_services(config: Config = None, as_json: AsJson = False) -> None:
    """Every local service that is on: whether it runs, whether it answers, and what is wrong."""
    found = ask_services(*read_catalog(config))
    if as_json:
        print_json(found)
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
    with refusals_in_words():
        for one in _with_desk(*read_catalog(config), name, verb):
            _show(one)


def _with_desk(settings: Settings, catalog: Catalog, name: str | None, verb: str) -> tuple[ServiceHealth, ...]:
    from polyroute.composition.media import media_storage  # noqa: PLC0415 - `--help` must not load everything
    from polyroute.composition.providers import container_engine, live_providers  # noqa: PLC0415
    from polyroute.engine.services import ServiceDesk  # noqa: PLC0415
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


def _show(one: ServiceHealth) -> None:
    runs = "running" if one.running else "not running"
    well = "healthy" if one.healthy else "not healthy"
    typer.echo(f"{one.provider:16} {one.state:18} {runs + ', ' + well:26} {one.error or ''}".rstrip())
