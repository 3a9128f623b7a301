"""`polyroute pipeline`: running the pipelines of YAML files, on a gateway or in this process, and seeing how far they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from polyroute.cli.options import Config, read_settings

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from polyroute.ports import WireRequest
    from polyroute.transport.client import ClientTransport

pipelines_app = typer.Typer(
    help="Pipelines: several steps of text, image, video and sound as one job.", no_args_is_help=True
)

Url = Annotated[
    str | None,
    typer.Option("--url", help="The gateway to ask.", show_default="one started in this process, for as long"),
]
Key = Annotated[
    str | None, typer.Option("--key", envvar="POLYROUTE_KEY", help="A key of that gateway.", show_default=False)
]
UseSandbox = Annotated[
    bool, typer.Option("--sandbox", help="Ask simulated providers, started beside it (only without --url).")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Where the result is written (the first of its artifacts).")
]
Keep = Annotated[Path | None, typer.Option("--artifacts", help="A folder for what every step made.")]

_LOOK = 0.4
_LOOKS, _PAUSE = 20, 1.0
"""How often, and after how many seconds, a gateway is asked again that does not answer while it works."""
_LARGEST_ANSWER = 64 << 20
_DOWNLOAD = 600.0
_SUFFIXES = {"jpeg": "jpg", "mpeg": "mp3", "quicktime": "mov", "x-wav": "wav", "plain": "txt", "x-matroska": "mkv"}


@pipelines_app.command("run")
def pipeline_run(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The pipeline, as YAML.")],
    given: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="NAME=VALUE", help="What the pipeline takes; may be repeated."),
    ] = None,
    output: Output = None,
    artifacts: Keep = None,
    url: Url = None,
    key: Key = None,
    sandbox: UseSandbox = False,
    config: Config = None,
) -> None:
    """Run a pipeline and wait for it. Interrupted, it goes on where a gateway works; `resume` takes it up again here."""
    body = {**read_file(file), "input": _inputs(given or [])}
    asyncio.run(_run(("POST", "/v1/pipelines", body), url, key, config, output, artifacts, sandbox=sandbox))


@pipelines_app.command("resume")
def pipeline_resume(
    pipeline: Annotated[str, typer.Argument(help="Its id.")],
    output: Output = None,
    artifacts: Keep = None,
    url: Url = None,
    key: Key = None,
    sandbox: UseSandbox = False,
    config: Config = None,
) -> None:
    """Take a pipeline up again that failed or was interrupted: what is done is kept."""
    asyncio.run(
        _run(("POST", f"/v1/pipelines/{pipeline}/resume", None), url, key, config, output, artifacts, sandbox=sandbox)
    )


@pipelines_app.command("show")
def pipeline_show(
    pipeline: Annotated[str, typer.Argument(help="Its id.")], url: Url = None, key: Key = None, config: Config = None
) -> None:
    """Show a pipeline with its steps, as JSON."""
    import json  # noqa: PLC0415

    async def look() -> dict[str, Any]:
        async with _gateway(url, key, config, sandbox=False, working=False) as gateway:
            return await gateway.ask("GET", f"/v1/pipelines/{pipeline}")

    typer.echo(json.dumps(asyncio.run(look()), indent=2))


def read_file(file: Path) -> dict[str, Any]:
    """The declaration of a YAML file; ends the command when it is none."""
    import yaml  # noqa: PLC0415 - `--help` must not load everything

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        _end(f"{file}: {error}")
    if not isinstance(values, dict):
        _end(f"{file}: a pipeline is a mapping with 'steps'")
    return values


def _inputs(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in given:
        name, equals, value = one.partition("=")
        if not equals:
            _end(f"--input {one}: it must be NAME=VALUE")
        found[name.strip()] = value
    return found


class _Gateway:
    """A gateway at an address."""

    def __init__(self, url: str, key: str | None, transport: ClientTransport) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._transport = transport

    async def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One call; ends the command with the gateway's words when it refuses. Looking is tried again for a while: a gateway
        that is started anew goes on with its pipelines."""
        import msgspec  # noqa: PLC0415

        from polyroute.ports import WireRequest  # noqa: PLC0415
        from polyroute.types.errors import AttemptFailed  # noqa: PLC0415

        headers = [(b"content-type", b"application/json"), *self._signed()]
        data = b"" if body is None else msgspec.json.encode(body)
        request = WireRequest(method, self._url + path, headers, data)
        for left in reversed(range(_LOOKS if method == "GET" else 1)):
            try:
                status, text = await self._once(request)
            except AttemptFailed as failed:
                if not left:
                    _end(f"{self._url} does not answer: {failed.failure.message}")
                await asyncio.sleep(_PAUSE)
            else:
                break
        try:
            told = msgspec.json.decode(text)
        except msgspec.DecodeError:
            _end(f"{self._url} does not speak as Polyroute does (status {status})")
        if status >= 300:
            error = told.get("error", {}) if isinstance(told, dict) else {}
            _end(f"{error.get('message') or text[:500].decode(errors='replace')}")
        found: dict[str, Any] = told
        return found

    async def _once(self, request: WireRequest) -> tuple[int, bytes]:
        from polyroute.ports import Timeouts  # noqa: PLC0415

        until = asyncio.get_running_loop().time() + 60
        response = await self._transport.send(request, Timeouts(), until)
        return response.status, await response.read(until, _LARGEST_ANSWER)

    async def save(self, url: str, file: Path) -> None:
        """Write what lies at a signed address of the gateway to a file."""
        from urllib.parse import urlsplit  # noqa: PLC0415

        from polyroute.ports import Timeouts, WireRequest  # noqa: PLC0415
        from polyroute.types.errors import AttemptFailed  # noqa: PLC0415

        parts = urlsplit(url)
        until = asyncio.get_running_loop().time() + _DOWNLOAD
        request = WireRequest("GET", f"{self._url}{parts.path}?{parts.query}", self._signed(), b"")
        try:
            response = await self._transport.send(request, Timeouts(), until)
            if response.status != 200:
                response.abort()
                _end(f"{url} cannot be read (status {response.status})")
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as target:
                while data := await response.receive(until):
                    target.write(data)
        except AttemptFailed as failed:
            _end(f"{url} cannot be read: {failed.failure.message}")

    def _signed(self) -> list[tuple[bytes, bytes]]:
        return [] if self._key is None else [(b"authorization", b"Bearer " + self._key.encode())]


