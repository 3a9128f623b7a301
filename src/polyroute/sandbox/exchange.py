"""What passes between the HTTP server and the simulated providers: one request seen, one reply to send."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from aiohttp import web

from polyroute.sandbox.media.jobs import Desk
from polyroute.sandbox.profiles import Profile

Json = dict[str, Any]

# Fixed, so that the same request gives the same bytes.
CREATED = 1795000000
CREATED_TEXT = "2026-11-18T11:06:40Z"

Spoken = Literal[
    "openai_chat",
    "openai_responses",
    "anthropic_messages",
    "gemini",
    "ollama",
    "cohere_v2",
    "bedrock_converse",
    "runpod",
    "openai_other",
    "media",
]


class Upload(msgspec.Struct, frozen=True, kw_only=True):
    """A file of a multipart form: its facts, its header (`head`, up to 64 bytes) and, when it is small, its bytes."""

    field: str
    filename: str
    content_type: str
    size: int
    head: bytes
    digest: str
    data: bytes | None = None


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """One request to a simulated provider. `groups` are what the route's pattern caught; `origin` is the sandbox's own
    scheme and host as the client wrote it; `memory` and `desk` outlive the request (stored responses, jobs); `digest` names
    what is asked. With `instead` the answer is empty: for content that the provider does not allow, or for no reason.
    """

    profile: Profile
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    groups: Mapping[str, str]
    body: Json
    raw: bytes
    origin: str
    context_limit: int
    strict: bool
    memory: Memory
    desk: Desk
    uploads: tuple[Upload, ...] = ()
    instead: Literal["filtered", "silent"] | None = None
    digest: str = ""


_HOW_NOT_WHAT = ("stream", "stream_options")


def content_digest(exchange: Exchange) -> str:
    """A name for what is asked (64 hexadecimal digits): the same question has the same one, streamed or not."""
    seed = hashlib.sha256(exchange.profile.name.encode())
    seed.update(exchange.groups.get("model", "").encode())
    asked = {name: value for name, value in exchange.body.items() if name not in _HOW_NOT_WHAT}
    seed.update(msgspec.json.encode(asked, order="deterministic"))
    if not asked:
        seed.update(exchange.raw)
    for upload in exchange.uploads:
        seed.update(upload.digest.encode())
    return seed.hexdigest()


class Memory:
    """What a provider remembers between requests, bounded: the oldest entry goes when a shelf is full."""

    def __init__(self, size: int = 256) -> None:
        self._size = size
        self._shelves: dict[str, dict[str, Any]] = {}

    def keep(self, shelf: str, key: str, value: Any) -> None:
        """Put `value` under `key`, newest last."""
        entries = self._shelves.setdefault(shelf, {})
        entries.pop(key, None)
        entries[key] = value
        while len(entries) > self._size:
            del entries[next(iter(entries))]

    def find(self, shelf: str, key: str) -> Any:
        """The value under `key`, or None."""
        return self._shelves.get(shelf, {}).get(key)

    def drop(self, shelf: str, key: str) -> bool:
        """Forget `key`; says whether it was there."""
        return self._shelves.get(shelf, {}).pop(key, None) is not None

    def clear(self) -> None:
        """Forget everything."""
        self._shelves.clear()


class Frame(msgspec.Struct, frozen=True):
    """A piece of a streamed body. `tokens` is how much of the answer it carries, for pacing and for faults that strike
    after so many tokens; `last` marks the dialect's own end of stream."""

    data: bytes
    tokens: int = 0
    last: bool = False


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """A reply in one body. `tokens` is what a model would have generated for it."""

    body: bytes
    content_type: str = "application/json"
    status: int = 200
    headers: Mapping[str, str] = MappingProxyType({})
    tokens: int = 0


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A reply in pieces."""

    frames: Iterator[Frame]
    content_type: str = "text/event-stream; charset=utf-8"
    headers: Mapping[str, str] = MappingProxyType({})


class Direct(msgspec.Struct, frozen=True):
    """A reply that writes itself: a file, a socket."""

    send: Callable[[web.Request], Awaitable[web.StreamResponse]]


Reply = Whole | Stream | Direct


class Answered(Exception):
    """Raised to answer at once with `reply`, from any depth: an error in the provider's own words."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("answered")
        self.reply = reply


def json_reply(value: Any, *, status: int = 200, tokens: int = 0, headers: Mapping[str, str] | None = None) -> Whole:
    """A JSON body."""
    return Whole(body=msgspec.json.encode(value), status=status, tokens=tokens, headers=headers or {})


def data_frame(value: Any, tokens: int = 0, *, last: bool = False) -> Frame:
    """A server-sent event without a name."""
    return Frame(b"data: " + msgspec.json.encode(value) + b"\n\n", tokens, last)


def event_frame(name: str, value: Any, tokens: int = 0, *, last: bool = False) -> Frame:
    """A named server-sent event."""
    return Frame(f"event: {name}\ndata: ".encode() + msgspec.json.encode(value) + b"\n\n", tokens, last)


def line_frame(value: Any, tokens: int = 0, *, last: bool = False) -> Frame:
    """A line of newline-delimited JSON."""
    return Frame(msgspec.json.encode(value) + b"\n", tokens, last)


_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def identifier(digest: str, purpose: str, length: int) -> str:
    """`length` letters and digits that depend only on the arguments."""
    number = int.from_bytes(hashlib.sha512(f"{purpose}:{digest}".encode()).digest(), "big")
    letters = []
    for _ in range(length):
        number, place = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[place])
    return "".join(letters)


def hexadecimal(digest: str, purpose: str, length: int) -> str:
    """`length` hexadecimal digits (up to 128) that depend only on the arguments."""
    return hashlib.sha512(f"{purpose}:{digest}".encode()).hexdigest()[:length]


def uuid_text(digest: str, purpose: str) -> str:
    """A UUID that depends only on the arguments."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{purpose}:{digest}"))


def joined(frames: Iterable[Frame]) -> bytes:
    """The bytes of all frames."""
    return b"".join(frame.data for frame in frames)
