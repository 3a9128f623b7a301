"""The official SDKs as clients: what they parse is what the sandbox must have said well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import anthropic
import botocore.session
import cohere
import httpx
import ollama
import openai
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from google import genai
from google.genai import errors as google_errors
from google.genai import types

from polyroute.sandbox.server import Running

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
ASK = "What is the weather in Berlin for the next 3 days? Use get_weather."
CHAT_TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
ARGUMENTS = {"city": "Berlin", "days": 3}


pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Closes every client at the end of the test."""
    async with AsyncExitStack() as closing:
        yield closing


@pytest.fixture
async def openai_client(sandbox: Running, stack: AsyncExitStack) -> openai.AsyncOpenAI:
    client = openai.AsyncOpenAI(base_url=f"{sandbox.url}/openai/v1", api_key="sk-test", max_retries=0)
    return await stack.enter_async_context(client)


@pytest.fixture
async def claude(sandbox: Running, stack: AsyncExitStack) -> anthropic.AsyncAnthropic:
    client = anthropic.AsyncAnthropic(base_url=f"{sandbox.url}/anthropic", api_key="sk-test", max_retries=0)
    return await stack.enter_async_context(client)


@pytest.fixture
async def gemini(sandbox: Running, stack: AsyncExitStack) -> genai.Client:
    client = genai.Client(api_key="sk-test", http_options=types.HttpOptions(base_url=f"{sandbox.url}/google"))
    stack.callback(client.close)
    stack.push_async_callback(client.aio.aclose)
    return client


@pytest.fixture
async def bedrock(sandbox: Running, stack: AsyncExitStack) -> Any:
    client = await asyncio.to_thread(bedrock_client, sandbox)
    stack.callback(client.close)
    return client


async def test_openai_chat_runs_a_tool_and_quotes_its_result(openai_client: openai.AsyncOpenAI) -> None:
    client = openai_client
    messages: list[Any] = [{"role": "user", "content": ASK}]
    first = await client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[CHAT_TOOL])
    call = first.choices[0].message.tool_calls[0]
    assert first.choices[0].finish_reason == "tool_calls"
    assert call.function.name == "get_weather"
    assert call.function.arguments == '{"city":"Berlin","days":3}'
    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "rain, 7 degrees"}]
    second = await client.chat.completions.create(model="gpt-4o-mini", messages=messages, tools=[CHAT_TOOL])
    assert second.choices[0].finish_reason == "stop"
    assert 'get_weather said "rain, 7 degrees"' in second.choices[0].message.content


async def test_openai_chat_streams_what_it_answers_whole(openai_client: openai.AsyncOpenAI) -> None:
    client = openai_client
    ask: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": ASK + " explain"}]}
    ask["tools"] = [CHAT_TOOL]
    whole = await client.chat.completions.create(**ask)
    async with client.chat.completions.stream(**ask, stream_options={"include_usage": True}) as stream:
        async for _ in stream:
            pass
        folded = await stream.get_final_completion()
    assert folded.id == whole.id
    assert folded.usage == whole.usage
    assert folded.choices[0].finish_reason == whole.choices[0].finish_reason
    assert folded.choices[0].message.content == whole.choices[0].message.content != ""
    theirs = whole.choices[0].message.tool_calls[0]
    ours = folded.choices[0].message.tool_calls[0]
    assert (ours.id, ours.function.name, ours.function.arguments) == (
        theirs.id,
        "get_weather",
        theirs.function.arguments,
    )


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
async def test_openai_statuses_become_the_sdks_exceptions(
    openai_client: openai.AsyncOpenAI, http: Any, status: int, error: type[openai.APIStatusError]
) -> None:
    await http.post("/_control", json={"provider": "openai", "faults": {"kind": "status", "status": status}})
    with pytest.raises(error) as caught:
        await openai_client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
    assert caught.value.status_code == status
    assert isinstance(caught.value.body, dict)


async def test_openai_raises_on_an_error_inside_a_stream(openai_client: openai.AsyncOpenAI, http: Any) -> None:
    fault = {"kind": "in_band_error", "status": 500, "after_tokens": 3}
    await http.post("/_control", json={"provider": "openai", "faults": fault})
    stream = await openai_client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "x"}], stream=True
    )
    seen: list[str | None] = []

    async def read_all() -> None:
        async for chunk in stream:
            seen.append(chunk.choices[0].delta.content)

    with pytest.raises(openai.APIError, match="server had an error"):
        await read_all()
    assert "".join(filter(None, seen)) == "[simulated o"


