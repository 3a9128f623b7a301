"""Containers that services on this machine run in."""

from __future__ import annotations

from typing import Protocol

import msgspec


class ContainerState(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of a container. `status` is created, running, paused, restarting, removing, exited or dead;
    `health` starting, healthy or unhealthy, None without a health check; `told` why it is as it is."""

    status: str
    health: str | None = None
    exit_code: int | None = None
    restarts: int = 0
    told: str | None = None


class ContainerEngine(Protocol):
    """Docker, or what answers like it. All methods raise AttemptFailed when it cannot be reached or refuses."""

    async def inspect(self, name: str) -> ContainerState | None:
        """None when there is no container of this name."""

    async def start(self, name: str) -> bool:
        """False when it was running already."""

    async def stop(self, name: str) -> bool:
        """False when it was not running."""
