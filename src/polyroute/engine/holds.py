"""What one request holds of its budgets: reserved before each target is asked, charged or released exactly once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from polyroute.engine.bounds import (
    Extent,
    Limits,
    measure_request,
    most_it_costs,
    most_of_chat,
    most_of_plain,
    plain_prompt,
)
from polyroute.engine.budgets import Budgets
from polyroute.engine.lanes import Conversation
from polyroute.engine.runtime import LiveProvider, Runtime
from polyroute.engine.slices import Slice
from polyroute.ports import Headers
from polyroute.routing.windows import iso_moment
from polyroute.types.budgets import UNIT, Budget, Charge
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.operations import Operation, ProviderKind
from polyroute.types.plans import Target
from polyroute.types.records import RequestRecord

_WAV_HEADER = 44
_UNIT = Decimal(UNIT)
_CHAT = Operation.CHAT


def units_of(amount: Decimal) -> int:
    """An amount in US dollars or credits → units, rounded up."""
    return math.ceil(amount * _UNIT)


class Hold:
    """A request's reservations, one for each budget that it counts against. `label_price` is in credits."""

    __slots__ = ("_budgets", "_conversation", "_extent", "_held", "_refused_by", "_runtime", "_slices", "credits")

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
        self._refused_by: str | None = None
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
                    self._refused_by = budget.id
                    return _unpriced(budget, target)
                continue
            short = amount - self._held[at]
            if short <= 0:
                continue
            try:
                admitted = self._budgets.take(one, short) or await self._budgets.acquire(one, short)
            except ConnectionError as error:
                if budget.database_away == "allow":
                    self._budgets.tell_unchecked(one)
                    continue
                return PolyrouteError(
                    ErrorKind.UNAVAILABLE,
                    f"The budget '{budget.id}' cannot be checked: {error}. `database_away: allow` would let requests pass.",
                    code="budget_unavailable", retry_after=5, status=503,
                )  # fmt: skip
            if not admitted:
                self._refused_by = budget.id
                refusal = _over_budget(one, short + self._held[at])
                self._budgets.tell_exhausted(one, refusal.message)
                return refusal
            self._held[at] += short
        return None

    async def lacks(self, targets: Sequence[tuple[LiveProvider, Target]]) -> PolyrouteError | None:
        """Why the budgets have too little for every one of these targets, None when they have it for one. Nothing is
        reserved: somebody asks them later, perhaps in another process."""
        hard = [one for one in self._slices if one.budget.hard]
        if not hard:
            return None
        await self._budgets.look(hard)
        refusal: PolyrouteError | None = None
        for provider, target in targets:
            refusal = self._lacks(hard, provider, target)
            if refusal is None:
                return None
        if self._refused_by is not None:
            self._budgets.tell_refused(self._refused_by)
        return refusal

    def _lacks(self, hard: list[Slice], provider: LiveProvider, target: Target) -> PolyrouteError | None:
        dollars = self._bound(provider, target, 0)
        for one in hard:
            budget = one.budget
            credits_ = None if self.credits is None else units_of(self.credits)
            amount = credits_ if budget.in_credits else dollars
            if amount is None and budget.unpriced == "refuse":
                self._refused_by = budget.id
                return _unpriced(budget, target)
            if amount is not None and amount > one.remaining:
                self._refused_by = budget.id
                refusal = _over_budget(one, amount)
                self._budgets.tell_exhausted(one, refusal.message)
                return refusal
        return None

    def _bound(self, provider: LiveProvider, target: Target, more: int) -> int | None:
        price = self._runtime.prices.price(target.provider, target.model)
        if price is None:
            free = provider.row.kind is ProviderKind.LOCAL or target.model.endswith(":free")
            return 0 if free else None
        conversation, facts = self._conversation, provider.row.model_facts.get(target.model)
        context, call = None if facts is None else facts.context, conversation.call
        if call.operation is _CHAT and conversation.persona is None and type(call.body) is bytes:
            plain = plain_prompt(call.dialect, call.fields, call.body)
            if plain is not None:
                prompt, answer = plain
                if answer is None:
                    answer = provider.adapter.profile(target.model).max_output
                allowed = answer or self._runtime.catalog.defaults.output_tokens
                quick = most_of_plain(prompt + more, allowed, price, context)
                if quick is not None:
                    factor = self._factor(provider, target)
                    return quick if factor <= 1.0 else math.ceil(quick * factor)
        extent = self._extent = self._extent or _extent_of(conversation)
        if more and extent.prompt is not None:
            extent = msgspec.structs.replace(extent, prompt=extent.prompt + more)
        limits = Limits(
            context=context,
            max_output=provider.adapter.profile(target.model).max_output,
        )
        allowance = self._runtime.catalog.defaults.output_tokens
        factor = self._factor(provider, target)
        quick = most_of_chat(extent, price, limits, allowance)
        if quick is not None:
            return quick if factor <= 1.0 else math.ceil(quick * factor)
        found = most_it_costs(extent, price, limits, allowance, factor)
        return None if found is None else units_of(found)

    def _factor(self, provider: LiveProvider, target: Target) -> float:
        """On the list price: the provider's mark-up, or what it was seen to charge."""
        factor, dearer = provider.row.mark_up, self._budgets.dearer
        if dearer:
            factor = max(factor, dearer.get((target.provider, target.model), 1.0))
        return factor

    # ---------------------------------------------------------------- when it ends

    def settle(self, record: RequestRecord) -> None:
        """Put the charges into the record, and release what is not spent. Called once, synchronously."""
        served = record.actual_provider is not None
        if self._refused_by is not None and record.error_kind == ErrorKind.OVER_BUDGET:
            self._budgets.tell_refused(self._refused_by)
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
            if cost is not None and cost > held > 0 and not budget.in_credits:
                self._budgets.note_dearer(record)
            used = one.settle(held, spent)
            self._held[at] = 0
            if spent:
                record.charges.append(Charge(budget.id, one.start, spent, used, self._budgets.worker if used else ""))

    def headers(self) -> Headers:
        """`x-polyroute-budget-remaining`: of the budget that has the smallest part left, with its name and renewal."""
        if not self._slices:
            return []
        tightest, least = self._slices[0], self._slices[0].remaining
        for one in self._slices[1:]:
            remaining = one.remaining
            if remaining * tightest.budget.limit < least * one.budget.limit:
                tightest, least = one, remaining
        return [(b"x-polyroute-budget-remaining", tightest.budget.words(least).encode()), *tightest.labels]


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
