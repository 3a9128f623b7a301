"""Several worker processes on one socket, and a parent that keeps them alive."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

log = logging.getLogger("polyroute.workers")

_FAST_DEATH = 1.0
"""A worker that lived for less than this many seconds died of its start, and is not simply started again."""
_MOST_FAST_DEATHS = 5
_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Workers:
    """Forks `count` processes that each run `work(number)`, restarts those that die, and passes signals on.

    SIGTERM and SIGINT stop all; SIGHUP is passed on (the workers reload). Must be used before any thread is started.
    """

    def __init__(self, count: int, work: Callable[[int], int]) -> None:
        self._count = count
        self._work = work
        self._running: dict[int, tuple[int, float]] = {}  # process id -> worker number, start time
        self._stopping = False
        self._fast_deaths = 0

    def run(self) -> int:
        """Until told to stop; gives the exit code."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._stop)
        signal.signal(signal.SIGHUP, self._pass_on)
        for number in range(self._count):
            self._start(number)
        status = 0
        while self._running:
            try:
                pid, raw = os.wait()
            except InterruptedError:
                continue
            number, started = self._running.pop(pid, (-1, 0.0))
            if number < 0 or self._stopping:
                continue
            code = os.waitstatus_to_exitcode(raw)
            # A worker that somebody killed did not die of its start.
            died_young = time.monotonic() - started < _FAST_DEATH and code != -signal.SIGKILL
            self._fast_deaths = self._fast_deaths + 1 if died_young else 0
            if self._fast_deaths >= _MOST_FAST_DEATHS:
                log.error("workers die as soon as they start; giving up")
                status = 1
                self._stop(signal.SIGTERM, None)
                continue
            log.error("worker %d ended with status %d; starting it again", number, code)
            self._start(number)
        return status

    def _start(self, number: int) -> None:
        # A signal waits until the parent knows the child, and until the child has handlers of its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
        pid = os.fork()
        if pid:
            self._running[pid] = (number, time.monotonic())
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
            return
        code = 1
        try:
            for name in _PASSED_ON:
                signal.signal(name, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
            code = self._work(number)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        except BaseException:
            log.exception("worker %d failed", number)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stopping = True
        self._signal(signal.SIGTERM)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._signal(signal.Signals(number))

    def _signal(self, name: signal.Signals) -> None:
        for pid in list(self._running):
            try:
                os.kill(pid, name)
            except ProcessLookupError:
                continue
