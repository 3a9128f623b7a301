"""Pipelines: declared steps, each of which may use what earlier ones made."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

import msgspec

from polyroute.types.artifacts import Artifact
from polyroute.types.jobs import JobError
from polyroute.types.media import Made, Task

StepState = Literal["waiting", "running", "succeeded", "failed", "skipped", "cancelled", "needs_attention"]
"""Where a step stands. `skipped`: it is optional, and nobody could do it."""


class Declared(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An input that a pipeline takes; required unless it has a `default`."""

    description: str | None = None
    default: str | int | float | bool | None = None


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step: a chat (`task` is None) or a piece of media work. `fields` are those of its request, with templates in them;
    `needs` are the steps that must be over before it, also those that its templates name. `weight` is its share of the
    pipeline's progress. An `optional` step that nobody can do is skipped. `options` is its `polyroute` object."""

    id: str
    model: str
    weight: float
    task: Task | None = None
    fields: dict[str, Any] = {}
    needs: tuple[str, ...] = ()
    optional: bool = False
    options: dict[str, Any] = {}


class Pipeline(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Steps in the order of their writing. `output` names the step whose artifacts are the pipeline's."""

    steps: tuple[Step, ...]
    output: str
    name: str = "pipeline"
    inputs: dict[str, Declared] = {}


class StepResult(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a step. `job` is the job or request that did it, `cost_usd` in US dollars, None when unknown."""

    state: StepState
    job: str | None = None
    percent: float | None = None
    made: Made | None = None
    text: str | None = None
    provider: str | None = None
    provider_model: str | None = None
    cost_usd: Decimal | None = None
    error: JobError | None = None

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """What it made."""
        return () if self.made is None else self.made.artifacts
