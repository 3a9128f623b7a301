"""Having something made by one provider: at once, as a stream, or handed over and waited for."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import AsyncIterator
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
_UNREADABLE = (msgspec.MsgspecError, LookupError, TypeError, ValueError, AttributeError)
"""What makers stumble with over an answer that has not the shape that was due."""
_MOST_MISREAD = 3
"""Polls whose answer has not the shape that was due, before the work is taken for lost."""
_COLLECT_AGAIN = frozenset({ErrorKind.UNAVAILABLE, ErrorKind.TIMEOUT, ErrorKind.TRUNCATED, ErrorKind.NOT_FOUND})
DEEPER = 1.5
"""By how much each wait between polls is longer than the one before."""
_PACE_OF_SIMULATED = (0.05, 0.5)
"""The most that anybody waits for simulated work, which is done in a moment, unless its provider says otherwise."""


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
    handle, queued = None, None
    if isinstance(maker, Local):
        outcome = await _work(maker, order)
    elif isinstance(maker, Immediate):
        outcome = await _make_at_once(maker, order)
    else:
        queued = maker
        handle, outcome = await _wait_for(maker, order)
    try:
        return await (store(outcome, order) if queued is None else _collect(queued, handle, outcome, order))
    except AttemptFailed as failed:
        failure = failed.failure
        if ERROR_TABLE[failure.kind].fault == "caller":  # results are the provider's: an expired address, a broken file
            failure = msgspec.structs.replace(failure, kind=ErrorKind.BAD_RESPONSE, param=None)
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
    order.wire.waits_for_result = True
    try:
        return await maker.make(order.request, order.model, order.wire)
    except _UNREADABLE as error:
        raise AttemptFailed(_unreadable("The provider's answer is not what was due.", error)) from error


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
        except _UNREADABLE as error:
            message = "The provider's answer to the order cannot be read; whether it began the work is unknown."
            unknown = msgspec.structs.replace(_unreadable(message, error), kind=ErrorKind.UNKNOWN_OUTCOME)
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
    first, longest = maker.pace
    if order.simulated:
        first, longest = min(first, _PACE_OF_SIMULATED[0]), min(longest, _PACE_OF_SIMULATED[1])
    wait = handle.first_poll if handle.first_poll is not None else first
    visible_by = loop.time() + wait + _VISIBLE_WITHIN
    misread = 0
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
            wait = max(failed.failure.retry_after or 0.0, min(max(wait, first) * DEEPER, longest))
            continue
        except _UNREADABLE as error:  # what is no JSON at all is a proxy's page, and as good as no answer
            misread += not isinstance(error, msgspec.MsgspecError)
            if misread >= _MOST_MISREAD:
                message = "The provider's answers about the work cannot be read."
                raise AttemptFailed(_unreadable(message, error)) from error
            wait = min(max(wait, first) * DEEPER, longest)
            continue
        if isinstance(state, Outcome):
            return state
        await order.tracker.progress(state)
        wait = _next_wait(state, wait, first, longest)


def _unreadable(message: str, error: Exception) -> Failure:
    return Failure(kind=ErrorKind.BAD_RESPONSE, message=message, detail=repr(error)[:500])


def _out_of_sight(failure: Failure) -> Failure:
    message = f"{failure.message} The work that it had accepted goes on, and what becomes of it cannot be seen"
    return msgspec.structs.replace(failure, kind=ErrorKind.UNKNOWN_OUTCOME, message=message)


def _next_wait(state: Progress, wait: float, first: float, longest: float) -> float:
    if state.poll_after is not None:
        return max(state.poll_after, 0.05)
    return min(max(wait, first) * DEEPER, longest)


async def _cancel(maker: Queued, handle: Handle, wire: ProviderWire) -> None:
    """Tell the provider that nobody waits any more; what cannot be told runs out by itself."""
    wire.grant(_CANCEL_PATIENCE)
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
        return await _put(item.data, intake, order)
    if item.path is not None:
        return await _put(read_blocks(Path(item.path)), intake, order)
    url = item.url or ""
    if url.startswith("data:"):
        from_uri, declared = _data_of(url)
        return await _put(from_uri, msgspec.structs.replace(intake, declared=declared), order)
    headers = order.wire.headers_for(url) if item.authenticated else []
    trusted = (order.wire.base_url,) if order.wire.may_be_private or item.authenticated else ()
    return await order.storage.fetcher.fetch(FetchOrder(url=url, intake=intake, headers=headers, trusted=trusted))


async def _put(content: bytes | AsyncIterator[bytes], intake: Intake, order: Order) -> Artifact:
    try:
        return await order.storage.artifacts.put(content, intake)
    except PolyrouteError as error:
        if ERROR_TABLE[error.kind].fault != "caller":
            raise
        message = f"What the provider made cannot be used: {error.message}"
        raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message=message)) from error


def _data_of(uri: str) -> tuple[bytes, str | None]:
    try:
        return read_data_uri(uri, "result")
    except PolyrouteError as error:
        raise AttemptFailed(Failure(kind=ErrorKind.BAD_RESPONSE, message="The provider's result is broken.")) from error
