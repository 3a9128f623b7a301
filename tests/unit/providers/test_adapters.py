"""What each adapter sends: addresses, authentication, headers, and a body within the provider's quirks."""

from __future__ import annotations

import hashlib
import hmac
import sys
from typing import Any

import msgspec
import pytest

from polyroute.catalog.model import Quirks
from polyroute.ports import Adapter, Credential, Endpoint, WireRequest
from polyroute.providers.registry import _CLASSES, build_adapter
from polyroute.types.chat import ChatRequest, Message, TextPart, ToolCallPart, ToolResultPart
from polyroute.types.errors import AttemptFailed, ErrorKind
from polyroute.types.operations import Dialect, Operation
from polyroute.types.plans import Target
from support.provider_rows import provider_row

SECRET = "sk-acme-secret-1234567890"
CREDENTIAL = Credential("acme-1", SECRET)


def send(
    adapter: Adapter, dialect: Dialect, *, model: str = "m", stream: bool = False, credential: Credential | None = CREDENTIAL,
    forward: list[tuple[bytes, bytes]] | None = None, body: bytes = b"{}",
) -> WireRequest:  # fmt: skip
    endpoint = adapter.endpoint(Operation.CHAT, dialect)
    assert endpoint is not None
    return adapter.request(
        endpoint, Target("acme", model), credential,
        body=body, content_type=b"application/json", stream=stream, forward=forward or [],
    )  # fmt: skip


def headers_of(request: WireRequest) -> dict[bytes, bytes]:
    names = [name for name, _ in request.headers]
    assert len(names) == len(set(names)), "a header was sent twice"
    return dict(request.headers)


def compatible(**changes: Any) -> Adapter:
    return build_adapter(provider_row("openai_compatible", {Dialect.OPENAI_CHAT: "/chat/completions"}, **changes))


class TestEndpoints:
    def test_callers_dialect_is_preferred_else_the_first_chat_dialect(self) -> None:
        row = provider_row(
            "openai_compatible", {Dialect.OPENAI_CHAT: "/chat/completions", Dialect.ANTHROPIC_MESSAGES: "/messages"}
        )
        adapter = build_adapter(row)
        preferred = adapter.endpoint(Operation.CHAT, Dialect.ANTHROPIC_MESSAGES)
        other = adapter.endpoint(Operation.CHAT, Dialect.GEMINI)
        assert preferred is not None
        assert preferred.path == "/messages"
        assert other is not None
        assert other.path == "/chat/completions"

    def test_media_dialects_do_not_stand_in_for_each_other(self) -> None:
        adapter = build_adapter(
            provider_row("openai_compatible", {Dialect.OPENAI_TRANSCRIPTIONS: "/audio/transcriptions"})
        )
        assert adapter.endpoint(Operation.TRANSCRIPTION, Dialect.OPENAI_TRANSLATIONS) is None
        assert adapter.endpoint(Operation.CHAT, Dialect.OPENAI_CHAT) is None

    def test_an_operation_that_is_switched_off_has_no_endpoint(self) -> None:
        adapter = compatible(serves=frozenset())
        assert adapter.endpoint(Operation.CHAT, Dialect.OPENAI_CHAT) is None


