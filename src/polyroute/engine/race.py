"""Hedging: a request that keeps us waiting is asked of a second target as well, and the first good answer wins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from polyroute.engine.attempts import Attempt
from polyroute.engine.hedging import Hedging
from polyroute.routing.retry import NextTarget, Stop
from polyroute.types.plans import Target

Outcome = Attempt | NextTarget | Stop
TryTarget = Callable[[Target, int], Coroutine[Any, Any, Outcome]]


async def race(try_target: TryTarget, first: Target, left: list[Target], wait: float, hedging: Hedging) -> Outcome:
    """The first target, and after `wait` seconds the next one beside it, which is then taken out of `left`.

    The first good answer wins and the other attempt is cancelled; the outcome of the last to fail stands when both fail.
    """
    tasks = {asyncio.create_task(try_target(first, len(left)))}
    try:
        done, _ = await asyncio.wait(tasks, timeout=wait)
        if not done and hedging.withdraw():
            tasks.add(asyncio.create_task(try_target(left.pop(0), len(left))))
        waiting = set(tasks)
        while True:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            outcomes = [task.result() for task in done]
            won = [outcome for outcome in outcomes if isinstance(outcome, Attempt)]
            if won or not waiting:
                for beaten in won[1:]:
                    beaten.response.abort()
                return won[0] if won else outcomes[-1]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
