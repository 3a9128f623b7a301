"""What one request holds of its budgets: reserved before each target is asked, charged or released exactly once."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal

import msgspec

from polyroute.engine.bounds import Extent, Limits, measure_request, most_it_costs, most_of_chat
from polyroute.engine.budgets import Budgets
from polyroute.engine.lanes import Conversation
from polyroute.engine.runtime import LiveProvider, Runtime
from polyroute.engine.slices import Slice
from polyroute.ports import Headers
from polyroute.routing.windows import iso_moment
from polyroute.types.budgets import UNIT, Budget, Charge
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import ProviderKind
from polyroute.types.plans import Target
from polyroute.types.records import RequestRecord

_WAV_HEADER = 44


def units_of(amount: Decimal) -> int:
    """An amount in US dollars or credits → units, rounded up."""
    return int((amount * UNIT).to_integral_value(ROUND_CEILING))


class Hold:
    """A request's reservations, one for each budget that it counts against. `label_price` is in credits."""

    __slots__ = ("_budgets", "_conversation", "_extent", "_held", "_runtime", "_slices", "credits")

    def __init__(
        self,
        budgets: Budgets,
        slices: list[Slice],
        conversation: Conversation,
        runtime: Runtime,
        label_price: Decimal | None,
    ) -> None:
        self._budgets = budgets
        self._slices = slices
        self._conversation = conversation
        self._runtime = runtime
        self._held = [0] * len(slices)
        self._extent: Extent | None = None
        self.credits = label_price

    def add(self, slices: list[Slice]) -> None:
        """Count against these budgets too."""
        new = [one for one in slices if one not in self._slices]
        self._slices = [*self._slices, *new]
        self._held += [0] * len(new)

    @property
    def softened(self) -> Budget | None:
        """The budget that has most to say of where the request goes, when its soft limit is reached; None: none has."""
        found: Budget | None = None
        for one in self._slices:
            budget = one.budget
            if budget.soft_action != "warn" and one.is_soft():
                if budget.soft_action == "downgrade":
                    return budget
                found = found or budget
        return found

    # ---------------------------------------------------------------- before a target is asked

    async def cover(
        self, provider: LiveProvider, target: Target, spent: Decimal | None, more: int = 0
    ) -> PolyrouteError | None:
        """Reserve the most that the request may cost when this target is asked, `spent` USD by broken attempts included,
        with a prompt that is `more` tokens longer than the caller's. The refusal, when a budget does not have it."""
        dollars: int | None = None
        asked = False
        for at, one in enumerate(self._slices):
            budget = one.budget
            if not budget.hard:
                continue
            if budget.in_credits:
                amount = None if self.credits is None else units_of(self.credits)
            else:
                if not asked:
                    dollars, asked = self._bound(provider, target, more), True
                    if spent is not None and dollars is not None:
                        dollars += units_of(spent)
                amount = dollars
            if amount is None:
                if budget.unpriced == "refuse":
                    return _unpriced(budget, target)
                continue
            short = amount - self._held[at]
            if short <= 0:
                continue
            try:
                admitted = await self._budgets.acquire(one, short)
            except ConnectionError as error:
                return PolyrouteError(ErrorKind.UNAVAILABLE, f"The budget '{budget.id}' cannot be checked: {error}.")
            if not admitted:
                refusal = _over_budget(one, short + self._held[at])
                self._budgets.tell_exhausted(one, refusal.message)
                return refusal
            self._held[at] += short
        return None

    def _bound(self, provider: LiveProvider, target: Target, more: int) -> int | None:
        price = self._runtime.prices.price(target.provider, target.model)
        if price is None:
            free = provider.row.kind is ProviderKind.LOCAL or target.model.endswith(":free")
            return 0 if free else None
        extent = self._extent = self._extent or _extent_of(self._conversation)
        if more and extent.prompt is not None:
            extent = msgspec.structs.replace(extent, prompt=extent.prompt + more)
        facts = provider.row.model_facts.get(target.model)
        limits = Limits(
            context=None if facts is None else facts.context,
            max_output=provider.adapter.profile(target.model).max_output,
        )
        allowance = self._runtime.catalog.defaults.output_tokens
        factor = provider.row.mark_up
        quick = most_of_chat(extent, price, limits, allowance)
        if quick is not None:
            return quick if factor <= 1.0 else math.ceil(quick * factor)
        found = most_it_costs(extent, price, limits, allowance, factor)
        return None if found is None else units_of(found)

    # ---------------------------------------------------------------- when it ends

    def settle(self, record: RequestRecord) -> None:
        """Put the charges into the record, and release what is not spent. Called once, synchronously."""
        served = record.actual_provider is not None
        cost = None if record.cost_usd is None else units_of(record.cost_usd)
        for at, one in enumerate(self._slices):
            held, budget = self._held[at], one.budget
            if not served:
                spent = 0
            elif budget.in_credits:
                spent = 0 if self.credits is None else units_of(self.credits)
            elif cost is not None:
                spent = cost
            else:
                spent = held  # an answer whose cost nobody can tell: what was set aside for it
            used = one.settle(held, spent)
            self._held[at] = 0
            if spent:
                record.charges.append(Charge(budget.id, one.start, spent, used, self._budgets.worker if used else ""))

    def headers(self) -> Headers:
        """`x-polyroute-budget-remaining`: of the budget that has the smallest part left, with its name and renewal."""
        if not self._slices:
            return []
        one = self._slices[0]
        if len(self._slices) > 1:
            one = min(self._slices, key=lambda one: one.remaining / max(one.budget.limit, 1))
        return [(b"x-polyroute-budget-remaining", one.budget.words(one.remaining).encode()), *one.labels]


