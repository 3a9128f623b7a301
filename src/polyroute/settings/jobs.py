"""Keys of durable jobs."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from polyroute.settings.sections import Number, Seconds, Section, Whole

_LATE = 0.5
"""Seconds by which a sign of life may be late: workers look around that often."""


class JobSettings(Section):
    """Slow media work, done as jobs that outlive the process."""

    worker: bool = True
    """Whether `serve` works on jobs itself; with `false` some `polyroute worker` has to."""
    wait: Seconds = 60.0
    """Seconds for which a call of `/v1/images` or `/v1/audio` waits for a job before it is answered with 202 and the job."""
    deadline: Seconds = 3600.0
    """Seconds after which a job is given up; a caller may say less or more with `polyroute.timeout`."""
    patience: Seconds = 1200.0
    """Seconds that one provider gets for a job before the next target is asked."""
    local_slots: Whole = Field(default=1, ge=1, le=64)
    """Jobs at one local provider at once, all workers together."""
    heartbeat: Seconds = 2.0
    """Seconds between two signs of life of a worker."""
    lost_after: Seconds = Field(default=10.0, validate_default=True)
    """Seconds of silence after which other workers take over a worker's jobs: at least two heartbeats and half a second."""
    retention_days: Number = 30.0
    """Days for which jobs that have ended are kept; 0 keeps them."""

    @field_validator("lost_after")
    @classmethod
    def _outlasts_heartbeats(cls, value: float, info: ValidationInfo) -> float:
        """A worker that lives must not be taken for dead because one sign of life was late."""
        heartbeat = info.data.get("heartbeat")
        if heartbeat is not None and value < (least := 2 * heartbeat + _LATE):
            raise ValueError(
                f"`lost_after` of at least {least:g} s with a heartbeat of {heartbeat:g} s, so that no worker is taken for "
                "dead that lives"
            )
        return value
