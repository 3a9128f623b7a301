"""Pipelines: what they need of the jobs' store beyond what jobs do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from polyroute.ports.jobs import JobStore
from polyroute.types.jobs import Job, JobEvent


class PipelineStore(JobStore, Protocol):
    """A store of jobs of which some are pipelines. The job of a step has the id of its pipeline, a dot, and the step's name;
    one that needs attention takes its pipeline along, and back when it is decided on."""

    async def children(self, pipeline_id: str) -> Sequence[Job]:
        """The jobs of a pipeline's steps, oldest first."""

    async def named_events(self, job_id: str, name: str) -> Sequence[JobEvent]:
        """A job's events of one name, in order."""

    async def reopen(self, pipeline_id: str, at: float, deadline: float) -> Job | None:
        """Take a pipeline that ended without success up again, with one more round in its details; None when there is none
        that could be."""
