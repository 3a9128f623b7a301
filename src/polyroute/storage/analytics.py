"""Figures over any number of requests, added up from rollups."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from polyroute.ports.analytics import Interval, Series, SeriesQuery
from polyroute.storage.database import Database
from polyroute.storage.figures import Figures, point
from polyroute.storage.pruning import Retention
from polyroute.storage.rollups import DAY, HOUR, MINUTE, QUARTER, SUMS

_COLUMN = {
    "provider": "provider",
    "model": "model",
    "route": "route",
    "key": "key_id",
    "user": "user_id",
    "team": "team_id",
    "operation": "operation",
    "status": "status",
}
_STEP: dict[Interval, int] = {"minute": MINUTE, "hour": HOUR, "day": DAY}
_MOST_BUCKETS = 5000
_LONGEST = 20 * 366 * DAY


class Piece(msgspec.Struct, frozen=True):
    """A stretch of time that is read at one level, throughout which the time zone has one offset (seconds)."""

    level: int
    begin: int
    end: int
    offset: int


class LedgerAnalytics:
    """Implements `ports.AnalyticsReader`. Simulated requests are left out unless `simulated`."""

    def __init__(
        self,
        database: Database,
        retention: Retention,
        *,
        simulated: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._retention = retention
        self._simulated = simulated
        self._clock = clock

    def series(self, query: SeriesQuery) -> Series:
        """Raises ValueError, saying what is wrong with the query."""
        zone = _zone(query.time_zone)
        begin, end = _bounds(query, zone)
        pieces = list(_pieces(query.interval, begin, end, zone))
        where, values, groups = _conditions(query, simulated=self._simulated)
        found: dict[tuple[int | None, tuple[str, ...]], Figures] = {}
        total = Figures()
        driver = self._database.connect()
        try:
            for piece in pieces:
                statement = driver.sql(_statement(query.interval, groups, where))
                bucket = () if query.interval == "total" else (piece.offset,) if query.interval != "minute" else ()
                rows = driver.execute(statement, (*bucket, piece.level, piece.begin, piece.end, *values)).fetchall()
                for row in rows:
                    # An hour belongs to its offset: when clocks go back, there are two of the same name.
                    start = _start(query.interval, row[0], piece.offset)
                    group = tuple(row[1 : 1 + len(groups)])
                    rest = row[1 + len(groups) :]
                    found.setdefault((start, group), Figures()).add(rest)
                    total.add(rest)
        finally:
            driver.close()
        names = query.group_by
        order = sorted(found.items(), key=lambda item: (item[0][0] or 0, -item[1].requests, item[0][1]))
        return Series(
            since=_iso(begin, zone),
            until=_iso(end, zone),
            interval=query.interval,
            time_zone=query.time_zone,
            incomplete_before=None if (moment := self._incomplete_before(pieces)) is None else _iso(moment, zone),
            points=[
                point(
                    figures,
                    None if start is None else _label(query.interval, start, zone),
                    _named(names, group),
                    query.baseline,
                )
                for (start, group), figures in order
            ],
            total=point(total, None, {}, query.baseline),
        )

    def _incomplete_before(self, pieces: Sequence[Piece]) -> int | None:
        """Up to where figures of these levels may have been deleted; None when none of these were."""
        kept = {MINUTE: self._retention.minutes, QUARTER: self._retention.quarters, HOUR: self._retention.hours}
        now, found = self._clock(), None
        for piece in pieces:
            days = kept.get(piece.level)
            if days is not None and piece.begin < (cut := int(now - days * DAY)):
                found = max(found or 0, min(cut, piece.end))
        return found


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"there is no time zone {name!r}; write one as in Europe/Berlin") from error


def _bounds(query: SeriesQuery, zone: ZoneInfo) -> tuple[int, int]:
    """Whole buckets around what was asked for. Raises ValueError."""
    if not query.since < query.until:
        raise ValueError("'until' must be after 'since'")
    if query.since < 0 or query.until - query.since > _LONGEST:
        raise ValueError("at most twenty years, from 1970 on")
    if query.interval == "day":
        return _local_midnight(query.since, zone), _local_midnight(query.until, zone, up=True)
    step = _STEP.get(query.interval, QUARTER if query.until - query.since <= 2 * DAY else HOUR)
    if step == HOUR and _offset(query.since, zone) % HOUR:
        step = QUARTER
    begin = int(query.since // step) * step
    end = int(-(-query.until // step)) * step
    if query.interval != "total" and (end - begin) / _STEP[query.interval] > _MOST_BUCKETS:
        raise ValueError(f"more than {_MOST_BUCKETS} buckets: take a longer interval or a shorter time")
    return begin, end


def _local_midnight(moment: float, zone: ZoneInfo, *, up: bool = False) -> int:
    local = datetime.fromtimestamp(moment, zone)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if up and midnight.timestamp() < moment:
        following = local.date() + timedelta(days=1)
        midnight = datetime(following.year, following.month, following.day, tzinfo=zone)
    return int(midnight.timestamp())


def _offset(moment: float, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(moment, UTC).astimezone(zone).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _pieces(interval: Interval, begin: int, end: int, zone: ZoneInfo) -> Iterator[Piece]:
    """The stretches that cover the time, at the coarsest level that fits each."""
    if interval == "minute":
        yield Piece(MINUTE, begin, end, 0)
        return
    if interval == "total":
        yield from _levelled(begin, end, (DAY, HOUR, QUARTER), 0)
        return
    for first, last, offset in _offsets(begin, end, zone):
        if interval == "day" and offset == 0:
            yield from _levelled(first, last, (DAY, HOUR, QUARTER), 0)
        elif offset % HOUR == 0:
            yield from _levelled(first, last, (HOUR, QUARTER), offset)
        else:
            yield Piece(QUARTER, first, last, offset)


def _levelled(begin: int, end: int, levels: tuple[int, ...], offset: int) -> Iterator[Piece]:
    """Whole buckets of the first level, and what is left over at both ends of the next."""
    level, finer = levels[0], levels[1:]
    first, last = -(-begin // level) * level, end // level * level
    if first >= last:
        if begin < end and finer:
            yield from _levelled(begin, end, finer, offset)
        return
    if finer and begin < first:
        yield from _levelled(begin, first, finer, offset)
    yield Piece(level, first, last, offset)
    if finer and last < end:
        yield from _levelled(last, end, finer, offset)


def _offsets(begin: int, end: int, zone: ZoneInfo) -> Iterator[tuple[int, int, int]]:
    """The time cut where the zone's offset changes (to the quarter of an hour)."""
    first, offset = begin, _offset(begin, zone)
    at = begin
    while at < end:
        following = min(at + DAY, end)
        if _offset(following, zone) != offset:
            low, high = at // QUARTER, -(-following // QUARTER)
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if _offset(middle * QUARTER, zone) == offset else (low, middle)
            change = min(high * QUARTER, end)
            if first < change:
                yield first, change, offset
            first, offset, following = change, _offset(change, zone), max(change, at + QUARTER)
        at = following
    if first < end:
        yield first, end, offset


