"""`python -m benchmarks`: the gateway's figures beside their bars, in about four minutes.

Interleaved rounds and medians throughout, because what else the machine does changes from second to second.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from benchmarks import load
from benchmarks.analytics import measure_stats
from benchmarks.contenders import (
    Contender,
    Gateways,
    environment,
    start_floor,
    start_nginx_proxy,
    start_static,
    start_streams,
)
from benchmarks.jobs import measure_waiting
from benchmarks.ledger import measure_ledgers
from benchmarks.machine import cores, program
from benchmarks.others import start_litellm, start_portkey
from benchmarks.planning import measure_plan
from benchmarks.speech import measure_speech
from polyroute.routing.policies import POLICIES
from polyroute.storage.status import read_status

_PARTS = ("start", "whole", "streams", "planning", "ledger", "speech", "jobs", "others")
_SIZES = (1024, 10 * 1024, 100 * 1024)


class Line(msgspec.Struct, frozen=True):
    """One line of the table; a line without a bar only informs."""

    what: str
    measured: str
    bar: str = ""
    reached: bool | None = None


class Benchmark:
    """All measurements, and the table that they become. `scale` stretches or shortens every round."""

    def __init__(self, folder: Path, scale: float) -> None:
        self.folder = folder
        self.scale = scale
        self.gateway_core, self.load_core = cores()
        self.lines: list[Line] = []
        self.stack = ExitStack()
        self.wrk = program("wrk")

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """One part of the whole, told as it begins."""
        began = time.perf_counter()
        sys.stderr.write(f"{name} …")
        sys.stderr.flush()
        with ExitStack() as self.stack:
            yield
        sys.stderr.write(f" {time.perf_counter() - began:.0f} s\n")

    def add(self, what: str, measured: str, bar: str = "", reached: bool | None = None) -> None:
        """A line of the table."""
        self.lines.append(Line(what, measured, bar, reached))

    def own(self, contender: Contender) -> Contender:
        """Stop it at the end of the part."""
        self.stack.callback(contender.process.stop)
        return contender

    # ---------------------------------------------------------------- start and rest

    def start(self) -> None:
        """Cold start, import time, and memory at rest."""
        upstream = self.own(start_static(self.load_core, self.folder))
        gateways = Gateways(self.gateway_core, self.folder, upstream.port)
        seconds, memory = [], 0.0
        for _ in range(4):
            gateway, took = gateways.start()
            seconds.append(took)
            time.sleep(1.0)
            memory = max(memory, gateway.process.memory())
            gateway.process.stop()
        cold = load.median(seconds[1:])  # the first one condenses the price tables, once for each installation
        self.add("cold start to the first 200", f"{cold:.2f} s", "≤ 1.0 s", cold <= 1.0)
        self.add("idle resident memory", f"{memory:.0f} MB", "≤ 90 MB", memory <= 90)
        bare, whole = (
            load.median([_time_import(code) for _ in range(3)]) for code in ("pass", "import polyroute.cli.serving")
        )
        self.add("import time of what serves", f"{whole - bare:.2f} s")

    # ---------------------------------------------------------------- whole answers

    def whole(self) -> None:
        """Whole answers at 32 connections and at one."""
        direct = self.own(start_static(self.load_core, self.folder))
        contenders = [self.own(start_floor(self.gateway_core, self.folder, direct.port))]
        contenders.append(self.own(Gateways(self.gateway_core, self.folder, direct.port).start()[0]))
        nginx = start_nginx_proxy(self.gateway_core, self.folder, direct.port)
        if nginx is not None:
            contenders.append(self.own(nginx))
        for one in contenders:  # warm
            self._load(one, load.body("six", 1024), 32, 1)
        for size in _SIZES:
            self._throughput(contenders, size, rounds=7 if size == _SIZES[0] else 3)
        for size in _SIZES:
            self._latency(direct, contenders, size)

    def _load(self, contender: Contender, body: bytes, callers: int, seconds: int) -> load.Figures:
        if self.wrk is not None:
            return load.run_wrk(
                self.wrk, contender.port, body, contender.key, callers=callers, seconds=seconds, folder=self.folder,
                headers=contender.headers,
            )  # fmt: skip
        return load.run(
            contender.port, load.request(contender.port, body, contender.key, contender.headers),
            callers=callers, seconds=seconds,
        )  # fmt: skip

    def _throughput(self, contenders: list[Contender], size: int, rounds: int) -> None:
        body = load.body("six", size)
        seconds = max(1, round(2 * self.scale)) if size == _SIZES[0] else 1
        rates: dict[str, list[float]] = {one.name: [] for one in contenders}
        cpu: dict[str, list[float]] = {one.name: [] for one in contenders}
        bad = 0
        for _ in range(max(1, round(rounds * self.scale))):
            for one in contenders:
                before = one.process.cpu()
                figures = self._load(one, body, 32, seconds)
                if one.name == "gateway":
                    one.process.rest()  # the ledger writes up what the journal holds: that is part of the price
                    bad += figures.bad
                rates[one.name].append(figures.rate)
                cpu[one.name].append((one.process.cpu() - before) / max(1, figures.count) * 1e6)
        told = ", ".join(
            f"{name} {load.median(rates[name]):,.0f}/s ({load.median(cpu[name]):.0f} µs)" for name in rates
        )
        what = f"whole, 32 connections, {size // 1024} KB"
        self.add(what, told + (f", {bad} BAD" if bad else ""), "no bad answer", bad == 0)
        if size == _SIZES[0]:
            ratio = load.median([ours / floor for ours, floor in zip(rates["gateway"], rates["floor"], strict=True)])
            self.add("  against the bare floor", f"{ratio:.2f} x", "≥ 0.65 x", ratio >= 0.65)
            spent = load.median(cpu["floor"]) / load.median(cpu["gateway"])
            self.add("  against the bare floor, by CPU time", f"{spent:.2f} x")
            if "nginx" in rates:
                ratio = load.median([ours / ngx for ours, ngx in zip(rates["gateway"], rates["nginx"], strict=True)])
                self.add("  against nginx proxy_pass", f"{ratio:.2f} x", "≥ 0.22 x", ratio >= 0.22)

    def _latency(self, direct: Contender, contenders: list[Contender], size: int) -> None:
        body = load.body("six", size)
        everyone = [direct, *contenders]
        p50: dict[str, list[float]] = {one.name: [] for one in everyone}
        for _ in range(max(1, round(5 * self.scale))):
            for one in everyone:
                figures = load.run(one.port, load.request(one.port, body, one.key), callers=1, seconds=0.4)
                p50[one.name].append(figures.p50 * 1000)
        middle = {name: load.median(values) for name, values in p50.items()}
        added = load.median([ours - bare for ours, bare in zip(p50["gateway"], p50["direct"], strict=True)])
        told = ", ".join(f"{name} {value:.2f}" for name, value in middle.items())
        bar = ("≤ 0.20 ms", added <= 0.2) if size == _SIZES[0] else ("", None)
        self.add(f"added p50, 1 connection, {size // 1024} KB", f"{added:.2f} ms  ({told})", *bar)

    # ---------------------------------------------------------------- planning

    def planning(self) -> None:
        """What a plan of twenty targets costs, by the slowest of the policies."""
        times = {policy: measure_plan(policy, 20, 2) for policy in POLICIES}
        slowest = max(times, key=lambda policy: times[policy])
        calm = measure_plan("priority", 20, 0)
        told = f"{times[slowest]:.1f} µs  ({slowest}, 2 breakers open; priority, all closed: {calm:.1f})"
        self.add("plan of a route of 20 targets", told, "≤ 20 µs", times[slowest] <= 20)

    # ---------------------------------------------------------------- others

    def others(self) -> None:
        """Whole answers beside other gateways, as far as they are installed."""
        direct = self.own(start_static(self.load_core, self.folder))
        bars = {"Portkey": 8.0, "LiteLLM": 100.0}
        starts = {"Portkey": start_portkey, "LiteLLM": start_litellm}
        found = {name: start(self.gateway_core, self.folder, direct.port) for name, start in starts.items()}
        gateway = self.own(Gateways(self.gateway_core, self.folder, direct.port).start()[0])
        body = load.body("six", _SIZES[0])
        for name, other in found.items():
            if other is None:
                self.add(f"against {name}", "not installed")
                continue
            rates: dict[str, list[float]] = {"gateway": [], name: []}
            cpu: dict[str, list[float]] = {"gateway": [], name: []}
            bad = 0
            for one in (gateway, self.own(other)):
                self._load(one, body, 32, 3)  # warm
            for _ in range(max(1, round(3 * self.scale))):
                for one in (gateway, other):
                    before = one.process.cpu()
                    figures = self._load(one, body, 32, max(2, round(4 * self.scale)))
                    one.process.rest()
                    rates[one.name].append(figures.rate)
                    cpu[one.name].append((one.process.cpu() - before) / max(1, figures.count) * 1e6)
                    bad += figures.bad
            ratio = load.median([ours / theirs for ours, theirs in zip(rates["gateway"], rates[name], strict=True)])
            told = ", ".join(
                f"{who} {load.median(rates[who]):,.0f}/s ({load.median(cpu[who]):,.0f} µs)" for who in rates
            )
            told = f"{ratio:.1f} x  ({told}{f', {bad} BAD' if bad else ''})"
            self.add(f"against {name}", told, f"≥ {bars[name]:g} x", ratio >= bars[name] and not bad)
            self.add("  by CPU time", f"{load.median(cpu[name]) / load.median(cpu['gateway']):.1f} x")

    # ---------------------------------------------------------------- streams

    def streams(self) -> None:
        """Streams of 31 events, and a thousand slow ones at once."""
        direct = self.own(start_streams(self.load_core, self.folder))
        models = ("stream-31-5", "stream-31-0", "stream-40-100")
        gateways = Gateways(self.gateway_core, self.folder, direct.port, models)
        gateway = self.own(gateways.start()[0])
        floor = self.own(start_floor(self.gateway_core, self.folder, direct.port))
        spent: dict[str, list[float]] = {"gateway": [], "floor": []}
        bad = 0
        body = load.body("stream-31-5", 1024, stream=True)
        for _ in range(max(1, round(3 * self.scale))):
            for one in (gateway, floor):
                before = one.process.cpu()
                figures = load.run(one.port, load.request(one.port, body, one.key), callers=30, times=8)
                time.sleep(0.3)
                spent[one.name].append((one.process.cpu() - before) / (figures.count * 31) * 1e6)
                bad += figures.bad
        chunk = load.median(spent["gateway"])
        told = f"{chunk:.1f} µs  (floor {load.median(spent['floor']):.1f}){f', {bad} BAD' if bad else ''}"
        self.add("relayed stream, CPU a chunk", told, "≤ 25 µs", chunk <= 25 and not bad)
        self._first_token(direct, gateway)
        self._thousand(gateways)

    def _first_token(self, direct: Contender, gateway: Contender) -> None:
        body = load.body("stream-31-0", 1024, stream=True)
        first: dict[str, list[float]] = {"direct": [], "gateway": []}
        for _ in range(max(1, round(5 * self.scale))):
            for one in (direct, gateway):
                figures = load.run(one.port, load.request(one.port, body, one.key), callers=1, seconds=0.4)
                first[one.name].append(figures.first_p50 * 1000)
        added = load.median([ours - bare for ours, bare in zip(first["gateway"], first["direct"], strict=True)])
        self.add("added time to first token, p50", f"{added:.2f} ms", "≤ 0.40 ms", added <= 0.4)

    def _thousand(self, gateways: Gateways) -> None:
        gateway = self.own(gateways.start()[0])
        body = load.body("stream-40-100", 1024, stream=True)
        figures = load.run(gateway.port, load.request(gateway.port, body, gateway.key), callers=1000, times=1, ramp=2.0)
        lost = 1000 - (figures.count - figures.bad)
        self.add("1,000 concurrent slow streams, lost", f"{lost}", "0", lost == 0)
        peak = gateway.process.memory("VmHWM")
        self.add("  resident memory at most", f"{peak:.0f} MB", "≤ 130 MB", peak <= 130)

    # ---------------------------------------------------------------- jobs

    def speech(self) -> None:
        """The first byte of speech, and a recording of 100 MB."""
        folder = self.folder / "speech"
        folder.mkdir()
        found = measure_speech(folder, max(50, round(1000 * self.scale)))
        for lane, (alone, added) in found.first_byte.items():
            told = f"{added:.2f} ms  ({alone:.2f} ms directly)"
            self.add(f"first byte of speech, {lane}, added at p50", told, "≤ 1 ms", added <= 1)
        for lane, growth in found.growth.items():
            what = f"recording of 100 MB, {lane}, resident memory grows by"
            self.add(what, f"{growth:.1f} MB", "≤ 10 MB", growth <= 10)

    def jobs(self) -> None:
        """A thousand jobs that wait on a provider, at one worker process."""
        folder = self.folder / "jobs"
        folder.mkdir()
        found = measure_waiting(folder, 1000, max(5.0, 20 * self.scale))
        what = f"{found.count:,} jobs waiting, resident memory of the worker at most"
        told = f"{found.resident:.0f} MB  ({found.first:.0f} with one job, {found.growth:+.1f} while all waited)"
        self.add(what, told, "≤ 250 MB", found.resident <= 250)
        kept = found.early == 0 and 0.9 * found.due <= found.polls <= 1.1 * found.due
        told = f"{found.polls:.0f}/s, their pace asks for {found.due:.0f}/s; {found.early} polled too often"
        self.add("  polls", told, "within their pace", kept)
        self.add("  CPU of the worker", f"{found.cpu:.0%} of a core")

    # ---------------------------------------------------------------- the ledger

    def ledger(self) -> None:
        """Rows that the ledger's writer puts into a database."""
        for name, rate in measure_ledgers(self.folder, self.scale).items():
            told = f"{rate.rows:,.0f} rows/s  ({rate.cpu:.0f} µs of its CPU time each)"
            bar = ("≥ 5,000 rows/s", rate.rows >= 5000) if name == "SQLite" else ("", None)
            self.add(f"ledger writer, {name}", told, *bar)
        self._writer_beside()
        count = max(20_000, round(200_000 * self.scale))
        stats = measure_stats(self.folder / "stats", count)
        self.add(f"providers' statistics over {count:,} requests", f"{stats:.1f} ms", "≤ 50 ms", stats <= 50)

    def _writer_beside(self) -> None:
        """The hot path while the ledger's writer works on the same core, and while it is stopped; in turns."""
        direct = self.own(start_static(self.load_core, self.folder))
        gateways = Gateways(self.gateway_core, self.folder, direct.port)
        gateway = self.own(gateways.start()[0])
        body = load.body("six", _SIZES[0])
        rates: dict[bool, list[float]] = {True: [], False: []}
        self._load(gateway, body, 32, 1)
        status = read_status(gateways.folder / "polyroute.journal")
        assert status is not None, "the gateway has no writer"
        for turn in range(max(2, round(6 * self.scale))):
            writes = turn % 2 == 0
            os.kill(status.pid, signal.SIGCONT if writes else signal.SIGSTOP)
            rates[writes].append(self._load(gateway, body, 32, max(1, round(2 * self.scale))).rate)
        os.kill(status.pid, signal.SIGCONT)
        beside, alone = (statistics.median(rates[writes]) for writes in (True, False))
        share = beside / alone
        told = f"{share:.0%} of {alone:,.0f} requests/s"
        self.add("hot path while the ledger's writer works, 1 KB", told, "≥ 90 %", share >= 0.9)


