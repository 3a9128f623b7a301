"""The part of a filter graph that sounds: clips one after another, tracks beside them, loudness."""

from __future__ import annotations

from fractions import Fraction

import msgspec

from polyroute.compose.planning import SAMPLE_RATE, Plan, Segment, Sound, Window

_SHAPE = f"aformat=sample_fmts=fltp:sample_rates={SAMPLE_RATE}:channel_layouts=stereo"
_EVEN = f"aresample={SAMPLE_RATE}:async=1:first_pts=0,{_SHAPE}"
_SILENCE = f"anullsrc=channel_layout=stereo:sample_rate={SAMPLE_RATE}"
_PEAK, _RANGE = -1.5, 11


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What a first look at the loudness told (EBU R 128)."""

    integrated: float
    peak: float
    range: float
    threshold: float
    offset: float


def fixed(number: float) -> str:
    """A number as filters read it, never with an exponent."""
    return f"{number:.6f}".rstrip("0").rstrip(".")


def faded(name: str, fade_in: float, fade_out: float, lasts: float, *, alpha: bool = False) -> str:
    """Fades at both ends, beginning with a comma; empty without any."""
    more = ":alpha=1" if alpha else ""
    told = f",{name}=t=in:st=0:d={fixed(fade_in)}{more}" if fade_in else ""
    if fade_out:
        told += f",{name}=t=out:st={fixed(max(lasts - fade_out, 0.0))}:d={fixed(fade_out)}{more}"
    return told


class SoundGraph:
    """Writes `parts` of the graph as it is told of clips and tracks; `finished` gives the label of all of it."""

    def __init__(self, plan: Plan, measured: Measured | None, *, measuring: bool) -> None:
        self.parts: list[str] = []
        self._plan = plan
        self._measured = measured
        self._measuring = measuring
        self._ends = 0  # samples
        self._frames = 0
        self._lengths: list[int] = []
        self._mixed: list[str] = []
        self._ducked: list[str] = []
        self._replaced = any(sound.track.mode == "replace" for sound in plan.sounds)

    def segment(self, number: int, segment: Segment, index: int | None) -> None:
        """The sound of a clip, silence where it has none: as long as its frames to a sample, without the errors of
        roundings adding up."""
        self._frames += segment.frames - segment.overlap
        ends = self._samples(self._frames)
        overlap = self._samples(segment.overlap)
        samples = ends - self._ends + overlap
        self._ends = ends
        self._lengths.append(samples)
        clip = segment.clip
        cut = f"atrim=end_sample={samples},asetpts=PTS-STARTPTS"
        if clip is None or index is None or not segment.probe.audio or self._replaced:
            self.parts.append(f"{_SILENCE},{_SHAPE},{cut}[a{number}]")
            return
        used = f"atrim=end={fixed(segment.used or 0.0)},"
        speed = "".join(f",atempo={fixed(step)}" for step in _tempos(clip.speed))
        volume = "" if clip.volume == 1 else f",volume={fixed(clip.volume)}"
        fades = faded("afade", clip.fade_in, clip.fade_out, samples / SAMPLE_RATE)
        self.parts.append(f"[{index}:a:0]{used}{_EVEN}{speed}{volume},apad,{cut}{fades}[a{number}]")

    def overlay(self, number: int, window: Window, index: int) -> None:
        """The sound of a video that lies over the others."""
        overlay, fps = window.overlay, self._plan.fps
        lasts = float((window.last - window.first) / fps)
        fades = faded("afade", overlay.fade_in, overlay.fade_out, lasts)
        self._later(
            f"[{index}:a:0]{_EVEN},atrim=duration={fixed(lasts)},volume={fixed(overlay.volume)}{fades}",
            float(window.first / fps), f"po{number}",
        )  # fmt: skip
        self._mixed.append(f"po{number}")

    def track(self, sound: Sound, index: int) -> None:
        """A track beside the clips."""
        track = sound.track
        label = f"tr{len(self._mixed)}_{len(self._ducked)}"
        volume = "" if track.volume == 1 else f",volume={fixed(track.volume)}"
        fades = faded("afade", track.fade_in, track.fade_out, sound.length)
        cut = f"atrim=duration={fixed(sound.length)}"
        if track.end is not None:
            cut = f"atrim=duration={fixed(min(track.end - track.start, sound.length))}" if not track.loop else cut
        self._later(
            f"[{index}:a:0]{self._repeated(sound)}{_EVEN},{cut},asetpts=PTS-STARTPTS{volume}{fades}", sound.at, label
        )
        (self._ducked if track.mode == "duck" else self._mixed).append(label)

    def _repeated(self, sound: Sound) -> str:
        """A cut out of a track cannot be repeated by the reader of the file."""
        track = sound.track
        if not track.loop or (not track.start and track.end is None):
            return ""
        cut = f"atrim=end={fixed(track.end - track.start)}," if track.end is not None else ""
        return f"{_EVEN},{cut}asetpts=PTS-STARTPTS,aloop=loop=-1:size={SAMPLE_RATE * 600},asetpts=N/SR/TB,"

    def _later(self, chain: str, at: float, label: str) -> None:
        delay = f",adelay=delays={round(at * 1000)}:all=1" if at else ""
        whole = self._samples(self._plan.frames)
        self.parts.append(f"{chain}{delay},apad,atrim=end_sample={whole},asetpts=PTS-STARTPTS[{label}]")

    def finished(self) -> str:
        """Everything together."""
        label = self._joined()
        if self._mixed:
            label = self._mix([label, *self._mixed], "mx")
        for number, ducked in enumerate(self._ducked):
            self.parts.append(f"[{label}]asplit=2[vo{number}][ke{number}]")
            self.parts.append(
                f"[{ducked}][ke{number}]sidechaincompress=threshold=0.03:ratio=8:attack=20:release=300[du{number}]"
            )
            label = self._mix([f"vo{number}", f"du{number}"], f"dm{number}")
        plan, timeline = self._plan, self._plan.timeline
        whole = self._samples(plan.frames)
        volume = "" if timeline.volume == 1 else f",volume={fixed(timeline.volume)}"
        fades = faded("afade", timeline.fade_in, timeline.fade_out, plan.seconds)
        self.parts.append(
            f"[{label}]{_SHAPE}{volume}{fades}{self._loudness()},apad,atrim=end_sample={whole},asetpts=PTS-STARTPTS[aout]"
            if not self._measuring
            else f"[{label}]{_SHAPE}{volume}{fades}{self._loudness()}[aout]"
        )
        return "aout"

    def _joined(self) -> str:
        segments = self._plan.segments
        if len(segments) == 1:
            return "a0"
        if not any(segment.overlap for segment in segments):
            labels = "".join(f"[a{number}]" for number in range(len(segments)))
            self.parts.append(f"{labels}concat=n={len(segments)}:v=0:a=1[aj]")
            return "aj"
        label = "a0"
        for number, segment in enumerate(segments[1:], 1):
            samples = self._samples(segment.overlap)
            how = f"acrossfade=ns={samples}:c1=tri:c2=tri" if samples else "concat=n=2:v=0:a=1"
            self.parts.append(f"[{label}][a{number}]{how}[y{number}]")
            label = f"y{number}"
        return label

    def _mix(self, labels: list[str], label: str) -> str:
        given = "".join(f"[{one}]" for one in labels)
        self.parts.append(
            f"{given}amix=inputs={len(labels)}:duration=first:dropout_transition=0:normalize=0,alimiter=limit=0.95[{label}]"
        )
        return label

    def _loudness(self) -> str:
        wanted = self._plan.timeline.loudness
        if wanted is None or (self._measured is None and not self._measuring):
            return ""
        told = f",loudnorm=I={fixed(wanted)}:TP={_PEAK}:LRA={_RANGE}"
        if self._measuring or self._measured is None:
            return f"{told}:print_format=json"
        seen = self._measured
        return (
            f"{told}:measured_I={fixed(seen.integrated)}:measured_TP={fixed(seen.peak)}:measured_LRA={fixed(seen.range)}:"
            f"measured_thresh={fixed(seen.threshold)}:offset={fixed(seen.offset)}:linear=true,{_SHAPE}"
        )

    def _samples(self, frames: int) -> int:
        return round(Fraction(frames) / self._plan.fps * SAMPLE_RATE)


def _tempos(speed: float) -> list[float]:
    """A factor as steps that `atempo` takes (0.5 to 100)."""
    found = []
    while speed < 0.5:
        found.append(0.5)
        speed *= 2
    return [*found, speed] if speed != 1 else found
