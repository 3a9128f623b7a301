"""What may be used: limits of keys, routes, providers and credentials."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key, a route, a provider or a credential may use; None is without limit."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrency: int | None = None

    def __post_init__(self) -> None:
        for name in ("requests_per_minute", "tokens_per_minute", "concurrency"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1")


class ProviderLimits(Limits, frozen=True, kw_only=True):
    """A provider's limits, and how many requests may wait for their turn (`queue`), each for how long (`queue_seconds`)."""

    queue: int = 100
    queue_seconds: float = 10.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.queue < 0 or self.queue_seconds < 0:
            raise ValueError("`queue` and `queue_seconds` must not be below 0")


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer's rate-limit headers say is left, and for how many seconds; None where they say nothing."""

    requests_left: int | None = None
    requests_reset: float | None = None
    tokens_left: int | None = None
    tokens_reset: float | None = None
