"""Rollups: what requests add up to, by time and by whatever they can be told apart by, kept beside the rows that they count.

A *series* is one combination of dimensions, under a number that is made from its words, so that every process gives it the
same one without asking. A rollup is the sums of one series in one bucket of time, at four levels: minute, quarter of an hour
(of which the hours and days of every time zone can be made), hour and day (UTC). The ledger's writer adds to them in the
transaction that inserts the rows; nothing that reads them has to look at a request.

A request counts in the series without a tag, and once more in one for each of its tags. A failed attempt counts in a series of
its own (status `ATTEMPT`), under the provider that failed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING

from polyroute.storage.histograms import BINS, bin_of
from polyroute.storage.values import MONEY_SCALE
from polyroute.types.records import RequestRecord

if TYPE_CHECKING:
    from polyroute.storage.database import Driver

MINUTE, QUARTER, HOUR, DAY = 60, 900, 3600, 86_400
LEVELS = (MINUTE, QUARTER, HOUR, DAY)
"""The levels: seconds to a bucket."""

DIMENSIONS = (
    "provider",
    "model",
    "route",
    "key_id",
    "user_id",
    "team_id",
    "operation",
    "status",
    "error_kind",
    "tag_name",
    "tag_value",
)
"""What series are told apart by, as text; empty where there is none."""

SERIES_COLUMNS = ("id", *DIMENSIONS, "simulated", "priced")
"""The columns of `rollup_series`. `priced` says whether the cost of its requests is known."""

COUNTS = (
    "requests",
    "fallbacks",
    "failed_attempts",
    "unpriced",
    "estimated",
    "unmetered",
    "input_tokens",
    "cache_read_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "output_tokens",
    "reasoning_tokens",
    "audio_input_tokens",
    "audio_output_tokens",
    "images",
    "media_ms",
    "characters",
    "cost_e10",
    "latency_us",
    "ttft_us",
)
"""What is added up: whole numbers only, so that the sum does not depend on the order. `unpriced` counts requests that were
served and whose cost is unknown, `unmetered` those of which no quantity is known; `cost_e10` is in 10⁻¹⁰ USD."""

LATENCY_BINS = tuple(f"latency_{number:02}" for number in range(BINS))
TTFT_BINS = tuple(f"ttft_{number:02}" for number in range(BINS))
"""The histograms of the latency and of the time to the first token."""

SUMS = COUNTS + LATENCY_BINS + TTFT_BINS
ROLLUP_KEY = ("level", "start", "series")
"""What rollups are found by: `start` is the beginning of the bucket in seconds since the epoch."""

ATTEMPT_STATUS = "ATTEMPT"
OTHER = "(other)"
"""In place of a user or a tag's value, once a day has had too many of them."""

_MOST_USERS = 20_000
_MOST_TAGS = 5_000
"""Users, and pairs of a tag and its value, that one writer tells apart on one day; the rest are OTHER. Callers choose both."""
_MOST_TAGS_A_REQUEST = 8
_LONGEST = 128
"""Characters of a dimension."""
_KNOWN = 20_000
"""Series that a writer remembers to be in the database."""
_LARGEST = 10**12
_BLOCKS = (32, 4, 1)
"""Rows to a statement."""

_AT = {name: at for at, name in enumerate(SUMS)}
_REQUESTS, _FALLBACKS, _FAILED = _AT["requests"], _AT["fallbacks"], _AT["failed_attempts"]
_UNPRICED, _ESTIMATED, _UNMETERED = _AT["unpriced"], _AT["estimated"], _AT["unmetered"]
_MEDIA, _COST, _LATENCY, _TTFT = _AT["media_ms"], _AT["cost_e10"], _AT["latency_us"], _AT["ttft_us"]
_FIRST_LATENCY, _FIRST_TTFT = _AT[LATENCY_BINS[0]], _AT[TTFT_BINS[0]]
_FIRST_QUANTITY = _AT["input_tokens"]

Series = tuple[str, str, str, str, str, str, str, str, str, str, str, bool, bool]
"""The values of SERIES_COLUMNS without the number."""

Cells = dict[tuple[int, int, int], list[int]]
"""Sums by (level, start, number of the series)."""


