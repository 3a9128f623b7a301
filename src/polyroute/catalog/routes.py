"""Routes: the built-in ones over every provider, and those of the configuration; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import msgspec

from polyroute.catalog.choosing import ChoiceReader, complexity_rules
from polyroute.catalog.inputs import CatalogInput, RouteEntry
from polyroute.catalog.model import Currency, Defaults, Persona, Policy, Provider, Route, SkippedProvider, Split
from polyroute.catalog.money import invalid_codes
from polyroute.catalog.problems import Problems, find_nearest
from polyroute.catalog.resilience import read_hedge, read_rescue
from polyroute.types.operations import Operation, ProviderKind
from polyroute.types.plans import Drop, Target

Path = tuple[str | int, ...]

BUILT_IN_ROUTES: Mapping[str, Operation] = {
    "text": Operation.CHAT,
    "embedding": Operation.EMBED,
    "image": Operation.IMAGE,
    "speech": Operation.SPEECH,
    "transcription": Operation.TRANSCRIPTION,
    "video": Operation.VIDEO,
    "music": Operation.MUSIC,
    "compose": Operation.COMPOSE,
}
POLICIES: tuple[Policy, ...] = get_args(Policy)
_KIND_ORDER = (ProviderKind.DIRECT, ProviderKind.GATEWAY, ProviderKind.LOCAL)


def order_providers(providers: Mapping[str, Provider], operation: Operation) -> list[Provider]:
    """Those that serve an operation, the one to try first in front: by priority, those without a number behind, among
    them makers before resellers before one's own machines, then by name."""
    serving = [provider for provider in providers.values() if operation in provider.serves]
    return sorted(
        serving,
        key=lambda provider: (
            provider.priority.get(operation, float("inf")),
            _KIND_ORDER.index(provider.kind),
            provider.name,
        ),
    )


def built_in_routes(providers: Mapping[str, Provider], defaults: Defaults) -> dict[str, Route]:
    """One route for each operation that some provider serves by default."""
    routes = {}
    for name, operation in BUILT_IN_ROUTES.items():
        ordered = order_providers(providers, operation)
        targets = tuple(
            Target(provider.name, provider.default_models[operation])
            for provider in ordered
            if operation in provider.default_models
        )
        drops = tuple(
            Drop(provider.name, no_default(provider.name, operation))
            for provider in ordered
            if operation not in provider.default_models
        )
        if targets:
            routes[name] = Route(
                name=name, operation=operation, policy=defaults.policy, targets=targets, built_in=True, drops=drops
            )
    return routes


def no_default(provider: str, operation: Operation) -> str:
    """Why a provider cannot be named alone."""
    return f"no default model for {operation}: write {provider}/MODEL or set providers.{provider}.default_models.{operation}"


def read_policy(text: str, path: Path, problems: Problems) -> Policy:
    """Text → a policy of this version, or a problem."""
    for policy in POLICIES:
        if text == policy:
            return policy
    problems.add(path, "unknown policy", given=text, choices=POLICIES)
    return POLICIES[0]


