"""What one request sees from beginning to end: an immutable snapshot of catalog, adapters and plans, replaced whole on
reload."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from polyroute.catalog.model import Catalog
from polyroute.engine.health import ProviderHealth
from polyroute.ports import Adapter, Credential, Timeouts


class LiveProvider(msgspec.Struct, frozen=True):
    """A provider that is on, with what is needed to call it. `timeouts` is None where the defaults hold."""

    name: str
    adapter: Adapter
    credentials: tuple[Credential, ...]
    timeouts: Timeouts | None
    simulated: bool
    health: ProviderHealth


class Runtime(msgspec.Struct, frozen=True):
    """A snapshot. `model_ids` maps what a caller names to the id of its label in the ledger's `ai_models`."""

    catalog: Catalog
    providers: Mapping[str, LiveProvider]
    model_ids: Mapping[str, str]
