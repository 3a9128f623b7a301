"""The operators' API after real traffic: exactly the JSON that was promised, from the ledger, over all workers and starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from support.asks import CHAT, EMBED, IMAGE, SPEECH, TRANSCRIPTION, Ask
from support.eventually import eventually
from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders

KEYS = [
    "category", "provider", "priority", "enabled", "requests", "successes", "failures", "successRate", "totalCost",
    "avgCost", "avgTime",
]  # fmt: skip


def config(simulated: SimulatedProviders) -> str:
    """Three providers; of gpt-4o-mini and gpt-4o the prices are known, of the rest not."""
    providers = {
        name: {"base_url": f"{simulated.url}/{name}{path}", "api_key": "sk-x"}
        for name, path in (("openai", "/v1"), ("openrouter", "/api/v1"), ("groq", "/openai/v1"))
    }
    return json.dumps(
        {
            "defaults": {"retries": 0, "breaker": {"failures": 100_000, "minimum": 100_000}},
            "providers": providers,
            "routes": {
                "falling": {"targets": ["groq/llama-x", "openai/gpt-4o"]},
                "cheap": {"targets": ["openrouter/openai/gpt-4o-mini"]},
                "pictures": {"operation": "image", "targets": ["openai/picture-1"]},
            },
        }
    )


def ask(gateway: GatewayProcess, what: Ask, model: str, status: int = 200) -> None:
    """Ask on a connection of its own, which any worker may take."""
    with httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client:
        assert what.send(client, model).status_code == status


def get(gateway: GatewayProcess, path: str) -> Any:
    answer = httpx.get(gateway.url + path, timeout=20, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def row(rows: list[dict[str, Any]], category: str, provider: str) -> dict[str, Any]:
    [found] = [row for row in rows if (row["category"], row["provider"]) == (category, provider)]
    return found


def test_the_operators_api_after_real_traffic(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, config(sandbox), ["--workers", "2"]) as gateway:
        assert get(gateway, "/api/providers/recommended/TEXT")["recommended"] is None
        sandbox.break_down("groq", "status", status=500)
        for _ in range(4):
            ask(gateway, CHAT, "falling")
        sandbox.mend("groq")
        ask(gateway, CHAT, "groq/llama-x")
        for _ in range(6):
            ask(gateway, CHAT, "cheap")
        ask(gateway, EMBED, "openai/text-embedding-3-small")
        ask(gateway, IMAGE, "pictures")
        ask(gateway, SPEECH, "openai/gpt-4o-mini-tts")
        ask(gateway, TRANSCRIPTION, "openai/gpt-4o-transcribe")
        ask(gateway, CHAT, "openai/not-a-chat", 200)
        eventually(lambda: gateway.sql("SELECT COUNT(*) AS n FROM requests")[0]["n"] == 16)
        before = get(gateway, "/api/providers/stats")
        check_stats(gateway, before)
        check_costs(gateway, before)
        assert get(gateway, "/api/providers/recommended/TEXT") == {"recommended": "openrouter"}
        assert get(gateway, "/api/providers/recommended/text") == {"recommended": "openrouter"}
        nothing = get(gateway, "/api/providers/recommended/VIDEO")
        assert set(nothing) == {"recommended", "reason"}
        assert nothing["recommended"] is None
        assert nothing["reason"]
        unknown = httpx.get(f"{gateway.url}/api/providers/stats/TXT", timeout=20, trust_env=False)
        assert unknown.status_code == 404
        assert "TEXT, IMAGE, VIDEO, AUDIO" in unknown.json()["error"]["message"]
    with GatewayProcess(tmp_path, config(sandbox)) as gateway:  # it is the ledger that is read
        assert get(gateway, "/api/providers/stats") == before
        assert get(gateway, "/api/providers/recommended/TEXT") == {"recommended": "openrouter"}


def check_stats(gateway: GatewayProcess, rows: list[dict[str, Any]]) -> None:
    """Shape, figures and order."""
    assert all(list(found) == KEYS for found in rows)
    categories = [found["category"] for found in rows]
    assert categories == sorted(categories, key=["TEXT", "IMAGE", "VIDEO", "AUDIO"].index)
    for category in ("TEXT", "IMAGE", "AUDIO", "VIDEO"):
        part = get(gateway, f"/api/providers/stats/{category}")
        assert part == [found for found in rows if found["category"] == category]

    groq = row(rows, "TEXT", "groq")
    assert (groq["requests"], groq["successes"], groq["failures"], groq["successRate"]) == (5, 1, 4, 20.0)
    assert groq["priority"] is None
    openai = row(rows, "TEXT", "openai")
    assert (openai["requests"], openai["successes"], openai["failures"], openai["successRate"]) == (6, 6, 0, 100.0)
    assert (openai["priority"], openai["enabled"]) == (4, True)
    openrouter = row(rows, "TEXT", "openrouter")
    assert (openrouter["requests"], openrouter["priority"]) == (6, 3)
    assert isinstance(openrouter["avgTime"], int)
    assert row(rows, "IMAGE", "openai")["requests"] == 1
    assert (row(rows, "AUDIO", "openai")["requests"], row(rows, "AUDIO", "openai")["priority"]) == (2, 3)
    assert row(rows, "AUDIO", "groq")["successRate"] is None
    text = [found["priority"] for found in rows if found["category"] == "TEXT"]
    numbered = [number for number in text if number is not None]
    assert text == sorted(numbered) + [None] * (len(text) - len(numbered))


def check_costs(gateway: GatewayProcess, rows: list[dict[str, Any]]) -> None:
    """Money agrees with the ledger, and `cost` sorts by it, unknown last."""
    spent = {
        found["provider"]: found["usd"]
        for found in gateway.sql(
            "SELECT provider, SUM(cost_usd) AS usd FROM attempts WHERE operation IN ('chat','embed') GROUP BY provider"
        )
    }
    for provider in ("openai", "openrouter"):
        assert abs(row(rows, "TEXT", provider)["totalCost"] - spent[provider]) < 1e-9
    openrouter = row(rows, "TEXT", "openrouter")
    assert abs(openrouter["avgCost"] - openrouter["totalCost"] / 6) < 1e-9
    assert row(rows, "TEXT", "groq")["avgCost"] in (None, 0.0)
    by_cost = get(gateway, "/api/providers/cost/TEXT")
    known = [found["avgCost"] for found in by_cost if found["avgCost"] is not None]
    assert known == sorted(known)
    assert [found["avgCost"] for found in by_cost][: len(known)] == known
    assert {found["provider"] for found in by_cost} == {
        found["provider"] for found in rows if found["category"] == "TEXT"
    }
