"""The sandbox as tests use it: listening in a thread of this process, told and asked over HTTP as an operator would."""

from __future__ import annotations

import asyncio
import threading
from types import TracebackType
from typing import Any, Self

import httpx

from polyroute.sandbox.control import SandboxOptions
from polyroute.sandbox.server import start
from support.eventually import eventually


class SimulatedProviders:
    """A sandbox at `url`, as fast as can be until it is told otherwise."""

    def __init__(self) -> None:
        self.url = ""
        self._listens = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._done = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listens.wait(10)
        self._client = httpx.Client(base_url=self.url, timeout=10, trust_env=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join(10)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        running = await start(options=SandboxOptions(tokens_per_second=0, requests_kept=2000))
        self.url = running.url
        self._listens.set()
        await self._done.wait()
        await running.stop()

    # ---------------------------------------------------------------- what a test does with it

    def reset(self) -> None:
        """No faults, no history."""
        self._client.delete("/_control").raise_for_status()

    def set(self, provider: str, **command: Any) -> None:
        """`POST /_control`."""
        answer = self._client.post("/_control", json={"provider": provider, **command})
        assert answer.status_code == 200, answer.text

    def break_down(self, provider: str, kind: str, **fault: Any) -> None:
        """Arm one fault."""
        self.set(provider, faults=[{"kind": kind, **fault}])

    def mend(self, provider: str) -> None:
        """Disarm everything."""
        self.set(provider, faults=[])

    def seen(self, provider: str | None = None) -> list[dict[str, Any]]:
        """The requests that arrived, oldest first."""
        rows: list[dict[str, Any]] = self._client.get("/_requests").json()["requests"]
        return [row for row in rows if provider is None or row["provider"] == provider]

    def counters(self, provider: str) -> dict[str, int]:
        """requests, faulted, aborted_by_client, open_streams."""
        counted: dict[str, int] = self._client.get("/_control").json()["counters"].get(provider, {})
        return {"requests": 0, "faulted": 0, "aborted_by_client": 0, "open_streams": 0} | counted

    def await_request(self, provider: str) -> None:
        """Until a request has arrived there."""
        eventually(lambda: self.counters(provider)["requests"])

    def await_abort(self, provider: str, *, within: float = 10.0) -> None:
        """Until a request there was given up by its client, and nothing is open any more."""
        eventually(
            lambda: self.counters(provider)["aborted_by_client"] == 1 and self.counters(provider)["open_streams"] == 0,
            within=within,
        )

    def ask(self, provider: str, path: str, **request: Any) -> httpx.Response:
        """What a provider answers when it is asked without a gateway."""
        headers = {"authorization": "Bearer direct", **request.pop("headers", {})}
        return self._client.post(f"/{provider}{path}", headers=headers, **request)
