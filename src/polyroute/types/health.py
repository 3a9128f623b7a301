"""What operators are told of health, as values."""

from __future__ import annotations

from typing import Literal

import msgspec

Health = Literal["healthy", "degraded", "unhealthy"]


Buckets = dict[int, int]
"""Counts by the number of a latency's bucket."""


class AttemptTotals(msgspec.Struct, array_like=True):
    """Attempts of one provider and operation with one outcome, since counting began."""

    count: int = 0
    seconds: float = 0.0
    latency: Buckets = msgspec.field(default_factory=dict)


class Totals(msgspec.Struct, array_like=True):
    """Counters that only grow. Keys are joined by a tab: `attempts` by provider, operation, outcome and error kind;
    `ttft` and `tokens_in` and `tokens_out` by provider and operation; `requests` by operation and status."""

    attempts: dict[str, AttemptTotals] = msgspec.field(default_factory=dict)
    ttft: dict[str, AttemptTotals] = msgspec.field(default_factory=dict)
    tokens_in: dict[str, int] = msgspec.field(default_factory=dict)
    tokens_out: dict[str, int] = msgspec.field(default_factory=dict)
    cost_usd: dict[str, float] = msgspec.field(default_factory=dict)
    requests: dict[str, int] = msgspec.field(default_factory=dict)
    unmetered: int = 0
    """Requests that the ledger has no record of, because the journal was full."""


class Uptime(msgspec.Struct, frozen=True, kw_only=True):
    """How attempts at a provider went within a window. `success_rate` is in percent, None when there were none."""

    attempts: int
    failures: int
    success_rate: float | None


class Percentiles(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds, to within a tenth; None when nothing was seen."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class LastError(msgspec.Struct, frozen=True, kw_only=True):
    """The newest failure of a provider. `at` is in seconds since the epoch."""

    at: float
    kind: str
    message: str
    http_status: int | None = None


class BreakerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A breaker that is not closed and at ease. `retry_in` is in seconds."""

    name: str
    state: str
    cause: str | None
    openings: int
    retry_in: float


class CredentialHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A credential by its label, never its secret. `state` is `ready`, `benched` or, for some models only, `limited`;
    `benched_for` is in seconds."""

    label: str
    state: Literal["ready", "limited", "benched"]
    reason: str | None = None
    benched_for: float | None = None
    models: tuple[str, ...] = ()
    weight: float = 1.0
    requests_left: int | None = None
    tokens_left: int | None = None


class DrillHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that is rehearsed, and for how many more seconds."""

    fault: str
    operation: str | None
    ends_in: float


class ProbeHealth(msgspec.Struct, frozen=True, kw_only=True):
    """What a free probe found, in words and at which second since the epoch. `ok` is None where the answer says neither;
    `down`: the provider could not be reached, or failed."""

    at: float
    ok: bool | None
    down: bool
    told: str


class ProviderHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One provider. `reasons` say why it is not healthy; `uptime` is by window (`5m`, `1h`, `24h`); latency is that of
    served attempts within the last hour, `ttft` of streams' and answers' first content."""

    provider: str
    health: Health
    reasons: tuple[str, ...]
    active: int
    queued: int
    uptime: dict[str, Uptime]
    latency_ms: Percentiles
    ttft_ms: Percentiles
    last_error: LastError | None
    breakers: tuple[BreakerHealth, ...]
    credentials: tuple[CredentialHealth, ...]
    drill: DrillHealth | None
    probe: ProbeHealth | None = None


class LedgerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How the ledger stands on this machine. `writer` says whether one is there; what it has not said is None. `database`:
    whether it took the last rows; `error`: why it did not. `rows` and `bytes` wait in the journal, the oldest for
    `oldest_seconds`; `journal_bytes` is its room on the disk, `limit_bytes` how large that may grow, `when_full` what
    becomes of calls then. `unjournaled` wait in this worker's memory because the disk is full."""

    writer: bool
    database: bool | None
    rows: int | None
    bytes: int | None
    oldest_seconds: float | None
    written: int | None
    error: str | None
    journal_bytes: int
    limit_bytes: int
    when_full: str
    full: bool
    unjournaled: int


class ServiceHealth(msgspec.Struct, frozen=True, kw_only=True):
    """A service on one's own machines, as it answers now. `state`: ready, starting, running_not_ready, unhealthy, paused,
    crash_looping, stopped, not_installed or unreachable; `container` is the name that it was given, if any."""

    provider: str
    running: bool
    healthy: bool
    error: str | None
    state: str
    container: str | None = None


class HealthReport(msgspec.Struct, frozen=True, kw_only=True):
    """All providers that are on, as all workers of this machine see them together."""

    workers: int
    providers: tuple[ProviderHealth, ...]
    ledger: LedgerHealth | None = None
    services: tuple[ServiceHealth, ...] = ()


class Series(msgspec.Struct, frozen=True):
    """A histogram of seconds: how many were at most so long (`None`: all), by increasing bound, and their sum."""

    labels: tuple[str, ...]
    buckets: tuple[tuple[float | None, int], ...]
    total: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that metrics are made of, as all workers of this machine counted it together."""

    report: HealthReport
    totals: Totals
    durations: tuple[Series, ...]
    """Labelled by provider, operation and error kind."""
    first_tokens: tuple[Series, ...]
    """Labelled by provider and operation."""
    refusals: dict[str, int]
    """By `key` or `route`."""