def _extent_of(conversation: Conversation) -> Extent:
    call, form, persona = conversation.call, conversation.form, conversation.persona
    added, answer = 0, None
    if persona is not None:
        added = len((persona.system or "").encode()) + 64
        answer = persona.max_tokens
    body = call.body if isinstance(call.body, bytes) else b""
    return measure_request(
        call.operation, call.dialect, call.fields, body, added=added, answer=answer,
        upload=0 if form is None else form.size, form=None if form is None else form.values(),
        byte_rate=None if form is None else wav_byte_rate(form.peek(_WAV_HEADER)),
    )  # fmt: skip


def wav_byte_rate(head: bytes) -> int | None:
    """Bytes to a second of a WAV file, by its header; None for anything else."""
    if len(head) < _WAV_HEADER or head[:4] != b"RIFF" or head[8:16] != b"WAVEfmt ":
        return None
    rate = int.from_bytes(head[28:32], "little")
    return rate if rate >= 1000 else None


def _unpriced(budget: Budget, target: Target) -> PolyrouteError:
    if budget.in_credits:
        return PolyrouteError(
            ErrorKind.OVER_BUDGET,
            f"The budget '{budget.id}' counts credits, and this model has no price in credits: set it under `credits`, or "
            f"`unpriced: allow` for the budget.",
            code="unpriced",
        )
    return PolyrouteError(
        ErrorKind.OVER_BUDGET,
        f"The price of {target} is unknown, and the budget '{budget.id}' lets nothing pass that cannot be counted: set "
        f"providers.{target.provider}.model_facts, or `unpriced: allow` for the budget.",
        code="unpriced",
    )  # fmt: skip


def _over_budget(one: Slice, units: int) -> PolyrouteError:
    budget = one.budget
    every = {"day": "a day", "week": "a week", "month": "a month", "total": "in all"}[budget.window]
    renews = "" if one.end == float("inf") else f" It begins anew at {iso_moment(one.end, budget.time_zone)}."
    under_way = max(0, one.state.leased - max(one.available, 0))
    return PolyrouteError(
        ErrorKind.OVER_BUDGET,
        f"The budget '{budget.id}' ({budget.holder}: {budget.amount} {budget.currency} {every}) does not have the "
        f"{budget.words(units)} that this request may cost: {budget.words(one.state.spent)} are spent and "
        f"{budget.words(under_way)} held by others under way.{renews}",
        code="over_budget",
    )
