"""Amounts of money as people write them, in US dollars at a declared rate; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec

from polyroute.catalog.inputs import CurrencyEntry
from polyroute.catalog.model import Currency
from polyroute.catalog.problems import Problems, find_nearest

_AMOUNT = re.compile(r"\s*(\d{1,15}(?:\.\d{1,10})?)\s*([A-Za-z]{3,5})\s*")
_CODE = re.compile(r"[A-Z]{3,5}")
EXAMPLES = '"0.01 USD", "1000 VND"'


class Amount(msgspec.Struct, frozen=True):
    """An amount in US dollars, and in words how it came about."""

    usd: float
    words: str


def read_amount(text: str, currencies: Mapping[str, Currency]) -> Amount:
    """`1000 VND` → US dollars. Raises ValueError, in words for whoever wrote it."""
    found = _AMOUNT.fullmatch(text[:80])
    if found is None:
        raise ValueError(f"an amount and its currency, such as {EXAMPLES}, not {text[:80]!r}")
    amount, code = float(found[1]), found[2].upper()
    if code == "USD":
        return Amount(amount, f"{found[1]} USD")
    currency = currencies.get(code)
    if currency is None:
        known = ["USD", *currencies]
        nearest = find_nearest(code, known)
        hint = f"did you mean {nearest}?" if nearest else f"known are {', '.join(known)}"
        raise ValueError(f"there is no exchange rate for {code} (currencies.{code}); {hint}")
    usd = amount / currency.per_usd
    words = f"{found[1]} {code}, {usd:.6f} USD at {currency.per_usd:g} of {currency.date.isoformat()}"
    return Amount(usd, words)


def read_currencies(entries: Mapping[str, CurrencyEntry], problems: Problems) -> dict[str, Currency]:
    """The configuration's `currencies` by their codes in capitals."""
    found: dict[str, Currency] = {}
    for name, entry in entries.items():
        code = name.upper()
        if not _CODE.fullmatch(code):
            problems.note(("currencies", name), "no code of a currency", given=name, expected="letters such as VND")
        elif code == "USD":
            problems.note(("currencies", name), "USD is what all prices are in: leave it out")
        elif code in found:
            problems.note(("currencies", name), f"{code} stands here twice")
        else:
            found[code] = Currency(entry.per_usd, entry.date)
    return found


def invalid_codes(names: Iterable[str]) -> frozenset[str]:
    """Codes of the currencies that were left out of the input because they are wrong in themselves."""
    return frozenset(name.removeprefix("currencies.").upper() for name in names if name.startswith("currencies."))
