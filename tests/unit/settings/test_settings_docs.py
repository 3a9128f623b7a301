"""The documentation says what the code does."""

import re
from pathlib import Path

import pytest

from polyroute.catalog.build import build_catalog, check_input
from polyroute.catalog.inputs import read_input
from polyroute.catalog.rows import load_rows, parse_row
from polyroute.settings import ConfigurationError, load_settings
from polyroute.settings.models import Values
from polyroute.settings.reference import render_reference, walk_sections
from polyroute.types.operations import Dialect, Operation

ROOT = Path(__file__).parents[3]
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
ADDING = (ROOT / "docs" / "adding-a-provider.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def catalog_of(text: str, folder: Path, environ: dict[str, str]):
    file = folder / "polyroute.yaml"
    file.write_text(text, encoding="utf-8")
    settings = load_settings(
        file,
        environ,
        check=lambda found: check_input(load_rows(), read_input(found.catalog_values()), found.environment),
    )
    return build_catalog(load_rows(), read_input(settings.catalog_values()), settings.environment)


def test_the_reference_is_that_of_the_code():
    assert render_reference() in CONFIGURATION, "run python -m polyroute.settings.reference"


def test_every_key_is_explained():
    for path, model in walk_sections(Values):
        for name, field in model.model_fields.items():
            nested = any(
                found == f"{path}.{name}" or found.startswith(f"{path}.{name}.") for found, _ in walk_sections(Values)
            )
            assert field.description or nested, f"{path}.{name} has no docstring"


@pytest.mark.parametrize("text", blocks(CONFIGURATION, "yaml") + blocks(ADDING, "yaml"))
def test_the_examples_load(text, tmp_path):
    catalog = catalog_of(text, tmp_path, {"OPENAI_API_KEY": "k"})
    assert catalog.routes["draft"].targets[0].provider == "my_vllm"


def test_every_provider_is_listed_with_what_switches_it_on():
    for name, row in load_rows().items():
        line = next(line for line in CONFIGURATION.splitlines() if line.startswith(f"| `{name}` |"))
        wanted = row.base_url_environment if row.kind == "local" else row.credential_environment
        assert re.split("[:?]", wanted[0])[0] in line
        assert all(operation in line for operation in row.serves)
        assert all(f"{category} {number}" in line for category, number in row.priority.items())


def test_the_example_of_an_error_is_one(tmp_path):
    text = "server: {prot: 8080}\nproviders: {}\nroutes:\n  draft: {targets: [opneai/gpt]}\n"
    with pytest.raises(ConfigurationError) as caught:
        catalog_of(text, tmp_path, {})
    assert str(caught.value).replace(f"{tmp_path}/", "") in CONFIGURATION


def test_the_example_file_loads_and_holds_the_defaults(tmp_path):
    text = (ROOT / "polyroute.example.yaml").read_text(encoding="utf-8")
    catalog = catalog_of(text, tmp_path, {"OPENAI_API_KEY": "k", "XAI_API_KEY": "x"})
    assert [target.provider for target in catalog.routes["text"].targets] == ["openai", "xai"]
    assert [str(target) for target in catalog.routes["gpt-4o-mini"].fallbacks][-1] == "my_vllm/qwen3.5-9b"
    settings = load_settings(tmp_path / "polyroute.yaml", {})
    sections = ("server", "storage", "auth", "defaults", "sandbox")
    assert not [line for line in settings.describe_changes() if line.startswith(sections)]


def test_the_example_row_becomes_a_provider():
    row = parse_row("example", blocks(ADDING, "toml")[0])
    catalog = build_catalog({"example": row}, read_input({}), {"EXAMPLE_API_KEY": "k"})
    example = catalog.providers["example"]
    assert example.serves == {Operation.CHAT, Operation.EMBED}
    assert [endpoint.auth for endpoint in example.endpoints] == [None, "x-api-key", None]
    assert example.quirks[Dialect.OPENAI_CHAT].rename == {"max_completion_tokens": "max_tokens"}
    assert str(catalog.routes["text"].targets[0]) == "example/example-large"
