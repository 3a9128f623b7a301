"""What an operator asks the running gateway."""

from __future__ import annotations

from typing import Any

import httpx

from support.gateway_process import GatewayProcess


def chat(gateway: GatewayProcess, model: str = "text", **options: Any) -> httpx.Response:
    """One chat on a connection of its own, which any of the workers may take."""
    headers = options.pop("headers", {})
    path = options.pop("path", "/v1/chat/completions")
    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}], **options}
    return httpx.post(f"{gateway.url}{path}", json=body, headers=headers, timeout=20, trust_env=False)


def health(gateway: GatewayProcess, provider: str, **headers: str) -> dict[str, Any]:
    """One provider's row of `GET /admin/api/health`."""
    report = httpx.get(f"{gateway.url}/admin/api/health", headers=headers, timeout=20, trust_env=False)
    assert report.status_code == 200, report.text
    found: dict[str, Any] = next(one for one in report.json()["providers"] if one["provider"] == provider)
    return found


def metrics(gateway: GatewayProcess) -> dict[str, float]:
    """`GET /metrics`: values by name and labels, as they are written."""
    answer = httpx.get(f"{gateway.url}/metrics", timeout=20, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    lines = [line.rpartition(" ") for line in answer.text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}
