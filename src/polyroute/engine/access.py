"""The way to one provider: which credential, within which limits, after which wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from itertools import count

from polyroute.ports import Credential
from polyroute.routing.credentials import CredentialPool, CredentialState
from polyroute.routing.limits import Limiter, Refused
from polyroute.types.errors import Failure
from polyroute.types.limits import ProviderLimits, Quota
from polyroute.types.records import AttemptRecord

_tickets = count(1)


class Ticket:
    """One attempt's leave to use a provider, with the credential to use; given back when the attempt ends."""

    __slots__ = ("credential", "holder", "state", "tokens")

    def __init__(self, credential: Credential | None, state: CredentialState | None, tokens: int) -> None:
        self.credential = credential
        self.state = state
        self.tokens = tokens
        self.holder = str(next(_tickets))


class Load:
    """A provider's requests under way and waiting, in this process."""

    __slots__ = ("active", "queued")

    def __init__(self) -> None:
        self.active = 0
        self.queued = 0


class ProviderAccess:
    """The credentials, limits and load of one provider in this process; what it knows survives a reload.

    `plain` says that there is nothing to decide: the one credential (or none) is simply used, with the ticket `open`, which
    need not be given back and from which nothing is learned.
    """

    __slots__ = ("_waiting", "limiter", "limits", "load", "open", "pool")

    def __init__(self, pool: CredentialPool, limits: ProviderLimits | None = None) -> None:
        self.pool = pool
        self.limits = limits
        self.limiter = None if limits is None else Limiter(limits)
        self.load = Load()
        self.open = Ticket(pool.sole, None, 0)
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def plain(self) -> bool:
        """Whether `open` is the ticket of everybody."""
        return self.pool.eased and self.limiter is None

    def inherit(self, earlier: ProviderAccess) -> None:
        """Take over what was known before the configuration was read again. Limits that changed begin anew: what is under
        way counts against the old ones only."""
        self.load = earlier.load
        self.pool.inherit(earlier.pool)
        if self.limits == earlier.limits:
            self.limiter = earlier.limiter
            self._waiting = earlier._waiting

    def watch(self, names: set[str], name: str) -> None:
        """From now on `name` is among `names` while there is something to decide."""
        if self.limiter is not None:
            names.add(name)
        else:
            self.pool.watch(names, name)

    def refusal(self, model: str, tokens: int, now: float) -> Refused | None:
        """What stands in the way of an attempt now; nothing is taken."""
        if self._waiting and self.limits is not None and self.limits.concurrency is not None:
            return Refused("concurrency", 1.0)
        if self.pool.states and not self.pool.has_free(model, tokens, now):
            return self._why_not(model, tokens, now, ())
        return None if self.limiter is None else self.limiter.check(tokens, now)

    # ---------------------------------------------------------------- one attempt

    def enter(
        self, model: str, tokens: int, now: float, random: float, used: Collection[str], *, last: bool
    ) -> Ticket | Refused:
        """Leave to begin an attempt now. `used` are labels of credentials that were tried for this request; `last` that no
        other target is left, so that a benched credential is better than none."""
        if self._waiting and self.limits is not None and self.limits.concurrency is not None:
            return Refused("concurrency", 1.0)  # others came first
        return self._enter(model, tokens, now, random, used, last=last)

    def holds(self, label: str | None) -> bool:
        """Whether there is a credential of this label (None: work that was begun without one)."""
        sole = self.open.credential
        return (
            label is None
            or (sole is not None and sole.label == label)
            or any(one.credential.label == label for one in self.pool.states)
        )

    def carry_on(self, label: str | None, now: float) -> Ticket | None:
        """Leave to go on with work that was begun with this credential, whatever the limits say by now; None when there is
        no such credential any more."""
        if label is None:
            return self.open if self.plain else Ticket(None, None, 0)
        if self.open.credential is not None and self.open.credential.label == label:
            ticket = Ticket(self.open.credential, None, 0)
        else:
            state = next((one for one in self.pool.states if one.credential.label == label), None)
            if state is None:
                return None
            ticket = Ticket(state.credential, state, 0)
        if self.limiter is not None:
            self.limiter.admit(ticket.holder, 0, now)
        return ticket

    def _enter(
        self, model: str, tokens: int, now: float, random: float, used: Collection[str], *, last: bool
    ) -> Ticket | Refused:
        pool, state = self.pool, None
        if pool.states:
            state = pool.choose(model, tokens, now, random, used)
            if state is None:
                refused = self._why_not(model, tokens, now, used)
                if refused.limit != "credentials" or not last:
                    return refused
                state = pool.least_bad(model, now, used)
                if state is None:
                    return refused
        if self.limiter is not None:
            refused_here = self.limiter.check(tokens, now)
            if refused_here is not None:
                return refused_here
        ticket = Ticket(None if state is None else state.credential, state, tokens)
        if state is not None and state.limiter is not None:
            state.limiter.admit(ticket.holder, tokens, now)
        if self.limiter is not None:
            self.limiter.admit(ticket.holder, tokens, now)
        return ticket

    def _why_not(self, model: str, tokens: int, now: float, used: Collection[str]) -> Refused:
        """Why no credential is free: the shortest wait among their limits, else that all are benched."""
        waits = [
            refused
            for state in self.pool.states
            if state.credential.label not in used
            and state.bench(model, now) is None
            and state.limiter is not None
            and (refused := state.limiter.check(tokens, now)) is not None
        ]
        if waits:
            return min(waits, key=lambda refused: refused.retry_after)
        comes_back = self.pool.least_bad(model, now, used)
        bench = None if comes_back is None else comes_back.bench(model, now)
        return Refused("credentials", max(bench.until - now, 0.0) if bench is not None else 0.0)

    async def queue(
        self, model: str, tokens: int, random: float, used: Collection[str], *, deadline: float
    ) -> Ticket | Refused:
        """Wait for one's turn, first come first served: at most `queue_seconds`, behind at most `queue` others."""
        loop = asyncio.get_running_loop()
        limits = self.limits or ProviderLimits()
        until = min(loop.time() + limits.queue_seconds, deadline)
        turn: asyncio.Future[None] = loop.create_future()
        if len(self._waiting) >= limits.queue:
            return self._enter(model, tokens, loop.time(), random, used, last=True)
        self._waiting.append(turn)
        self.load.queued += 1
        try:
            while True:
                now = loop.time()
                first = self._waiting[0] is turn
                found: Ticket | Refused = Refused("concurrency", 1.0)
                if first:
                    found = self._enter(model, tokens, now, random, used, last=True)
                if isinstance(found, Ticket) or now >= until or found.retry_after > until - now + 1.0:
                    return found
                if turn.done():
                    turn = self._renew(turn, loop)
                await asyncio.wait([turn], timeout=min(until - now, max(found.retry_after, 0.001)))
        finally:
            self.load.queued -= 1
            self._waiting.remove(turn)
            self._wake()

    def _renew(self, turn: asyncio.Future[None], loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """A turn that was called and came too early keeps its place."""
        place = self._waiting.index(turn)
        self._waiting[place] = fresh = loop.create_future()
        return fresh

    def _wake(self) -> None:
        """Tell the one who waits longest that something may be free."""
        if self._waiting and not self._waiting[0].done():
            self._waiting[0].set_result(None)

    def leave(self, ticket: Ticket, attempt: AttemptRecord, now: float) -> None:
        """An attempt ended: its places are free, and its true tokens replace the estimate where they are known."""
        actual = None
        if attempt.input_tokens is not None or attempt.output_tokens is not None:
            actual = (attempt.input_tokens or 0) + (attempt.output_tokens or 0)
        if ticket.state is not None and ticket.state.limiter is not None:
            ticket.state.limiter.settle(ticket.holder, now, estimated=ticket.tokens, actual=actual)
        if self.limiter is not None:
            self.limiter.settle(ticket.holder, now, estimated=ticket.tokens, actual=actual)
        self._wake()

    # ---------------------------------------------------------------- what became of it

    def fail(self, ticket: Ticket, model: str, failure: Failure, now: float) -> None:
        """The attempt failed; its credential is benched where that is the credential's doing."""
        if ticket.credential is not None:
            self.pool.fail(ticket.credential.label, model, failure, now)

    def succeed(self, ticket: Ticket, model: str, now: float, started: float) -> None:
        """The attempt that was `started` then was answered."""
        if ticket.credential is not None:
            self.pool.succeed(ticket.credential.label, model, now, started)

    def learn(self, ticket: Ticket, model: str, quota: Quota, now: float) -> None:
        """What an answer's headers say is left."""
        if ticket.credential is not None:
            self.pool.learn(ticket.credential.label, model, quota, now)
        if self.limiter is not None and len(self.pool.states) <= 1:
            if quota.requests_left is not None and quota.requests_reset is not None:
                self.limiter.learn("requests", quota.requests_left, quota.requests_reset, now)
            if quota.tokens_left is not None and quota.tokens_reset is not None:
                self.limiter.learn("tokens", quota.tokens_left, quota.tokens_reset, now)


WHY_NOT = {
    "requests": "its limit of requests a minute is reached",
    "tokens": "its limit of tokens a minute is reached",
    "concurrency": "as many requests are under way as may be",
    "credentials": "none of its credentials can be used now",
}
"""Refusals in words."""
