"""What the ledger keeps of what was said: redacted, bounded, and nothing where it is off."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyroute.engine.content import REDACTED, ContentLog, Recorder
from polyroute.engine.lanes import Conversation
from polyroute.ports import Call
from polyroute.types.operations import OPERATION_OF, Dialect
from support.ledger_records import settled

KNOWN = ("api_keys", "emails", "credit_cards")


def conversation(dialect: Dialect = Dialect.OPENAI_CHAT, *, stream: bool = False, **fields: Any) -> Conversation:
    body = fields or {"model": "text", "messages": [{"role": "user", "content": "Hello"}]}
    raw = msgspec.json.decode(json.dumps(body).encode(), type=dict[str, msgspec.Raw])
    return Conversation(
        Call(
            id="r", operation=OPERATION_OF[dialect], dialect=dialect, model="text", stream=stream,
            body=json.dumps(body).encode(), content_type=b"application/json", fields=raw,
        )
    )  # fmt: skip


def recorder(told: Conversation, limit: int = 10_000, **options: Any) -> Recorder:
    found = ContentLog(everywhere=True, limit=limit, **options).recorder(told, None)
    assert found is not None
    return found


def kept(found: Recorder) -> tuple[str | None, str | None]:
    record = settled()
    found.fill(record)
    return record.input_text, record.output_text


def chunk(text: str) -> bytes:
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}  # fmt: skip
    return b"data: " + json.dumps(body).encode() + b"\n\n"


@pytest.mark.parametrize(
    ("everywhere", "choice", "wanted"),
    [(False, None, False), (True, None, True), (True, False, False), (False, True, True)],
)
def test_a_route_decides_before_the_rest(everywhere: bool, choice: bool | None, wanted: bool) -> None:
    log = ContentLog(everywhere=everywhere, limit=100)
    assert (log.recorder(conversation(), choice) is not None) is wanted


def test_a_conversation_is_kept_by_role_and_media_are_only_named() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    told = conversation(
        model="text",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is this? "}, picture]},
        ],
    )
    assert kept(recorder(told))[0] == "system: Be brief.\nuser: What is this? [image]"


@given(st.lists(st.text(max_size=20), max_size=8), st.integers(1, 40))
def test_a_stream_is_kept_however_it_is_cut(texts: list[str], size: int) -> None:
    found = recorder(conversation(stream=True))
    data = b"".join(map(chunk, texts))
    for start in range(0, len(data), size):
        found.add(data[start : start + size])
    assert kept(found)[1] == ("".join(texts) or None)


def test_a_whole_answer_with_a_tool_call() -> None:
    call = {"id": "t", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'}}
    body = {
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "finish_reason": "tool_calls",
                     "message": {"role": "assistant", "content": "Let me look.", "tool_calls": [call]}}],
    }  # fmt: skip
    found = recorder(conversation())
    found.whole(json.dumps(body).encode())
    output = kept(found)[1]
    assert output is not None
    assert output.startswith("Let me look.\nweather(")
    assert '{"city":"Rome"}' in output


def test_what_only_its_provider_understands_is_no_obstacle() -> None:
    found = recorder(conversation(model="text", messages="not a list"))
    found.whole(b"no answer either")
    assert kept(found) == (None, None)


@pytest.mark.parametrize(
    ("dialect", "fields", "expected"),
    [
        (Dialect.OPENAI_EMBEDDINGS, {"input": ["one", "two"]}, "one\ntwo"),
        (Dialect.OPENAI_EMBEDDINGS, {"input": [1, 2]}, None),
        (Dialect.OPENAI_SPEECH, {"input": "say it", "instructions": "softly"}, "say it\nsoftly"),
        (Dialect.OPENAI_IMAGES, {"prompt": "a cat"}, "a cat"),
        (Dialect.OPENAI_MODERATIONS, {"input": [{"type": "text", "text": "bad"}]}, "bad"),
    ],
)
def test_other_operations_have_texts_too(dialect: Dialect, fields: dict[str, Any], expected: str | None) -> None:
    assert kept(recorder(conversation(dialect, **fields)))[0] == expected


def test_transcriptions_whole_and_streamed() -> None:
    for body in (b'{"text":"Good day."}', b"Good day."):
        found = recorder(conversation(Dialect.OPENAI_TRANSCRIPTIONS, model="x"))
        found.whole(body)
        assert kept(found)[1] == "Good day."
    found = recorder(conversation(Dialect.OPENAI_TRANSCRIPTIONS, stream=True, model="x"))
    for data in (
        b'data: {"type":"transcript.text.delta","del',
        b'ta":"Good "}\n\ndata: {"delta":"day."}\n\n',
        b"data: [DONE]\n\n",
    ):
        found.add(data)
    assert kept(found)[1] == "Good day."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key sk-proj-abcdefghijklmnop1234 end", f"key {REDACTED} end"),
        ("AKIAIOSFODNN7EXAMPLE", REDACTED),
        ("write to anna.b@example.co.uk now", f"write to {REDACTED} now"),
        ("card 4111 1111 1111 1111.", f"card {REDACTED}."),
        ("order 4111 1111 1111 1112.", "order 4111 1111 1111 1112."),
        ("a skyscraper, a task-force, risk-free", "a skyscraper, a task-force, risk-free"),
        ("born 1990-01-02", "born 1990-01-02"),
    ],
)
def test_known_secrets_are_redacted(text: str, expected: str) -> None:
    assert ContentLog(everywhere=True, limit=1000, known=KNOWN).keep(text) == expected


def test_own_patterns_are_redacted_and_only_the_chosen_ones() -> None:
    log = ContentLog(everywhere=True, limit=1000, redact=[r"PAT-\d+"])
    assert log.keep("PAT-12 of a@b.com") == f"{REDACTED} of a@b.com"


@given(st.integers(0, 9000), st.sampled_from([10, 100, 4000]))
def test_no_part_of_a_secret_is_kept_wherever_it_lies(before: int, limit: int) -> None:
    log = ContentLog(everywhere=True, limit=limit, known=KNOWN)
    found = log.keep("x" * before + " sk-SECRETSECRETSECRETSECRET " + "y" * 9000)
    assert found is not None
    assert "sk-" not in found
    assert len(found.encode()) <= limit + 20
    assert found.endswith("[cut]")


def test_a_long_stream_is_not_collected_beyond_its_bound() -> None:
    found = recorder(conversation(stream=True), limit=100)
    for _ in range(1000):
        found.add(chunk("ü" * 100))
    output = kept(found)[1]
    assert output is not None
    assert output.startswith("üü")
    assert len(output.encode()) <= 120
    assert sum(map(len, found._pieces)) < 5000


def test_plain_text_that_is_handed_on_as_it_comes() -> None:
    found = recorder(conversation(Dialect.OPENAI_TRANSCRIPTIONS, model="x"))
    for data in (b"Good ", b"day."):
        found.add(data)
    assert kept(found)[1] == "Good day."


def test_a_stream_that_makes_no_sense_goes_on_unrecorded() -> None:
    found = recorder(conversation(stream=True))
    found.add(chunk("so far"))
    for data in (b"data: {broken\n\n", b"data: [1, 2]\n\n", chunk("never seen")):
        found.add(data)
    assert kept(found) == ("user: Hello", "so far")
