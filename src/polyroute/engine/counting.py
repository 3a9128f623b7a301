"""How many tokens a prompt has: asked of the provider where it counts for free, estimated where it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from polyroute.engine.gateway import Gateway
from polyroute.engine.lanes import JSON
from polyroute.ports import Call, Endpoint
from polyroute.routing.candidates import Facts, PlanRequest
from polyroute.routing.requirements import requirements_of_fields
from polyroute.types.errors import AttemptFailed
from polyroute.types.operations import Dialect

_LARGEST = 1 << 16


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
            counting: Endpoint = msgspec.structs.replace(endpoint, path=f"{endpoint.path}/count_tokens")
            fields: dict[str, Any] = {**(call.fields or {}), "model": target.model}
            request = provider.adapter.request(
                counting, target, provider.credentials[0] if provider.credentials else None,
                body=msgspec.json.encode(fields), content_type=JSON, stream=False, forward=call.forward,
            )  # fmt: skip
            deadline = now + min(choice.timeouts.total, choice.timeouts.headers)
            try:
                response = await gateway.transport.send(request, choice.timeouts, deadline)
                body = await response.read(deadline, _LARGEST)
                if response.status == 200:
                    return msgspec.json.decode(body, type=_Count).input_tokens, False
            except (AttemptFailed, msgspec.MsgspecError):
                pass  # an estimate is better than no answer
            break
    body = call.body if isinstance(call.body, bytes) else b""
    return max(1, requirements_of_fields(call.dialect, call.fields or {}, body).tokens), True
