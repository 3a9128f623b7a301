"""What a caller's `model` means."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyroute.catalog.build import build_catalog
from polyroute.catalog.inputs import CatalogInput, read_input
from polyroute.catalog.resolve import Resolved, Unresolved, resolve
from polyroute.catalog.rows import load_rows
from polyroute.types.errors import ErrorKind
from polyroute.types.operations import Operation

CATALOG = build_catalog(
    load_rows(),
    read_input(
        {
            "providers": {
                "openai": {"models": {"chat": ["gpt-4o-mini"], "embed": ["emb"]}, "credentials": ["k"]},
                "aihubmix": {"models": ["gpt-4o-mini", "any"], "credentials": ["k"], "priority": 1},
                "together": {"models": ["meta-llama/Llama-4"], "credentials": ["k"]},
            },
            "routes": {"team/draft": {"targets": ["openai/x"]}, "gpt-4o-mini": {"targets": ["together/y"]}},
        }
    ),
    {},
)


def targets(model, operation=Operation.CHAT):
    found = resolve(CATALOG, model, operation)
    assert isinstance(found, Resolved), found
    return [str(target) for target in found.route.targets]


def refusal(model, operation=Operation.CHAT):
    found = resolve(CATALOG, model, operation)
    assert isinstance(found, Unresolved), found
    return found


def test_a_route_comes_first():
    assert targets("gpt-4o-mini") == ["together/y"]
    assert targets("team/draft") == ["openai/x"]


def test_a_target_is_split_at_the_first_slash():
    assert targets("together/meta-llama/Llama-9") == ["together/meta-llama/Llama-9"]
    assert targets("openai/never-heard-of") == ["openai/never-heard-of"]


def test_a_bare_id_means_every_provider_that_lists_it():
    assert targets("emb", Operation.EMBED) == ["openai/emb"]
    assert targets("any", Operation.EMBED) == ["aihubmix/any"]
    assert targets("gpt-5.6-luna") == ["aihubmix/gpt-5.6-luna", "openai/gpt-5.6-luna"]
    assert targets("meta-llama/Llama-4") == ["together/meta-llama/Llama-4"]


def test_an_unknown_model_names_the_nearest():
    found = refusal("gpt-5.6-lunar")
    assert found.kind is ErrorKind.NOT_FOUND
    assert found.nearest[0] == "gpt-5.6-luna"
    error = found.error()
    assert (error.status, error.param, error.code) == (404, "model", "model_not_found")
    assert "did you mean gpt-5.6-luna" in error.message


def test_a_mistyped_provider_is_mended():
    assert refusal("opneai/gpt-x").nearest == ("openai/gpt-x",)


def test_a_provider_that_is_off_says_why():
    message = refusal("groq/llama").message
    assert "provider groq is off: no credential: set GROQ_API_KEY" in message


def test_a_provider_that_cannot_do_it_is_a_wrong_request():
    found = refusal("together/x", Operation.MODERATE)
    assert (found.kind, found.message.partition(";")[0]) == (
        ErrorKind.INVALID_REQUEST,
        "together does not serve moderate",
    )


def test_a_route_for_something_else_is_a_wrong_request():
    assert refusal("text", Operation.IMAGE).message.startswith("route text is for chat, not for image")


@pytest.mark.parametrize("model", ["", "/", "openai/", "/x", "openai", "x" * 100_000])
def test_odd_names_are_refused_in_few_words(model):
    found = refusal(model)
    assert found.kind is ErrorKind.NOT_FOUND
    assert len(found.message) < 1000


def test_nothing_is_known_where_nothing_is_on():
    empty = build_catalog(load_rows(), CatalogInput(), {})
    found = resolve(empty, "text", Operation.CHAT)
    assert isinstance(found, Unresolved)
    assert found.message == "unknown model 'text'; nothing here serves chat"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.sampled_from(list(Operation)))
def test_every_name_gets_an_answer(model, operation):
    found = resolve(CATALOG, model, operation)
    if isinstance(found, Resolved):
        assert found.route.operation is operation
        assert found.route.targets
    else:
        assert found.error().status in {400, 404}
