"""What is measured: the gateway as it is served, the bare floor, nginx, and the upstream itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from benchmarks import load
from benchmarks.machine import Process, answers, free_port, listens, program

ROOT = Path(__file__).resolve().parent.parent
_NGINX = """
worker_processes 1; daemon off; master_process off; pid {folder}/nginx-{port}.pid; error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_buffer_size 1m; client_max_body_size 10m;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  upstream provider {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ""; }} }}
}}
"""
_STATIC = """
worker_processes 1; daemon off; master_process off; pid {folder}/nginx-{port}.pid; error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_buffer_size 1m; client_max_body_size 10m;
  client_body_temp_path {folder}/s1; proxy_temp_path {folder}/s2; fastcgi_temp_path {folder}/s3;
  uwsgi_temp_path {folder}/s4; scgi_temp_path {folder}/s5;
  server {{ listen 127.0.0.1:{port}; location / {{ default_type application/json; return 200 '{answer}'; }} }}
}}
"""


class Contender(msgspec.Struct, frozen=True):
    """One server under load."""

    name: str
    port: int
    process: Process
    key: str = "none"
    headers: dict[str, str] = {}


def environment() -> dict[str, str]:
    """Our own sources, and no credential of the developer's."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_TOKEN"))}
    return {**kept, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}


def start_streams(core: int, folder: Path) -> Contender:
    """The upstream that can stream."""
    port = free_port()
    process = Process([sys.executable, "-m", "benchmarks.upstream", str(port)], core, folder=folder,
                      environment=environment())  # fmt: skip
    process.wait_for(listens(port))
    return Contender("direct", port, process)


def start_static(core: int, folder: Path) -> Contender:
    """The upstream of whole answers: nginx where it is installed, which takes less of the core than ours."""
    nginx = program("nginx")
    if nginx is None:
        return start_streams(core, folder)
    from benchmarks.upstream import ANSWER  # noqa: PLC0415 - with uvloop, which the others need not

    return _start_nginx("direct", _STATIC, core, folder, nginx, answer=ANSWER.decode())


def start_nginx_proxy(core: int, folder: Path, upstream: int) -> Contender | None:
    """nginx's `proxy_pass`; None where nginx is not installed."""
    nginx = program("nginx")
    return None if nginx is None else _start_nginx("nginx", _NGINX, core, folder, nginx, upstream=upstream)


def _start_nginx(name: str, template: str, core: int, folder: Path, nginx: str, **values: object) -> Contender:
    port = free_port()
    configuration = folder / f"nginx-{port}.conf"
    configuration.write_text(template.format(folder=folder, port=port, **values))
    process = Process([nginx, "-c", str(configuration), "-p", str(folder)], core, folder=folder)
    process.wait_for(listens(port))
    return Contender(name, port, process)


def start_floor(core: int, folder: Path, upstream: int) -> Contender:
    """The bare floor."""
    port = free_port()
    command = [sys.executable, str(ROOT / "benchmarks" / "floor.py"), "--port", str(port)]
    command += ["--upstream", f"http://127.0.0.1:{upstream}/v1/chat/completions"]
    process = Process(command, core, folder=folder, environment=environment())
    process.wait_for(listens(port))
    return Contender("floor", port, process)


class Gateways:
    """Gateways over one upstream each, in folders of their own: six targets, keys on, ledger and journal on.

    `streamed` are models of the upstream that have a route of the same name each.
    """

    def __init__(self, core: int, folder: Path, upstream: int, streamed: tuple[str, ...] = ()) -> None:
        self._core = core
        self._folder = folder / f"gateway-{upstream}"
        self._folder.mkdir()
        providers = {
            name: {"adapter": "openai_compatible", "base_url": f"http://127.0.0.1:{upstream}/v1", "api_key": "k",
                   "serves": ["chat"]}
            for name in ("a", "b", "c")
        }  # fmt: skip
        routes: dict[str, object] = {
            "six": {"operation": "chat", "targets": [f"{name}/{model}" for model in ("m1", "m2") for name in providers]}
        }
        for model in streamed:
            routes[model] = {
                "operation": "chat",
                "targets": [f"{name}/{model}{end}" for end in ("", "-b") for name in providers],
            }
        configuration = {"auth": {"mode": "keys"}, "providers": providers, "routes": routes}
        (self._folder / "polyroute.yaml").write_text(json.dumps(configuration))  # JSON is YAML
        began = time.perf_counter()
        made = subprocess.run(
            [sys.executable, "-m", "polyroute", "keys", "create", "--name", "benchmark"],
            cwd=self._folder, env=environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        self.first_start = time.perf_counter() - began
        self.key = made.stdout.strip().splitlines()[-1]

    def start(self) -> tuple[Contender, float]:
        """A gateway, and the seconds from its start to its first 200."""
        port = free_port()
        command = [sys.executable, "-m", "polyroute", "serve", "--port", str(port)]
        process = Process(command, self._core, folder=self._folder, environment=environment())
        ask = load.request(port, load.body("six", 1024), self.key)
        seconds = process.wait_for(answers(port, ask))
        return Contender("gateway", port, process, self.key), seconds
