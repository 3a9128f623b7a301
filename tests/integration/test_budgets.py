"""Budgets as callers and operators meet them: never overspent, right after every crash, and no way around them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from polyroute.storage.database import Database, open_database
from polyroute.types.budgets import UNIT
from support.asking_at_once import ask_at_once
from support.eventually import eventually
from support.gateway_process import GatewayProcess, run_polyroute
from support.operators import chat
from support.scripted_provider import ScriptedProvider, whole
from support.simulated_providers import SimulatedProviders

MODEL = "openai/gpt-4o"
ASK = {"model": MODEL, "max_tokens": 60, "messages": [{"role": "user", "content": "Hello"}]}
COST = Decimal("0.000325")  # of one such answer, which the sandbox keeps short


def config(sandbox: SimulatedProviders, budgets: dict[str, Any], **more: Any) -> str:
    providers = {
        name: {"base_url": f"{sandbox.url}/{name}/v1", "api_key": f"sk-{name}"} for name in ("openai", "together")
    }
    providers["anthropic"] = {"base_url": f"{sandbox.url}/anthropic", "api_key": "sk-anthropic"}
    routes = {
        "text": {"targets": ["openai/gpt-4o"]},
        "dear": {"targets": ["openai/gpt-4o", "openai/gpt-4o-mini"]},
        "small": {"targets": ["openai/gpt-4o-mini"]},
    }
    written = {"defaults": {"retries": 0}, "providers": providers, "routes": routes, "budgets": budgets}
    return json.dumps(written | more)


class Books:
    """The database, as an operator reads it."""

    def __init__(self, url: str) -> None:
        self.database: Database = open_database(url)

    def one(self, query: str, *values: Any) -> Any:
        driver = self.database.connect()
        try:
            return driver.execute(driver.sql(query), values).fetchall()[0][0]
        finally:
            driver.close()

    def spent(self, identifier: str = "all") -> int:
        return int(self.one("SELECT COALESCE(SUM(spent), 0) FROM budget_windows WHERE budget_id = ?", identifier))

    def leased(self) -> int:
        return int(self.one("SELECT COALESCE(SUM(leased), 0) FROM budget_windows"))

    def cost(self) -> int:
        """Of all requests, in units."""
        return int(
            Decimal(str(self.one("SELECT COALESCE(SUM(cost_usd), 0) FROM requests"))).quantize(Decimal("1e-10")) * UNIT
        )

    def served(self) -> int:
        return int(self.one("SELECT COUNT(*) FROM requests WHERE cost_usd IS NOT NULL"))


@pytest.mark.parametrize(("kind", "workers"), [("sqlite", 1), ("sqlite", 2), ("postgresql", 1), ("postgresql", 2)])
def test_two_hundred_calls_at_once_never_spend_more_than_there_is(
    kind: str, workers: int, sandbox: SimulatedProviders, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/polyroute.db" if kind == "sqlite" else request.getfixturevalue("postgres").create()
    budget = Decimal("0.02")  # for about 60 of the 200
    written = config(sandbox, {"all": {"amount": f"{budget} USD", "window": "total"}}, storage={"database": url})
    with GatewayProcess(tmp_path, written, ["--workers", str(workers)]) as gateway:
        books = Books(url)
        told = ask_at_once(gateway.url, 200, ASK)
        assert {one.status for one in told} == {200, 402}
        admitted = [one for one in told if one.status == 200]
        assert sum((one.cost or Decimal(0) for one in admitted), Decimal(0)) <= budget
        refused = json.loads(next(one.body for one in told if one.status == 402))["error"]
        assert "budget 'all'" in refused["message"]
        assert refused["code"] == "over_budget"
        eventually(lambda: books.leased() == 0)
        assert books.spent() == books.cost() == len(admitted) * int(COST * UNIT)
        assert books.spent() <= budget * UNIT
        # The rest, up to what one request might cost, can still be spent once no worker holds it idle any more.
        answered = len(admitted)
        while httpx.post(f"{gateway.url}/v1/chat/completions", json=ASK, timeout=20).status_code == 200:
            answered += 1
            eventually(lambda: books.leased() == 0)
        eventually(lambda count=answered: books.served() == count)
        assert budget * UNIT - int(Decimal("0.0016") * UNIT) <= books.spent() <= budget * UNIT


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_budgets_are_right_after_every_kill(
    kind: str, sandbox: SimulatedProviders, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/polyroute.db" if kind == "sqlite" else request.getfixturevalue("postgres").create()
    written = config(sandbox, {"all": {"amount": "0.05 USD", "window": "total"}}, storage={"database": url})
    answered = 0
    for _ in range(3):
        with GatewayProcess(tmp_path, written, ["--workers", "2"]) as gateway:
            answered += sum(one.status == 200 for one in ask_at_once(gateway.url, 30, ASK))
            gateway.kill()
    with GatewayProcess(tmp_path, written):
        books = Books(url)
        eventually(lambda: books.served() == answered)
        eventually(lambda: books.leased() == 0)
        assert books.spent() == books.cost() == answered * int(COST * UNIT)


def test_streams_relays_and_translations_are_charged_alike(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, config(sandbox, {"all": {"amount": "1 USD", "window": "day"}})) as gateway:
        books = Books(f"sqlite:///{tmp_path}/polyroute.db")
        asks: list[tuple[str, dict[str, Any]]] = [
            ("/v1/chat/completions", ASK),
            ("/v1/chat/completions", ASK | {"stream": True}),
            ("/v1/messages", ASK),
            ("/v1/messages", ASK | {"stream": True}),
            ("/v1/responses", {"model": MODEL, "max_output_tokens": 60, "input": "Hello"}),
            ("/v1/embeddings", {"model": "openai/text-embedding-3-small", "input": "Hello"}),
            ("/v1/images/generations", {"model": "openai/gpt-image-1", "prompt": "a house", "size": "1024x1024"}),
            ("/v1/audio/speech", {"model": "openai/tts-1", "input": "Hello", "voice": "alloy"}),
        ]
        for number, (path, body) in enumerate(asks, 1):
            answer = httpx.post(f"{gateway.url}{path}", json=body, timeout=20, trust_env=False)
            assert answer.status_code == 200, (path, answer.text)
            assert answer.headers["x-polyroute-budget-remaining"].endswith(" USD")
            assert eventually(lambda count=number: books.one("SELECT COUNT(*) FROM requests") == count)
            if "speech" in path or "images" in path:  # where nobody tells what it cost, what was set aside is charged
                assert books.spent() >= books.cost()
                continue
            assert books.spent() == books.cost() > 0, path
        eventually(lambda: books.leased() == 0)


def test_a_refusal_speaks_the_callers_dialect(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    none = {
        "none": {"amount": "0 USD", "scope": "route", "subject": "text", "window": "day", "time_zone": "Asia/Tokyo"}
    }
    with GatewayProcess(tmp_path, config(sandbox, none)) as gateway:
        for path, body in (
            ("/v1/chat/completions", {"max_tokens": 9}),
            ("/v1/chat/completions", {"max_tokens": 9, "stream": True}),
            ("/v1/messages", {"max_tokens": 9}),
            ("/v1beta/models/text:generateContent", {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}),
        ):
            answer = chat(gateway, "text", path=path, **body)
            assert answer.status_code == 402, answer.text
            assert "budget 'none' (route text: 0 USD a day)" in answer.json()["error"]["message"]
            assert answer.headers["x-polyroute-budget-remaining"] == "0 USD"
            assert answer.headers["x-polyroute-budget-renews"].endswith("T00:00:00+09:00")
        assert sandbox.seen() == []
        assert chat(gateway, "small", max_tokens=9).status_code == 200, "other routes are free"


def test_a_dearer_target_is_passed_over_for_one_that_the_budget_can_pay(
    sandbox: SimulatedProviders, tmp_path: Path
) -> None:
    with GatewayProcess(tmp_path, config(sandbox, {"all": {"amount": "0.0002 USD", "window": "day"}})) as gateway:
        answer = chat(gateway, "dear", max_tokens=60)
        assert answer.status_code == 200
        assert answer.headers["x-polyroute-model"] == "gpt-4o-mini"
        drops = gateway.entry(answer.headers["x-polyroute-request-id"])["drops"]
        assert "openai/gpt-4o" in drops
        assert "budget 'all'" in drops


def test_what_has_no_price_is_refused_unless_it_is_allowed(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    budgets = {
        "strict": {"amount": "1 USD", "window": "day"},
        "mild": {"amount": "1 USD", "window": "day", "scope": "route", "subject": "text", "unpriced": "allow"},
    }
    with GatewayProcess(tmp_path, config(sandbox, budgets)) as gateway:
        answer = chat(gateway, "openai/nobody-knows-me")
        assert answer.status_code == 402
        assert "price of openai/nobody-knows-me is unknown" in answer.json()["error"]["message"]
        assert sandbox.seen() == []
    allowed = {"mild": {"amount": "1 USD", "window": "day", "unpriced": "allow"}}
    with GatewayProcess(tmp_path, config(sandbox, allowed)) as gateway:
        assert chat(gateway, "openai/nobody-knows-me").status_code == 200


def test_a_broken_stream_is_charged_with_what_its_rescue_cost_too(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    routes = {"text": {"targets": ["openai/gpt-4o", "together/meta-llama/Llama-3.3-70B-Instruct-Turbo"]}}
    written = config(sandbox, {"all": {"amount": "1 USD", "window": "day"}}, routes=routes)
    with GatewayProcess(tmp_path, written) as gateway:
        sandbox.break_down("openai", "cut", after_tokens=3)
        answer = chat(gateway, "text", stream=True, max_tokens=60)
        assert answer.status_code == 200
        entry = gateway.entry(answer.headers["x-polyroute-request-id"])
        assert entry["status"] == "COMPLETED"
        assert len(gateway.attempts(entry["id"])) == 2
        books = Books(f"sqlite:///{tmp_path}/polyroute.db")
        assert books.spent() == books.cost() > 0
        eventually(lambda: books.leased() == 0)


# ---------------------------------------------------------------- whose budget


def test_keys_users_and_teams_each_have_their_own(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    tiny = "0.001 USD"  # for one answer
    budgets = {"k": {"amount": tiny, "scope": "key", "subject": "poor", "window": "day"}}
    written = config(sandbox, budgets, auth={"mode": "keys"})
    (tmp_path / "polyroute.yaml").write_text(written)

    def command(*arguments: str) -> str:
        done = run_polyroute(*arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    command("teams", "create", "research")
    command("users", "create", "alice", "--team", "research")
    command("users", "create", "bob", "--team", "research")
    keys = {name: command("keys", "create", "--name", name, *more) for name, *more in (
        ("poor",), ("alice1", "--user", "alice"), ("alice2", "--user", "alice"), ("bobs", "--user", "bob"), ("free",),
    )}  # fmt: skip
    command("budgets", "set", "a", "--amount", tiny, "--user", "alice", "--window", "day")
    command("budgets", "set", "r", "--amount", "0.0013 USD", "--team", "research", "--window", "day")

    def status(name: str, **more: Any) -> int:
        asked = ASK | {"max_tokens": 40} | more
        headers = {"authorization": f"Bearer {keys[name]}"}
        return chat(gateway, MODEL, headers=headers, **{k: v for k, v in asked.items() if k != "model"}).status_code

    with GatewayProcess(tmp_path) as gateway:
        assert [status("poor"), status("poor")] == [200, 402]
        assert [status("alice1"), status("alice2")] == [200, 402], "one budget for both keys of a user"
        # Naming another user does not help a key that has one.
        assert status("alice1", polyroute={"user": "bob"}) == 402
        assert [status("bobs"), status("bobs")] == [200, 402], "the team's budget is shared"
        assert [status("free") for _ in range(4)] == [200] * 4


# ---------------------------------------------------------------- soft limits


def test_past_the_soft_limit_requests_go_to_the_cheapest_or_to_a_route(
    sandbox: SimulatedProviders, tmp_path: Path
) -> None:
    soft = {"soft_limit": 0.2, "window": "day", "hard": False}
    budgets = {
        "cheap": {"amount": "0.001 USD", "scope": "route", "subject": "dear", "soft_action": "cheapest", **soft},
        "down": {
            "amount": "0.001 USD", "scope": "route", "subject": "text", "soft_action": "downgrade", "downgrade_to": "small",
            **soft,
        },
    }  # fmt: skip
    with GatewayProcess(tmp_path, config(sandbox, budgets)) as gateway:
        for route in ("dear", "text"):
            models = [chat(gateway, route).headers["x-polyroute-model"] for _ in range(3)]
            assert models == ["gpt-4o", "gpt-4o-mini", "gpt-4o-mini"], route
        rows = eventually(lambda: gateway.sql("SELECT * FROM notifications WHERE kind = 'budget.soft_limit'"))
        assert {row["subject"] for row in rows} <= {"cheap", "down"}
    with GatewayProcess(tmp_path) as gateway:  # what was spent is known from the first request on
        assert chat(gateway, "dear").headers["x-polyroute-model"] == "gpt-4o-mini"


# ---------------------------------------------------------------- credits


def test_labels_cost_credits_whatever_the_provider_charged(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    budgets = {"credits": {"amount": "10 credits", "window": "month"}}
    prices = {"text": 4, "small": 0.5}
    with GatewayProcess(tmp_path, config(sandbox, budgets, credits=prices)) as gateway:
        answer = chat(gateway, "small")
        assert answer.headers["x-polyroute-budget-remaining"] == "9.5 credits"
        assert [chat(gateway, "text").status_code for _ in range(3)] == [200, 200, 402]
        refused = chat(gateway, "dear")
        assert refused.status_code == 402
        assert "no price in credits" in refused.json()["error"]["message"]
        books = Books(f"sqlite:///{tmp_path}/polyroute.db")
        eventually(lambda: books.spent("credits") == Decimal("8.5") * UNIT)
        costs = {row["name"]: row["token_cost"] for row in gateway.sql("SELECT * FROM ai_models")}
        assert (costs["text"], costs["small"], costs["dear"]) == (4, 0.5, None)
        eventually(lambda: len(gateway.sql("SELECT id FROM requests")) == 5)
        charged = gateway.sql("SELECT requested_model, SUM(credits) AS credits FROM requests GROUP BY requested_model")
        assert {row["requested_model"]: row["credits"] for row in charged} == {"text": 8, "small": 0.5, "dear": None}


# ---------------------------------------------------------------- operators


def test_operators_set_budgets_while_the_gateway_runs_and_are_told(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    with ScriptedProvider(whole(b"ok")) as receiver:
        hooks = {"webhooks": [{"url": receiver.url, "secret": "a secret of some length", "events": ["budget."]}]}
        with GatewayProcess(tmp_path, config(sandbox, {}, notifications=hooks)) as gateway:
            api = f"{gateway.url}/admin/api"
            assert "x-polyroute-budget" not in chat(gateway, "text").headers
            for wrong, status, words in (
                ({"id": "day"}, 422, "amount"),
                ({"id": "day", "amount": "-1 USD"}, 400, "cannot be below zero"),
                ({"id": "day", "amount": "1 USD", "soft_limit": "lots"}, 422, "soft_limit"),
                ({"id": "day", "amount": "1 XAU"}, 400, "unknown currency XAU"),
            ):
                answer = httpx.post(f"{api}/budgets", json=wrong, trust_env=False)
                assert answer.status_code == status, answer.text
                assert words in answer.text
            order = {"id": "day", "amount": "0.001 USD", "window": "day", "alerts": [0.1]}
            assert httpx.post(f"{api}/budgets", json=order, trust_env=False).status_code == 201
            same = httpx.post(f"{api}/budgets", json=order | {"id": "other"}, trust_env=False)
            assert same.status_code == 400
            assert "overlaps with the budget 'day'" in same.text
            eventually(lambda: "x-polyroute-budget" in chat(gateway, "text", max_tokens=9).headers)
            eventually(lambda: chat(gateway, "text", max_tokens=50).status_code == 402)
            kinds = eventually(lambda: {json.loads(one.body)["type"] for one in receiver.received}, within=15)
            eventually(lambda: {json.loads(one.body)["type"] for one in receiver.received} > kinds or len(kinds) == 2)
            assert all(one.headers["webhook-signature"].startswith("v1,") for one in receiver.received)
            feed = httpx.get(f"{api}/notifications?unread=true", trust_env=False).json()
            assert {one["kind"] for one in feed} == {"budget.alert", "budget.exhausted"}
            seen = httpx.post(f"{api}/notifications/{feed[0]['id']}/read", trust_env=False)
            assert seen.status_code == 200
            assert len(httpx.get(f"{api}/notifications?unread=true", trust_env=False).json()) == 1
            [report] = httpx.get(f"{api}/budgets", trust_env=False).json()
            assert Decimal(report["spent"]) > 0
            assert httpx.delete(f"{api}/budgets/day", trust_env=False).status_code == 204
            eventually(lambda: chat(gateway, "text", max_tokens=50).status_code == 200)
            assert httpx.delete(f"{api}/budgets/day", trust_env=False).status_code == 404
