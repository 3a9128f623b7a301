"""What the Responses API keeps: answers by id, so that `previous_response_id` continues them at any provider."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec

from polyroute.dialects.sse import SseDecoder
from polyroute.engine.envelope import invalid
from polyroute.ports import Call, KeptResponse, ResponseStore
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.records import KeyRecord

log = logging.getLogger("polyroute.responses")

_TERMINAL = frozenset({"response.completed", "response.incomplete"})


class Continuation:
    """One call of the Responses API: its history put in, its answer kept."""

    def __init__(self, store: ResponseStore, call: Call) -> None:
        self._store = store
        self._call = call
        self._fields: dict[str, Any] = call.fields if call.fields is not None else {}
        self._keeps = store.days > 0 and bytes(self._fields.get("store", b"")).strip() != b"false"
        self._decoder = SseDecoder() if call.stream else None
        self._response: bytes | None = None

    async def resume(self) -> None:
        """Put the conversation that `previous_response_id` names before the input. An id that is none of ours is left
        to the provider. Raises PolyrouteError(invalid_request) for one that is no text."""
        raw = self._fields.get("previous_response_id")
        if raw is None or bytes(raw).strip() == b"null":
            return
        try:
            identifier = msgspec.json.decode(raw, type=str)
        except (msgspec.MsgspecError, ValueError) as error:
            raise invalid("'previous_response_id' must be a string.", "previous_response_id") from error
        kept = await asyncio.to_thread(self._store.get, identifier, _key_id(self._call.key))
        if kept is None:
            return
        items = [*msgspec.json.decode(kept.items, type=list[msgspec.Raw]), *self._input()]
        self._fields["input"] = msgspec.Raw(msgspec.json.encode(items))
        del self._fields["previous_response_id"]

    def _input(self) -> list[Any]:
        """The input as a list of items."""
        raw = self._fields.get("input")
        if raw is None:
            return []
        try:
            given = msgspec.json.decode(raw, type=str | list[msgspec.Raw])
        except (msgspec.MsgspecError, ValueError) as error:
            raise invalid("'input' must be a string or a list of items.", "input") from error
        return [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given

    def watch(self, data: bytes) -> None:
        """Bytes on their way to the caller."""
        if not self._keeps:
            return
        if self._decoder is None:
            self._response = data
            return
        for event in self._decoder.feed(data):
            if event.name in _TERMINAL:
                self._response = bytes(msgspec.json.decode(event.data, type=dict[str, msgspec.Raw])["response"])

    async def keep(self) -> None:
        """The answer is whole: keep it, with the conversation that led to it."""
        if self._response is None:
            return
        response = msgspec.json.decode(self._response, type=dict[str, msgspec.Raw])
        if "id" not in response or "output" not in response:
            return
        items = [*self._input(), *msgspec.json.decode(response["output"], type=list[msgspec.Raw])]
        kept = KeptResponse(msgspec.json.decode(response["id"], type=str), self._response, msgspec.json.encode(items))
        try:
            await asyncio.to_thread(self._store.keep, kept, _key_id(self._call.key))
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, the caller has paid for this answer
            log.warning("the answer %s could not be kept, so nobody can go on from it: %s", kept.id, error)


async def retrieve(store: ResponseStore, identifier: str, key: KeyRecord | None) -> bytes:
    """`GET /v1/responses/{id}`. Raises PolyrouteError(not_found)."""
    kept = await asyncio.to_thread(store.get, identifier, _key_id(key))
    if kept is None:
        raise _unknown(identifier)
    return kept.response


async def delete(store: ResponseStore, identifier: str, key: KeyRecord | None) -> bytes:
    """`DELETE /v1/responses/{id}`. Raises PolyrouteError(not_found)."""
    if not await asyncio.to_thread(store.forget, identifier, _key_id(key)):
        raise _unknown(identifier)
    return msgspec.json.encode({"id": identifier, "object": "response", "deleted": True})


def _unknown(identifier: str) -> PolyrouteError:
    return PolyrouteError(ErrorKind.NOT_FOUND, f"Response with id '{identifier}' not found.", param="response_id")


def _key_id(key: KeyRecord | None) -> str | None:
    return None if key is None else key.id
