"""How often, and after which time, a second target is asked."""

from __future__ import annotations

from polyroute.catalog.model import Hedge
from polyroute.engine.hedging import Hedging
from polyroute.types.plans import Target

SLOW = Target("openai", "gpt")


def test_the_usual_time_must_be_known_before_anybody_is_hurried() -> None:
    hedging = Hedging(Hedge())
    for number in range(19):
        hedging.observe(SLOW, 0.1 * number)
        assert hedging.patience(SLOW) is None
    hedging.observe(SLOW, 5.0)
    assert hedging.patience(SLOW) == 5.0
    assert hedging.patience(Target("groq", "llama")) is None


def test_a_fixed_time_holds_from_the_first_request() -> None:
    assert Hedging(Hedge(after=0.3)).patience(SLOW) == 0.3


def test_no_more_than_the_share_is_asked_twice() -> None:
    hedging = Hedging(Hedge(after=0.3, share=0.05))
    sent = 0
    for _ in range(1000):
        hedging.patience(SLOW)
        sent += hedging.withdraw()
    assert 45 <= sent <= 52
