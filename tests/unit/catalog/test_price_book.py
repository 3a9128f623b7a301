"""The price book against genai-prices' own calculation, and our unit table."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import genai_prices
import pytest
from genai_prices.data import providers

from polyroute.catalog import prices
from polyroute.catalog.prices import CatalogPrices
from polyroute.catalog.token_prices import PROVIDERS, TokenPrices, extract, price_at, read_snapshot, write_snapshot
from polyroute.catalog.unit_prices import UnitPrices, read_unit_prices
from polyroute.pricing import cost_of, exact_cost
from polyroute.types.usage import Price, Usage

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def tokens() -> TokenPrices:
    return extract()


@pytest.fixture(scope="module")
def book(tokens: TokenPrices, tmp_path_factory: pytest.TempPathFactory) -> CatalogPrices:
    path = tmp_path_factory.mktemp("prices") / "snapshot"
    write_snapshot(tokens, path)
    return CatalogPrices(path, clock=NOW.timestamp)


MODELS = [
    ("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("openai", "gpt-4.1"), ("openai", "o3-mini"), ("openai", "gpt-5"),
    ("openai", "gpt-5-mini-2025-08-07"), ("anthropic", "claude-sonnet-4-5"), ("anthropic", "claude-opus-4-5-20251101"),
    ("anthropic", "claude-3-haiku-20240307"), ("google", "gemini-2.5-pro"), ("google", "gemini-2.5-flash"),
    ("groq", "llama-3.1-8b-instant"), ("mistral", "mistral-large-latest"), ("deepseek", "deepseek-chat"),
    ("deepseek", "deepseek-v4-pro"), ("xai", "grok-4"), ("xai", "grok-3-mini"),
    ("openrouter", "openai/gpt-4o-mini"), ("openrouter", "anthropic/claude-sonnet-4.5"),
    ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"), ("perplexity", "sonar"),
    ("fireworks", "accounts/fireworks/models/deepseek-v3-0324"), ("cohere", "command-r-plus"),
]  # fmt: skip


@pytest.mark.parametrize("prompt", [1_000, 150_000, 250_000])
@pytest.mark.parametrize(("provider", "model"), MODELS)
def test_costs_equal_an_independent_calculation(book: CatalogPrices, provider: str, model: str, prompt: int) -> None:
    price = book.price(provider, model)
    assert price is not None
    usage = Usage(input=prompt - 700, cache_read=600, cache_write_5m=100, output=300, reasoning=200)
    theirs = genai_prices.calc_price(
        genai_prices.Usage(input_tokens=prompt, cache_read_tokens=600, cache_write_tokens=100, output_tokens=500),
        model,
        provider_id=PROVIDERS[provider],
        genai_request_timestamp=NOW,
    )
    assert exact_cost(usage, price) == theirs.total_price


def test_a_cache_write_of_an_hour_has_its_own_rate(book: CatalogPrices) -> None:
    price = book.price("anthropic", "claude-sonnet-4-5")
    assert price is not None
    theirs = genai_prices.calc_price(
        genai_prices.Usage(input_tokens=1000, cache_write_tokens=1000, cache_write_1h_tokens=1000, output_tokens=0),
        "claude-sonnet-4-5",
        provider_id="anthropic",
        genai_request_timestamp=NOW,
    )
    assert exact_cost(Usage(cache_write_1h=1000, output=0), price) == theirs.total_price


def test_every_model_of_the_package_is_found_under_its_own_name(tokens: TokenPrices) -> None:
    tables = {provider.id: provider for provider in providers}
    for ours, theirs in PROVIDERS.items():
        table = tables[theirs]
        for model in table.models:
            expected = table.find_model(model.id)
            found = tokens.find(ours, model.id)
            if expected is None:
                assert found is None
            else:
                assert found == tokens.providers[ours][table.models.index(expected)]


@pytest.mark.parametrize(
    ("provider", "model"),
    [("aimlapi", "gpt-4o"), ("my_vllm", "gpt-4o"), ("openai", "no-such-model"), ("groq", "gpt-4o"), ("ollama", "x")],
)
def test_what_has_no_price_is_unknown_and_nobody_elses_is_taken(book: CatalogPrices, provider: str, model: str) -> None:
    assert book.price(provider, model) is None


def test_audio_is_not_charged_as_text_where_its_rate_is_unknown(book: CatalogPrices) -> None:
    price = book.price("openai", "gpt-4o-audio-preview")
    assert price is not None
    assert exact_cost(Usage(input=10, audio_input=50, output=5), price) is None


@pytest.mark.parametrize(("hour", "expected"), [(12, "0.66"), (2, "1.32"), (7, "1.32"), (4, "0.66")])
def test_a_price_by_the_time_of_day_follows_the_clock(tokens: TokenPrices, hour: int, expected: str) -> None:
    row = tokens.find("deepseek", "deepseek-v4-pro")
    assert row is not None
    price = price_at(row, NOW.replace(hour=hour))
    assert price is not None
    assert price.input == Decimal(expected)


def test_a_cached_price_changes_with_the_minute(tokens: TokenPrices, tmp_path: Path) -> None:
    write_snapshot(tokens, tmp_path / "snapshot")
    now = [NOW.replace(hour=0, minute=59, second=30).timestamp()]
    book = CatalogPrices(tmp_path / "snapshot", clock=lambda: now[0])
    seen = []
    for _ in range(2):
        price = book.price("deepseek", "deepseek-v4-pro")
        assert price is not None
        seen.append(price.input)
        now[0] += 60
    assert seen == [Decimal("0.66"), Decimal("1.32")]


def test_a_start_without_a_snapshot_makes_one_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "extract", lambda: pytest.fail("condensed in this process"))
    path = tmp_path / "kept" / "snapshot"
    first = CatalogPrices(path)
    assert not first.loaded
    first.warm().join()
    assert first.loaded
    monkeypatch.setattr(subprocess, "run", lambda *_args, **_options: pytest.fail("condensed again"))
    assert CatalogPrices(path).price("openai", "gpt-4o") == first.price("openai", "gpt-4o")


def test_a_snapshot_of_another_version_is_not_used(tokens: TokenPrices, tmp_path: Path) -> None:
    path = tmp_path / "snapshot"
    write_snapshot(TokenPrices(version="genai-prices 0.0.1", providers={}), path)
    assert read_snapshot(path) is None
    path.write_bytes(b"not a snapshot")
    assert read_snapshot(path) is None
    write_snapshot(tokens, path)
    assert read_snapshot(path) == tokens


def test_when_no_process_can_be_started_prices_are_condensed_here(
    tokens: TokenPrices, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_args: object, **_options: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "run", refuse)
    monkeypatch.setattr(prices, "extract", lambda: tokens)
    assert CatalogPrices(None).price("openai", "gpt-4o") is not None
    assert "no more processes" in caplog.text


def test_images_speech_and_transcription_have_prices(book: CatalogPrices) -> None:
    image, speech, text = (book.price("openai", model) for model in ("gpt-image-2", "tts-1", "whisper-1"))
    assert image is not None
    assert speech is not None
    assert text is not None
    drawn = Usage(images=2, image_size="1024x1024", image_quality="medium")
    assert exact_cost(drawn, image) == Decimal("0.106")
    assert exact_cost(Usage(characters=1_000_000), speech) == Decimal(15)
    assert exact_cost(Usage(seconds=3600.0), text) == Decimal("0.36")
    scribe = book.price("elevenlabs", "scribe_v3")
    assert scribe is not None
    assert round(exact_cost(Usage(seconds=3600.0), scribe) or 0, 6) == Decimal("0.22")


def test_a_version_names_its_tables_and_their_date(book: CatalogPrices) -> None:
    plain, both, ours = (
        book.price(*target) for target in (("openai", "gpt-4o"), ("openai", "gpt-image-2"), ("elevenlabs", "eleven_v3"))
    )
    assert plain is not None
    assert both is not None
    assert ours is not None
    assert plain.version == f"genai-prices {genai_prices.__version__}"
    assert both.version == f"genai-prices {genai_prices.__version__}, polyroute 2026-11-20"
    assert ours.version == "polyroute 2026-11-20"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ('provider = "x"\nmodels = ["m"]\nunit = "second"\nusd = 1\nsource = "s"', "checked"),
        ('provider = "x"\nmodels = ["m"]\nunit = "hour"\nusd = 1\nchecked = 2026-01-01\nsource = "s"', "hour"),
        ('provider = "x"\nmodels = ["m"]\nunit = "second"\nusd = -1\nchecked = 2026-01-01\nsource = "s"', "below zero"),
        (('provider = "x"\nmodels = ["m", "M"]\nunit = "second"\nusd = 1\nchecked = 2026-01-01\nsource = "s"\n'
         '[[price]]\nprovider = "x"\nmodels = ["m"]\nunit = "second"\nusd = 2\nchecked = 2026-01-01\nsource = "s"'),
         "two prices"),
    ],
)  # fmt: skip
def test_a_row_without_date_or_sense_is_refused(tmp_path: Path, row: str, words: str) -> None:
    (tmp_path / "prices.toml").write_text(f"[[price]]\n{row}\n")
    with pytest.raises(ValueError, match=words):
        read_unit_prices(tmp_path / "prices.toml")


ROW = 'provider = "x"\nmodels = ["m"]\nchecked = 2026-01-01\nsource = "s"\n'
MOMENT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def table(tmp_path: Path, *rows: str) -> UnitPrices:
    text = "".join(f"[[price]]\n{'' if 'provider' in row else ROW}{row}\n" for row in rows)
    (tmp_path / "prices.toml").write_text(text)
    return read_unit_prices(tmp_path / "prices.toml")


def price_of(units: UnitPrices, moment: datetime = MOMENT, model: str = "m") -> Price:
    row = units.find("x", model)
    assert row is not None
    price = row.price_at(moment)
    assert price is not None
    return price


def test_a_price_without_a_date_is_refused_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"price 1: .*the day on which it was read: write checked = 2026-11-21"):
        table(tmp_path, 'provider = "x"\nmodels = ["m"]\nunit = "image"\nusd = 1\nsource = "s"')
    with pytest.raises(ValueError, match="the place where it was read"):
        table(tmp_path, 'provider = "x"\nmodels = ["m"]\nunit = "image"\nusd = 1\nchecked = 2026-11-21\nsource = ""')


def test_units_of_one_model_go_together(tmp_path: Path) -> None:
    units = table(
        tmp_path,
        'unit = "megapixel"\nusd = 0.03',
        'unit = "video_second"\nusd = 0.05\nvideos = [{size = "720p", usd = 0.07}]',
        'unit = "compute_second"\nhardware = [{name = "gpu", usd = 0.001}]',
        'unit = "factor"\nfactors = {batch = 0.5}',
        'provider = "x"\nmodels = ["*"]\nunit = "credit"\nusd = 1\nper = 100\nchecked = 2026-02-01\nsource = "s"',
    )
    price = price_of(units)
    assert exact_cost(Usage(megapixels=2.0), price) == Decimal("0.06")
    assert exact_cost(Usage(video_seconds=2.0, video_size="720p", tier="batch"), price) == Decimal("0.07")
    assert exact_cost(Usage(compute_seconds=5.0, hardware="gpu"), price) == Decimal("0.005")
    assert price.credit == Decimal("0.01")
    assert price.version == "polyroute 2026-01-01"
    assert price_of(units, model="anything else").credit == Decimal("0.01")


def test_what_was_made_is_charged_and_not_the_time_that_it_took(tmp_path: Path) -> None:
    price = price_of(table(tmp_path, 'unit = "image"\nusd = 0.04', 'unit = "compute_second"\nusd = 1'))
    assert exact_cost(Usage(images=1, compute_seconds=3.0), price) == Decimal("0.04")


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        (datetime(2026, 6, 30, 12, tzinfo=UTC), "1"),
        (datetime(2026, 7, 1, 12, tzinfo=UTC), "2"),
        (datetime(2026, 7, 1, 23, tzinfo=UTC), "0.5"),
        (datetime(2026, 7, 2, 3, 59, tzinfo=UTC), "0.5"),
        (datetime(2026, 7, 2, 4, 0, tzinfo=UTC), "2"),
    ],
)
def test_prices_change_on_a_day_and_by_the_time_of_day(tmp_path: Path, moment: datetime, expected: str) -> None:
    units = table(
        tmp_path,
        'unit = "image"\nusd = 1',
        'unit = "image"\nusd = 2\nsince = 2026-07-01',
        'unit = "image"\nusd = 0.5\ndaily_from = 22:00:00\ndaily_until = 04:00:00\nsince = 2026-07-01',
    )
    assert price_of(units, moment).image == Decimal(expected)


def test_what_has_ended_has_no_price(tmp_path: Path) -> None:
    row = table(tmp_path, 'unit = "image"\nusd = 1\nuntil = 2026-09-24').find("x", "m")
    assert row is not None
    assert row.price_at(MOMENT) is None
    assert row.price_at(datetime(2026, 9, 23, tzinfo=UTC)) is not None


def test_tokens_have_tiers_by_the_length_of_the_prompt(tmp_path: Path) -> None:
    price = price_of(
        table(tmp_path, 'unit = "tokens"\ntokens = {input = 1, output = 2}\ntiers = [{above = 200000, input = 3}]')
    )
    assert exact_cost(Usage(input=200_000, output=0), price) == Decimal("0.2")
    assert exact_cost(Usage(input=200_001, output=1_000_000), price) == Decimal("2.600003")


def test_image_tokens_are_priced_where_the_token_table_does_not_tell_them_apart(book: CatalogPrices) -> None:
    price = book.price("openai", "gpt-image-2")
    assert price is not None
    usage = Usage(input=12, image_input=0, output=0, image_output=1372, images=1, image_size="1536x1024")
    assert exact_cost(usage, price) == (12 * Decimal(5) + 1372 * Decimal(30)) / 1_000_000


def test_every_row_of_ours_makes_a_price(book: CatalogPrices) -> None:
    units = read_unit_prices(Path(prices.__file__).with_name("prices.toml"))
    assert len(units.targets) > 120
    for provider, model in units.targets:
        row = units.find(provider, model)
        assert row is not None
        price = row.price_at(datetime(2026, 9, 1, tzinfo=UTC))
        assert price is not None, (provider, model)
        assert price.is_known or price.factors


def test_a_batch_is_half_price_and_says_so(book: CatalogPrices) -> None:
    price = book.price("anthropic", "claude-sonnet-4-5")
    cost, half = (cost_of(Usage(input=1000, output=100, tier=tier), price) for tier in (None, "batch"))
    assert cost is not None
    assert half is not None
    assert half.usd * 2 == cost.usd
    assert half.price_version == f"{cost.price_version}, batch x 0.5"