def _time_import(code: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)
    return time.perf_counter() - began


def main() -> int:
    """Measure, print, and say by the exit code whether every bar was reached."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", choices=_PARTS, help="one part of it")
    parser.add_argument("--scale", type=float, default=1.0, help="rounds and seconds, times this")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="polyroute-bench-") as folder:
        benchmark = Benchmark(Path(folder), arguments.scale)
        os.sched_setaffinity(0, {benchmark.load_core})
        if benchmark.gateway_core == benchmark.load_core:
            print("only one core: the gateway shares it with upstream and load, so absolute figures mean little")
        for name in _PARTS:
            if arguments.only in (None, name):
                with benchmark.part(name):
                    getattr(benchmark, name)()
    width = max(len(line.what) for line in benchmark.lines)
    print()
    for line in benchmark.lines:
        verdict = "" if line.reached is None else ("reached" if line.reached else "MISSED")
        print(f"{line.what:{width}}  {line.measured}" + (f"   bar {line.bar}: {verdict}" if verdict else ""))
    load_by = "wrk" if benchmark.wrk else "callers in Python (wrk is not installed)"
    print(f"\nload at 32 connections by {load_by}; {os.getloadavg()[0]:.1f} processes were running at the end")
    return 0 if all(line.reached is not False for line in benchmark.lines) else 1


if __name__ == "__main__":
    raise SystemExit(main())
