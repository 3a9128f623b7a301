"""How a configured route chooses: what is read from a file, and what is refused with file, line and the fix."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from polyroute.catalog.build import build_catalog, check_input
from polyroute.catalog.inputs import read_input
from polyroute.catalog.model import Catalog, Currency
from polyroute.catalog.money import read_amount
from polyroute.catalog.rows import load_rows
from polyroute.settings import ConfigurationError, load_settings
from polyroute.types.operations import Capability, ProviderKind
from polyroute.types.plans import Target

KEYS = {"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "OPENROUTER_API_KEY": "k"}
WHOLE = """
currencies:
  VND: {per_usd: 26000, date: 2026-11-20}
providers:
  openai: {tags: [us]}
  openrouter:
    mark_up: 1.05
    model_facts:
      openai/gpt-4o:
        {context: 128000, tags: [eu], capabilities: [tools], price: {date: 2026-11-20, input: 2.5, output: 10, cache_write: 3}}
routes:
  mine:
    policy: balanced
    targets: [openai/gpt-4o, openrouter/openai/gpt-4o, anthropic]
    weights: {openai: 3, openrouter/openai/gpt-4o: 0}
    kinds: [gateway, direct]
    same_model: price
    balance: {cost: 2, latency: 0}
    exploration: 0.1
    low_budget: 520 VND
    on_context_too_long: [big]
    on_content_filtered: [anthropic/claude]
  big: {targets: [anthropic/huge], fallbacks: [openai/larger]}
  split:
    targets: [openai/small]
    complexity: {complex: [anthropic/large], tokens: 500, turns: 0, tools: false}
