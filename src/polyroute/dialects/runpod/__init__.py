"""RunPod's job queue: a chat completion as the input and output of a job."""

from __future__ import annotations

from polyroute.dialects.runpod.codec import CODEC

__all__ = ["CODEC"]
