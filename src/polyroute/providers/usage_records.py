"""Fetching a provider's own record of what it served us."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from polyroute.accounting import provider_records as records
from polyroute.accounting.comparing import Consumption
from polyroute.catalog.model import Provider
from polyroute.ports import Credential, Transport
from polyroute.providers.asking import ask_provider
from polyroute.types.errors import ErrorKind, PolyrouteError

MOST_IDS = 2000
"""Requests that are asked for one by one, at most; the latest are."""
_AT_ONCE = 8
_PAGES = 100

Ask = Callable[[str], Awaitable[dict[str, Any]]]


class Fetched(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's record of a time. `by_id`: request by request, and then it tells only of the ids that were asked for."""

    rows: tuple[Consumption, ...]
    by_id: bool
    source: str
    notes: tuple[str, ...] = ()


ADMIN_KEYS: dict[str, str] = {
    "openrouter": "OPENROUTER_PROVISIONING_KEY",
    "openai": "OPENAI_ADMIN_KEY",
    "anthropic": "ANTHROPIC_ADMIN_KEY",
}
"""The providers that keep a record for programs, and where its credential is looked for in the environment."""


async def fetch_record(
    row: Provider, credential: Credential | None, transport: Transport, since: datetime, until: datetime,
    ids: Sequence[str], *, by_id: bool = False,
) -> Fetched:  # fmt: skip
    """The provider's record. `ids` are those of our requests. Raises PolyrouteError where it has none, or refuses."""

    async def ask(path: str) -> dict[str, Any]:
        try:
            return records.decode_record(await ask_provider(row, path, credential, transport))
        except records.NoRecordError as error:
            raise PolyrouteError(ErrorKind.BAD_RESPONSE, f"{row.name}: {error}") from error

    match row.name:
        case "openrouter" if by_id:
            return await _generations(ask, ids)
        case "openrouter":
            try:
                return await _activity(ask, since, until)
            except PolyrouteError as error:
                if error.kind is not ErrorKind.UNAUTHORIZED:
                    raise
            found = await _generations(ask, ids)
            told = (
                "its activity needs a provisioning key (OPENROUTER_PROVISIONING_KEY), so requests were asked for by id"
            )
            return msgspec.structs.replace(found, notes=(told, *found.notes))
        case "openai":
            span = {
                "start_time": int(since.timestamp()),
                "end_time": int(until.timestamp()),
                "bucket_width": "1d",
                "limit": 31,
            }
            usage = await _pages(
                ask, "/organization/usage/completions", {**span, "group_by[]": "model"}, records.openai_usage
            )
            costs = await _pages(ask, "/organization/costs", {**span, "group_by[]": "line_item"}, records.openai_costs)
            return Fetched(rows=(*usage, *costs), by_id=False, source="organization usage and costs", notes=_WHOLE_DAYS)
        case "anthropic":
            span = {"starting_at": _text(since), "ending_at": _text(until), "bucket_width": "1d", "limit": 31}
            usage = await _pages(
                ask, "/v1/organizations/usage_report/messages", {**span, "group_by[]": "model"}, records.anthropic_usage
            )
            costs = await _pages(
                ask, "/v1/organizations/cost_report", {**span, "group_by[]": "description"}, records.anthropic_costs
            )
            return Fetched(rows=(*usage, *costs), by_id=False, source="usage and cost reports", notes=_WHOLE_DAYS)
    raise PolyrouteError(
        ErrorKind.NOT_FOUND,
        f"{row.name} keeps no record for programs that Polyroute can read: download its usage as CSV, and give it with --csv",
    )


_WHOLE_DAYS = ("the record is of the whole organization: consumption beside Polyroute shows as missing on our side",)


_ACTIVITY = (
    "activity is of the whole account, of the last 30 days, and of today only once the day (UTC) is over; "
    "--by-id asks request by request"
)


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


async def _pages(
    ask: Ask, path: str, query: dict[str, Any], read: Callable[[dict[str, Any]], Iterable[Consumption]]
) -> list[Consumption]:
    found: list[Consumption] = []
    page: str | None = None
    for _ in range(_PAGES):
        document = await ask(f"{path}?{urlencode(query if page is None else {**query, 'page': page})}")
        try:
            found += read(document)
        except records.NoRecordError as error:
            raise PolyrouteError(ErrorKind.BAD_RESPONSE, str(error)) from error
        page = records.next_page(document)
        if page is None:
            break
    return found


async def _activity(ask: Ask, since: datetime, until: datetime) -> Fetched:
    try:
        rows = list(records.openrouter_activity(await ask("/activity")))
    except records.NoRecordError as error:
        raise PolyrouteError(ErrorKind.BAD_RESPONSE, str(error)) from error
    first, last = since.date().isoformat(), (until - timedelta(microseconds=1)).date().isoformat()
    return Fetched(
        rows=tuple(row for row in rows if first <= row.day <= last),
        by_id=False,
        source="activity",
        notes=(_ACTIVITY,),
    )


async def _generations(ask: Ask, ids: Sequence[str]) -> Fetched:
    wanted = list(dict.fromkeys(ids))
    places = asyncio.Semaphore(_AT_ONCE)

    async def one(identifier: str) -> Consumption | None:
        async with places:
            try:
                return records.openrouter_generation(await ask(f"/generation?id={quote(identifier, safe='')}"))
            except records.NoRecordError as error:
                raise PolyrouteError(ErrorKind.BAD_RESPONSE, str(error)) from error
            except PolyrouteError as error:
                if error.kind is ErrorKind.NOT_FOUND:
                    return None
                raise

    found = await asyncio.gather(*(one(identifier) for identifier in wanted[-MOST_IDS:]))
    notes = ["requests that only OpenRouter has cannot show: it was asked for ours"]
    if len(wanted) > MOST_IDS:
        notes.append(f"only the last {MOST_IDS} of {len(wanted)} requests were asked for; --since narrows it")
    return Fetched(
        rows=tuple(row for row in found if row is not None), by_id=True, source="generations", notes=tuple(notes)
    )
