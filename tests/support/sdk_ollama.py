"""The official Ollama client as a caller of `/api/chat` and `/api/generate`."""

from __future__ import annotations

from typing import Any

import ollama

from support.sdk_answers import PIXEL, RESULTS, SCHEMA, TOOLS, Failed, Question, Told, ToolUse


class _Ollama:
    def __init__(self, url: str) -> None:
        self._client = ollama.Client(host=url, timeout=30, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def ask(self, question: Question) -> Told:
        raise AssertionError("each path asks in its own way")

    def fail(self, question: Question) -> Failed:
        """Ollama's exception; one inside a stream has status -1."""
        try:
            told = self.ask(question)
        except ollama.ResponseError as error:
            return Failed(type(error).__name__, None if error.status_code < 0 else error.status_code, error.error)
        raise AssertionError(f"no error: {told}")


class OllamaChatCaller(_Ollama):
    """`POST /api/chat`."""

    def ask(self, question: Question) -> Told:
        message: dict[str, Any] = {"role": "user", "content": question.prompt}
        if question.image:
            message["images"] = [PIXEL]
        return self._send(question, [message])[0]

    def use_tools(self, question: Question) -> tuple[Told, Told]:
        tools = [
            {"type": "function", "function": {"name": name, "description": name, "parameters": SCHEMA}}
            for name in TOOLS
        ]
        turns: list[Any] = [{"role": "user", "content": question.prompt}]
        first, message = self._send(question, turns, tools=tools)
        turns.append(message)
        turns += [{"role": "tool", "tool_name": call.name, "content": RESULTS[call.name]} for call in first.calls]
        return first, self._send(question, turns, tools=tools)[0]

    def _send(self, question: Question, messages: list[Any], **more: Any) -> tuple[Told, Any]:
        ask: dict[str, Any] = {"model": question.model, "messages": messages, **_settings(question), **more}
        chunks: list[Any] = (
            list(self._client.chat(stream=True, **ask)) if question.stream else [self._client.chat(stream=False, **ask)]
        )
        said = [chunk.message.content for chunk in chunks if chunk.message.content]
        made = [call for chunk in chunks for call in chunk.message.tool_calls or ()]
        calls = tuple(ToolUse(call.function.name, dict(call.function.arguments)) for call in made)
        thought = "".join(chunk.message.thinking or "" for chunk in chunks)
        message = ollama.Message(
            role="assistant", content="".join(said), thinking=thought or None, tool_calls=made or None
        )
        return _told(chunks, said, thought, calls), message


class OllamaGenerateCaller(_Ollama):
    """`POST /api/generate`."""

    def ask(self, question: Question) -> Told:
        ask: dict[str, Any] = {"model": question.model, "prompt": question.prompt, **_settings(question)}
        if question.image:
            ask["images"] = [PIXEL]
        chunks: list[Any] = (
            list(self._client.generate(stream=True, **ask))
            if question.stream
            else [self._client.generate(stream=False, **ask)]
        )
        said = [chunk.response for chunk in chunks if chunk.response]
        return _told(chunks, said, "".join(chunk.thinking or "" for chunk in chunks), ())

    def use_tools(self, question: Question) -> tuple[Told, Told]:
        raise AssertionError("/api/generate has no tools")


def _settings(question: Question) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    if question.schema:
        settings["format"] = SCHEMA
    if question.reasoning:
        settings["think"] = True
    return settings


def _told(chunks: list[Any], said: list[str], thought: str, calls: tuple[ToolUse, ...]) -> Told:
    last = chunks[-1]
    assert last.done
    assert [chunk.done for chunk in chunks].count(True) == 1
    assert last.done_reason == "stop"
    return Told(
        text="".join(said), reasoning=thought, calls=calls, finish="tool_calls" if calls else "stop",
        input_tokens=last.prompt_eval_count, output_tokens=last.eval_count, pieces=len(said),
    )  # fmt: skip
