"""`polyroute artifacts`: what is stored, and deleting what has expired."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from polyroute.cli.options import AsJson, Config, print_table, read_settings, refuse

if TYPE_CHECKING:
    from polyroute.composition.media import Media
    from polyroute.types.artifacts import Artifact

artifacts_app = typer.Typer(help="Stored media: what was produced, uploaded and fetched.", no_args_is_help=True)


Result = TypeVar("Result")


def _with_media(config: Path | None, work: Callable[[Media], Awaitable[Result]]) -> Result:
    from polyroute.composition.media import media_storage  # noqa: PLC0415 - `--help` must not load everything

    media = media_storage(read_settings(config))

    async def run() -> Result:
        try:
            return await work(media)
        finally:
            await media.stop()

    return asyncio.run(run())


@artifacts_app.command("list")
def artifacts_list(
    limit: Annotated[int, typer.Option(min=1, help="How many, newest first.")] = 50,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """List stored files, newest first."""
    found = _with_media(config, lambda media: media.artifacts.list(limit))
    if as_json:
        typer.echo(json.dumps([_values(artifact) for artifact in found], indent=2))
        return
    rows = (
        (
            artifact.id, artifact.media_type, _size(artifact.size), _format(artifact), artifact.origin,
            datetime.fromtimestamp(artifact.created_at, UTC).strftime("%Y-%m-%d %H:%M"), _moment(artifact.expires_at),
        )
        for artifact in found
    )  # fmt: skip
    print_table(("id", "type", "size", "format", "origin", "created", "kept until"), rows)


@artifacts_app.command("show")
def artifacts_show(
    artifact: Annotated[str, typer.Argument(help="Its id, art_….")], config: Config = None, as_json: AsJson = False
) -> None:
    """Show what is known of one stored file, with the path of a URL that reads it."""

    async def work(media: Media) -> dict[str, Any] | None:
        found = await media.artifacts.stat(artifact)
        return None if found is None else _values(found) | {"url": media.artifacts.sign(found.id)}

    values = _with_media(config, work)
    if values is None:
        refuse(f"There is no artifact '{artifact}' (any more); `polyroute artifacts list` shows them.")
    if as_json:
        typer.echo(json.dumps(values, indent=2))
    else:
        for name, value in values.items():
            typer.echo(f"{name:12} {value}")


@artifacts_app.command("prune")
def artifacts_prune(config: Config = None) -> None:
    """Delete the files that have expired (`serve` does so too, from time to time)."""
    count, size = _with_media(config, lambda media: media.artifacts.prune())
    typer.echo(f"{count} file(s) deleted, {_size(size)}.")


def _values(artifact: Artifact) -> dict[str, Any]:
    import msgspec  # noqa: PLC0415

    values: dict[str, Any] = msgspec.to_builtins(artifact)
    for name in ("created_at", "expires_at"):
        values[name] = None if values[name] is None else datetime.fromtimestamp(values[name], UTC).isoformat()
    return values


def _size(count: int) -> str:
    for unit, width in (("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)):
        if count >= width:
            return f"{count / width:.1f} {unit}"
    return f"{count} B"


def _format(artifact: Artifact) -> str:
    sides = f"{artifact.width}x{artifact.height}" if artifact.width and artifact.height else ""
    lasts = f"{artifact.duration_s:g} s" if artifact.duration_s is not None else ""
    return " ".join(part for part in (sides, lasts) if part)


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return "for ever"
    gone = " (expired)" if seconds <= time.time() else ""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M") + gone