class TestAuthentication:
    @pytest.mark.parametrize(
        ("style", "header"),
        [
            ("bearer", (b"authorization", b"Bearer " + SECRET.encode())),
            ("x-api-key", (b"x-api-key", SECRET.encode())),
            ("x-goog-api-key", (b"x-goog-api-key", SECRET.encode())),
            ("api-key", (b"api-key", SECRET.encode())),
        ],
    )
    def test_each_style_has_its_header(self, style: str, header: tuple[bytes, bytes]) -> None:
        assert header in send(compatible(auth=style), Dialect.OPENAI_CHAT).headers

    def test_none_sends_no_credential_even_where_there_is_one(self) -> None:
        request = send(compatible(auth="none"), Dialect.OPENAI_CHAT)
        assert SECRET.encode() not in b"".join(value for _, value in request.headers)

    def test_an_endpoint_can_have_a_style_and_a_host_of_its_own(self) -> None:
        endpoint = Endpoint(
            dialect=Dialect.GEMINI, path="/models/{model}:generateContent", base_url="https://g.test/v1beta",
            auth="x-goog-api-key",
        )  # fmt: skip
        adapter = build_adapter(provider_row("openai_compatible", {Dialect.GEMINI: endpoint}))
        request = send(adapter, Dialect.GEMINI, model="gemini-x")
        assert request.url == "https://g.test/v1beta/models/gemini-x:generateContent"
        assert headers_of(request)[b"x-goog-api-key"] == SECRET.encode()

    def test_the_callers_credential_never_goes_upstream(self) -> None:
        forward = [
            (b"authorization", b"Bearer caller"),
            (b"x-api-key", b"caller"),
            (b"cookie", b"caller"),
            (b"openai-beta", b"assistants=v2"),
        ]
        headers = headers_of(send(compatible(), Dialect.OPENAI_CHAT, forward=forward))
        assert b"caller" not in b"".join(headers.values())
        assert headers[b"openai-beta"] == b"assistants=v2"

    def test_credentials_alternate_from_call_to_call(self) -> None:
        adapter = compatible()
        seen = [
            headers_of(send(adapter, Dialect.OPENAI_CHAT, credential=Credential(secret, secret)))[b"authorization"]
            for secret in ("one", "two", "one")
        ]
        assert seen == [b"Bearer one", b"Bearer two", b"Bearer one"]

    def test_changing_a_request_does_not_change_the_next(self) -> None:
        adapter = compatible()
        send(adapter, Dialect.OPENAI_CHAT).headers.append((b"x-once", b"1"))
        assert b"x-once" not in headers_of(send(adapter, Dialect.OPENAI_CHAT))


class TestHeaders:
    def test_row_headers_are_added_and_streams_ask_for_events(self) -> None:
        adapter = compatible(headers={"X-Title": "Polyroute"})
        headers = headers_of(send(adapter, Dialect.OPENAI_CHAT, stream=True))
        assert headers[b"x-title"] == b"Polyroute"
        assert headers[b"accept"] == b"text/event-stream"
        assert headers[b"content-type"] == b"application/json"

    @pytest.mark.parametrize("adapter", ["anthropic", "openai_compatible"])
    def test_messages_have_a_version_unless_the_caller_forwards_one(self, adapter: str) -> None:
        built = build_adapter(provider_row(adapter, {Dialect.ANTHROPIC_MESSAGES: "/v1/messages"}, auth="x-api-key"))
        assert headers_of(send(built, Dialect.ANTHROPIC_MESSAGES))[b"anthropic-version"] == b"2023-06-01"
        forward = [(b"anthropic-version", b"2026-10-21"), (b"anthropic-beta", b"a,b"), (b"openai-beta", b"x")]
        headers = headers_of(send(built, Dialect.ANTHROPIC_MESSAGES, forward=forward))
        assert headers[b"anthropic-version"] == b"2026-10-21"
        assert headers[b"anthropic-beta"] == b"a,b"
        assert b"openai-beta" not in headers


