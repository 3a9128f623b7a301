"""The matrix of callers and providers: who asks, who serves, what is asked, and each cell that is empty with its reason."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping

import msgspec

from support.sdk_answers import Caller
from support.sdk_anthropic import MessagesCaller
from support.sdk_gemini import GeminiCaller
from support.sdk_ollama import OllamaChatCaller, OllamaGenerateCaller
from support.sdk_openai import ChatCaller, ResponsesCaller
from support.vapi_caller import VapiCaller

CALLERS: dict[str, Callable[[str], Caller]] = {
    "chat": ChatCaller,
    "responses": ResponsesCaller,
    "messages": MessagesCaller,
    "gemini": GeminiCaller,
    "ollama-chat": OllamaChatCaller,
    "ollama-generate": OllamaGenerateCaller,
    "vapi": VapiCaller,
}
"""Ingress dialects, made from the gateway's address. Cohere's SDK is no caller: Cohere's dialect is spoken upstream only."""


class Upstream(msgspec.Struct, frozen=True, kw_only=True):
    """A provider as the gateway is told of it. `path` is its base at the sandbox, `dialects` all that it may speak here;
    `hides_reasoning`: its API counts reasoning and never shows it."""

    name: str
    dialect: str
    path: str
    model: str
    reasoning_model: str | None = None
    hides_reasoning: bool = False
    adapter: str | None = None
    api_key: str = "sk-conformance"

    @property
    def simulated(self) -> str:
        """The sandbox's name for it."""
        return self.path.partition("/")[0]

    def entry(self, url: str) -> dict[str, object]:
        """The entry of the configuration."""
        own: dict[str, object] = {"base_url": f"{url}/{self.path}", "api_key": self.api_key}
        return {**own, "adapter": self.adapter} if self.adapter else {**own, "dialects": [self.dialect]}


UPSTREAMS = {
    upstream.name: upstream
    for upstream in (
        Upstream(
            name="openai", dialect="openai_chat", path="openai/v1", model="gpt-4o-mini", reasoning_model="o4-mini",
            hides_reasoning=True,
        ),
        Upstream(
            name="azure", dialect="openai_chat", path="azure/openai/v1", model="gpt-4o-mini", reasoning_model="gpt-5.2",
            hides_reasoning=True,
        ),
        Upstream(
            name="groq", dialect="openai_chat", path="groq/openai/v1", model="llama-3.3-70b-versatile",
            reasoning_model="openai/gpt-oss-120b",
        ),
        Upstream(
            name="mistral", dialect="openai_chat", path="mistral/v1", model="mistral-small-latest",
            reasoning_model="magistral-medium-latest",
        ),
        Upstream(name="deepseek", dialect="openai_chat", path="deepseek", model="deepseek-v4-flash"),
        Upstream(
            name="openrouter", dialect="openai_chat", path="openrouter/api/v1", model="openai/gpt-4o-mini",
            reasoning_model="anthropic/claude-sonnet-5.5",
        ),
        Upstream(name="xai", dialect="openai_responses", path="xai/v1", model="grok-4.3"),
        Upstream(name="anthropic", dialect="anthropic_messages", path="anthropic", model="claude-haiku-4-5"),
        Upstream(name="google", dialect="gemini", path="google/v1beta", model="gemini-3.8-flash"),
        Upstream(name="ollama", dialect="ollama", path="ollama", model="llama3.2", reasoning_model="qwen3.5:9b"),
        Upstream(
            name="cohere", dialect="cohere_v2", path="cohere", model="command-a-03-2025",
            reasoning_model="command-a-reasoning-08-2025",
        ),
        Upstream(
            name="bedrock", dialect="bedrock_converse", path="bedrock",
            model="us.anthropic.claude-sonnet-4-5-20250929-v1:0",
            api_key="AKIACONFORMANCE:secret-of-the-conformance-tests",
        ),
        Upstream(
            name="worker", dialect="runpod", path="runpod/v2/conformance", model="meta-llama/Llama-3.3-70B-Instruct",
            adapter="runpod",
        ),
    )
}  # fmt: skip

