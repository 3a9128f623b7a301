"""What an operator may write, where it may stand, and what is said when it is wrong."""

from pathlib import Path

import pytest

from polyroute.catalog.build import build_catalog, check_input
from polyroute.catalog.entries import ADAPTERS
from polyroute.catalog.inputs import read_input
from polyroute.catalog.routes import POLICIES
from polyroute.catalog.rows import load_rows
from polyroute.settings import ConfigurationError, Settings, load_settings

ADAPTER_NAMES = (*ADAPTERS, *(name for name, row in load_rows().items() if row.media_adapter and name not in ADAPTERS))
SECRET = "sk-never-shown-4711"


def check(settings: Settings):
    return check_input(load_rows(), read_input(settings.catalog_values()), settings.environment)


def load(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    file = folder / "polyroute.yaml"
    file.write_text(text, encoding="utf-8")
    return load_settings(file, environ or {}, check=check)


def refused(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(folder, text, environ)
    return [str(problem).replace(f"{folder}/", "") for problem in caught.value.problems]


def test_nothing_at_all_is_a_valid_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load_settings(None, {})
    assert (settings.server.host, settings.server.port, settings.auth.mode) == ("127.0.0.1", 8080, "open")
    assert settings.defaults.timeouts.first_token == 30
    assert settings.sources == (Path(".env"),)
    assert settings.describe_changes() == []


def test_the_file_in_the_working_folder_is_used(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "polyroute.yaml").write_text("server: {port: 1234}")
    assert load_settings(None, {}).server.port == 1234


def test_the_environment_names_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.yaml").write_text("server: {port: 4321}")
    assert load_settings(None, {"POLYROUTE_CONFIG": "other.yaml"}).server.port == 4321


def test_every_mistake_is_told_at_once(tmp_path):
    text = """\
server: {host: 0.0.0.0, prot: 8080, workers: none}
defaults:
  policy: priorty
  timeouts: {connect: -1, idle: yes}
providers:
  openai:
  opnai: {}
  anthropic: {api_key: "${NOPE}", priority: hi}
  groq: {base_url: ftp://x}
  my_vllm: {adapter: openai_compatibel, base_url: "http://10.0.0.7:8000/v1", kind: lokal, serves: [chat, embedd]}
routes:
  text: {operation: chat, targets: []}
  openai/x: {targets: [opneai/gpt, mistral]}
  img: {operation: image, targets: [mistral]}
  spoken: {operation: speach, targets: [openai]}
"""
    assert refused(tmp_path, text) == [
        "polyroute.yaml:1: server.workers: wrong value, given 'none' (expected a whole number)",
        (
            "polyroute.yaml:1: server.prot: unknown key; did you mean port? "
            "(expected one of host, port, workers, max_body_mb, max_upload_mb, public_url)"
        ),
        (
            "polyroute.yaml:1: server.host: auth.mode is open, and 0.0.0.0 can be reached from other machines (expected "
            "`auth: {mode: keys}` and a key of `polyroute keys create --name NAME`, or `server: {host: 127.0.0.1}`)"
        ),
        (
            "polyroute.yaml:3: defaults.policy: unknown policy, given priorty; did you mean priority? (expected one of "
            + ", ".join(POLICIES)
            + ")"
        ),
        "polyroute.yaml:4: defaults.timeouts.connect: wrong value, given -1 (expected more than 0)",
        "polyroute.yaml:4: defaults.timeouts.idle: wrong value, given True (expected a number, not a yes or no)",
        "polyroute.yaml:7: providers.opnai: unknown provider; an entry of one's own needs `adapter` and `base_url`, "
        "given opnai; did you mean openai? (expected one of " + ", ".join(load_rows()) + ")",
        (
            "polyroute.yaml:8: providers.anthropic.api_key: the environment variable NOPE is not set "
            "(expected it to be set, or a default: ${NOPE:-…})"
        ),
        (
            "polyroute.yaml:9: providers.groq.base_url: wrong value, given 'ftp://x' "
            "(expected a URL that begins with http:// or https://)"
        ),
        (
            "polyroute.yaml:10: providers.my_vllm.adapter: unknown adapter, given openai_compatibel; did you mean "
            f"openai_compatible? (expected one of {', '.join(ADAPTER_NAMES)})"
        ),
        (
            "polyroute.yaml:10: providers.my_vllm.serves[1]: unknown operation, given embedd; did you mean embed? "
            "(expected one of chat, embed, moderate, image, speech, transcription, video, music, compose)"
        ),
        (
            "polyroute.yaml:10: providers.my_vllm.kind: unknown kind, given lokal; did you mean local? "
            "(expected one of direct, gateway, local)"
        ),
        "polyroute.yaml:12: routes.text.targets: wrong value, given a list (expected at least 1 entry)",
        "polyroute.yaml:13: routes.openai/x: a route of this name would hide the target openai/x: openai is a provider",
        (
            "polyroute.yaml:13: routes.openai/x.targets[0]: unknown provider opneai, given opneai/gpt; did you mean "
            "openai/gpt? (expected provider/model or a provider)"
        ),
        (
            "polyroute.yaml:14: routes.img.targets[0]: mistral does not serve image; it serves chat, embed, transcription, "
            "given mistral"
        ),
        (
            "polyroute.yaml:15: routes.spoken.operation: unknown operation, given speach; did you mean speech? "
            "(expected one of chat, embed, moderate, image, speech, transcription, video, music, compose)"
        ),
    ]


@pytest.mark.parametrize(
    ("jobs", "key", "least"),
    [("lost_after: 2", "jobs.lost_after", "4.5"), ("heartbeat: 30", "jobs", "60.5"), ("heartbeat: 5", "jobs", "10.5")],
)
def test_workers_may_not_be_taken_for_dead_between_two_heartbeats(tmp_path, jobs, key, least):
    (told,) = refused(tmp_path, f"jobs: {{{jobs}}}")
    assert told.startswith(f"polyroute.yaml:1: {key}: ")
    assert f"`lost_after` of at least {least} s" in told


def test_a_key_that_stands_twice_is_refused(tmp_path):
    assert refused(tmp_path, "server:\n  port: 1\n  port: 2\n") == [
        "polyroute.yaml:3: server.port: the key stands here twice, first on line 2"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("server: [", "polyroute.yaml:1: is not YAML: expected the node content, but found '<stream end>'"),
        ("- a\n- b\n", "polyroute.yaml:1: the file must hold a mapping of sections (expected for example"),
        ("a: &a [*a]\n", "polyroute.yaml:1: is not YAML: a[0] contains itself"),
        ("server: 7\n", "polyroute.yaml:1: server: wrong value, given 7 (expected a mapping)"),
        ("providers: [openai]\n", "polyroute.yaml:1: providers: wrong value, given a list (expected a mapping)"),
        ("routes: {text: {}}\n", "polyroute.yaml:1: routes.text.targets: a route needs at least one target"),
        ("\x00", "polyroute.yaml: is not YAML"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path, text, said):
    assert refused(tmp_path, text)[0].startswith(said)


def test_a_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"gone\.yaml: there is no such file"):
        load_settings(tmp_path / "gone.yaml", {})


def test_a_file_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "polyroute.yaml").write_bytes(b"server: {host: \xff}")
    with pytest.raises(ConfigurationError, match="it is not UTF-8"):
        load_settings(tmp_path / "polyroute.yaml", {})


@pytest.mark.parametrize(
    "text",
    [
        "providers: {openai: {api_key: [%s]}}",
        "providers: {openai: {credentials: {a: %s}}}",
        "providers: {openai: {headers: [%s]}}",
        "auth: {pepper: [%s]}",
        "storage: {database: 'mysql://root:%s@db/x'}",
        "providers: {openai: {base_url: 'ftp://me:%s@host'}}",
        "providers: {openai: {apikey: %s}}",
        "providers: {groq: {api_key: '${SECRET_VALUE}', serves: [video]}, openai: {base_url: '${SECRET_VALUE}'}}",
    ],
)
def test_secrets_are_not_shown(tmp_path, text):
    said = "\n".join(refused(tmp_path, text.replace("%s", SECRET), {"SECRET_VALUE": SECRET}))
    assert said
    assert SECRET not in said


def test_secrets_are_not_in_any_representation(tmp_path):
    text = f"providers: {{openai: {{api_key: {SECRET}, headers: {{x: {SECRET}}}, base_url: 'http://a:{SECRET}@b'}}}}"
    settings = load(tmp_path, text)
    given = read_input(settings.catalog_values())
    catalog = build_catalog(load_rows(), given, settings.environment)
    assert catalog.providers["openai"].credentials == (SECRET,)
    shown = "\n".join([repr(settings.auth), *settings.describe_changes(), repr(catalog.providers["openai"].name)])
    assert SECRET not in shown
    assert SECRET not in repr(settings.providers["openai"].api_key)


# ---------------------------------------------------------------- variables


def test_variables_are_filled_in(tmp_path):
    text = 'providers: {groq: {credentials: ["${A}", "${B:-two}"], base_url: "http://${HOST:-h}/$${x}"}}'
    text += '\nserver: {port: "${PORT}"}'
    settings = load(tmp_path, text, {"A": "one", "PORT": "99"})
    values = settings.catalog_values()["providers"]["groq"]
    assert values["credentials"] == ["one", "two"]
    assert values["base_url"] == "http://h/${x}"
    assert settings.server.port == 99


def test_an_empty_variable_is_no_credential(tmp_path):
    settings = load(tmp_path, 'providers: {openai: {api_key: "${EMPTY:-}"}}')
    catalog = build_catalog(load_rows(), read_input(settings.catalog_values()), settings.environment)
    assert "openai" not in catalog.providers


def test_a_broken_reference_is_refused(tmp_path):
    assert refused(tmp_path, 'storage: {artifacts: "${A B}"}')[0].startswith(
        "polyroute.yaml:1: storage.artifacts: this is no reference to a variable"
    )


def test_the_env_file_beside_the_configuration_stands_behind_the_environment(tmp_path):
    (tmp_path / ".env").write_text(
        "# keys\nexport OPENAI_API_KEY='from file'\nGROQ_API_KEY=g # spare\nQUOTED=\"a\\nb # c\"\nPOLYROUTE_SERVER__PORT=7\n"
    )
    settings = load(tmp_path, "", {"OPENAI_API_KEY": "from process"})
    assert settings.environment["OPENAI_API_KEY"] == "from process"
    assert settings.environment["GROQ_API_KEY"] == "g"
    assert settings.environment["QUOTED"] == "a\nb # c"
    assert settings.server.port == 7


def test_a_wrong_line_of_the_env_file_is_named_but_not_shown(tmp_path):
    (tmp_path / ".env").write_text(f"A=1\nthis is {SECRET}\n")
    assert refused(tmp_path, "") == [".env:2: this line is not NAME=value"]


# ---------------------------------------------------------------- environment


def test_every_key_can_come_from_the_environment(tmp_path):
    environ = {
        "POLYROUTE_SERVER__PORT": "9000",
        "POLYROUTE_DEFAULTS__TIMEOUTS__CONNECT": "1.5",
        "POLYROUTE_PROVIDERS__MY_VLLM__ADAPTER": "openai_compatible",
        "POLYROUTE_PROVIDERS__MY_VLLM__BASE_URL": "http://10.0.0.7:8000/v1",
        "POLYROUTE_ROUTES__DRAFT__TARGETS": "[my_vllm/qwen]",
    }
    settings = load(tmp_path, "", environ)
    assert (settings.server.port, settings.defaults.timeouts.connect) == (9000, 1.5)
    assert settings.routes["draft"].targets == ["my_vllm/qwen"]


def test_the_file_owns_what_it_declares(tmp_path):
    environ = {"POLYROUTE_SERVER__PORT": "9000", "POLYROUTE_SERVER__WORKERS": "2"}
    settings = load(tmp_path, "server: {port: 8000}", environ)
    assert (settings.server.port, settings.server.workers) == (8000, 2)
    assert [warning.replace(f"{tmp_path}/", "") for warning in settings.warnings] == [
        "POLYROUTE_SERVER__PORT is ignored: polyroute.yaml:1 declares server.port"
    ]


def test_a_wrong_variable_is_named(tmp_path):
    environ = {"POLYROUTE_SERVER__PROT": "1", "POLYROUTE_SERVER__WORKERS": "many", "POLYROUTE_ROUTES__A__TARGETS": "[x"}
    assert refused(tmp_path, "", environ) == [
        "POLYROUTE_ROUTES__A__TARGETS: routes.a.targets: is neither a list nor a mapping in YAML (expected for example [a, b])",
        (
            "POLYROUTE_SERVER__PROT: server.prot: unknown key; did you mean port? "
            "(expected one of host, port, workers, max_body_mb, max_upload_mb, public_url)"
        ),
        "POLYROUTE_SERVER__WORKERS: server.workers: wrong value, given 'many' (expected a whole number)",
    ]


def test_variables_that_platforms_inject_are_left_alone(tmp_path):
    environ = {"POLYROUTE_PORT": "tcp://10.0.0.1:80", "POLYROUTE_SERVICE_HOST": "10.0.0.1"}
    assert load(tmp_path, "", environ).server.port == 8080


# ---------------------------------------------------------------- the open door and the command line


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.9.1"])
def test_open_mode_is_fine_on_loopback(tmp_path, host):
    assert load(tmp_path, f"server: {{host: '{host}'}}").server.is_loopback


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "gateway.internal"])
def test_open_mode_is_refused_elsewhere(tmp_path, host):
    assert "polyroute keys create" in refused(tmp_path, f"server: {{host: '{host}'}}")[0]
    assert load(tmp_path, f"server: {{host: '{host}'}}\nauth: {{mode: keys}}").server.host == host


