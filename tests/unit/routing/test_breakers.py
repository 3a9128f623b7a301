"""Which breaker a failure belongs to, and the set that planning looks at."""

from __future__ import annotations

import pytest

from polyroute.routing.breaker import BreakerSettings
from polyroute.routing.breakers import Breakers, breaker_key
from polyroute.types.errors import ErrorKind, Failure
from polyroute.types.operations import Operation, ProviderKind
from polyroute.types.plans import Target

FIRST, SECOND = Target("openai", "gpt-4o"), Target("openai", "gpt-4o-mini")
CHAT = Operation.CHAT


def failure(
    kind: ErrorKind = ErrorKind.UNAVAILABLE, status: int | None = 503, retry_after: float | None = None
) -> Failure:
    return Failure(kind=kind, message="no", http_status=status, retry_after=retry_after)


def break_it(breakers: Breakers, target: Target, kind: ProviderKind = ProviderKind.DIRECT, **more: object) -> None:
    for _ in range(3):
        breakers.fail(target, CHAT, failure(**more), 100.0, kind=kind)  # type: ignore[arg-type]  # keywords of failure()


def test_a_direct_providers_outage_holds_for_all_its_models_of_that_operation_only() -> None:
    breakers = Breakers()
    break_it(breakers, FIRST)
    assert not breakers.begin(SECOND, CHAT, 101.0)
    assert breakers.begin(SECOND, Operation.EMBED, 101.0)
    assert breakers.begin(Target("xai", "grok"), CHAT, 101.0)
    assert list(breakers.restricted) == ["openai chat"]


def test_a_gateways_error_answer_holds_for_that_model_and_its_silence_for_all() -> None:
    breakers = Breakers()
    break_it(breakers, FIRST, ProviderKind.GATEWAY, status=502)
    assert not breakers.begin(FIRST, CHAT, 101.0)
    assert breakers.begin(SECOND, CHAT, 101.0)
    break_it(breakers, FIRST, ProviderKind.GATEWAY, status=None)
    assert not breakers.begin(SECOND, CHAT, 101.0)


def test_a_rate_limit_rests_the_model_for_its_retry_after_at_once() -> None:
    breakers = Breakers()
    breakers.fail(FIRST, CHAT, failure(ErrorKind.RATE_LIMITED, 429, 20.0), 100.0)
    assert not breakers.begin(FIRST, CHAT, 119.0)
    assert breakers.begin(SECOND, CHAT, 101.0)
    assert breakers.begin(FIRST, CHAT, 120.0)
    assert breakers.state(breaker_key("openai", CHAT, "gpt-4o")) == "closed"


def test_a_rate_limit_of_one_credential_leaves_the_target_to_the_next() -> None:
    breakers = Breakers()
    limited = failure(ErrorKind.RATE_LIMITED, 429, 20.0)
    breakers.fail(FIRST, CHAT, limited, 100.0, credentials_left=1)
    assert breakers.begin(FIRST, CHAT, 100.0)
    breakers.fail(FIRST, CHAT, limited, 100.0, credentials_left=0)
    assert not breakers.begin(FIRST, CHAT, 100.0)


def test_a_used_up_limit_rests_a_provider_for_its_time() -> None:
    breakers = Breakers()
    breakers.rest("openai", CHAT, 100.0, 12.0, "over_limit")
    assert not breakers.begin(FIRST, CHAT, 111.0)
    assert breakers.begin(FIRST, CHAT, 112.0)
    assert breakers.state("openai chat") == "closed"


@pytest.mark.parametrize(
    "kind", [ErrorKind.INVALID_REQUEST, ErrorKind.CONTENT_FILTERED, ErrorKind.CREDENTIAL_REJECTED, ErrorKind.CANCELLED]
)
def test_what_is_not_the_providers_fault_opens_nothing(kind: ErrorKind) -> None:
    breakers = Breakers()
    for _ in range(100):
        breakers.fail(FIRST, CHAT, failure(kind, None if kind is ErrorKind.CANCELLED else 400), 100.0)
    assert not breakers.restricted
    assert breakers.begin(FIRST, CHAT, 100.0)


