"""What the catalog takes from outside, as plain values: the configuration's part of it, and what is wrong with that part.

The configuration's own models live in `polyroute.settings`, which the catalog may not import; the composition root
converts one into the other with `read_input`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Literal

import msgspec

from polyroute.catalog.model import CredentialTerms, Persona, RescueMode, SameModel
from polyroute.types.limits import Limits, ProviderLimits


class QuirksEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Quirks of one dialect as written in a file; see `catalog.model.Quirks`."""

    drop: tuple[str, ...] = ()
    rename: dict[str, str] = {}
    force: dict[str, Any] = {}
    default: dict[str, Any] = {}


class PriceEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A rate card of the configuration, as of a day: money for a million tokens, or for one of everything else."""

    date: date | None = None
    currency: str = "USD"
    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    request: Decimal | None = None
    image: Decimal | None = None
    second: Decimal | None = None
    character: Decimal | None = None
    audio_input: Decimal | None = None
    audio_output: Decimal | None = None
    image_input: Decimal | None = None
    image_output: Decimal | None = None
    megapixel: Decimal | None = None
    video_second: Decimal | None = None
    credit: Decimal | None = None


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says of one model."""

    context: int | None = None
    capabilities: tuple[str, ...] | None = None
    tags: tuple[str, ...] = ()
    price: PriceEntry | None = None


class ProviderEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the configuration's `providers`. None and empty mean that the built-in row decides.

    `priority` and `models` may be given once for all operations or by operation (or category, for `priority`).
    `credentials` are secrets, and `terms` what is said of some of them, by secret. `timeouts` holds only the seconds that
    differ from the defaults.
    """

    enabled: bool = True
    adapter: str | None = None
    base_url: str | None = None
    kind: str | None = None
    auth: str | None = None
    credentials: tuple[str, ...] = ()
    priority: int | dict[str, int] | None = None
    serves: tuple[str, ...] | None = None
    dialects: tuple[str, ...] | None = None
    default_models: dict[str, str] = {}
    models: tuple[str, ...] | dict[str, tuple[str, ...]] = ()
    quirks: dict[str, QuirksEntry] = {}
    headers: dict[str, str] = {}
    capabilities: tuple[str, ...] | None = None
    timeouts: dict[str, float] | None = None
    options: dict[str, Any] = {}
    terms: dict[str, CredentialTerms] = {}
    limits: ProviderLimits | None = None
    tags: tuple[str, ...] = ()
    mark_up: float = 1.0
    mark_up_date: date | None = None
    model_facts: dict[str, ModelEntry] = {}

    def __repr__(self) -> str:
        return f"ProviderEntry(adapter={self.adapter!r}, base_url={self.base_url!r}, enabled={self.enabled!r})"


class HedgeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Hedging of a route; `after` is "p95" or seconds."""

    after: Literal["p95"] | float = "p95"
    share: float = 0.05


class ComplexityEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A route's `complexity`; a threshold of 0 is never reached."""

    simple: tuple[str, ...] | None = None
    complex: tuple[str, ...] | None = None
    tokens: int = 2000
    turns: int = 10
    tools: bool = True
    structured_output: bool = True
    reasoning: bool = True
    code: bool = True
    media: bool = True


class RouteEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the configuration's `routes`. `operation` None means that of the built-in route of the same name,
    else chat."""

    targets: tuple[str, ...] = ()
    operation: str | None = None
    policy: str | None = None
    fallbacks: tuple[str, ...] = ()
    timeouts: dict[str, float] | None = None
    retries: int | None = None
    persona: Persona | None = None
    limits: Limits | None = None
    rescue: RescueMode | None = None
    hedge: HedgeEntry | None = None
    log_content: bool | None = None
    on_context_too_long: tuple[str, ...] = ()
    on_content_filtered: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    same_model: SameModel = "listed"
    weights: dict[str, float] = {}
    balance: dict[str, float] = {}
    exploration: float = 0.05
    low_budget: str | None = None
    require: tuple[str, ...] = ()
    complexity: ComplexityEntry | None = None


class CurrencyEntry(msgspec.Struct, frozen=True):
    """One entry of the configuration's `currencies`."""

    per_usd: float
    date: date


class DefaultsEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What holds where an entry says nothing. `timeouts` holds only the seconds that differ from `ports.Timeouts`."""

    policy: str = "priority"
    retries: int = 1
    timeouts: dict[str, float] = {}
    output_tokens: int = 16_384


class BudgetEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A budget as it is written, in the configuration or over the API; see `types.budgets.Budget`."""

    amount: str
    scope: str = "installation"
    subject: str | None = None
    window: str = "month"
    time_zone: str = "UTC"
    soft_limit: float | None = None
    soft_action: str = "warn"
    downgrade_to: str | None = None
    hard: bool = True
    unpriced: str = "refuse"
    alerts: tuple[float, ...] = (0.8, 1.0)


class CatalogInput(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of the configuration that the catalog is built from.

    `invalid` names entries, as "providers.NAME" or "routes.NAME", that were left out because they are wrong in themselves:
    a reference to one of them is not a second mistake.
    """

    providers: dict[str, ProviderEntry] = {}
    routes: dict[str, RouteEntry] = {}
    defaults: DefaultsEntry = DefaultsEntry()
    currencies: dict[str, CurrencyEntry] = {}
    budgets: dict[str, BudgetEntry] = {}
    credits: dict[str, Decimal] = {}
    invalid: frozenset[str] = frozenset()


class CatalogProblem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong with the input: where (the key path), what was expected instead, what was given, and the
    nearest valid name."""

    path: tuple[str | int, ...]
    message: str
    expected: str | None = None
    given: str | None = None
    nearest: str | None = None


def read_input(values: Mapping[str, Any]) -> CatalogInput:
    """Plain mappings, sequences and scalars → CatalogInput. Raises msgspec.ValidationError on other shapes."""
    return msgspec.convert(values, CatalogInput)