class TestAddresses:
    @pytest.mark.parametrize("adapter", ["gemini", "openai_compatible"])
    @pytest.mark.parametrize("model", ["gemini-3.8-flash", "models/gemini-3.8-flash"])
    def test_gemini_has_model_and_method_in_the_path(self, adapter: str, model: str) -> None:
        built = build_adapter(provider_row(adapter, {Dialect.GEMINI: "/models/{model}:generateContent"}))
        whole, stream = (send(built, Dialect.GEMINI, model=model, stream=flag).url for flag in (False, True))
        assert whole == "https://api.acme.test/v1/models/gemini-3.8-flash:generateContent"
        assert stream == "https://api.acme.test/v1/models/gemini-3.8-flash:streamGenerateContent?alt=sse"

    def test_bedrock_encodes_the_model_as_a_whole(self) -> None:
        built = build_adapter(provider_row("bedrock", {Dialect.BEDROCK_CONVERSE: "/model/{model}/converse"}))
        arn = "arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-x-v1:0"
        whole, stream = (send(built, Dialect.BEDROCK_CONVERSE, model=arn, stream=flag).url for flag in (False, True))
        encoded = "arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Feu.anthropic.claude-x-v1%3A0"
        assert whole == f"https://api.acme.test/v1/model/{encoded}/converse"
        assert stream == f"https://api.acme.test/v1/model/{encoded}/converse-stream"

    @pytest.mark.parametrize(
        "base", ["https://res.openai.azure.com", "https://res.openai.azure.com/openai/v1", "https://openai.azure.com"]
    )
    def test_azure_v1_needs_no_version(self, base: str) -> None:
        row = provider_row("azure", {Dialect.OPENAI_CHAT: "/chat/completions"}, base_url=base)
        host = base.removesuffix("/openai/v1")
        assert send(build_adapter(row), Dialect.OPENAI_CHAT).url == f"{host}/openai/v1/chat/completions"

    def test_azure_classic_has_the_deployment_and_the_version(self) -> None:
        endpoints: dict[Dialect, str | Endpoint] = {
            Dialect.OPENAI_CHAT: "/chat/completions",
            Dialect.OPENAI_RESPONSES: "/responses",
        }
        row = provider_row(
            "azure", endpoints, base_url="https://openai.azure.com/openai/v1", options={"api_version": "2024-10-21"}
        )
        adapter = build_adapter(row)
        chat = send(adapter, Dialect.OPENAI_CHAT, model="my deployment").url
        responses = send(adapter, Dialect.OPENAI_RESPONSES).url
        host = "https://openai.azure.com/openai"
        assert chat == f"{host}/deployments/my%20deployment/chat/completions?api-version=2024-10-21"
        assert responses == f"{host}/responses?api-version=2024-10-21"

    def test_azure_takes_keys_and_entra_tokens(self) -> None:
        adapter = build_adapter(provider_row("azure", {Dialect.OPENAI_CHAT: "/chat/completions"}))
        key = headers_of(send(adapter, Dialect.OPENAI_CHAT))
        token = headers_of(send(adapter, Dialect.OPENAI_CHAT, credential=Credential("entra", "eyJhbGciOi.x.y")))
        assert key[b"api-key"] == SECRET.encode()
        assert token[b"authorization"] == b"Bearer eyJhbGciOi.x.y"
        assert b"api-key" not in token

    def test_an_unknown_adapter_is_named(self) -> None:
        with pytest.raises(ValueError, match="no adapter is named 'carrier_pigeon'"):
            build_adapter(provider_row("carrier_pigeon", {}))

    @pytest.mark.parametrize("name", sorted(_CLASSES))
    def test_every_adapter_can_be_built_and_posts(self, name: str) -> None:
        adapter = build_adapter(provider_row(name, {Dialect.OPENAI_CHAT: "/chat/completions"}))
        request = send(adapter, Dialect.OPENAI_CHAT)
        assert request.method == "POST"
        assert request.url.endswith("/chat/completions")


class TestBedrockSigning:
    def build(self) -> Adapter:
        return build_adapter(
            provider_row(
                "bedrock",
                {Dialect.BEDROCK_CONVERSE: "/model/{model}/converse"},
                base_url="https://bedrock-runtime.eu-west-1.amazonaws.com",
            )
        )

    def test_an_api_key_is_a_bearer(self) -> None:
        headers = headers_of(send(self.build(), Dialect.BEDROCK_CONVERSE))
        assert headers[b"authorization"] == b"Bearer " + SECRET.encode()

    @pytest.mark.parametrize("session", [None, "session/token+with:colon"])
    def test_a_key_pair_signs_by_signature_version_4(self, session: str | None) -> None:
        secret = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG" + (f":{session}" if session else "")
        body = b'{"messages":[]}'
        request = send(
            self.build(), Dialect.BEDROCK_CONVERSE, model="a:b", credential=Credential("aws", secret), body=body
        )
        headers = headers_of(request)
        assert headers.get(b"x-amz-security-token") == (session.encode() if session else None)
        assert headers[b"authorization"].decode() == expected_authorization(request, headers, body)
        assert b"host" not in headers

    def test_without_botocore_the_operator_is_told_what_to_install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "botocore.auth", None)
        with pytest.raises(AttemptFailed, match=r"polyroute\[bedrock\]") as caught:
            send(self.build(), Dialect.BEDROCK_CONVERSE, credential=Credential("aws", "AKIDEXAMPLE:hidden-part"))
        assert caught.value.failure.kind is ErrorKind.CREDENTIAL_REJECTED
        assert "hidden-part" not in str(caught.value)


