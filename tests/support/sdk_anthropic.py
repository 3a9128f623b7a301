"""The official Anthropic client as a caller of `POST /v1/messages`."""

from __future__ import annotations

from typing import Any

import anthropic

from support.sdk_answers import PIXEL_TEXT, RESULTS, SCHEMA, TOOLS, Failed, Question, Told, ToolUse

_FINISH = {"end_turn": "stop", "tool_use": "tool_calls"}


class MessagesCaller:
    """Messages, whole and streamed."""

    def __init__(self, url: str) -> None:
        self._client = anthropic.Anthropic(base_url=url, api_key="anything", max_retries=0, timeout=30)

    def close(self) -> None:
        self._client.close()

    def ask(self, question: Question) -> Told:
        content: Any = question.prompt
        if question.image:
            source = {"type": "base64", "media_type": "image/png", "data": PIXEL_TEXT}
            content = [{"type": "image", "source": source}, {"type": "text", "text": question.prompt}]
        return self._send(question, [{"role": "user", "content": content}])[0]

    def use_tools(self, question: Question) -> tuple[Told, Told]:
        tools = [{"name": name, "input_schema": SCHEMA} for name in TOOLS]
        turns: list[Any] = [{"role": "user", "content": question.prompt}]
        first, content = self._send(question, turns, tools=tools)
        results = [
            {"type": "tool_result", "tool_use_id": call.id, "content": RESULTS[call.name]} for call in first.calls
        ]
        turns += [{"role": "assistant", "content": content}, {"role": "user", "content": results}]
        return first, self._send(question, turns, tools=tools)[0]

    def fail(self, question: Question) -> Failed:
        try:
            told = self.ask(question)
        except anthropic.APIError as error:
            return Failed(type(error).__name__, getattr(error, "status_code", None), error.message)
        raise AssertionError(f"no error: {told}")

    def _send(self, question: Question, messages: list[Any], **more: Any) -> tuple[Told, Any]:
        ask: dict[str, Any] = {"model": question.model, "messages": messages, "max_tokens": 4096, **more}
        if question.schema:
            ask["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
        if question.reasoning:
            ask["thinking"] = {"type": "enabled", "budget_tokens": 2048}
        pieces = 1
        if question.stream:
            with self._client.messages.stream(**ask) as stream:
                pieces = sum(event.type == "text" for event in stream)
                answer = stream.get_final_message()
        else:
            answer = self._client.messages.create(**ask)
        blocks = answer.content
        told = Told(
            text="".join(block.text for block in blocks if block.type == "text"),
            reasoning="".join(block.thinking for block in blocks if block.type == "thinking"),
            calls=tuple(ToolUse(block.name, block.input, block.id) for block in blocks if block.type == "tool_use"),
            finish=_FINISH.get(str(answer.stop_reason), answer.stop_reason),
            input_tokens=answer.usage.input_tokens, output_tokens=answer.usage.output_tokens, pieces=pieces,
        )  # fmt: skip
        return told, [block.model_dump(exclude_none=True, exclude={"parsed_output"}) for block in blocks]
