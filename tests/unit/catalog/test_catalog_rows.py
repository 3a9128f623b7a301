"""The built-in rows: what they promise, and whether recorded exchanges bear it out."""

import json
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from polyroute.catalog.build import build_catalog
from polyroute.catalog.inputs import CatalogInput
from polyroute.catalog.rows import load_rows, parse_row
from polyroute.types.operations import OPERATION_OF, Dialect, Operation, ProviderKind
from support.recordings import recordings_folder

ROWS = load_rows()
RECORDINGS = recordings_folder() or Path()
needs_recordings = pytest.mark.skipif(
    recordings_folder() is None, reason="no folder of recorded exchanges beside the project"
)
ONE_DIALECT = {
    "groq": Dialect.OPENAI_CHAT,
    "mistral": Dialect.OPENAI_CHAT,
    "together": Dialect.OPENAI_CHAT,
    "perplexity": Dialect.OPENAI_CHAT,
    "anthropic": Dialect.ANTHROPIC_MESSAGES,
    "google": Dialect.GEMINI,
    "cohere": Dialect.COHERE_V2,
    "bedrock": Dialect.BEDROCK_CONVERSE,
}


@pytest.mark.parametrize("row", ROWS.values(), ids=list(ROWS))
def test_every_row_is_whole(row):
    assert urlsplit(row.base_url.replace("{endpoint}", "https://x")).scheme in (
        {"process"} if row.program else {"http", "https"}
    )
    assert not row.base_url.endswith("/")
    assert all(
        endpoint.path.startswith("/") or (name.startswith("media_") and row.media_adapter)
        for name, endpoint in row.endpoints.items()
    )
    assert row.credential_environment
    assert row.source
    assert row.checked >= date(2026, 11, 20)
    assert set(row.quirks) <= set(row.endpoints)
    assert (row.kind is ProviderKind.LOCAL) <= bool(row.base_url_environment)


@pytest.mark.parametrize(("name", "dialect"), ONE_DIALECT.items())
def test_these_speak_one_chat_dialect(name, dialect):
    assert [found for found in ROWS[name].endpoints if OPERATION_OF[found] is Operation.CHAT] == [dialect]


def test_credentials_are_found_under_the_names_that_people_use():
    short = ["AIMLAPI_KEY", "PIAPI_KEY", "OPENROUTER_KEY"]
    catalog = build_catalog(ROWS, CatalogInput(), dict.fromkeys(short, "k"))
    assert sorted(catalog.providers) == ["aimlapi", "openrouter", "piapi"]
    known = {
        part.removesuffix("?") for row in ROWS.values() for a in row.credential_environment for part in a.split(":")
    }
    assert {"FALAI_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY", "AWS_BEARER_TOKEN_BEDROCK", *short} <= known


def test_the_sdks_own_name_wins():
    environment = {"OPENROUTER_KEY": "short", "OPENROUTER_API_KEY": "own", "GEMINI_API_KEY": "b", "GOOGLE_API_KEY": "a"}
    providers = build_catalog(ROWS, CatalogInput(), environment).providers
    assert providers["openrouter"].credentials == ("own",)
    assert providers["google"].credentials == ("a",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind = ", "provider row x.toml: Invalid value"),
        ('kind = "direct"\nnonsense = 1', r"provider row x\.toml: Object (missing|contains)"),
    ],
)
def test_a_row_that_is_wrong_names_itself(text, said):
    with pytest.raises(ValueError, match=said):
        parse_row("x", text)


def test_a_default_model_needs_an_endpoint():
    text = """
kind = "direct"\nadapter = "openai_compatible"\nbase_url = "https://x"\nauth = "bearer"\nsource = "s"\nchecked = 2026-11-20
credential_environment = ["X"]\nendpoints = {openai_chat = "/chat"}\ndefault_models = {image = "m"}"""
    with pytest.raises(ValueError, match="a default model for image, which none of its endpoints serves"):
        parse_row("x", text)


# ---------------------------------------------------------------- recordings


def recorded(provider: str):
    """(dialect's tail, body) of every recorded request of a provider that was answered with 200."""
    for line in (RECORDINGS / "index.jsonl").read_text().splitlines():
        entry = json.loads(line)
        if entry["provider"] == provider:
            exchange = json.loads((RECORDINGS / entry["path"]).read_text())
            if exchange["response"].get("status") == 200:
                yield urlsplit(exchange["request"]["url"]).path, exchange["request"].get("body_json")


@needs_recordings
@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.quirks])
def test_no_quirk_touches_a_field_that_the_provider_is_known_to_take(name):
    row = ROWS[name]
    for dialect, quirks in row.quirks.items():
        touched = {*quirks.drop, *quirks.rename, *quirks.force}
        for path, body in recorded(name):
            if isinstance(body, dict) and path.endswith(row.endpoints[dialect].path):
                assert not touched & set(body), path


@needs_recordings
@pytest.mark.parametrize(
    ("name", "dialects"),
    {
        "openai": "openai_chat openai_responses openai_embeddings openai_images openai_speech openai_transcriptions",
        "openrouter": "openai_chat openai_responses openai_embeddings openai_images openai_speech openai_transcriptions",
        "deepseek": "openai_chat openai_responses",
        "xai": "openai_responses",
        "groq": "openai_chat openai_transcriptions",
        "mistral": "openai_chat openai_embeddings openai_transcriptions",
        "perplexity": "openai_chat openai_embeddings",
        "fireworks": "openai_chat",
        "together": "openai_chat",
        "anthropic": "anthropic_messages",
        "cohere": "cohere_v2",
    }.items(),
)
def test_the_paths_are_those_of_recorded_requests(name, dialects):
    row = ROWS[name]
    base = urlsplit(row.base_url).path
    asked = {path for path, _ in recorded(name)}
    assert {base + row.endpoints[Dialect(dialect)].path for dialect in dialects.split()} <= asked
