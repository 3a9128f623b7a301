"""`auth: keys`: issued on the command line, known to every worker, good for what they are good for, gone when revoked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from support.asks import CHAT, EMBED, STREAM, TRANSCRIPTION
from support.command_line import run_here
from support.eventually import eventually
from support.gateway_process import GatewayProcess, run_polyroute
from support.raw_http import exchange
from support.simulated_providers import SimulatedProviders


@pytest.fixture(scope="module")
def guarded(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Two workers that want keys."""
    config = {
        "auth": {"mode": "keys"},
        "defaults": {"retries": 0, "breaker": {"failures": 100_000, "minimum": 100_000}},
        "providers": {"openai": {"base_url": f"{simulated.url}/openai/v1", "api_key": "sk-openai"}},
        "routes": {
            "text": {"targets": ["openai/gpt-4o-mini"]},
            "draft": {"targets": ["openai/gpt-4o-mini"]},
            "vectors": {"operation": "embed", "targets": ["openai/text-embedding-3-small"]},
        },
    }
    folder = tmp_path_factory.mktemp("guarded")
    with GatewayProcess(folder, json.dumps(config), ["--workers", "2"]) as process:
        yield process


def issue(gateway: GatewayProcess, *options: str) -> tuple[str, str]:
    """A new key and its id."""
    done = run_here("keys", "create", *options, folder=gateway.folder)
    assert done.returncode == 0, done.stderr
    key = done.stdout.strip()
    assert key.startswith("pr-")
    assert key not in done.stderr
    return key, done.stderr.split()[0]


