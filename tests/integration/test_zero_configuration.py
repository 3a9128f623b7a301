"""A newcomer's first minutes: no file, credentials in the environment or in `.env`, or none and the sandbox."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from support.asks import CHAT, EMBED, IMAGE, SPEECH, STREAM, TRANSCRIPTION, Ask, text_of
from support.command_line import run_here
from support.eventually import eventually
from support.gateway_process import GatewayProcess, run_polyroute
from support.simulated_providers import SimulatedProviders

PICTURE = Ask("image", "image", IMAGE.path, {"prompt": "a red square"})  # what every image model takes
NEWCOMERS = (CHAT, STREAM, EMBED, PICTURE, SPEECH, TRANSCRIPTION)
ROUTES = {"chat": "text", "embed": "embedding", "image": "image", "speech": "speech", "transcription": "transcription"}


def priorities(text: str) -> list[str]:
    """The providers of a plan, in order."""
    return [target["provider"] for target in json.loads(text)["targets"]]


def test_credentials_in_the_environment_are_all_that_is_needed(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    extra = {"OPENAI_API_KEY": "sk-env", "OPENAI_BASE_URL": f"{sandbox.url}/openai/v1"}
    with (
        GatewayProcess(tmp_path, extra=extra, first=True) as gateway,
        httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client,
    ):
        for ask in NEWCOMERS:
            answer = ask.send(client, ROUTES[ask.operation])
            assert answer.status_code == 200, answer.text
            assert answer.headers["x-polyroute-provider"] == "openai"
        assert gateway.sql("SELECT DISTINCT simulated FROM requests") in ([], [{"simulated": 0}])
    assert "sk-env" not in gateway.log


@pytest.mark.parametrize(
    ("variable", "provider"),
    [
        ("OPENAI_API_KEY", "openai"), ("AIMLAPI_KEY", "aimlapi"), ("AIML_API_KEY", "aimlapi"), ("PIAPI_KEY", "piapi"),
        ("OPENROUTER_KEY", "openrouter"), ("OPENROUTER_API_KEY", "openrouter"), ("ANTHROPIC_API_KEY", "anthropic"),
        ("XAI_API_KEY", "xai"), ("GROQ_API_KEY", "groq"),
    ],
)  # fmt: skip
def test_each_spelling_of_a_credential_turns_its_provider_on(tmp_path: Path, variable: str, provider: str) -> None:
    (tmp_path / ".env").write_text(f'# mine\nexport {variable}="sk-from-a-file"\n')
    done = run_here("explain", "text", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert priorities(done.stdout) == [provider]
    assert "sk-from-a-file" not in done.stdout + done.stderr


def test_the_built_in_order(tmp_path: Path) -> None:
    names = ("ANTHROPIC", "GROQ", "XAI", "OPENAI", "OPENROUTER", "PIAPI", "AIML", "DEEPSEEK")
    extra = {f"{name}_API_KEY": "sk-x" for name in names}
    done = run_here("explain", "text", "--json", folder=tmp_path, extra=extra)
    assert done.returncode == 0, done.stderr
    first = ["aimlapi", "piapi", "openrouter", "openai", "anthropic", "xai"]
    found = priorities(done.stdout)
    assert found[:6] == first
    assert sorted(found[6:]) == ["deepseek", "groq"]
    (tmp_path / "polyroute.yaml").write_text("providers: {openai: {priority: 1}, aimlapi: {priority: 9}}\n")
    swapped = run_here("explain", "text", "--json", folder=tmp_path, extra=extra)
    assert priorities(swapped.stdout)[:6] == ["openai", "piapi", "openrouter", "anthropic", "xai", "aimlapi"]
    image = run_here("explain", "image", "--json", folder=tmp_path, extra=extra)
    assert priorities(image.stdout)[0] == "openai"


def test_the_environment_can_say_everything_that_a_file_can(sandbox: SimulatedProviders, tmp_path: Path) -> None:
    extra = {
        "POLYROUTE_PROVIDERS__TOGETHER__BASE_URL": f"{sandbox.url}/together/v1",
        "POLYROUTE_PROVIDERS__TOGETHER__API_KEY": "sk-x",
        "POLYROUTE_ROUTES__MINE__TARGETS": "[together/a-model]",
        "POLYROUTE_STORAGE__DATABASE": "sqlite:///elsewhere.db",
    }
    with (
        GatewayProcess(tmp_path, extra=extra, first=True) as gateway,
        httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client,
    ):
        assert CHAT.send(client, "mine").headers["x-polyroute-model"] == "a-model"
    assert (tmp_path / "elsewhere.db").exists()
    assert not (tmp_path / "polyroute.db").exists()


def test_without_any_provider_serve_says_so_and_offers_the_sandbox(tmp_path: Path) -> None:
    done = run_polyroute("serve", "--port", "0", folder=tmp_path)
    assert done.returncode == 2
    assert "No provider is on" in done.stderr
    assert "polyroute serve --sandbox" in done.stderr
    assert "polyroute doctor" in done.stderr
    assert "Traceback" not in done.stderr


def control_of(gateway: GatewayProcess) -> str:
    """Where the sandbox beside the gateway is told what to do: it says so itself."""
    found = re.search(r"http://\S+/_control", gateway.log)
    assert found is not None, gateway.log
    return found[0]


@pytest.mark.parametrize("option", ["--sandbox", "--sandbox-if-no-keys"])
def test_the_sandbox_beside_the_gateway(tmp_path: Path, option: str) -> None:
    """Show 1 of the walking skeleton: an answer, then the first provider breaks, and the ledger agrees with the header."""
    with (
        GatewayProcess(tmp_path, "sandbox: {port: 0}\n", [option], first=True) as gateway,
        httpx.Client(base_url=gateway.url, timeout=20, trust_env=False) as client,
    ):
        assert "SANDBOX" in gateway.log
        assert f"Try:  curl {gateway.url}/v1/chat/completions" in gateway.log
        for ask in NEWCOMERS:
            answer = ask.send(client, ROUTES[ask.operation])
            assert answer.status_code == 200, answer.text
            if ask is STREAM:
                assert text_of(answer.content).startswith("[simulated aimlapi")
            elif ask in (CHAT, TRANSCRIPTION):
                assert b"[simulated " in answer.content
            assert gateway.entry(answer.headers["x-polyroute-request-id"])["simulated"] == 1
        answer = CHAT.send(client, "text")
        assert answer.headers["x-polyroute-provider"] == "aimlapi"
        control = control_of(gateway)
        set_fault = {"provider": "aimlapi", "faults": [{"kind": "status", "status": 503}]}
        assert httpx.post(control, json=set_fault, trust_env=False).status_code == 200
        whole = CHAT.send(client, "text")
        streamed = STREAM.send(client, "text")
        for answer in (whole, streamed):
            assert answer.status_code == 200
            assert answer.headers["x-polyroute-provider"] == "piapi"
        ids = [answer.headers["x-polyroute-request-id"] for answer in (whole, streamed)]
        for request_id in ids:
            gateway.entry(request_id)
        with closing(sqlite3.connect(gateway.folder / "polyroute.db")) as shell:
            rows = shell.execute(
                "select actual_provider, status, cost_origin from requests where id in (?, ?)", ids
            ).fetchall()
        assert {row[:2] for row in rows} == {("piapi", "COMPLETED")}
        assert {row[2] for row in rows} <= {"simulated", None}
    # Nothing of it stays behind.
    with pytest.raises(httpx.ConnectError):
        httpx.get(control, trust_env=False)


def test_the_sandbox_ends_when_the_gateway_is_killed(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path, "sandbox: {port: 0}\n", ["--sandbox"]) as gateway:
        control = control_of(gateway)
        assert httpx.get(control, trust_env=False).status_code == 200
        gateway.kill()

    def gone() -> bool:
        try:
            httpx.get(control, trust_env=False)
        except httpx.TransportError:
            return True
        return False

    assert eventually(gone)


def test_all_mistakes_of_a_file_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "polyroute.yaml").write_text(
        """server: {prot: 8080}
providers:
  openai: {api_key: sk-never-show, timeouts: {idle: -1}}
  opnrouter: {}
routes:
  text: {policy: cheapset, targets: [openai/x, nobody/y]}
"""
    )
    for command in (["serve", "--port", "0"], ["doctor"], ["models"], ["explain", "text"], ["keys", "list"]):
        done = (run_polyroute if command[0] == "serve" else run_here)(*command, folder=tmp_path)
        assert done.returncode == 2, command
        for word in ("port", "idle", "openrouter", "cheapest", "nobody"):
            assert word in done.stderr, (command, word)
        for line in (1, 3, 4, 6):
            assert f"polyroute.yaml:{line}" in done.stderr
        assert "sk-never-show" not in done.stderr
        assert "Traceback" not in done.stderr
