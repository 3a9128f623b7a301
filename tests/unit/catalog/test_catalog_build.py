"""Which providers are on, where they are asked, and what the routes are."""

import pytest

from polyroute.catalog.addresses import normalise_url, strip_overlap
from polyroute.catalog.build import build_catalog, check_input
from polyroute.catalog.inputs import CatalogInput, read_input
from polyroute.catalog.problems import CatalogError
from polyroute.catalog.rows import load_rows, parse_row
from polyroute.ports import Endpoint
from polyroute.types.operations import Dialect, Operation

ROWS = load_rows()
KEYS = {
    "AIML_API_KEY": "a",
    "PIAPI_API_KEY": "p",
    "OPENROUTER_API_KEY": "r",
    "OPENAI_API_KEY": "o",
    "ANTHROPIC_API_KEY": "n",
    "XAI_API_KEY": "x",
    "GROQ_API_KEY": "g",
    "MISTRAL_API_KEY": "m",
}


def build(values=None, environment=None, **more):
    return build_catalog(ROWS, read_input(values or {}), environment or {}, **more)


def told(values, environment=None):
    problems = check_input(ROWS, read_input(values), environment or {})
    return [(".".join(map(str, found.path)), found.message, found.nearest) for found in problems]


def names(targets):
    return [str(target) for target in targets]


def reason(catalog, name):
    return next(skipped.reason for skipped in catalog.skipped if skipped.name == name)


# ---------------------------------------------------------------- which are on


def test_without_configuration_those_with_a_credential_are_on():
    catalog = build(environment={"OPENAI_API_KEY": "k", "GROQ_API_KEY": " "})
    assert list(catalog.providers) == ["openai"]
    assert reason(catalog, "groq") == "no credential: set GROQ_API_KEY or providers.groq.api_key"
    assert reason(catalog, "openrouter").startswith("no credential: set OPENROUTER_API_KEY (or OPENROUTER_KEY)")


def test_local_services_are_on_when_their_address_is_known():
    assert "ollama" not in build().providers
    assert build(environment={"OLLAMA_HOST": "box"}).providers["ollama"].base_url == "http://box:11434"
    assert build({"providers": {"vllm": {}}}).providers["vllm"].base_url == "http://127.0.0.1:8000/v1"


def test_listed_providers_stand_beside_those_of_the_environment():
    values = {"providers": {"groq": {"credentials": ["g"]}, "openai": {"enabled": False}, "mistral": {}}}
    catalog = build(values, {"OPENAI_API_KEY": "k", "XAI_API_KEY": "x"})
    assert list(catalog.providers) == ["groq", "xai"]
    assert "switched off" in reason(catalog, "openai")
    assert reason(catalog, "mistral") == "no credential: set MISTRAL_API_KEY or providers.mistral.api_key"


def test_what_is_not_served_yet_is_never_on():
    row = parse_row(
        "later",
        'kind = "gateway"\nadapter = "none"\nbase_url = "https://later.example"\nauth = "bearer"\nsource = "its page"\n'
        'checked = 2026-11-20\ncredential_environment = ["LATER_KEY"]\n[endpoints]\n',
    )
    catalog = build_catalog({"later": row}, read_input({}), {"LATER_KEY": "k"})
    assert list(catalog.providers) == []
    assert "not served by this version" in reason(catalog, "later")


def test_a_credential_of_several_parts():
    pair = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "s"}
    assert "bedrock" not in build(environment={"AWS_ACCESS_KEY_ID": "AKID"}).providers
    assert build(environment=pair).providers["bedrock"].credentials == ("AKID:s",)
    assert build(environment={**pair, "AWS_SESSION_TOKEN": "t"}).providers["bedrock"].credentials == ("AKID:s:t",)
    bedrock = build(environment={**pair, "AWS_BEARER_TOKEN_BEDROCK": "b", "AWS_REGION": "eu-west-1"}).providers[
        "bedrock"
    ]
    assert (bedrock.credentials, bedrock.options["region"]) == (("b",), "eu-west-1")
    assert bedrock.base_url == "https://bedrock-runtime.eu-west-1.amazonaws.com"


def test_an_address_that_differs_by_account():
    environment = {"AZURE_OPENAI_API_KEY": "k"}
    assert "set AZURE_OPENAI_ENDPOINT" in reason(build(environment=environment), "azure")
    azure = build(environment={**environment, "AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com/"})
    assert azure.providers["azure"].base_url == "https://res.openai.azure.com/openai/v1"
    own = build({"providers": {"azure": {"options": {"endpoint": "https://mine"}}}}, environment)
    assert own.providers["azure"].base_url == "https://mine/openai/v1"


