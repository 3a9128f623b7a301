"""What must hold for every codec, whatever the dialect: called by each dialect's own tests."""

from __future__ import annotations

import contextlib
import random
from typing import Any

import msgspec
import pytest

from polyroute.dialects.fold import fold, unfold
from polyroute.ports import ChatCodec, EventParser
from polyroute.types.chat import (
    AnyEvent,
    ChatRequest,
    ChatResponse,
    ModelProfile,
    PartDelta,
    PartEnded,
    PartStarted,
    Rendered,
)
from polyroute.types.errors import AttemptFailed, PolyrouteError

PROFILE = ModelProfile(provider="p", model="m")


def encoded(rendered: Rendered) -> bytes:
    """A rendered body as it goes out."""
    return msgspec.json.encode(rendered.body)


def parse_all(parser: EventParser, *pieces: bytes) -> list[AnyEvent]:
    """All events of a stream in pieces."""
    events: list[AnyEvent] = []
    for piece in pieces:
        events += parser.feed(piece)
    return events + parser.close()


def pieces_of(data: bytes, seed: int, most: int = 40) -> list[bytes]:
    """The data cut at random places; the same ones for one seed."""
    generator = random.Random(seed)
    places = sorted(generator.randrange(len(data) + 1) for _ in range(generator.randrange(most)))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def assert_splits_do_not_matter(codec: ChatCodec, stream: bytes, seed: int) -> list[AnyEvent]:
    """Any cutting of a stream gives the same events."""
    whole = parse_all(codec.parser(), stream)
    assert parse_all(codec.parser(), *pieces_of(stream, seed)) == whole
    return whole


def assert_well_formed(events: list[AnyEvent]) -> None:
    """Parts are numbered by appearance, get deltas only while they are open, and are closed."""
    opened: dict[int, bool] = {}
    for event in events:
        match event:
            case PartStarted():
                assert event.index == len(opened)
                opened[event.index] = True
            case PartDelta():
                assert opened[event.index], "a delta of a closed part"
            case PartEnded():
                assert opened[event.index], "a part was closed twice"
                opened[event.index] = False
            case _:
                pass
    assert not any(opened.values()), "a part was left open"


def assert_request_survives(codec: ChatCodec, request: ChatRequest, profile: ModelProfile = PROFILE) -> None:
    """Rendered and read again it is the same, and nothing was reported as lost or changed."""
    rendered = codec.render_request(request, profile)
    assert (rendered.dropped, rendered.notes) == ((), ())
    assert codec.parse_request(encoded(rendered)) == request


def without_raw(response: ChatResponse) -> ChatResponse:
    """An answer without the provider's own usage record, which rendering makes anew."""
    if response.usage is None:
        return response
    return msgspec.structs.replace(response, usage=msgspec.structs.replace(response.usage, raw=None))


def reread(codec: ChatCodec, response: ChatResponse, request: ChatRequest) -> ChatResponse:
    """An answer rendered whole and read again."""
    return without_raw(fold(codec.parse_response(codec.render_response(response, request))))


def restreamed(codec: ChatCodec, response: ChatResponse, request: ChatRequest) -> ChatResponse:
    """An answer rendered as a stream and read again."""
    renderer = codec.renderer(request, response.id or "", response.created or 0)
    stream = b"".join(renderer.feed(event) for event in unfold(response)) + renderer.close()
    events = parse_all(codec.parser(), stream)
    assert_well_formed(events)
    return without_raw(fold(events))


def assert_only_known_failures(codec: ChatCodec, data: bytes) -> None:
    """Whatever the bytes, only our own errors come out; anything else fails the test by itself."""
    with contextlib.suppress(AttemptFailed):
        codec.parse_response(data)
    with contextlib.suppress(AttemptFailed):
        parse_all(codec.parser(), data)
    with contextlib.suppress(PolyrouteError):
        codec.parse_request(data)


def refuse(codec: ChatCodec, body: Any) -> PolyrouteError:
    """The refusal of a request; fails when it is accepted."""
    with pytest.raises(PolyrouteError) as caught:
        codec.parse_request(msgspec.json.encode(body))
    return caught.value
