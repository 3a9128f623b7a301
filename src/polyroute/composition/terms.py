"""What the settings say, in the words of those who go by it."""

from __future__ import annotations

from polyroute.engine.content import ContentLog
from polyroute.engine.notifications import Webhook
from polyroute.routing.breaker import BreakerSettings
from polyroute.routing.credentials import BenchSettings
from polyroute.settings import Settings
from polyroute.storage.pruning import Retention


def webhooks_of(settings: Settings) -> tuple[Webhook, ...]:
    """Who is told of notifications."""
    return tuple(
        Webhook(hook.url, None if hook.secret is None else hook.secret.get_secret_value(), tuple(hook.events))
        for hook in settings.notifications.webhooks
    )


def content_log(settings: Settings) -> ContentLog | None:
    """What decides whether the ledger keeps content; None when it never does."""
    wanted = settings.content
    if not wanted.log and not any(route.log_content for route in settings.routes.values()):
        return None
    return ContentLog(everywhere=wanted.log, limit=wanted.max_kb << 10, redact=wanted.redact, known=wanted.redact_known)


def retention_of(settings: Settings) -> Retention:
    """For how long the ledger keeps what."""
    kept = settings.storage.retention
    return Retention(
        rows=kept.rows_days,
        content=kept.content_days,
        decisions=kept.decisions_days,
        minutes=kept.minute_rollups_days,
        quarters=kept.quarter_rollups_days,
        hours=kept.rollups_days,
    )


def bench_of(settings: Settings) -> BenchSettings:
    """How long a credential that was refused stays out of use."""
    return BenchSettings(**settings.defaults.bench.model_dump())


def breaker_of(settings: Settings) -> BreakerSettings:
    """When a provider's breaker opens, and for how long."""
    own = settings.defaults.breaker
    return BreakerSettings(
        failures=own.failures, failure_rate=own.failure_rate, minimum=own.minimum, window=own.window,
        cooldown=own.cooldown, longest_cooldown=max(900.0, own.cooldown),
    )  # fmt: skip
