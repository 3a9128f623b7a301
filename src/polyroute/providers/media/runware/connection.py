"""One kept socket to Runware: many tasks at once, frames in any order, resumed after a drop.

Everything that is sent here may be sent twice: reading tasks, and making tasks with a `taskUUID` of ours and
`deliveryMethod: async`, whose second copy is answered with `conflictTaskUUID` (accepted). So whoever waits when the socket
drops sends again over the next one, which resumes the session.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec

from polyroute.ports import MediaSocket, MediaWire
from polyroute.providers.media.intents import failed
from polyroute.types.errors import AttemptFailed, ErrorKind

Item = dict[str, Any]
_AUTHENTICATING = 15.0
_PING = 30.0
_SILENCE = 100.0
_IDLE = 120.0
"""Seconds: for the answer to the key; between pings; after which a silent socket is dead; after which an unused one closes."""
_SETTLING = 1.0
"""Seconds after a task's first item in which the others have to come, in frames of their own."""
_OPENINGS = 4
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 8.0


class Dropped(Exception):
    """The socket went away while somebody waited."""


class Heard:
    """What has come for one task so far."""

    def __init__(self) -> None:
        self.data: list[Item] = []
        self.errors: list[Item] = []


class _Waiter:
    def __init__(self, is_done: Callable[[Heard], bool]) -> None:
        self.heard = Heard()
        self.future: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        self._is_done = is_done

    def take(self, name: str, item: Item) -> None:
        if not self.heard.data and not self.heard.errors:
            self.future.get_loop().call_later(_SETTLING, self._settle)
        (self.heard.errors if name == "errors" else self.heard.data).append(item)
        if self._is_done(self.heard):
            self._settle()

    def _settle(self) -> None:
        if not self.future.done():
            self.future.set_result(self.heard)

    def drop(self) -> None:
        if not self.future.done():
            self.future.set_exception(Dropped())


class Connection:
    """The socket of one credential. It outlives the calls that use it, and closes when nobody does."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._session: str | None = None
        self._socket: MediaSocket | None = None
        self._reader: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._waiting: dict[str, list[_Waiter]] = defaultdict(list)
        self._used = 0.0

    async def ask(self, task: Item, is_done: Callable[[Heard], bool], wire: MediaWire, patience: float) -> Heard:
        """Send a task and collect what comes for it until `is_done`, or a moment longer than its first item; `patience` is
        how many seconds that first item may take.

        Raises AttemptFailed: `unavailable` (with `unsent` when the socket could not be opened), `timeout`,
        `credential_rejected`.
        """
        pause = _FIRST_PAUSE
        for left in reversed(range(_OPENINGS)):
            socket = await self._ensure(wire)
            waiter = _Waiter(is_done)
            held = self._waiting[task["taskUUID"]]
            held.append(waiter)
            try:
                await self._send(socket, [task])
                async with asyncio.timeout(patience):
                    return await asyncio.shield(waiter.future)
            except TimeoutError:
                raise failed(ErrorKind.TIMEOUT, "The provider's socket does not answer.") from None
            except Dropped:
                if not left:
                    raise failed(ErrorKind.UNAVAILABLE, "The provider's socket drops again and again.") from None
            finally:
                waiter.future.cancel()
                held.remove(waiter)
                if not held:
                    self._waiting.pop(task["taskUUID"], None)
                self._used = asyncio.get_running_loop().time()
            await wire.pause(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise AssertionError("unreachable: the last try returns or raises")

    async def close(self) -> None:
        """Close it now; who waits sends again over a new one."""
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def _send(self, socket: MediaSocket, tasks: list[Item]) -> None:
        try:
            await socket.send(msgspec.json.encode(tasks).decode())
        except AttemptFailed as error:
            self._gone(socket)
            raise Dropped from error

    async def _ensure(self, wire: MediaWire) -> MediaSocket:
        async with self._opening:
            if self._socket is not None:
                return self._socket
            socket = await wire.socket(self._address)
            try:
                await self._authenticate(socket, wire.secret or "")
            except BaseException:
                await socket.close()
                raise
            self._socket = socket
            self._used = asyncio.get_running_loop().time()
            self._reader = asyncio.create_task(self._read(socket), name="runware-socket")
            return socket

    async def _authenticate(self, socket: MediaSocket, secret: str) -> None:
        task: Item = {"taskType": "authentication", "apiKey": secret}
        if self._session is not None:
            task["connectionSessionUUID"] = self._session
        await socket.send(msgspec.json.encode([task]).decode())
        deadline = asyncio.get_running_loop().time() + _AUTHENTICATING
        while True:
            for name, item in items_of(await socket.receive(deadline)):
                if name == "errors":
                    raise failed(
                        ErrorKind.CREDENTIAL_REJECTED,
                        "Runware does not accept the API key.",
                        detail=item.get("message"),
                    )
                if item.get("taskType") == "authentication":
                    self._session = str(item.get("connectionSessionUUID") or "") or None
                    return
                self._dispatch(name, item)

    async def _read(self, socket: MediaSocket) -> None:
        loop = asyncio.get_running_loop()
        heard = loop.time()
        try:
            while True:
                try:
                    text = await socket.receive(loop.time() + _PING)
                except AttemptFailed as error:
                    idle = not self._waiting and loop.time() - self._used > _IDLE
                    silent = loop.time() - heard > _SILENCE
                    if error.failure.kind is not ErrorKind.TIMEOUT or idle or silent:
                        return
                    await self._send(socket, [{"taskType": "ping", "ping": True}])
                    continue
                heard = loop.time()
                for name, item in items_of(text):
                    self._dispatch(name, item)
        except Dropped:
            return
        finally:
            self._gone(socket)
            await asyncio.shield(asyncio.ensure_future(_close(socket)))

    def _dispatch(self, name: str, item: Item) -> None:
        """To whoever waits for this task; an error that names no task belongs to the only one there is."""
        identifier = item.get("taskUUID")
        waiting = self._waiting.get(str(identifier), []) if identifier else []
        if identifier is None and name == "errors" and len(self._waiting) == 1:
            waiting = next(iter(self._waiting.values()))
        for waiter in tuple(waiting):
            waiter.take(name, item)

    def _gone(self, socket: MediaSocket) -> None:
        if self._socket is socket:
            self._socket = None
        for waiters in self._waiting.values():
            for waiter in waiters:
                waiter.drop()


async def _close(socket: MediaSocket) -> None:
    try:
        await socket.close()
    except AttemptFailed:
        return


def items_of(text: str) -> list[tuple[str, Item]]:
    """The items of a frame with the name of the list they stand in (`data` or `errors`); nothing of what is no frame."""
    try:
        frame = msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return []
    if not isinstance(frame, dict):
        return []
    found: list[tuple[str, Item]] = []
    for name in ("data", "errors", "error"):
        held = frame.get(name)
        items = held if isinstance(held, list) else [held]
        found += [("data" if name == "data" else "errors", item) for item in items if isinstance(item, dict)]
    return found
