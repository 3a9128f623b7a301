"""The immutable Catalog that one request sees from beginning to end."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Literal, get_args

import msgspec

from polyroute.ports import Endpoint, Timeouts
from polyroute.types.budgets import Budget
from polyroute.types.limits import Limits, ProviderLimits
from polyroute.types.media import OPERATION_OF_TASK, Task
from polyroute.types.operations import Capability, Dialect, Operation, ProviderKind
from polyroute.types.plans import Drop, Target
from polyroute.types.usage import Price

Policy = Literal["priority", "weighted", "cheapest", "fastest", "balanced", "least_busy", "free_first"]

RescueMode = Literal["continue", "restart", "error"]
"""What becomes of a stream that breaks after the caller has begun to read it: it goes on at the next target from what was
sent, is asked for anew there, or ends with an error."""
RESCUE_MODES: tuple[RescueMode, ...] = get_args(RescueMode)


SameModel = Literal["listed", "direct", "price", "latency"]
"""How targets of one and the same model are ordered among themselves."""
Level = Literal["simple", "complex"]


class Quirks(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's deviations from a dialect, on top-level request fields: removed, renamed (when the new name is not
    there already), always set, set when absent. Anything beyond these four is code."""

    drop: frozenset[str] = frozenset()
    rename: Mapping[str, str] = MappingProxyType({})
    force: Mapping[str, Any] = MappingProxyType({})
    default: Mapping[str, Any] = MappingProxyType({})


class CredentialTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of one credential beside its secret: a `label` to know it by, its weight in the rotation, its limits."""

    label: str | None = None
    weight: float = 1.0
    limits: Limits | None = None


class ModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is declared of one model at one provider. `context` in tokens; None is unknown, and unknown `capabilities` are
    the provider's. `tags` are regions and data policies; `price` stands in place of the price book's."""

    capabilities: frozenset[Capability] | None = None
    context: int | None = None
    tags: frozenset[str] = frozenset()
    price: Price | None = None


class BalanceWeights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `balanced` weighs; only the proportions count."""

    cost: float = 1.0
    latency: float = 1.0
    success: float = 1.0

    def __post_init__(self) -> None:
        if min(self.cost, self.latency, self.success) < 0 or self.cost + self.latency + self.success <= 0:
            raise ValueError("the weights of `balanced` must not be below 0, nor all 0")


class ComplexityRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From where on a request is complex: `tokens` of prompt, `turns` of conversation, and whether tools, structured
    output, wanted reasoning, code and media make it so. A threshold of None, or a switch that is off, never fires."""

    tokens: int | None = 2000
    turns: int | None = 10
    tools: bool = True
    structured_output: bool = True
    reasoning: bool = True
    code: bool = True
    media: bool = True


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """A route's targets by the complexity of the request, and what makes one complex."""

    rules: ComplexityRules
    simple: tuple[Target, ...]
    complex: tuple[Target, ...]


