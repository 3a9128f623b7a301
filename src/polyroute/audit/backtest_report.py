"""The report of a back-test, for people and for programs."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.table import Table

from polyroute.audit.backtest import ASSUMPTIONS, Backtest, Effect

_MOST_TARGETS = 30


def backtest_values(found: Backtest, since: datetime, until: datetime, proposal: str) -> dict[str, Any]:
    """The report as JSON has it."""
    return {
        "since": since.isoformat(), "until": until.isoformat(), "proposal": proposal, "total": _effect(found.total),
        "routes": {name: _effect(effect) for name, effect in sorted(found.routes.items())},
        "first_targets": {
            name: {"recorded": found.before[name], "proposed": found.after[name]}
            for name in sorted({*found.before, *found.after})
        },
        "passed_over": dict(sorted(found.passed_over.items())),
        "unobserved": dict(sorted(found.unobserved.items())), "unpriced": dict(sorted(found.unpriced.items())),
        "assumptions": list(ASSUMPTIONS),
    }  # fmt: skip


def _effect(effect: Effect) -> dict[str, Any]:
    return {
        "requests": effect.requests, "moved": effect.moved,
        "cost_usd": {"requests": effect.priced, "recorded": _money(effect.cost_before), "expected": _money(effect.cost_after)},
        "mean_seconds": {
            "requests": effect.timed, "recorded": _mean(effect.seconds_before, effect.timed),
            "expected": _mean(effect.seconds_after, effect.timed),
        },
        "failures": {
            "requests": effect.judged, "recorded": round(effect.failures_before, 3),
            "expected": round(effect.failures_after, 3),
        },
    }  # fmt: skip


def print_backtest(found: Backtest, since: datetime, until: datetime, proposal: str) -> None:
    """What would have changed, by route; where requests would have gone; what is not known, and what was assumed."""
    console = Console()
    total = found.total
    console.print(
        f"{proposal}, over the requests from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC", highlight=False
    )
    if not total.requests:
        why = (
            ""
            if found.passed_over
            else " There is none in this time; --sandbox replays what simulated providers served."
        )
        console.print(f"No request could be replayed.{why}", highlight=False)
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("route", "requests", "go elsewhere", "cost USD", "mean seconds", "failures"):
            table.add_column(column, overflow="fold")
        for name, effect in (*sorted(found.routes.items()), ("all", total)):
            table.add_row(name, str(effect.requests), _share(effect.moved, effect.requests), *_changes(effect))
        console.print(table)
        console.print()
        _print_targets(console, found)
    for told, counted in (
        ("would go first to a target of which nothing was seen", found.unobserved),
        ("would go first to a target without a price", found.unpriced),
    ):
        for name, count in counted.most_common(_MOST_TARGETS):
            console.print(f"[yellow]{count} requests {told}:[/yellow] {name}", highlight=False)
    for reason, count in found.passed_over.most_common():
        console.print(f"not replayed, {count}: {reason}", highlight=False)
    console.print("\nAssumed:", highlight=False)
    for assumption in ASSUMPTIONS:
        console.print(f"- {assumption}", highlight=False)


def _changes(effect: Effect) -> tuple[str, str, str]:
    cost, seconds = "unknown", "unknown"
    if effect.priced:
        cost = f"{_money(effect.cost_before)} -> {_money(effect.cost_after)}{_per_cent(effect.cost_before, effect.cost_after)}"
        cost += _over(effect.priced, effect.requests)
    if effect.timed:
        before, after = _mean(effect.seconds_before, effect.timed), _mean(effect.seconds_after, effect.timed)
        seconds = f"{before:g} -> {after:g}{_over(effect.timed, effect.requests)}"
    failures = f"{effect.failures_before:g} -> {effect.failures_after:.1f}{_over(effect.judged, effect.requests)}"
    return cost, seconds, failures


def _print_targets(console: Console, found: Backtest) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("asked first", "recorded", "proposed"):
        table.add_column(column, overflow="fold")
    both = Counter(found.before)
    both.update(found.after)
    for name, _ in both.most_common(_MOST_TARGETS):
        table.add_row(name, str(found.before[name]), str(found.after[name]))
    console.print(table)


def _over(known: int, all_of_them: int) -> str:
    return "" if known == all_of_them else f" (of {known})"


def _share(part: int, whole: int) -> str:
    return f"{part} ({part / whole * 100:.0f} %)" if whole else "0"


def _per_cent(before: Decimal, after: Decimal) -> str:
    return f" ({(after - before) / before * 100:+.1f} %)" if before else ""


def _mean(total: float, count: int) -> float:
    return round(total / count, 3) if count else 0.0


def _money(amount: Decimal) -> str:
    return f"{round(amount, 6):f}"
