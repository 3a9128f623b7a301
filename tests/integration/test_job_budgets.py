"""Budgets and limits of work that becomes a job: refused when it is asked for, held while it runs, given back when it comes
to nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest

from polyroute.storage.database import open_database
from polyroute.storage.keys import create_key, load_pepper
from polyroute.types.limits import Limits
from support.eventually import eventually
from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")  # its client's own remark
PRICE = Decimal("0.003")  # of one picture, by the price table
WAIT = {"prefer": "wait=20"}


def budget_for(pictures: int, scope: str, subject: str) -> dict[str, str]:
    """What so many pictures cost, and a little more."""
    amount = f"{PRICE * pictures + PRICE / 2} USD"
    return {"scope": scope, "subject": subject, "amount": amount, "window": "total"}


@pytest.fixture(scope="module")
def house(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with budgets for routes, a key and a user."""
    pictures = {"operation": "image", "targets": ["replicate/black-forest-labs/flux-schnell"]}
    config = {
        "auth": {"mode": "keys"},
        "fetch": {"allow": ["127.0.0.1"]},
        "defaults": {"retries": 0, "breaker": {"failures": 100_000, "minimum": 100_000}},
        "providers": {
            "replicate": {"base_url": f"{simulated.url}/replicate/v1", "api_key": "r8_x"},
            "openai": {"base_url": f"{simulated.url}/openai/v1", "api_key": "sk-x"},
        },
        "routes": {
            "poor_film": {"operation": "video", "targets": ["replicate/luma/ray-2-720p"]},
            "poor": pictures, "held": pictures, "once": pictures, "picture": pictures,
            "text": {"targets": ["openai/gpt-4o-mini"]},
        },
        "budgets": {
            "poor": budget_for(0, "route", "poor"), "poor_film": budget_for(0, "route", "poor_film"),
            "held": budget_for(1, "route", "held"), "once": budget_for(1, "route", "once"),
            "studio": budget_for(1, "key", "studio"), "anna": budget_for(1, "user", "anna"),
        },
    }  # fmt: skip
    with GatewayProcess(tmp_path_factory.mktemp("budgets"), json.dumps(config)) as process:
        yield process


@contextmanager
def keyed(
    house: GatewayProcess, name: str, user: str | None = None, limits: Limits | None = None
) -> Iterator[httpx.Client]:
    """A client with a new key."""
    database = open_database(f"sqlite:///{house.folder}/polyroute.db")
    pepper = load_pepper(None, house.folder / "polyroute.pepper")
    key, _ = create_key(database, pepper, name=name, limits=limits, user_id=user)
    database.close()
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=house.url, timeout=30, headers=headers, trust_env=False) as client:
        eventually(lambda: client.get("/v1/models").status_code == 200)
        yield client


@pytest.fixture
def caller(
    house: GatewayProcess, sandbox: SimulatedProviders, request: pytest.FixtureRequest
) -> Iterator[httpx.Client]:
    """A caller with a key of their own; the simulated providers are well and quick."""
    sandbox.set("*", job_seconds=0.1)
    with keyed(house, request.node.name) as client:
        yield client


def picture(model: str, **more: Any) -> dict[str, Any]:
    """An order for one picture."""
    return {"model": model, "task": "text_to_image", "prompt": "a red fox", **more}


def given(sandbox: SimulatedProviders) -> int:
    """How many jobs the provider was given."""
    return len(httpx.get(f"{sandbox.url}/_control/jobs?provider=replicate", trust_env=False).json()["jobs"])


