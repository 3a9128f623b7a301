"""Stability AI: pictures, their edits and sound as forms that are answered at once; two endpoints are polled (media.md 13)."""

from __future__ import annotations

import asyncio
import base64
import binascii
import time
from typing import Any

import msgspec

from polyroute.catalog.model import Provider
from polyroute.ports import FormPart, Headers, MediaWire, Reply
from polyroute.providers.media import fields, intents
from polyroute.providers.media.asking import ask_once
from polyroute.providers.media.fields import Filled
from polyroute.providers.media.handles import NOT_FOUND, is_settling, new_handle
from polyroute.providers.media.tabled import Tabled
from polyroute.providers.media.tables import ModelSpec, load_table
from polyroute.providers.media.verdicts import filtered, gone_wrong, is_moderation, unreadable
from polyroute.providers.retry_after import retry_after
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Fitted, Handle, MediaRequest, Outcome, Produced, Progress, Task
from polyroute.types.usage import Usage

_ACCEPT: Headers = [(b"accept", b"application/json")]
_PENDING, _BROKEN = 202, 500
_MOST = 10
_SEEDS = 4_294_967_295
_BLOCKED_FOR = 60.0
"""Seconds for which an account that asked too often is shut out, where the answer does not say."""
_USUAL_LENGTH = 190.0
_BY_STATUS: dict[int, tuple[ErrorKind, str]] = {
    401: (ErrorKind.CREDENTIAL_REJECTED, "The provider refused the credential."),
    402: (ErrorKind.QUOTA_EXHAUSTED, "The account has no credit."),
    413: (ErrorKind.UNSUPPORTED, "The files are larger than the provider takes (10 MB)."),
    422: (ErrorKind.UNSUPPORTED, "The provider cannot do this"),
    429: (ErrorKind.RATE_LIMITED, "The provider throttles requests."),
}


class StabilityMedia:
    """Stable Image by the last parts of an endpoint's path (`edit/inpaint`), or by its model; Stable Audio."""

    def __init__(self, row: Provider) -> None:
        self._provider = row.name
        self._pace = (0.02, 0.1) if row.simulated else None

    def maker(self, task: Task, model: str) -> Pictures | Sound | Later | None:
        """By the model's table."""
        spec = load_table("stability").find(task, model)
        if spec is None:
            return None
        if spec.extra.get("later"):
            return Later(spec, self._provider, self._pace)
        return (Sound if task in (Task.MUSIC, Task.SOUND_EFFECT) else Pictures)(spec, self._provider)

    def classify(self, status: int, headers: Headers, body: bytes) -> Failure | None:
        """`{id, name, errors}`; the field is what the first complaint begins with."""
        try:
            told = msgspec.json.decode(body)
            name, said = str(told["name"]), "; ".join(str(one) for one in told["errors"])
        except (msgspec.MsgspecError, LookupError, TypeError):
            return None
        if status not in (400, 403, *_BY_STATUS):
            return None
        if name == "content_moderation" or (status == 403 and is_moderation(said)):
            return msgspec.structs.replace(filtered(said).failure, http_status=status)
        param = None
        if status in (400, 422):
            field = said.partition(":")[0]
            param = load_table("stability").intent_of(field) or (field if field.isidentifier() else None)
        kind, message = _BY_STATUS.get(status, (ErrorKind.INVALID_REQUEST, "The provider refused the request"))
        if status == 403:
            kind, message = _BY_STATUS[401]
        wait = retry_after(headers, None, said, time.time) if status == 429 else None
        return Failure(
            kind=kind, message=message if message.endswith(".") else f"{message}: {said[:300]}", http_status=status,
            code=name, param=param, detail=said[:2000],
            retry_after=(_BLOCKED_FOR if wait is None else wait) if status == 429 else None,
        )  # fmt: skip


class _Endpoint(Tabled):
    """What makers of one endpoint share: the fit, the path and the form."""

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """By the model's table, and by what only options can say."""
        intents.need_options(request, self._provider, self._spec.extra.get("needs", ()), model)
        return super().fit(request, model)

    def _path(self, model: str, filled: Filled) -> str:
        path = str(self._spec.extra.get("path") or model.replace("stable-image-", "generate/", 1))
        if path == "audio":
            return f"/v2beta/audio/stable-audio-2/{'audio-to-audio' if filled.places else 'text-to-audio'}"
        return f"/v2beta/stable-image/{path}"

    async def _form(
        self, filled: Filled, model: str, wire: MediaWire, changed: dict[str, Any] | None = None
    ) -> tuple[FormPart, ...]:
        values = {**filled.fields, **(changed or {}), **({"model": model} if self._spec.extra.get("model") else {})}
        parts = [FormPart(name=name, value=_text(value)) for name, value in values.items() if value is not None]
        for spec, items in filled.places:
            for item in items:
                content, media_type = await wire.input_body(item)
                name = item.name or f"{spec.name}.{media_type.partition('/')[2].removeprefix('x-')}"
                parts.append(FormPart(name=spec.name, value=content, filename=name, media_type=media_type))
        return tuple(parts)


