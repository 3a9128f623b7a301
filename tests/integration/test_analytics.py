"""Analytics, single requests, exports and content after real traffic, over HTTP and the command line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.asks import CHAT, EMBED, STREAM, TRANSCRIPTION, text_of
from support.eventually import eventually
from support.gateway_process import GatewayProcess, run_polyroute
from support.simulated_providers import SimulatedProviders

SECRET = "sk-proj-0123456789abcdef"
ASKED = f"Hullo, my key is {SECRET}"


def config(simulated: SimulatedProviders) -> str:
    providers = {
        name: {"base_url": f"{simulated.url}/{name}{path}", "api_key": "sk-x"}
        for name, path in (("openai", "/v1"), ("groq", "/openai/v1"), ("anthropic", ""))
    }
    return json.dumps(
        {
            "defaults": {"retries": 0, "breaker": {"failures": 100_000, "minimum": 100_000}},
            "providers": providers,
            "content": {"log": True, "redact": ["Rumpel\\w+"]},
            "routes": {
                "relayed": {"targets": ["openai/gpt-4o-mini"]},
                "translated": {"targets": ["anthropic/claude-haiku-4-5"]},
                "falling": {"targets": ["groq/llama-x", "openai/gpt-4o-mini"]},
                "private": {"targets": ["openai/gpt-4o-mini"], "log_content": False},
            },
        }
    )


@pytest.fixture
def gateway(sandbox: SimulatedProviders, tmp_path: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path, config(sandbox)) as running:
        yield running


@pytest.fixture
def client(gateway: GatewayProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client:
        yield client


def settled(gateway: GatewayProcess, count: int) -> list[dict[str, Any]]:
    eventually(lambda: gateway.sql("SELECT COUNT(*) AS n FROM requests")[0]["n"] == count)
    return gateway.sql("SELECT * FROM requests ORDER BY created_at")


def get(client: httpx.Client, path: str, expected: int = 200, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == expected, answer.text
    return answer.json()


def test_figures_and_rows_of_what_was_asked(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client
) -> None:
    sandbox.break_down("groq", "status", status=500)
    tagged = {
        "model": "falling",
        "messages": [{"role": "user", "content": "Hi"}],
        "polyroute": {"tags": {"env": "prod"}},
    }
    assert client.post("/v1/chat/completions", json=tagged).status_code == 200
    sandbox.mend("groq")
    assert STREAM.send(client, "relayed").status_code == 200
    assert EMBED.send(client, "openai/text-embedding-3-small").status_code == 200
    assert CHAT.send(client, "no-such-model").status_code == 404
    rows = settled(gateway, 4)

    found = get(client, "/admin/api/analytics", interval="hour", group_by="provider,model", time_zone="Europe/Berlin")
    assert found["total"]["completed"] == 3
    assert found["total"]["fallbacks"] == 1
    assert found["total"]["attempt_errors"] == {"unavailable": 1}
    assert found["since"].endswith(("+01:00", "+02:00"))
    openai = [point for point in found["points"] if point["group"] == {"provider": "openai", "model": "gpt-4o-mini"}]
    assert sum(point["requests"] for point in openai) == 2
    assert all(point["latency_ms"]["p50"] > 0 and point["tokens"]["input"] > 0 for point in openai)
    spent = sum(float(row["cost_usd"] or 0) for row in rows)
    assert float(found["total"]["cost_usd"]) == pytest.approx(spent, abs=1e-9)
    assert "E" not in found["total"]["cost_usd"]
    of_tag = get(client, "/admin/api/analytics", interval="total", tag="env:prod")
    assert of_tag["total"]["requests"] == 1
    saved = get(client, "/admin/api/analytics", interval="total", operation="chat", baseline="openai/gpt-4o")
    assert saved["baseline"]["price_version"]
    assert float(saved["total"]["savings"]["saved_usd"]) > 0
    unknown = get(client, "/admin/api/analytics", interval="total", baseline="openai/never-priced")
    assert unknown["baseline"] == {"target": "openai/never-priced", "price_version": None}
    assert unknown["total"]["savings"]["baseline_usd"] is None

    sheet = client.get("/admin/api/analytics", params={"format": "csv", "group_by": "provider"})
    assert sheet.headers["content-type"].startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(sheet.text)))
    assert sum(int(line["completed"]) for line in lines) == 3

    refused = get(client, "/admin/api/analytics", 400, group_by="colour")
    assert "provider" in refused["error"]["message"]
    assert "provider/model" in get(client, "/admin/api/analytics", 400, baseline="nothing")["error"]["message"]
    paths = get(client, "/api/openapi.json")["paths"]
    assert {"/admin/api/analytics", "/admin/api/requests", "/admin/api/requests/{request_id}"} <= set(paths)


def test_requests_by_page_and_one_by_one(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client
) -> None:
    for _ in range(5):
        CHAT.send(client, "relayed")
    EMBED.send(client, "openai/text-embedding-3-small")
    rows = settled(gateway, 6)
    newest_first = [row["id"] for row in reversed(rows)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = get(client, "/admin/api/requests", limit=4, **cursor)
        seen += [row["id"] for row in page["requests"]]
        if page["next"] is None:
            break
        cursor = {"cursor": page["next"]}
    assert seen == newest_first
    assert "input_text" not in page["requests"][0]
    chats = get(client, "/admin/api/requests", operation="chat", route="relayed", status="COMPLETED")
    assert len(chats["requests"]) == 5
    assert get(client, "/admin/api/requests", provider="nobody") == {"requests": [], "next": None}
    one = get(client, f"/admin/api/requests/{seen[-1]}")
    assert one["input_text"] == "user: Hello"
    assert [(attempt["number"], attempt["provider"]) for attempt in one["attempts"]] == [(1, "openai")]
    assert isinstance(one["cost_usd"], str)
    assert get(client, "/admin/api/requests/none", 404)["error"]["code"]
    assert "cursor" in get(client, "/admin/api/requests", 400, cursor="!!")["error"]["message"]
    assert "7d" in get(client, "/admin/api/requests", 400, since="soon")["error"]["message"]

    sheet = client.get("/admin/api/export/requests", params={"since": "1h"})
    assert sheet.headers["content-disposition"] == 'attachment; filename="requests.csv"'
    assert [row["id"] for row in csv.DictReader(io.StringIO(sheet.text))] == list(reversed(newest_first))
    lines = client.get("/admin/api/export/attempts", params={"since": "1h", "format": "jsonl"}).text.splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == list(reversed(newest_first))
    done = run_polyroute("export", "requests", "--since", "1h", "--format", "jsonl", "-o", "-", folder=gateway.folder)
    assert len(done.stdout.splitlines()) == 6, done.stderr


CHATS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": ASKED}]}),
    "openai_responses": ("/v1/responses", {"input": ASKED}),
    "anthropic_messages": ("/v1/messages", {"max_tokens": 50, "messages": [{"role": "user", "content": ASKED}]}),
    "ollama": ("/api/chat", {"messages": [{"role": "user", "content": ASKED}]}),
}


@pytest.mark.parametrize("route", ["relayed", "translated"])
@pytest.mark.parametrize("dialect", [*CHATS, "gemini"])
def test_content_is_kept_of_every_dialect_whole_and_streamed(
    gateway: GatewayProcess, client: httpx.Client, dialect: str, route: str
) -> None:
    for stream in (False, True):
        if dialect == "gemini":
            verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
            body = {"contents": [{"role": "user", "parts": [{"text": ASKED}]}]}
            answer = client.post(f"/v1beta/models/{route}:{verb}", json=body)
        else:
            path, fields = CHATS[dialect]
            answer = client.post(path, json={"model": route, "stream": stream, **fields})
        assert answer.status_code == 200, answer.text
        if not stream:
            whole = answer.text
    first, second = settled(gateway, 2)
    assert first["input_text"] == second["input_text"] == "user: Hullo, my key is [redacted]"
    assert (first["stream"], second["stream"]) == (0, 1)
    assert "imulated" in first["output_text"]
    assert json.dumps(first["output_text"].replace("[redacted]", SECRET))[1:-1] in json.dumps(json.loads(whole))
    assert second["output_text"] == first["output_text"]
    assert SECRET not in gateway.log
    assert "Hullo" not in gateway.log


def test_content_of_other_operations_and_of_routes_that_are_private(
    gateway: GatewayProcess, client: httpx.Client
) -> None:
    streamed = STREAM.send(client, "relayed")
    TRANSCRIPTION.send(client, "openai/gpt-4o-transcribe")
    CHAT.send(client, "private")
    rows = settled(gateway, 3)
    assert rows[0]["output_text"] == text_of(streamed.content)
    assert rows[1]["output_text"]
    assert (rows[2]["input_text"], rows[2]["output_text"]) == (None, None)
