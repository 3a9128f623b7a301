"""The composition root: settings and catalog become a running gateway. The only module that names concrete classes."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from polyroute.api.described import described
from polyroute.api.fastlane import Application, FastLane
from polyroute.api.files import FilePaths
from polyroute.api.media import MediaPaths
from polyroute.api.requests import read_head
from polyroute.catalog.build import build_catalog, check_input
from polyroute.catalog.inputs import CatalogProblem, read_input
from polyroute.catalog.model import Catalog, Provider
from polyroute.catalog.prices import CatalogPrices
from polyroute.catalog.rows import load_rows
from polyroute.engine.access import ProviderAccess
from polyroute.engine.admission import Admission
from polyroute.engine.budgets import Budgets
from polyroute.engine.content import ContentLog
from polyroute.engine.gateway import Gateway
from polyroute.engine.health import HealthRecorder
from polyroute.engine.notifications import Postman, Webhook
from polyroute.engine.planning import planner_of
from polyroute.engine.probing import Prober
from polyroute.engine.reporting import HealthDesk
from polyroute.engine.runtime import LiveProvider, Runtime
from polyroute.engine.sharing import Sharing
from polyroute.jobs import Jobs
from polyroute.media import Media, container_engine, surroundings
from polyroute.ports import Credential, Headers, Transport
from polyroute.providers.live_check import free_probe
from polyroute.providers.media.registry import build_media_adapter
from polyroute.providers.registry import build_adapter
from polyroute.routing.breaker import BreakerSettings
from polyroute.routing.breakers import Breakers
from polyroute.routing.credentials import BenchSettings, CredentialPool, Share
from polyroute.routing.decision import Decision
from polyroute.routing.plan import RoutePlanner
from polyroute.routing.retry import RetryBudget
from polyroute.settings import ConfigurationError, Settings, load_settings, watch
from polyroute.storage.adopted import read_adopted
from polyroute.storage.budgets import sync_budgets
from polyroute.storage.database import Database, open_database
from polyroute.storage.exchange import StateFolder
from polyroute.storage.keys import KeyDirectory, load_pepper, pepper_path
from polyroute.storage.leases import LeaseBank
from polyroute.storage.ledger import JournaledLedger, JournalTerms
from polyroute.storage.models import model_rows, sync_models
from polyroute.storage.outbox import DeliveryBox
from polyroute.storage.pruning import Retention
from polyroute.storage.responses import ResponseKeeper
from polyroute.storage.upkeep import Upkeep
from polyroute.transport.http1 import Http1Transport
from polyroute.types.errors import ErrorKind, PolyrouteError

log = logging.getLogger("polyroute")

_PRICES_HOLD = 300.0  # seconds


def read_configuration(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings, checked as far as a catalog can be made of them. `overrides` are the command line's, by dotted key.

    Raises ConfigurationError with everything that is wrong.
    """

    def check(settings: Settings) -> tuple[CatalogProblem, ...]:
        return check_input(load_rows(), read_input(settings.catalog_values()), settings.environment)

    return load_settings(path, overrides=overrides, check=check)


def make_catalog(settings: Settings, sandbox_url: str | None = None) -> Catalog:
    """What exists under these settings."""
    return build_catalog(
        load_rows(), read_input(settings.catalog_values()), surroundings(settings), sandbox_url=sandbox_url
    )


def live_providers(catalog: Catalog, bench: BenchSettings | None = None) -> dict[str, LiveProvider]:
    """An adapter and labelled credentials for each provider."""
    return {name: _live_provider(row, bench or BenchSettings()) for name, row in catalog.providers.items()}


def _live_provider(row: Provider, bench: BenchSettings) -> LiveProvider:
    credentials = _credentials(row)
    shares = {
        credential.label: Share(weight=terms.weight, limits=terms.limits)
        for credential in credentials
        if (terms := row.terms.get(credential.secret)) is not None
    }
    access = ProviderAccess(CredentialPool(credentials, shares, bench), row.limits)
    return LiveProvider(row, build_adapter(row), credentials, RetryBudget(), access, build_media_adapter(row))


def _credentials(row: Provider) -> tuple[Credential, ...]:
    """Credentials with labels that tell them apart without revealing them."""
    return tuple(
        Credential(f"{row.name}#{_name(row, secret, number)}-{hashlib.sha256(secret.encode()).hexdigest()[:6]}", secret)
        for number, secret in enumerate(row.credentials, 1)
    )


def _name(row: Provider, secret: str, number: int) -> str:
    terms = row.terms.get(secret)
    return str(number) if terms is None or terms.label is None else terms.label