# ---------------------------------------------------------------- where they are asked


@pytest.mark.parametrize(
    ("provider", "given", "base_url", "path"),
    [
        ("anthropic", "https://proxy/v1", "https://proxy", "/v1/messages"),
        ("anthropic", "https://proxy/", "https://proxy", "/v1/messages"),
        ("openai", "https://proxy/v1/", "https://proxy/v1", "/chat/completions"),
        ("ollama", "http://box:1/v1", "http://box:1", "/api/chat"),
    ],
)
def test_both_spellings_of_a_base_url_work(provider, given, base_url, path):
    found = build({"providers": {provider: {"base_url": given, "credentials": ["k"]}}}).providers[provider]
    assert (found.base_url, found.endpoints[0].path) == (base_url, path)


@pytest.mark.parametrize(
    ("environment", "provider", "base_url"),
    [
        (
            {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://eu.api.openai.com/v1"},
            "openai",
            "https://eu.api.openai.com/v1",
        ),
        ({"GROQ_API_KEY": "k", "GROQ_BASE_URL": "https://proxy"}, "groq", "https://proxy/openai/v1"),
        ({"OLLAMA_HOST": "0.0.0.0"}, "ollama", "http://127.0.0.1:11434"),
        ({"OLLAMA_HOST": "[::1]"}, "ollama", "http://[::1]:11434"),
        ({"OLLAMA_HOST": "https://ollama.example"}, "ollama", "https://ollama.example"),
        ({"VLLM_BASE_URL": "gpu:8001"}, "vllm", "http://gpu:8001/v1"),
    ],
)
def test_the_environment_moves_a_provider(environment, provider, base_url):
    assert build(environment=environment).providers[provider].base_url == base_url


def test_a_moved_provider_is_not_asked_past_its_new_address():
    plain = build(environment={"CO_API_KEY": "k"}).providers["cohere"]
    moved = build({"providers": {"cohere": {"base_url": "https://proxy"}}}, {"CO_API_KEY": "k"}).providers["cohere"]
    assert Operation.EMBED in plain.serves
    assert [endpoint.dialect for endpoint in moved.endpoints] == [Dialect.COHERE_V2]
    assert moved.serves == {Operation.CHAT}


def test_overlap_is_found_by_whole_segments():
    endpoints = [Endpoint(dialect=Dialect.OPENAI_CHAT, path="/openai/v1/chat/completions")]
    assert strip_overlap("https://h/openai/v1", endpoints) == "https://h"
    assert strip_overlap("https://h/myopenai/v1", endpoints) == "https://h/myopenai/v1"
    assert normalise_url("https://h/a/") == "https://h/a"


def test_the_sandbox_stands_in_for_every_built_in_provider():
    catalog = build(
        {"providers": {"groq": {"enabled": False}, "openai": {"credentials": ["real"]}}}, sandbox_url="http://s:1/"
    )
    assert len(catalog.providers) == len([row for row in ROWS.values() if row.endpoints and row.program is None]) - 1
    assert all(
        provider.simulated and provider.base_url.startswith("http://s:1/") for provider in catalog.providers.values()
    )
    assert {secret for provider in catalog.providers.values() for secret in provider.credentials} == {"sandbox"}
    bases = {name: provider.base_url for name, provider in catalog.providers.items()}
    assert bases["openai"] == "http://s:1/openai/v1"
    assert bases["openrouter"] == "http://s:1/openrouter/api/v1"
    assert bases["bedrock"] == "http://s:1/bedrock"
    assert bases["azure"] == "http://s:1/azure/openai/v1"
    own = {endpoint.base_url for provider in catalog.providers.values() for endpoint in provider.endpoints}
    assert own == {None, "http://s:1/aihubmix/gemini/v1beta", "http://s:1/cohere/compatibility/v1"}


# ---------------------------------------------------------------- entries of one's own


@pytest.mark.parametrize(
    ("adapter", "dialect", "path", "auth"),
    [
        ("openai_compatible", Dialect.OPENAI_CHAT, "/chat/completions", "bearer"),
        ("openai_responses", Dialect.OPENAI_RESPONSES, "/responses", "bearer"),
        ("anthropic", Dialect.ANTHROPIC_MESSAGES, "/v1/messages", "x-api-key"),
        ("gemini", Dialect.GEMINI, "/models/{model}:generateContent", "x-goog-api-key"),
        ("ollama", Dialect.OLLAMA, "/api/chat", "bearer"),
        ("cohere", Dialect.COHERE_V2, "/v2/chat", "bearer"),
        ("bedrock", Dialect.BEDROCK_CONVERSE, "/model/{model}/converse", "sigv4"),
        ("runpod", Dialect.RUNPOD, "/runsync", "bearer"),
    ],
)
def test_an_entry_of_ones_own_speaks_its_dialect_and_no_other(adapter, dialect, path, auth):
    values = {"providers": {"mine": {"adapter": adapter, "base_url": "http://h:1", "kind": "local"}}}
    mine = build(values).providers["mine"]
    assert [(endpoint.dialect, endpoint.path) for endpoint in mine.endpoints] == [(dialect, path)]
    assert (mine.auth, mine.credentials, mine.serves, mine.kind.value) == (auth, (), {Operation.CHAT}, "local")


def test_media_endpoints_come_with_what_is_served():
    entry = {"adapter": "openai_compatible", "base_url": "http://h/v1", "serves": ["embed", "transcription"]}
    mine = build({"providers": {"mine": entry}}).providers["mine"]
    assert [endpoint.path for endpoint in mine.endpoints] == [
        "/embeddings",
        "/moderations",
        "/audio/transcriptions",
        "/audio/translations",
    ]


def test_an_entry_changes_a_row():
    entry = {
        "dialects": ["openai_responses", "openai_chat", "openai_images"],
        "serves": ["chat"],
        "default_models": {"chat": "mine"},
        "models": ["a", "b"],
        "priority": {"TEXT": 9, "chat": 2},
        "timeouts": {"idle": 5.0},
        "quirks": {"openai_chat": {"drop": ["user"], "default": {"store": False}}},
        "capabilities": ["tools"],
        "headers": {"x-team": "a"},
    }
    openai = build({"providers": {"openai": entry}}, {"OPENAI_API_KEY": "k"}).providers["openai"]
    assert [endpoint.dialect for endpoint in openai.endpoints] == [Dialect.OPENAI_RESPONSES, Dialect.OPENAI_CHAT]
    assert (openai.serves, openai.models[Operation.CHAT]) == ({Operation.CHAT}, ("mine", "a", "b"))
    assert (openai.priority[Operation.CHAT], openai.priority[Operation.EMBED], openai.priority[Operation.IMAGE]) == (
        2,
        9,
        2,
    )
    assert openai.timeouts is not None
    assert (openai.timeouts.idle, openai.timeouts.total) == (5.0, 600.0)
    assert openai.quirks[Dialect.OPENAI_CHAT].drop == {"user"}


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        (
            {"adapter": "ollama"},
            ("providers.openai.adapter", "openai is a built-in provider: leave `adapter` out", None),
        ),
        ({"serves": ["music"]}, ("providers.openai.serves.0", "openai does not serve music", None)),
        ({"dialects": ["openai_caht"]}, ("providers.openai.dialects.0", "openai does not speak", "openai_chat")),
        (
            {"default_models": {"music": "x"}},
            ("providers.openai.default_models.music", "openai does not serve it", None),
        ),
        ({"priority": {"TXET": 1}}, ("providers.openai.priority.TXET", "unknown operation or category", "TEXT")),
        ({"auth": "baerer"}, ("providers.openai.auth", "unknown way to send a credential", "bearer")),
        ({"capabilities": ["toolz"]}, ("providers.openai.capabilities.0", "unknown capability", "tools")),
        ({"quirks": {"chat": {}}}, ("providers.openai.quirks.chat", "unknown dialect", None)),
    ],
)
def test_a_wrong_entry_is_told(entry, problem):
    [(path, message, nearest)] = told({"providers": {"openai": entry}}, KEYS)
    assert (path, nearest) == (problem[0], problem[2])
    assert message.startswith(problem[1])


