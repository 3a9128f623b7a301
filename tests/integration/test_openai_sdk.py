"""The official OpenAI client against the gateway: everything it can ask, and the exceptions that it raises."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pydantic
import pytest

from support.asks import WAV
from support.gateway_process import GatewayProcess
from support.simulated_providers import SimulatedProviders

PIXEL = base64.b64encode(
    base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
).decode()
HELLO: Any = [{"role": "user", "content": "Hello"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def sdk(gateway: GatewayProcess) -> Iterator[openai.OpenAI]:
    """The client as its README makes it, with our address."""
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="anything", max_retries=0, timeout=20) as client:
        yield client


def test_a_chat_completion(sandbox: SimulatedProviders, gateway: GatewayProcess, sdk: openai.OpenAI) -> None:
    raw = sdk.chat.completions.with_raw_response.create(model="small", messages=HELLO)
    answer = raw.parse()
    assert answer.choices[0].message.content is not None
    assert answer.choices[0].message.content.startswith("[simulated openai/gpt-4o-mini]")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    entry = gateway.entry(raw.headers["x-polyroute-request-id"])
    assert (entry["input_tokens"], entry["output_tokens"]) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )
    assert (entry["route"], entry["actual_model"], entry["stream"]) == ("small", "gpt-4o-mini", 0)
    # gpt-4o-mini's price is known: the cost is in the row, with the tables that it was worked out from, and in the header.
    assert entry["cost_usd"] > 0
    assert entry["price_version"]
    assert float(raw.headers["x-polyroute-cost-usd"]) == pytest.approx(entry["cost_usd"])


@pytest.mark.parametrize(
    ("options", "asked_usage"),
    [
        ({}, False),
        ({"stream_options": {"include_usage": True}}, True),
        ({"stream_options": {"include_usage": False}}, False),
        ({"stream_options": {}}, False),
        ({"extra_body": {"stream_options": None}}, False),
    ],
    ids=["silent", "asked", "declined", "empty", "null"],
)
def test_a_streamed_chat_completion(
    sandbox: SimulatedProviders, gateway: GatewayProcess, sdk: openai.OpenAI, options: Any, asked_usage: bool
) -> None:
    raw = sdk.chat.completions.with_raw_response.create(model="small", messages=HELLO, stream=True, **options)
    chunks = list(raw.parse())
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text.startswith("[simulated openai/gpt-4o-mini]")
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    told = [chunk.usage for chunk in chunks if chunk.usage is not None]
    [seen] = sandbox.seen("openai")
    assert seen["body"]["stream_options"] == {"include_usage": True}
    entry = gateway.entry(raw.headers["x-polyroute-request-id"])
    assert (entry["status"], entry["stream"], entry["usage_estimated"]) == ("COMPLETED", 1, 0)
    assert entry["input_tokens"]
    assert entry["output_tokens"]
    assert entry["ttft_ms"] <= entry["latency_ms"]
    if asked_usage:
        assert [(usage.prompt_tokens, usage.completion_tokens) for usage in told] == [
            (entry["input_tokens"], entry["output_tokens"])
        ]
    else:
        assert told == []
        assert all(chunk.choices for chunk in chunks)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tools_in_two_rounds(sandbox: SimulatedProviders, sdk: openai.OpenAI, stream: bool) -> None:
    messages: Any = [{"role": "user", "content": "Call get_weather for Hanoi"}]
    if stream:
        with sdk.chat.completions.stream(model="small", messages=messages, tools=[WEATHER]) as events:
            answer: Any = events.get_final_completion()
    else:
        answer = sdk.chat.completions.create(model="small", messages=messages, tools=[WEATHER])
    assert answer.choices[0].finish_reason == "tool_calls"
    [call] = answer.choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert set(json.loads(call.function.arguments)) == {"city"}
    messages += [
        answer.choices[0].message.model_dump(exclude_none=True, exclude={"parsed"}),
        {"role": "tool", "tool_call_id": call.id, "content": "31 degrees"},
    ]
    last = sdk.chat.completions.create(model="small", messages=messages, tools=[WEATHER])
    assert last.choices[0].finish_reason == "stop"
    assert 'get_weather said "31 degrees"' in str(last.choices[0].message.content)


class Person(pydantic.BaseModel):
    """What is asked for."""

    name: str
    age: int


def test_structured_output(sandbox: SimulatedProviders, sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.parse(model="small", messages=HELLO, response_format=Person)
    assert isinstance(answer.choices[0].message.parsed, Person)


def test_an_image_in_a_message(sandbox: SimulatedProviders, sdk: openai.OpenAI) -> None:
    content: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
    ]
    answer = sdk.chat.completions.create(model="small", messages=[{"role": "user", "content": content}])
    assert "I saw an image (image/png," in str(answer.choices[0].message.content)


def test_embeddings_in_both_encodings(sandbox: SimulatedProviders, gateway: GatewayProcess, sdk: openai.OpenAI) -> None:
    asked = ["one", "two", "three"]
    packed = sdk.embeddings.create(model="embed-route", input=asked)  # the client asks for base64 and unpacks it
    plain = sdk.embeddings.create(model="embed-route", input=asked, encoding_format="float")
    assert [row["body"]["encoding_format"] for row in sandbox.seen("openai")] == ["base64", "float"]
    assert [row.index for row in packed.data] == [0, 1, 2]
    for left, right in zip(packed.data, plain.data, strict=True):
        assert left.embedding == pytest.approx(right.embedding, abs=1e-6)
    assert packed.usage.prompt_tokens


def test_images(sandbox: SimulatedProviders, gateway: GatewayProcess, sdk: openai.OpenAI) -> None:
    raw = sdk.images.with_raw_response.generate(model="image-route", prompt="a boat", n=2, response_format="b64_json")
    answer = raw.parse()
    assert answer.data is not None
    assert [base64.b64decode(str(image.b64_json))[:4] for image in answer.data] == [b"\x89PNG", b"\x89PNG"]
    entry = gateway.entry(raw.headers["x-polyroute-request-id"])
    assert (entry["operation"], entry["images"]) == ("image", 2)


def test_speech_comes_as_it_is_made(
    sandbox: SimulatedProviders, gateway: GatewayProcess, sdk: openai.OpenAI, tmp_path: Path
) -> None:
    text = "A sentence that is long enough for several pieces. " * 20
    sandbox.break_down("openai", "stall", after_tokens=1, seconds=60)
    speech = sdk.audio.speech.with_streaming_response
    with speech.create(model="speech-route", input=text, voice="alloy") as begun:
        assert len(next(begun.iter_bytes())) > 0  # long before the rest exists
    sandbox.mend("openai")
    with speech.create(model="speech-route", input=text, voice="alloy") as answer:
        answer.stream_to_file(tmp_path / "speech.mp3")
        request_id = answer.headers["x-polyroute-request-id"]
    assert (tmp_path / "speech.mp3").stat().st_size > 4096
    entry = gateway.entry(request_id)
    assert (entry["operation"], entry["status"], entry["stream"]) == ("speech", "COMPLETED", 1)


def test_transcription(sandbox: SimulatedProviders, gateway: GatewayProcess, sdk: openai.OpenAI) -> None:
    raw = sdk.audio.transcriptions.with_raw_response.create(
        model="transcription-route", file=("voice.wav", io.BytesIO(WAV), "audio/wav")
    )
    assert f"transcribed voice.wav: {len(WAV)} bytes" in raw.parse().text
    assert gateway.entry(raw.headers["x-polyroute-request-id"])["operation"] == "transcription"
    plain: Any = sdk.audio.transcriptions.create(
        model="transcription-route", file=("voice.wav", WAV, "audio/wav"), response_format="text"
    )
    assert "transcribed voice.wav" in plain


def test_models(sandbox: SimulatedProviders, sdk: openai.OpenAI) -> None:
    listed = {model.id: model for model in sdk.models.list()}
    assert {"small", "chat-route", "text", "embedding", "image", "speech", "transcription"} <= set(listed)
    small = sdk.models.retrieve("small")
    assert small == listed["small"]
    assert (small.object, small.owned_by) == ("model", "polyroute")
    facts: Any = small.model_extra
    assert facts["polyroute"]["operations"] == ["chat"]
    assert facts["polyroute"]["targets"] == ["openai/gpt-4o-mini"]
    targets = {name: model for name, model in listed.items() if name.startswith("openai/")}
    assert targets
    for target in targets.values():
        more: Any = target.model_extra
        assert "vision" in more["polyroute"]["capabilities"]
        assert target.owned_by == "openai"
    named = sdk.models.retrieve(next(iter(targets)))  # a slash in the path
    assert named.id in targets
    with pytest.raises(openai.NotFoundError) as missing:
        sdk.models.retrieve("smal")
    assert "small" in missing.value.message


# ---------------------------------------------------------------- exceptions


def test_a_request_that_is_wrong(sandbox: SimulatedProviders, sdk: openai.OpenAI) -> None:
    bad: Any = 7
    with pytest.raises(openai.BadRequestError) as ours:
        sdk.chat.completions.create(model=bad, messages=HELLO)
    assert (ours.value.status_code, ours.value.param, ours.value.type) == (400, "model", "invalid_request_error")
    assert sandbox.seen() == []
    with pytest.raises(openai.BadRequestError) as theirs:
        sdk.chat.completions.create(model="chat-route", messages=bad)
    assert theirs.value.body
    assert len(sandbox.seen()) == 1  # a fault of the caller's is not tried elsewhere


def test_an_unknown_model(sandbox: SimulatedProviders, sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as found:
        sdk.chat.completions.create(model="chat-rout", messages=HELLO)
    assert found.value.code == "model_not_found"
    assert "did you mean chat-route" in found.value.message
    assert sandbox.seen() == []


def test_a_body_over_the_limit(sandbox: SimulatedProviders, sdk: openai.OpenAI) -> None:
    huge: Any = [{"role": "user", "content": "x" * (65 << 20)}]
    with pytest.raises((openai.APIStatusError, openai.APIConnectionError)) as found:
        sdk.chat.completions.create(model="small", messages=huge)
    assert isinstance(found.value, openai.APIStatusError)
    assert found.value.status_code == 413
    assert sandbox.seen() == []


@pytest.mark.parametrize(
    ("fault", "exception", "status"),
    [
        ({"kind": "status", "status": 429}, openai.RateLimitError, 429),
        ({"kind": "status", "status": 500}, openai.InternalServerError, 502),
        ({"kind": "invalid_key"}, openai.InternalServerError, 502),
        ({"kind": "status", "status": 404}, openai.NotFoundError, 404),
        ({"kind": "context_too_long"}, openai.BadRequestError, 400),
        ({"kind": "content_filter"}, openai.BadRequestError, 400),
    ],
    ids=["rate-limit", "down", "our-credential", "their-model", "context", "filter"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_what_providers_refuse(
    sandbox: SimulatedProviders,
    sdk: openai.OpenAI,
    fault: dict[str, Any],
    exception: type[openai.APIStatusError],
    status: int,
    stream: bool,
) -> None:
    sandbox.set("groq", faults=[fault])
    model = f"groq/refused-{fault['kind']}-{status}-{stream}"
    with pytest.raises(exception) as found:
        sdk.chat.completions.create(model=model, messages=HELLO, stream=stream)
    assert found.value.status_code == status
    assert found.value.response.headers["x-polyroute-request-id"].startswith("req_")


def test_a_stream_that_breaks_off(sandbox: SimulatedProviders, sdk: openai.OpenAI) -> None:
    sandbox.set("openai", faults=[{"kind": "cut", "after_tokens": 5}], tokens_per_second=25)
    stream = sdk.chat.completions.create(model="small", messages=HELLO, stream=True)
    chunks: list[Any] = []
    with pytest.raises(openai.APIError) as found:
        chunks.extend(stream)
    said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert said.startswith("[simulated opena")
    assert "openai/gpt-4o-mini broke off its answer" in found.value.message
