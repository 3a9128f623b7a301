"""`kill -9` under load: every answer that a client received whole is in the ledger once, after the next start."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import httpx
import pytest

from support.asks import CHAT, SPEECH, STREAM, Ask
from support.eventually import eventually
from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders


class Load:
    """Clients that ask until the gateway is gone; `whole` are the ids of the answers that they received whole."""

    def __init__(self, url: str, asks: tuple[Ask, ...]) -> None:
        self.whole: list[str] = []
        self._url = url
        self._threads = [threading.Thread(target=self._ask, args=(ask,)) for ask in asks]
        for thread in self._threads:
            thread.start()

    def _ask(self, ask: Ask) -> None:
        model = "speech" if ask is SPEECH else "text"
        with httpx.Client(base_url=self._url, timeout=20, trust_env=False) as client:
            while True:
                try:
                    answer = ask.send(client, model)
                except httpx.TransportError:
                    return
                assert answer.status_code == 200
                if ask is not STREAM or answer.content.endswith(b"data: [DONE]\n\n"):
                    self.whole.append(answer.headers["x-polyroute-request-id"])

    def join(self) -> list[str]:
        for thread in self._threads:
            thread.join(30)
        return self.whole


@pytest.mark.parametrize("arguments", [[], ["--workers", "2"]], ids=["one-worker", "two-workers"])
def test_every_answer_received_whole_has_exactly_one_row(
    sandbox: SimulatedProviders, tmp_path: Path, arguments: list[str]
) -> None:
    config = json.dumps({"providers": {"openai": {"base_url": f"{sandbox.url}/openai/v1", "api_key": "sk-openai"}}})
    received: list[str] = []
    for _ in range(2):  # killed twice: the second start has a journal to replay while it serves
        with GatewayProcess(tmp_path, config, arguments) as gateway:
            load = Load(gateway.url, (CHAT, CHAT, STREAM, STREAM, SPEECH))
            eventually(lambda load=load: len(load.whole) >= 150, within=30)
            gateway.kill()
            received += load.join()
    with GatewayProcess(tmp_path, config, arguments) as gateway:
        eventually(lambda: set(received) <= {row["id"] for row in gateway.sql("SELECT id FROM requests")})
        rows = gateway.sql("SELECT id, status FROM requests")
        attempts = gateway.sql("SELECT request_id FROM attempts WHERE outcome = 'served'")
    assert len(received) == len(set(received)) >= 300
    status = {row["id"]: row["status"] for row in rows}
    assert len(status) == len(rows)
    assert {status[request_id] for request_id in received} == {"COMPLETED"}
    assert set(received) <= {row["request_id"] for row in attempts}


def test_a_stop_in_order_lets_requests_finish_and_writes_everything_down(
    sandbox: SimulatedProviders, tmp_path: Path
) -> None:
    config = json.dumps({"providers": {"openai": {"base_url": f"{sandbox.url}/openai/v1", "api_key": "sk-openai"}}})
    sandbox.set("openai", tokens_per_second=50)
    received: list[httpx.Response] = []
    with GatewayProcess(tmp_path, config) as gateway:

        def stream() -> None:
            with httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client:
                received.append(STREAM.send(client, "text"))

        asking = threading.Thread(target=stream)
        asking.start()
        eventually(lambda: sandbox.counters("openai")["open_streams"])
        assert gateway.stop() == 0
        asking.join(20)
        rows = gateway.sql("SELECT id, status FROM requests")
    [answer] = received
    assert answer.content.endswith(b"data: [DONE]\n\n")
    assert rows == [{"id": answer.headers["x-polyroute-request-id"], "status": "COMPLETED"}]