class Pictures(_Endpoint):
    """Implements `ports.Immediate`: one picture for each call, as many calls as pictures are wanted."""

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """By the model's table; several are made by several calls."""
        if request.n > _MOST:
            raise PolyrouteError(ErrorKind.UNSUPPORTED, f"'n' is {request.n}; at most {_MOST} are possible.", param="n")
        fitted = super().fit(msgspec.structs.replace(request, n=1), model)
        return msgspec.structs.replace(fitted, request=request)

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """What was made is given although others failed."""
        filled = fields.fill(self._spec, msgspec.structs.replace(request, n=1), self._provider)
        seed = filled.fields.get("seed")
        calls = []
        for number in range(request.n):
            changed = {} if seed is None else {"seed": (int(seed) + number) % _SEEDS}
            form = await self._form(filled, model, wire, changed)
            calls.append(ask_once(wire, self._path(model, filled), form=form, headers=_ACCEPT))
        answers = await asyncio.gather(*calls, return_exceptions=True)
        produced, failure = list[Produced](), None
        for answer in answers:
            try:
                if isinstance(answer, BaseException):
                    raise answer
                produced.append(_made(answer))
            except AttemptFailed as failed:
                failure = failure or failed
        if not produced:
            raise failure or unreadable("The provider gave no picture.")
        notes = () if failure is None else (f"{len(produced)} of {request.n} pictures were made",)
        return Outcome(produced=tuple(produced), usage=Usage(images=len(produced)), model=model, notes=notes)


class Sound(_Endpoint):
    """Implements `ports.Immediate`: music and effects, from words or from sound."""

    async def make(self, request: MediaRequest, model: str, wire: MediaWire) -> Outcome:
        """The sound of one call."""
        filled = fields.fill(self._spec, request, self._provider)
        form = await self._form(filled, model, wire)
        reply = await ask_once(wire, self._path(model, filled), form=form, headers=_ACCEPT)
        usage = Usage(seconds=float(filled.fields.get("duration") or _USUAL_LENGTH))
        return Outcome(produced=(_made(reply),), usage=usage, model=model)


class Later(_Endpoint):
    """Implements `ports.Queued`: an id first, and the picture for a day under it."""

    resubmits = False
    pace = (10.0, 10.0)

    def __init__(self, spec: ModelSpec, provider: str, pace: tuple[float, float] | None = None) -> None:
        super().__init__(spec, provider)
        self.pace = pace or self.pace

    async def submit(self, request: MediaRequest, model: str, wire: MediaWire) -> Handle | Outcome:
        """Hand the picture over."""
        filled = fields.fill(self._spec, request, self._provider)
        form, path = await self._form(filled, model, wire), self._path(model, filled)
        reply = await wire.call("POST", path, form=form, headers=_ACCEPT, creates=True)
        return new_handle(str(reply.json()["id"]), model=model)

    async def poll(self, handle: Handle, wire: MediaWire) -> Progress | Outcome:
        """202 while it is made. A 500 that is there again after a pause is how it fails."""
        reply = await self._ask(handle, wire)
        if reply.status == _BROKEN:
            await wire.pause(self.pace[0])
            reply = await self._ask(handle, wire)
        match reply.status:
            case 202:
                return Progress(state="running")
            case 404 if is_settling(handle):
                return Progress(state="queued")
            case 404:
                raise gone_wrong("The provider no longer knows the work.")
            case 500:
                raise gone_wrong("The provider failed to make it.", reply.body.decode("utf-8", "replace"))
        made = _made(reply)
        return Outcome(produced=(made,), usage=Usage(images=1), model=handle.data.get("model"), upstream_id=handle.id)

    async def _ask(self, handle: Handle, wire: MediaWire) -> Reply:
        return await wire.call(
            "GET", f"/v2beta/results/{handle.id}", headers=_ACCEPT, accept=(_PENDING, NOT_FOUND, _BROKEN)
        )

    async def cancel(self, handle: Handle, wire: MediaWire) -> None:
        """There is no way to."""


def _made(reply: Reply) -> Produced:
    """The medium of an answer. Raises AttemptFailed: what was filtered is answered with 200 too."""
    told = reply.json()
    reason = str(told.get("finish_reason") or "")
    if reason == "CONTENT_FILTERED":
        raise filtered(reason)
    data = told.get("image") or told.get("audio") or told.get("result")
    if not isinstance(data, str):
        raise unreadable("The provider's answer holds no medium.", reason)
    try:
        return Produced(data=base64.b64decode(data, validate=True))
    except (binascii.Error, ValueError) as error:
        raise unreadable("The provider's data is no base64.") from error


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