class Currency(msgspec.Struct, frozen=True):
    """What one US dollar buys, as of a day."""

    per_usd: float
    date: date


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One provider that is switched on: a built-in row with the configuration's changes, or an entry of one's own.

    `endpoints` are in order of preference. `credentials` are secrets (empty for a local service that needs none).
    `priority` is by operation; lower is tried first; an operation without a number comes after those with one.
    `default_models` serve a target that names only the provider. `models` are the ids that it is known to serve, and so
    answers for by bare name; after `provider/` it takes any id. `models_path` lists them, under the base URL. `mark_up` is
    the factor on the price book's prices, as of `mark_up_date`; `model_facts` are by model id, `tags` hold for all.
    A program that merely lies on this machine is not `wanted`: it serves, but nobody set the gateway up for it alone. One
    whose address was given is.
    `media_adapter` names who makes what `media` lists: by task, the models that are known for it, the default first.
    """

    name: str
    kind: ProviderKind
    adapter: str
    base_url: str
    auth: str
    endpoints: tuple[Endpoint, ...]
    credentials: tuple[str, ...]
    serves: frozenset[Operation]
    priority: Mapping[Operation, int]
    default_models: Mapping[Operation, str]
    models: Mapping[Operation, tuple[str, ...]]
    quirks: Mapping[Dialect, Quirks]
    headers: Mapping[str, str]
    capabilities: frozenset[Capability]
    timeouts: Timeouts | None
    enabled: bool
    simulated: bool
    built_in: bool
    options: Mapping[str, Any]
    source: str | None
    checked: date | None
    models_path: str | None = None
    terms: Mapping[str, CredentialTerms] = MappingProxyType({})
    """By credential; one that is not in it has the usual terms."""
    limits: ProviderLimits | None = None
    tags: frozenset[str] = frozenset()
    mark_up: float = 1.0
    mark_up_date: date | None = None
    model_facts: Mapping[str, ModelFacts] = MappingProxyType({})
    wanted: bool = True
    media_adapter: str | None = None
    media: Mapping[Task, tuple[str, ...]] = MappingProxyType({})

    def model_for(self, task: Task, model: str, *, named: bool) -> str | None:
        """The model that does a task for a target: its own; or the task's default where it is known for other tasks only and
        merely stands for the operation's default, as in a target that names just the provider. None when it was `named`
        (by the caller, or in a route) for what it is not known to do."""
        if not self.is_for_others(task, model):
            return model
        stands_in = not named and self.default_models.get(OPERATION_OF_TASK[task]) == model
        return self.media[task][0] if stands_in else None

    def is_for_others(self, task: Task, model: str) -> bool:
        """Whether a model is known for other tasks, and not for this one, for which others are known."""
        known = self.media.get(task, ())
        return known != () and model not in known and any(model in models for models in self.media.values())

    def __repr__(self) -> str:
        return f"Provider({self.name!r}, {self.base_url!r}, {len(self.credentials)} credentials)"


class SkippedProvider(msgspec.Struct, frozen=True):
    """A provider that is not on, and what would switch it on."""

    name: str
    reason: str


class Persona(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers on a chat route: a system prompt put before the caller's own (or, with `refuse`, in place of any), and
    parameters for callers who say none."""

    system: str | None = None
    caller_system: Literal["append", "refuse"] = "append"
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    reasoning_effort: str | None = None


class Hedge(msgspec.Struct, frozen=True, kw_only=True):
    """When a whole answer is asked of a second target as well: `after` so many seconds (None: the first target's 95th
    percentile), for at most this `share` of the route's requests."""

    after: float | None = None
    share: float = 0.05


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A name that callers use. `targets` are ordered as configured; `fallbacks` are tried after them, in order.
    `built_in` routes span every provider that serves the operation. `drops` are targets that were configured and cannot be
    tried as things stand. `longer_context` and `other_filter` take the place of what is left of the targets when one says
    that the prompt is too long, or that its content is filtered. `kinds`, when not empty, are the only kinds of provider it
    uses, in this order. `low_budget` in USD. `require` holds tags and names of capabilities.
    """

    name: str
    operation: Operation
    policy: Policy
    targets: tuple[Target, ...]
    fallbacks: tuple[Target, ...] = ()
    built_in: bool = False
    timeouts: Timeouts | None = None
    retries: int | None = None
    drops: tuple[Drop, ...] = ()
    persona: Persona | None = None
    limits: Limits | None = None
    rescue: RescueMode = "continue"
    hedge: Hedge | None = None
    longer_context: tuple[Target, ...] = ()
    other_filter: tuple[Target, ...] = ()
    kinds: tuple[ProviderKind, ...] = ()
    same_model: SameModel = "listed"
    weights: Mapping[Target, float] = MappingProxyType({})
    balance: BalanceWeights = BalanceWeights()
    exploration: float = 0.05
    low_budget: float | None = None
    require: frozenset[str] = frozenset()
    split: Split | None = None
    log_content: bool | None = None


class Defaults(msgspec.Struct, frozen=True, kw_only=True):
    """What holds where a route or provider says nothing. `retries` counts further tries of the same target;
    `output_tokens` are what a budget sets aside for an answer without a limit."""

    policy: Policy = "priority"
    retries: int = 1
    timeouts: Timeouts = Timeouts()
    output_tokens: int = 16_384


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that exists at one moment. Never changed; a reload makes a new one."""

    providers: Mapping[str, Provider]
    routes: Mapping[str, Route]
    skipped: tuple[SkippedProvider, ...]
    defaults: Defaults
    warnings: tuple[str, ...] = ()
    currencies: Mapping[str, Currency] = MappingProxyType({})
    budgets: Mapping[str, Budget] = MappingProxyType({})
    """Those of the configuration, by name."""
    credits: Mapping[str, Decimal] = MappingProxyType({})
    """What labels cost in credits, each request."""
