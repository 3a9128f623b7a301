"""Masks: OpenAI's are transparent where they may be painted, everybody else's are white there."""

from __future__ import annotations

from pathlib import Path

from polyroute.providers.media.ffmpeg.process import FENCE, Limits, capture
from polyroute.providers.media.ffmpeg.tools import Tools, probe
from polyroute.types.errors import ErrorKind, PolyrouteError

_LIMITS = Limits(cpu=60, wall=60.0, output=256 << 20)
_TO_WHITE = "format=rgba,alphaextract,negate,format=gray"
_TO_TRANSPARENT = "format=gray,split=2[c][m];[m]negate[a];[c]format=rgb24[r];[r][a]alphamerge,format=rgba"


class Masks:
    """Implements `ports.MaskConverter`."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools

    async def to_white(self, path: Path) -> bytes:
        """See `ports.MaskConverter.to_white`."""
        found = await probe(self._tools, path, "mask")
        if not found.alpha:
            raise PolyrouteError(
                ErrorKind.INVALID_REQUEST,
                "'mask' has no transparent part; it must be a PNG or WebP that is transparent where to paint.", param="mask",
            )  # fmt: skip
        return await self._convert(path, _TO_WHITE)

    async def to_transparent(self, path: Path) -> bytes:
        """See `ports.MaskConverter.to_transparent`."""
        return await self._convert(path, _TO_TRANSPARENT)

    async def _convert(self, path: Path, filters: str) -> bytes:
        options = (
            "-hide_banner", "-nostdin", "-loglevel", "error", *FENCE, "-i", f"file:{path}", "-filter_complex",
            f"[0:v]{filters}", "-frames:v", "1", "-c:v", "png", "-f", "image2pipe", "pipe:1",
        )  # fmt: skip
        code, content, _ = await capture(self._tools.ffmpeg, options, _LIMITS, folder=path.parent)
        if code or not content:
            raise PolyrouteError(ErrorKind.INVALID_REQUEST, "'mask' is a picture that cannot be read.", param="mask")
        return content
