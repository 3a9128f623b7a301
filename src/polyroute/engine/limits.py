"""The limits of keys and routes: a request that is over one is refused at once, before anything is planned."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from polyroute.ports import Call, Headers
from polyroute.routing.limits import Limiter, Minutes, Refused
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.limits import Limits
from polyroute.types.records import RequestRecord

_BYTES_PER_TOKEN = 4  # a common rule of thumb; the true count replaces it when the request ends
_MOST = 65_536
"""Limiters that are kept; beyond that, those without anything under way begin anew."""

_WORDS = {
    "requests": "requests a minute",
    "tokens": "tokens a minute",
    "concurrency": "requests at once",
    "credentials": "credentials",
}


def estimate_tokens(call: Call) -> int:
    """About how many tokens a call will use, before anybody counted."""
    body = call.body
    return max(1, (len(body) if isinstance(body, bytes) else body.length) // _BYTES_PER_TOKEN)


class Admitted:
    """A request's places under the limits of its key and its route; given back when the request ends."""

    __slots__ = ("_holder", "_tokens", "limiters")

    def __init__(self, limiters: list[Limiter], holder: str, tokens: int) -> None:
        self.limiters = limiters
        self._holder = holder
        self._tokens = tokens

    def end(self, record: RequestRecord) -> None:
        """The request is settled: its true tokens replace the estimate where they are known."""
        now = time.monotonic()
        counted = [
            record.input_tokens, record.cache_read_tokens, record.cache_write_5m_tokens, record.cache_write_1h_tokens,
            record.output_tokens,
        ]  # fmt: skip
        known = [tokens for tokens in counted if tokens is not None]
        actual = sum(known) if known else (0 if not record.attempts else None)
        for limiter in self.limiters:
            limiter.settle(self._holder, now, estimated=self._tokens, actual=actual)

    def headers(self, now: float) -> Headers:
        """`x-ratelimit-*` of the tightest."""
        return rate_headers(self.limiters, now)


class CallLimits:
    """The limiters of all keys and routes of this process, by `key ID` and `route NAME`."""

    def __init__(self) -> None:
        self.limiters: dict[str, Limiter] = {}
        self.earlier: dict[str, Minutes] = {}
        """What an earlier process knew of limiters that were not asked for yet."""
        self.introduce: Callable[[str, Limiter, float], None] | None = None
        """Tells a limiter that is new here what the other workers have let through."""
        self.refusals: dict[str, int] = {"key": 0, "route": 0}

    def admit(self, call: Call, route: str, route_limits: Limits | None, now: float) -> Admitted:
        """Places for a call whose key or route has limits. Raises PolyrouteError(over_limit), which takes nothing from
        any limit."""
        wanted: list[tuple[str, str, Limiter]] = []
        if call.key is not None and call.key.limits is not None:
            wanted.append(("key", call.key.name, self._limiter(f"key {call.key.id}", call.key.limits, now)))
        if route_limits is not None:
            wanted.append(("route", route, self._limiter(f"route {route}", route_limits, now)))
        tokens, limiters = estimate_tokens(call), [limiter for _, _, limiter in wanted]
        for kind, name, limiter in wanted:
            refused = limiter.check(tokens, now)
            if refused is not None:
                self.refusals[kind] += 1
                raise _refusal(kind, name, limiter, refused, limiters, now)
        for limiter in limiters:
            limiter.admit(call.id, tokens, now)
        return Admitted(limiters, call.id, tokens)

    def _limiter(self, name: str, limits: Limits, now: float) -> Limiter:
        found = self.limiters.get(name)
        if found is None or found.limits != limits:
            if len(self.limiters) >= _MOST:
                self.limiters = {key: one for key, one in self.limiters.items() if one.spent(now).under_way}
            found = self.limiters[name] = Limiter(limits)
            if self.earlier and (minutes := self.earlier.pop(name, None)) is not None:
                found.resume(minutes, now)
            if self.introduce is not None:
                self.introduce(name, found, now)
        return found


def _refusal(
    kind: str, name: str, limiter: Limiter, refused: Refused, limiters: list[Limiter], now: float
) -> PolyrouteError:
    limits: Mapping[str, int | None] = {
        "requests": limiter.limits.requests_per_minute,
        "tokens": limiter.limits.tokens_per_minute,
        "concurrency": limiter.limits.concurrency,
    }
    error = PolyrouteError(
        ErrorKind.OVER_LIMIT,
        f"The {kind} '{name}' may use {limits.get(refused.limit)} {_WORDS[refused.limit]}, and they are used up. "
        f"Ask again in {max(1, math.ceil(refused.retry_after))} s.",
        retry_after=max(refused.retry_after, 1.0),
    )
    error.headers = tuple(rate_headers(limiters, now))
    return error


def rate_headers(limiters: list[Limiter], now: float) -> Headers:
    """`x-ratelimit-limit-*`, `-remaining-*` and `-reset-*` (seconds) for requests and tokens: of the tightest limiter."""
    requests: list[tuple[int, int, float]] = []
    tokens: list[tuple[int, int, float]] = []
    for limiter in limiters:
        limits, left = limiter.limits, limiter.remaining(now)
        if limits.requests_per_minute is not None and left.requests is not None:
            requests.append((left.requests, limits.requests_per_minute, limiter.reset("requests", now)))
        if limits.tokens_per_minute is not None and left.tokens is not None:
            tokens.append((left.tokens, limits.tokens_per_minute, limiter.reset("tokens", now)))
    headers: Headers = []
    for name, found in ((b"requests", requests), (b"tokens", tokens)):
        if found:
            remaining, limit, reset = min(found)
            headers += [
                (b"x-ratelimit-limit-" + name, b"%d" % limit),
                (b"x-ratelimit-remaining-" + name, b"%d" % remaining),
                (b"x-ratelimit-reset-" + name, b"%ds" % math.ceil(reset)),
            ]
    return headers
