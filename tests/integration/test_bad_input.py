"""What callers send by mistake or in malice: refused in the dialect's words or passed on intact, and never a crash."""

from __future__ import annotations

import json
import socket

import httpx
import pytest

from support.asks import CHAT, TRANSCRIPTION, WAV
from support.gateway_process import GatewayProcess
from support.raw_http import RawAnswer, exchange, post
from support.scripted_provider import COMPLETION, ScriptedProvider, whole
from support.simulated_providers import SimulatedProviders

CHAT_PATH = "/v1/chat/completions"
EMBED_PATH = "/v1/embeddings"
DEEP = b"[" * 100_000


@pytest.fixture(autouse=True)
def _still_alive(gateway: GatewayProcess, client: httpx.Client) -> object:
    """Whatever a test did, the same process answers the next caller."""
    pid = gateway.pid
    yield
    assert CHAT.send(client, "small").status_code == 200
    assert gateway.running
    assert gateway.pid == pid
    assert "Traceback" not in gateway.log


def send(gateway: GatewayProcess, path: str, body: bytes, *headers: str) -> RawAnswer:
    return exchange(gateway.address, post(path, body, *headers))


MESSAGES = b'"messages":[{"role":"user","content":"Hi"}]'
BODIES = {
    "empty": (b"", "empty", None),
    "broken": (b'{"model": "small", ', "not valid JSON", None),
    "not-an-object": (b'["small"]', "must be a JSON object", None),
    "a-string": (b'"small"', "must be a JSON object", None),
    "null": (b"null", "must be a JSON object", None),
    "no-model": (b"{" + MESSAGES + b"}", "'model' is required", "model"),
    "empty-model": (b'{"model":"",' + MESSAGES + b"}", "'model' is required", "model"),
    "model-number": (b'{"model":7,' + MESSAGES + b"}", "'model' must be a string", "model"),
    "model-null": (b'{"model":null,' + MESSAGES + b"}", "model", "model"),
    "model-object": (b'{"model":{"a":1},' + MESSAGES + b"}", "'model' must be a string", "model"),
    "stream-word": (b'{"model":"small","stream":"yes",' + MESSAGES + b"}", "'stream' must be true or false", "stream"),
    "stream-options": (
        b'{"model":"small","stream":true,"stream_options":["include_usage"],' + MESSAGES + b"}", "'stream_options'",
        "stream_options",
    ),
    "options-unknown": (b'{"model":"small","polyroute":{"polcy":"x"},' + MESSAGES + b"}", "polcy", "polyroute"),
    "options-list": (b'{"model":"small","polyroute":[],' + MESSAGES + b"}", "polyroute", "polyroute"),
    "options-timeout": (
        b'{"model":"small","polyroute":{"timeout":-1},' + MESSAGES + b"}", "polyroute.timeout", "polyroute",
    ),
    "two-values": (b'{"model":"small"}{"model":"small"}', "not valid JSON", None),
    "deep-model": (b'{"model":' + DEEP + b"}", "", None),
    "deep-unread": (b'{"model":"small","x":' + DEEP + b"}", "", None),
    "deep-body": (DEEP, "", None),
    "invalid-utf8-model": (b'{"model":"sm\xff\xfeall",' + MESSAGES + b"}", "'model' must be a string", "model"),
    "invalid-utf8-name": (b'{"mod\xffel":"small",' + MESSAGES + b"}", "", None),
    "lone-surrogate": (b'{"model":"\\ud800",' + MESSAGES + b"}", "", None),
    "utf16": ('{"model":"small"}'.encode("utf-16"), "not valid JSON", None),
    "not-a-number": (b'{"model":"small","temperature":NaN,' + MESSAGES + b"}", "not valid JSON", None),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_cannot_be_read_is_refused_and_goes_nowhere(
    sandbox: SimulatedProviders, gateway: GatewayProcess, name: str
) -> None:
    body, words, param = BODIES[name]
    answer = send(gateway, CHAT_PATH, body)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    error = answer.error()
    assert set(error) == {"message", "type", "param", "code", "request_id"}
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]
    assert error["param"] == param
    assert error["request_id"] == answer.headers["x-polyroute-request-id"]
    assert len(answer.body) < 2000
    assert sandbox.seen() == []


@pytest.mark.parametrize("path", [CHAT_PATH, EMBED_PATH, "/v1/images/generations", "/v1/audio/speech"])
def test_every_json_path_refuses_alike(sandbox: SimulatedProviders, gateway: GatewayProcess, path: str) -> None:
    for body, status in ((b"{", 400), (b"[]", 400), (b'{"model":"nobody-knows-this"}', 404)):
        answer = send(gateway, path, body)
        assert answer.status == status
        assert answer.error()["type"] == "invalid_request_error"
    assert sandbox.seen() == []