def ask_alone(gateway: GatewayProcess, headers: dict[str, str], model: str = "text") -> httpx.Response:
    """Ask on a connection of its own, which any of the workers may take."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=20, trust_env=False)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def await_known(gateway: GatewayProcess, key: str) -> None:
    """Until both workers have heard of a key: ten connections in a row find it."""
    eventually(lambda: all(_models(gateway, key) == 200 for _ in range(10)))


def _models(gateway: GatewayProcess, key: str) -> int:
    return httpx.get(f"{gateway.url}/v1/models", headers=bearer(key), timeout=20, trust_env=False).status_code


def test_a_key_opens_its_routes_and_no_others(sandbox: SimulatedProviders, guarded: GatewayProcess) -> None:
    key, key_id = issue(guarded, "--name", "app", "--routes", "text,draft", "--user", "u1")
    await_known(guarded, key)
    for headers in (bearer(key), {"x-api-key": key}):
        answer = ask_alone(guarded, headers)
        assert answer.status_code == 200
        entry = guarded.entry(answer.headers["x-polyroute-request-id"])
        assert (entry["key_id"], entry["user_id"], entry["status"]) == (key_id, "u1", "COMPLETED")
    asked = sandbox.counters("openai")["requests"]
    with httpx.Client(base_url=guarded.url, headers=bearer(key), timeout=20, trust_env=False) as client:
        for refused in (
            EMBED.send(client, "vectors"),
            CHAT.send(client, "openai/gpt-4o-mini"),
            STREAM.send(client, "gpt-4o-mini"),
        ):
            assert refused.status_code in (403, 404)
        forbidden = EMBED.send(client, "vectors")
        listed = [model["id"] for model in client.get("/v1/models").json()["data"]]
    assert forbidden.status_code == 403
    error = forbidden.json()["error"]
    assert "may not use 'vectors'" in error["message"]
    assert sorted(listed) == ["draft", "text"]
    assert sandbox.counters("openai")["requests"] == asked
    entry = guarded.entry(error["request_id"])
    assert (entry["key_id"], entry["status"], entry["http_status"]) == (key_id, "FAILED", 403)
    assert (entry["error_kind"], entry["requested_model"], entry["actual_provider"]) == ("forbidden", "vectors", None)
    assert guarded.attempts(error["request_id"]) == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("pr-unknown"),
        {"authorization": "Bearer"},
        {"authorization": "Basic pr-unknown"},
        {"x-api-key": "x" * 5000},
    ],
    ids=["none", "unknown", "empty", "basic", "long"],
)
def test_without_a_known_key_nothing_is_done(
    sandbox: SimulatedProviders, guarded: GatewayProcess, headers: dict[str, str]
) -> None:
    rows = len(guarded.sql("SELECT id FROM requests"))
    with httpx.Client(base_url=guarded.url, headers=headers, timeout=20, trust_env=False) as client:
        for answer in (
            CHAT.send(client, "text"), STREAM.send(client, "text"), EMBED.send(client, "vectors"),
            TRANSCRIPTION.send(client, "text"), client.post("/v1/chat/completions", content=b"{broken"),
            client.get("/v1/models"), client.get("/v1/models/text"), client.get("/api/providers/stats"),
        ):  # fmt: skip
            assert answer.status_code == 401, answer.url
            assert answer.json()["error"]["code"] in ("invalid_api_key", "unauthorized")
        for path in ("/health", "/ready"):
            assert client.get(path).status_code == 200
    assert sandbox.seen() == []
    assert len(guarded.sql("SELECT id FROM requests")) == rows


def test_a_refusal_of_a_known_key_is_one_row_with_its_id(sandbox: SimulatedProviders, guarded: GatewayProcess) -> None:
    key, key_id = issue(guarded, "--name", "clumsy")
    await_known(guarded, key)
    with httpx.Client(base_url=guarded.url, headers=bearer(key), timeout=20, trust_env=False) as client:
        broken = client.post("/v1/chat/completions", content=b"{broken")
        unknown = CHAT.send(client, "nobody")
        nameless = client.post("/v1/embeddings", json={"input": "x"})
        no_form = client.post(
            TRANSCRIPTION.path, content=b"x", headers={"content-type": "multipart/form-data; boundary=b"}
        )
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-length: 99999999999\r\n\r\n"
    large = exchange(guarded.address, head.encode())
    refusals = [(answer.status_code, answer.json()["error"]) for answer in (broken, unknown, nameless, no_form)]
    refusals.append((large.status, large.error()))
    assert [status for status, _ in refusals] == [400, 404, 400, 400, 413]
    seen = {}
    for status, error in refusals:
        entry = guarded.entry(error["request_id"])
        assert (entry["key_id"], entry["status"], entry["http_status"]) == (key_id, "FAILED", status)
        seen[entry["id"]] = entry
    eventually(lambda: len(guarded.sql("SELECT id FROM requests WHERE key_id = ?", key_id)) == 5)
    assert {entry["operation"] for entry in seen.values()} == {"chat", "embed", "transcription"}
    assert sandbox.seen() == []


def test_a_revoked_key_is_refused_by_every_worker_within_two_seconds(
    sandbox: SimulatedProviders, guarded: GatewayProcess
) -> None:
    key, key_id = issue(guarded, "--name", "leaver")
    await_known(guarded, key)
    done = run_here("keys", "revoke", "leaver", folder=guarded.folder)
    assert done.returncode == 0
    assert key_id in done.stdout
    with closing(sqlite3.connect(guarded.folder / "polyroute.db")) as shell:
        assert shell.execute("SELECT revoked_at FROM keys WHERE id = ?", (key_id,)).fetchone()[0]
    eventually(lambda: all(_models(guarded, key) == 401 for _ in range(10)), within=2)
    answer = ask_alone(guarded, bearer(key))
    assert answer.status_code == 401
    assert "has been revoked" in answer.json()["error"]["message"]
    listed = run_here("keys", "list", folder=guarded.folder)
    assert listed.returncode == 0
    assert "leaver" in listed.stdout
    assert "revoked" in listed.stdout
    assert key not in listed.stdout
    again = run_here("keys", "revoke", "leaver", folder=guarded.folder)
    assert again.returncode == 2
    assert "keys list" in again.stderr


def test_only_an_operators_key_opens_the_operators_api(sandbox: SimulatedProviders, guarded: GatewayProcess) -> None:
    key, _ = issue(guarded, "--name", "caller")
    operator, _ = issue(guarded, "--name", "operator", "--operator")
    await_known(guarded, key)
    await_known(guarded, operator)
    for path in ("/api/providers/stats", "/api/providers/cost/TEXT", "/api/providers/recommended/TEXT"):
        refused = httpx.get(guarded.url + path, headers=bearer(key), timeout=20, trust_env=False)
        assert refused.status_code == 403
        assert "not an operator's" in refused.json()["error"]["message"]
        assert httpx.get(guarded.url + path, headers=bearer(operator), timeout=20, trust_env=False).status_code == 200


def test_both_workers_serve(sandbox: SimulatedProviders, guarded: GatewayProcess) -> None:
    """Not a key's matter, but here are two workers: requests on connections of their own all arrive in one ledger."""
    key, key_id = issue(guarded, "--name", "busy")
    await_known(guarded, key)

    def served() -> httpx.Response | None:  # a worker that has not heard of the key refuses it
        answer = ask_alone(guarded, bearer(key))
        return answer if answer.status_code == 200 else None

    answers = [answer for _ in range(20) if (answer := eventually(served)) is not None]
    ids = {answer.headers["x-polyroute-request-id"] for answer in answers}
    assert len(ids) == 20
    eventually(lambda: {row["id"] for row in guarded.sql("SELECT id FROM requests WHERE key_id = ?", key_id)} == ids)


def test_the_key_itself_is_nowhere(guarded: GatewayProcess) -> None:
    key, _ = issue(guarded, "--name", "secretive")
    await_known(guarded, key)
    ask_alone(guarded, bearer(key))
    assert key not in guarded.log
    for file in guarded.folder.rglob("*"):
        if file.is_file():
            assert key.encode() not in file.read_bytes(), file
    pepper = next(guarded.folder.glob("*.pepper"))
    assert pepper.stat().st_mode & 0o777 == 0o600


def test_open_mode_is_refused_where_others_can_reach_it(tmp_path: Path) -> None:
    done = run_polyroute("serve", "--host", "0.0.0.0", "--sandbox", folder=tmp_path)
    assert done.returncode == 2
    assert "auth.mode is open" in done.stderr
    assert "polyroute keys create" in done.stderr
    assert "Traceback" not in done.stderr
