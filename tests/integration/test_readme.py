"""What the README shows is what a newcomer gets."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.gateway_process import GatewayProcess, environment, run_polyroute

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
CURLS = [block for block in SHELL if block.startswith("curl")]


def run_shell(text: str, gateway: GatewayProcess) -> str:
    """A block of the README against this gateway and its sandbox."""
    log = re.search(r"Simulated providers listen at (http://\S+)", gateway.log)
    assert log is not None, gateway.log
    text = text.replace("http://127.0.0.1:8080", gateway.url).replace("http://127.0.0.1:9900", log[1])
    done = subprocess.run(
        ["bash", "-c", text], cwd=gateway.folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_first_screen_is_true(tmp_path: Path) -> None:
    config = "sandbox: {port: 0}\n"
    with GatewayProcess(tmp_path, config, ["--sandbox-if-no-keys"], first=True) as gateway:
        first = run_shell(CURLS[0], gateway)
        shown = re.search(r"```http\n(.*?)```", README, re.DOTALL)
        assert shown is not None
        for name in re.findall(r"^(x-polyroute-\S+):", shown[1], re.MULTILINE):
            assert f"{name}: " in first
        assert "x-polyroute-provider: aimlapi" in first
        assert '[simulated aimlapi/openai/gpt-5.6-luna] You said \\"Hello\\" (1 word).' in first
        run_shell(CURLS[1], gateway)
        second = run_shell(CURLS[0], gateway)
        assert "x-polyroute-provider: piapi" in second
        assert "x-polyroute-attempts: 3" in second
        gateway.stop()
        assert gateway.sql("SELECT actual_provider, status FROM requests ORDER BY created_at") == [
            {"actual_provider": "aimlapi", "status": "COMPLETED"},
            {"actual_provider": "piapi", "status": "COMPLETED"},
        ]


@pytest.mark.parametrize("command", sorted(set(re.findall(r"`?polyroute (doctor|explain text|models)\b", README))))
def test_the_commands_that_it_names_work(command: str, tmp_path: Path) -> None:
    done = run_polyroute(*command.split(), folder=tmp_path, extra={"OPENAI_API_KEY": "sk-test"})
    assert done.returncode == 0, done.stderr
    assert "openai" in done.stdout


def test_its_configuration_loads(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "polyroute.yaml").write_text(example, encoding="utf-8")
    keys = {"OPENAI_API_KEY": "a", "GROQ_API_KEY": "b", "GROQ_API_KEY_2": "c"}
    done = run_polyroute("explain", "draft", "--json", folder=tmp_path, extra=keys)
    assert done.returncode == 0, done.stderr
    assert "my_vllm" in done.stdout


def test_its_python_runs(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    body = "".join(f"    {line}\n" for line in example.splitlines() if not line.startswith("from "))
    program = f"import asyncio\nfrom polyroute import Gateway\nasync def main():\n{body}asyncio.run(main())\n"
    with GatewayProcess(tmp_path, "sandbox: {port: 0}\n", ["--sandbox"]) as gateway:
        entry = {"adapter": "openai_compatible", "base_url": f"{gateway.url}/v1"}
        other = tmp_path / "other"
        other.mkdir()
        (other / "polyroute.yaml").write_text(
            f"providers: {{up: {{adapter: openai_compatible, base_url: '{entry['base_url']}'}}}}\n"
            "routes: {text: {targets: [up/text]}}\n"
        )
        done = run_polyroute_program(program, other)
    assert "[simulated aimlapi" in done
    assert " up text " in done


def run_polyroute_program(program: str, folder: Path) -> str:
    """A Python program that uses the library."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
