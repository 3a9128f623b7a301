"""The operators' API, put together. FastAPI is loaded with this module: it is imported when that API is first asked for."""

from __future__ import annotations

from polyroute.admin.analytics import analytics_routes
from polyroute.admin.app import build_admin
from polyroute.admin.budgets import budget_routes
from polyroute.admin.explanations import Explanations
from polyroute.admin.jobs import job_routes
from polyroute.admin.requests import request_routes
from polyroute.admin.services import service_routes
from polyroute.api.described import described
from polyroute.api.fastlane import Application
from polyroute.api.requests import read_head
from polyroute.catalog.prices import CatalogPrices
from polyroute.composition.jobs import Jobs
from polyroute.composition.media import Media
from polyroute.composition.providers import container_engine
from polyroute.composition.terms import retention_of
from polyroute.engine.gateway import Gateway
from polyroute.engine.planning import planner_of
from polyroute.engine.reporting import HealthDesk
from polyroute.engine.services import ServiceDesk
from polyroute.engine.sharing import Sharing
from polyroute.ports import Headers, Transport
from polyroute.settings import Settings
from polyroute.storage.analytics import LedgerAnalytics
from polyroute.storage.browsing import LedgerRows
from polyroute.storage.budget_desk import Accounts
from polyroute.storage.database import Database
from polyroute.storage.decisions import LedgerDecisions
from polyroute.storage.ledger import JournaledLedger
from polyroute.storage.stats import LedgerStats
from polyroute.types.errors import ErrorKind, PolyrouteError


def build_control(
    settings: Settings, gateway: Gateway, database: Database, ledger: JournaledLedger, *, prices: CatalogPrices,
    sharing: Sharing, transport: Transport, media: Media, jobs: Jobs, simulated: bool,
) -> Application:  # fmt: skip
    """The ASGI application for operators.

    `simulated` shows simulated requests in place of real ones: in the sandbox they are what there is to see, elsewhere they
    would spoil the figures.
    """
    services = ServiceDesk(
        lambda: dict(gateway.runtime.providers), transport, media.floor(), container_engine(settings)
    )
    application: Application = build_admin(
        LedgerStats(database, simulated=simulated),
        lambda: gateway.runtime.catalog,
        lambda request: _admit_operator(gateway, request.scope["headers"]),
        Explanations(LedgerDecisions(database), lambda decision: planner_of(gateway.runtime, decision)),
        HealthDesk(gateway, sharing, ledger.health, services),
        [
            analytics_routes(LedgerAnalytics(database, retention_of(settings), simulated=simulated), prices.price),
            request_routes(LedgerRows(database)),
            job_routes(jobs.table),
            service_routes(services),
            budget_routes(Accounts(database, lambda: gateway.runtime.catalog)),
        ],
        described(),
    )
    return application


def _admit_operator(gateway: Gateway, headers: Headers) -> None:
    """Raises PolyrouteError unless an operator's key was sent; in open mode everybody on this machine is one."""
    key = gateway.admission.admit(read_head(headers).credential)
    if key is not None and not key.operator:
        raise PolyrouteError(
            ErrorKind.FORBIDDEN,
            f"The key '{key.name}' is not an operator's: `polyroute keys create --operator` makes one.",
        )
