"""What changes the charge of an answer beside its tokens: service tiers, searches, tokens that are billed otherwise."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from polyroute.dialects.anthropic_messages.usage import parse_usage
from polyroute.dialects.cohere_v2.answer_in import read_usage
from polyroute.dialects.media import observe_json
from polyroute.dialects.openai_chat.observer import observe_chat
from polyroute.dialects.service_tiers import unusual_tier
from polyroute.ports import Observation
from polyroute.types.operations import Dialect


@pytest.mark.parametrize(
    ("named", "tier"),
    [
        ("default", None), ("standard", None), ("on_demand", None), ("auto", None), (None, None), ("", None), (7, None),
        ("x" * 41, None), ("Flex", "flex"), ("batch", "batch"), ("priority", "priority"),
    ],
)  # fmt: skip
def test_only_a_tier_that_is_not_the_usual_one_counts(named: Any, tier: str | None) -> None:
    assert unusual_tier(named) == tier


@pytest.mark.parametrize(("named", "tier"), [("default", None), ("flex", "flex")])
def test_a_chat_completion_names_its_tier(named: str, tier: str | None) -> None:
    answer = {
        "id": "c", "object": "chat.completion", "model": "m", "service_tier": named,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }  # fmt: skip
    usage = observe_chat(msgspec.json.encode(answer)).usage
    assert usage is not None
    assert usage.tier == tier


def test_anthropic_tells_its_tier_and_its_searches() -> None:
    told = {
        "input_tokens": 1,
        "output_tokens": 1,
        "service_tier": "batch",
        "server_tool_use": {"web_search_requests": 2},
    }
    usage = parse_usage(told)
    assert (usage.tier, usage.web_searches) == ("batch", 2)
    assert parse_usage({"input_tokens": 1, "server_tool_use": {"web_search_requests": 0}}).web_searches is None


def test_cohere_bills_fewer_tokens_than_it_counts() -> None:
    told = {
        "tokens": {"input_tokens": 614, "output_tokens": 13},
        "billed_units": {"input_tokens": 12, "output_tokens": 10},
    }
    usage = read_usage(told)
    assert (usage.input, usage.output, usage.charged_input, usage.charged_output) == (614, 13, 12, 10)
    same = read_usage({"tokens": told["tokens"], "billed_units": told["tokens"]})
    assert (same.charged_input, same.charged_output) == (None, None)


def test_embeddings_whose_only_count_is_the_total() -> None:
    seen = Observation()
    body = msgspec.json.encode({"data": [{"embedding": [0.1]}], "usage": {"total_tokens": 12}})
    observe_json(Dialect.OPENAI_EMBEDDINGS, body, seen)
    assert seen.usage is not None
    assert seen.usage.input == 12
