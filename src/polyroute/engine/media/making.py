"""Having something made by one provider: at once, as a stream, or handed over and waited for."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from pathlib import Path

import msgspec

from polyroute.engine.media.inputs import Storage, read_blocks, read_data_uri
from polyroute.engine.media.tracking import Tracker
from polyroute.engine.media.wire import ProviderWire
from polyroute.ports import FetchOrder, Immediate, Intake, Local, Queued
from polyroute.types.artifacts import Artifact, MediaFamily
from polyroute.types.errors import ERROR_TABLE, AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import OPERATION_OF_TASK, Handle, Made, MediaRequest, Outcome, Produced, Progress
from polyroute.types.operations import Operation
from polyroute.types.plans import Target

FAMILY_OF: dict[Operation, MediaFamily] = {
    Operation.IMAGE: "image", Operation.VIDEO: "video", Operation.SPEECH: "audio", Operation.MUSIC: "audio",
}  # fmt: skip
"""What has to come out; composing gives sound or a picture with it."""
_CANCEL_PATIENCE = 10.0
_VISIBLE_WITHIN = 15.0
"""Seconds for which accepted work may be unknown to the provider's own polls."""
_COLLECT_PAUSES = (0.3, 1.0, 3.0)
_COLLECT_AGAIN = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.TRUNCATED, ErrorKind.NOT_FOUND})
DEEPER = 1.5
"""By how much each wait between polls is longer than the one before."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt at a provider: what is wanted of which target, over which wire, who follows it, and the key that the
    results belong to."""

    request_id: str
    request: MediaRequest
    target: Target
    model: str
    credential: str | None
    wire: ProviderWire
    tracker: Tracker
    storage: Storage
    deadline: float
    simulated: bool
    owner: str | None = None


def idempotency_key(request_id: str, target: Target, spent: int = 0) -> str:
    """A UUID of version 4's form that is the same for every try of one target within one request, until accepted work
    failed for good."""
    digest = hashlib.blake2b(f"{request_id}\0{target}\0{spent}".encode(), digest_size=16).digest()
    return str(uuid.UUID(bytes=digest, version=4))


async def make(maker: Immediate | Queued | Local, order: Order) -> Made:
    """The stored results. Raises AttemptFailed; PolyrouteError for inputs that nobody can use."""
    if isinstance(maker, Local):
        return await store(await _work(maker, order), order)
    if isinstance(maker, Immediate):
        return await store(await _make_at_once(maker, order), order)
    handle, outcome = await _wait_for(maker, order)
    try:
        return await _collect(maker, handle, outcome, order)
    except AttemptFailed as failed:
        failure = failed.failure
        if failure.kind is ErrorKind.NOT_FOUND:  # an address that has expired is the provider's fault, not the caller's
            failure = msgspec.structs.replace(failure, kind=ErrorKind.BAD_RESPONSE)
        if handle is not None:
            await order.tracker.failed(failure)
        raise AttemptFailed(failure) from failed


async def _collect(maker: Queued, handle: Handle | None, outcome: Outcome, order: Order) -> Made:
    """The stored results. They are paid for: a download that fails is tried again, from the address that the provider
    gives then."""
    for pause in _COLLECT_PAUSES:
        try:
            return await store(outcome, order)
        except AttemptFailed as failed:
            if failed.failure.kind not in _COLLECT_AGAIN:
                raise
        await order.wire.pause(pause)
        if handle is not None and isinstance(state := await maker.poll(handle, order.wire), Outcome):
            outcome = state
    return await store(outcome, order)


async def _make_at_once(maker: Immediate, order: Order) -> Outcome:
    """A durable job notes that it asks, since an answer that was lost with the process may have been charged; only what
    our own machines make is made again."""
    if order.tracker.durable:
        key = idempotency_key(order.request_id, order.target, order.tracker.spent)
        await order.tracker.submitting(order.target, order.credential, key, resubmits=order.wire.is_local)
    return await maker.make(order.request, order.model, order.wire)


async def _work(maker: Local, order: Order) -> Outcome:
    """Done here, so that nobody has to be asked what became of it: it is begun again where it was begun before."""
    key = idempotency_key(order.request_id, order.target, order.tracker.spent)
    await order.tracker.submitting(order.target, order.credential, key, resubmits=True)
    request = msgspec.structs.replace(order.request, idempotency_key=key)
    try:
        async with asyncio.timeout_at(order.deadline):
            return await maker.work(request, order.model, order.wire, order.tracker.progress)
    except TimeoutError:
        raise AttemptFailed(
            Failure(kind=ErrorKind.TIMEOUT, message="The work was not finished in time.")
        ) from None  # fmt: skip


