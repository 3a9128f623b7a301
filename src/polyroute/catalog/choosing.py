"""How a configured route chooses among its targets: the part of `routes.NAME` that is not a list of targets; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from polyroute.catalog.inputs import ComplexityEntry, RouteEntry
from polyroute.catalog.model import BalanceWeights, ComplexityRules, Currency, Provider
from polyroute.catalog.money import read_amount
from polyroute.catalog.problems import Problems
from polyroute.types.operations import Capability, ProviderKind
from polyroute.types.plans import Target

_SHAPE = ("tools", "structured_output", "reasoning", "code", "media")


class ChoiceReader:
    """Reads one route's choices, noting each that is wrong. `unknown_currencies` are wrong in themselves and told of
    elsewhere; `off` says that some of its targets are left out as things stand."""

    def __init__(
        self,
        name: str,
        entry: RouteEntry,
        providers: Mapping[str, Provider],
        currencies: Mapping[str, Currency],
        unknown_currencies: frozenset[str],
        problems: Problems,
    ) -> None:
        self.path: tuple[str, ...] = ("routes", name)
        self.entry = entry
        self.providers = providers
        self.currencies = currencies
        self.unknown_currencies = unknown_currencies
        self.problems = problems

    def read(self, targets: Sequence[Target], *, off: bool) -> dict[str, Any]:
        """The fields of `catalog.model.Route` for a route with these targets."""
        kinds = self._kinds(targets, off=off)
        return {
            "kinds": kinds,
            "same_model": self.entry.same_model,
            "weights": self._weights(targets),
            "balance": BalanceWeights(**self.entry.balance),
            "exploration": self.entry.exploration,
            "low_budget": self._low_budget(),
            "require": self._require(targets, off=off),
        }

    def _kinds(self, targets: Sequence[Target], *, off: bool) -> tuple[ProviderKind, ...]:
        named = [
            self.problems.name(ProviderKind, text, (*self.path, "kinds", index), "kind")
            for index, text in enumerate(self.entry.kinds)
        ]
        kinds = tuple(dict.fromkeys(kind for kind in named if kind is not None))
        have = {self.providers[target.provider].kind for target in targets}
        if kinds and have and not off and have.isdisjoint(kinds):
            told = ", ".join(sorted(have))
            self.problems.note(
                (*self.path, "kinds"),
                f"none of its targets is of a kind that it uses: they are {told}",
                expected=f"{told} among them, or other targets",
            )
        return kinds

    def _weights(self, targets: Sequence[Target]) -> Mapping[Target, float]:
        complexity = self.entry.complexity or ComplexityEntry()
        texts = dict.fromkeys((*self.entry.targets, *(complexity.simple or ()), *(complexity.complex or ())))
        found: dict[Target, float] = {}
        for text, weight in self.entry.weights.items():
            meant = [target for target in targets if text in (target.provider, str(target))]
            if not meant and text not in texts:
                path = (*self.path, "weights", text)
                self.problems.add(path, "a weight for what is none of its targets", given=text, choices=texts)
            found |= dict.fromkeys(meant, weight)
        return MappingProxyType(found)

    def _low_budget(self) -> float | None:
        text = self.entry.low_budget
        if text is None or any(text.upper().endswith(code) for code in self.unknown_currencies):
            return None
        try:
            return read_amount(text, self.currencies).usd
        except ValueError as error:
            self.problems.note((*self.path, "low_budget"), "wrong amount", given=repr(text), expected=str(error))
            return None

    def _require(self, targets: Sequence[Target], *, off: bool) -> frozenset[str]:
        wanted = frozenset(self.entry.require)
        capable = wanted & frozenset(Capability)
        if wanted and targets and not off and not any(self._has(target, wanted, capable) for target in targets):
            self.problems.note(
                (*self.path, "require"),
                f"none of its targets has all of {', '.join(sorted(wanted))}",
                expected="providers.NAME.tags or model_facts that say so, or fewer requirements",
            )
        return wanted

    def _has(self, target: Target, wanted: frozenset[str], capable: frozenset[str]) -> bool:
        provider = self.providers[target.provider]
        facts = provider.model_facts.get(target.model)
        tags = provider.tags | (facts.tags if facts else frozenset())
        can = facts.capabilities if facts and facts.capabilities is not None else provider.capabilities
        return wanted - capable <= tags and (not can or capable <= can)


def complexity_rules(entry: ComplexityEntry) -> ComplexityRules:
    """The thresholds and switches of a `complexity`."""
    given = msgspec.structs.asdict(entry)
    return ComplexityRules(
        tokens=entry.tokens or None, turns=entry.turns or None, **{name: given[name] for name in _SHAPE}
    )