def test_what_the_budget_does_not_have_is_refused_when_it_is_asked_for(
    caller: httpx.Client, house: GatewayProcess, sandbox: SimulatedProviders
) -> None:
    refused = caller.post("/v1/jobs", json=picture("poor"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (402, "over_budget"), refused.text
    assert "'poor'" in refused.json()["error"]["message"]
    assert refused.headers["x-polyroute-budget"] == "poor"
    step = {"id": "scene", "task": "text_to_image", "model": "poor", "prompt": "a fox"}
    error = caller.post("/v1/pipelines", json={"steps": [step]}).json()["error"]
    assert (error["code"], error["param"]) == ("over_budget", "steps[0].model")
    key = caller.headers["authorization"].removeprefix("Bearer ")
    with openai.OpenAI(base_url=f"{house.url}/v1", api_key=key, max_retries=0) as sdk:
        with pytest.raises(openai.APIStatusError, match=r"price of .* is unknown") as film:
            sdk.videos.create(model="poor_film", prompt="a fox", seconds="8")
        with pytest.raises(openai.APIStatusError, match="does not have") as slow:
            sdk.images.generate(model="poor", prompt="a fox")
    assert (film.value.status_code, slow.value.status_code) == (402, 402)
    assert caller.get("/v1/jobs").json()["data"] == []
    assert given(sandbox) == 0


def test_what_a_job_holds_is_given_back_when_it_comes_to_nothing(
    caller: httpx.Client, sandbox: SimulatedProviders
) -> None:
    sandbox.set("replicate", job_seconds=60)
    first = caller.post("/v1/jobs", json=picture("held")).json()["id"]
    eventually(lambda: given(sandbox) == 1)
    held = caller.post("/v1/jobs", json=picture("held"))  # the first holds what this one needs
    assert held.status_code == 402, held.text
    assert caller.delete(f"/v1/jobs/{first}").json()["status"] == "cancelled"
    sandbox.set("replicate", job_seconds=0.1)
    sandbox.break_down("replicate", "moderation", times=1)
    failed = caller.post("/v1/jobs", json=picture("held"), headers=WAIT).json()
    assert failed["status"] == "failed", failed
    done = caller.post("/v1/jobs", json=picture("held"), headers=WAIT).json()
    assert (done["status"], Decimal(done["cost_usd"])) == ("succeeded", PRICE), done
    assert caller.post("/v1/jobs", json=picture("held")).status_code == 402  # now it is spent


def test_the_same_request_again_is_the_same_job_even_when_nothing_is_left(
    caller: httpx.Client, sandbox: SimulatedProviders
) -> None:
    key = {"idempotency-key": "once", **WAIT}
    first = caller.post("/v1/jobs", json=picture("once"), headers=key).json()
    again = caller.post("/v1/jobs", json=picture("once"), headers=key)
    assert (again.status_code, again.json()["id"]) == (200, first["id"])
    assert caller.post("/v1/jobs", json=picture("once")).status_code == 402
    assert given(sandbox) == 1


def test_the_budget_of_a_key_by_its_name_and_of_its_user_holds_for_jobs(
    house: GatewayProcess, sandbox: SimulatedProviders
) -> None:
    sandbox.set("*", job_seconds=0.1)
    for name, user, budget in (("studio", None, "studio"), ("other", "anna", "anna")):
        with keyed(house, name, user) as caller:
            order = picture("picture", polyroute={"user": "bert"})  # the key is anna's, whatever its caller says
            done = caller.post("/v1/jobs", json=order, headers=WAIT).json()
            assert (done["status"], Decimal(done["cost_usd"])) == ("succeeded", PRICE), done
            refused = caller.post("/v1/jobs", json=order)
            assert (refused.status_code, refused.headers["x-polyroute-budget"]) == (402, budget)
    assert given(sandbox) == 2


def test_the_chats_of_a_pipeline_count_against_its_keys_limits(
    house: GatewayProcess, sandbox: SimulatedProviders
) -> None:
    steps = [{"id": f"say_{number}", "chat": "Say something.", "model": "text"} for number in range(3)]
    with keyed(house, "few", limits=Limits(requests_per_minute=2)) as caller:
        begun = caller.post("/v1/pipelines", json={"steps": steps, "polyroute": {"timeout": 3}}).json()
        told = caller.get(f"/v1/pipelines/{begun['id']}", headers={"prefer": "wait=20"}).json()
        # Two are let through; the third waits for its turn, which does not come while the pipeline has time.
        assert (told["status"], told["error"]["kind"]) in (("failed", "over_limit"), ("expired", "timeout")), told
        assert sorted(step["status"] for step in told["steps"]) == ["failed", "succeeded", "succeeded"]
        chat = {"model": "text", "messages": [{"role": "user", "content": "Hello"}]}
        assert caller.post("/v1/chat/completions", json=chat).status_code == 429
    assert sandbox.counters("openai")["requests"] == 2