"""


def load(text: str, folder: Path) -> Catalog:
    file = folder / "polyroute.yaml"
    file.write_text(text)
    settings = load_settings(
        file, KEYS, check=lambda one: check_input(load_rows(), read_input(one.catalog_values()), one.environment)
    )
    return build_catalog(load_rows(), read_input(settings.catalog_values()), settings.environment)


def test_everything_that_a_route_can_say_about_choosing_is_read(tmp_path: Path) -> None:
    catalog = load(WHOLE, tmp_path)
    mine = catalog.routes["mine"]
    assert mine.weights == {Target("openai", "gpt-4o"): 3.0, Target("openrouter", "openai/gpt-4o"): 0.0}
    assert mine.kinds == (ProviderKind.GATEWAY, ProviderKind.DIRECT)
    assert (mine.same_model, mine.exploration) == ("price", 0.1)
    assert (mine.balance.cost, mine.balance.latency, mine.balance.success) == (2.0, 0.0, 1.0)
    assert mine.low_budget == pytest.approx(0.02)
    assert mine.longer_context == (Target("anthropic", "huge"), Target("openai", "larger"))
    assert mine.other_filter == (Target("anthropic", "claude"),)
    assert catalog.currencies == {"VND": Currency(26000.0, date(2026, 11, 20))}
    facts = catalog.providers["openrouter"].model_facts["openai/gpt-4o"]
    assert (facts.context, facts.tags, facts.capabilities) == (128000, {"eu"}, {Capability.TOOLS})
    assert facts.price is not None
    assert (facts.price.input, facts.price.cache_write_1h) == (Decimal("2.5"), Decimal(3))
    assert catalog.providers["openrouter"].mark_up == 1.05
    split = catalog.routes["split"].split
    assert split is not None
    assert (split.simple, split.complex) == ((Target("openai", "small"),), (Target("anthropic", "large"),))
    assert (split.rules.tokens, split.rules.turns, split.rules.tools, split.rules.code) == (500, None, False, True)


REFUSED = {
    "policy": (
        "routes:\n  a: {targets: [openai], policy: cheapst}",
        "polyroute.yaml:2: routes.a.policy: unknown policy", "did you mean cheapest?",
    ),
    "fallbacks-loop": (
        "routes:\n  a: {targets: [openai], fallbacks: [b]}\n  b: {targets: [anthropic], fallbacks: [a]}",
        "polyroute.yaml:3: routes.b.fallbacks[0]: fallbacks go round in a loop: a → b → a", "no route that leads back",
    ),
    "context-loop": (
        "routes:\n  a:\n    targets: [openai]\n    on_context_too_long: [b]\n  b: {targets: [anthropic], fallbacks: [a]}",
        "polyroute.yaml:5: routes.b.fallbacks[0]: fallbacks go round in a loop", "a → b → a",
    ),
    "filter-loop": (
        "routes:\n  a:\n    targets: [openai]\n    on_content_filtered:\n      - openai/x\n      - a",
        "polyroute.yaml:6: routes.a.on_content_filtered[1]: the chain `on_content_filtered` goes round in a loop", "a → a",
    ),
    "negative-weight": (
        "routes:\n  a:\n    targets: [openai]\n    weights: {openai: -1}",
        "polyroute.yaml:4: routes.a.weights.openai: wrong value", "at least 0",
    ),
    "strange-weight": (
        "routes:\n  a:\n    targets: [openai/gpt]\n    weights: {anthropic: 1}",
        "polyroute.yaml:4: routes.a.weights.anthropic: a weight for what is none of its targets", "openai/gpt",
    ),
    "no-balance": (
        "routes:\n  a:\n    targets: [openai]\n    balance: {cost: 0, latency: 0, success: 0}",
        "polyroute.yaml:4: routes.a.balance: wrong value", "at least one weight above 0",
    ),
    "currency-without-rate": (
        "currencies:\n  VND: {date: 2026-11-20}", "polyroute.yaml:2: currencies.VND.per_usd: is required", "a value",
    ),
    "currency-without-date": (
        "currencies:\n  VND: {per_usd: 26000}", "polyroute.yaml:2: currencies.VND.date: is required", "a value",
    ),
    "currency-below-zero": (
        "currencies:\n  VND: {per_usd: 0, date: 2026-11-20}", "polyroute.yaml:2: currencies.VND.per_usd:", "more than 0",
    ),
    "currency-usd": (
        "currencies:\n  usd: {per_usd: 1, date: 2026-11-20}", "polyroute.yaml:2: currencies.usd:", "leave it out",
    ),
    "currency-code": (
        "currencies:\n  dong₫: {per_usd: 1, date: 2026-11-20}", "polyroute.yaml:2: currencies.dong₫:", "letters",
    ),
    "unknown-currency": (
        "currencies:\n  VND: {per_usd: 26000, date: 2026-11-20}\nroutes:\n  a: {targets: [openai], low_budget: 5 VNF}",
        "polyroute.yaml:4: routes.a.low_budget: wrong amount", "no exchange rate for VNF (currencies.VNF); did you mean VND?",
    ),
    "no-amount": (
        "routes:\n  a: {targets: [openai], low_budget: cheap}",
        "polyroute.yaml:2: routes.a.low_budget: wrong amount", '"0.01 USD"',
    ),
    "kind": (
        "routes:\n  a: {targets: [openai], kinds: [direkt]}",
        "polyroute.yaml:2: routes.a.kinds[0]: unknown kind", "did you mean direct?",
    ),
    "kind-of-none": (
        "routes:\n  a:\n    targets: [openai, anthropic]\n    kinds: [local]",
        "polyroute.yaml:4: routes.a.kinds: none of its targets is of a kind that it uses", "they are direct",
    ),
    "require-of-none": (
        "routes:\n  a:\n    targets: [openai]\n    require: [eu]",
        "polyroute.yaml:4: routes.a.require: none of its targets has all of eu", "providers.NAME.tags",
    ),
    "operation": (
        "routes:\n  a: {operation: speech, targets: [anthropic]}",
        "polyroute.yaml:2: routes.a.targets[0]: anthropic does not serve speech", "it serves chat",
    ),
    "complexity-of-media": (
        "routes:\n  a: {operation: image, targets: [openai], complexity: {complex: [openai]}}",
        "polyroute.yaml:2: routes.a.complexity:", "only chat is",
    ),
    "complexity-of-nothing": (
        "routes:\n  a: {targets: [openai], complexity: {tokens: 5}}", "polyroute.yaml:2: routes.a.complexity:", "`complex`",
    ),
    "targets-never-used": (
        "routes:\n  a:\n    targets: [openai]\n    complexity: {simple: [openai], complex: [anthropic]}",
        "polyroute.yaml:3: routes.a.targets: no request comes here", "no `targets`",
    ),
    "capability": (
        "providers:\n  openai:\n    model_facts:\n      gpt: {capabilities: [tols]}",
        "polyroute.yaml:4: providers.openai.model_facts.gpt.capabilities[0]: unknown capability", "did you mean tools?",
    ),
    "price": (
        "providers:\n  openai:\n    model_facts:\n      gpt: {price: {input: -1}}",
        "polyroute.yaml:4: providers.openai.model_facts.gpt.price.input: wrong value", "at least 0",
    ),
    "price-without-date": (
        "providers:\n  openai:\n    model_facts:\n      gpt: {price: {input: 1}}",
        "polyroute.yaml:4: providers.openai.model_facts.gpt.price:", "add date: 2026-11-20",
    ),
    "price-in-unknown-currency": (
        "providers:\n  openai:\n    model_facts:\n      gpt: {price: {input: 1, date: 2026-11-20, currency: CNY}}",
        "polyroute.yaml:4: providers.openai.model_facts.gpt.price.currency:", "currencies.CNY",
    ),
    "mark-up": ("providers:\n  openai: {mark_up: 0}", "polyroute.yaml:2: providers.openai.mark_up:", "more than 0"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_nonsense_is_refused_with_file_line_and_fix(tmp_path: Path, case: str) -> None:
    text, place, words = REFUSED[case]
    with pytest.raises(ConfigurationError) as refused:
        load(text, tmp_path)
    [problem] = [str(found) for found in refused.value.problems]
    assert problem.removeprefix(f"{tmp_path}/").startswith(place)
    assert words in problem


def test_a_route_whose_unmet_wish_may_be_met_by_a_target_that_is_off_is_kept(tmp_path: Path) -> None:
    catalog = load("routes: {a: {targets: [openai, xai], require: [eu], kinds: [direct]}}", tmp_path)
    assert catalog.routes["a"].require == {"eu"}


def test_a_route_that_names_another_in_two_chains_is_no_loop(tmp_path: Path) -> None:
    text = "routes:\n  a: {targets: [openai], fallbacks: [b], on_context_too_long: [b]}\n  b: {targets: [anthropic/x]}"
    assert load(text, tmp_path).routes["a"].longer_context == (Target("anthropic", "x"),)


@pytest.mark.parametrize(
    ("text", "usd"), [("1000 VND", 1000 / 26000), ("0.01 USD", 0.01), (" 5usd ", 5.0), ("26000vnd", 1.0)]
)
def test_amounts_become_dollars(text: str, usd: float) -> None:
    amount = read_amount(text, {"VND": Currency(26000.0, date(2026, 11, 20))})
    assert amount.usd == pytest.approx(usd)


def test_an_amount_says_at_which_rate_of_which_day() -> None:
    words = read_amount("1000 VND", {"VND": Currency(26000.0, date(2026, 11, 20))}).words
    assert words == "1000 VND, 0.038462 USD at 26000 of 2026-11-20"


@pytest.mark.parametrize("text", ["", "USD", "-1 USD", "1", "1e3 USD", "1 €", "1,5 USD", "1 USD 2", "9" * 99 + " USD"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="an amount and its currency"):
        read_amount(text, {})


def test_a_price_in_another_currency_is_converted_at_the_dated_rate(tmp_path: Path) -> None:
    catalog = load(
        "currencies: {CNY: {per_usd: 8, date: 2026-11-19}}\n"
        "providers:\n  openai:\n    model_facts:\n"
        "      gpt: {price: {date: 2026-11-20, currency: cny, input: 2, output: 16}}",
        tmp_path,
    )
    price = catalog.providers["openai"].model_facts["gpt"].price
    assert price is not None
    assert (price.input, price.output) == (Decimal("0.25"), Decimal(2))
    assert price.version == "configuration 2026-11-20, 8.0 CNY a dollar on 2026-11-19"
