"""The Docker Engine API, as far as looking at, starting and stopping named containers goes (media.md 20)."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from polyroute.ports.services import ContainerState
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure

USUAL_SOCKET = "/var/run/docker.sock"
_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$")
_PATIENCE = 5.0
_STOP_PATIENCE = 30.0


def docker_address(given: str | None) -> str | None:
    """Where the engine is: `DOCKER_HOST`, else the usual socket where there is one."""
    if given:
        return given
    return f"unix://{USUAL_SOCKET}" if Path(USUAL_SOCKET).exists() else None


class DockerEngine:
    """Implements `ports.ContainerEngine` at `unix://`, `tcp://` or `http://`."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def inspect(self, name: str) -> ContainerState | None:
        """See `ports.ContainerEngine.inspect`."""
        status, told = await self._call("GET", f"/containers/{_checked(name)}/json")
        if status == 404:
            return None
        self._expect(status, told, 200)
        state = told.get("State") or {}
        health = state.get("Health") or {}
        log = health.get("Log") or []
        why = state.get("Error") or ("it ran out of memory" if state.get("OOMKilled") else None)
        if health.get("Status") == "unhealthy" and log:
            why = str(log[-1].get("Output") or "").strip()[:300] or why
        return ContainerState(
            status=str(state.get("Status") or "unknown"),
            health=None if health.get("Status") in (None, "none") else str(health["Status"]),
            exit_code=state.get("ExitCode") if not state.get("Running") else None,
            restarts=int(told.get("RestartCount") or 0), told=why or None,
        )  # fmt: skip

    async def start(self, name: str) -> bool:
        """See `ports.ContainerEngine.start`."""
        status, told = await self._call("POST", f"/containers/{_checked(name)}/start")
        self._expect(status, told, 204, 304)
        return status == 204

    async def stop(self, name: str) -> bool:
        """See `ports.ContainerEngine.stop`."""
        status, told = await self._call("POST", f"/containers/{_checked(name)}/stop?t=10", patience=_STOP_PATIENCE)
        self._expect(status, told, 204, 304)
        return status == 204

    async def _call(self, method: str, path: str, patience: float = _PATIENCE) -> tuple[int, dict[str, Any]]:
        scheme, _, rest = self._address.partition("://")
        connector: aiohttp.BaseConnector | None = None
        base = f"http://{rest.rstrip('/')}"
        if scheme == "unix":
            connector, base = aiohttp.UnixConnector(path=rest), "http://docker"
        elif scheme == "https":
            base = self._address.rstrip("/")
        try:
            async with (
                asyncio.timeout(patience),
                aiohttp.ClientSession(connector=connector) as session,
                session.request(method, base + path) as answer,
            ):
                told = await answer.json(content_type=None) if answer.status not in (204, 304) else {}
                return answer.status, told if isinstance(told, dict) else {}
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise AttemptFailed(
                Failure(
                    kind=ErrorKind.UNAVAILABLE,
                    message="The container engine cannot be reached.",
                    detail=repr(error)[:300],
                )
            ) from error

    def _expect(self, status: int, told: dict[str, Any], *good: int) -> None:
        if status in good:
            return
        kind = ErrorKind.NOT_FOUND if status == 404 else ErrorKind.UNAVAILABLE
        message = str(told.get("message") or f"status {status}")[:300]
        raise AttemptFailed(Failure(kind=kind, message=f"The container engine refused: {message}", http_status=status))


def _checked(name: str) -> str:
    if not _NAME.match(name):
        raise AttemptFailed(
            Failure(kind=ErrorKind.INVALID_REQUEST, message=f"{name[:80]!r} is no name of a container.")
        )
    return quote(name, safe="")
