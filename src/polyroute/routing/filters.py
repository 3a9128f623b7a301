"""Why a candidate is not tried: for good, for the shape of a request, or at the moment."""

from __future__ import annotations

from collections.abc import Mapping

from polyroute.routing.breakers import BreakerView
from polyroute.routing.candidates import Candidate, Entry, Facts, PlanRequest, RouteRules
from polyroute.routing.policies import PolicyInputs, expected_cost
from polyroute.types.operations import MEDIA_DIALECT_OF, OPERATION_OF, Dialect, Operation
from polyroute.types.plans import Drop, DropCause, Plan, Target


def static_drop(
    candidate: Candidate, rules: RouteRules, request: PlanRequest, free_pass: bool
) -> tuple[DropCause, str] | None:
    """Why a candidate cannot serve this shape of request, whatever happens; None when it can."""
    target = candidate.target
    if candidate.obstacle is not None:
        return "disabled", candidate.obstacle
    if not candidate.enabled:
        return "disabled", f"provider {target.provider} is switched off"
    if rules.operation not in candidate.operations:
        return "operation", f"provider {target.provider} does not serve {rules.operation}"
    if not any(_reaches(request.dialect, spoken) for spoken in candidate.dialects):
        return (
            "operation",
            f"provider {target.provider} does not speak {request.dialect}, nor a dialect it translates to",
        )
    if not free_pass and not _is_allowed(target, request.allowed):
        return "permission", "the caller's key does not allow it"
    if rules.kinds and candidate.kind not in rules.kinds:
        return "kind", f"the route uses no {candidate.kind} providers"
    lacking = sorted((rules.require | request.require) - candidate.tags)
    if lacking:
        return "requirement", f"lacks required {', '.join(lacking)}"
    needs = request.needs | rules.needs
    if candidate.capabilities is not None and not needs <= candidate.capabilities:
        lacks = sorted(needs - candidate.capabilities)
        others = [
            f"{target.provider} does {name} with {', '.join(candidate.others[name])}"
            for name in lacks
            if name in candidate.others
        ]
        return "capability", "; ".join((f"cannot do {', '.join(lacks)}", *others))
    return None


def _reaches(asked: Dialect, spoken: Dialect) -> bool:
    """Whether a request in one dialect can be sent in another: chat translates, media adapters take whatever is media, and
    everything else is relayed as it is."""
    operation = OPERATION_OF[asked]
    if asked is spoken or spoken is MEDIA_DIALECT_OF.get(operation):
        return True
    return operation is Operation.CHAT and OPERATION_OF[spoken] is Operation.CHAT


def _is_allowed(target: Target, allowed: frozenset[str] | None) -> bool:
    return allowed is None or target.provider in allowed or str(target) in allowed


def size_of(request: PlanRequest) -> int:
    """Tokens that must fit into the context: the prompt, and the answer where its limit is said."""
    return (request.tokens or 0) + (request.output_tokens or 0)


def within_budget(
    main: list[Entry], fallbacks: list[Entry], budget: float, inputs: PolicyInputs, drops: list[Drop]
) -> tuple[list[Entry], list[Entry]]:
    """Drop what would probably cost more than the budget; an unknown price is not held against a target."""

    def affordable(entry: Entry) -> bool:
        cost = expected_cost(entry.terms, inputs)
        if cost is None or cost <= budget:
            return True
        drops.append(Drop(entry.name, f"about {cost:.6f} USD, over the budget of {budget:.6f} USD", "budget"))
        return False

    return [entry for entry in main if affordable(entry)], [entry for entry in fallbacks if affordable(entry)]


def within_context(
    main: list[Entry], fallbacks: list[Entry], size: int, drops: list[Drop]
) -> tuple[list[Entry], list[Entry]]:
    """Drop what is probably too small. An estimate must not refuse a request: of all too small, the largest stays."""

    def fits(entry: Entry) -> bool:
        return entry.candidate.context is None or size <= entry.candidate.context

    kept_main, kept_fallbacks = [entry for entry in main if fits(entry)], [entry for entry in fallbacks if fits(entry)]
    if not kept_main and not kept_fallbacks and (main or fallbacks):
        kept_main = [max([*main, *fallbacks], key=lambda entry: entry.candidate.context or 0)]
    kept = {id(entry) for entry in (*kept_main, *kept_fallbacks)}
    for entry in (*main, *fallbacks):
        if id(entry) not in kept:
            context = entry.candidate.context
            drops.append(Drop(entry.name, f"context of {context} tokens is too small for about {size}", "context"))
    return kept_main, kept_fallbacks


def let_through(entries: list[Entry], facts: Facts, refused: list[tuple[Entry, BreakerView]]) -> list[Entry]:
    """The entries whose breakers allow a request now; the others go to `refused` with the breaker that refuses longest."""
    breakers, now = facts.breakers, facts.now
    ready: list[Entry] = []
    for entry in entries:
        provider, model = breakers.get(entry.provider_breaker), breakers.get(entry.model_breaker)
        if provider is not None and not provider.allows(now):
            if model is not None and model.until > provider.until:
                provider = model
            refused.append((entry, provider))
        elif model is not None and not model.allows(now):
            refused.append((entry, model))
        else:
            ready.append(entry)
    return ready


def breaker_drop(entry: Entry, breaker: BreakerView, now: float) -> Drop:
    wait = breaker.until - now
    cause = f" after {breaker.cause}" if breaker.cause else ""
    match breaker.state:
        case "open":
            words = f"breaker open for another {wait:.1f} s{cause}"
        case "half_open":
            words = f"breaker half open, its probe is under way{cause}"
        case _:
            words = f"rests for another {wait:.1f} s{cause}"
    return Drop(entry.name, words, "breaker")


def with_room(
    main: list[Entry], fallbacks: list[Entry], limited: Mapping[str, str], drops: list[Drop]
) -> tuple[list[Entry], list[Entry], bool]:
    """Drop what may not be asked just now. Where nothing else is left all stay, to be waited for, and the last is True."""
    free_main = [entry for entry in main if entry.name not in limited]
    free_fallbacks = [entry for entry in fallbacks if entry.name not in limited]
    if not free_main and not free_fallbacks:
        return main, fallbacks, bool(main or fallbacks)
    drops += [Drop(entry.name, limited[entry.name], "limit") for entry in (*main, *fallbacks) if entry.name in limited]
    return free_main, free_fallbacks, False


def held_back(plan: Plan) -> list[Target]:
    """The targets that were dropped only because there was no room for a request at the moment."""
    return [Target(*drop.target.partition("/")[::2]) for drop in plan.drops if drop.cause == "limit"]