class RouteReader:
    """Reads the configured routes, each once, following fallbacks that name other routes and noting what is wrong."""

    def __init__(
        self,
        given: CatalogInput,
        providers: Mapping[str, Provider],
        skipped: Mapping[str, SkippedProvider],
        *,
        serves: Mapping[str, frozenset[Operation]],
        defaults: Defaults,
        currencies: Mapping[str, Currency],
        problems: Problems,
    ) -> None:
        self.entries = given.routes
        self.currencies = currencies
        self.invalid_codes = invalid_codes(given.invalid)
        self.invalid = given.invalid
        self.providers = providers
        self.skipped = skipped
        self.serves = serves
        self.defaults = defaults
        self.problems = problems
        self.built_in = built_in_routes(providers, defaults)
        self.names = sorted({*providers, *skipped})
        mistaken = {found.path[1] for found in problems.found if found.path[0] == "providers" and len(found.path) == 2}
        self.valid = [name for name in self.names if name not in mistaken]
        self.done: dict[str, Route] = {}
        self.open: list[str] = []

    def read_all(self) -> dict[str, Route]:
        """Every configured route by name, in the configuration's order."""
        return {name: self.read(name) for name in self.entries}

    def read(self, name: str) -> Route:
        """One configured route."""
        if name in self.done:
            return self.done[name]
        entry = self.entries[name]
        first = name.partition("/")[0]
        if "/" in name and first in self.names:
            message = f"a route of this name would hide the target {name}: {first} is a provider"
            self.problems.add(("routes", name), message)
        operation = self.operation(name, entry)
        timeouts = self.defaults.timeouts
        self.open.append(name)
        drops: list[Drop] = []
        split = self.split(name, entry, operation, drops)
        targets = self.targets(name, entry, operation, drops) if split is None else split.simple + split.complex
        targets = tuple(dict.fromkeys(targets))
        off = bool(drops)
        fallbacks = self.chain(name, "fallbacks", entry.fallbacks, operation, drops)
        longer = self.chain(name, "on_context_too_long", entry.on_context_too_long, operation, [])
        other = self.chain(name, "on_content_filtered", entry.on_content_filtered, operation, [])
        self.open.pop()
        choices = ChoiceReader(name, entry, self.providers, self.currencies, self.invalid_codes, self.problems)
        self.done[name] = Route(
            name=name,
            operation=operation,
            policy=self.defaults.policy
            if entry.policy is None
            else read_policy(entry.policy, ("routes", name, "policy"), self.problems),
            targets=targets,
            fallbacks=tuple(target for target in fallbacks if target not in targets),
            timeouts=None if entry.timeouts is None else msgspec.structs.replace(timeouts, **entry.timeouts),
            retries=entry.retries,
            drops=tuple(drops),
            persona=self.persona(name, entry, operation),
            limits=entry.limits,
            rescue=read_rescue(name, entry, operation, self.problems),
            hedge=read_hedge(name, entry, operation, self.problems),
            longer_context=longer,
            other_filter=other,
            split=split,
            log_content=entry.log_content,
            **choices.read(targets, off=off),
        )
        return self.done[name]

    def persona(self, name: str, entry: RouteEntry, operation: Operation) -> Persona | None:
        """Its persona, which only a chat can have."""
        if entry.persona is not None and operation is not Operation.CHAT:
            self.problems.add(("routes", name, "persona"), f"a route for {operation} has no persona: only chat does")
        return entry.persona

    def operation(self, name: str, entry: RouteEntry) -> Operation:
        """The one it names, else that of the built-in route in whose place it stands, else chat."""
        own = BUILT_IN_ROUTES.get(name, Operation.CHAT)
        if entry.operation is None:
            return own
        return self.problems.name(Operation, entry.operation, ("routes", name, "operation"), "operation") or own

    def split(self, name: str, entry: RouteEntry, operation: Operation, drops: list[Drop]) -> Split | None:
        """Its targets by complexity; the level that it does not name has the route's own."""
        told = entry.complexity
        if told is None:
            return None
        path: Path = ("routes", name, "complexity")
        if operation is not Operation.CHAT:
            self.problems.add(path, f"a request for {operation} is neither simple nor complex: only chat is")
            return None
        if told.simple is None and told.complex is None:
            self.problems.note(path, "it splits nothing", expected="targets under `simple`, `complex` or both")
            return None
        own: tuple[Target, ...] = ()
        if told.simple is None or told.complex is None:
            own = self.targets(name, entry, operation, drops)
        elif entry.targets:
            message = "no request comes here: `complexity` has targets for simple and for complex ones"
            self.problems.note(("routes", name, "targets"), message, expected="either no `targets`, or one level less")
        levels = [
            own if texts is None else self.listed(texts, operation, (*path, level), drops)
            for level, texts in (("simple", told.simple), ("complex", told.complex))
        ]
        return Split(rules=complexity_rules(told), simple=levels[0], complex=levels[1])

    def targets(self, name: str, entry: RouteEntry, operation: Operation, drops: list[Drop]) -> tuple[Target, ...]:
        """What `targets` names, without what is off."""
        if not entry.targets:
            self.problems.add(("routes", name, "targets"), "a route needs at least one target")
        return self.listed(entry.targets, operation, ("routes", name, "targets"), drops)

    def listed(self, texts: tuple[str, ...], operation: Operation, path: Path, drops: list[Drop]) -> tuple[Target, ...]:
        """A list of targets, without what is off."""
        found: list[Target] = []
        for index, text in enumerate(texts):
            if text.partition("/")[0] not in self.names:
                self.unknown(text, (*path, index), fallback=False)
                continue
            found += self.target(text, operation, (*path, index), drops)
        return tuple(dict.fromkeys(found))

    def chain(
        self, name: str, key: str, texts: tuple[str, ...], operation: Operation, drops: list[Drop]
    ) -> tuple[Target, ...]:
        """What a chain names: a route's targets and its own fallbacks, a target, or every target of a bare model id."""
        found: list[Target] = []
        for index, text in enumerate(texts):
            path = ("routes", name, key, index)
            if text in self.entries or text in self.built_in:
                found += self.route(text, operation, path)
            elif text.partition("/")[0] in self.names:
                found += self.target(text, operation, path, drops)
            elif listed := targets_listing(self.providers, text, operation):
                found += listed
            else:
                self.unknown(text, path, fallback=True)
        return tuple(dict.fromkeys(found))

    def route(self, text: str, operation: Operation, path: Path) -> tuple[Target, ...]:
        """The targets of a route that is named as a fallback."""
        if text in self.open:
            loop = " → ".join((*self.open[self.open.index(text) :], text))
            key = "fallbacks" if path[2] == "fallbacks" else f"the chain `{path[2]}`"
            words = "go" if path[2] == "fallbacks" else "goes"
            self.problems.note(
                path, f"{key} {words} round in a loop: {loop}", given=text, expected="no route that leads back here"
            )
            return ()
        route = self.read(text) if text in self.entries else self.built_in[text]
        if route.operation is not operation:
            self.problems.add(path, f"route {text} is for {route.operation}, this one for {operation}", given=text)
            return ()
        return route.targets + route.fallbacks

    def target(self, text: str, operation: Operation, path: Path, drops: list[Drop]) -> list[Target]:
        """`provider/model`, or a provider for its default model; empty, with the reason noted, when that cannot be."""
        name, slash, model = text.partition("/")
        if f"providers.{name}" in self.invalid:
            return []
        if slash and not model:
            self.problems.add(path, "a target is provider/model, and this one names no model", given=text)
            return []
        offered = self.serves.get(name)
        if offered and operation not in offered:
            served = ", ".join(sorted(offered))
            self.problems.add(path, f"{name} does not serve {operation}; it serves {served}", given=text)
            return []
        if name in self.skipped:
            drops.append(Drop(text, self.skipped[name].reason))
            return []
        if model:
            return [Target(name, model)]
        default = self.providers[name].default_models.get(operation)
        if default is None:
            self.problems.add(path, no_default(name, operation), given=text)
            return []
        return [Target(name, default)]

    def unknown(self, text: str, path: Path, *, fallback: bool) -> None:
        """Note a name that is nothing that exists, unless it is something that was left out as wrong."""
        name, slash, model = text.partition("/")
        if f"providers.{name}" in self.invalid or f"routes.{text}" in self.invalid:
            return
        if not fallback and (text in self.entries or text in self.built_in):
            message = "a route is no target: name providers here, or put the route under `fallbacks`"
            self.problems.add(path, message, given=text)
            return
        expected = "provider/model or a provider" + (
            ", a route, or a model id that a provider lists" if fallback else ""
        )
        choices = [*self.valid, *(self.entries if fallback else ())]
        nearest = find_nearest(name, choices)
        self.problems.note(
            path,
            f"unknown provider {name}" if slash else f"unknown {'target or route' if fallback else 'provider'} {text}",
            given=text,
            expected=expected,
            nearest=None if nearest is None else nearest + slash + model,
        )


def targets_listing(providers: Mapping[str, Provider], model: str, operation: Operation) -> list[Target]:
    """Every provider that is on and lists a model's id for the operation, the one to try first in front."""
    return [
        Target(provider.name, model)
        for provider in order_providers(providers, operation)
        if model in provider.models.get(operation, ())
    ]
