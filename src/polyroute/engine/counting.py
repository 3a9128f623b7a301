"""How many tokens a prompt has: asked of the provider where it counts for free, estimated where it does not."""

from __future__ import annotations

import asyncio
import random

import msgspec

from polyroute.engine.gateway import Gateway
from polyroute.engine.lanes import JSON
from polyroute.engine.runtime import LiveProvider
from polyroute.ports import Call, Endpoint, Timeouts
from polyroute.routing.candidates import Facts, PlanRequest
from polyroute.routing.requirements import requirements_of_fields
from polyroute.types.errors import AttemptFailed, ErrorKind
from polyroute.types.operations import Dialect
from polyroute.types.plans import Target

_LARGEST = 1 << 16
_OTHERS_MAY = frozenset({ErrorKind.CREDENTIAL_REJECTED, ErrorKind.QUOTA_EXHAUSTED, ErrorKind.RATE_LIMITED})
"""Failures that another credential may not meet."""


class _Count(msgspec.Struct):
    """Anthropic's answer."""

    input_tokens: int


async def count_tokens(gateway: Gateway, call: Call) -> tuple[int, bool]:
    """The tokens of a call's prompt, and whether that is only an estimate. Raises PolyrouteError for an unknown model.

    Only Anthropic's dialect has an endpoint for it; of the targets that would be tried, the first that speaks it is asked.
    """
    runtime = gateway.runtime
    choice = runtime.choose(call.model, call.operation)
    if call.dialect is Dialect.ANTHROPIC_MESSAGES:
        loop = asyncio.get_running_loop()
        now = loop.time()
        plan = choice.planner.plan(
            PlanRequest(dialect=call.dialect), Facts(now=now, breakers=gateway.breakers.restricted)
        )
        for target in plan.targets:
            provider = runtime.providers[target.provider]
            endpoint = provider.adapter.endpoint(call.operation, call.dialect)
            if endpoint is None or endpoint.dialect is not call.dialect:
                continue
            counting = msgspec.structs.replace(endpoint, path=f"{endpoint.path}/count_tokens")
            counted = await _ask(gateway, provider, counting, target, call, choice.timeouts)
            if counted is not None:
                return counted, False
            break
    body = call.body if isinstance(call.body, bytes) else b""
    return max(1, requirements_of_fields(call.dialect, call.fields or {}, body).tokens), True


async def _ask(
    gateway: Gateway, provider: LiveProvider, counting: Endpoint, target: Target, call: Call, timeouts: Timeouts
) -> int | None:
    """The provider's count, by the first credential that it accepts; None where it gives none, for an estimate is better
    than no answer. Counting has rate limits of its own, so that only a rejected credential is benched."""
    pool, adapter, loop = provider.access.pool, provider.adapter, asyncio.get_running_loop()
    body = msgspec.json.encode({**(call.fields or {}), "model": target.model})
    deadline = loop.time() + min(timeouts.total, timeouts.headers)
    used: list[str] = []
    while True:
        now = loop.time()
        point = random.random()  # noqa: S311 (spreads load; nothing secret)
        state = pool.choose(target.model, 0, now, point, used) or pool.least_bad(target.model, now, used)
        if state is None and (pool.states or used):
            return None
        credential = None if state is None else state.credential
        request = adapter.request(
            counting, target, credential, body=body, content_type=JSON, stream=False, forward=call.forward
        )
        try:
            response = await gateway.transport.send(request, timeouts, deadline)
            answer = await response.read(deadline, _LARGEST)
            if response.status == 200:
                return msgspec.json.decode(answer, type=_Count).input_tokens
        except (AttemptFailed, msgspec.MsgspecError):
            return None
        failure = adapter.classify(response.status, response.headers, answer)
        if credential is None or failure.kind not in _OTHERS_MAY:
            return None
        used.append(credential.label)
        if failure.kind is ErrorKind.CREDENTIAL_REJECTED:
            pool.fail(credential.label, target.model, failure, now)
