"""Canonical request → the body of `generateContent` and `streamGenerateContent` (model and stream go into the URL)."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.gemini.content_out import ContentWriter
from polyroute.dialects.gemini.families import Family, family_of
from polyroute.dialects.gemini.schemas import to_openapi
from polyroute.types.chat import ChatRequest, HostedTool, ModelProfile, Reasoning, Rendered, Tool, ToolChoice
from polyroute.types.operations import Dialect

_G = Dialect.GEMINI
_BUDGETS = {"minimal": 512, "low": 1024, "medium": 8192, "high": 24_576, "xhigh": 24_576, "max": 32_768}
_MOST_STOPS = 5
_TIERS = {"default": "standard", "standard_only": "standard"}
_LEVELS = ("MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH")


def render_request(request: ChatRequest, profile: ModelProfile) -> Rendered:
    """The body, without `model` and `stream`."""
    return _RequestWriter(request, profile).render()


class _RequestWriter:
    def __init__(self, request: ChatRequest, profile: ModelProfile) -> None:
        self._dropped: list[str] = []
        self._request = request
        self._profile = profile
        self._family: Family = family_of(profile.model)
        self._writer = ContentWriter(self._family)

    def render(self) -> Rendered:
        """The whole body."""
        request = self._request
        if any(message.name for message in request.messages):
            self._drop("messages.name")
        system, contents = self._writer.contents(request.messages)
        tools = self._tools()
        body: dict[str, Any] = {"contents": contents}
        if system:
            body["systemInstruction"] = {"parts": system}
        if tools:
            body["tools"] = tools
        if calling := self._calling():
            body["toolConfig"] = {"functionCallingConfig": calling}
        if config := self._config():
            body["generationConfig"] = config
        if request.service_tier not in (None, "auto"):
            body["serviceTier"] = _TIERS.get(request.service_tier or "", request.service_tier)
        self._add_extra(body)
        self._drop_inexpressible()
        return Rendered(body, tuple(dict.fromkeys(self._dropped)), tuple(self._writer.notes))

    def _drop(self, name: str) -> None:
        self._dropped.append(name)

    # ---------------------------------------------------------------- tools

    def _tools(self) -> list[dict[str, Any]]:
        own = self._request.extra.get(_G.value, {}).get("tool_fields")
        fields = own if isinstance(own, dict) else {}
        declarations: list[dict[str, Any]] = []
        hosted: list[dict[str, Any]] = []
        for tool in self._request.tools:
            if isinstance(tool, Tool):
                declarations.append({**self._declaration(tool), **fields.get(tool.name, {})})
            elif tool.dialect is _G:
                hosted.append(tool.definition)
            else:
                self._drop(f"tools.{_name_of(tool)}")
        return ([{"functionDeclarations": declarations}] if declarations else []) + hosted

    def _declaration(self, tool: Tool) -> dict[str, Any]:
        declaration: dict[str, Any] = {"name": tool.name}
        description, parameters = tool.description, tool.parameters
        if tool.custom:
            parameters = {"type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}
            if tool.format:
                grammar = msgspec.json.encode(tool.format).decode()
                description = f"{description or ''}\nThe input follows this format: {grammar}".strip()
            self._writer.note(f"free-form tool {tool.name} sent as a function with one string, input")
        if description is not None:
            declaration["description"] = description
        if parameters is not None and self._family.json_schema:
            declaration["parametersJsonSchema"] = parameters
        elif parameters is not None and parameters.get("properties"):
            declaration["parameters"] = to_openapi(parameters)
        if tool.strict:
            self._drop(f"tools.{tool.name}.strict")
        if tool.cache is not None:
            self._writer.note("cache marks removed: this API caches by itself")
        return declaration

    def _calling(self) -> dict[str, Any]:
        choice = self._request.tool_choice
        if choice is None or not any(isinstance(tool, Tool) for tool in self._request.tools):
            if choice is not None and choice.mode in ("required", "tool"):
                self._drop("tool_choice")
            return {}
        return _render_choice(choice)

    # ---------------------------------------------------------------- generationConfig

    def _config(self) -> dict[str, Any]:
        request = self._request
        stop = list(request.stop)
        if len(stop) > _MOST_STOPS:
            stop = stop[:_MOST_STOPS]
            self._drop("stop")
            self._writer.note("only the first five stop sequences were sent")
        given: dict[str, tuple[str, Any]] = {
            "maxOutputTokens": ("max_tokens", request.max_tokens),
            "temperature": ("temperature", request.temperature),
            "topP": ("top_p", request.top_p),
            "topK": ("top_k", request.top_k),
            "stopSequences": ("stop", stop or None),
            "candidateCount": ("n", request.n),
            "seed": ("seed", request.seed),
            "presencePenalty": ("presence_penalty", request.presence_penalty),
            "frequencyPenalty": ("frequency_penalty", request.frequency_penalty),
            "responseLogprobs": ("logprobs", request.logprobs),
            "logprobs": ("top_logprobs", request.top_logprobs),
        }
        config: dict[str, Any] = {}
        for field, (name, value) in given.items():
            if value is not None and name in self._profile.refuses:
                self._drop(name)
            elif value is not None:
                config[field] = value
        config |= self._output()
        if thinking := self._thinking():
            config["thinkingConfig"] = thinking
        return config

    def _output(self) -> dict[str, Any]:
        form = self._request.output_format
        if form is None:
            return {}
        config: dict[str, Any] = {"responseMimeType": "application/json"}
        if form.kind == "json_schema" and form.schema is not None:
            if self._family.json_schema:
                config["responseJsonSchema"] = form.schema
            else:
                config["responseSchema"] = to_openapi(form.schema)
        return config

    def _thinking(self) -> dict[str, Any]:
        wish, family = self._request.reasoning, self._family
        if wish is None:
            return {}
        off = wish.enabled is False or wish.effort == "none"
        if family.thinking == "none" or "reasoning" in self._profile.refuses:
            if not off:
                self._drop("reasoning")
            return {}
        config: dict[str, Any] = {} if off or wish.summary == "omitted" else {"includeThoughts": True}
        return config | (self._budget(wish, off=off) if family.thinking == "budget" else self._level(wish, off=off))

    def _budget(self, wish: Reasoning, *, off: bool) -> dict[str, Any]:
        family = self._family
        if off:
            if family.least_budget:
                self._writer.note(f"thinking cannot be switched off on this model: budget {family.least_budget}")
            return {"thinkingBudget": family.least_budget}
        if wish.budget is None and wish.effort is None:
            return {"thinkingBudget": -1} if wish.adaptive else {}
        asked = wish.budget if wish.budget is not None else _BUDGETS.get(wish.effort or "", _BUDGETS["medium"])
        budget = min(max(asked, family.smallest_budget), family.most_budget)
        if wish.budget is None:
            self._writer.note(f"reasoning effort {wish.effort} sent as a budget of {budget} tokens")
        elif budget != asked:
            self._writer.note(f"reasoning budget of {asked} tokens sent as {budget}")
        return {"thinkingBudget": budget}

    def _level(self, wish: Reasoning, *, off: bool) -> dict[str, Any]:
        levels = self._family.levels
        if off:
            self._writer.note(f"thinking cannot be switched off on this model: level {levels[0]}")
            return {"thinkingLevel": levels[0]}
        if wish.effort is not None:
            wanted = {"max": "XHIGH"}.get(wish.effort, wish.effort.upper())
            said = f"reasoning effort {wish.effort}"
        elif wish.budget is not None:
            wanted = "LOW" if wish.budget <= 1024 else "MEDIUM" if wish.budget <= 8192 else "HIGH"
            said = f"reasoning budget of {wish.budget} tokens"
        else:
            return {}
        level = _nearest(wanted, levels)
        if level.lower() != wish.effort:
            self._writer.note(f"{said} sent as level {level}")
        return {"thinkingLevel": level}

    # ---------------------------------------------------------------- the rest

    def _add_extra(self, body: dict[str, Any]) -> None:
        for dialect, fields in self._request.extra.items():
            if dialect != _G.value:
                self._dropped += fields
                continue
            for name, value in fields.items():
                if name == "tool_fields":
                    continue
                body[name] = _merged(body.get(name), value)

    def _drop_inexpressible(self) -> None:
        request = self._request
        marked = any(part.cache is not None for message in request.messages for part in message.parts)
        if marked:
            self._writer.note("cache marks removed: this API caches by itself")
        for name, lost in (
            ("parallel_tool_calls", request.parallel_tool_calls is False and bool(request.tools)),
            ("logit_bias", bool(request.logit_bias)),
            ("user", request.user is not None),
            ("metadata", bool(request.metadata)),
            ("store", bool(request.store)),
        ):
            if lost:
                self._drop(name)


def _render_choice(choice: ToolChoice) -> dict[str, Any]:
    match choice.mode:
        case "auto" if choice.names:
            return {"mode": "VALIDATED", "allowedFunctionNames": list(choice.names)}
        case "auto":
            return {"mode": "AUTO"}
        case "none":
            return {"mode": "NONE"}
        case _:
            names = {"allowedFunctionNames": list(choice.names)} if choice.names else {}
            return {"mode": "ANY", **names}


def _nearest(wanted: str, levels: tuple[str, ...]) -> str:
    """The wanted level, or the next higher one that the model has, or its highest."""
    if wanted in levels or wanted not in _LEVELS:
        return wanted
    at = _LEVELS.index(wanted)
    return next((level for level in _LEVELS[at:] if level in levels), levels[-1])


def _name_of(tool: HostedTool) -> str:
    kind = tool.definition.get("type")
    return kind if isinstance(kind, str) else next(iter(tool.definition), "hosted")


def _merged(ours: Any, given: Any) -> Any:
    """Objects are merged field by field; the caller's own field wins."""
    if isinstance(ours, dict) and isinstance(given, dict):
        return {**ours, **{name: _merged(ours.get(name), value) for name, value in given.items()}}
    return given
