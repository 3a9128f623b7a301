"""Which programs there are, and looking at files with them."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import msgspec

from polyroute.compose.probing import Probe, read_banner, read_ffprobe
from polyroute.providers.media.ffmpeg.process import FENCE, Limits, capture
from polyroute.types.errors import ErrorKind, PolyrouteError

_FONTS = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf", "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
    "/usr/share/fonts/liberation-sans/LiberationSans-Regular.ttf", "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/System/Library/Fonts/Supplemental/Arial.ttf", "/Library/Fonts/Arial.ttf",
)  # fmt: skip
_PROBING = Limits(cpu=60, wall=60.0, output=1 << 20)


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """Paths of the programs; `ffprobe` None where ffmpeg has to tell by itself what a file is."""

    ffmpeg: str
    ffprobe: str | None = None
    font: str | None = None


def find_ffmpeg(path: str) -> str | None:
    """ffmpeg in these folders (as in PATH), else the one that the extra `media` brings."""
    found = shutil.which("ffmpeg", path=path)
    if found is not None or find_spec("imageio_ffmpeg") is None:
        return found
    folder = Path(find_spec("imageio_ffmpeg").origin or "").parent / "binaries"  # type: ignore[union-attr] # seen above
    return next((str(file) for file in sorted(folder.glob("ffmpeg-*")) if file.is_file()), None)


def tools_for(ffmpeg: str, font: str | None = None) -> Tools:
    """The programs beside this ffmpeg, and a font to write with."""
    beside = Path(ffmpeg).with_name("ffprobe")
    fonts = (font,) if font else _FONTS
    return Tools(
        ffmpeg=ffmpeg,
        ffprobe=str(beside) if beside.is_file() else None,
        font=next((one for one in fonts if Path(one).is_file()), None),
    )


async def probe(tools: Tools, path: Path, param: str) -> Probe:
    """What a file is. Raises PolyrouteError (invalid_request) naming `param` for what ffmpeg cannot read."""
    where = f"file:{path}"
    if tools.ffprobe is not None:
        options = ("-v", "error", *FENCE, "-of", "json", "-show_format", "-show_streams", where)
        code, out, _ = await capture(tools.ffprobe, options, _PROBING, folder=path.parent)
        found = read_ffprobe(out) if code == 0 else None
    else:
        _, _, errors = await capture(tools.ffmpeg, (*FENCE, "-i", where), _PROBING, folder=path.parent)
        told = errors.decode("utf-8", "replace")
        found = read_banner(told) if "Stream #" in told else None
    if found is None or not (found.picture or found.audio):
        raise PolyrouteError(
            ErrorKind.INVALID_REQUEST, f"'{param}' is a file that cannot be read as video, sound or picture.", param=param
        )  # fmt: skip
    return found
