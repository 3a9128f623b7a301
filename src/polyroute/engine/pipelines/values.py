"""What templates find of a step that is over, and what stands for it while a pipeline is only checked; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from polyroute.engine.pipelines.reading import results_of
from polyroute.engine.pipelines.templates import Missing, Reference, walk_to
from polyroute.types.pipelines import Pipeline, StepResult

_STAND_INS: dict[str, Any] = {
    "text": "text", "lines": "text", "json": "text", "artifacts": "art_pending", "duration": 5.0, "voice": "voice",
}  # fmt: skip


class StepValues:
    """Looks references up among the caller's input and what steps made."""

    def __init__(self, given: Mapping[str, Any], results: Mapping[str, StepResult]) -> None:
        self._given = given
        self._results = results

    def __call__(self, reference: Reference) -> Any:
        """The value. Raises Missing."""
        if reference.head == "input":
            return self._given[str(reference.path[0])]
        result = self._results.get(reference.head)
        if result is None or result.state != "succeeded":
            raise Missing(f"step '{reference.head}' made nothing")
        return walk_to(_value(result, reference), reference, reference.path[1:])


def _value(result: StepResult, reference: Reference) -> Any:
    text = result.text or ""
    match reference.path[0]:
        case "text":
            return text
        case "lines":
            return [line.strip() for line in text.splitlines() if line.strip()]
        case "json":
            return _json(text, reference)
        case "artifacts":
            return [artifact.id for artifact in result.artifacts]
        case "duration":
            known = [one.duration_s for one in result.artifacts if one.duration_s is not None]
            if not known:
                raise Missing(f"'{reference}' is not known")
            return round(known[0], 3)
        case _:
            voice = None if result.made is None else result.made.voice
            if voice is None:
                raise Missing(f"step '{reference.head}' made no voice")
            return voice.id


def _json(text: str, reference: Reference) -> Any:
    """JSON that stands in a text, also between the fences that models like to put around it."""
    bare = text.strip()
    if bare.startswith("```"):
        bare = bare.partition("\n")[2].rpartition("```")[0]
    try:
        return msgspec.json.decode(bare)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise Missing(f"'{reference}': what step '{reference.head}' said is no JSON: {text[:80]!r}") from None


class StandIns:
    """Looks references up before anything was made: an input is what it is, all else is something of the right kind."""

    def __init__(self, pipeline: Pipeline, given: Mapping[str, Any]) -> None:
        self._tasks = {step.id: step.task for step in pipeline.steps}
        self._given = given

    def __call__(self, reference: Reference) -> Any:
        """A value. Raises Missing for what cannot be."""
        if reference.head == "input":
            return self._given[str(reference.path[0])]
        name = str(reference.path[0])
        if name not in results_of(self._tasks[reference.head]):
            raise Missing(f"'{reference}' cannot be")
        whole = name in ("artifacts", "lines") and len(reference.path) == 1
        return [_STAND_INS[name]] if whole else _STAND_INS[name]