# ---------------------------------------------------------------- routes


def test_the_built_in_order():
    catalog = build(environment=KEYS)
    assert [target.provider for target in catalog.routes["text"].targets] == [
        "aimlapi", "piapi", "openrouter", "openai", "anthropic", "xai", "groq", "mistral",
    ]  # fmt: skip
    assert catalog.routes["image"].targets[0].provider == "openai"
    assert set(catalog.routes) == {"text", "embedding", "image", "speech", "transcription", "video", "music"}
    assert all(route.built_in for route in catalog.routes.values())


def test_changing_a_number_reorders():
    values = {"providers": {"groq": {"priority": 0}, "aimlapi": {"priority": {"TEXT": 99}}}}
    assert [target.provider for target in build(values, KEYS).routes["text"].targets] == [
        "groq", "piapi", "openrouter", "openai", "anthropic", "xai", "aimlapi", "mistral",
    ]  # fmt: skip


def test_a_route_without_a_provider_does_not_exist():
    assert set(build(environment={"ANTHROPIC_API_KEY": "k"}).routes) == {"text"}


def test_a_declared_route_stands_in_for_the_built_in_one():
    catalog = build({"routes": {"image": {"targets": ["openai"]}}}, KEYS)
    route = catalog.routes["image"]
    assert (route.operation, route.built_in, names(route.targets)) == (Operation.IMAGE, False, ["openai/gpt-image-2"])