def series_number(series: Series) -> int:
    """The number of a series: 64 bits of a digest of its words."""
    words = "\x1f".join([*series[:-2], "1" if series[-2] else "0", "1" if series[-1] else "0"])
    digest = blake2b(words.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


class Rollups:
    """The sums of some requests. `series` has the words of each series that they belong to, by its number."""

    def __init__(self, numbers: dict[Series, int] | None = None, census: Census | None = None) -> None:
        self.series: dict[int, Series] = {}
        self._numbers = {} if numbers is None else numbers
        self._census = census or Census()
        self._minutes: dict[tuple[int, int], list[int]] = {}

    def add(self, records: Iterable[RequestRecord]) -> None:
        """Count requests that the database did not have."""
        for record in records:
            minute = int(record.created_at // MINUTE) * MINUTE
            quantities = _quantities(record)
            series = self._series(record, minute)
            self._count(minute, series, quantities)
            for tag in list(record.tags.items())[:_MOST_TAGS_A_REQUEST] if record.tags else ():
                name, value = self._census.tag(tag, minute)
                self._count(minute, (*series[:9], name, value, *series[11:]), quantities)
            for attempt in record.attempts:
                if attempt.outcome == "failed":
                    failed = (
                        _short(attempt.provider),
                        _short(attempt.model),
                        *series[2:7],
                        ATTEMPT_STATUS,
                        attempt.error_kind or "",
                        "",
                        "",
                        record.simulated,
                        False,
                    )
                    self._cell(minute, failed)[_FAILED] += 1

    def cells(self, levels: Sequence[int] = LEVELS) -> Cells:
        """The sums at some levels."""
        cells: Cells = {}
        for (minute, number), sums in self._minutes.items():
            for level in levels:
                key = (level, minute - minute % level, number)
                present = cells.get(key)
                cells[key] = sums if present is None else [a + b for a, b in zip(present, sums, strict=True)]
        return cells

    def _series(self, record: RequestRecord, minute: int) -> Series:
        return (
            _short(record.actual_provider),
            _short(record.actual_model),
            _short(record.route),
            _short(record.key_id),
            "" if record.user_id is None else self._census.user(record.user_id, minute),
            _short(record.team_id),
            record.operation,
            record.status,
            record.error_kind or "",
            "",
            "",
            record.simulated,
            record.cost_usd is not None,
        )

    def _count(self, minute: int, series: Series, quantities: Sequence[tuple[int, int]]) -> None:
        cell = self._cell(minute, series)
        for at, quantity in quantities:
            cell[at] += quantity

    def _cell(self, minute: int, series: Series) -> list[int]:
        number = self._numbers.get(series)
        if number is None:
            number = self._numbers[series] = series_number(series)
        self.series[number] = series
        cell = self._minutes.get((minute, number))
        if cell is None:
            cell = self._minutes[minute, number] = [0] * len(SUMS)
        return cell


class Census:
    """The users and tags of one day, as far as they are told apart."""

    def __init__(self, users: int = _MOST_USERS, tags: int = _MOST_TAGS) -> None:
        self._most_users = users
        self._most_tags = tags
        self._day = -1
        self._users: set[str] = set()
        self._tags: set[tuple[str, str]] = set()

    def user(self, user: str, moment: int) -> str:
        """The user, or OTHER when the day has had too many."""
        self._turn(moment)
        user = user[:_LONGEST]
        if user not in self._users:
            if len(self._users) >= self._most_users:
                return OTHER
            self._users.add(user)
        return user

    def tag(self, tag: tuple[str, str], moment: int) -> tuple[str, str]:
        """The tag, or one whose name or value is OTHER when the day has had too many."""
        self._turn(moment)
        tag = (tag[0][:_LONGEST], tag[1][:_LONGEST])
        if tag not in self._tags:
            if len(self._tags) >= self._most_tags:
                known = any(tag[0] == name for name, _ in self._tags)
                return (tag[0], OTHER) if known else (OTHER, OTHER)
            self._tags.add(tag)
        return tag

    def _turn(self, moment: int) -> None:
        if moment // DAY != self._day:
            self._day = moment // DAY
            self._users.clear()
            self._tags.clear()


def _quantities(record: RequestRecord) -> list[tuple[int, int]]:
    """What a request adds, by the places of SUMS."""
    found = [(_REQUESTS, 1)]
    measured = (
        record.input_tokens,
        record.cache_read_tokens,
        record.cache_write_5m_tokens,
        record.cache_write_1h_tokens,
        record.output_tokens,
        record.reasoning_tokens,
        record.audio_input_tokens,
        record.audio_output_tokens,
        record.images,
        None if record.seconds is None else _thousandths(record.seconds),
        record.characters,
    )
    known = False
    for at, quantity in enumerate(measured, _FIRST_QUANTITY):
        if quantity is not None:
            known = True
            if quantity:
                found.append((at, max(-_LARGEST, min(quantity, _LARGEST))))
    cost = record.cost_usd
    if cost is not None:
        found.append((_COST, units_of(cost)))
    if record.actual_provider is not None:
        if cost is None:
            found.append((_UNPRICED, 1))
        if not known:
            found.append((_UNMETERED, 1))
    if record.usage_estimated:
        found.append((_ESTIMATED, 1))
    attempts = record.attempts
    if len(attempts) > 1:
        first = attempts[0]
        if any(other.provider != first.provider or other.model != first.model for other in attempts[1:]):
            found.append((_FALLBACKS, 1))
    found.append((_LATENCY, _thousandths(record.latency_ms)))
    found.append((_FIRST_LATENCY + bin_of(record.latency_ms), 1))
    if record.ttft_ms is not None:
        found.append((_TTFT, _thousandths(record.ttft_ms)))
        found.append((_FIRST_TTFT + bin_of(record.ttft_ms), 1))
    return found


def units_of(amount: Decimal) -> int:
    """US dollars in units of 10⁻¹⁰."""
    if not amount.is_finite() or abs(amount) > _LARGEST // 1000:
        return 0
    return int(amount.scaleb(MONEY_SCALE).to_integral_value())


def amount_of(units: int) -> Decimal:
    """Units of 10⁻¹⁰ in US dollars."""
    return Decimal(units).scaleb(-MONEY_SCALE)


def _thousandths(value: float) -> int:
    return round(value * 1000) if -_LARGEST < value < _LARGEST else 0


def _short(text: str | None) -> str:
    return "" if text is None else text[:_LONGEST]


def upsert(rows: int) -> str:
    """The statement that adds this many rollups to what is there."""
    names = ROLLUP_KEY + SUMS
    return (
        f"INSERT INTO rollups ({','.join(names)}) "  # noqa: S608 - names of our own
        f"VALUES {','.join([_marks(names)] * rows)} ON CONFLICT ({','.join(ROLLUP_KEY)}) DO UPDATE SET "
        + ",".join(f"{name}=rollups.{name}+excluded.{name}" for name in SUMS)
    )


def _marks(names: Sequence[str]) -> str:
    return f"({','.join('?' * len(names))})"


class RollupWriter:
    """Writes the rollups of each transaction of a writer: `begin`, then `add` for what is new, `write` before its end, and
    `committed` after it."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._numbers: dict[Series, int] = {}
        self._known: set[int] = set()
        self._census = Census()
        self._now = Rollups(self._numbers, self._census)
        self._upserts = {rows: driver.sql(upsert(rows)) for rows in _BLOCKS}
        self._insert = driver.sql(
            f"INSERT INTO rollup_series ({','.join(SERIES_COLUMNS)}) VALUES {_marks(SERIES_COLUMNS)} "  # noqa: S608
            "ON CONFLICT DO NOTHING"
        )

    def begin(self) -> None:
        """A transaction begins."""
        if len(self._numbers) > _KNOWN:
            self._numbers.clear()
            self._known.clear()
        self._now = Rollups(self._numbers, self._census)

    def add(self, records: Iterable[RequestRecord]) -> None:
        """Count requests that the database did not have."""
        self._now.add(records)

    def write(self, levels: Sequence[int] = LEVELS) -> None:
        """Add the sums, in one order for all writers, so that two of them cannot wait for each other."""
        for number in sorted(self._now.series.keys() - self._known):
            self._driver.execute(self._insert, (number, *self._now.series[number]))
        cells = sorted(self._now.cells(levels).items())
        done = 0
        for rows, statement in self._upserts.items():
            while len(cells) - done >= rows:
                block = cells[done : done + rows]
                self._driver.execute(statement, list(chain.from_iterable((*key, *sums) for key, sums in block)))
                done += rows

    def committed(self) -> None:
        """The transaction is in the database."""
        self._known.update(self._now.series)
