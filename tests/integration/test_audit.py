"""`polyroute prices`, `reconcile` and `backtest` against a gateway whose providers are the sandbox's."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.command_line import run_here
from support.eventually import eventually
from support.gateway_process import GatewayProcess

CONFIG = """
sandbox: {{port: {port}}}
routes:
  gpt: {{targets: [openai/gpt-4o-mini, openrouter/openai/gpt-4o-mini]}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A gateway with some requests in its ledger."""
    path = tmp_path_factory.mktemp("books")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with GatewayProcess(path, CONFIG.format(port=port), ["--sandbox"]) as gateway:
        for number in range(6):
            for model in ("openrouter/openai/gpt-4o-mini", "gpt", "anthropic/claude-sonnet-4-5"):
                ask(gateway.url, model, f"Question {number} for {model}?", stream=number % 2 == 0)
        eventually(lambda: len(gateway.sql("SELECT id FROM requests")) == 18)
        yield path


def ask(url: str, model: str, question: str, *, stream: bool) -> None:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": question}]}
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=20, trust_env=False)
    assert answer.status_code == 200


def told(folder: Path, *arguments: str, status: int = 0) -> dict[str, Any]:
    done = run_here(*arguments, "--json", folder=folder)
    assert done.returncode == status, done.stderr + done.stdout
    value: dict[str, Any] = json.loads(done.stdout)
    return value


@pytest.mark.parametrize("how", [(), ("--by-id",)])
def test_openrouters_record_agrees_with_ours(folder: Path, how: tuple[str, ...]) -> None:
    found = told(folder, "reconcile", "--provider", "openrouter", "--sandbox", *how)
    assert found["ours"]["requests"] == found["theirs"]["requests"] == 6
    assert float(found["ours"]["cost_usd"]) == pytest.approx(float(found["theirs"]["cost_usd"]), rel=1e-6)
    assert found["drifting"] == 0
    [line] = found["lines"]
    assert (line["model"], line["only_ours"], line["only_theirs"]) == ("openai/gpt-4o-mini", [], [])


def test_drift_of_cost_is_reported_by_day_and_model_and_ends_with_status_1(folder: Path) -> None:
    # The sandbox charges one price for everything, which is not OpenAI's.
    found = told(folder, "reconcile", "--provider", "openai", "--sandbox", status=1)
    [line] = found["lines"]
    assert line["differs"]
    assert line["ours"]["requests"] == line["theirs"]["requests"] == 6
    for name in ("input_tokens", "output_tokens"):
        assert line["ours"][name] == line["theirs"][name] > 0
    assert float(line["drift_usd"]) < 0


def test_anthropics_reports_are_read(folder: Path) -> None:
    found = told(folder, "reconcile", "--provider", "anthropic", "--sandbox", status=1)
    [line] = found["lines"]
    assert line["ours"]["output_tokens"] == line["theirs"]["output_tokens"] > 0
    assert line["theirs"]["requests"] is None


def test_an_export_stands_in_for_a_provider_that_keeps_no_record(folder: Path) -> None:
    ours = told(folder, "reconcile", "--provider", "openrouter", "--sandbox")["lines"][0]
    text = "Date;Model;Prompt Tokens;Completion Tokens;Cost (USD);Requests\n"
    text += f"{ours['day']};openai/gpt-4o-mini;{ours['ours']['input_tokens']};{ours['ours']['output_tokens']};"
    text += f"${ours['ours']['cost_usd']};6\n{ours['day']};openai/gpt-5;10;10;$0.5;1\n"
    (folder / "export.csv").write_text(text)
    done = run_here("reconcile", "-p", "openrouter", "--sandbox", "--csv", "export.csv", folder=folder)
    assert done.returncode == 1
    assert "1 of 2 lines differ" in done.stdout
    assert "openai/gpt-5" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("reconcile", "-p", "nobody"), "nobody is not on"),
        (("reconcile", "-p", "groq", "--sandbox"), "--csv"),
        (("reconcile", "-p", "openai", "--since", "yesterday"), "write 7d"),
        (("reconcile", "-p", "openai", "--csv", "none.csv"), "cannot be read"),
        (("prices", "diff", "-p", "openai"), "openrouter, together"),
        (("prices", "adopt", "-p", "openrouter", "--sandbox", "-m", "x"), "prices diff --provider openrouter"),
        (("backtest", "--policy", "cheepest"), "cheapest"),
    ],
)
def test_what_cannot_be_done_is_said_with_the_way_to_do_it(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = run_here(*arguments, folder=folder)
    assert done.returncode == 2
    assert words in done.stderr


def test_published_prices_hold_only_when_they_were_shown_and_adopted(folder: Path) -> None:
    shown = told(folder, "prices", "diff", "--provider", "together", "--sandbox")
    assert shown["changed"]
    model = shown["changed"][0]["model"]
    before = told_rows(folder, f"together/{model}")[0]
    assert before["version"].startswith("genai-prices")
    done = run_here("prices", "adopt", "-p", "together", "-m", model, "--yes", "--sandbox", folder=folder)
    assert done.returncode == 0, done.stderr
    assert model in done.stdout
    [after] = told_rows(folder, f"together/{model}")
    assert after["version"].startswith("together list of 20")
    assert "(simulated)" in after["version"]
    assert (after["rates"]["input"], after["rates"]["output"]) == ("0.15", "0.6")
    again = told(folder, "prices", "diff", "-p", "together", "-m", model, "--sandbox", "--offline")
    assert again["changed"] == again["added"] == []
    assert "1 adopted" in run_here("prices", "drop", "-p", "together", "-m", model, folder=folder).stdout
    assert told_rows(folder, f"together/{model}") == [before]


def told_rows(folder: Path, *targets: str) -> list[dict[str, Any]]:
    done = run_here("prices", "show", *targets, "--json", folder=folder)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_a_target_without_a_price_says_so(folder: Path) -> None:
    done = run_here("prices", "show", "openai/no-such-model", folder=folder)
    assert "no price: cost is NULL" in done.stdout


def test_a_backtest_of_what_holds_changes_nothing(folder: Path) -> None:
    found = told(folder, "backtest", "--sandbox")
    total = found["total"]
    assert (total["requests"], total["moved"]) == (18, 0)
    assert total["cost_usd"]["recorded"] == total["cost_usd"]["expected"]
    assert total["failures"] == {"requests": 18, "recorded": 0.0, "expected": 0.0}


def test_a_backtest_of_another_configuration_moves_requests(folder: Path) -> None:
    config = (
        (folder / "polyroute.yaml")
        .read_text()
        .replace("[openai/gpt-4o-mini, openrouter/openai/gpt-4o-mini]", "[openrouter/openai/gpt-4o-mini, groq/none]")
    )
    (folder / "new.yaml").write_text(config)
    found = told(folder, "backtest", "--sandbox", "--config", "new.yaml", "--route", "gpt")
    assert found["total"]["requests"] == found["total"]["moved"] == 6
    assert found["first_targets"]["openrouter/openai/gpt-4o-mini"] == {"recorded": 0, "proposed": 6}
    assert found["total"]["cost_usd"]["requests"] == 6
    assert told(folder, "backtest", "--sandbox", "--config", "new.yaml", "--route", "gpt")["total"] == found["total"]
    shown = run_here("backtest", "--sandbox", "--config", "new.yaml", folder=folder).stdout
    assert "Assumed:" in shown
