"""The official OpenAI client as a caller: Chat Completions and Responses."""

from __future__ import annotations

import json
from typing import Any

import openai

from support.sdk_answers import PIXEL_URL, RESULTS, SCHEMA, TOOLS, Failed, Question, Told, ToolUse


class AnswerFailed(Exception):
    """The event `response.failed`, which the client hands on and leaves to its user."""

    def __init__(self, error: Any) -> None:
        self.message = f"{error.code}: {error.message}"
        super().__init__(self.message)


class _OpenAI:
    def __init__(self, url: str) -> None:
        self._client = openai.OpenAI(base_url=f"{url}/v1", api_key="anything", max_retries=0, timeout=30)

    def close(self) -> None:
        self._client.close()

    def ask(self, question: Question) -> Told:
        raise AssertionError("each path asks in its own way")

    def fail(self, question: Question) -> Failed:
        """OpenAI's exceptions; one inside a stream has no status."""
        try:
            told = self.ask(question)
        except openai.APIError as error:
            return Failed(type(error).__name__, getattr(error, "status_code", None), error.message)
        except AnswerFailed as error:
            return Failed(type(error).__name__, None, error.message)
        raise AssertionError(f"no error: {told}")


class ChatCaller(_OpenAI):
    """`POST /v1/chat/completions`."""

    def ask(self, question: Question) -> Told:
        return self._send(question, [{"role": "user", "content": _chat_content(question)}])[0]

    def use_tools(self, question: Question) -> tuple[Told, Told]:
        tools = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in TOOLS]
        turns: list[Any] = [{"role": "user", "content": question.prompt}]
        first, message = self._send(question, turns, tools=tools)
        turns.append(message)
        turns += [{"role": "tool", "tool_call_id": call.id, "content": RESULTS[call.name]} for call in first.calls]
        return first, self._send(question, turns, tools=tools)[0]

    def _send(self, question: Question, messages: list[Any], **more: Any) -> tuple[Told, Any]:
        if question.schema:
            form = {"name": "forecast", "schema": SCHEMA, "strict": True}
            more["response_format"] = {"type": "json_schema", "json_schema": form}
        if question.reasoning:
            more["reasoning_effort"] = "medium"
        pieces = 1
        answer: Any
        if question.stream:
            options = {"include_usage": True}
            ask = {"model": question.model, "messages": messages, "stream_options": options, **more}
            with self._client.chat.completions.stream(**ask) as stream:
                pieces = sum(event.type == "content.delta" for event in stream)
                answer = stream.get_final_completion()
        else:
            answer = self._client.chat.completions.create(model=question.model, messages=messages, **more)
        [choice] = answer.choices
        message = choice.message
        calls = tuple(
            ToolUse(call.function.name, json.loads(call.function.arguments), call.id)
            for call in message.tool_calls or ()
        )
        told = Told(
            text=message.content or "", reasoning=_reasoning(message), calls=calls,
            finish=choice.finish_reason, input_tokens=answer.usage.prompt_tokens,
            output_tokens=answer.usage.completion_tokens, pieces=pieces,
        )  # fmt: skip
        return told, message.model_dump(exclude_none=True, exclude={"parsed"})


def _reasoning(message: Any) -> str:
    """A field that OpenAI does not have; whose name is the provider's where its answer is relayed."""
    return getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None) or ""


def _chat_content(question: Question) -> Any:
    if not question.image:
        return question.prompt
    return [
        {"type": "text", "text": question.prompt},
        {"type": "image_url", "image_url": {"url": PIXEL_URL}},
    ]


class ResponsesCaller(_OpenAI):
    """`POST /v1/responses`, stateless: every turn is sent."""

    def ask(self, question: Question) -> Told:
        content: Any = [{"type": "input_text", "text": question.prompt}]
        if question.image:
            content.append({"type": "input_image", "image_url": PIXEL_URL, "detail": "auto"})
        return self._send(question, [{"role": "user", "content": content}])[0]

    def use_tools(self, question: Question) -> tuple[Told, Told]:
        tools = [{"type": "function", "name": name, "parameters": SCHEMA, "strict": True} for name in TOOLS]
        items: list[Any] = [{"role": "user", "content": question.prompt}]
        first, output = self._send(question, items, tools=tools)
        items += output
        items += [
            {"type": "function_call_output", "call_id": call.id, "output": RESULTS[call.name]} for call in first.calls
        ]
        return first, self._send(question, items, tools=tools)[0]

    def _send(self, question: Question, items: list[Any], **more: Any) -> tuple[Told, list[Any]]:
        if question.schema:
            more["text"] = {"format": {"type": "json_schema", "name": "forecast", "schema": SCHEMA, "strict": True}}
        if question.reasoning:
            more["reasoning"] = {"effort": "medium", "summary": "auto"}
        pieces = 1
        answer: Any
        if question.stream:
            with self._client.responses.stream(model=question.model, input=items, store=False, **more) as stream:
                for event in stream:
                    pieces += event.type == "response.output_text.delta"
                    if event.type == "response.failed":
                        raise AnswerFailed(event.response.error)
                answer = stream.get_final_response()
        else:
            answer = self._client.responses.create(model=question.model, input=items, store=False, **more)
        assert answer.status == "completed", answer
        calls = tuple(
            ToolUse(item.name, json.loads(item.arguments), item.call_id)
            for item in answer.output
            if item.type == "function_call"
        )
        thought = [
            part.text
            for item in answer.output
            if item.type == "reasoning"
            for part in [*item.summary, *(item.content or ())]
        ]
        told = Told(
            text=answer.output_text, reasoning="".join(thought), calls=calls,
            finish="tool_calls" if calls else "stop", input_tokens=answer.usage.input_tokens,
            output_tokens=answer.usage.output_tokens, pieces=pieces,
        )  # fmt: skip
        drop = {"parsed", "parsed_arguments"}
        output = [item.model_dump(exclude_none=True, exclude=drop) for item in answer.output]
        for item in output:
            for part in item.get("content", ()):
                part.pop("parsed", None)
        return told, output
