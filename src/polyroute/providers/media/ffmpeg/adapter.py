"""ffmpeg as a provider: in this process, or at a Polyroute that has nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from polyroute.catalog.model import Provider
from polyroute.compose.graph import Graph, GraphWriter
from polyroute.compose.planning import Bounds, Plan, Source, plan_timeline
from polyroute.compose.soundtrack import Measured
from polyroute.compose.sources import input_of, source_names
from polyroute.compose.timeline import parse_timeline
from polyroute.ports import Immediate, Local, MediaWire, Queued, Report, Streamed
from polyroute.providers.media.ffmpeg.lease import lease
from polyroute.providers.media.ffmpeg.process import FENCE, Finished, Limits, run
from polyroute.providers.media.ffmpeg.service import ComposeService
from polyroute.providers.media.ffmpeg.sources import fit_timeline
from polyroute.providers.media.ffmpeg.tools import Tools, probe, tools_for
from polyroute.types.errors import AttemptFailed, ErrorKind, Failure, PolyrouteError
from polyroute.types.media import Fitted, MediaRequest, Outcome, Produced, Progress, Task
from polyroute.types.usage import Usage

IN_PROCESS = "process:"
"""What the address of a program begins with."""
_STOPPED = 255
_STEP = 0.5  # percent
_MEASURING = 40.0
"""Percent of a run whose loudness is looked at first."""
_TYPES = {"m4a": "audio/mp4", "webm": "video/webm", "mp4": "video/mp4", "mov": "video/quicktime"}


class FfmpegMedia:
    """Composes. Options of the row: `binary`, `font`, `concurrency` (runs at once on this machine), `threads`, `max_seconds`
    (of a result), `max_pixels` (of a frame), `max_inputs`, `max_output_mb`, `max_memory_mb`, `cpu_seconds`, `wall_seconds`."""

    def __init__(self, row: Provider) -> None:
        self._here = row.base_url.startswith(IN_PROCESS)
        options = row.options
        self._binary = str(options.get("binary") or "")
        self._font = options.get("font")
        self._places = int(options.get("concurrency", 2))
        self._limits = Limits(
            cpu=int(options.get("cpu_seconds", 3600)), memory=int(options.get("max_memory_mb", 8192)) << 20,
            output=int(options.get("max_output_mb", 1024)) << 20, wall=float(options.get("wall_seconds", 1800)),
            threads=int(options.get("threads", 2)),
        )  # fmt: skip
        self._bounds = Bounds(
            seconds=float(options.get("max_seconds", 3600)), pixels=int(options.get("max_pixels", 3840 * 2160)),
            inputs=int(options.get("max_inputs", 64)),
        )  # fmt: skip

    @cached_property
    def tools(self) -> Tools:
        """The programs."""
        return tools_for(self._binary, self._font)

    def maker(self, task: Task, model: str) -> Immediate | Streamed | Queued | Local | None:
        """Composes and nothing else."""
        if task is not Task.COMPOSE:
            return None
        return Composing(self.tools, self._limits, self._bounds, self._places) if self._here else ComposeService()

    async def healthy(self, wire: MediaWire) -> str | None:
        """See `ports.LocalService.healthy`."""
        if not self._here:
            reply = await wire.call("GET", "/ready", accept=(503,), anonymous=True)
            return None if reply.status < 300 else "the service is not ready"
        if not await asyncio.to_thread(Path(self._binary).is_file):
            return f"there is no {self._binary}"
        done = await run(self._binary, ("-version",), Limits(cpu=10, wall=10.0), folder=Path("/"))
        return None if done.code == 0 else f"ffmpeg ended with {done.code}"


class Composing:
    """Implements `ports.Local`: one run of ffmpeg, two where the loudness is to be even."""

    def __init__(self, tools: Tools, limits: Limits, bounds: Bounds, places: int) -> None:
        self._tools = tools
        self._limits = limits
        self._bounds = bounds
        self._places = places

    def fit(self, request: MediaRequest, model: str) -> Fitted:
        """Everything beside the timeline is dropped."""
        return fit_timeline(request)

    async def look(self, request: MediaRequest, model: str, wire: MediaWire) -> None:
        """See `ports.Looking.look`: whether the timeline can be had from its inputs."""
        await self._plan(fit_timeline(request).request, wire)

    async def _plan(self, request: MediaRequest, wire: MediaWire) -> tuple[Plan, dict[Source, Path]]:
        timeline = parse_timeline(request.timeline)
        named = source_names(timeline)
        paths, probes = {}, {}
        for source in timeline.sources():
            path, _ = await wire.input_path(input_of(source, request, named[source]))
            paths[source] = path.absolute()
            probes[source] = await probe(self._tools, path, named[source])
        return plan_timeline(timeline, probes, self._bounds), paths

    async def work(self, request: MediaRequest, model: str, wire: MediaWire, report: Report) -> Outcome:
        """See `ports.Local.work`."""
        plan, paths = await self._plan(request, wire)
        job = Job(self._tools, self._limits, plan, paths, wire.workspace(), report)
        async with lease("ffmpeg", self._places, job.waits):
            return await job.make()


class Job:
    """One timeline on its way through ffmpeg. Percentages only grow."""

    def __init__(
        self, tools: Tools, limits: Limits, plan: Plan, paths: Mapping[Source, Path], folder: Path, report: Report
    ) -> None:
        self._tools = tools
        self._limits = limits
        self._plan = plan
        self._paths = paths
        self._folder = folder
        self._report = report
        self._percent = 0.0

    async def waits(self) -> None:
        """Others have the processors."""
        await self._report(Progress(state="queued"))

    async def make(self) -> Outcome:
        """The files. Raises AttemptFailed."""
        plan, measured, from_percent = self._plan, None, 0.0
        await self._report(Progress(percent=0.0))
        if plan.timeline.loudness is not None and plan.audible:
            measured = await self._measure()
            from_percent = _MEASURING
        writer = GraphWriter(plan, self._tools.font)
        graph = writer.write(measured)
        self._check(await self._run(graph, from_percent, 100.0))
        await self._check_result(graph)
        notes: tuple[str, ...] = ()
        if plan.timeline.loudness is not None and measured is None:
            notes = ("loudness was left as it is: there is nothing to hear",)
        form = plan.timeline.format
        produced = tuple(
            Produced(path=str(self._folder / output.name), media_type=_TYPES.get(form) if number == 0 else None)
            for number, output in enumerate(graph.outputs)
        )
        return Outcome(produced=produced, usage=Usage(seconds=round(plan.seconds, 6)), notes=notes)

    async def _measure(self) -> Measured | None:
        """None for silence, whose loudness cannot be made even."""
        done = await self._run(GraphWriter(self._plan, None).write(measuring=True), 0.0, _MEASURING, loud=True)
        self._check(done)
        begins, ends = done.told.rfind("{"), done.told.rfind("}")
        try:
            told = json.loads(done.told[begins : ends + 1])
            numbers = [float(told[f"input_{name}"]) for name in ("i", "tp", "lra", "thresh")]
            offset = float(told["target_offset"])
        except (ValueError, KeyError) as error:
            raise AttemptFailed(
                Failure(
                    kind=ErrorKind.BAD_RESPONSE, message="ffmpeg did not tell the loudness.", detail=done.told[-500:]
                )
            ) from error
        if any(abs(number) > 200 for number in numbers):  # infinite: silence
            return None
        return Measured(integrated=numbers[0], peak=numbers[1], range=numbers[2], threshold=numbers[3], offset=offset)

    async def _run(self, graph: Graph, begins: float, ends: float, *, loud: bool = False) -> Finished:
        for name, text in graph.texts.items():
            (self._folder / name).write_text(text, encoding="utf-8")
        threads = str(self._limits.threads)
        arguments: list[str] = ["-y", *(("-loglevel", "info") if loud else ())]
        for one in graph.inputs:
            arguments += ["-threads", threads, *FENCE, *one.options, "-i", f"file:{self._paths[one.source]}"]
        arguments += ["-filter_complex_threads", threads, "-filter_complex", graph.filters]
        for output in graph.outputs:
            place = output.name if output.name == "-" else f"file:{self._folder.absolute() / output.name}"
            arguments += [*output.options, "-threads", threads, "-fs", str(self._limits.output), place]

        async def on_time(seconds: float) -> None:
            percent = begins + (ends - begins) * min(seconds / max(graph.seconds, 1e-3), 1.0)
            if percent >= self._percent + _STEP:
                self._percent = percent
                await self._report(Progress(percent=round(percent, 1)))

        return await run(self._tools.ffmpeg, arguments, self._limits, folder=self._folder, on_time=on_time)

    def _check(self, done: Finished) -> None:
        if done.code == 0:
            return
        used_up = {-24: "more processor time", -25: "a larger file", -9: "more memory or time"}.get(done.code)
        if used_up is not None:
            raise AttemptFailed(
                Failure(
                    kind=ErrorKind.GENERATION_FAILED,
                    detail=done.told[-2000:],
                    message=f"The timeline needs {used_up} than one piece of work may use here.",
                )
            )
        limits = self._limits
        hint = ""
        if done.code == _STOPPED:  # by a signal that it took note of, or by a write that failed
            hint = f" At most {limits.output >> 20} MB and {limits.cpu} seconds of processor time are possible."
        raise AttemptFailed(
            Failure(
                kind=ErrorKind.GENERATION_FAILED,
                message=f"ffmpeg could not make it (it ended with {done.code}).{hint}",
                detail=_without_paths(done.told, self._folder)[-2000:],
            )
        )

    async def _check_result(self, graph: Graph) -> None:
        """What was written is what was planned, and not cut off at the largest size."""
        plan = self._plan
        for output in graph.outputs:
            path = self._folder / output.name
            if not path.is_file() or not path.stat().st_size:
                raise AttemptFailed(
                    Failure(kind=ErrorKind.GENERATION_FAILED, message=f"ffmpeg wrote no {output.name}.")
                )
        if plan.timeline.format in ("png", "jpeg"):
            return
        try:
            lasts = (await probe(self._tools, self._folder / graph.outputs[0].name, "result")).duration
        except PolyrouteError:  # a film that was cut off cannot be read
            lasts = None
        if lasts is None or lasts < plan.seconds - 2 / float(plan.fps) - 0.05:
            most = self._limits.output >> 20
            message = (
                f"It was cut off: at most {most} MB and {self._limits.cpu} seconds of processor time are possible."
            )
            raise AttemptFailed(Failure(kind=ErrorKind.GENERATION_FAILED, message=message))


def _without_paths(told: str, folder: Path) -> str:
    return told.replace(str(folder), "")
