"""Sound that comes as the body of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from polyroute.ports import WireResponse
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure
from polyroute.types.usage import Usage

_BLOCK_PATIENCE = 30.0


class BytesStream:
    """Implements `ports.MediaStream` over an answer whose body is the medium. The provider's media type is preferred."""

    def __init__(self, response: WireResponse, media_type: str, usage: Usage) -> None:
        told = next((value.decode("latin-1") for name, value in response.headers if name == b"content-type"), "")
        if told.startswith(("application/json", "text/")):
            response.abort()
            raise AttemptFailed(
                Failure(kind=ErrorKind.BAD_RESPONSE, message="The provider answered with text where sound was due.")
            )
        self.media_type = told if told.startswith("audio/") else media_type
        self._response = response
        self._usage = usage

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises AttemptFailed."""
        loop = asyncio.get_running_loop()
        while data := await self._response.receive(loop.time() + _BLOCK_PATIENCE):
            yield data

    def usage(self) -> Usage:
        """The characters that were spoken."""
        return self._usage

    def abort(self) -> None:
        """Stop."""
        self._response.abort()
