"""Many callers at once, and what they were told."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import httpx
import msgspec


class Told(msgspec.Struct, frozen=True):
    """One answer, as far as money is concerned."""

    status: int
    cost: Decimal | None
    body: str
    headers: dict[str, str]


def ask_at_once(url: str, count: int, body: dict[str, Any], *, path: str = "/v1/chat/completions") -> list[Told]:
    """`count` requests, each on a connection of its own, so that all workers get some. A gateway that dies gives status 0."""
    return asyncio.run(_ask_all(url + path, count, body))


async def _ask_all(url: str, count: int, body: dict[str, Any]) -> list[Told]:
    limits = httpx.Limits(max_connections=count, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as client:
        return list(await asyncio.gather(*(_ask(client, url, body) for _ in range(count))))


async def _ask(client: httpx.AsyncClient, url: str, body: dict[str, Any]) -> Told:
    try:
        answer = await client.post(url, json=body)
    except httpx.HTTPError as error:
        return Told(0, None, str(error), {})
    cost = answer.headers.get("x-polyroute-cost-usd")
    return Told(answer.status_code, None if cost is None else Decimal(cost), answer.text, dict(answer.headers))