def test_an_unknown_model_is_answered_with_the_nearest_names(
    sandbox: SimulatedProviders, gateway: GatewayProcess
) -> None:
    for model, near in (("smal", "small"), ("opnai/gpt-4o", "openai/gpt-4o"), ("chat-rout", "chat-route")):
        answer = send(gateway, CHAT_PATH, json.dumps({"model": model, "messages": []}).encode())
        assert answer.status == 404
        error = answer.error()
        assert (error["code"], error["param"]) == ("model_not_found", "model")
        assert f"did you mean {near}" in error["message"]
    huge = send(gateway, CHAT_PATH, json.dumps({"model": "x" * 1_000_000, "messages": []}).encode())
    assert huge.status == 404
    assert len(huge.body) < 2000
    assert sandbox.seen() == []


def test_a_route_for_another_operation(sandbox: SimulatedProviders, gateway: GatewayProcess) -> None:
    answer = send(gateway, EMBED_PATH, b'{"model":"small","input":"x"}')
    assert answer.status == 400
    assert "small is for chat" in answer.error()["message"]
    assert sandbox.seen() == []


def test_a_body_over_the_limit_is_refused_by_its_length_and_by_its_bytes(
    sandbox: SimulatedProviders, gateway: GatewayProcess
) -> None:
    announced = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n" % CHAT_PATH.encode()
    by_length = exchange(gateway.address, announced)
    assert (by_length.status, by_length.error()["code"]) == (413, "request_too_large")
    assert "64 MB" in by_length.error()["message"]
    head = b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" % CHAT_PATH.encode()
    block = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    by_bytes = exchange(gateway.address, head + block * 66)
    assert by_bytes.status in (413, 0)  # it may hang up on a caller who goes on talking
    form = (
        b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n"
        % TRANSCRIPTION.path.encode()
    )
    by_form = exchange(gateway.address, form + b"content-length: 99999999999\r\n\r\n")
    assert by_form.status == 413
    assert sandbox.seen() == []


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"--b--\r\n"),
        ("multipart/form-data; boundary=b", b"no form at all"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nsmall\r\n'),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ntranscription-route\r\n--b--\r\n',
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n',
        ),
        (
            "multipart/form-data; boundary=b",
            (
                b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ntranscription-route\r\n'
                b'--b\r\nContent-Disposition: form-data; name="polyroute"\r\n\r\n{"polcy": 1}\r\n'
                b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nx\r\n--b--\r\n'
            ),
        ),
        ("text/plain", b"hello"),
        ("application/json", b"{}"),
    ],
    ids=["no-boundary", "no-form", "broken-off", "no-file", "no-model", "odd-options", "text", "json"],
)
def test_an_upload_that_is_none(
    sandbox: SimulatedProviders, gateway: GatewayProcess, content_type: str, body: bytes
) -> None:
    answer = exchange(gateway.address, post(TRANSCRIPTION.path, body, content_type=content_type))
    assert answer.status == 400, answer.body
    assert answer.error()["type"] == "invalid_request_error"
    assert sandbox.seen() == []


# ---------------------------------------------------------------- what passes intact


def test_of_a_doubled_key_the_one_that_was_routed_on_goes_upstream(
    sandbox: SimulatedProviders, gateway: GatewayProcess
) -> None:
    body = b'{"model":"openai/first","model":"together/second",' + MESSAGES + b',"user":"a","user":"b"}'
    answer = send(gateway, CHAT_PATH, body)
    assert answer.status == 200
    assert answer.headers["x-polyroute-provider"] == "together"
    assert sandbox.seen("openai") == []
    [seen] = sandbox.seen("together")
    assert (seen["body"]["model"], seen["body"]["user"]) == ("second", "b")


def test_unknown_fields_big_numbers_and_odd_text_pass_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    odd = (
        b'"n_\xc3\xa9":123456789012345678901234567890,"pi":3.14159265358979323846264338327950288,"e":1E400,'
        b'"text":"\\ud83d\\ude00 \\u2028 \\u0000 \xf0\x9f\x98\x80","bytes":"\xff\xfe","deep":' + b"[" * 200 + b"]" * 200
    )
    folder = tmp_path_factory.mktemp("intact")
    with ScriptedProvider(whole(COMPLETION)) as provider:
        entry = {"adapter": "openai_compatible", "base_url": f"{provider.url}/v1", "api_key": "sk-mine"}
        with GatewayProcess(folder, json.dumps({"providers": {"mine": entry}})) as gateway:
            answer = send(gateway, CHAT_PATH, b'{"model":"mine/m",' + odd + b"," + MESSAGES + b"}")
    assert answer.status == 200
    assert answer.body == COMPLETION
    [received] = provider.received
    assert odd in received.body
    assert b'"model":"m"' in received.body