class App:
    """A gateway with everything that it needs, started and stopped as one. `start` must run in the loop that serves."""

    def __init__(
        self, settings: Settings, catalog: Catalog, *, sandbox_url: str | None, writes_ledger: bool = True,
        working: bool | None = None,
    ) -> None:  # fmt: skip
        """`working`: whether this process works on jobs; as the settings say unless it is given."""
        self.settings = settings
        self._sandbox_url = sandbox_url
        self._database: Database = open_database(settings.storage.database)
        journal = settings.storage.journal
        self._ledger = JournaledLedger(
            self._database, journal.folder, writes=writes_ledger,
            terms=JournalTerms(limit=journal.limit, when_full=journal.when_full),
        )  # fmt: skip
        self._recorder = HealthRecorder(self._ledger)
        self._ledger.on_unmetered = self._recorder.note_unmetered
        self._keys: KeyDirectory | None = None
        if settings.auth.mode == "keys":
            self._keys = KeyDirectory(self._database, _pepper(settings, self._database))
        self._prices = price_book(self._database)
        self._responses = ResponseKeeper(self._database, settings.storage.responses_days)
        self._upkeep = Upkeep(self._database, retention_of(settings))
        self.media = Media(settings, self._database, lambda: _pepper(settings, self._database))
        self._transport = Http1Transport()
        breaker = settings.defaults.breaker
        self.gateway = Gateway(
            self._runtime(catalog),
            transport=self._transport,
            ledger=self._recorder,
            admission=Admission(self._keys),
            breakers=Breakers(
                BreakerSettings(
                    failures=breaker.failures, failure_rate=breaker.failure_rate, minimum=breaker.minimum,
                    window=breaker.window, cooldown=breaker.cooldown, longest_cooldown=max(900.0, breaker.cooldown),
                )
            ),
            ready=self._problems,
            media=self.media.floor(),
        )  # fmt: skip
        self._budgets = Budgets(
            LeaseBank(self._database, self._ledger.folder, self._ledger.writer),
            on_change=self._use_budgets,
            counts=self.gateway.limits.refusals,
        )
        self.outbox = DeliveryBox(self._database)
        self._postman = Postman(self.outbox, self._webhook_transport, webhooks_of(settings))
        self.gateway.content = content_log(settings)
        assert self.gateway.media is not None
        self.jobs = Jobs(
            settings, self._database, self.gateway, self.gateway.media,
            working=settings.jobs.worker if working is None else working, outbox=self.outbox,
        )  # fmt: skip
        self._sharing = Sharing(self.gateway, self._recorder, state_folder(settings, self._database))
        self._prober = Prober(self.gateway, free_probe if breaker.probe else None, pay=breaker.paid_probe)
        self._ledger.on_full = self._close_for
        self._watcher: asyncio.Task[None] | None = None
        self._pricing: asyncio.Task[None] | None = None

    def _runtime(self, catalog: Catalog, settings: Settings | None = None) -> Runtime:
        try:
            sync_models(self._database, model_rows(catalog))
        except Exception as error:  # noqa: BLE001 - whatever a driver raises; a reload must not fail for it
            log.warning("the labels of the routes could not be written (%s); their first use writes them", error)
        try:
            for name in sync_budgets(self._database, catalog.budgets.values(), catalog.currencies):
                log.warning(
                    "the budget '%s' was made by command or API and gives way to one of the configuration", name
                )
        except Exception as error:  # noqa: BLE001 - whatever a driver raises; budgets that are there go on
            log.warning("the configuration's budgets could not be written (%s); those that are there go on", error)
        bench = BenchSettings(**(settings or self.settings).defaults.bench.model_dump())
        return Runtime(catalog, live_providers(catalog, bench), self._prices)

    def _use_budgets(self, some: bool) -> None:
        self.gateway.budgets = self._budgets if some else None
        self.gateway.teams = self._budgets.teams or None

    def _close_for(self, reason: str | None) -> None:
        """Take no calls, for the reason that callers are told, or take them again. Called from the ledger's thread."""
        self.gateway.closed = reason

    def _problems(self) -> list[str]:
        return [] if self.gateway.closed is None else [self.gateway.closed]

    @property
    def journal(self) -> Path:
        """The folder of the ledger's journals."""
        return self._ledger.folder

    def application(self) -> FastLane:
        """The ASGI application of all HTTP surfaces."""
        files = FilePaths(
            self.gateway.admission,
            self.media.artifacts,
            self.media.files,
            limit=self.settings.artifacts.max_file_mb << 20,
        )
        max_body = self.settings.server.max_body_mb << 20
        jobs = MediaPaths(
            self.gateway, self.jobs.desk, self.jobs.pipelines, files, wait=self.settings.jobs.wait, max_body=max_body
        )
        return FastLane(self.gateway, self._control, self._responses, files, jobs, max_body=max_body)

    def _webhook_transport(self) -> Transport:
        """For webhooks: callers name addresses, too, so only the operator's own may be private."""
        from polyroute.transport.guard import read_allow_list  # noqa: PLC0415
        from polyroute.transport.guarded import GuardedTransport  # noqa: PLC0415 - aiohttp is loaded for the first webhook

        def trusted(host: str) -> bool:
            return any(urlsplit(hook.url).hostname == host for hook in self._postman.webhooks)

        return GuardedTransport(read_allow_list(self.settings.fetch.allow), trusted)

    def _control(self) -> Application:
        from polyroute.admin.analytics import analytics_routes  # noqa: PLC0415 - FastAPI is loaded when first asked for
        from polyroute.admin.app import build_admin  # noqa: PLC0415
        from polyroute.admin.budgets import budget_routes  # noqa: PLC0415
        from polyroute.admin.explanations import Explanations  # noqa: PLC0415
        from polyroute.admin.jobs import job_routes  # noqa: PLC0415
        from polyroute.admin.requests import request_routes  # noqa: PLC0415
        from polyroute.admin.services import service_routes  # noqa: PLC0415
        from polyroute.engine.services import ServiceDesk  # noqa: PLC0415
        from polyroute.storage.analytics import LedgerAnalytics  # noqa: PLC0415
        from polyroute.storage.browsing import LedgerRows  # noqa: PLC0415
        from polyroute.storage.budget_desk import Accounts  # noqa: PLC0415
        from polyroute.storage.decisions import LedgerDecisions  # noqa: PLC0415
        from polyroute.storage.stats import LedgerStats  # noqa: PLC0415

        # In the sandbox the simulated requests are what there is to see; elsewhere they would spoil the figures.
        simulated = self._sandbox_url is not None
        services = ServiceDesk(
            lambda: dict(self.gateway.runtime.providers), self._transport, self.media.floor(),
            container_engine(self.settings),
        )  # fmt: skip
        application: Application = build_admin(
            LedgerStats(self._database, simulated=simulated),
            lambda: self.gateway.runtime.catalog,
            lambda request: self._admit_operator(request.scope["headers"]),
            Explanations(LedgerDecisions(self._database), self._planner_of),
            HealthDesk(self.gateway, self._sharing, self._ledger.health, services),
            [
                analytics_routes(
                    LedgerAnalytics(self._database, retention_of(self.settings), simulated=simulated),
                    self._prices.price,
                ),
                request_routes(LedgerRows(self._database)),
                job_routes(self.jobs.table),
                service_routes(services),
                budget_routes(Accounts(self._database, lambda: self.gateway.runtime.catalog)),
            ],
            described(),
        )
        return application

    def _planner_of(self, decision: Decision) -> RoutePlanner | None:
        return planner_of(self.gateway.runtime, decision)

    def _admit_operator(self, headers: Headers) -> None:
        """Raises PolyrouteError unless an operator's key was sent; in open mode everybody on this machine is one."""
        key = self.gateway.admission.admit(read_head(headers).credential)
        if key is not None and not key.operator:
            raise PolyrouteError(
                ErrorKind.FORBIDDEN,
                f"The key '{key.name}' is not an operator's: `polyroute keys create --operator` makes one.",
            )

    async def start(self) -> None:
        """Begin to watch keys, prices and the configuration."""
        loop = asyncio.get_running_loop()
        self.gateway.bind(loop)
        self._transport.bind(loop)
        if self._keys is not None:
            self._keys.start()
        await self._budgets.start()
        self._postman.start()
        self._pricing = asyncio.create_task(self._watch_prices())
        self.media.start()
        self.jobs.start()
        await self._sharing.start()
        self._prober.start()
        self._upkeep.start()
        self._watcher = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Close everything; what is in the journal is written to the database."""
        for task in (self._watcher, self._pricing):
            if task is not None:
                task.cancel()
        self._prober.stop()
        await self.jobs.stop()
        await self._sharing.stop()
        await self._postman.stop()
        await self._budgets.stop()
        await asyncio.to_thread(self._upkeep.close)
        await self._transport.aclose()
        if self._keys is not None:
            self._keys.close()
        await asyncio.to_thread(self._ledger.close)
        await self._budgets.close()
        self._responses.close()
        await self.media.stop()
        self._database.close()

    async def _watch_prices(self) -> None:
        """Routes that look at prices get them once the tables are read, and anew from time to time: some change by the hour."""
        loop, read = asyncio.get_running_loop(), asyncio.Event()
        self._prices.warm(lambda: loop.call_soon_threadsafe(read.set))
        await read.wait()
        while True:
            self.gateway.runtime.forget_prices()
            await asyncio.sleep(_PRICES_HOLD)
            with suppress(Exception):  # the database is away: what was adopted before still holds
                await asyncio.to_thread(self._prices.refresh)

    # ---------------------------------------------------------------- reload

    async def _watch(self) -> None:
        async with aclosing(watch(self.settings.sources)) as changes:
            async for _ in changes:
                await self.reload()

    async def reload(self) -> bool:
        """Read the configuration again; swap it in when it is right, keep the old one when it is not. Requests in flight
        end as they began. False when it was refused."""
        try:
            runtime = await asyncio.to_thread(self._reload)
        except (ConfigurationError, OSError) as error:
            log.error("the configuration was not reloaded, the old one stays: %s", error)  # noqa: TRY400 - no traceback
            return False
        runtime.inherit(self.gateway.runtime)
        self.gateway.runtime = runtime
        log.info("configuration reloaded: %d providers, %d routes", len(runtime.providers), len(runtime.catalog.routes))
        return True

    def _reload(self) -> Runtime:
        settings = read_configuration(self.settings.sources[0] if len(self.settings.sources) > 1 else None)
        for section in ("server", "storage", "auth", "artifacts", "fetch", "jobs"):
            if getattr(settings, section) != getattr(self.settings, section):
                log.warning("changes of '%s' take effect after a restart", section)
        runtime = self._runtime(make_catalog(settings, self._sandbox_url), settings)
        self._postman.webhooks = webhooks_of(settings)
        self.gateway.content = content_log(settings)
        return runtime


def build_app(
    settings: Settings, *, sandbox_url: str | None = None, writes_ledger: bool = True, working: bool | None = None
) -> App:
    """A gateway that is ready to start. Without `writes_ledger`, somebody else starts the ledger's writer for `App.journal`;
    `working` says whether it works on jobs, in place of the settings. Raises ConfigurationError, StorageError."""
    return App(
        settings, make_catalog(settings, sandbox_url), sandbox_url=sandbox_url, writes_ledger=writes_ledger,
        working=working,
    )  # fmt: skip


def webhooks_of(settings: Settings) -> tuple[Webhook, ...]:
    """Who is told of notifications."""
    return tuple(
        Webhook(hook.url, None if hook.secret is None else hook.secret.get_secret_value(), tuple(hook.events))
        for hook in settings.notifications.webhooks
    )


def price_book(database: Database) -> CatalogPrices:
    """The price tables, condensed beside the database. The first use waits until they are read."""
    path = database.path
    kept = Path("polyroute.prices") if path is None else path.with_name(f"{path.name}.prices")
    return CatalogPrices(kept, adopted=partial(read_adopted, database))


def state_folder(settings: Settings, database: Database) -> StateFolder:
    """Where workers tell each other what they know: beside an SQLite database, else in the working directory."""
    beside = (
        Path("polyroute.state") if database.path is None else database.path.with_name(f"{database.path.stem}.state")
    )
    return StateFolder(settings.storage.state or beside)


def content_log(settings: Settings) -> ContentLog | None:
    """What decides whether the ledger keeps content; None when it never does."""
    wanted = settings.content
    if not wanted.log and not any(route.log_content for route in settings.routes.values()):
        return None
    return ContentLog(everywhere=wanted.log, limit=wanted.max_kb << 10, redact=wanted.redact, known=wanted.redact_known)


def retention_of(settings: Settings) -> Retention:
    """For how long the ledger keeps what."""
    kept = settings.storage.retention
    return Retention(
        rows=kept.rows_days,
        content=kept.content_days,
        decisions=kept.decisions_days,
        minutes=kept.minute_rollups_days,
        quarters=kept.quarter_rollups_days,
        hours=kept.rollups_days,
    )


def media_storage(settings: Settings) -> Media:
    """Stored media, for the command line. Raises StorageError."""
    database = open_database(settings.storage.database)
    return Media(settings, database, lambda: _pepper(settings, database))


def key_storage(settings: Settings) -> tuple[Database, bytes]:
    """Where keys are kept, and the secret that they are hashed under. Raises StorageError."""
    database = open_database(settings.storage.database)
    return database, _pepper(settings, database)


def _pepper(settings: Settings, database: Database) -> bytes:
    configured = settings.auth.pepper
    return load_pepper(None if configured is None else configured.get_secret_value(), pepper_path(database))
