"""Vapi's side of its custom-LLM contract, over plain HTTP: always streamed, with objects of its own in the body."""

from __future__ import annotations

import json
from typing import Any

import httpx

from support.sdk_answers import RESULTS, SCHEMA, TOOLS, Failed, Question, Told, ToolUse

PATH = "/vapi/chat/completions"
OWN_FIELDS: dict[str, Any] = {
    "call": {"id": "call-1", "type": "webCall"},
    "phoneNumber": {"number": "+49301234567"},
    "customer": {"number": "+49307654321"},
    "metadata": {"assistant": "front desk"},
}


class VapiCaller:
    """`POST /vapi/chat/completions` as Vapi sends it."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def ask(self, question: Question) -> Told:
        return self._send(question, [{"role": "user", "content": question.prompt}])

    def use_tools(self, question: Question) -> tuple[Told, Told]:
        tools = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in TOOLS]
        turns: list[Any] = [{"role": "user", "content": question.prompt}]
        first = self._send(question, turns, tools=tools)
        made = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
            }
            for call in first.calls
        ]
        turns.append({"role": "assistant", "content": "", "tool_calls": made})
        turns += [{"role": "tool", "tool_call_id": call.id, "content": RESULTS[call.name]} for call in first.calls]
        return first, self._send(question, turns, tools=tools)

    def fail(self, question: Question) -> Failed:
        try:
            told = self.ask(question)
        except _Refused as refused:
            return refused.failed
        raise AssertionError(f"no error: {told}")

    def _send(self, question: Question, messages: list[Any], **more: Any) -> Told:
        body = {"model": question.model, "messages": messages, "stream": True, "temperature": 0.5, **OWN_FIELDS, **more}
        answer = self._client.post(PATH, json=body)
        if answer.status_code != 200:
            error = answer.json()["error"]
            raise _Refused(Failed(error["type"], answer.status_code, error["message"]))
        assert answer.headers["content-type"].startswith("text/event-stream")
        data = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
        chunks = [json.loads(line) for line in data if line != "[DONE]"]
        for chunk in chunks:
            if "error" in chunk:
                raise _Refused(Failed(chunk["error"]["type"], None, chunk["error"]["message"]))
        assert data[-1] == "[DONE]"
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        said = [choice["delta"]["content"] for choice in choices if choice["delta"].get("content")]
        made: dict[int, dict[str, str]] = {}
        for choice in choices:
            for call in choice["delta"].get("tool_calls") or ():
                slot = made.setdefault(call["index"], {"id": "", "name": "", "arguments": ""})
                slot["id"] = slot["id"] or call.get("id", "")
                slot["name"] = slot["name"] or call["function"].get("name", "")
                slot["arguments"] += call["function"].get("arguments", "")
        return Told(
            text="".join(said),
            calls=tuple(ToolUse(call["name"], json.loads(call["arguments"]), call["id"]) for call in made.values()),
            finish=[choice["finish_reason"] for choice in choices if choice["finish_reason"]][-1],
            pieces=len(said),
        )


class _Refused(Exception):
    def __init__(self, failed: Failed) -> None:
        self.failed = failed
        super().__init__(failed.message)
