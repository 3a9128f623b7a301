"""Agent loops: the same task of two dependent steps, by the frameworks that people build agents with, at every provider."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai.types import HttpOptions
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from pydantic_ai import Agent
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider

from support.gateway_process import GatewayProcess
from support.sdk_matrix import UPSTREAMS
from support.simulated_providers import SimulatedProviders

pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")

TASK = 'Step by step: use capital_of for "Vietnam", and population_of for that city.'
PEOPLE = "8 million people"
CAPITALS = {"Vietnam": 'It is "Hanoi".'}
POPULATIONS = {"Hanoi": PEOPLE}
"""The second step can only be done with what the first one said."""


class Desk:
    """The two tools, and what they were asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def capital_of(self, country: str) -> str:
        """The capital of a country."""
        self.asked.append(("capital_of", country))
        return CAPITALS[country]

    def population_of(self, city: str) -> str:
        """How many people live in a city."""
        self.asked.append(("population_of", city))
        return POPULATIONS[city]

    def check(self, answer: str) -> None:
        """The task is done, in two steps, in order."""
        assert self.asked == [("capital_of", "Vietnam"), ("population_of", "Hanoi")]
        assert "population_of said" in answer
        assert PEOPLE in answer


Close = Callable[[], Awaitable[object]]


def chat_model(url: str, name: str) -> tuple[Model, Close]:
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="anything", max_retries=0)
    return OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client)), client.close


def responses_model(url: str, name: str) -> tuple[Model, Close]:
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="anything", max_retries=0)
    return OpenAIResponsesModel(name, provider=OpenAIProvider(openai_client=client)), client.close


def anthropic_model(url: str, name: str) -> tuple[Model, Close]:
    client = anthropic.AsyncAnthropic(base_url=url, api_key="anything", max_retries=0)
    return AnthropicModel(name, provider=AnthropicProvider(anthropic_client=client)), client.close


def google_model(url: str, name: str) -> tuple[Model, Close]:
    client = genai.Client(api_key="anything", http_options=HttpOptions(base_url=url))

    async def close() -> None:
        await client.aio.aclose()
        client.close()

    return GoogleModel(name, provider=GoogleProvider(client=client)), close


MODELS = {"chat": chat_model, "responses": responses_model, "anthropic": anthropic_model, "google": google_model}


async def consume(_: Any, events: AsyncIterable[Any]) -> None:
    """A handler of events makes the agent stream."""
    async for _event in events:
        pass


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("kind", MODELS)
async def test_pydantic_ai_finishes_the_task(
    sandbox: SimulatedProviders, gateway: GatewayProcess, kind: str, stream: bool, upstream: str
) -> None:
    served = UPSTREAMS[upstream]
    model, close = MODELS[kind](gateway.url, f"{upstream}/{served.model}")
    desk = Desk()
    agent = Agent(model, tools=[desk.capital_of, desk.population_of])
    try:
        done = await agent.run(TASK, event_stream_handler=consume if stream else None)
    finally:
        await close()
    desk.check(done.output)
    assert len([row for row in sandbox.seen(served.simulated) if row["operation"] == "chat"]) == 3


@pytest.fixture(scope="module")
def connections() -> Iterator[httpx.Client]:
    """For LangChain, which otherwise keeps one of its own for ever."""
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("responses", [False, True], ids=["chat", "responses"])
def test_langchain_finishes_the_task(
    sandbox: SimulatedProviders, gateway: GatewayProcess, connections: httpx.Client, responses: bool, stream: bool,
    upstream: str,
) -> None:  # fmt: skip
    served = UPSTREAMS[upstream]
    desk = Desk()
    tools = {made.name: made for made in (tool(desk.capital_of), tool(desk.population_of))}
    plain = ChatOpenAI(
        model=f"{upstream}/{served.model}", base_url=f"{gateway.url}/v1", api_key=SecretStr("anything"), max_retries=0,
        stream_usage=True, use_responses_api=responses, http_client=connections,
    )  # fmt: skip
    model = plain.bind_tools(list(tools.values()))
    turns: list[Any] = [HumanMessage(TASK)]
    for _ in range(3):
        if stream:
            pieces = list(model.stream(turns))
            answer: Any = pieces[0]
            for piece in pieces[1:]:
                answer += piece
        else:
            answer = model.invoke(turns)
        turns.append(answer)
        for call in answer.tool_calls:
            turns.append(ToolMessage(tools[call["name"]].invoke(call["args"]), tool_call_id=call["id"]))
        if not answer.tool_calls:
            break
    desk.check(answer.text)
