"""Taking a job's inputs: fetched, looked at and kept before anybody is asked; and what only a look at them shows."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from polyroute.compose.sources import input_of, source_names, with_sources
from polyroute.compose.timeline import parse_timeline
from polyroute.engine.gateway import Gateway
from polyroute.engine.media.inputs import Inputs
from polyroute.engine.media.lane import MediaFloor
from polyroute.engine.media.wire import ProviderWire
from polyroute.engine.runtime import LiveProvider
from polyroute.ports import Looking, Timeouts
from polyroute.types.artifacts import Artifact
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.jobs import JobOrder
from polyroute.types.media import MediaInput, MediaRequest, Task
from polyroute.types.operations import MEDIA_DIALECT_OF
from polyroute.types.plans import Target

_PATIENCE = Timeouts(connect=3.0, headers=10.0, idle=10.0, total=15.0)
_TELLING = frozenset({ErrorKind.INVALID_REQUEST, ErrorKind.UNSUPPORTED})


class Fit(msgspec.Struct, frozen=True):
    """The first target that a request fits, and who would make it; `alone`: there is no other."""

    target: Target
    provider: LiveProvider
    model: str
    maker: object
    request: MediaRequest
    alone: bool


async def take_inputs(
    request: MediaRequest, order: JobOrder, floor: MediaFloor, *, anything: bool = False
) -> MediaRequest:
    """The request with its inputs in the store, where they are kept until the job must have ended. Raises PolyrouteError
    naming the field. `anything`: an operator may name what is others'."""
    if not request.inputs and request.timeline is None:
        return request
    inputs = Inputs(floor.storage, request, order.key_id, anything=anything)

    async def take(item: MediaInput) -> Artifact:
        artifact = await inputs.artifact(item)
        await floor.storage.artifacts.keep(artifact.id, order.deadline)
        await floor.storage.artifacts.own(artifact.id, order.key_id)
        return artifact

    try:
        taken: list[MediaInput] = []
        for item in request.inputs:
            artifact = await take(item)
            kept = item
            if item.url is None or item.url.startswith("data:"):
                kept = msgspec.structs.replace(item, url=None, artifact=artifact.id, media_type=artifact.media_type)
            taken.append(kept)
        timeline = request.timeline
        if timeline is not None and request.task is Task.COMPOSE:
            parsed, others = parse_timeline(timeline), dict[str, str]()
            for source, name in source_names(parsed).items():
                item = input_of(source, request, name)
                if isinstance(source, str):
                    others[source] = (await _named(take, item, name)).id
            timeline = with_sources(timeline, others)
    finally:
        await inputs.aclose()
    return msgspec.structs.replace(request, inputs=tuple(taken), timeline=timeline)


async def _named(take: Callable[[MediaInput], object], item: MediaInput, name: str) -> Artifact:
    """The input, in errors under the name of its field."""
    try:
        return await take(item)  # type: ignore[misc, no-any-return] # the coroutine function above
    except PolyrouteError as error:
        error.message = error.message.replace(f"'{item.role}'", f"'{name}'")
        error.param = name
        raise


async def look(fit: Fit, request: MediaRequest, order: JobOrder, gateway: Gateway, floor: MediaFloor) -> None:
    """What the one who would make it sees on a closer look. Raises PolyrouteError: `invalid_request`, or `unsupported` where
    nobody else is left. What cannot be seen now shows when the job is done."""
    maker, provider = fit.maker, fit.provider
    if not isinstance(maker, Looking):
        return
    endpoint = next(
        (one for operation, dialect in MEDIA_DIALECT_OF.items()
         if (one := provider.adapter.endpoint(operation, dialect)) is not None), None,
    )  # fmt: skip
    if endpoint is None:
        return
    inputs = Inputs(floor.storage, request, order.key_id)
    credential = provider.credentials[0] if provider.credentials else None
    deadline = asyncio.get_running_loop().time() + _PATIENCE.total
    wire = ProviderWire(
        provider, endpoint, fit.target, credential, gateway.transport, inputs, sockets=floor.sockets, timeouts=_PATIENCE,
        deadline=deadline,
    )  # fmt: skip
    try:
        await maker.look(request, fit.model, wire)
    except PolyrouteError as error:
        if error.kind is ErrorKind.INVALID_REQUEST or (error.kind in _TELLING and fit.alone):
            raise
    except AttemptFailed as failed:
        failure = failed.failure
        if failure.kind is ErrorKind.INVALID_REQUEST or (failure.kind in _TELLING and fit.alone):
            raise PolyrouteError(failure.kind, failure.message, param=failure.param) from failed
    finally:
        await inputs.aclose()