async def test_responses_reason_call_and_remember(openai_client: openai.AsyncOpenAI) -> None:
    client = openai_client
    tool: Any = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": True}
    ask: dict[str, Any] = {
        "model": "gpt-5.6-mini",
        "input": ASK,
        "tools": [tool],
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
    }
    first = await client.responses.create(**ask)
    assert [item.type for item in first.output] == ["reasoning", "function_call"]
    assert first.output[0].encrypted_content
    async with client.responses.stream(**ask) as stream:
        async for _ in stream:
            pass
        folded = await stream.get_final_response()
    dumped = [item.model_dump(exclude={"parsed_arguments"}) for item in folded.output]
    assert dumped == [item.model_dump() for item in first.output]
    output: Any = {"type": "function_call_output", "call_id": first.output[1].call_id, "output": "rain"}
    second = await client.responses.create(model="gpt-5.6-mini", input=[output], previous_response_id=first.id)
    assert 'get_weather said "rain"' in second.output_text
    items: Any = [
        {"role": "user", "content": ASK},
        *[item.model_dump(exclude_none=True) for item in first.output],
        output,
    ]
    replayed = await client.responses.create(model="gpt-5.6-mini", input=items, store=False)
    assert 'get_weather said "rain"' in replayed.output_text
    await client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(first.id)


async def test_anthropic_thinks_calls_and_takes_its_thinking_back(claude: anthropic.AsyncAnthropic) -> None:
    client = claude
    tools: Any = [{"name": "get_weather", "input_schema": SCHEMA}]
    ask: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 2000, "tools": tools}
    ask["thinking"] = {"type": "enabled", "budget_tokens": 1024}
    messages: list[Any] = [{"role": "user", "content": ASK}]
    first = await client.messages.create(messages=messages, **ask)
    assert [block.type for block in first.content] == ["thinking", "tool_use"]
    assert first.stop_reason == "tool_use"
    assert first.content[1].input == ARGUMENTS
    async with client.messages.stream(messages=messages, **ask) as stream:
        folded = await stream.get_final_message()
    assert folded.content == first.content
    assert folded.usage.output_tokens == first.usage.output_tokens
    messages.append({"role": "assistant", "content": [block.model_dump() for block in first.content]})
    result = {"type": "tool_result", "tool_use_id": first.content[1].id, "content": "rain"}
    messages.append({"role": "user", "content": [result]})
    second = await client.messages.create(messages=messages, **ask)
    assert 'get_weather said "rain"' in second.content[-1].text
    messages[1]["content"][0]["signature"] = "EqQBforeign"
    with pytest.raises(anthropic.BadRequestError, match="Invalid `signature` in `thinking` block"):
        await client.messages.create(messages=messages, **ask)


async def test_anthropic_overload_is_529(claude: anthropic.AsyncAnthropic, http: Any) -> None:
    fault = {"kind": "status", "status": 529, "retry_after": "7"}
    await http.post("/_control", json={"provider": "anthropic", "faults": fault})
    client = claude
    with pytest.raises(anthropic.APIStatusError) as caught:
        await client.messages.create(model="claude-opus-5-5", max_tokens=9, messages=[{"role": "user", "content": "x"}])
    assert caught.value.status_code == 529
    assert caught.value.response.headers["retry-after"] == "7"
    assert caught.value.body["error"] == {"type": "overloaded_error", "message": "Overloaded"}


def gemini_config(**more: Any) -> types.GenerateContentConfig:
    declared = types.FunctionDeclaration(name="get_weather", parameters_json_schema=SCHEMA)
    off = types.AutomaticFunctionCallingConfig(disable=True)
    return types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=[declared])], automatic_function_calling=off, **more
    )


async def test_gemini_calls_and_demands_its_signature_back(gemini: genai.Client) -> None:
    client = gemini
    thoughts = types.ThinkingConfig(include_thoughts=True)
    config = gemini_config(thinking_config=thoughts)
    first = await client.aio.models.generate_content(model="gemini-3.8-flash", contents=ASK, config=config)
    content = first.candidates[0].content
    assert [bool(part.thought) for part in content.parts] == [True, False]
    assert content.parts[1].function_call.args == ARGUMENTS
    assert content.parts[1].thought_signature
    chunks = [
        chunk
        async for chunk in await client.aio.models.generate_content_stream(
            model="gemini-3.8-flash", contents=ASK, config=config
        )
    ]
    assert [call.args for chunk in chunks for call in chunk.function_calls or ()] == [ARGUMENTS]
    assert chunks[-1].usage_metadata == first.usage_metadata
    result = types.Part.from_function_response(name="get_weather", response={"output": "rain"})
    asked = types.Content(role="user", parts=[types.Part(text=ASK)])
    told = types.Content(role="user", parts=[result])
    second = await client.aio.models.generate_content(
        model="gemini-3.8-flash", contents=[asked, content, told], config=config
    )
    assert 'get_weather said "rain"' in second.text
    content.parts[1].thought_signature = None
    with pytest.raises(google_errors.ClientError, match="missing a thought_signature"):
        await client.aio.models.generate_content(
            model="gemini-3.8-flash", contents=[asked, content, told], config=config
        )