def test_targets_and_fallbacks():
    values = {
        "providers": {"mine": {"adapter": "openai_compatible", "base_url": "http://h/v1", "models": ["qwen"]}},
        "routes": {
            "draft": {
                "targets": ["openai", "openai/gpt-x", "cohere", "openai"],
                "fallbacks": ["spare", "qwen", "mine/other", "openai/gpt-x"],
                "retries": 0,
                "timeouts": {"total": 9.0},
            },
            "spare": {"targets": ["groq/a/b"], "fallbacks": ["mistral"]},
        },
    }
    catalog = build(values, KEYS)
    draft = catalog.routes["draft"]
    assert names(draft.targets) == ["openai/gpt-5.6-luna", "openai/gpt-x"]
    assert names(draft.fallbacks) == ["groq/a/b", "mistral/mistral-small-latest", "mine/qwen", "mine/other"]
    assert [drop.target for drop in draft.drops] == ["cohere"]
    assert draft.timeouts is not None
    assert (draft.retries, draft.timeouts.total, draft.timeouts.connect) == (0, 9.0, 3.0)
    assert any("route draft: cohere is left out: no credential" in warning for warning in catalog.warnings)
    assert any("provider mine has no default model" in warning for warning in catalog.warnings)


@pytest.mark.parametrize(
    ("routes", "path", "message"),
    [
        ({"a": {"targets": ["openia"]}}, "routes.a.targets.0", "unknown provider openia"),
        ({"a": {"targets": []}}, "routes.a.targets", "a route needs at least one target"),
        (
            {"a": {"targets": ["anthropic"], "operation": "image"}},
            "routes.a.targets.0",
            "anthropic does not serve image",
        ),
        ({"a": {"targets": ["openai/"]}}, "routes.a.targets.0", "a target is provider/model"),
        ({"a": {"targets": ["text"]}}, "routes.a.targets.0", "a route is no target"),
        ({"openai/x": {"targets": ["openai"]}}, "routes.openai/x", "a route of this name would hide"),
        ({"a": {"targets": ["openai"], "policy": "luck"}}, "routes.a.policy", "unknown policy"),
        (
            {"a": {"targets": ["openai"], "fallbacks": ["a"]}},
            "routes.a.fallbacks.0",
            "fallbacks go round in a loop: a → a",
        ),
        ({"a": {"targets": ["openai"], "fallbacks": ["image"]}}, "routes.a.fallbacks.0", "route image is for image"),
        ({"a": {"targets": ["openai"], "fallbacks": ["nope"]}}, "routes.a.fallbacks.0", "unknown target or route nope"),
        ({"a": {"targets": ["vllm"]}}, "routes.a.targets.0", "no default model for chat: write vllm/MODEL"),
    ],
)
def test_a_wrong_route_is_told(routes, path, message):
    [(where, said, _)] = told({"routes": routes, "providers": {"vllm": {}}}, KEYS)
    assert where == path
    assert said.startswith(message)


def test_a_loop_over_three_routes_is_told_once():
    routes = {name: {"targets": ["openai"], "fallbacks": [after]} for name, after in zip("abc", "bca", strict=True)}
    assert told({"routes": routes}, KEYS) == [
        ("routes.c.fallbacks.0", "fallbacks go round in a loop: a → b → c → a", None)
    ]


def test_what_depends_on_a_wrong_entry_is_not_wrong_too():
    values = {
        "routes": {"a": {"targets": ["mine", "openai"], "fallbacks": ["b"]}},
        "invalid": ["providers.mine", "routes.b"],
    }
    assert told(values, KEYS) == []


def test_a_wrong_input_builds_nothing():
    with pytest.raises(CatalogError, match=r"routes\.a\.targets: a route needs at least one target"):
        build({"routes": {"a": {"targets": []}}})


def test_the_catalog_cannot_be_changed():
    catalog = build(environment=KEYS)
    with pytest.raises(TypeError):
        catalog.providers["x"] = catalog.providers["openai"]
    with pytest.raises(AttributeError):
        catalog.routes = {}


def test_an_empty_input_is_the_default():
    assert read_input({}) == CatalogInput()