def test_headers_of_the_caller_do_not_reach_the_provider(sandbox: SimulatedProviders, gateway: GatewayProcess) -> None:
    answer = send(
        gateway, CHAT_PATH, b'{"model":"small",' + MESSAGES + b"}", "authorization: Bearer callers-secret",
        "cookie: a=b", "x-forwarded-for: 1.2.3.4", "x-anything: yes", "x-polyroute-user: me",
    )  # fmt: skip
    assert answer.status == 200
    [seen] = sandbox.seen("openai")
    direct = sandbox.ask("openai", CHAT_PATH, json={}, headers={"authorization": "Bearer sk-openai"})
    assert direct.status_code == 400
    assert seen["headers"]["authorization"] == sandbox.seen("openai")[-1]["headers"]["authorization"]
    assert not {"cookie", "x-forwarded-for", "x-anything", "x-polyroute-user"} & set(seen["headers"])


def test_a_model_name_cannot_inject_headers_or_paths(sandbox: SimulatedProviders, gateway: GatewayProcess) -> None:
    evil = "x\r\nx-evil: 1\r\n\r\nGET /admin HTTP/1.1\r\n ü 😀/../.."
    body = json.dumps({"model": f"openai/{evil}", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    answer = send(gateway, CHAT_PATH, body)
    assert answer.status == 200
    assert "x-evil" not in answer.headers
    [seen] = sandbox.seen("openai")
    assert (seen["path"], seen["body"]["model"]) == ("/v1/chat/completions", evil)
    assert "x-evil" not in seen["headers"]
    assert gateway.entry(answer.headers["x-polyroute-request-id"])["actual_model"] == evil


# ---------------------------------------------------------------- HTTP itself


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"POST /v1/chat/completions\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx: a\x00b\r\ncontent-length: 0\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        b"GET " + b"/" * 200_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-big: " + b"x" * 200_000 + b"\r\ncontent-length: 0\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + b"x-many: y\r\n" * 20_000 + b"content-length: 0\r\n\r\n",
    ],
    ids=["binary", "no-version", "bad-header", "nul-in-header", "negative-length", "two-lengths", "length-and-chunked",
         "bad-chunk", "long-target", "long-header", "many-headers"],
)  # fmt: skip
def test_what_is_no_http_is_refused(sandbox: SimulatedProviders, gateway: GatewayProcess, request_bytes: bytes) -> None:
    answer = exchange(gateway.address, request_bytes)
    assert answer.status in (0, 400, 404, 405, 413, 414, 431)
    assert sandbox.seen() == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_a_wrong_method(sandbox: SimulatedProviders, client: httpx.Client, method: str) -> None:
    for path in (CHAT_PATH, EMBED_PATH, "/v1/audio/transcriptions"):
        answer = client.request(method, path)
        assert answer.status_code == 405
        assert "POST" in answer.json()["error"]["message"]
    assert sandbox.seen() == []


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/nothing", "/v2/chat/completions", "/v1/chat/completions/", "/%00", "/../x"]
)
def test_an_unknown_path(sandbox: SimulatedProviders, gateway: GatewayProcess, path: str) -> None:
    for method in ("GET", "POST"):
        request = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}"
        answer = exchange(gateway.address, request.encode())
        assert answer.status == 404
        assert answer.error()["message"]
    assert sandbox.seen() == []


def test_many_half_open_callers_keep_nobody_waiting(
    sandbox: SimulatedProviders, gateway: GatewayProcess, client: httpx.Client
) -> None:
    waiting = [socket.create_connection(gateway.address, timeout=10) for _ in range(100)]
    try:
        for connection in waiting:
            connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        assert CHAT.send(client, "small").status_code == 200
    finally:
        for connection in waiting:
            connection.close()


def test_odd_values_in_our_own_headers(sandbox: SimulatedProviders, gateway: GatewayProcess) -> None:
    body = b'{"model":"small",' + MESSAGES + b"}"
    for header in ("x-polyroute-polcy: priority", "x-polyroute-timeout: soon", "x-polyroute-timeout: 0"):
        answer = send(gateway, CHAT_PATH, body, header)
        assert answer.status == 400, header
        assert answer.error()["message"]
    assert sandbox.seen() == []


def test_a_wav_sent_as_json_field_is_still_a_chat_problem_not_ours(
    sandbox: SimulatedProviders, gateway: GatewayProcess
) -> None:
    answer = exchange(gateway.address, post(CHAT_PATH, WAV, content_type="audio/wav"))
    assert answer.status == 400
    assert sandbox.seen() == []
