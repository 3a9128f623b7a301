"""A gateway with everything that it needs, put together, started, reloaded and stopped."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from polyroute.api.fastlane import Application, FastLane
from polyroute.api.files import FilePaths
from polyroute.api.media import MediaPaths
from polyroute.catalog.model import Catalog
from polyroute.composition.configuration import make_catalog, read_configuration
from polyroute.composition.jobs import Jobs
from polyroute.composition.media import Media
from polyroute.composition.providers import live_providers
from polyroute.composition.stores import price_book, read_pepper, state_folder
from polyroute.composition.terms import bench_of, breaker_of, content_log, retention_of, webhooks_of
from polyroute.engine.admission import Admission
from polyroute.engine.budgets import Budgets
from polyroute.engine.gateway import Gateway
from polyroute.engine.health import HealthRecorder
from polyroute.engine.notifications import Postman
from polyroute.engine.probing import Prober
from polyroute.engine.runtime import Runtime
from polyroute.engine.sharing import Sharing
from polyroute.ports import Transport
from polyroute.providers.live_check import free_probe
from polyroute.routing.breakers import Breakers
from polyroute.settings import ConfigurationError, Settings, watch
from polyroute.storage.budgets import sync_budgets
from polyroute.storage.database import Database, open_database
from polyroute.storage.keys import KeyDirectory
from polyroute.storage.leases import LeaseBank
from polyroute.storage.ledger import JournaledLedger, JournalTerms
from polyroute.storage.models import model_rows, sync_models
from polyroute.storage.outbox import DeliveryBox
from polyroute.storage.responses import ResponseKeeper
from polyroute.storage.upkeep import Upkeep
from polyroute.transport.http1 import Http1Transport

log = logging.getLogger("polyroute")

_PRICES_HOLD = 300.0  # seconds


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
            self._keys = KeyDirectory(self._database, read_pepper(settings, self._database))
        self._prices = price_book(self._database)
        self._responses = ResponseKeeper(self._database, settings.storage.responses_days)
        self._upkeep = Upkeep(self._database, retention_of(settings))
        self.media = Media(settings, self._database, lambda: read_pepper(settings, self._database))
        self._transport = Http1Transport()
        self.gateway = Gateway(
            self._runtime(catalog),
            transport=self._transport,
            ledger=self._recorder,
            admission=Admission(self._keys),
            breakers=Breakers(breaker_of(settings)),
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
        breaker = settings.defaults.breaker
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
        bench = bench_of(settings or self.settings)
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
        server = self.settings.server
        max_body, max_form = server.max_body_mb << 20, server.max_upload_mb << 20
        jobs = MediaPaths(
            self.gateway, self.jobs.desk, self.jobs.pipelines, files, wait=self.settings.jobs.wait, max_body=max_body,
            max_form=max_form,
        )  # fmt: skip
        return FastLane(self.gateway, self._control, self._responses, files, jobs, max_body=max_body, max_form=max_form)

    def _webhook_transport(self) -> Transport:
        """For webhooks: callers name addresses, too, so only the operator's own may be private."""
        from polyroute.transport.guard import read_allow_list  # noqa: PLC0415
        from polyroute.transport.guarded import GuardedTransport  # noqa: PLC0415 - aiohttp is loaded for the first webhook

        def trusted(host: str) -> bool:
            return any(urlsplit(hook.url).hostname == host for hook in self._postman.webhooks)

        return GuardedTransport(read_allow_list(self.settings.fetch.allow), trusted)

    def _control(self) -> Application:
        from polyroute.composition.control import build_control  # noqa: PLC0415 - FastAPI is loaded when first asked for

        return build_control(
            self.settings, self.gateway, self._database, self._ledger, prices=self._prices, sharing=self._sharing,
            transport=self._transport, media=self.media, jobs=self.jobs, simulated=self._sandbox_url is not None,
        )  # fmt: skip

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
