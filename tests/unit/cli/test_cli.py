"""The command line, run as its users run it: what each command says, and the status it ends with."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.command_line import run_here
from support.gateway_process import run_polyroute

CONFIG = """
providers:
  openai: {api_key: sk-never-show}
  groq: {api_key: sk-never-show, enabled: false}
routes:
  mine: {targets: [openai/gpt-4o-mini, groq/llama, anthropic/claude-sonnet-4-5], fallbacks: [text]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration."""
    (tmp_path / "polyroute.yaml").write_text(CONFIG)
    return tmp_path


def test_help_names_every_command_and_what_it_is_for(tmp_path: Path) -> None:
    done = run_here("--help", folder=tmp_path)
    assert done.returncode == 0
    for command in ("serve", "sandbox", "models", "explain", "doctor", "keys", "db", "prices", "reconcile", "backtest"):
        assert re.search(rf"\b{command}\b", done.stdout)
    assert list(tmp_path.iterdir()) == []
    for command, words in {
        "serve": ["--config", "--host", "--port", "--workers", "--sandbox", "server.port"],
        "sandbox": ["--port", "9900", "--latency", "--tokens-per-second"],
        "models": ["--json"],
        "explain": ["--json", "provider/model"],
        "keys create": ["--name", "--routes", "--user", "--operator"],
        "keys revoke": ["id", "name"],
        "db upgrade": ["--config"],
        "prices diff": ["--provider", "--model", "--all", "--offline", "--sandbox"],
        "prices adopt": ["--provider", "--model", "--yes"],
        "reconcile": ["--provider", "--since", "--csv", "--column", "--by-id", "--tolerance", "--sandbox"],
        "backtest": ["--policy", "--since", "--config", "--ledger", "--route", "--as-route", "--json"],
    }.items():
        told = run_here(*command.split(), "--help", folder=tmp_path)
        assert told.returncode == 0
        for word in words:
            assert word in told.stdout, (command, word)


def test_the_version(tmp_path: Path) -> None:
    done = run_here("--version", folder=tmp_path)
    assert re.fullmatch(r"polyroute \d+\.\d+\.\d+\S*\n", done.stdout)


def test_models_for_people_and_for_programs(folder: Path) -> None:
    rows = {row["name"]: row for row in json.loads(run_here("models", "--json", folder=folder).stdout)}
    assert rows["mine"]["operation"] == "chat"
    assert rows["mine"]["served_by"][0] == "openai/gpt-4o-mini"
    assert rows["embedding"]["operation"] == "embed"
    assert {"text", "image", "speech", "transcription"} <= set(rows)
    table = run_here("models", folder=folder)
    assert "mine" in table.stdout
    assert "openai/gpt-4o-mini" in table.stdout
    assert not [row for row in rows.values() if row["served_by"] == ["groq"]]  # it is switched off


def test_explain_tells_the_plan_and_why_the_rest_is_not_in_it(folder: Path) -> None:
    told = run_here("explain", "mine", folder=folder)
    assert told.returncode == 0, told.stderr
    assert "ordered by priority" in told.stdout
    assert "not tried: anthropic/claude-sonnet-4-5" in told.stdout
    assert "ANTHROPIC_API_KEY" in told.stdout
    assert "not tried: groq/llama" in told.stdout
    plan = json.loads(run_here("explain", "mine", "--json", folder=folder).stdout)
    assert (plan["route"], plan["policy"]) == ("mine", "priority")
    assert plan["targets"][0]["model"] == "gpt-4o-mini"
    assert {drop["target"] for drop in plan["drops"]} >= {"groq/llama", "anthropic/claude-sonnet-4-5"}


def test_explain_of_an_unknown_name_offers_the_nearest(folder: Path) -> None:
    done = run_here("explain", "mime", folder=folder)
    assert done.returncode == 2
    assert "did you mean mine" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_says_what_is_on_what_is_off_and_how_to_mend_it(folder: Path) -> None:
    done = run_here("doctor", folder=folder)
    assert done.returncode == 1
    assert re.search(r"on\s+openai\s+1 credential", done.stdout)
    assert re.search(r"off\s+groq\s+switched off", done.stdout)
    assert re.search(r"off\s+anthropic\s.*ANTHROPIC_API_KEY", done.stdout)
    assert "route mine: groq/llama is left out" in done.stdout
    assert "sk-never-show" not in done.stdout + done.stderr
    (folder / "polyroute.yaml").write_text("providers: {openai: {api_key: sk-never-show}}\n")
    well = run_here("doctor", folder=folder)
    assert well.returncode == 0, well.stdout + well.stderr
    assert "No problems found" in well.stdout
    (folder / "polyroute.yaml").write_text(
        "providers: {openai: {api_key: sk-never-show, default_models: {chat: no-such-model}}}\n"
    )
    unpriced = run_here("doctor", folder=folder)
    assert "openai/no-such-model" in unpriced.stdout
    assert "NULL, not 0" in unpriced.stdout
    nothing = run_here("doctor", "--config", "/dev/null", folder=folder)
    assert nothing.returncode == 1
    assert "no provider is on" in nothing.stdout
    assert "polyroute serve --sandbox" in nothing.stdout


def test_doctor_and_serve_refuse_a_database_that_they_do_not_understand(folder: Path) -> None:
    assert run_here("db", "upgrade", folder=folder).returncode == 0
    with closing(sqlite3.connect(folder / "polyroute.db")) as shell, shell:
        shell.execute("UPDATE alembic_version SET version_num = '9999'")
    for command in (["doctor"], ["serve", "--port", "0"], ["db", "upgrade"], ["keys", "list"]):
        done = (run_polyroute if command[0] == "serve" else run_here)(*command, folder=folder)
        assert done.returncode in (1, 2), command
        assert "9999" in done.stdout + done.stderr
        assert "newer" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    (folder / "polyroute.db").write_bytes(b"this is no database, but long enough to be looked at" * 40)
    broken = run_polyroute("serve", "--port", "0", folder=folder)
    assert broken.returncode == 2
    assert "Traceback" not in broken.stderr


def test_db_upgrade_makes_the_ledgers_tables(folder: Path) -> None:
    done = run_here("db", "upgrade", folder=folder)
    assert done.returncode == 0
    assert "polyroute.db" in done.stdout
    with closing(sqlite3.connect(folder / "polyroute.db")) as shell:
        tables = {row[0] for row in shell.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert shell.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert {"requests", "attempts", "ai_models", "keys"} <= tables
    assert run_here("db", "upgrade", folder=folder).returncode == 0


def test_keys_are_printed_once_and_listed_without_themselves(folder: Path) -> None:
    made = run_here("keys", "create", "--name", "app", "--routes", "mine,txt", "--user", "anna", folder=folder)
    assert made.returncode == 0
    key = made.stdout.strip()
    assert re.fullmatch(r"pr-[\w-]{43}", key)
    assert "no route 'txt'" in made.stderr
    listed = run_here("keys", "list", folder=folder)
    assert key not in listed.stdout
    for word in ("app", "mine, txt", "anna", "active", key[:8]):
        assert word in listed.stdout
    assert run_here("keys", "revoke", "nobody", folder=folder).returncode == 2
    assert run_here("keys", "revoke", "app", folder=folder).returncode == 0
    assert "revoked" in run_here("keys", "list", folder=folder).stdout


def test_a_port_that_is_taken_is_named(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for command in (["serve", "--port", port], ["sandbox", "--port", port]):
            done = run_polyroute(*command, folder=folder)
            assert done.returncode == 2
            assert f"127.0.0.1:{port}" in done.stderr
            assert "Traceback" not in done.stderr, command
        (folder / "polyroute.yaml").write_text(f"sandbox: {{port: {port}}}\n")
        done = run_polyroute("serve", "--port", "0", "--sandbox", folder=folder)
        assert done.returncode == 2
        assert f"127.0.0.1:{port}" in done.stderr
        assert "sandbox: {port: 0}" in done.stderr
        assert "Traceback" not in done.stderr


def test_doctor_names_what_budgets_lack(tmp_path: Path) -> None:
    (tmp_path / "polyroute.yaml").write_text(
        "providers: {openai: {api_key: sk-never-show}}\nroutes: {r: {targets: [openai/nobody-knows]}}\n"
        "budgets:\n  all: {amount: 5 USD}\n  lab: {amount: 5 USD, scope: team, subject: lab, unpriced: allow}\n"
    )
    done = run_here("doctor", folder=tmp_path, extra={"COLUMNS": "400"})
    assert "the hard limit of budgets.all passes over targets without a price" in done.stdout
    assert (
        "budgets.lab is for team 'lab', of which the database knows nothing: `polyroute teams create lab`"
        in done.stdout
    )
    assert run_here("teams", "create", "lab", folder=tmp_path).returncode == 0
    assert "budgets.lab" not in run_here("doctor", folder=tmp_path, extra={"COLUMNS": "400"}).stdout


def test_doctor_names_unpriced_targets_of_routes_and_undated_mark_ups(tmp_path: Path) -> None:
    (tmp_path / "polyroute.yaml").write_text(
        "providers:\n  openai:\n    api_key: sk-never-show\n    mark_up: 1.1\n"
        "    model_facts: {mine: {price: {date: 2026-11-20, input: 1, output: 2}}}\n"
        "routes:\n  r: {targets: [openai/mine, openai/nobody-knows]}\n"
    )
    done = run_here("doctor", folder=tmp_path)
    [warning] = [line for line in done.stdout.splitlines() if "no price is known" in line]
    assert "openai/nobody-knows" in done.stdout
    assert "openai/mine" not in warning
    assert "mark_up_date" in done.stdout
