"""What is asked of media providers outside of any request: their voices, their models, and who is meant by what they
report."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

import msgspec

from polyroute.engine.media.inputs import Inputs
from polyroute.engine.media.lane import MediaFloor
from polyroute.engine.media.wire import ProviderWire
from polyroute.engine.runtime import LiveProvider, Runtime
from polyroute.ports import Credential, Headers, Timeouts, Transport
from polyroute.types.errors import AttemptFailed, ErrorKind, PolyrouteError
from polyroute.types.media import MediaRequest, Task, Voice
from polyroute.types.operations import MEDIA_DIALECT_OF
from polyroute.types.plans import Target

_PATIENCE = Timeouts(connect=3.0, headers=10.0, idle=10.0, total=15.0)
_VOICES_HOLD = 300.0
_LISTING = msgspec.structs.replace(_PATIENCE, total=60.0)
"""Some have a thousand models, on many pages."""
CALLBACKS = "/v1/callbacks/"
"""Where providers report to, followed by the provider's name."""


Listed = tuple[tuple[str, tuple[Task, ...]], ...]
"""Models with the tasks that they are known for."""


class VoiceList(msgspec.Struct, frozen=True):
    """The voices of all providers that have some; `missing` says of whom they could not be had, and why."""

    voices: tuple[Voice, ...]
    missing: Mapping[str, str]


class Errands:
    """Runs errands to providers with the first credential that serves."""

    def __init__(self, transport: Transport, floor: MediaFloor) -> None:
        self._transport = transport
        self._floor = floor
        self._voices: dict[str, tuple[float, tuple[Voice, ...]]] = {}
        self._models: dict[str, tuple[float, Listed]] = {}

    async def voices(self, runtime: Runtime, only: str | None = None) -> VoiceList:
        """Asks all providers at once; what they said is used for five minutes."""
        asked = [
            provider
            for name, provider in runtime.providers.items()
            if provider.row.enabled and hasattr(provider.media, "voices") and only in (None, name)
        ]
        told = await asyncio.gather(*(self._voices_of(provider) for provider in asked))
        names = [provider.row.name for provider in asked]
        return VoiceList(
            tuple(voice for found in told if not isinstance(found, str) for voice in found),
            {name: found for name, found in zip(names, told, strict=True) if isinstance(found, str)},
        )

    async def _voices_of(self, provider: LiveProvider) -> tuple[Voice, ...] | str:
        """A provider's voices, or why there are none."""
        name = provider.row.name
        held = self._voices.get(name)
        if held is not None and held[0] > time.monotonic():
            return held[1]
        credential = provider.credentials[0] if provider.credentials else None
        try:
            found: tuple[Voice, ...] = await provider.media.voices(self._wire(provider, credential))  # type: ignore[union-attr] # a VoiceLister, see above
        except (AttemptFailed, PolyrouteError) as failed:
            return str(failed)
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError):
            return "its list of voices cannot be read"
        voices = tuple(msgspec.structs.replace(voice, provider=name) for voice in found)
        self._voices[name] = (time.monotonic() + _VOICES_HOLD, voices)
        return voices

    async def models(self, runtime: Runtime, name: str) -> Listed:
        """A provider's models as it lists them itself, at most five minutes old. Raises PolyrouteError: `not_found` for one
        that has no list, `unavailable` for one that does not answer."""
        provider = runtime.providers.get(name)
        if provider is None or not hasattr(provider.media, "models"):
            listing = sorted(one for one, live in runtime.providers.items() if hasattr(live.media, "models"))
            message = f"There is no provider {name[:80]!r} that lists its models; there are {', '.join(listing)}."
            raise PolyrouteError(ErrorKind.NOT_FOUND, message, param="provider")
        held = self._models.get(name)
        if held is not None and held[0] > time.monotonic():
            return held[1]
        credential = provider.credentials[0] if provider.credentials else None
        try:
            found: Listed = await provider.media.models(self._wire(provider, credential, _LISTING))  # type: ignore[union-attr] # a ModelLister, see above
        except AttemptFailed as failed:
            raise PolyrouteError(ErrorKind.UNAVAILABLE, f"{name} does not list its models: {failed}.") from failed
        except (msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
            raise PolyrouteError(ErrorKind.BAD_RESPONSE, f"{name}'s list of models cannot be read.") from error
        self._models[name] = (time.monotonic() + _VOICES_HOLD, found)
        return found

    async def handle_of(self, runtime: Runtime, name: str, headers: Headers, body: bytes) -> str:
        """The id of the accepted work that a provider reports on. Raises PolyrouteError: `not_found` for a provider that
        reports nothing, `unauthorized` for a report that is not signed by it."""
        provider = runtime.providers.get(name)
        if provider is None or not hasattr(provider.media, "callback"):
            raise PolyrouteError(ErrorKind.NOT_FOUND, f"There is no provider {name[:80]!r} that reports here.")
        refusal = PolyrouteError(ErrorKind.UNAUTHORIZED, "The report is not signed by any account of ours.")
        for credential in provider.credentials or (None,):
            try:
                report = await provider.media.callback(headers, body, self._wire(provider, credential), time.time())  # type: ignore[union-attr] # a CallbackReader
            except PolyrouteError as error:
                refusal = error
            except AttemptFailed as failed:
                refusal = PolyrouteError(
                    ErrorKind.UNAVAILABLE, f"The report cannot be checked: {failed.failure.message}"
                )
            except (msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
                refusal = PolyrouteError(ErrorKind.INVALID_REQUEST, "The report cannot be read.")
                refusal.__cause__ = error
            else:
                handle_id: str = report.handle_id
                return handle_id
        raise refusal

    def _wire(
        self, provider: LiveProvider, credential: Credential | None, timeouts: Timeouts = _PATIENCE
    ) -> ProviderWire:
        endpoint = next(
            found
            for operation, dialect in MEDIA_DIALECT_OF.items()
            if (found := provider.adapter.endpoint(operation, dialect)) is not None
        )
        request = MediaRequest(task=Task.SPEECH)
        return ProviderWire(
            provider, endpoint, Target(provider.row.name, ""), credential, self._transport,
            Inputs(self._floor.storage, request, None), sockets=self._floor.sockets, timeouts=timeouts,
            deadline=asyncio.get_running_loop().time() + timeouts.total,
        )  # fmt: skip
