"""Keys of durable jobs."""

from __future__ import annotations

from pydantic import Field

from polyroute.settings.sections import Number, Seconds, Section, Whole


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
    lost_after: Seconds = 10.0
    """Seconds of silence after which other workers take over a worker's jobs."""
    retention_days: Number = 30.0
    """Days for which jobs that have ended are kept; 0 keeps them."""
