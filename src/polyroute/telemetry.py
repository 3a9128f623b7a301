"""Logs and metrics: the only module that knows their names, how they look and where they go.

Metrics take OpenTelemetry's GenAI names where it has one, spelled as Prometheus spells them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from polyroute.types.budgets import UNIT, BudgetLevel
from polyroute.types.health import HealthReport, LedgerHealth, Measured, Series
from polyroute.types.version import __version__

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"

_PROVIDER, _OPERATION, _ERROR = "gen_ai_provider_name", "gen_ai_operation_name", "error_type"
_HEALTH = {"healthy": 1.0, "degraded": 0.5, "unhealthy": 0.0}
_BREAKER = {"resting": 0.25, "half_open": 0.5, "open": 1.0}


def configure_logging() -> None:
    """Lines on standard error; the level is INFO for us and WARNING for everybody else."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    logging.getLogger("polyroute").setLevel(logging.INFO)


def render_metrics(measured: Measured) -> bytes:
    """Prometheus' text format. The client library is loaded when metrics are first asked for."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - see above

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(measured))
    rendered: bytes = generate_latest(registry)
    return rendered


class _Scrape:
    """One scrape's metrics, in the form in which the library wants them."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def describe(self) -> Iterable[Metric]:
        """The library asks for names when it registers; they come with the values."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - see render_metrics

        totals, report = self._measured.totals, self._measured.report
        build = GaugeMetricFamily("polyroute_build_info", "The version that runs.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield GaugeMetricFamily("polyroute_workers", "Worker processes that are present.", value=report.workers)
        yield _histogram(
            "gen_ai_client_operation_duration_seconds", "Attempts at providers, from sending to the end.",
            (_PROVIDER, _OPERATION, _ERROR), self._measured.durations,
        )  # fmt: skip
        yield _histogram(
            "gen_ai_server_time_to_first_token_seconds", "From sending to the first content of a stream.",
            (_PROVIDER, _OPERATION), self._measured.first_tokens,
        )  # fmt: skip
        tokens = CounterMetricFamily(
            "gen_ai_client_token_usage", "Tokens, of prompts and of answers.",
            labels=[_PROVIDER, _OPERATION, "gen_ai_token_type"],
        )  # fmt: skip
        for kind, counts in (("input", totals.tokens_in), ("output", totals.tokens_out)):
            for key, count in sorted(counts.items()):
                tokens.add_metric([*key.split("\t"), kind], count)
        yield tokens
        cost = CounterMetricFamily("polyroute_cost_usd", "Known cost, in US dollars.", labels=[_PROVIDER, _OPERATION])
        for key, amount in sorted(totals.cost_usd.items()):
            cost.add_metric(key.split("\t"), amount)
        yield cost
        requests = CounterMetricFamily("polyroute_requests", "Settled requests.", labels=[_OPERATION, "status"])
        for key, count in sorted(totals.requests.items()):
            requests.add_metric(key.split("\t"), count)
        yield requests
        refusals = CounterMetricFamily("polyroute_limit_refusals", "Requests refused by a limit.", labels=["limit"])
        refused = CounterMetricFamily("polyroute_budget_refusals", "Requests refused by a budget.", labels=["budget"])
        unchecked = CounterMetricFamily(
            "polyroute_budget_unchecked_requests",
            "Requests served while the budget could not be asked.",
            labels=["budget"],
        )
        for key, count in sorted(self._measured.refusals.items()):
            kind, _, budget = key.partition(" ")
            if not budget:
                refusals.add_metric([kind], count)
            else:
                (unchecked if kind == "unchecked" else refused).add_metric([budget], count)
        yield from (refusals, refused, unchecked)
        yield from _budgets(self._measured.budgets)
        yield CounterMetricFamily(
            "polyroute_unmetered_requests", "Requests without a record, because the journal was full.",
            value=totals.unmetered,
        )  # fmt: skip
        yield from _states(report)
        if report.ledger is not None:
            yield from _ledger(report.ledger)


def _budgets(levels: Sequence[BudgetLevel]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - see render_metrics

    labels = ["budget", "unit"]
    spent = GaugeMetricFamily("polyroute_budget_spent", "Spent in the current window.", labels=labels)
    held = GaugeMetricFamily(
        "polyroute_budget_held", "Held for requests under way, or leased by workers.", labels=labels
    )
    left = GaugeMetricFamily(
        "polyroute_budget_left", "What can still be admitted in the current window.", labels=labels
    )
    limit = GaugeMetricFamily("polyroute_budget_limit", "The amount.", labels=labels)
    for one in levels:
        name = [one.budget.id, "credits" if one.budget.in_credits else "USD"]
        for family, units in ((spent, one.spent), (held, one.held), (left, one.left), (limit, one.budget.limit)):
            family.add_metric(name, units / UNIT)
    yield from (spent, held, left, limit)


def _states(report: HealthReport) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - see render_metrics

    health = GaugeMetricFamily("polyroute_provider_health", "1 healthy, 0.5 degraded, 0 unhealthy.", labels=[_PROVIDER])
    active = GaugeMetricFamily("polyroute_active_attempts", "Attempts under way.", labels=[_PROVIDER])
    queued = GaugeMetricFamily("polyroute_queued_requests", "Requests that wait for a turn.", labels=[_PROVIDER])
    breaker = GaugeMetricFamily(
        "polyroute_breaker_state", "Breakers that are not closed: 1 open, 0.5 half open, 0.25 resting.",
        labels=[_PROVIDER, "breaker"],
    )  # fmt: skip
    benched = GaugeMetricFamily(
        "polyroute_credential_benched", "1 while a credential is not used.", labels=[_PROVIDER, "credential", "reason"]
    )
    drill = GaugeMetricFamily("polyroute_drill", "1 while a fault is rehearsed.", labels=[_PROVIDER, "fault"])
    for one in report.providers:
        health.add_metric([one.provider], _HEALTH[one.health])
        active.add_metric([one.provider], one.active)
        queued.add_metric([one.provider], one.queued)
        for found in one.breakers:
            breaker.add_metric([one.provider, found.name], _BREAKER[found.state])
        for credential in one.credentials:
            benched.add_metric(
                [one.provider, credential.label, credential.reason or ""], float(credential.state == "benched")
            )
        if one.drill is not None:
            drill.add_metric([one.provider, one.drill.fault], 1)
    yield from (health, active, queued, breaker, benched, drill)


def _ledger(ledger: LedgerHealth) -> Iterator[Metric]:
    """How the ledger stands; what its writer has not said is left out."""
    from prometheus_client.core import GaugeMetricFamily  # noqa: PLC0415 - see render_metrics

    for name, text, value in (
        ("polyroute_ledger_writer_up", "1 while the ledger's writer is there.", ledger.writer),
        ("polyroute_ledger_database_up", "1 while the database takes requests.", ledger.database),
        ("polyroute_ledger_backlog_rows", "Requests that the database does not have yet.", ledger.rows),
        ("polyroute_ledger_backlog_bytes", "Their size in the journal.", ledger.bytes),
        ("polyroute_ledger_backlog_oldest_seconds", "Age of the oldest of them.", ledger.oldest_seconds or 0.0),
        ("polyroute_journal_bytes", "Room that the journal takes on the disk.", ledger.journal_bytes),
        ("polyroute_journal_limit_bytes", "How large it may grow.", ledger.limit_bytes),
        ("polyroute_journal_full", "1 while it is at its limit.", ledger.full),
    ):
        if value is not None:
            yield GaugeMetricFamily(name, text, value=float(value))


def _histogram(name: str, text: str, labels: tuple[str, ...], rows: Iterable[Series]) -> Metric:
    from prometheus_client.core import HistogramMetricFamily  # noqa: PLC0415 - see render_metrics

    family = HistogramMetricFamily(name, text, labels=labels)
    for row in rows:
        buckets = [("+Inf" if bound is None else f"{bound:g}", count) for bound, count in row.buckets]
        family.add_metric(row.labels, buckets, row.total)
    return family
