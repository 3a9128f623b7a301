"""What was observed of each target: decayed means of speed and success, and the work under way."""

from __future__ import annotations

import msgspec

from polyroute.routing.policies import NO_FACTS, TargetFacts

_MOST = 4096
"""Callers can name any model of a provider, so the number of targets observed has an end."""


class Observations:
    """Facts by `provider/model`, always current: each is rebuilt when something happens to its target, never when a plan
    reads it.

    A mean forgets with time, not with requests: what is `half_life` seconds old weighs half of what is new.
    """

    __slots__ = ("_half_life", "facts")

    def __init__(self, half_life: float = 300.0) -> None:
        self._half_life = half_life
        self.facts: dict[str, TargetFacts] = {}

    def begin(self, name: str) -> None:
        """A request was sent to a target."""
        facts = self.facts.get(name)
        if facts is None:
            if len(self.facts) >= _MOST:
                self._make_room()
            self.facts[name] = TargetFacts(in_flight=1)
        else:
            self.facts[name] = msgspec.structs.replace(facts, in_flight=facts.in_flight + 1)

    def release(self, name: str) -> None:
        """A request ended without saying anything about its target: the caller left."""
        facts = self.facts.get(name, NO_FACTS)
        if facts.in_flight:
            self.facts[name] = msgspec.structs.replace(facts, in_flight=facts.in_flight - 1)

    def end(
        self,
        name: str,
        now: float,
        *,
        success: bool,
        ttft: float | None = None,
        tokens_per_second: float | None = None,
    ) -> None:
        """A request ended. Seconds to its first token and its tokens a second, where there were any."""
        facts = self.facts.get(name, NO_FACTS)
        share = self._share(facts.observed_at, now)
        self.facts[name] = TargetFacts(
            _blend(facts.ttft, ttft, share),
            _blend(facts.tokens_per_second, tokens_per_second, share),
            _blend(facts.success_rate, 1.0 if success else 0.0, share),
            now,
            max(facts.in_flight - 1, 0),
        )

    def _share(self, observed_at: float | None, now: float) -> float:
        """How much a new observation weighs: a tenth at least, all when the old ones are long past."""
        if observed_at is None:
            return 1.0
        aged: float = 0.5 ** (max(now - observed_at, 0.0) / self._half_life)
        return max(0.1, 1.0 - aged)

    def _make_room(self) -> None:
        """Forget the half that was seen first, except targets with work under way."""
        for name in list(self.facts)[: _MOST // 2]:
            if not self.facts[name].in_flight:
                del self.facts[name]


def _blend(old: float | None, new: float | None, share: float) -> float | None:
    if new is None:
        return old
    return new if old is None else old + (new - old) * share
