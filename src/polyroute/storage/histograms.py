"""Histograms of durations in fixed bins, so that those of many buckets and processes add up; and percentiles of them.

Bin 0 takes what lasts at most a millisecond; each further one is wider by the square root of two; the last takes all from
about twelve minutes on. A percentile is interpolated within its bin, so it is off by less than that factor, mostly by a few
per cent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

BINS = 41
"""Bins of a histogram."""

UPPER_BOUNDS = tuple(2 ** (number / 2) for number in range(BINS - 1))
"""The longest duration of each bin but the last, in milliseconds."""


def bin_of(milliseconds: float) -> int:
    """The bin that a duration belongs to."""
    return bisect_left(UPPER_BOUNDS, milliseconds)


def percentile(counts: Sequence[int], share: float) -> float | None:
    """The duration in milliseconds below which `share` (0 to 1) of all lie; None when there are none."""
    total = sum(counts)
    if not total:
        return None
    rank, below = share * total, 0
    for number, count in enumerate(counts):
        if count and below + count >= rank:
            return _within(number, (rank - below) / count)
        below += count
    return UPPER_BOUNDS[-1]


def _within(number: int, share: float) -> float:
    if number == 0:
        return UPPER_BOUNDS[0] * share
    if number == BINS - 1:
        return UPPER_BOUNDS[-1]
    lower, upper = UPPER_BOUNDS[number - 1], UPPER_BOUNDS[number]
    return float(lower * (upper / lower) ** share)
