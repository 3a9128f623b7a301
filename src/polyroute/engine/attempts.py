"""An attempt that has committed: everything that is needed to hand its answer on."""

from __future__ import annotations

from polyroute.engine.lanes import Lane
from polyroute.engine.runtime import LiveProvider
from polyroute.ports import AnswerReader, Headers, Timeouts, WireResponse
from polyroute.types.plans import Target
from polyroute.types.records import AttemptRecord


class Attempt:
    """`out` is what the caller may have by now; with `whole` that is all, else `response` and `reader` go on."""

    __slots__ = ("lane", "media_type", "out", "provider", "reader", "record", "response", "target", "timeouts", "whole")

    def __init__(
        self, provider: LiveProvider, target: Target, lane: Lane, response: WireResponse, reader: AnswerReader,
        record: AttemptRecord, *, timeouts: Timeouts, media_type: bytes, out: bytes, whole: bool,
    ) -> None:  # fmt: skip
        self.provider = provider
        self.target = target
        self.lane = lane
        self.response = response
        self.reader = reader
        self.record = record
        self.timeouts = timeouts
        self.media_type = media_type
        self.out = out
        self.whole = whole

    @property
    def upstream(self) -> Headers:
        """The provider's own header fields."""
        return self.response.headers
