"""A plan → one filter graph, with the files that it reads and writes. Values come from checked types only; what callers write
freely (the text of overlays) goes into files of its own and never into the graph."""

from __future__ import annotations

from fractions import Fraction

import msgspec

from polyroute.compose.planning import SAMPLE_RATE, Plan, Segment, Source, Window
from polyroute.compose.soundtrack import Measured, SoundGraph, faded, fixed
from polyroute.types.compose import Overlay, Place

_SLOW_EDGE = 8


class Input(msgspec.Struct, frozen=True):
    """A file that is read, with the options that stand before its `-i`."""

    source: Source
    options: tuple[str, ...] = ()


class Output(msgspec.Struct, frozen=True):
    """A file that is written: its name and the options before it."""

    name: str
    options: tuple[str, ...]


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that ffmpeg is told, but where the files are. `texts` are files to be written first, by name."""

    inputs: tuple[Input, ...]
    filters: str
    outputs: tuple[Output, ...]
    texts: dict[str, str]
    seconds: float


_VIDEO = {
    "mp4": ("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-movflags", "+faststart"),
    "mov": ("-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-movflags", "+faststart"),
    "webm": ("-c:v", "libvpx-vp9", "-crf", "32", "-b:v", "0", "-deadline", "realtime", "-cpu-used", "6", "-row-mt", "1"),
}  # fmt: skip
_AUDIO = {
    "mp4": ("-c:a", "aac", "-b:a", "192k"), "mov": ("-c:a", "aac", "-b:a", "192k"), "m4a": ("-c:a", "aac", "-b:a", "192k"),
    "webm": ("-c:a", "libopus", "-b:a", "128k"), "ogg": ("-c:a", "libopus", "-b:a", "128k"),
    "mp3": ("-c:a", "libmp3lame", "-q:a", "2"), "wav": ("-c:a", "pcm_s16le"), "flac": ("-c:a", "flac"),
}  # fmt: skip
_MUXERS = {"m4a": "ipod", "ogg": "ogg"}


class GraphWriter:
    """Compiles one plan. `measured` is what a first look at the loudness told; `measuring` is that look itself; `font` is
    the path of a font file, None where ffmpeg finds one."""

    def __init__(self, plan: Plan, font: str | None) -> None:
        self._plan = plan
        self._font = font
        self._inputs: list[Input] = []
        self._parts: list[str] = []
        self._texts: dict[str, str] = {}
        rate = plan.fps
        self._rate = f"{rate.numerator}/{rate.denominator}"
        tick = f"{rate.denominator}/{rate.numerator}"
        self._counted = f"settb={tick},setpts=N,fps={self._rate}:eof_action=pass"
        """Every frame is kept and stands where its number says; without `pass`, the last one would go."""

    def write(self, measured: Measured | None = None, *, measuring: bool = False) -> Graph:
        """The graph."""
        plan = self._plan
        pictures = plan.picture and not measuring
        sound = SoundGraph(plan, measured, measuring=measuring)
        for number, segment in enumerate(plan.segments):
            index = self._read(segment)
            if pictures:
                self._picture(number, segment, index)
            if plan.audible:
                sound.segment(number, segment, index)
        shown = self._joined_pictures() if pictures else None
        for number, window in enumerate(plan.windows):
            shown = self._overlaid(number, window, shown, sound)
        for one in plan.sounds if plan.audible else ():
            options = [*(("-stream_loop", "-1") if one.track.loop and not one.track.start else ())]
            if one.track.start:
                options += ["-ss", fixed(one.track.start)]
            sound.track(one, self._open(one.track.source, tuple(options)))
        outputs: list[Output] = []
        heard = sound.finished() if plan.audible else None
        self._parts += sound.parts
        if shown is not None:
            shown = self._final(shown)
            outputs += self._pictures_out(shown, heard)
        elif measuring:
            outputs.append(Output("-", ("-map", f"[{heard}]", "-f", "null")))
        else:
            outputs.append(self._sound_out(heard or ""))
        return Graph(
            inputs=tuple(self._inputs), filters=";\n".join(self._parts), outputs=tuple(outputs), texts=self._texts,
            seconds=plan.seconds,
        )  # fmt: skip

    # ---------------------------------------------------------------- inputs

    def _open(self, source: Source, options: tuple[str, ...] = ()) -> int:
        self._inputs.append(Input(source, options))
        return len(self._inputs) - 1

    def _read(self, segment: Segment) -> int | None:
        clip = segment.clip
        if clip is None:
            return None
        if segment.probe.still:
            return self._open(clip.source)
        used = (segment.used or 0.0) + 0.5  # the cut itself is made by frames and samples
        return self._open(clip.source, (*(("-ss", fixed(clip.start)) if clip.start else ()), "-t", fixed(used)))

    # ---------------------------------------------------------------- pictures

    def _picture(self, number: int, segment: Segment, index: int | None) -> None:
        plan, clip = self._plan, segment.clip
        end = f"trim=end_frame={segment.frames},{self._counted}[v{number}]"
        if clip is None or index is None:
            self._parts.append(f"{self._background(plan.width, plan.height)},{end}")
            return
        if not segment.probe.picture:
            return
        speed = "" if clip.speed == 1 else f"setpts=PTS/{fixed(clip.speed)},"
        # What lies behind the cut must not be seen where the input is slower than the output: hence the first `trim`.
        # A picture is repeated first: filters that join frames would end with the only one.
        again = f"loop=loop=-1:size=1:start=0,setpts=N/({self._rate})/TB,"
        cut = again if segment.probe.still else f"trim=end={fixed((segment.used or 0.0) + 0.0005)},"
        fades = faded("fade", clip.fade_in, clip.fade_out, float(segment.frames / plan.fps))
        shaped = self._fitted(clip.fit or plan.timeline.fit, number)
        self._parts.append(
            f"[{index}:V:0]{cut}{speed}{shaped},setsar=1,fps={self._rate}:start_time=0:eof_action=pass,format=yuv420p,"
            f"tpad=stop_mode=clone:stop=-1,trim=end_frame={segment.frames}{fades},{self._counted}[v{number}]"
        )

    def _background(self, wide: int, high: int) -> str:
        color = _color(self._plan.timeline.background)
        return f"color=c={color}:s={wide}x{high}:r={self._rate},setsar=1,format=yuv420p"

    def _fitted(self, fit: str, number: int) -> str:
        wide, high = self._plan.width, self._plan.height
        inside = f"scale=w={wide}:h={high}:force_original_aspect_ratio=decrease:force_divisible_by=2:flags=bicubic"
        outside = (
            f"scale=w={wide}:h={high}:force_original_aspect_ratio=increase:force_divisible_by=2,crop={wide}:{high}"
        )
        match fit:
            case "cover":
                return outside
            case "stretch":
                return f"scale=w={wide}:h={high}"
            case "blur":
                return (
                    f"split=2[bk{number}][fr{number}];[bk{number}]{outside},gblur=sigma=20,setsar=1[bb{number}];"
                    f"[fr{number}]{inside},setsar=1[ff{number}];[bb{number}][ff{number}]overlay=(W-w)/2:(H-h)/2"
                )
        color = _color(self._plan.timeline.background)
        return f"{inside},pad={wide}:{high}:(ow-iw)/2:(oh-ih)/2:color={color}"

    def _joined_pictures(self) -> str:
        """Without transitions at once, otherwise one after another."""
        segments = self._plan.segments
        if len(segments) == 1:
            return "v0"
        if not any(segment.overlap for segment in segments):
            labels = "".join(f"[v{number}]" for number in range(len(segments)))
            self._parts.append(f"{labels}concat=n={len(segments)}:v=1:a=0,{self._counted}[vj]")
            return "vj"
        shown, frames = "v0", segments[0].frames
        for number, segment in enumerate(segments[1:], 1):
            clip = segment.clip
            if segment.overlap and clip is not None and clip.transition is not None:
                offset, lasts = self._seconds(frames - segment.overlap), self._seconds(segment.overlap)
                how = f"xfade=transition={clip.transition.kind}:duration={lasts}:offset={offset}"
            else:
                how = "concat=n=2:v=1:a=0"
            frames += segment.frames - segment.overlap
            self._parts.append(f"[{shown}][v{number}]{how},format=yuv420p,{self._counted}[x{number}]")
            shown = f"x{number}"
        return shown

    def _seconds(self, frames: int) -> str:
        return fixed(float(Fraction(frames) / self._plan.fps))

    # ---------------------------------------------------------------- overlays

    def _overlaid(self, number: int, window: Window, shown: str | None, sound: SoundGraph) -> str | None:
        overlay = window.overlay
        if overlay.source is None:
            if shown is not None:
                self._texts[f"text-{number}.txt"] = overlay.text or ""
                self._parts.append(f"[{shown}]{self._drawn(number, window)}[o{number}]")
                return f"o{number}"
            return shown
        index = self._open(overlay.source)
        if self._plan.audible and window.probe.audio and overlay.volume:
            sound.overlay(number, window, index)
        if shown is None:
            return None
        length = window.last - window.first
        opacity = "" if overlay.opacity == 1 else f",colorchannelmixer=aa={fixed(overlay.opacity)}"
        fades = faded("fade", overlay.fade_in, overlay.fade_out, float(length / self._plan.fps), alpha=True)
        self._parts.append(
            f"[{index}:V:0]format=rgba{self._scaled(window)},setsar=1{opacity},fps={self._rate}:start_time=0:eof_action=pass,settb=AVTB,"
            f"tpad=stop_mode=clone:stop=-1,trim=end_frame={length}{fades},"
            f"setpts=PTS-STARTPTS+{self._seconds(window.first)}/TB[p{number}]"
        )
        across, down = _position(overlay, "W", "H", "w", "h")
        self._parts.append(
            f"[{shown}][p{number}]overlay=x={across}:y={down}:eof_action=pass:format=auto:enable='{_enabled(window)}',"
            f"format=yuv420p[o{number}]"
        )
        return f"o{number}"

    def _scaled(self, window: Window) -> str:
        """As wide as asked for; an overlay's own size unless it is larger than what it lies on."""
        wanted, own = window.overlay.width, window.probe.width or 0
        if wanted is None:
            most = self._plan.width
            return f",scale=w={most}:h=-2" if own > most else ""
        pixels = round(wanted * self._plan.width) if wanted <= 1 else round(wanted)
        return f",scale=w={max(pixels - pixels % 2, 2)}:h=-2"

    def _drawn(self, number: int, window: Window) -> str:
        overlay = window.overlay
        size = overlay.font_size or max(self._plan.height // 18, 8)
        across, down = _position(overlay, "w", "h", "text_w", "text_h")
        options = [
            *((f"fontfile={_quoted(self._font)}",) if self._font else ()),
            f"textfile=text-{number}.txt", "expansion=none", f"fontsize={size}", f"fontcolor={_color(overlay.color)}",
            f"x={across}", f"y={down}", f"enable='{_enabled(window)}'",
        ]  # fmt: skip
        if overlay.box is not None:
            options += ["box=1", f"boxcolor={_color(overlay.box)}", f"boxborderw={_SLOW_EDGE}"]
        options.append(f"alpha='{self._alpha(window)}'")
        return f"drawtext={':'.join(options)}"

    def _alpha(self, window: Window) -> str:
        overlay, fps = window.overlay, self._plan.fps
        first, last = float(window.first / fps), float(window.last / fps)
        shape = fixed(overlay.opacity)
        if overlay.fade_in:
            shape += f"*clip((t-{fixed(first)})/{fixed(overlay.fade_in)},0,1)"
        if overlay.fade_out:
            shape += f"*clip(({fixed(last)}-t)/{fixed(overlay.fade_out)},0,1)"
        return shape

    # ---------------------------------------------------------------- outputs

    def _final(self, shown: str) -> str:
        plan = self._plan
        fades = faded("fade", plan.timeline.fade_in, plan.timeline.fade_out, plan.seconds)
        copies = len(plan.thumbnails) + (1 if plan.film else 0)
        labels = [*(["vout"] if plan.film else []), *(f"t{number}" for number in range(len(plan.thumbnails)))]
        split = f",split={copies}" if copies > 1 else ""
        self._parts.append(
            f"[{shown}]trim=end_frame={plan.frames}{fades},format=yuv420p{split}"
            + "".join(f"[{one}]" for one in labels)
        )
        wanted = plan.timeline.thumbnails
        scale = f",scale=w={wanted.width}:h=-2" if wanted is not None and wanted.width is not None else ""
        for number, frame in enumerate(plan.thumbnails):
            self._parts.append(
                f"[t{number}]trim=start_frame={frame}:end_frame={frame + 1},setpts=PTS-STARTPTS{scale}[u{number}]"
            )
        return "vout"

    def _pictures_out(self, shown: str, heard: str | None) -> list[Output]:
        plan, found = self._plan, []
        form = plan.timeline.format
        if plan.film:
            options = ["-map", f"[{shown}]", *_VIDEO[form], "-pix_fmt", "yuv420p", "-r", self._rate]
            if form != "webm":
                options += [
                    "-video_track_timescale",
                    str(plan.fps.numerator * (1 if plan.fps.denominator > 1 else 512)),
                ]
            options += ["-map", f"[{heard}]", *_AUDIO[form], "-ar", str(SAMPLE_RATE)] if heard else ["-an"]
            found.append(Output(f"result.{form}", (*options, *_ANONYMOUS)))
        wanted = plan.timeline.thumbnails
        kind = form if not plan.film else "jpeg" if wanted is None else wanted.format
        quality = ("-q:v", "2", "-pix_fmt", "yuvj420p") if kind == "jpeg" else ()
        coder = "mjpeg" if kind == "jpeg" else "png"
        for number in range(len(plan.thumbnails)):
            options = ["-map", f"[u{number}]", "-frames:v", "1", "-update", "1", "-c:v", coder, *quality]
            found.append(Output(f"thumbnail-{number}.{kind.replace('jpeg', 'jpg')}", (*options, "-f", "image2")))
        return found

    def _sound_out(self, heard: str) -> Output:
        form = self._plan.timeline.format
        muxer = ("-f", _MUXERS[form]) if form in _MUXERS else ()
        options = ("-map", f"[{heard}]", "-vn", *_AUDIO[form], "-ar", str(SAMPLE_RATE), *muxer, *_ANONYMOUS)
        return Output(f"result.{form}", options)


_ANONYMOUS = ("-map_metadata", "-1", "-map_chapters", "-1", "-fflags", "+bitexact")


def _enabled(window: Window) -> str:
    return f"between(n,{window.first},{window.last - 1})"


def _position(overlay: Overlay, wide: str, high: str, own_wide: str, own_high: str) -> tuple[str, str]:
    where, margin = overlay.position, overlay.margin
    if isinstance(where, Place):
        return str(where.x), str(where.y)
    across = f"({wide}-{own_wide})/2"
    down = f"({high}-{own_high})/2"
    if "left" in where:
        across = str(margin)
    elif "right" in where:
        across = f"{wide}-{own_wide}-{margin}"
    if "top" in where:
        down = str(margin)
    elif "bottom" in where:
        down = f"{high}-{own_high}-{margin}"
    return across, down


def _color(name: str) -> str:
    return f"0x{name[1:]}" if name.startswith("#") else name.lower()


def _quoted(path: str) -> str:
    """A path within a filter's options, which has two levels of escaping."""
    return "'" + path.replace("\\", "\\\\").replace("'", r"'\\\''").replace(":", r"\:") + "'"
