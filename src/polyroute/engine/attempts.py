"""An attempt that has committed: everything that is needed to hand its answer on."""

from __future__ import annotations

import msgspec

from polyroute.engine.lanes import Lane
from polyroute.engine.runtime import LiveProvider
from polyroute.ports import AnswerReader, Headers, Timeouts, WireResponse
from polyroute.types.plans import Target
from polyroute.types.records import AttemptRecord


class Attempt(msgspec.Struct, eq=False):
    """`out` is what the caller may have by now; with `whole` that is all, else `response` and `reader` go on."""

    provider: LiveProvider
    target: Target
    lane: Lane
    response: WireResponse
    reader: AnswerReader
    record: AttemptRecord
    timeouts: Timeouts
    media_type: bytes
    out: bytes
    whole: bool

    @property
    def upstream(self) -> Headers:
        """The provider's own header fields."""
        return self.response.headers
