"""Two records of the same consumption, side by side, by day and model; pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

import msgspec

_DATED = re.compile(r"[-@](?:20\d{2}-\d{2}-\d{2}|20\d{6})$")


class Consumption(msgspec.Struct, frozen=True, kw_only=True):
    """What a record says of some requests of one model on one day (UTC, `2026-11-20`): of one where it has an `id`, of
    `requests` otherwise. Tokens are all of the prompt and all of the answer; None is not told."""

    day: str
    model: str
    id: str | None = None
    requests: int | None = 1
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None


class Total(msgspec.Struct, kw_only=True):
    """A sum of consumption. None where nothing was told; `unpriced` counts requests whose cost is unknown, `rows` what was
    added up."""

    rows: int = 0
    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    unpriced: int = 0

    def add(self, one: Consumption) -> None:
        """Count one more."""
        self.rows += 1
        for name in ("requests", "input_tokens", "output_tokens", "cost_usd"):
            more, before = getattr(one, name), getattr(self, name)
            if more is not None:
                setattr(self, name, more if before is None else before + more)
        if one.cost_usd is None:
            self.unpriced += one.requests or 0


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One day and model. `only_ours` and `only_theirs` are ids that the other side does not have, where ids were compared."""

    day: str
    model: str
    ours: Total
    theirs: Total
    only_ours: tuple[str, ...] = ()
    only_theirs: tuple[str, ...] = ()

    @property
    def drift_usd(self) -> Decimal | None:
        """Ours less theirs; None where one of them is unknown."""
        if self.ours.cost_usd is None or self.theirs.cost_usd is None:
            return None
        return self.ours.cost_usd - self.theirs.cost_usd

    def differs(self, tolerance: Decimal) -> bool:
        """Whether something is missing on one side, or tokens or cost are apart by more than this share of theirs."""
        if self.only_ours or self.only_theirs or not self.ours.rows or not self.theirs.rows:
            return True
        for name in ("requests", "input_tokens", "output_tokens", "cost_usd"):
            mine, yours = getattr(self.ours, name), getattr(self.theirs, name)
            if yours is None:
                continue  # they do not tell
            if mine is None:
                if yours:
                    return True
                continue
            if abs(Decimal(mine) - Decimal(yours)) > tolerance * abs(Decimal(yours)):
                return True
        return False


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All lines, by day and model, with how they came about."""

    lines: tuple[Line, ...]
    ours: Total
    theirs: Total


def model_key(name: str) -> str:
    """What a model is compared by: its id without the date of a snapshot, which one side may leave out."""
    return _DATED.sub("", name.strip().lower())


def compare(ours: Iterable[Consumption], theirs: Iterable[Consumption], *, by_id: bool = False) -> Comparison:
    """The two records beside each other. With `by_id` also which requests only one of them has."""
    mine, yours = list(ours), list(theirs)
    names: dict[str, str] = {}
    sums: dict[tuple[str, str], tuple[Total, Total]] = defaultdict(lambda: (Total(), Total()))
    for side, records in enumerate((mine, yours)):
        for one in records:
            key = model_key(one.model)
            names.setdefault(key, one.model)
            sums[one.day, key][side].add(one)
    missing: dict[tuple[str, str], tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    if by_id:
        known = ({one.id for one in mine}, {one.id for one in yours})
        for side, records in enumerate((mine, yours)):
            for one in records:
                if one.id is not None and one.id not in known[1 - side]:
                    missing[one.day, model_key(one.model)][side].append(one.id)
    totals = (Total(), Total())
    for total, records in zip(totals, (mine, yours), strict=True):
        for one in records:
            total.add(one)
    lines = tuple(
        Line(
            day=day, model=names[key], ours=left, theirs=right,
            only_ours=tuple(missing[day, key][0]), only_theirs=tuple(missing[day, key][1]),
        )
        for (day, key), (left, right) in sorted(sums.items())
    )  # fmt: skip
    return Comparison(lines=lines, ours=totals[0], theirs=totals[1])
