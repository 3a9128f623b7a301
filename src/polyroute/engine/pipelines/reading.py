"""A pipeline out of its declaration, checked as far as it can be without asking anybody; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from polyroute.engine.envelope import invalid
from polyroute.engine.jobs.requests import ALIASES
from polyroute.engine.pipelines.templates import Reference, TemplateError, templates_in
from polyroute.types.errors import PolyrouteError
from polyroute.types.media import OPERATION_OF_TASK, Task
from polyroute.types.operations import Operation
from polyroute.types.pipelines import Declared, Pipeline, Step

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_MOST_STEPS = 64
_PIPELINE_FIELDS = ("name", "description", "inputs", "steps", "output")
_STEP_FIELDS = frozenset({"id", "task", "chat", "model", "needs", "weight", "optional", "polyroute"})
CHAT_FIELDS = ("prompt", "system", "messages", "schema", "temperature", "max_tokens", "seed", "reasoning_effort")
"""What a chat step may say besides."""
_WEIGHTS = {
    Operation.IMAGE: 2.0, Operation.VIDEO: 6.0, Operation.SPEECH: 1.0, Operation.TRANSCRIPTION: 1.0,
    Operation.MUSIC: 2.0, Operation.COMPOSE: 3.0,
}  # fmt: skip
"""How long the kinds of work take beside each other, a chat being 1."""


def results_of(task: Task | None) -> tuple[str, ...]:
    """What templates can name of a step of this task."""
    if task is None:
        return ("text", "lines", "json")
    if task in (Task.TRANSCRIBE, Task.TRANSLATE):
        return ("text", "lines", "json", "artifacts")
    if task is Task.CLONE_VOICE:
        return ("voice",)
    return ("artifacts", "duration")


def read_pipeline(values: Mapping[str, Any]) -> Pipeline:
    """The pipeline of a declaration. Raises PolyrouteError(invalid_request) naming field, value and what is possible."""
    for name in values:
        if name not in _PIPELINE_FIELDS:
            raise invalid(f"'{name}' is no field of a pipeline; there are {', '.join(_PIPELINE_FIELDS)}.", name)
    name = values.get("name") or "pipeline"
    if not isinstance(name, str) or len(name) > 80:
        raise invalid("'name' must be a text of at most 80 characters.", "name")
    listed = values.get("steps")
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MOST_STEPS:
        raise invalid(f"'steps' is required: a list of 1 to {_MOST_STEPS} steps.", "steps")
    steps = tuple(_step(one, f"steps[{number}]") for number, one in enumerate(listed))
    inputs = _inputs(values.get("inputs"))
    _check_names(steps)
    steps = tuple(_joined(step, steps, inputs, f"steps[{number}]") for number, step in enumerate(steps))
    _check_order(steps)
    used = {part for step in steps for part in _used_inputs(step)}
    for unused in inputs.keys() - used:
        raise invalid(f"'inputs.{unused}' is used by no step; {{{{input.{unused}}}}} would be it.", f"inputs.{unused}")
    output = values.get("output") or steps[-1].id
    if output not in {step.id for step in steps}:
        raise invalid(f"'output': {str(output)[:80]!r} is no step; there are {_listed(steps)}.", "output")
    return Pipeline(name=name, inputs=inputs, steps=steps, output=output)


def read_input(pipeline: Pipeline, given: Any) -> dict[str, Any]:
    """What the caller gives, with defaults. Raises PolyrouteError(invalid_request)."""
    if given is None:
        given = {}
    if not isinstance(given, dict):
        raise invalid("'input' must be an object of what the pipeline takes.", "input")
    declared = pipeline.inputs
    for name, value in given.items():
        if name not in declared:
            raise invalid(
                f"'input.{name}' is not taken; this pipeline takes {', '.join(declared) or 'nothing'}.", f"input.{name}"
            )
        if not isinstance(value, str | int | float | bool):
            raise invalid(f"'input.{name}' must be a text, a number, true or false.", f"input.{name}")
    found: dict[str, Any] = {}
    for name, declaration in declared.items():
        value = given.get(name, declaration.default)
        if value is None:
            about = f": {declaration.description}" if declaration.description else ""
            raise invalid(f"'input.{name}' is required{about}.", f"input.{name}")
        found[name] = value
    return found


def _inputs(value: Any) -> dict[str, Declared]:
    if value is None:
        return {}
    if isinstance(value, list):
        value = {name: {} for name in value if isinstance(name, str)}
    if not isinstance(value, dict):
        raise invalid("'inputs' must be an object of {name: {description, default}}.", "inputs")
    found: dict[str, Declared] = {}
    for name, one in value.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise invalid(f"'inputs': {str(name)[:80]!r} is no name; names are like topic_2.", "inputs")
        given = {} if one is None else one if isinstance(one, dict) else {"default": one}
        try:
            if not given.keys() <= {"description", "default"}:
                raise msgspec.ValidationError("there are description and default")
            found[name] = msgspec.convert(given, Declared)
        except msgspec.ValidationError as error:
            raise invalid(f"'inputs.{name}': {error}.", f"inputs.{name}") from error
    return found


def _step(value: Any, where: str) -> Step:
    if not isinstance(value, dict):
        raise invalid(f"'{where}' must be an object of {{id, task, model, prompt, …}}.", where)
    identifier = value.get("id")
    if not isinstance(identifier, str) or not _NAME.fullmatch(identifier) or identifier in ("input", "none"):
        raise invalid(
            f"'{where}.id': {str(identifier)[:80]!r} cannot be a step's name; names are like scene_1, not 'input' or 'none'.",
            f"{where}.id",
        )
    fields = {name: one for name, one in value.items() if name not in _STEP_FIELDS and one is not None}
    task = _task(value, fields, where)
    model = value.get("model", "compose" if task is Task.COMPOSE else None)
    if not isinstance(model, str) or not model:
        raise invalid(f"'{where}.model' is required: the name of a route, or provider/model.", f"{where}.model")
    needs = value.get("needs") or []
    if not isinstance(needs, list) or not all(isinstance(one, str) for one in needs):
        raise invalid(f"'{where}.needs' must be a list of the ids of steps.", f"{where}.needs")
    weight = value.get("weight", 1.0 if task is None else _WEIGHTS.get(OPERATION_OF_TASK[task], 1.0))
    if not isinstance(weight, int | float) or isinstance(weight, bool) or not 0 < weight <= 1000:
        raise invalid(
            f"'{where}.weight': {str(weight)[:40]} must be a number above 0, at most 1000.", f"{where}.weight"
        )
    optional = value.get("optional", False)
    if not isinstance(optional, bool):
        raise invalid(f"'{where}.optional' must be true or false.", f"{where}.optional")
    options = value.get("polyroute") or {}
    if not isinstance(options, dict):
        raise invalid(f"'{where}.polyroute' must be an object.", f"{where}.polyroute")
    return Step(
        id=identifier, model=model, weight=float(weight), task=task, fields=fields, needs=tuple(needs), optional=optional,
        options=options,
    )  # fmt: skip


def _task(value: Mapping[str, Any], fields: dict[str, Any], where: str) -> Task | None:
    """The task; None for a chat. Puts what is written in a shorter way into `fields` at length."""
    task, chat = value.get("task"), value.get("chat")
    if chat is not None and task is None:
        task = "chat"
        if isinstance(chat, str):
            fields.setdefault("prompt", chat)
        elif chat is not True:
            raise invalid(f"'{where}.chat' must be true, or the prompt.", f"{where}.chat")
    if task == "chat":
        for name in fields:
            if name not in CHAT_FIELDS:
                raise invalid(
                    f"'{where}.{name}' is no field of a chat step; there are {', '.join(CHAT_FIELDS)}.",
                    f"{where}.{name}",
                )
        if ("prompt" in fields) == ("messages" in fields):
            raise invalid(f"'{where}' needs either 'prompt' or 'messages'.", f"{where}.prompt")
        return None
    try:
        found = Task(task)  # type: ignore[arg-type] # None is none
    except ValueError:
        raise invalid(
            f"'{where}.task': {str(task)[:80]!r} is none; there are chat, {', '.join(Task)}.", f"{where}.task"
        ) from None
    given = fields.get("inputs")
    if isinstance(given, dict):
        del fields["inputs"]
        for role, one in given.items():
            if role not in ALIASES:
                raise invalid(
                    f"'{where}.inputs.{role}' is none; there are {', '.join(ALIASES)}.", f"{where}.inputs.{role}"
                )
            fields[role] = one
    return found


def _check_names(steps: tuple[Step, ...]) -> None:
    seen: set[str] = set()
    for number, step in enumerate(steps):
        if step.id in seen:
            raise invalid(f"'steps[{number}].id': there is another step {step.id!r}.", f"steps[{number}].id")
        seen.add(step.id)


def _joined(step: Step, steps: tuple[Step, ...], inputs: Mapping[str, Declared], where: str) -> Step:
    """The step, needing also those that its templates name."""
    known = {one.id: one for one in steps}
    for number, name in enumerate(step.needs):
        if name not in known:
            raise invalid(
                f"'{where}.needs[{number}]': there is no step {name[:80]!r}; there are {_listed(steps)}.",
                f"{where}.needs",
            )
    needs = dict.fromkeys(step.needs)
    for name, value in step.fields.items():
        try:
            for alternatives in templates_in(value):
                for reference in alternatives:
                    if _check_reference(reference, known, inputs):
                        needs[reference.head] = None
                _check_optional(step, alternatives, known)
        except TemplateError as error:
            raise invalid(f"'{where}.{name}': {error}.", f"{where}.{name}") from error
    return msgspec.structs.replace(step, needs=tuple(needs))


def _check_reference(reference: Reference, known: Mapping[str, Step], inputs: Mapping[str, Declared]) -> bool:
    """Whether a step is meant. Raises TemplateError for what can never be there."""
    first = reference.path[0] if reference.path else None
    if reference.head == "none" and not reference.path:
        return False
    if reference.head == "input":
        if first not in inputs or len(reference.path) != 1:
            raise TemplateError(f"{{{{{reference}}}}} is no input; there are {', '.join(inputs) or 'none'}")
        return False
    step = known.get(reference.head)
    if step is None:
        raise TemplateError(
            f"{{{{{reference}}}}}: there is no step {reference.head!r}; there are input, {', '.join(known)}"
        )
    possible = results_of(step.task)
    if first not in possible:
        raise TemplateError(
            f"{{{{{reference}}}}}: a step of {step.task or 'chat'} has {', '.join(possible)}, as in "
            f"{{{{{step.id}.{possible[0]}}}}}"
        )
    return True


def _check_optional(step: Step, alternatives: tuple[Reference, ...], known: Mapping[str, Step]) -> None:
    """What may be skipped needs something in its place."""
    last = known.get(alternatives[-1].head)
    if last is not None and last.optional and not step.optional:
        raise TemplateError(
            f"{{{{{alternatives[-1]}}}}}: step {last.id!r} is optional; name something else after it, as in "
            f"{{{{{alternatives[-1]} | other.artifacts[0]}}}}, or none"
        )


def _check_order(steps: tuple[Step, ...]) -> None:
    """Raises PolyrouteError naming the circle, if there is one."""
    done: set[str] = set()
    left = {step.id: step for step in steps}
    while left:
        ready = [name for name, step in left.items() if done.issuperset(step.needs)]
        if not ready:
            number = next(number for number, step in enumerate(steps) if step.id in left)
            circle = _circle(left)
            raise invalid(f"'steps' wait for each other: {' needs '.join(circle)}.", f"steps[{number}].needs")
        for name in ready:
            done.add(name)
            del left[name]


def _circle(left: Mapping[str, Step]) -> list[str]:
    path = [next(iter(left))]
    while True:
        following = next(name for name in left[path[-1]].needs if name in left)
        if following in path:
            return [*path[path.index(following) :], following]
        path.append(following)


def _used_inputs(step: Step) -> set[str]:
    return {
        str(reference.path[0])
        for alternatives in templates_in(step.fields)
        for reference in alternatives
        if reference.head == "input"
    }


def _listed(steps: tuple[Step, ...]) -> str:
    return ", ".join(step.id for step in steps)


def in_step(error: PolyrouteError, number: int, step: Step) -> PolyrouteError:
    """What is wrong with a step's request, said of the pipeline's declaration."""
    param = f"steps[{number}].{error.param or 'model'}"
    told = PolyrouteError(
        error.kind, f"Step '{step.id}' ({param}): {error.message}", param=param, code=error.code,
        retry_after=error.retry_after,
    )  # fmt: skip
    told.headers = error.headers
    return told
