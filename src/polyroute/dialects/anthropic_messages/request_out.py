"""Canonical request → the body of `POST /v1/messages`."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.anthropic_messages.content_out import BlockWriter, plain_content, render_cache
from polyroute.dialects.anthropic_messages.models import behaviour_of
from polyroute.dialects.anthropic_messages.schemas import close_schema
from polyroute.dialects.anthropic_messages.thinking_out import Thinking, render_thinking
from polyroute.dialects.anthropic_messages.turns_out import RenderedTurns, render_turns
from polyroute.types.chat import ChatRequest, HostedTool, ModelProfile, Rendered, Tool, ToolChoice
from polyroute.types.operations import Dialect

_A = Dialect.ANTHROPIC_MESSAGES
_DEFAULT_OUTPUT = 8192
"""max_tokens for a model of which nothing is known: large enough for agents, small enough for most servers."""
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
_TIERS = {"auto": "auto", "standard_only": "standard_only", "default": "standard_only", "standard": "standard_only"}


def render_request(request: ChatRequest, profile: ModelProfile) -> Rendered:
    """Raises PolyrouteError (`unsupported`) for content that this API cannot take."""
    return _RequestWriter(request, profile).render()


class _RequestWriter:
    """One request on its way out, with what is lost and changed on it."""

    def __init__(self, request: ChatRequest, profile: ModelProfile) -> None:
        self._dropped: list[str] = []
        self._request = self._without_refused(request, profile)
        self._profile = profile
        self._behaviour = behaviour_of(profile.model)
        self._blocks = BlockWriter()

    def render(self) -> Rendered:
        """The whole body."""
        request, behaviour = self._request, self._behaviour
        max_tokens = self._max_tokens()
        wishes_thinking = request.reasoning is not None and request.reasoning.enabled is not False
        prefill = behaviour.prefill and not wishes_thinking and "prefill" not in self._profile.refuses
        turns = render_turns(request.messages, behaviour, self._blocks, prefill=prefill)
        self._dropped += turns.dropped
        thinking = render_thinking(request.reasoning, behaviour, max_tokens=max_tokens, loop_thinks=turns.loop_thinks)
        system = list(turns.system)
        tools = self._tools(turns)
        choice, thinking = self._choice(tools, turns, thinking, system)
        self._blocks.notes += thinking.notes
        if thinking.lost:
            self._drop("reasoning")
        config = self._output_config(thinking, system)
        body: dict[str, Any] = {"model": request.model, "max_tokens": max_tokens}
        if request.stream:
            body["stream"] = True
        body |= {
            name: value
            for name, value in (
                ("system", plain_content(system) if system else None),
                ("tools", tools or None),
                ("tool_choice", choice),
                ("thinking", thinking.thinking),
                ("output_config", config or None),
                ("stop_sequences", self._stop()),
                ("metadata", None if request.user is None else {"user_id": request.user}),
                ("service_tier", self._tier()),
            )
            if value is not None
        }
        body |= self._sampling(thinks=thinking.on)
        body["messages"] = turns.messages
        self._add_extra(body)
        self._drop_inexpressible()
        return Rendered(body, tuple(dict.fromkeys(self._dropped)), tuple(dict.fromkeys(self._blocks.notes)))

    def _drop(self, name: str) -> None:
        self._dropped.append(name)

    def _without_refused(self, request: ChatRequest, profile: ModelProfile) -> ChatRequest:
        refused = [
            name
            for name in sorted(profile.refuses)
            if name in ChatRequest.__struct_fields__ and name not in ("model", "messages", "extra", "stream")
        ]
        changes: dict[str, Any] = {}
        for name in refused:
            value = getattr(request, name)
            if value not in (None, ()):
                changes[name] = () if isinstance(value, tuple) else None
                self._drop(name)
        return msgspec.structs.replace(request, **changes)

    def _max_tokens(self) -> int:
        limit = self._profile.max_output or self._behaviour.max_output
        given = self._request.max_tokens
        if given is None:
            chosen = limit or _DEFAULT_OUTPUT
            self._blocks.note(f"max_tokens set to {chosen}, which this API requires")
            return chosen
        if limit is not None and given > limit:
            self._blocks.note(f"max_tokens {given} lowered to the model's {limit}")
            return limit
        return given

    # ---------------------------------------------------------------- tools

    def _tools(self, turns: RenderedTurns) -> list[dict[str, Any]]:
        choice = self._request.tool_choice
        wanted = set(choice.names) if choice is not None and choice.mode != "tool" else set()
        own = self._request.extra.get(_A.value, {}).get("tool_fields")
        fields = own if isinstance(own, dict) else {}
        tools: list[dict[str, Any]] = []
        for tool in self._request.tools:
            if isinstance(tool, HostedTool):
                if tool.dialect is _A:
                    tools.append(tool.definition)
                else:
                    self._drop(f"tools.{tool.definition.get('type') or next(iter(tool.definition), 'hosted')}")
            elif wanted and tool.name not in wanted:
                self._blocks.note(f"tool {tool.name} left out: tool_choice allows others only")
            else:
                tools.append({**self._tool(tool), **fields.get(tool.name, {})})
        if not tools and turns.called:
            tools = [{"name": name, "input_schema": _NO_PARAMETERS} for name in turns.called]
            self._blocks.note("the tools that the conversation called were declared, with tool choice none")
        return tools

    def _tool(self, tool: Tool) -> dict[str, Any]:
        rendered: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            rendered["description"] = tool.description
        if tool.custom:
            parameters: dict[str, Any] = {
                "type": "object",
                "properties": {"input": {"type": "string"}},
                "required": ["input"],
            }
            if tool.format:
                grammar = msgspec.json.encode(tool.format).decode()
                rendered["description"] = f"{tool.description or ''}\nThe input follows this format: {grammar}".strip()
            self._blocks.note(f"free-form tool {tool.name} sent as a function with one string, input")
        else:
            parameters = tool.parameters or _NO_PARAMETERS
            if "type" not in parameters:
                parameters = {"type": "object", **parameters}
        if tool.strict and self._behaviour.structured:
            closed = close_schema(parameters) if parameters is not _NO_PARAMETERS else parameters
            if closed is None:
                self._blocks.note(f"tool {tool.name} is not strict here: its schema is open or recursive")
                self._drop(f"tools.{tool.name}.strict")
            else:
                parameters = closed
                rendered["strict"] = True
        elif tool.strict:
            self._drop(f"tools.{tool.name}.strict")
        elif tool.strict is False:
            rendered["strict"] = False
        rendered["input_schema"] = parameters
        if tool.cache is not None:
            rendered["cache_control"] = render_cache(tool.cache)
        return rendered

    def _choice(
        self, tools: list[dict[str, Any]], turns: RenderedTurns, thinking: Thinking, system: list[dict[str, Any]]
    ) -> tuple[dict[str, Any] | None, Thinking]:
        request = self._request
        choice = request.tool_choice
        if not tools:
            if choice is not None and choice.mode in ("required", "tool"):
                self._drop("tool_choice")
            return None, thinking
        if not request.tools and turns.called:
            return {"type": "none"}, thinking
        if (
            choice is not None
            and choice.mode in ("required", "tool")
            and (thinking.on or not self._behaviour.forced_tools)
        ):
            if self._behaviour.forced_tools and self._behaviour.thinking_off:
                words = "thinking is off for this request: it excludes a forced tool"
                thinking = Thinking(thinking={"type": "disabled"}, lost=True, notes=(words,))
            else:
                system.append(_text(_demand(choice)))
                self._blocks.note("tool_choice sent as an instruction: the model refuses to be forced")
                self._drop("tool_choice")
                choice = ToolChoice(mode="auto")
        rendered: dict[str, Any] | None = None
        match None if choice is None else choice.mode:
            case "auto":
                rendered = {"type": "auto"}
            case "required":
                rendered = {"type": "any"}
            case "none":
                return {"type": "none"}, thinking
            case "tool" if choice is not None:
                rendered = {"type": "tool", "name": choice.names[0]}
            case _:
                pass
        if request.parallel_tool_calls is False:
            rendered = (rendered or {"type": "auto"}) | {"disable_parallel_tool_use": True}
        elif request.parallel_tool_calls and rendered is not None:
            rendered["disable_parallel_tool_use"] = False
        return rendered, thinking

    # ---------------------------------------------------------------- the rest

    def _output_config(self, thinking: Thinking, system: list[dict[str, Any]]) -> dict[str, Any]:
        config: dict[str, Any] = {} if thinking.effort is None else {"effort": thinking.effort}
        form = self._request.output_format
        if form is None:
            return config
        if form.kind == "json_object" or form.schema is None:
            system.append(
                _text("Respond with a single valid JSON object only, without Markdown and without other text.")
            )
            self._blocks.note("JSON mode sent as an instruction")
            self._drop("output_format")
            return config
        closed = close_schema(form.schema) if self._behaviour.structured else None
        if closed is not None:
            if closed != form.schema:
                self._blocks.note("objects of the output schema closed (additionalProperties: false)")
            return config | {"format": {"type": "json_schema", "schema": closed}}
        schema = msgspec.json.encode(form.schema).decode()
        system.append(
            _text(
                "Respond with a single JSON value only, without Markdown and without other text, that is valid against"
                f" this JSON Schema:\n{schema}"
            )
        )
        self._blocks.note("the output schema was sent as an instruction: the model or the API does not take it")
        self._drop("output_format")
        return config

    def _stop(self) -> list[str] | None:
        kept = [text for text in self._request.stop if text.strip()]
        if len(kept) < len(self._request.stop):
            self._drop("stop")
            self._blocks.note("stop sequences of white space removed")
        return kept or None

    def _tier(self) -> str | None:
        tier = self._request.service_tier
        if tier is None:
            return None
        if tier not in _TIERS:
            self._drop("service_tier")
        elif _TIERS[tier] != tier:
            self._blocks.note(f"service_tier {tier} sent as {_TIERS[tier]}")
        return _TIERS.get(tier)

    def _sampling(self, *, thinks: bool) -> dict[str, float]:
        request, behaviour = self._request, self._behaviour
        temperature = request.temperature
        if temperature is not None and temperature > 1:
            self._blocks.note(f"temperature {temperature:g} lowered to 1")
            temperature = 1.0
        given: dict[str, float | None] = {"temperature": temperature, "top_p": request.top_p, "top_k": request.top_k}
        wanted = {name: value for name, value in given.items() if value is not None}
        if thinks or not behaviour.sampling:
            for name, value in wanted.items():
                if name == "top_k" or value != 1:
                    self._drop(name)
            return {}
        if not behaviour.sampling_pair and "temperature" in wanted and wanted.pop("top_p", 1) != 1:
            self._drop("top_p")
            self._blocks.note("top_p removed: the model takes temperature or top_p, not both")
        return wanted

    def _add_extra(self, body: dict[str, Any]) -> None:
        for dialect, fields in self._request.extra.items():
            if dialect != _A.value:
                self._dropped += fields
                continue
            for name, value in fields.items():
                if name == "output_config" and isinstance(value, dict):
                    body[name] = {**value, **body.get(name, {})}
                elif name == "thinking" and not self._blocks_between_tools(value):
                    continue
                elif name != "tool_fields":
                    body[name] = value

    def _blocks_between_tools(self, thinking: Any) -> bool:
        """Whether the caller's own `thinking` object may be sent: `between_tools` is known by one model only."""
        return (
            not isinstance(thinking, dict)
            or thinking.get("type") != "between_tools"
            or ("sonnet-5-5" in self._profile.model.lower().replace(".", "-"))
        )

    def _drop_inexpressible(self) -> None:
        request = self._request
        for name, lost in (
            ("n", (request.n or 1) > 1),
            ("seed", request.seed is not None),
            ("frequency_penalty", bool(request.frequency_penalty)),
            ("presence_penalty", bool(request.presence_penalty)),
            ("logit_bias", bool(request.logit_bias)),
            ("logprobs", bool(request.logprobs)),
            ("top_logprobs", bool(request.top_logprobs)),
            ("metadata", bool(request.metadata)),
            ("store", bool(request.store)),
        ):
            if lost:
                self._drop(name)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _demand(choice: ToolChoice) -> str:
    if choice.mode == "tool":
        return f"You must call the tool {choice.names[0]} now, before any other answer."
    return "You must call one of the tools now, before any other answer."
