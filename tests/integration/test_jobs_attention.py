"""Jobs that need attention, and everything that an operator can decide of them: over HTTP and by command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from support.command_line import run_here
from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders

FIRST, SECOND = "luma/ray-2-720p", "minimax/hailuo-02"
CLIP = {"model": "clip", "task": "text_to_video", "prompt": "a red fox"}
WAIT = {"prefer": "wait=20"}
Decide = Callable[..., None]


@pytest.fixture(scope="module")
def house(simulated: SimulatedProviders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with Replicate alone."""
    config = {
        "fetch": {"allow": ["127.0.0.1"]},
        "defaults": {
            "retries": 0,
            "breaker": {"failures": 100_000, "minimum": 100_000},
            "bench": {"rejected": 0.001, "quota": 0.001, "rate_limited": 0.001, "longest": 0.001},
        },
        "providers": {"replicate": {"base_url": f"{simulated.url}/replicate/v1", "api_key": "r8_x"}},
        "routes": {"clip": {"operation": "video", "targets": [f"replicate/{FIRST}", f"replicate/{SECOND}"]}},
    }
    with GatewayProcess(tmp_path_factory.mktemp("attention"), json.dumps(config)) as process:
        yield process


@pytest.fixture
def caller(house: GatewayProcess, sandbox: SimulatedProviders) -> Iterator[httpx.Client]:
    """An HTTP client; the simulated providers are well and quick."""
    sandbox.set("*", job_seconds=0.2)
    with httpx.Client(base_url=house.url, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(params=["http", "command"])
def decide(request: pytest.FixtureRequest, caller: httpx.Client, house: GatewayProcess) -> Decide:
    """`decide(job, decision, handle=…, data=…)`, in either way."""

    def by_http(identifier: str, decision: str, **more: Any) -> None:
        answer = caller.post(f"/admin/api/jobs/{identifier}/resolve", json={"decision": decision, **more})
        assert (answer.status_code, answer.json()["state"]) == (200, "queued"), answer.text

    def by_command(identifier: str, decision: str, **more: Any) -> None:
        options = [] if "handle" not in more else ["--handle", more["handle"], "--data", json.dumps(more["data"])]
        done = run_here("jobs", "resolve", identifier, decision, *options, folder=house.folder)
        assert (done.returncode, done.stdout.strip()) == (0, f"{identifier} goes on."), done.stderr

    return by_http if request.param == "http" else by_command


def submitted(sandbox: SimulatedProviders) -> list[dict[str, Any]]:
    """What the provider was given to do."""
    found: list[dict[str, Any]] = httpx.get(f"{sandbox.url}/_control/jobs?provider=replicate", trust_env=False).json()[
        "jobs"
    ]
    return found


def parked(caller: httpx.Client, sandbox: SimulatedProviders, fault: str = "lost_after_acceptance") -> str:
    """A job of which nobody knows what became of it, by its id."""
    sandbox.break_down("replicate", fault, times=1)
    told = caller.post("/v1/jobs", json=CLIP, headers=WAIT).json()
    assert told["status"] == "needs_attention", told
    sandbox.mend("replicate")
    identifier: str = told["id"]
    return identifier


def ended(caller: httpx.Client, identifier: str) -> dict[str, Any]:
    """The job when it has ended."""
    told: dict[str, Any] = caller.get(f"/v1/jobs/{identifier}", headers=WAIT).json()
    return told


def tried(house: GatewayProcess, identifier: str) -> list[tuple[str, str, str | None]]:
    """Its attempts in the ledger, which has it once."""
    return [(row["model"], row["outcome"], row["error_kind"]) for row in house.attempts(identifier)]


def test_retrying_what_was_not_accepted_submits_it_to_the_same_target(
    caller: httpx.Client, house: GatewayProcess, sandbox: SimulatedProviders, decide: Decide
) -> None:
    identifier = parked(caller, sandbox)
    assert len(submitted(sandbox)) == 1
    decide(identifier, "retry")
    done = ended(caller, identifier)
    assert (done["status"], done["provider_model"], done["attempts"]) == ("succeeded", FIRST, 2), done
    assert len(submitted(sandbox)) == 2
    assert tried(house, identifier) == [(FIRST, "failed", "unknown_outcome"), (FIRST, "served", None)]
    first, second = caller.get(f"/admin/api/jobs/{identifier}").json()["attempts_made"]
    assert first["idempotency_key"] == second["idempotency_key"]


def test_what_was_refused_before_is_not_asked_again_by_a_retry(
    caller: httpx.Client, house: GatewayProcess, sandbox: SimulatedProviders, decide: Decide
) -> None:
    sandbox.set("replicate", faults=[{"kind": "job_failed", "times": 1}, {"kind": "lost_after_acceptance", "times": 1}])
    told = caller.post("/v1/jobs", json=CLIP, headers=WAIT).json()
    assert (told["status"], told["attempts"]) == ("needs_attention", 2), told
    decide(told["id"], "retry")
    done = ended(caller, told["id"])
    assert (done["status"], done["provider_model"], done["attempts"]) == ("succeeded", SECOND, 3), done
    assert tried(house, told["id"]) == [
        (FIRST, "failed", "generation_failed"), (SECOND, "failed", "unknown_outcome"), (SECOND, "served", None),
    ]  # fmt: skip


def test_retrying_what_is_known_by_its_handle_only_looks_again(
    caller: httpx.Client, house: GatewayProcess, sandbox: SimulatedProviders, decide: Decide
) -> None:
    identifier = parked(caller, sandbox, "key_revoked")
    # The sandbox holds a revoked key against the job for good: what is asked for anew is seen by another look, which fails
    # in the same way, and the job is parked again rather than bought twice.
    decide(identifier, "retry")
    told = ended(caller, identifier)
    assert (told["status"], told["attempts"], len(submitted(sandbox))) == ("needs_attention", 1, 1), told
    decide(identifier, "abandon")
    assert ended(caller, identifier)["status"] == "failed"
    assert tried(house, identifier) == [(FIRST, "failed", "unknown_outcome")]


def test_adopting_goes_on_with_what_the_provider_has(
    caller: httpx.Client, house: GatewayProcess, sandbox: SimulatedProviders, decide: Decide
) -> None:
    identifier = parked(caller, sandbox)
    (known,) = submitted(sandbox)
    decide(identifier, "adopt", handle=known["id"], data={"task": "text_to_video", "n": 1})
    done = ended(caller, identifier)
    assert (done["status"], done["attempts"], len(submitted(sandbox))) == ("succeeded", 1, 1), done
    assert tried(house, identifier) == [(FIRST, "served", None)]


def test_giving_up_fails_the_job_and_charges_nothing(
    caller: httpx.Client, house: GatewayProcess, sandbox: SimulatedProviders, decide: Decide
) -> None:
    identifier = parked(caller, sandbox)
    decide(identifier, "abandon")
    told = ended(caller, identifier)
    assert (told["status"], told["error"]["kind"], "cost_usd" in told) == ("failed", "unknown_outcome", False), told
    entry = house.entry(identifier)
    assert (entry["status"], entry["error_kind"], entry["cost_usd"]) == ("FAILED", "unknown_outcome", None)
    assert len(submitted(sandbox)) == 1


@pytest.mark.parametrize("how", ["caller", "operator", "command"])
def test_a_parked_job_can_be_cancelled(
    caller: httpx.Client, house: GatewayProcess, sandbox: SimulatedProviders, how: str
) -> None:
    identifier = parked(caller, sandbox)
    if how == "command":
        done = run_here("jobs", "cancel", identifier, folder=house.folder)
        assert (done.returncode, done.stdout.strip()) == (0, f"{identifier} is being cancelled.")
    else:
        path = "/v1/jobs" if how == "caller" else "/admin/api/jobs"
        assert caller.delete(f"{path}/{identifier}").status_code == 200
    assert ended(caller, identifier)["status"] == "cancelled"
    assert house.entry(identifier)["status"] == "CANCELLED"
    assert len(submitted(sandbox)) == 1


def test_operators_find_and_understand_what_needs_attention(
    caller: httpx.Client, house: GatewayProcess, sandbox: SimulatedProviders
) -> None:
    identifier = parked(caller, sandbox)
    listed = run_here("jobs", "list", "--state", "needs_attention", "--json", folder=house.folder)
    assert [job["id"] for job in json.loads(listed.stdout)] == [identifier]
    shown = json.loads(run_here("jobs", "show", identifier, folder=house.folder).stdout)
    (attempt,) = shown["attempts_made"]
    assert (attempt["phase"], attempt["provider"], attempt["model"]) == ("unknown", "replicate", FIRST)
    assert attempt["idempotency_key"]
    assert "whether the provider began the work is unknown" in shown["error"]["message"]
    told = caller.get(f"/v1/jobs/{identifier}").json()
    assert "an operator has to decide" in told["note"]
    caller.delete(f"/v1/jobs/{identifier}")


def test_decisions_that_make_no_sense_are_refused(caller: httpx.Client, house: GatewayProcess) -> None:
    done = caller.post("/v1/jobs", json=CLIP, headers=WAIT).json()
    not_waiting = caller.post(f"/admin/api/jobs/{done['id']}/resolve", json={"decision": "retry"})
    assert (not_waiting.status_code, "needs attention" in not_waiting.text) == (404, True)
    for arguments, words in (
        ((done["id"], "retry"), "that needs attention"),
        ((done["id"], "wait"), "there are retry, adopt and abandon"),
        ((done["id"], "adopt"), "adopt takes --handle"),
        ((done["id"], "retry", "--handle", "x"), "the others take none"),
        ((done["id"], "adopt", "--handle", "x", "--data", "{"), "no JSON"),
    ):
        refused = run_here("jobs", "resolve", *arguments, folder=house.folder)
        assert (refused.returncode, words in refused.stderr) == (2, True), refused.stderr
    missing = run_here("jobs", "show", "job_nobody", folder=house.folder)
    assert (missing.returncode, "There is no job job_nobody" in missing.stderr) == (2, True)
    over = run_here("jobs", "cancel", done["id"], folder=house.folder)
    assert (over.returncode, "has ended already (succeeded)" in over.stdout) == (0, True)
