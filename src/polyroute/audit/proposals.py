"""A proposed configuration, ready to plan with."""

from __future__ import annotations

from polyroute.composition.configuration import make_catalog
from polyroute.composition.providers import live_providers
from polyroute.composition.stores import price_book
from polyroute.engine.runtime import Runtime
from polyroute.routing.policies import check_policy
from polyroute.settings import Settings
from polyroute.storage.database import Database


def open_proposal(settings: Settings, database: Database, policy: str | None, sandbox_url: str | None) -> Runtime:
    """The runtime of a configuration, with the prices that hold at the ledger's. Raises PolyrouteError for a policy that
    does not exist."""
    if policy is not None:
        check_policy(policy)
    catalog = make_catalog(settings, sandbox_url)
    prices = price_book(database)
    prices.load()
    return Runtime(catalog, live_providers(catalog), prices)