@asynccontextmanager
async def _gateway(
    url: str | None, key: str | None, config: Path | None, *, sandbox: bool, working: bool = True
) -> AsyncIterator[_Gateway]:
    """The gateway that was named, or one in this process that listens on this machine alone."""
    from polyroute.cli.serving import local_gateway  # noqa: PLC0415
    from polyroute.transport.client import ClientTransport  # noqa: PLC0415

    transport = ClientTransport()
    try:
        if url is not None:
            yield _Gateway(url, key, transport)
        else:
            async with local_gateway(read_settings(config), sandbox=sandbox, working=working) as address:
                yield _Gateway(address, None, transport)
    finally:
        await transport.aclose()


async def _run(
    order: tuple[str, str, Mapping[str, Any] | None], url: str | None, key: str | None, config: Path | None,
    output: Path | None, folder: Path | None, *, sandbox: bool,
) -> None:  # fmt: skip
    async with _gateway(url, key, config, sandbox=sandbox) as gateway:
        told = await gateway.ask(*order)
        typer.echo(f"pipeline {told['id']}", err=True)
        told = await _follow(gateway, told)
        if folder is not None:
            await _save_all(gateway, told, folder)
        if told["status"] != "succeeded":
            error = told.get("error", {})
            _end(f"the pipeline is {told['status']}: {error.get('message', told.get('note', ''))}")
        made = told.get("artifacts") or []
        if output is not None and made:
            await gateway.save(made[0]["url"], output)
            typer.echo(f"{output}: {_about(made[0])}")
        elif "text" in told:
            typer.echo(told["text"])
        else:
            for one in made:
                typer.echo(f"{one['id']}: {_about(one)}")


def _about(artifact: Mapping[str, Any]) -> str:
    size = f"{artifact['width']}x{artifact['height']}" if "width" in artifact else None
    lasts = f"{artifact['duration']:.2f} s" if "duration" in artifact else None
    simulated = "simulated" if artifact.get("simulated") else None
    return ", ".join(filter(None, (artifact["media_type"], size, lasts, f"{artifact['size']} bytes", simulated)))


async def _save_all(gateway: _Gateway, told: Mapping[str, Any], folder: Path) -> None:
    for step in told["steps"]:
        for number, artifact in enumerate(step.get("artifacts", ())):
            kind = artifact["media_type"].partition(";")[0].rpartition("/")[2]
            name = step["id"] + (f"-{number + 1}" if number else "")
            await gateway.save(artifact["url"], folder / f"{name}.{_SUFFIXES.get(kind, kind)}")
        if "text" in step:
            _write_text(folder / f"{step['id']}.txt", step["text"])


def _write_text(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", encoding="utf-8")


async def _follow(gateway: _Gateway, told: dict[str, Any]) -> dict[str, Any]:
    """The pipeline when nothing happens to it any more; shows a bar for each step on a terminal, else a line."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f}%"),
        TextColumn("{task.fields[note]}"), TimeElapsedColumn(),
    )  # fmt: skip
    seen: dict[str, str] = {}
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        rows: dict[str, TaskID] = {}
        while True:
            _show(told, progress, rows)
            for step in told.get("steps", ()):
                if not console.is_terminal and seen.get(step["id"]) != step["status"] != "waiting":
                    console.print(
                        f"{step['id']}: {step['status']} {_note(step)}".rstrip(), highlight=False, markup=False
                    )
                seen[step["id"]] = step["status"]
            if told["status"] not in ("queued", "running"):
                return told
            await asyncio.sleep(_LOOK)
            told = await gateway.ask("GET", f"/v1/pipelines/{told['id']}")


def _show(told: Mapping[str, Any], progress: Progress, rows: dict[str, TaskID]) -> None:
    for step in told.get("steps", ()):
        name = step["id"]
        if name not in rows:
            rows[name] = progress.add_task(f"{name} [dim]{step['task']}[/dim]", total=100, start=False, note="")
        if step["status"] == "running":
            progress.start_task(rows[name])
        over = step["status"] in ("succeeded", "skipped")
        progress.update(rows[name], completed=100 if over else step.get("percent", 0), note=_note(step))
        if step["status"] not in ("waiting", "running"):
            progress.stop_task(rows[name])


def _note(step: Mapping[str, Any]) -> str:
    if "error" in step:
        return f"{step['status']}: {step['error']['message']}"
    return "" if "provider" not in step else f"{step['provider']}/{step.get('provider_model', '')}"


def _end(message: str) -> NoReturn:
    typer.echo(f"polyroute: {message}", err=True)
    raise typer.Exit(1)
