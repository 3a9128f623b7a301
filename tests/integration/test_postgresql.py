"""A gateway on PostgreSQL, as its operator sees it: made, checked, used, asked, refused when it is too new."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import psycopg

from support.asks import CHAT, STREAM
from support.eventually import eventually
from support.gateway_process import GatewayProcess, run_polyroute
from support.postgres_server import PostgresServer
from support.simulated_providers import SimulatedProviders


def test_a_gateway_on_postgresql_from_the_first_command_to_the_last(
    sandbox: SimulatedProviders, postgres: PostgresServer, tmp_path: Path
) -> None:
    url = postgres.empty()
    config = json.dumps(
        {
            "auth": {"mode": "keys", "pepper": "0123456789abcdef"},
            "storage": {"database": url},
            "providers": {"openai": {"base_url": f"{sandbox.url}/openai/v1", "api_key": "sk-openai"}},
        }
    )
    (tmp_path / "polyroute.yaml").write_text(config)
    upgraded = run_polyroute("db", "upgrade", folder=tmp_path)
    assert (upgraded.returncode, upgraded.stderr) == (0, "")
    assert "is at schema" in upgraded.stdout
    checked = run_polyroute("doctor", folder=tmp_path)
    assert "is at the newest schema" in checked.stdout
    key = run_polyroute(
        "keys", "create", "--name", "ops", "--operator", "--rpm", "1000", folder=tmp_path
    ).stdout.strip()
    assert "ops" in run_polyroute("keys", "list", folder=tmp_path).stdout
    with (
        GatewayProcess(tmp_path, config, first=True) as gateway,
        httpx.Client(
            base_url=gateway.url, timeout=20, trust_env=False, headers={"authorization": f"Bearer {key}"}
        ) as client,
    ):
        asked = [CHAT.send(client, "text"), STREAM.send(client, "text"), CHAT.send(client, "text")]
        assert [answer.status_code for answer in asked] == [200, 200, 200]
        newest = asked[-1].headers["x-polyroute-request-id"]
        why = eventually(lambda: (found := client.get(f"/admin/api/requests/{newest}/explain")).is_success and found)
        assert "openai" in why.text
        stats = client.get("/api/providers/stats").json()
        assert "openai" in json.dumps(stats)
        first = client.post("/v1/responses", json={"model": "text", "input": "Hello"}).json()
        assert client.get(f"/v1/responses/{first['id']}").json()["id"] == first["id"]
        assert run_polyroute("keys", "revoke", "ops", folder=tmp_path).returncode == 0
        eventually(lambda: CHAT.send(client, "text").status_code == 401)
        gateway.stop()
    with psycopg.connect(url, autocommit=True) as shell:
        ids = [answer.headers["x-polyroute-request-id"] for answer in asked]
        counted = "SELECT COUNT(*), MIN(key_id) IS NOT NULL FROM requests WHERE id = ANY(%s)"
        assert shell.execute(counted, (ids,)).fetchone() == (3, True)
        shell.execute("UPDATE alembic_version SET version_num = '9999'")
    for command in (("serve", "--port", "0"), ("db", "upgrade"), ("doctor",)):
        refused = run_polyroute(*command, folder=tmp_path)
        assert refused.returncode != 0
        assert "newer than this program's" in refused.stdout + refused.stderr