def test_a_refusal_of_the_callers_request_shows_that_a_half_open_provider_lives() -> None:
    breakers = Breakers()
    break_it(breakers, FIRST)
    assert breakers.begin(FIRST, CHAT, 160.0)
    breakers.fail(FIRST, CHAT, failure(ErrorKind.INVALID_REQUEST, 400), 161.0, started=160.0)
    assert not breakers.restricted


def test_a_cancelled_probe_gives_its_place_back() -> None:
    breakers = Breakers()
    break_it(breakers, FIRST)
    assert breakers.begin(FIRST, CHAT, 160.0)
    assert not breakers.begin(FIRST, CHAT, 160.5)
    breakers.release(FIRST, CHAT, 160.6)
    assert breakers.begin(FIRST, CHAT, 160.7)


def test_a_success_closes_both_and_empties_the_set() -> None:
    breakers = Breakers()
    break_it(breakers, FIRST)
    for _ in range(3):
        breakers.fail(FIRST, CHAT, failure(ErrorKind.RATE_LIMITED, 429), 100.0)
    assert len(breakers.restricted) == 2
    assert breakers.begin(FIRST, CHAT, 160.0)
    breakers.succeed(FIRST, CHAT, 161.0, started=160.0)
    assert breakers.restricted == {}


def test_the_only_target_left_may_be_tried_although_its_breaker_is_open() -> None:
    breakers = Breakers()
    break_it(breakers, FIRST)
    assert not breakers.begin(FIRST, CHAT, 110.0)
    assert breakers.begin(FIRST, CHAT, 110.0, probe=True)
    breakers.succeed(FIRST, CHAT, 111.0, started=110.0)
    assert breakers.begin(FIRST, CHAT, 111.0)


def test_both_breakers_must_allow_and_a_refusal_takes_no_probes_place() -> None:
    breakers = Breakers(settings={"openai": BreakerSettings(cooldown=10)})
    break_it(breakers, FIRST)
    for _ in range(3):
        breakers.fail(FIRST, CHAT, failure(ErrorKind.RATE_LIMITED, 429, 50.0), 100.0)
    assert not breakers.begin(FIRST, CHAT, 120.0)
    assert breakers.state("openai chat") == "open"
    assert breakers.begin(SECOND, CHAT, 120.0)
    assert breakers.state("openai chat") == "half_open"


def test_a_restart_keeps_what_is_open() -> None:
    before, after = Breakers(), Breakers()
    break_it(before, FIRST)
    after.adopt(before.snapshots(), 130.0)
    assert not after.begin(FIRST, CHAT, 159.0)
    assert after.begin(FIRST, CHAT, 160.0)


def test_another_workers_recovery_closes_it_here() -> None:
    ours, theirs = Breakers(), Breakers()
    break_it(ours, FIRST)
    theirs.adopt(ours.snapshots(), 101.0)
    theirs.begin(FIRST, CHAT, 160.0)
    theirs.succeed(FIRST, CHAT, 161.0)
    ours.adopt(theirs.snapshots(), 162.0)
    assert ours.restricted == {}


def test_sweeping_forgets_rests_that_are_over_and_keeps_what_is_open() -> None:
    breakers = Breakers()
    breakers.fail(SECOND, CHAT, failure(ErrorKind.RATE_LIMITED, 429, 5.0), 100.0)
    break_it(breakers, FIRST)
    breakers.sweep(106.0)
    assert list(breakers.restricted) == ["openai chat"]


def test_an_operator_can_close_one() -> None:
    breakers = Breakers()
    break_it(breakers, FIRST)
    assert breakers.reset("openai chat", 101.0)
    assert breakers.begin(FIRST, CHAT, 101.0)
    assert not breakers.reset("nobody chat", 101.0)


def test_models_that_callers_make_up_do_not_fill_the_memory() -> None:
    breakers = Breakers()
    break_it(breakers, FIRST)
    for number in range(10_000):
        breakers.succeed(Target("openrouter", f"made-up-{number}"), CHAT, 100.0)
    assert len(breakers._all) <= 4096
    assert not breakers.begin(FIRST, CHAT, 101.0)
