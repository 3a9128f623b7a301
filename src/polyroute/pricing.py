"""Money for one request: pure, in Decimal, rounded once.

What the provider itself reports wins. Otherwise every bucket of usage is multiplied by its rate; a bucket that was used
and has no rate makes the cost unknown (None), never zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_HALF_EVEN, Decimal

from polyroute.types.usage import Cost, Price, Usage

COST_SCALE = 10
"""Decimal places of a cost in USD: a token at $0.0001 a million still shows."""

_QUANTUM = Decimal(1).scaleb(-COST_SCALE)
_MILLION = Decimal(1_000_000)
_ONE = Decimal(1)


def cost_of(usage: Usage, price: Price | None) -> Cost | None:
    """What one request cost, None when that is unknown: as reported, else by the rate card. Rounded half to even at
    COST_SCALE places."""
    if usage.reported_cost_usd is not None:
        return Cost(_rounded(usage.reported_cost_usd), "reported")
    if usage.reported_credits is not None and price is not None and price.credit is not None:
        return Cost(_rounded(usage.reported_credits * price.credit), "reported", price.version)
    return priced_cost(usage, price)


def priced_cost(usage: Usage, price: Price | None) -> Cost | None:
    """What one request cost by the rate card alone, whatever was reported; None when that is unknown."""
    if price is None:
        return None
    exact = exact_cost(usage, price)
    if exact is None:
        return None
    version = (
        price.version if usage.tier is None else f"{price.version}, {usage.tier} x {_factor_of(usage.tier, price)}"
    )
    return Cost(_rounded(exact), "estimated" if usage.estimated else "priced", version)


def exact_cost(usage: Usage, price: Price) -> Decimal | None:
    """The cost before rounding, by the rate card alone; None when a bucket that was used has no rate, or nothing is known.

    A model is charged by tokens or by units (images, megapixels, seconds, characters, compute time). Where tokens are known
    and have rates, units are a measurement that costs nothing more; else the units that have a rate are charged. A service
    tier without a factor is unknown too.
    """
    factor = _factor_of(usage.tier, price)
    if factor is None:
        return None
    price = tier_of(price, usage.input_total)
    buckets = _token_buckets(usage, price)
    charged_by_tokens = any(rate is not None for _, rate in buckets) and any(count is not None for count, _ in buckets)
    by_tokens = charged_by_tokens and not _mixes_images(usage, price)
    variable = _token_cost(buckets) if by_tokens else _unit_cost(usage, price)
    if price.request is not None:
        # A flat charge for each run is the whole price of some media models.
        only = variable is None and not by_tokens and not price.measures
        fee = price.request * (1 if usage.requests is None else usage.requests)
        variable = fee if only else None if variable is None else variable + fee
    if usage.web_searches and variable is not None:
        variable = None if price.web_search is None else variable + usage.web_searches * price.web_search
    return None if variable is None else variable * factor


def _factor_of(tier: str | None, price: Price) -> Decimal | None:
    if tier is None:
        return _ONE
    return next((factor for name, factor in price.factors if name == tier), None)


def tier_of(price: Price, input_tokens: int | None) -> Price:
    """The rate card that holds for a prompt of this many tokens: the whole request is charged by one tier."""
    chosen = price
    for start, tier in price.tiers:
        if input_tokens is not None and input_tokens >= start:
            chosen = tier
    return chosen


def _token_buckets(usage: Usage, price: Price) -> tuple[tuple[int | None, Decimal | None], ...]:
    if usage.charged_input is not None or usage.charged_output is not None:
        return ((usage.charged_input, price.input), (usage.charged_output, price.output))
    return (
        (usage.input, price.input),
        (usage.cache_read, price.cache_read),
        (usage.cache_write_5m, price.cache_write_5m),
        (usage.cache_write_1h, price.cache_write_1h),
        (usage.output, price.output),
        (usage.reasoning, price.output),  # hidden output is charged as output
        (usage.audio_input, price.audio_input),
        (usage.audio_output, price.audio_output),
        (usage.image_input, price.image_input),
        (usage.image_output, price.image_output),
    )


def _mixes_images(usage: Usage, price: Price) -> bool:
    """Whether image tokens have a rate of their own but were counted among the others, which would charge them wrongly."""
    if not usage.images:
        return False
    mixed_input = price.image_input is not None and usage.image_input is None and bool(usage.input)
    mixed_output = price.image_output is not None and usage.image_output is None and bool(usage.output)
    return mixed_input or mixed_output


def _token_cost(buckets: Sequence[tuple[int | None, Decimal | None]]) -> Decimal | None:
    total = Decimal(0)
    for count, rate in buckets:
        if count and rate is None:
            return None
        if count and rate is not None:
            total += count * rate
    return total / _MILLION


def _unit_cost(usage: Usage, price: Price) -> Decimal | None:
    """What was made is charged; the time that it took only where what was made has no price."""
    parts = [part for part in _unit_parts(usage, price) if part is not None]
    if parts:
        return sum(parts, Decimal(0))
    if usage.compute_seconds is None:
        return None
    rate = next((rate for hardware, rate in price.compute if hardware in (None, usage.hardware)), None)
    return None if rate is None else Decimal(str(usage.compute_seconds)) * rate


def _unit_parts(usage: Usage, price: Price) -> Iterator[Decimal | None]:
    by_size = None
    if usage.images is not None:
        rate = image_rate(price, usage.image_size, usage.image_quality)
        by_size = None if rate is None else usage.images * rate
        yield by_size
    if usage.megapixels is not None and price.megapixel is not None and by_size is None:
        yield Decimal(str(usage.megapixels)) * price.megapixel
    if usage.video_seconds is not None:
        rate = _matching(price.videos, usage.video_size, usage.image_quality, price.video_second)
        yield None if rate is None else Decimal(str(usage.video_seconds)) * rate
    elif usage.seconds is not None and price.second is not None:
        yield Decimal(str(usage.seconds)) * price.second
    if usage.characters is not None and price.character is not None:
        yield usage.characters * price.character


def image_rate(price: Price, size: str | None, quality: str | None) -> Decimal | None:
    """The price of one image: the first row that fits its size and quality, else the flat one."""
    return _matching(price.images, size, quality, price.image)


def _matching(
    rows: Sequence[tuple[str | None, str | None, Decimal]], size: str | None, quality: str | None, flat: Decimal | None
) -> Decimal | None:
    for row_size, row_quality, rate in rows:
        if row_size in (None, size) and row_quality in (None, quality):
            return rate
    return flat


def _rounded(amount: Decimal) -> Decimal:
    return amount.quantize(_QUANTUM, ROUND_HALF_EVEN)