async def test_gemini_interactions_by_its_sdk(gemini: genai.Client, http: Any) -> None:
    await http.post("/_control", json={"provider": "google", "job_seconds": 0})
    form = {"type": "video", "delivery": "uri", "duration": "3s", "resolution": "360p"}
    made = await gemini.aio.interactions.create(
        model="gemini-omni-1.1-flash", input="a wave", background=True, response_format=form
    )
    done = await gemini.aio.interactions.get(made.id)
    assert (done.status, done.output_video.mime_type) == ("completed", "video/mp4")
    assert ":download?alt=media" in done.output_video.uri
    assert done.usage.total_output_tokens == 3 * 5792
    assert (await gemini.aio.interactions.cancel(made.id)).status == "completed"
    config = {"transcription_config": {"mode": {"type": "verbatim", "timestamp_granularities": ["word"]}}}
    sound = {"type": "audio", "data": "UklGRg==", "mime_type": "audio/wav"}
    heard = await gemini.aio.interactions.create(model="gemini-3.5-transcribe", input=[sound], generation_config=config)
    [text] = heard.steps[1].content
    assert text.annotations[0].start_offset == "0.000s"
    assert heard.output_text == text.text
    speech = {"speech_config": [{"voice": "Kore"}]}
    stream = await gemini.aio.interactions.create(
        model="gemini-3.8-flash-tts", input="Good morning", stream=True, generation_config=speech,
        response_format={"type": "audio", "mime_type": "audio/mp3"},
    )  # fmt: skip
    events = [event async for event in stream]
    assert [event.event_type for event in events][:2] == ["interaction.created", "step.start"]
    assert any(event.event_type == "step.delta" and event.delta.type == "audio" for event in events)
    assert events[-1].interaction.status == "completed"


async def test_gemini_structured_output_and_small_endpoints(gemini: genai.Client) -> None:
    client = gemini
    config = types.GenerateContentConfig(response_mime_type="application/json", response_json_schema=SCHEMA)
    answer = await client.aio.models.generate_content(model="gemini-2.5-flash", contents=ASK, config=config)
    assert answer.parsed == ARGUMENTS
    counted = await client.aio.models.count_tokens(model="gemini-2.5-flash", contents="12345678")
    assert counted.total_tokens == 6
    embedded = await client.aio.models.embed_content(
        model="gemini-embedding-001", contents=["a", "b"], config=types.EmbedContentConfig(output_dimensionality=8)
    )
    assert [len(item.values) for item in embedded.embeddings] == [8, 8]
    names = [model.name async for model in await client.aio.models.list()]
    assert "models/gemini-3.8-flash" in names


async def test_ollama_chats_thinks_and_calls(sandbox: Running, stack: AsyncExitStack) -> None:
    client = ollama.AsyncClient(host=f"{sandbox.url}/ollama")
    stack.push_async_callback(client._client.aclose)
    messages: list[Any] = [{"role": "user", "content": ASK}]
    first = await client.chat(model="qwen3.5:9b", messages=messages, tools=[CHAT_TOOL], think=True)
    assert first.message.thinking.startswith("[simulated reasoning]")
    assert first.message.tool_calls[0].function.arguments == ARGUMENTS
    messages += [first.message, {"role": "tool", "tool_name": "get_weather", "content": "rain"}]
    parts = [part async for part in await client.chat(model="qwen3.5:9b", messages=messages, stream=True)]
    assert 'get_weather said "rain"' in "".join(part.message.content or "" for part in parts)
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == len(parts) - 1
    with pytest.raises(ollama.ResponseError, match="not found") as caught:
        await client.chat(model="no-such-model", messages=messages)
    assert caught.value.status_code == 404
    generated = await client.generate(model="qwen3.5:9b", prompt="hello", format=SCHEMA)
    assert generated.response == '{"city":"simulated city","days":42}'
    assert (await client.list()).models[0].model == "qwen3.5:9b"
    assert len((await client.embed(model="nomic-embed-text", input=["a", "b"])).embeddings) == 2


