"""Figures over the ledger, by time and by whatever requests can be told apart by."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, PlainSerializer

from polyroute.ports.analytics import DIMENSIONS, AnalyticsReader, Interval, Series, SeriesPoint, SeriesQuery
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.moments import parse_moment
from polyroute.types.usage import Price

_USUAL: dict[Interval, str] = {"minute": "1h", "hour": "1d", "day": "30d", "total": "1d"}
_DURATIONS = ("mean", "p50", "p90", "p95", "p99")

Many = list[str] | None
Amount = Annotated[Decimal, PlainSerializer(lambda amount: format(amount, "f"), return_type=str)]
"""US dollars as decimal text."""


class _Answer(BaseModel):
    model_config = ConfigDict(from_attributes=True, frozen=True)


class Durations(_Answer):
    """Of completed requests, in milliseconds; null where nothing was measured. Percentiles are exact to a few per cent."""

    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class SavingsAnswer(_Answer):
    """What `compared` requests, those of known cost, would have cost at the baseline; `not_compared` were served without a
    known price or quantity. Amounts are decimal text; null where nothing could be compared."""

    baseline_usd: Amount | None
    saved_usd: Amount | None
    compared: int
    not_compared: int


class PointAnswer(_Answer):
    """One bucket and group. `cost_usd` is what is known, as decimal text, null where nothing is; `unpriced` counts requests
    that were served and whose cost is unknown. `errors` are those that callers saw; `attempt_errors` also those that another
    target made good, counted where they happened."""

    start: str | None
    group: dict[str, str | None]
    requests: int
    completed: int
    failed: int
    cancelled: int
    errors: dict[str, int]
    attempt_errors: dict[str, int]
    fallbacks: int
    fallback_rate: float | None
    latency_ms: Durations
    ttft_ms: Durations
    tokens: dict[str, int]
    images: int
    media_seconds: float
    characters: int
    cost_usd: Amount | None
    unpriced: int
    estimated: int
    savings: SavingsAnswer | None


class Baseline(_Answer):
    """The target that savings are counted against, and the version of its price; null where it has none."""

    target: str
    price_version: str | None


class SeriesAnswer(_Answer):
    """Figures by time and group; `since` and `until` are whole buckets around what was asked for. Figures of before
    `incomplete_before` are no longer kept in this detail, at least not all; null when all are."""

    since: str
    until: str
    interval: Interval
    time_zone: str
    incomplete_before: str | None
    baseline: Baseline | None = None
    points: list[PointAnswer]
    total: PointAnswer


def analytics_routes(reader: AnalyticsReader, price_of: Callable[[str, str], Price | None]) -> APIRouter:
    """`/admin/api/analytics`. `price_of` gives the rate card of a provider's model."""
    router = APIRouter(tags=["analytics"])

    # A plain function: the reader blocks, so it runs in a worker thread.
    @router.get(
        "/admin/api/analytics",
        summary="Requests, errors, latency, tokens and cost, by time and group",
        response_model=SeriesAnswer,
        responses={200: {"content": {"text/csv": {}}}},
    )
    def series(
        interval: Annotated[Interval, Query(description="Size of a bucket; `total` is one for all.")] = "hour",
        since: Annotated[
            str | None, Query(description="`7d`, `2026-11-20` or an ISO moment; 1h, 1d or 30d ago by interval.")
        ] = None,
        until: Annotated[str, Query(description="As `since`.")] = "now",
        group_by: Annotated[
            Many, Query(description=f"{', '.join(DIMENSIONS)} or tag:NAME; several, or separated by commas.")
        ] = None,
        provider: Annotated[Many, Query(description="Who served; several mean any of them, as below.")] = None,
        model: Annotated[Many, Query(description="The provider's model id.")] = None,
        route: Annotated[Many, Query()] = None,
        key: Annotated[Many, Query(description="Id of a key.")] = None,
        user: Annotated[Many, Query()] = None,
        team: Annotated[Many, Query()] = None,
        operation: Annotated[Many, Query()] = None,
        status: Annotated[Many, Query(description="COMPLETED, FAILED or CANCELLED.")] = None,
        tag: Annotated[str | None, Query(description="NAME:VALUE.")] = None,
        time_zone: Annotated[str, Query(description="Of buckets, as in Europe/Berlin.")] = "UTC",
        baseline: Annotated[str | None, Query(description="provider/model to count savings against.")] = None,
        format: Annotated[Literal["json", "csv"], Query()] = "json",  # noqa: A002 - what callers write
    ) -> SeriesAnswer | Response:
        chosen = {
            "provider": provider, "model": model, "route": route, "key": key, "user": user, "team": team,
            "operation": operation, "status": status, "tag": None if tag is None else [tag],
        }  # fmt: skip
        now = time.time()
        price = None if baseline is None else _price(baseline, price_of)
        names = tuple(name.strip() for part in group_by or () for name in part.split(",") if name.strip())
        try:
            found = reader.series(
                SeriesQuery(
                    since=parse_moment(since or _USUAL[interval], now),
                    until=parse_moment(until, now),
                    interval=interval,
                    group_by=names,
                    filters={name: values for name, values in chosen.items() if values},
                    time_zone=time_zone,
                    baseline=price if price is not None or baseline is None else Price(version="unknown"),
                )
            )
        except ValueError as error:
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, str(error)) from error
        if format == "csv":
            return Response(_csv(found, names), media_type="text/csv")
        answer = SeriesAnswer.model_validate(found, from_attributes=True)
        if baseline is None:
            return answer
        version = None if price is None else price.version
        return answer.model_copy(update={"baseline": Baseline(target=baseline, price_version=version)})

    return router


def _price(baseline: str, price_of: Callable[[str, str], Price | None]) -> Price | None:
    provider, separator, model = baseline.partition("/")
    if not separator or not model:
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, "a baseline is written provider/model", param="baseline")
    return price_of(provider, model)


def _csv(found: Series, names: tuple[str, ...]) -> bytes:
    """A line for each bucket and group."""
    text = io.StringIO()
    lines = csv.writer(text)
    tokens = list(found.total.tokens)
    plain = ("requests", "completed", "failed", "cancelled", "fallbacks", "fallback_rate", "images", "media_seconds",
             "characters", "cost_usd", "unpriced", "estimated")  # fmt: skip
    lines.writerow(
        [
            "start", *names, *plain, "errors", "attempt_errors", *(f"latency_{name}_ms" for name in _DURATIONS),
            *(f"ttft_{name}_ms" for name in _DURATIONS), *(f"{name}_tokens" for name in tokens), "baseline_usd", "saved_usd",
        ]
    )  # fmt: skip
    for point in found.points:
        lines.writerow(_line(point, names, plain, tokens))
    return text.getvalue().encode("utf-8", "replace")


def _line(point: SeriesPoint, names: tuple[str, ...], plain: tuple[str, ...], tokens: list[str]) -> list[object]:
    savings = point.savings
    values: list[object] = [point.start, *(point.group[name] for name in names), *(getattr(point, at) for at in plain)]
    values += [json.dumps(point.errors), json.dumps(point.attempt_errors)]
    values += [getattr(durations, at) for durations in (point.latency_ms, point.ttft_ms) for at in _DURATIONS]
    values += [point.tokens[name] for name in tokens]
    values += [None, None] if savings is None else [savings.baseline_usd, savings.saved_usd]
    return ["" if value is None else format(value, "f") if isinstance(value, Decimal) else value for value in values]
