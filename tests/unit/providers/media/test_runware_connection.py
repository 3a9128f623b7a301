"""The kept socket: many tasks at once, frames in any order, drops in the middle, keys that are refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyroute.ports import Body, Headers, MediaSocket, Reply, WireResponse
from polyroute.providers.media.runware.connection import Connection, Heard, items_of
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.media import MediaInput

DROP = object()


class ScriptedSocket:
    """A socket whose other end is the test."""

    def __init__(self, news: asyncio.Event) -> None:
        self.sent: list[dict[str, Any]] = []
        self.frames: asyncio.Queue[object] = asyncio.Queue()
        self._news = news
        self.closed = False

    async def send(self, text: str) -> None:
        for task in json.loads(text):
            self.sent.append(task)
            if task["taskType"] == "authentication":
                name = task.get("connectionSessionUUID", "session-1")
                self.say({"data": [{"taskType": "authentication", "connectionSessionUUID": name}]})
            else:
                self._news.set()

    def say(self, frame: object) -> None:
        self.frames.put_nowait(frame)

    async def receive(self, deadline: float) -> str:
        frame = await self.frames.get()
        if frame is DROP:
            raise AttemptFailed(Failure(kind=ErrorKind.UNAVAILABLE, message="closed"))
        return json.dumps(frame)

    async def close(self) -> None:
        self.closed = True
        self.frames.put_nowait(DROP)

    @property
    def tasks(self) -> list[str]:
        return [task["taskUUID"] for task in self.sent if task["taskType"] != "authentication"]


class ScriptedWire:
    """Opens scripted sockets; nothing else is asked of it."""

    base_url = "https://api.runware.ai/v1"
    options: Mapping[str, Any] = {}
    secret: str | None = "rw-key"
    callback_url: str | None = None

    def __init__(self) -> None:
        self.sockets: list[ScriptedSocket] = []
        self.news = asyncio.Event()
        self.refusing = False

    async def socket(self, path: str, *, headers: Headers | None = None) -> MediaSocket:
        if self.refusing:
            raise AttemptFailed(Failure(kind=ErrorKind.UNAVAILABLE, message="refused", unsent=True))
        self.sockets.append(ScriptedSocket(self.news))
        return self.sockets[-1]

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(0)

    async def call(self, method: str, path: str, **_: Any) -> Reply:
        raise AssertionError("no call is due")

    async def open(self, method: str, path: str, **_: Any) -> WireResponse:
        raise AssertionError("no call is due")

    async def input_bytes(self, item: MediaInput) -> tuple[bytes, str]:
        raise AssertionError("no input is due")

    async def input_body(self, item: MediaInput) -> tuple[Body, str]:
        raise AssertionError("no input is due")

    async def input_data_uri(self, item: MediaInput) -> str:
        raise AssertionError("no input is due")

    async def input_url(self, item: MediaInput) -> str | None:
        raise AssertionError("no input is due")


def first(heard: Heard) -> bool:
    return bool(heard.data or heard.errors)


def asking(connection: Connection, wire: ScriptedWire, name: str, wanted: int = 1) -> asyncio.Task[Heard]:
    task = {"taskType": "getResponse", "taskUUID": name}
    return asyncio.create_task(
        connection.ask(task, lambda heard: len(heard.data) + len(heard.errors) >= wanted, wire, 5.0)
    )


async def reached(wire: ScriptedWire, number: int, tasks: int) -> ScriptedSocket:
    """The socket with this number, when so many tasks have come over it."""
    async with asyncio.timeout(5):
        while len(wire.sockets) <= number or len(wire.sockets[number].tasks) < tasks:
            await wire.news.wait()
            wire.news.clear()
    return wire.sockets[number]


async def test_two_tasks_share_a_socket_and_each_gets_its_own_frames() -> None:
    wire, connection = ScriptedWire(), Connection("")
    one, two = asking(connection, wire, "a", 2), asking(connection, wire, "b")
    socket = await reached(wire, 0, 2)
    socket.say({"data": [{"taskUUID": "b", "x": 1}, {"taskUUID": "a", "x": 2}]})
    socket.say({"errors": [{"taskUUID": "a", "code": "inferenceError"}]})
    assert [item["x"] for item in (await two).data] == [1]
    assert ([item["x"] for item in (await one).data], (await one).errors[0]["code"]) == ([2], "inferenceError")
    assert len(wire.sockets) == 1
    await connection.close()


async def test_after_a_drop_the_session_is_resumed_and_who_waits_sends_again() -> None:
    wire, connection = ScriptedWire(), Connection("")
    one, two = asking(connection, wire, "a"), asking(connection, wire, "b")
    (await reached(wire, 0, 2)).say(DROP)
    socket = await reached(wire, 1, 2)
    assert socket.sent[0] == {"taskType": "authentication", "apiKey": "rw-key", "connectionSessionUUID": "session-1"}
    assert sorted(socket.tasks) == ["a", "b"]
    socket.say({"errors": [{"taskUUID": "a", "code": "conflictTaskUUID"}]})
    socket.say({"data": [{"taskUUID": "b"}]})
    assert (await one).errors
    assert (await two).data
    await connection.close()


async def test_a_socket_that_drops_every_time_is_unavailable() -> None:
    wire, connection = ScriptedWire(), Connection("")
    asked = asking(connection, wire, "a")
    for number in range(4):
        (await reached(wire, number, 1)).say(DROP)
    with pytest.raises(AttemptFailed) as caught:
        await asked
    assert caught.value.failure.kind is ErrorKind.UNAVAILABLE


async def test_a_refused_key_is_told_and_nothing_is_kept() -> None:
    wire, connection = ScriptedWire(), Connection("")

    class Refusing(ScriptedSocket):
        async def send(self, text: str) -> None:
            self.say({"errors": [{"code": "invalidApiKey", "message": "Invalid API key."}]})

    async def refuse(path: str, *, headers: Headers | None = None) -> MediaSocket:
        wire.sockets.append(Refusing(wire.news))
        return wire.sockets[-1]

    wire.socket = refuse  # type: ignore[method-assign]  # the other end refuses the key
    with pytest.raises(AttemptFailed) as caught:
        await connection.ask({"taskType": "ping", "taskUUID": "a"}, first, wire, 5.0)
    assert caught.value.failure.kind is ErrorKind.CREDENTIAL_REJECTED
    assert wire.sockets[0].closed
    assert "rw-key" not in str(caught.value)


async def test_a_socket_that_cannot_be_opened_was_not_asked() -> None:
    wire, connection = ScriptedWire(), Connection("")
    wire.refusing = True
    with pytest.raises(AttemptFailed) as caught:
        await connection.ask({"taskType": "ping", "taskUUID": "a"}, first, wire, 5.0)
    assert caught.value.failure.unsent


async def test_who_gives_up_leaves_the_others_their_socket() -> None:
    wire, connection = ScriptedWire(), Connection("")
    one, two = asking(connection, wire, "a"), asking(connection, wire, "b")
    socket = await reached(wire, 0, 2)
    one.cancel()
    with pytest.raises(asyncio.CancelledError):
        await one
    socket.say({"data": [{"taskUUID": "a"}]})
    socket.say({"data": [{"taskUUID": "b"}]})
    assert (await two).data[0]["taskUUID"] == "b"
    assert len(wire.sockets) == 1
    await connection.close()


ITEMS = st.lists(st.tuples(st.sampled_from(["data", "errors"]), st.sampled_from("abc")), min_size=1, max_size=12)


@given(ITEMS, st.data())
def test_items_are_the_same_however_they_are_spread_over_frames(
    items: list[tuple[str, str]], data: st.DataObject
) -> None:
    frames: list[dict[str, list[dict[str, str]]]] = []
    for name, identifier in items:
        if not frames or data.draw(st.booleans()):
            frames.append({})
        frames[-1].setdefault(name, []).append({"taskUUID": identifier})
    found = [item for frame in frames for item in items_of(json.dumps(frame))]
    assert sorted((name, item["taskUUID"]) for name, item in found) == sorted(items)


@given(st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_what_is_no_frame_holds_nothing(text: str) -> None:
    assert items_of(text) == []
