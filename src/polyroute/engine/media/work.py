"""A caller's media request on its way through the attempts."""

from __future__ import annotations

from typing import Any

import msgspec

from polyroute.dialects.openai_media.requests import parse_media
from polyroute.engine.forms import Form, Upload
from polyroute.engine.media.checking import check_call, role_of
from polyroute.engine.media.inputs import Inputs, Storage, check_family, needed_masks
from polyroute.engine.media.tracking import Tracker, Untracked
from polyroute.ports import Call, Intake
from polyroute.types.artifacts import Artifact
from polyroute.types.errors import ErrorKind, PolyrouteError
from polyroute.types.media import MediaInput, MediaRequest
from polyroute.types.operations import MEDIA_DIALECT_OF, Dialect

OURS = frozenset(MEDIA_DIALECT_OF.values())
"""The dialects of our own vocabulary."""


class MediaWork:
    """A media request: parsed once, its uploads stored once, however many targets are tried."""

    def __init__(self, call: Call, form: Form | None, storage: Storage, tracker: Tracker | None = None) -> None:
        self.call = call
        self.storage = storage
        self.tracker: Tracker = tracker or Untracked()
        self._form = form
        self._request: MediaRequest | None = None
        self._inputs: Inputs | None = None

    async def request(self) -> MediaRequest:
        """The request. Raises PolyrouteError(invalid_request) naming the field."""
        if self._request is None:
            self._request = await self._parse()
        return self._request

    @property
    def wants_addresses(self) -> bool:
        """Images are to be answered as addresses, not as base64 (OpenAI's `response_format`)."""
        if self._form is not None:
            return self._form.get("response_format") == "url"
        raw = (self.call.fields or {}).get("response_format")
        return raw is not None and bytes(raw) == b'"url"'

    @property
    def _owner(self) -> str | None:
        return None if self.call.key is None else self.call.key.id

    @property
    def wants_events(self) -> bool:
        """The answer is to be a stream of OpenAI's events; speech, which always comes as it is spoken, says so apart."""
        if self.call.dialect is not Dialect.OPENAI_SPEECH:
            return self.call.stream
        raw = (self.call.fields or {}).get("stream_format")
        return raw is not None and bytes(raw) == b'"sse"'

    async def inputs(self) -> Inputs:
        """What the caller gave."""
        if self._inputs is None:
            key = self.call.key
            anything = key is not None and key.operator
            self._inputs = Inputs(self.storage, await self.request(), self._owner, anything=anything)
        return self._inputs

    async def check(self) -> None:
        """Raises PolyrouteError for what is wrong with it whoever answers it."""
        if self.call.dialect not in OURS:
            await check_call(self.call, self._form, self.storage)

    async def aclose(self) -> None:
        """The request is over."""
        if self._inputs is not None:
            await self._inputs.aclose()

    async def _parse(self) -> MediaRequest:
        call = self.call
        if call.dialect in OURS:
            return decode_request(call)
        if self._form is None:
            return parse_media(call.dialect, _values(call.fields or {}))
        files = [await self._upload(self._form, upload) for upload in self._form.uploads()]
        return parse_media(call.dialect, self._form.values(), files)

    async def _upload(self, form: Form, upload: Upload) -> MediaInput:
        name = upload.name.removesuffix("[]")
        role = role_of(upload)
        intake = Intake(origin="upload", declared=upload.media_type, param=name, owner=self._owner)
        artifact = await self.storage.artifacts.put(form.read(upload), intake)
        check_family(artifact, role, name)
        if role == "mask":
            artifact = await self._white_where_painted(artifact)
        return MediaInput(role=role, artifact=artifact.id, media_type=artifact.media_type, name=upload.filename)

    async def _white_where_painted(self, artifact: Artifact) -> Artifact:
        """OpenAI's masks are transparent where they may be painted; ours, as those of all others, are white there."""
        async with self.storage.artifacts.path(artifact.id) as path:
            content = await needed_masks(self.storage).to_white(path)
        intake = Intake(origin="mask", expected="image", param="mask", owner=self._owner)
        return await self.storage.artifacts.put(content, intake)


def decode_request(call: Call) -> MediaRequest:
    """The MediaRequest in a call of our own dialect. Raises PolyrouteError(invalid_request)."""
    fields = {name: value for name, value in (call.fields or {}).items() if name in MediaRequest.__struct_fields__}
    try:
        return msgspec.json.decode(msgspec.json.encode(fields), type=MediaRequest)
    except msgspec.MsgspecError as error:
        raise PolyrouteError(ErrorKind.INVALID_REQUEST, f"The request is no media request: {error}.") from error


def _values(fields: dict[str, msgspec.Raw]) -> dict[str, Any]:
    return {name: msgspec.json.decode(raw) for name, raw in fields.items()}
