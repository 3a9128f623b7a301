"""What a caller is told of attempts that failed: one error out of all of them, and the end of a stream that broke off."""

from __future__ import annotations

import msgspec

from polyroute.dialects.registry import codec, is_chat
from polyroute.ports import Call
from polyroute.types.chat import ChatRequest
from polyroute.types.errors import ERROR_TABLE, AttemptFailed, ErrorKind, FailedAttempt, Failure, PolyrouteError


def all_failed(failures: list[tuple[FailedAttempt, Failure]], request_id: str) -> PolyrouteError:
    """The error of a request that no target could serve: it names each target and why.

    One kind among all attempts stays that kind; a fault of the caller's, or money, outweighs the rest, because no other
    target mends it; everything else is `unavailable`.
    """
    kinds = {failure.kind for _, failure in failures}
    last = failures[-1][1]
    if len(kinds) == 1 or ERROR_TABLE[last.kind].fault == "caller":
        kind = last.kind
    elif kinds <= {ErrorKind.RATE_LIMITED, ErrorKind.QUOTA_EXHAUSTED}:
        kind = ErrorKind.RATE_LIMITED
    else:
        kind = ErrorKind.UNAVAILABLE
    waits = [failure.retry_after for _, failure in failures if failure.retry_after is not None]
    told = dict.fromkeys(f"{tried.provider}/{tried.model}: {tried.message}" for tried, _ in failures)
    message = next(iter(told)) if len(told) == 1 else f"No target could serve this request. {' | '.join(told)}"
    return PolyrouteError(
        kind, message, param=last.param, code=last.code if len(kinds) == 1 else None,
        retry_after=min(waits) if waits else None, attempts=tuple(tried for tried, _ in failures),
        request_id=request_id,
    )  # fmt: skip


def broken_answer(tried: FailedAttempt, failure: Failure, request_id: str) -> PolyrouteError:
    """The error at the end of an answer that had already begun."""
    return PolyrouteError(
        failure.kind, f"{tried.provider}/{tried.model} broke off its answer: {failure.message}",
        param=failure.param, code=failure.code, attempts=(tried,), request_id=request_id,
    )  # fmt: skip


def render_stream_error(call: Call, error: PolyrouteError) -> bytes | None:
    """How a relayed stream that has begun says that it failed; None for media, which have no words for it."""
    if not is_chat(call.dialect):
        return None
    request = ChatRequest(model=call.model, messages=(), stream=True)
    return codec(call.dialect).renderer(request, call.id, 0).error(error)


def name_timer(failed: AttemptFailed, *, stream: bool) -> AttemptFailed:
    """Say which patience ran out, which the transport cannot know."""
    if failed.failure.kind is not ErrorKind.TIMEOUT:
        return failed
    what = "The provider sent no content in time." if stream else "The provider stopped sending."
    return AttemptFailed(msgspec.structs.replace(failed.failure, message=what))
