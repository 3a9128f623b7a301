"""What the configuration says of single models of a provider; pure."""

from __future__ import annotations

from polyroute.catalog.inputs import ModelEntry, PriceEntry, ProviderEntry
from polyroute.catalog.model import ModelFacts
from polyroute.catalog.problems import Problems
from polyroute.types.operations import Capability
from polyroute.types.usage import Price

PRICE_VERSION = "configuration"
"""What the ledger names as the price table of a price that the configuration gives."""


def read_model_facts(provider: str, entry: ProviderEntry, problems: Problems) -> dict[str, ModelFacts]:
    """The facts by model id, with every wrong name noted."""
    return {
        model: ModelFacts(
            capabilities=_capabilities(("providers", provider, "model_facts", model), told, problems),
            context=told.context,
            tags=frozenset(told.tags),
            price=None if told.price is None else _price(told.price),
        )
        for model, told in entry.model_facts.items()
    }


def _capabilities(path: tuple[str, ...], told: ModelEntry, problems: Problems) -> frozenset[Capability] | None:
    if told.capabilities is None:
        return None
    named = [
        problems.name(Capability, text, (*path, "capabilities", index), "capability")
        for index, text in enumerate(told.capabilities)
    ]
    return frozenset(found for found in named if found is not None)


def _price(entry: PriceEntry) -> Price | None:
    given = Price(
        version=PRICE_VERSION,
        input=entry.input,
        output=entry.output,
        cache_read=entry.cache_read,
        cache_write_5m=entry.cache_write,
        cache_write_1h=entry.cache_write,
        request=entry.request,
        image=entry.image,
        second=entry.second,
        character=entry.character,
    )
    return None if given == Price(version=PRICE_VERSION) else given
