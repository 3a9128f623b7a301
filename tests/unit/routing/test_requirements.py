"""What a request needs, read from raw bodies of every chat dialect and from the canonical form."""

from __future__ import annotations

import base64
import os
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyroute.routing.requirements import (
    Requirements,
    requirements_of_fields,
    requirements_of_request,
    split_require,
)
from polyroute.types.chat import (
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    OutputFormat,
    Reasoning,
    TextPart,
    Tool,
    ToolResultPart,
)
from polyroute.types.errors import PolyrouteError
from polyroute.types.operations import OPERATION_OF, Capability, Dialect, Operation

D, C = Dialect, Capability
TEXT: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}


def read(dialect: Dialect, body: dict[str, Any], *, stream: bool = False) -> Requirements:
    encoded = msgspec.json.encode(body)
    fields = msgspec.json.decode(encoded, type=dict[str, msgspec.Raw])
    return requirements_of_fields(dialect, fields, encoded, stream=stream)


def parts(*content: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(content)}]}


@pytest.mark.parametrize(
    ("dialect", "body", "needs"),
    [
        (D.OPENAI_CHAT, TEXT, set()),
        (D.OPENAI_CHAT, TEXT | {"tools": [{"type": "function"}]}, {C.TOOLS}),
        (D.OPENAI_CHAT, TEXT | {"functions": [{"name": "f"}]}, {C.TOOLS}),
        (D.OPENAI_CHAT, TEXT | {"tools": []}, set()),
        (D.OPENAI_CHAT, TEXT | {"tools": None}, set()),
        (D.OPENAI_CHAT, TEXT | {"response_format": {"type": "json_object"}}, {C.JSON_OBJECT}),
        (D.OPENAI_CHAT, TEXT | {"response_format": {"type": "json_schema", "json_schema": {}}}, {C.JSON_SCHEMA}),
        (D.OPENAI_CHAT, TEXT | {"response_format": {"type": "text"}}, set()),
        (D.OPENAI_CHAT, TEXT | {"response_format": "nonsense"}, set()),
        (D.OPENAI_CHAT, TEXT | {"reasoning_effort": "high"}, {C.REASONING}),
        (D.OPENAI_CHAT, TEXT | {"reasoning_effort": "none"}, set()),
        (D.OPENAI_CHAT, TEXT | {"reasoning": {"effort": "low"}}, {C.REASONING}),
        (D.OPENAI_CHAT, TEXT | {"logprobs": True}, {C.LOGPROBS}),
        (D.OPENAI_CHAT, TEXT | {"logprobs": False, "n": 1}, set()),
        (D.OPENAI_CHAT, TEXT | {"n": 3}, {C.CHOICES}),
        (D.OPENAI_CHAT, TEXT | {"modalities": ["text", "audio"]}, {C.AUDIO_OUTPUT}),
        (D.OPENAI_CHAT, parts({"type": "image_url", "image_url": {"url": "https://x/y.png"}}), {C.VISION}),
        (D.OPENAI_CHAT, parts({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}), {C.AUDIO_INPUT}),
        (D.OPENAI_CHAT, parts({"type": "file", "file": {"file_id": "f"}}), {C.FILES}),
        (D.OPENAI_CHAT, parts({"type": "text", "text": 'say {"type":"image_url"}'}), set()),
        (D.OPENAI_CHAT, parts({"type": "text", "text": "image_url"}), set()),
        (D.OPENAI_CHAT, TEXT | {"tools": [{"type": "image_url"}]}, {C.TOOLS}),
        (D.OPENAI_RESPONSES, {"input": "Hi"}, set()),
        (D.OPENAI_RESPONSES, {"input": [{"content": [{"type": "input_image"}]}]}, {C.VISION}),
        (D.OPENAI_RESPONSES, {"input": [{"content": [{"type": "input_file"}]}]}, {C.FILES}),
        (D.OPENAI_RESPONSES, {"input": "Hi", "text": {"format": {"type": "json_schema"}}}, {C.JSON_SCHEMA}),
        (D.OPENAI_RESPONSES, {"input": "Hi", "reasoning": {"effort": "medium"}}, {C.REASONING}),
        (D.OPENAI_RESPONSES, {"input": "Hi", "top_logprobs": 3}, {C.LOGPROBS}),
        (D.ANTHROPIC_MESSAGES, parts({"type": "image", "source": {"type": "url", "url": "u"}}), {C.VISION}),
        (D.ANTHROPIC_MESSAGES, parts({"type": "document", "source": {}}), {C.FILES}),
        (D.ANTHROPIC_MESSAGES, TEXT | {"tools": [{"name": "f"}]}, {C.TOOLS}),
        (D.ANTHROPIC_MESSAGES, TEXT | {"thinking": {"type": "enabled", "budget_tokens": 2000}}, {C.REASONING}),
        (D.ANTHROPIC_MESSAGES, TEXT | {"thinking": {"type": "disabled"}}, set()),
        (D.ANTHROPIC_MESSAGES, TEXT | {"output_config": {"format": {"type": "json_schema"}}}, {C.JSON_SCHEMA}),
        (D.GEMINI, {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": ""}}]}]}, {C.VISION}),
        (D.GEMINI, {"contents": [{"parts": [{"inline_data": {"mime_type": "audio/wav"}}]}]}, {C.AUDIO_INPUT}),
        (D.GEMINI, {"contents": [{"parts": [{"fileData": {"mimeType": "application/pdf"}}]}]}, {C.FILES}),
        (D.GEMINI, {"contents": [], "generationConfig": {"responseMimeType": "application/json"}}, {C.JSON_OBJECT}),
        (D.GEMINI, {"contents": [], "generationConfig": {"responseSchema": {"type": "OBJECT"}}}, {C.JSON_SCHEMA}),
        (D.GEMINI, {"contents": [], "generationConfig": {"thinkingConfig": {"thinkingBudget": 100}}}, {C.REASONING}),
        (D.GEMINI, {"contents": [], "generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}}, set()),
        (D.GEMINI, {"contents": [], "generationConfig": {"candidateCount": 2}}, {C.CHOICES}),
        (D.OLLAMA, {"messages": [{"role": "user", "content": "Hi", "images": ["aGk="]}]}, {C.VISION}),
        (D.OLLAMA, {"messages": [{"role": "user", "content": "Hi", "images": []}]}, set()),
        (D.OLLAMA, TEXT | {"format": "json"}, {C.JSON_OBJECT}),
        (D.OLLAMA, TEXT | {"format": {"type": "object"}}, {C.JSON_SCHEMA}),
        (D.OLLAMA, TEXT | {"think": True}, {C.REASONING}),
        (D.COHERE_V2, parts({"type": "image_url", "image_url": {"url": "u"}}), {C.VISION}),
        (D.BEDROCK_CONVERSE, parts({"image": {"format": "png", "source": {}}}), {C.VISION}),
        (D.BEDROCK_CONVERSE, TEXT | {"toolConfig": {"tools": [{}]}}, {C.TOOLS}),
    ],
)
def test_needs_of_raw_bodies(dialect: Dialect, body: dict[str, Any], needs: set[Capability]) -> None:
    assert read(dialect, body).needs == needs
    assert read(dialect, body, stream=True).needs == needs | {C.STREAMING}


@pytest.mark.parametrize(
    ("dialect", "body", "limit"),
    [
        (D.OPENAI_CHAT, TEXT | {"max_tokens": 50}, 50),
        (D.OPENAI_CHAT, TEXT | {"max_completion_tokens": 60}, 60),
        (D.OPENAI_CHAT, TEXT | {"max_tokens": "many"}, None),
        (D.OPENAI_CHAT, TEXT, None),
        (D.OPENAI_RESPONSES, {"input": "x", "max_output_tokens": 70}, 70),
        (D.GEMINI, {"contents": [], "generationConfig": {"maxOutputTokens": 80}}, 80),
        (D.OLLAMA, TEXT | {"options": {"num_predict": 90}}, 90),
        (D.OLLAMA, TEXT | {"options": {"num_predict": -1}}, None),
        (D.BEDROCK_CONVERSE, TEXT | {"inferenceConfig": {"maxTokens": 99}}, 99),
    ],
)
def test_the_most_tokens_of_the_answer(dialect: Dialect, body: dict[str, Any], limit: int | None) -> None:
    assert read(dialect, body).output_tokens == limit


def test_tokens_are_a_quarter_of_the_bytes_of_text_and_media_count_flat() -> None:
    text = "word " * 4000
    assert read(D.OPENAI_CHAT, parts({"type": "text", "text": text})).tokens == pytest.approx(5000, rel=0.02)
    image = base64.b64encode(os.urandom(300_000)).decode()
    url = f"data:image/png;base64,{image}"
    with_image = read(
        D.OPENAI_CHAT, parts({"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}})
    )
    assert with_image.tokens == pytest.approx(6000, rel=0.05)


def test_media_are_not_searched_for_where_nothing_depends_on_them() -> None:
    body = msgspec.json.encode(parts({"type": "image_url", "image_url": {"url": "u"}}) | {"tools": [{}]})
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])

    def needs(contested: frozenset[Capability], sized: bool) -> frozenset[Capability]:
        return requirements_of_fields(D.OPENAI_CHAT, fields, body, contested=contested, sized=sized).needs

    assert needs(frozenset({C.TOOLS}), sized=False) == {C.TOOLS}
    assert needs(frozenset({C.VISION}), sized=False) == {C.TOOLS, C.VISION}
    assert needs(frozenset(), sized=True) == {C.TOOLS, C.VISION}


def test_other_operations_need_no_capability() -> None:
    assert read(D.OPENAI_EMBEDDINGS, {"input": "x" * 400}).needs == frozenset()


@given(
    dialect=st.sampled_from([dialect for dialect in Dialect if OPERATION_OF[dialect] is Operation.CHAT]),
    body=st.dictionaries(
        st.sampled_from(
            ["messages", "input", "contents", "tools", "response_format", "text", "reasoning", "reasoning_effort", "thinking",
             "logprobs", "top_logprobs", "n", "modalities", "generationConfig", "format", "think", "options",
             "inferenceConfig", "max_tokens", "output_config", "images"]
        ),
        st.sampled_from(
            [None, True, False, 0, -1, 2**70, 1.5, "", "json", "high", [], ["audio"], [[1]], [{"type": "image_url"}], {},
             {"type": 3}, {"type": "enabled"}, {"format": {"type": None}}, {"format": "x"}, {"effort": []},
             {"candidateCount": "2"}, {"thinkingConfig": {}}, {"num_predict": 1e9}, {"maxTokens": None}]
        ),
    ),
)  # fmt: skip
def test_no_body_however_odd_is_an_error(dialect: Dialect, body: dict[str, Any]) -> None:
    found = read(dialect, body)
    assert found.tokens >= 0
    assert found.output_tokens is None or found.output_tokens > 0


def test_needs_of_the_canonical_form() -> None:
    request = ChatRequest(
        model="m",
        stream=True,
        messages=(
            Message(role="system", parts=(TextPart(text="x" * 400),)),
            Message(role="user", parts=(ImagePart(url="u"), AudioPart(data="", format="wav"))),
            Message(role="tool", parts=(ToolResultPart(call_id="1", content=(FilePart(url="u"),)),)),
        ),
        tools=(Tool(name="f"),),
        output_format=OutputFormat(kind="json_schema"),
        reasoning=Reasoning(effort="high"),
        top_logprobs=1,
        n=2,
        max_tokens=77,
    )
    found = requirements_of_request(request)
    assert found.needs == {
        C.STREAMING, C.VISION, C.AUDIO_INPUT, C.FILES, C.TOOLS, C.JSON_SCHEMA, C.REASONING, C.LOGPROBS, C.CHOICES,
    }  # fmt: skip
    assert 3100 <= found.tokens <= 3200
    assert found.output_tokens == 77
    plain = ChatRequest(model="m", messages=(Message(role="user", parts=(TextPart(text="Xin chào" * 10),)),))
    assert requirements_of_request(plain) == Requirements(frozenset(), 22)
    off = ChatRequest(model="m", messages=(), reasoning=Reasoning(enabled=False, effort="high"))
    assert requirements_of_request(off).needs == frozenset()


def test_a_callers_requirements_are_capabilities_or_tags() -> None:
    assert split_require(["vision", "eu", "tools"]) == ({C.VISION, C.TOOLS}, {"eu"})
    with pytest.raises(PolyrouteError, match="empty name"):
        split_require([" "])