def expected_authorization(request: WireRequest, headers: dict[bytes, bytes], body: bytes) -> str:
    """AWS's signing recipe, written down once more."""
    claimed = headers[b"authorization"].decode()
    names = claimed.split("SignedHeaders=")[1].split(",")[0].split(";")
    host, path = request.url.removeprefix("https://").split("/", 1)
    values = {name: headers.get(name.encode(), host.encode()).decode() for name in names}
    canonical_path = "/" + path.replace("%", "%25")
    canonical = "\n".join(
        [
            "POST",
            canonical_path,
            "",
            *(f"{n}:{values[n]}" for n in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        ]
    )
    moment = headers[b"x-amz-date"].decode()
    scope = f"{moment[:8]}/eu-west-1/bedrock/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4wJalrXUtnFEMI/K7MDENG"
    for step in scope.split("/"):
        key = hmac.digest(key, step.encode(), "sha256")
    signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    signed = ";".join(names)
    return f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{scope}, SignedHeaders={signed}, Signature={signature}"


def raw(**fields: Any) -> dict[str, msgspec.Raw]:
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in fields.items()}


def plain(fields: dict[str, msgspec.Raw]) -> dict[str, Any]:
    return {name: msgspec.json.decode(msgspec.json.encode(value)) for name, value in fields.items()}


class TestQuirks:
    def adjust(self, quirks: Quirks, given: dict[str, msgspec.Raw]) -> tuple[dict[str, Any], tuple[str, ...]]:
        adapter = compatible(quirks={Dialect.OPENAI_CHAT: quirks})
        endpoint = adapter.endpoint(Operation.CHAT, Dialect.OPENAI_CHAT)
        assert endpoint is not None
        before = dict(given)
        fields, dropped = adapter.adjust(endpoint, given)
        assert given == before, "the caller's fields were changed: the next target needs them"
        return plain(fields), dropped

    def test_without_quirks_nothing_changes(self) -> None:
        assert self.adjust(Quirks(), raw(a=1)) == ({"a": 1}, ())

    def test_dropped_fields_are_reported(self) -> None:
        assert self.adjust(Quirks(drop=frozenset({"a", "z"})), raw(a=1, b=2)) == ({"b": 2}, ("a",))

    def test_a_field_is_renamed_unless_the_new_name_is_there(self) -> None:
        quirks = Quirks(rename={"max_completion_tokens": "max_tokens"})
        assert self.adjust(quirks, raw(max_completion_tokens=5)) == ({"max_tokens": 5}, ())
        both = raw(max_completion_tokens=5, max_tokens=7)
        assert self.adjust(quirks, both) == ({"max_tokens": 7}, ("max_completion_tokens",))

    def test_forced_fields_win_and_defaults_do_not(self) -> None:
        quirks = Quirks(force={"safe": True}, default={"top_k": 5})
        assert self.adjust(quirks, raw(safe=False, top_k=1)) == ({"safe": True, "top_k": 1}, ())
        assert self.adjust(quirks, raw()) == ({"safe": True, "top_k": 5}, ())

    def test_what_the_url_says_is_not_said_in_the_body(self) -> None:
        adapter = build_adapter(provider_row("bedrock", {Dialect.BEDROCK_CONVERSE: "/model/{model}/converse"}))
        endpoint = adapter.endpoint(Operation.CHAT, Dialect.BEDROCK_CONVERSE)
        assert endpoint is not None
        fields, dropped = adapter.adjust(endpoint, raw(model="m", stream=True, messages=[]))
        assert (plain(fields), dropped) == ({"messages": []}, ())


def conversation(call_id: str) -> ChatRequest:
    return ChatRequest(
        model="m",
        messages=(
            Message(role="assistant", parts=(ToolCallPart(id=call_id, name="f", arguments="{}"),)),
            Message(role="tool", parts=(ToolResultPart(call_id=call_id, content=(TextPart(text="1"),)),)),
            Message(role="user", parts=(TextPart(text="So?"),)),
        ),
    )