async def test_cohere_chats_whole_and_streamed(sandbox: Running, stack: AsyncExitStack) -> None:
    transport = await stack.enter_async_context(httpx.AsyncClient())
    client = cohere.AsyncClientV2(api_key="sk-test", base_url=f"{sandbox.url}/cohere", httpx_client=transport)
    ask: dict[str, Any] = {"model": "command-a-03-2025", "messages": [{"role": "user", "content": ASK}]}
    ask["tools"] = [CHAT_TOOL]
    whole = await client.chat(**ask)
    assert whole.finish_reason == "TOOL_CALL"
    assert whole.message.tool_calls[0].function.arguments == '{"city":"Berlin","days":3}'
    events = [event async for event in client.chat_stream(**ask)]
    arguments = "".join(
        event.delta.message.tool_calls.function.arguments for event in events if event.type == "tool-call-delta"
    )
    assert arguments == '{"city":"Berlin","days":3}'
    assert events[-1].delta.usage == whole.usage
    with pytest.raises(cohere.NotFoundError):
        await client.chat(model="no-such-model", messages=ask["messages"])
    embedded = await client.embed(
        model="embed-v4.0", texts=["a"], input_type="search_query", embedding_types=["float", "int8"]
    )
    assert len(embedded.embeddings.float_[0]) == len(embedded.embeddings.int8[0]) == 1024


def bedrock_client(sandbox: Running) -> Any:
    session = botocore.session.get_session()
    config = Config(retries={"total_max_attempts": 1})
    return session.create_client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=f"{sandbox.url}/bedrock",
        aws_access_key_id="sandbox",
        aws_secret_access_key="sandbox",
        config=config,
    )


async def test_bedrock_converses_over_its_binary_event_stream(bedrock: Any) -> None:
    client = bedrock
    model = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    tools = {"tools": [{"toolSpec": {"name": "get_weather", "inputSchema": {"json": SCHEMA}}}]}
    messages: list[Any] = [{"role": "user", "content": [{"text": ASK}]}]
    ask: dict[str, Any] = {"modelId": model, "toolConfig": tools, "messages": messages}
    whole = await asyncio.to_thread(client.converse, **ask)
    call = whole["output"]["message"]["content"][0]["toolUse"]
    assert whole["stopReason"] == "tool_use"
    assert call["input"] == ARGUMENTS

    def fold() -> tuple[list[str], str]:
        events = list(client.converse_stream(**ask)["stream"])
        deltas = [
            event["contentBlockDelta"]["delta"]["toolUse"]["input"] for event in events if "contentBlockDelta" in event
        ]
        return [next(iter(event)) for event in events], "".join(deltas)

    names, arguments = await asyncio.to_thread(fold)
    assert arguments == '{"city":"Berlin","days":3}'
    assert names[0] == "messageStart"
    assert names[-2:] == ["messageStop", "metadata"]
    messages.append(whole["output"]["message"])
    result = {"toolUseId": call["toolUseId"], "content": [{"text": "rain"}]}
    messages.append({"role": "user", "content": [{"toolResult": result}]})
    second = await asyncio.to_thread(client.converse, **ask)
    assert 'get_weather said "rain"' in second["output"]["message"]["content"][0]["text"]


async def test_bedrock_errors_keep_their_type(bedrock: Any, http: Any) -> None:
    client = bedrock
    ask: dict[str, Any] = {
        "modelId": "amazon.nova-pro-v1:0",
        "messages": [{"role": "user", "content": [{"text": "x"}]}],
    }
    await http.post("/_control", json={"provider": "bedrock", "faults": {"kind": "status", "status": 429}})
    with pytest.raises(ClientError) as caught:
        await asyncio.to_thread(client.converse, **ask)
    assert caught.value.response["Error"]["Code"] == "ThrottlingException"
    fault = {"kind": "in_band_error", "status": 500, "after_tokens": 2}
    await http.post("/_control", json={"provider": "bedrock", "faults": fault})

    def fold() -> None:
        for _ in client.converse_stream(**ask)["stream"]:
            pass

    with pytest.raises(ClientError) as late:
        await asyncio.to_thread(fold)
    assert late.value.response["Error"]["Code"] == "internalServerException"