def _conditions(query: SeriesQuery, *, simulated: bool) -> tuple[str, list[str | bool], list[str]]:
    """The conditions on series, their values, and the columns to group by. Raises ValueError."""
    conditions: list[str] = []
    values: list[str | bool] = []
    if not simulated:
        conditions.append("s.simulated = ?")
        values.append(False)
    groups = [_group_column(name) for name in query.group_by]
    tags = {name.partition(":")[2] for name in query.group_by if name == "tag" or name.startswith("tag:")}
    for name, wanted in query.filters.items():
        if name == "tag":
            continue
        if name not in _COLUMN:
            raise ValueError(f"nothing can be filtered by {name!r}; there are {', '.join((*_COLUMN, 'tag'))}")
        conditions.append(f"s.{_COLUMN[name]} IN ({','.join('?' * len(wanted))})")
        values += wanted
    tag_filter = query.filters.get("tag", ())
    if len(tag_filter) > 1 or (tag_filter and tags and tags != {tag_filter[0].partition(":")[0]}):
        raise ValueError("figures can be told apart by one tag at a time")
    if tag_filter:
        name, separator, value = tag_filter[0].partition(":")
        if not separator:
            raise ValueError("a tag is written NAME:VALUE")
        conditions.append("s.tag_name = ? AND s.tag_value = ?")
        values += [name, value]
    elif tags:
        if len(tags) > 1:
            raise ValueError("figures can be told apart by one tag at a time")
        name = tags.pop()
        conditions.append("s.tag_name = ?" if name else "s.tag_name <> ''")
        values += [name] if name else []
    else:
        conditions.append("s.tag_name = ''")
    return " AND ".join(conditions), values, groups


def _group_column(name: str) -> str:
    if name == "tag":
        return "s.tag_name || ':' || s.tag_value"
    if name.startswith("tag:"):
        return "s.tag_value"
    if name not in _COLUMN or name == "status":
        raise ValueError(
            f"nothing can be grouped by {name!r}; there are {', '.join((*list(_COLUMN)[:-1], 'tag', 'tag:NAME'))}"
        )
    return f"s.{_COLUMN[name]}"


def _statement(interval: Interval, groups: Sequence[str], where: str) -> str:
    step = _STEP.get(interval, 0)
    bucket = "0" if interval == "total" else "r.start" if interval == "minute" else f"(r.start + ?) / {step}"
    columns = ["s.status", "s.error_kind", "s.priced"]
    by = ["1", *(str(at) for at in range(2, 2 + len(groups) + len(columns)))]
    sums = ",".join(f"SUM(r.{name})" for name in SUMS)
    return (
        f"SELECT {','.join([bucket, *groups, *columns])},{sums} "  # noqa: S608 - names of our own
        "FROM rollups r JOIN rollup_series s ON s.id = r.series "
        f"WHERE r.level = ? AND r.start >= ? AND r.start < ? AND {where} GROUP BY {','.join(by)}"
    )


def _start(interval: Interval, bucket: int, offset: int) -> int | None:
    """What a bucket is known by: its first second; for a day, that of the same date in UTC."""
    if interval == "total":
        return None
    if interval == "minute":
        return int(bucket)
    return int(bucket) * DAY if interval == "day" else int(bucket) * HOUR - offset


def _label(interval: Interval, start: int, zone: ZoneInfo) -> str:
    if interval != "day":
        return _iso(start, zone)
    date = datetime.fromtimestamp(start, UTC)
    return datetime(date.year, date.month, date.day, tzinfo=zone).isoformat()


def _iso(moment: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(moment, zone).isoformat(timespec="seconds")


def _named(names: Sequence[str], group: Sequence[str]) -> dict[str, str | None]:
    return {name: value or None for name, value in zip(names, group, strict=True)}