CASES = (
    "text", "stream", "tools", "tools-stream", "vision", "schema", "reasoning", "reasoning-stream", "rate-limit", "cut-off",
)  # fmt: skip

_GENERATE = "/api/generate has one prompt: neither tools nor turns"
_VAPI = "Vapi asks for streams only, and sends no images, schemas or reasoning"
_DEEPSEEK = "DeepSeek's chat has json_object only: refused before it is asked (see test_refusals)"
_NO_WORKER_CUT = "a queue's answer is polled: there is no stream of bytes to cut"

_MISTRAL = "relayed byte for byte: Mistral's own list of thinking and text parts, which OpenAI's client cannot read"

_REASONS: Mapping[tuple[str, str, str], str] = {
    **{("ollama-generate", "*", case): _GENERATE for case in ("tools", "tools-stream")},
    **{("vapi", "*", case): _VAPI for case in ("text", "tools", "vision", "schema", "reasoning", "reasoning-stream")},
    ("*", "deepseek", "schema"): _DEEPSEEK,
    ("*", "worker", "cut-off"): _NO_WORKER_CUT,
    **{("chat", "mistral", case): _MISTRAL for case in ("reasoning", "reasoning-stream")},
}


def why_empty(caller: str, upstream: str, case: str) -> str | None:
    """The reason for which a cell has no such case; None where it has."""
    names = (caller, "*"), (upstream, "*")
    for first in names[0]:
        for second in names[1]:
            if (reason := _REASONS.get((first, second, case))) is not None:
                return reason
    return None


def cells() -> list[tuple[str, str, str]]:
    """Caller, upstream and case of everything that is run."""
    return [
        (caller, upstream, case)
        for caller in CALLERS
        for upstream in UPSTREAMS
        for case in CASES
        if why_empty(caller, upstream, case) is None
    ]


Outcomes = Mapping[tuple[str, str, str], bool]


def table(outcomes: Outcomes) -> list[str]:
    """The matrix as lines of text: passed/run in each cell, with letters for the reasons of what is left out."""
    reasons = list(dict.fromkeys(_REASONS.values()))
    rows = [["ingress \\ upstream", *(f"{name} ({UPSTREAMS[name].dialect})" for name in UPSTREAMS)]]
    rows += [[caller, *(_cell(outcomes, caller, upstream, reasons) for upstream in UPSTREAMS)] for caller in CALLERS]
    lines = _columns(rows)
    lines += [f"cases: {', '.join(CASES)}"]
    lines += [f"{chr(ord('a') + number)}: {reason}" for number, reason in enumerate(reasons)]
    return lines


def _cell(outcomes: Outcomes, caller: str, upstream: str, reasons: list[str]) -> str:
    run = [passed for (first, second, _), passed in outcomes.items() if (first, second) == (caller, upstream)]
    left_out = {why_empty(caller, upstream, case) for case in CASES} - {None}
    marks = "".join(chr(ord("a") + number) for number, reason in enumerate(reasons) if reason in left_out)
    return f"{sum(run)}/{len(run)} {marks}".strip()


def _columns(rows: list[list[str]]) -> list[str]:
    """Columns as wide as their cells; the head's dialects stand below its names."""
    head = [cell.partition(" (") for cell in rows[0][1:]]
    shown = [[rows[0][0], *(name for name, _, _ in head)], ["", *(tail.rstrip(")") for _, _, tail in head)], *rows[1:]]
    widths = [max(len(row[column]) for row in shown) for column in range(len(shown[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in shown]


def entries(url: str, names: Iterable[str] = tuple(UPSTREAMS)) -> dict[str, dict[str, object]]:
    """The `providers` of a configuration whose providers are those of the sandbox at `url`."""
    return {name: UPSTREAMS[name].entry(url) for name in names}


@functools.cache
def foreign(caller: str, upstream: str) -> bool:
    """Whether the answer has to be translated."""
    own = {
        "chat": "openai_chat", "vapi": "openai_chat", "responses": "openai_responses", "messages": "anthropic_messages",
        "gemini": "gemini", "ollama-chat": "ollama",
    }  # fmt: skip
    return own.get(caller) != UPSTREAMS[upstream].dialect
