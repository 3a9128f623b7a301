"""A provider that fails at random, and a healthy one behind it: what do callers see of it?

`python -m benchmarks.faults` starts the simulated providers and a gateway, sends 10,000 chats (half of them streamed) while 5 %
of the first provider's answers fail, and prints what callers saw, what the ledger says and how long it took. Exit code 1 when
a caller saw a failure or the breaker opened.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.eventually import eventually
from support.gateway_process import GatewayProcess
from support.sandbox_process import SandboxProcess

FAULTS = [
    {"kind": "status", "status": 503, "probability": 0.02, "seed": 1},
    {"kind": "reset", "probability": 0.01, "seed": 2},
    {"kind": "cut", "after_tokens": 10, "probability": 0.01, "seed": 3},
    {"kind": "malformed_chunk", "after_tokens": 10, "probability": 0.01, "seed": 4},
]
BODY = {"model": "flaky", "messages": [{"role": "user", "content": "Tell me a story of 60 tokens."}]}


async def send(url: str, count: int, at_once: int) -> tuple[int, list[str]]:
    """How many answers were whole, and what the others said."""
    limits = httpx.Limits(max_connections=at_once)
    places = asyncio.Semaphore(at_once)
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, limits=limits) as client:

        async def ask(number: int) -> str | None:
            body: dict[str, Any] = {**BODY, "stream": number % 2 == 0}
            async with places:
                answer = await client.post("/v1/chat/completions", json=body)
            good = answer.text.endswith("data: [DONE]\n\n") if body["stream"] else '"finish_reason"' in answer.text
            return None if answer.status_code == 200 and good and '"error"' not in answer.text else answer.text[-500:]

        seen = await asyncio.gather(*(ask(number) for number in range(count)))
    bad = [text for text in seen if text is not None]
    return count - len(bad), bad


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--at-once", type=int, default=32)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, SandboxProcess(Path(folder)) as sandbox:
        config = {
            "providers": {
                "groq": {"base_url": f"{sandbox.url}/groq/openai/v1", "api_key": "sk-groq"},
                "together": {"base_url": f"{sandbox.url}/together/v1", "api_key": "sk-together"},
            },
            "routes": {"flaky": {"targets": ["groq/llama-3.3-70b-versatile", "together/llama-3.3-70b"]}},
        }
        sandbox.set("*", tokens_per_second=0)
        sandbox.set("groq", faults=FAULTS)
        with GatewayProcess(Path(folder), json.dumps(config)) as gateway:
            started = time.perf_counter()
            whole, bad = asyncio.run(send(gateway.url, arguments.requests, arguments.at_once))
            seconds = time.perf_counter() - started
            settled = "SELECT COUNT(*) AS n FROM requests WHERE status = 'COMPLETED'"
            eventually(lambda: gateway.sql(settled)[0]["n"] >= whole, within=60)
            first = gateway.sql("SELECT COUNT(DISTINCT request_id) AS n FROM attempts WHERE provider = 'groq'")[0]["n"]
            kinds = gateway.sql("SELECT error_kind, COUNT(*) AS n FROM attempts WHERE outcome = 'failed' GROUP BY 1")
            helped = gateway.sql("SELECT COUNT(*) AS n FROM requests WHERE actual_provider = 'together'")[0]["n"]
    skipped = arguments.requests - first
    print(f"requests              {arguments.requests} in {seconds:.1f} s")
    print(f"whole for the caller  {whole}")
    print("failed attempts       " + ", ".join(f"{row['n']} {row['error_kind']}" for row in kinds))
    print(f"finished by fallback  {helped}")
    print(f"sent past the first   {skipped} (its breaker was open)")
    for text in bad[:3]:
        print(f"a caller saw          {text!r}")
    return 1 if bad or skipped else 0


if __name__ == "__main__":
    sys.exit(main())
