"""Outage rehearsal: faults put in front of a provider inside the gateway, so that fallback can be seen to work before it
must. A drill ends by itself, whoever started it and whatever became of them."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec

from polyroute.ports import Adapter, Call, Timeouts
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.operations import Operation

FaultName = Literal["status", "timeout", "reset", "slow"]

_DURATION = re.compile(r"^(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?$")

LONGEST = 86_400.0
"""Seconds that a drill may last: one that is forgotten is over tomorrow."""


class Drill(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fault at a provider until a moment (seconds since the epoch). `status` belongs to the fault `status`, `seconds` to
    `slow`; `operation` None means all."""

    provider: str
    fault: FaultName
    since: float
    until: float
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] = 503
    seconds: Annotated[float, msgspec.Meta(ge=0, le=600)] = 5.0
    operation: Operation | None = None

    @property
    def described(self) -> str:
        """In a few words: `503`, `slow (5 s)`."""
        if self.fault == "status":
            return str(self.status)
        return f"slow ({self.seconds:g} s)" if self.fault == "slow" else self.fault


Drills = Mapping[str, Drill]
"""By provider; empty when nothing is rehearsed, which is the usual case."""

NO_DRILLS: Drills = {}


def parse_fault(text: str) -> tuple[FaultName, int]:
    """`503`, `timeout`, `reset` or `slow` → the fault and its status. Raises ValueError with what is right."""
    match text:
        case "timeout" | "reset" | "slow":
            return text, 503
        case _ if text.isdigit() and 400 <= int(text) <= 599:
            return "status", int(text)
        case _:
            raise ValueError(f"a fault is a status of 400 to 599, timeout, reset or slow, not {text!r}")


def make_drill(
    provider: str, fault: str, lasts: str, *, seconds: float = 5.0, operation: Operation | None = None
) -> Drill:
    """A drill that begins now. Raises PolyrouteError(invalid_request) naming the field."""
    try:
        kind, status = parse_fault(fault)
    except ValueError as error:
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, str(error), param="fault") from error
    length = parse_duration(lasts)
    if length is None or not 0 < length <= LONGEST:
        raise PolyrouteError(
            ErrorKind.INVALID_REQUEST, f"a drill lasts like 30s, 5m or 1h, at most a day, not {lasts!r}", param="for"
        )
    now = time.time()
    return Drill(
        provider=provider, fault=kind, since=now, until=now + length, status=status, seconds=seconds,
        operation=operation,
    )  # fmt: skip


def parse_duration(text: str) -> float | None:
    """`90`, `90s`, `5m`, `1h30m` as seconds; None for anything else."""
    found = _DURATION.match(text.strip())
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


async def rehearse(
    drills: Drills, provider: str, call: Call, adapter: Adapter, timeouts: Timeouts, deadline: float
) -> None:
    """Fail, or be slow, where a drill says so. Raises AttemptFailed, whose message says that it is a drill."""
    drill = drills.get(provider)
    if drill is None or drill.operation not in (None, call.operation):
        return
    left = drill.until - time.time()
    if left <= 0:
        return
    loop = asyncio.get_running_loop()
    match drill.fault:
        case "status":
            failure = adapter.classify(drill.status, [], b"")
            wait = left if failure.kind in (ErrorKind.CREDENTIAL_REJECTED, ErrorKind.QUOTA_EXHAUSTED) else None
            raise AttemptFailed(
                Failure(
                    kind=failure.kind, message=f"Drill: {failure.message}", http_status=drill.status,
                    retry_after=wait,  # so that no credential is benched for longer than the drill lasts
                    detail="drill",
                )
            )  # fmt: skip
        case "reset":
            raise AttemptFailed(
                Failure(kind=ErrorKind.UNAVAILABLE, message="Drill: the connection was reset.", detail="drill")
            )
        case "slow" if drill.seconds < min(timeouts.headers, deadline - loop.time()):
            await asyncio.sleep(drill.seconds)
        case "slow" | "timeout":
            await asyncio.sleep(min(timeouts.headers, max(deadline - loop.time(), 0.0)))
            raise AttemptFailed(
                Failure(kind=ErrorKind.TIMEOUT, message="Drill: the provider did not answer in time.", detail="drill")
            )
