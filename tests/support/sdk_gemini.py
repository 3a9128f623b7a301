"""The official Google Gen AI client as a caller of `:generateContent` and `:streamGenerateContent`."""

from __future__ import annotations

from typing import Any

from google import genai
from google.genai import errors, types

from support.sdk_answers import PIXEL, RESULTS, SCHEMA, TOOLS, Failed, Question, Told, ToolUse


class GeminiCaller:
    """Gemini's own dialect; a stream is asked for as events (`alt=sse`), which is what the client does."""

    def __init__(self, url: str) -> None:
        self._client = genai.Client(api_key="anything", http_options=types.HttpOptions(base_url=url, timeout=30_000))

    def close(self) -> None:
        self._client.close()

    def ask(self, question: Question) -> Told:
        parts = [types.Part.from_text(text=question.prompt)]
        if question.image:
            parts.append(types.Part.from_bytes(data=PIXEL, mime_type="image/png"))
        return self._send(question, [types.Content(role="user", parts=parts)])[0]

    def use_tools(self, question: Question) -> tuple[Told, Told]:
        declared = [types.FunctionDeclaration(name=name, parameters_json_schema=SCHEMA) for name in TOOLS]
        turns = [types.Content(role="user", parts=[types.Part.from_text(text=question.prompt)])]
        tools = [types.Tool(function_declarations=declared)]
        first, content = self._send(question, turns, tools=tools)
        results = [types.Part(function_response=_response(call)) for call in first.calls]
        turns += [content, types.Content(role="user", parts=results)]
        return first, self._send(question, turns, tools=tools)[0]

    def fail(self, question: Question) -> Failed:
        try:
            told = self.ask(question)
        except errors.APIError as error:
            return Failed(type(error).__name__, error.code, str(error.message))
        raise AssertionError(f"no error: {told}")

    def _send(self, question: Question, contents: list[Any], **more: Any) -> tuple[Told, types.Content]:
        if question.schema:
            more |= {"response_mime_type": "application/json", "response_json_schema": SCHEMA}
        if question.reasoning:
            more["thinking_config"] = types.ThinkingConfig(include_thoughts=True, thinking_budget=2048)
        config = types.GenerateContentConfig(
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True), **more
        )
        ask: dict[str, Any] = {"model": question.model, "contents": contents, "config": config}
        models = self._client.models
        chunks = list(models.generate_content_stream(**ask)) if question.stream else [models.generate_content(**ask)]
        found = [chunk.candidates[0] for chunk in chunks if chunk.candidates]
        parts = [part for candidate in found if candidate.content for part in candidate.content.parts or ()]
        said = [part.text for part in parts if part.text and not part.thought]
        calls = tuple(
            ToolUse(str(part.function_call.name), part.function_call.args, part.function_call.id)
            for part in parts
            if part.function_call
        )
        finish = [candidate.finish_reason for candidate in found if candidate.finish_reason]
        assert finish == [types.FinishReason.STOP], "a finish reason stands once, in the last chunk"
        usage = chunks[-1].usage_metadata
        assert usage is not None
        told = Told(
            text="".join(said), reasoning="".join(part.text or "" for part in parts if part.thought), calls=calls,
            finish="tool_calls" if calls else "stop", input_tokens=usage.prompt_token_count,
            output_tokens=(usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
            pieces=len(said) if question.stream else 1,
        )  # fmt: skip
        return told, types.Content(role="model", parts=parts)


def _response(call: ToolUse) -> types.FunctionResponse:
    return types.FunctionResponse(id=call.id, name=call.name, response={"output": RESULTS[call.name]})