async def _wait_for(maker: Queued, order: Order) -> tuple[Handle | None, Outcome]:
    """What came of it, with the handle of work that was not done at once."""
    tracker, wire = order.tracker, order.wire
    key = idempotency_key(order.request_id, order.target, tracker.spent)
    handle = await tracker.submitting(order.target, order.credential, key, resubmits=maker.resubmits)
    if handle is None:
        request = msgspec.structs.replace(order.request, idempotency_key=key)
        try:
            submitted = await maker.submit(request, order.model, wire)
        except AttemptFailed as failed:
            if failed.failure.kind is not ErrorKind.UNKNOWN_OUTCOME:
                await tracker.refused()
            raise
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
            message = "The provider's answer to the order cannot be read; whether it began the work is unknown."
            unknown = Failure(kind=ErrorKind.UNKNOWN_OUTCOME, message=message, detail=repr(error)[:500])
            raise AttemptFailed(unknown) from error
        if isinstance(submitted, Outcome):
            return None, submitted
        handle = submitted
        await _keep(tracker, handle)
    try:
        return handle, await _poll(maker, handle, order)
    except AttemptFailed as failed:
        if failed.failure.kind is ErrorKind.TIMEOUT:
            await _cancel(maker, handle, wire)
        if failed.failure.kind is not ErrorKind.UNKNOWN_OUTCOME:
            await tracker.failed(failed.failure)
        raise
    except asyncio.CancelledError:
        if not tracker.durable:
            await asyncio.shield(_cancel(maker, handle, wire))
        raise


async def _keep(tracker: Tracker, handle: Handle) -> None:
    """Nothing may come between acceptance and its record."""
    await asyncio.shield(asyncio.ensure_future(tracker.accepted(handle)))


async def _poll(maker: Queued, handle: Handle, order: Order) -> Outcome:
    loop = asyncio.get_running_loop()
    wait, longest = maker.pace
    wait = handle.first_poll if handle.first_poll is not None else wait
    visible_by = loop.time() + wait + _VISIBLE_WITHIN
    while True:
        if loop.time() + wait >= order.deadline:
            raise AttemptFailed(Failure(kind=ErrorKind.TIMEOUT, message="The provider did not finish in time."))
        await order.tracker.woken(wait)
        try:
            state = await maker.poll(handle, order.wire)
        except AttemptFailed as failed:
            if failed.failure.http_status == 404 and loop.time() < visible_by:
                continue  # accepted, and not known everywhere at the provider yet
            if failed.failure is not order.wire.unanswered:
                raise
            # The poll failed, not the work: that goes on at the provider, and nobody else may be asked for it meanwhile.
            if ERROR_TABLE[failed.failure.kind].fault == "operator":
                raise AttemptFailed(_out_of_sight(failed.failure)) from failed
            wait = max(failed.failure.retry_after or 0.0, min(max(wait, maker.pace[0]) * DEEPER, longest))
            continue
        if isinstance(state, Outcome):
            return state
        await order.tracker.progress(state)
        wait = _next_wait(state, wait, maker.pace[0], longest)


def _out_of_sight(failure: Failure) -> Failure:
    message = f"{failure.message} The work that it had accepted goes on, and what becomes of it cannot be seen"
    return msgspec.structs.replace(failure, kind=ErrorKind.UNKNOWN_OUTCOME, message=message)


def _next_wait(state: Progress, wait: float, first: float, longest: float) -> float:
    if state.poll_after is not None:
        return max(state.poll_after, 0.05)
    return min(max(wait, first) * DEEPER, longest)


async def _cancel(maker: Queued, handle: Handle, wire: ProviderWire) -> None:
    """Tell the provider that nobody waits any more; what cannot be told runs out by itself."""
    try:
        async with asyncio.timeout(_CANCEL_PATIENCE):
            await maker.cancel(handle, wire)
    except (AttemptFailed, TimeoutError):
        return


# ---------------------------------------------------------------- results


async def store(outcome: Outcome, order: Order) -> Made:
    """Results are copied into the artifact store at once: providers' addresses expire."""
    artifacts = [await _stored(item, order) for item in outcome.produced]
    if not artifacts and outcome.text is None and outcome.transcript is None and outcome.voice is None:
        raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message="The provider produced nothing."))
    revised = tuple(item.revised_prompt for item in outcome.produced)
    return Made(
        artifacts=tuple(artifacts),
        text=outcome.text if outcome.text is not None else outcome.transcript.text if outcome.transcript else None,
        transcript=outcome.transcript,
        voice=outcome.voice,
        usage=outcome.usage,
        revised_prompts=revised if any(revised) else (),
        notes=outcome.notes,
    )


async def _stored(item: Produced, order: Order) -> Artifact:
    family = FAMILY_OF.get(OPERATION_OF_TASK[order.request.task])
    intake = Intake(
        origin=f"{order.target.provider} {order.request_id}", expected=family, declared=item.media_type,
        simulated=order.simulated, owner=order.owner,
    )  # fmt: skip
    if item.data is not None:
        return await order.storage.artifacts.put(item.data, intake)
    if item.path is not None:
        return await order.storage.artifacts.put(read_blocks(Path(item.path)), intake)
    url = item.url or ""
    if url.startswith("data:"):
        from_uri, declared = _data_of(url)
        return await order.storage.artifacts.put(from_uri, msgspec.structs.replace(intake, declared=declared))
    headers = order.wire.headers_for(url) if item.authenticated else []
    trusted = (order.wire.base_url,) if order.wire.may_be_private else ()
    return await order.storage.fetcher.fetch(FetchOrder(url=url, intake=intake, headers=headers, trusted=trusted))


def _data_of(uri: str) -> tuple[bytes, str | None]:
    try:
        return read_data_uri(uri, "result")
    except PolyrouteError as error:
        raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message="The provider's result is broken.")) from error