class TestFitting:
    def fit(self, request: ChatRequest, **changes: Any) -> tuple[ChatRequest, tuple[str, ...]]:
        adapter = compatible(**changes)
        endpoint = adapter.endpoint(Operation.CHAT, Dialect.OPENAI_CHAT)
        assert endpoint is not None
        return adapter.fit(endpoint, request)

    def test_mistral_gets_ids_of_nine_characters_that_stay_paired(self) -> None:
        fitted, notes = self.fit(conversation("call_abcdefgh"), name="mistral")
        call, result = fitted.messages[0].parts[0], fitted.messages[1].parts[0]
        assert isinstance(call, ToolCallPart)
        assert isinstance(result, ToolResultPart)
        assert call.id == result.call_id
        assert len(call.id) == 9
        assert call.id.isalnum()
        assert "tool call ids shortened" in notes
        assert self.fit(conversation("call_abcdefgh"), name="mistral")[0] == fitted, (
            "ids differ from request to request"
        )

    def test_mistral_gets_an_assistant_turn_between_tool_and_user(self) -> None:
        fitted, _ = self.fit(conversation("AbCdEf123"), name="mistral")
        assert [message.role for message in fitted.messages] == ["assistant", "tool", "assistant", "user"]

    def test_ids_that_fit_are_left_alone(self) -> None:
        request = conversation("call_abcdefgh")
        assert self.fit(request) == (request, ())

    def test_long_ids_are_shortened_for_openai_and_stay_apart(self) -> None:
        first, _ = self.fit(conversation("x" * 60))
        second, _ = self.fit(conversation("x" * 61))
        ids = [fitted.messages[0].parts[0].id for fitted in (first, second)]  # type: ignore[union-attr]
        assert all(len(call_id) <= 40 for call_id in ids)
        assert ids[0] != ids[1]

    def test_alternating_vendors_get_merged_turns(self) -> None:
        turns = (
            Message(role="system", parts=(TextPart(text="Be brief."),)),
            Message(role="assistant", parts=(TextPart(text="Hello"),)),
            Message(role="user", parts=(TextPart(text="one"),)),
            Message(role="user", parts=(TextPart(text="two"),)),
        )
        fitted, notes = self.fit(ChatRequest(model="m", messages=turns), name="perplexity")
        assert [message.role for message in fitted.messages] == ["system", "user", "assistant", "user"]
        assert fitted.messages[-1].parts == (TextPart(text="one\n\ntwo"),)
        assert notes

    def test_bedrock_ids_lose_what_it_refuses(self) -> None:
        adapter = build_adapter(provider_row("bedrock", {Dialect.BEDROCK_CONVERSE: "/model/{model}/converse"}))
        endpoint = adapter.endpoint(Operation.CHAT, Dialect.BEDROCK_CONVERSE)
        assert endpoint is not None
        fitted, _ = adapter.fit(endpoint, conversation("call|with spaces"))
        call = fitted.messages[0].parts[0]
        assert isinstance(call, ToolCallPart)
        assert call.id.isalnum()


class TestProfiles:
    @pytest.mark.parametrize(
        ("model", "longest", "refused", "taken"),
        [
            ("claude-opus-4-8", 128_000, "temperature", "forced_tool"),
            ("anthropic/claude-sonnet-5.5", 128_000, "forced_tool", "stop"),
            ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 64_000, "n", "temperature"),
            ("claude-3-haiku-20240307", 4_096, "json_schema", "temperature"),
            ("claude-lyric-7", 128_000, "temperature", "stop"),
            ("gpt-4o-mini", None, "nothing", "temperature"),
        ],
    )
    def test_families_are_known_by_their_ids(self, model: str, longest: int | None, refused: str, taken: str) -> None:
        profile = compatible().profile(model)
        assert profile.max_output == longest
        assert (refused in profile.refuses) is (refused not in ("nothing", "n"))
        assert taken not in profile.refuses

    def test_the_row_can_know_better(self) -> None:
        adapter = compatible(options={"max_output": {"m": 77}, "refuses": {"m": ["seed"]}})
        profile = adapter.profile("m")
        assert (profile.max_output, profile.refuses) == (77, frozenset({"seed"}))
        assert adapter.profile("other").max_output is None