def test_the_command_line_comes_first(tmp_path):
    file = tmp_path / "polyroute.yaml"
    file.write_text("server: {workers: 3, host: 0.0.0.0}")
    settings = load_settings(file, {}, overrides={"server.port": 1, "server.host": "127.0.0.1"})
    assert (settings.server.port, settings.server.workers, settings.server.host) == (1, 3, "127.0.0.1")
    assert "server.port = 1  (command line)" in settings.describe_changes()


def test_the_command_line_may_not_open_the_door_either(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"command line: server\.host: auth\.mode is open"):
        load_settings(None, {}, overrides={"server.host": "0.0.0.0"})
    said = r"command line: server\.port: wrong value, given 99999 \(expected at most 65535\)"
    with pytest.raises(ConfigurationError, match=said):
        load_settings(None, {}, overrides={"server.port": 99999})


# ---------------------------------------------------------------- what was resolved


def test_the_changes_from_the_defaults_are_told(tmp_path):
    text = """\
server: {port: 9000, workers: 1}
defaults:
  timeouts: {idle: 5}
providers:
  openai:
  groq: {credentials: [a, b]}
routes:
  text: {targets: [openai, groq]}
"""
    settings = load(tmp_path, text, {"OPENAI_API_KEY": "k", "POLYROUTE_AUTH__MODE": "keys"})
    assert [line.replace(f"{tmp_path}/", "") for line in settings.describe_changes()] == [
        "server.port = 9000  (polyroute.yaml:1)",
        "auth.mode = keys  (POLYROUTE_AUTH__MODE)",
        "defaults.timeouts.idle = 5.0  (polyroute.yaml:3)",
        "providers.openai = {}  (polyroute.yaml:5)",
        "providers.groq.credentials = (secret)  (polyroute.yaml:6)",
        "routes.text.targets = ['openai', 'groq']  (polyroute.yaml:8)",
    ]
