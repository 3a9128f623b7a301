"""Services on one's own machines: whether they run, whether they answer, and what is wrong where they do not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from polyroute.engine.media.inputs import Inputs
from polyroute.engine.media.lane import MediaFloor
from polyroute.engine.media.wire import ProviderWire
from polyroute.engine.runtime import LiveProvider
from polyroute.ports import Timeouts, Transport
from polyroute.ports.services import ContainerEngine, ContainerState
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.health import ServiceHealth
from polyroute.types.media import MediaRequest, Task
from polyroute.types.operations import ProviderKind
from polyroute.types.plans import Target

_PATIENCE = 3.0
_STILL_LOADING = "it runs, and does not answer yet"


class ServiceDesk:
    """Looks at local services when asked. `containers` is None where no container engine can be reached."""

    def __init__(
        self, providers: Callable[[], dict[str, LiveProvider]], transport: Transport, floor: MediaFloor,
        containers: ContainerEngine | None,
    ) -> None:  # fmt: skip
        self._providers = providers
        self._transport = transport
        self._floor = floor
        self._containers = containers

    def names(self) -> list[str]:
        """The local providers that are on."""
        return [name for name, provider in self._providers().items() if _is_local(provider)]

    async def report(self) -> tuple[ServiceHealth, ...]:
        """All of them, asked at the same time."""
        local = [provider for provider in self._providers().values() if _is_local(provider)]
        return tuple(await asyncio.gather(*(self._look(provider) for provider in local)))

    async def look(self, name: str) -> ServiceHealth:
        """One of them. Raises PolyrouteError (not_found)."""
        return await self._look(self._local(name))

    async def start(self, name: str) -> ServiceHealth:
        """Start its container. Raises PolyrouteError."""
        return await self._change(name, starts=True)

    async def stop(self, name: str) -> ServiceHealth:
        """Stop its container. Raises PolyrouteError."""
        return await self._change(name, starts=False)

    async def _change(self, name: str, *, starts: bool) -> ServiceHealth:
        provider = self._local(name)
        container = provider.row.options.get("container")
        if not container:
            raise PolyrouteError(
                ErrorKind.INVALID_REQUEST, f"{name} has no container: name it as providers.{name}.options.container",
                param="provider",
            )  # fmt: skip
        if self._containers is None:
            raise PolyrouteError(
                ErrorKind.UNAVAILABLE,
                "no container engine can be reached: set DOCKER_HOST, or mount /var/run/docker.sock",
            )
        try:
            await (self._containers.start if starts else self._containers.stop)(str(container))
        except AttemptFailed as failed:
            raise PolyrouteError(failed.failure.kind, failed.failure.message) from failed
        return await self._look(provider)

    def _local(self, name: str) -> LiveProvider:
        provider = self._providers().get(name)
        if provider is None or not _is_local(provider):
            names = ", ".join(self.names()) or "none"
            raise PolyrouteError(
                ErrorKind.NOT_FOUND, f"no local service {name!r} is on; those that are: {names}", param="provider"
            )
        return provider

    async def _look(self, provider: LiveProvider) -> ServiceHealth:
        name, container = provider.row.name, provider.row.options.get("container")
        state: ContainerState | None = None
        unseen: str | None = None
        if container and self._containers is not None:
            try:
                state = await self._containers.inspect(str(container))
            except AttemptFailed as failed:
                unseen = failed.failure.message
            else:
                if state is None:
                    return ServiceHealth(
                        provider=name, running=False, healthy=False, state="not_installed", container=str(container),
                        error=f"there is no container {container!r}",
                    )  # fmt: skip
        wrong = await self._probe(provider) if state is None or state.status == "running" else "it does not run"
        told, running, error = judge_service(state, wrong)
        return ServiceHealth(
            provider=name, running=running, healthy=told == "ready", state=told, error=error or unseen,
            container=None if not container else str(container),
        )  # fmt: skip

    async def _probe(self, provider: LiveProvider) -> str | None:
        """None when the service answers, else what is wrong."""
        row = provider.row
        if not row.endpoints:
            return None
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        inputs = Inputs(self._floor.storage, MediaRequest(task=Task.COMPOSE), None)
        wire = ProviderWire(
            provider, row.endpoints[0], Target(row.name, ""), provider.credentials[0] if provider.credentials else None,
            self._transport, inputs, sockets=self._floor.sockets, timeouts=Timeouts(connect=2.0, headers=_PATIENCE),
            deadline=deadline,
        )  # fmt: skip
        own = getattr(provider.media, "healthy", None)
        try:
            async with asyncio.timeout(_PATIENCE):
                if own is not None:
                    found: str | None = await own(wire)
                    return found
                await wire.call("GET", row.models_path or "/", accept=(401, 403, 404))
        except AttemptFailed as failed:
            return failed.failure.message
        except TimeoutError:
            return f"no answer within {_PATIENCE:g} seconds"
        finally:
            await inputs.aclose()
        return None


def judge_service(state: ContainerState | None, wrong: str | None) -> tuple[str, bool, str | None]:
    """(what it is, whether it runs, what is wrong) of what its container and its own answer say."""
    if state is None:
        return ("ready", True, None) if wrong is None else ("unreachable", False, wrong)
    match state.status:
        case "restarting":
            return "crash_looping", False, f"its container has been restarted {state.restarts} times"
        case "running":
            if state.health == "unhealthy":
                return "unhealthy", True, state.told or wrong or "its health check fails"
            if wrong is None:
                return "ready", True, None
            if state.health == "starting":
                return "starting", True, _STILL_LOADING
            return "running_not_ready", True, f"{_STILL_LOADING}: {wrong}"
        case "paused":
            return "paused", False, "its container is paused"
    code = "" if state.exit_code is None else f" with {state.exit_code}"
    return "stopped", False, state.told or f"its container is {state.status}{code}"


def _is_local(provider: LiveProvider) -> bool:
    return provider.row.kind is ProviderKind.LOCAL and provider.row.enabled
