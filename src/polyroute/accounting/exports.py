"""Usage that a provider lets one download as CSV, whatever it calls its columns; pure."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from polyroute.accounting.comparing import Consumption

COLUMNS: dict[str, tuple[str, ...]] = {
    "day": ("date", "day", "usage_date", "usage_date_utc", "timestamp", "created_at", "start_time", "starting_at",
            "start_time_iso", "time", "period", "billing_date", "datetime"),
    "model": ("model", "model_name", "model_id", "model_permaslug", "model_version", "snapshot_id", "endpoint", "endpoint_id",
              "sku", "product", "line_item", "description", "service"),
    "id": ("generation_id", "request_id", "prediction_id", "id", "task_id", "job_id"),
    "requests": ("requests", "num_model_requests", "num_requests", "n_requests", "request_count", "api_requests", "count",
                 "calls"),
    "input": ("input_tokens", "prompt_tokens", "tokens_prompt", "native_tokens_prompt", "tokens_in", "n_context_tokens_total",
              "usage_input_tokens", "usage_input_tokens_no_cache", "uncached_input_tokens"),
    "output": ("output_tokens", "completion_tokens", "tokens_completion", "native_tokens_completion", "tokens_out",
               "n_generated_tokens_total", "usage_output_tokens"),
    "cost": ("cost_usd", "total_cost", "cost_total", "cost", "amount_usd", "amount_value", "amount", "spend", "spend_usd",
             "price_usd", "charge", "charged", "usage", "price"),
}  # fmt: skip
"""Names that columns have, likeliest first; compared without case, spaces and signs."""
_BESIDE_INPUT = re.compile(r"cache_read|cache_write|cache_creation|cached")
_EXCLUSIVE_INPUT = frozenset({"usage_input_tokens_no_cache", "uncached_input_tokens"})
"""Counts of input that leave the cache out: the columns of the cache are added to them."""
_SIGNS = re.compile(r"[^a-z0-9]+")
_AMOUNT = re.compile(r"[^0-9eE.,+-]")
_FORMATS = ("%Y/%m/%d", "%d.%m.%Y", "%b %d, %Y", "%d %b %Y", "%Y%m%d", "%B %d, %Y")


def read_export(text: str, columns: Mapping[str, str] | None = None) -> list[Consumption]:
    """The rows of a CSV, TSV or semicolon file with a header. `columns` names columns that are not recognised, by what they
    hold. Raises ValueError that says which are missing, and which there are."""
    text = text.removeprefix("\ufeff")
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        header = next(rows, [])
        places = _places(header, columns or {})
        return list(_read(rows, header, places))
    except csv.Error as error:
        raise ValueError(f"line {rows.line_num} is no line of a CSV file: {error}") from error


def _places(header: Sequence[str], given: Mapping[str, str]) -> dict[str, int]:
    if unknown := sorted(set(given) - set(COLUMNS)):
        raise ValueError(f"no such kind of column: {', '.join(unknown)}; there are {', '.join(COLUMNS)}")
    names = [_plain(name) for name in header]
    places: dict[str, int] = {}
    for kind, known in COLUMNS.items():
        wanted = (_plain(given[kind]),) if kind in given else known
        found = next((names.index(name) for name in wanted if name in names), None)
        if found is None and kind in given:
            raise ValueError(f"there is no column {given[kind]!r}; there are {', '.join(header)}")
        if found is not None and found not in places.values():
            places[kind] = found
    missing = [kind for kind in ("day", "model") if kind not in places]
    if not {"cost", "input", "output"} & places.keys():
        missing.append("cost")
    if missing:
        told = ", ".join(header) or "none: the file is empty"
        raise ValueError(
            f"no column for {', '.join(missing)} was recognised; there are {told}. Name it: --column {missing[0]}=NAME"
        )
    return places


def _plain(name: str) -> str:
    return _SIGNS.sub("_", name.strip().lower()).strip("_")


def _read(rows: Iterator[list[str]], header: Sequence[str], places: Mapping[str, int]) -> Iterator[Consumption]:
    names = [_plain(name) for name in header]
    beside: list[int] = []
    if "input" in places and names[places["input"]] in _EXCLUSIVE_INPUT:
        beside = [at for at, name in enumerate(names) if _BESIDE_INPUT.search(name) and at not in places.values()]
    for number, row in enumerate(rows, 2):
        if not any(field.strip() for field in row):
            continue
        values = {kind: row[at].strip() if at < len(row) else "" for kind, at in places.items()}
        try:
            day = _day(values["day"])
            counted = _count(values.get("input", ""))
            for at in beside:
                more = _count(row[at]) if at < len(row) else None
                counted = counted if more is None else (counted or 0) + more
            requests = _count(values.get("requests", "")) if "requests" in places else 1 if "id" in places else None
            yield Consumption(
                day=day, model=values["model"], id=values.get("id") or None, requests=requests, input_tokens=counted,
                output_tokens=_count(values.get("output", "")), cost_usd=_money(values.get("cost", "")),
            )  # fmt: skip
        except (ValueError, ArithmeticError) as error:
            raise ValueError(f"line {number} cannot be read: {error}") from error


def _day(text: str) -> str:
    if re.fullmatch(r"\d{10}(\.\d+)?|\d{13}", text):
        seconds = float(text) / (1000 if len(text) == 13 else 1)
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    try:
        moment = datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        for form in _FORMATS:
            try:
                return datetime.strptime(text, form).replace(tzinfo=UTC).date().isoformat()
            except ValueError:
                continue
        raise ValueError(f"{text[:40]!r} is no date; write 2026-11-20") from None
    return (moment.astimezone(UTC) if moment.tzinfo is not None else moment).date().isoformat()


def _count(text: str) -> int | None:
    amount = _money(text)
    return None if amount is None else int(amount)


def _money(text: str) -> Decimal | None:
    """`$1,234.50`, `1234.5`, `0,12 €`: a comma is a decimal one where it comes last and two or one digits follow."""
    digits = _AMOUNT.sub("", text)
    if not digits:
        return None
    whole, comma, rest = digits.rpartition(",")
    if comma and "." not in rest and len(rest) != 3:
        digits = f"{whole.replace('.', '').replace(',', '')}.{rest}"
    return Decimal(digits.replace(",", ""))
