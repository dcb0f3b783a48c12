"""Hands tests to forked workers, and repeats to pytest what they report.

Each worker has one unit at a time. A worker for tests that compute takes the longest such unit that
is left, and helps with tests that wait when there is none; one for tests that wait never computes,
since there are more of them than cores.
"""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from selectors import EVENT_READ, DefaultSelector
from typing import Any

import pytest

from tests.runner import leftovers
from tests.runner.reach import Reach
from tests.runner.units import Kind, Unit, longest_first
from tests.runner.worker import COMPUTE_NICE, live

FINISH_S = 30.0
"""For workers to end their session's fixtures, when all is done or the run is interrupted."""


@dataclass
class _Worker:
    number: int
    kind: Kind
    pid: int
    line: Connection
    pidfd: int
    left: list[int] = field(default_factory=list)
    """Tests of its unit that have not begun."""
    running: int | None = None
    location: tuple[str, int | None, str] = ("", None, "")
    begun: int = 0
    asked_to_end: bool = False
    silent: bool = False
    ended: bool = False


class Pool:
    """The workers of one run. Use ``run`` once. ``reach`` gets what tests use.

    ``outputs``: what plugins in the workers leave for the summary. ``complaints``: what went wrong
    outside of any test. ``leftovers``: processes that had outlived their tests.
    """

    def __init__(
        self,
        session: pytest.Session,
        units: Sequence[Unit],
        workers: dict[Kind, int],
        reach: Reach | None = None,
    ) -> None:
        self._session, self._config = session, session.config
        self._queues = {kind: [u for u in longest_first(units) if u.kind is kind] for kind in Kind}
        self._counts, self._reach = workers, reach
        self._workers: list[_Worker] = []
        self._codes: dict[int, int] = {}
        self._sources = DefaultSelector()
        self.outputs: list[dict[str, Any]] = []
        self.complaints: list[str] = []
        self.leftovers: list[str] = []

    def run(self) -> None:
        """Until all tests are done, or pytest wants to stop. Ends all workers, however it ends."""
        leftovers.adopt_orphans()
        try:
            for kind, count in self._counts.items():
                for _ in range(count):
                    if self._queues[kind]:
                        self._fork(kind)
            while any(not worker.ended for worker in self._workers):
                self._hear()
                if self._session.shouldfail:
                    raise self._session.Failed(self._session.shouldfail)
                if self._session.shouldstop:
                    raise self._session.Interrupted(self._session.shouldstop)
        finally:
            self._end()

    def _fork(self, kind: Kind) -> None:
        ours, theirs = Pipe()
        number = 1 + len(self._workers)
        pid = os.fork()
        if pid == 0:
            for line in (ours, *(worker.line for worker in self._workers)):
                line.close()
            self._sources.close()
            nice = COMPUTE_NICE if kind is Kind.COMPUTE else 0
            live(self._session, theirs, number, nice=nice, traced=self._reach is not None)
        theirs.close()
        worker = _Worker(number, kind, pid, ours, os.pidfd_open(pid))
        self._workers.append(worker)
        for source in (worker.line, worker.pidfd):
            self._sources.register(source, EVENT_READ, worker)
        self._hand_out(worker)

    def _hand_out(self, worker: _Worker) -> None:
        unit = self._next(worker.kind)
        worker.asked_to_end = unit is None
        worker.left = [] if unit is None else list(unit.items)
        with suppress(OSError):  # it has ended, and is about to be heard of
            worker.line.send(None if unit is None else unit.items)

    def _next(self, kind: Kind) -> Unit | None:
        waiting, computing = self._queues[Kind.WAIT], self._queues[Kind.COMPUTE]
        if kind is Kind.WAIT:
            return waiting.pop(0) if waiting else None
        if computing:
            return computing.pop(0)
        return waiting.pop(0) if waiting else None

    def _hear(self, limit_s: float = 1.0) -> None:
        """Take what workers say within ``limit_s``, and see which of them have ended."""
        for key, _ in self._sources.select(limit_s):
            worker: _Worker = key.data
            if worker.ended:
                continue
            if key.fd != worker.pidfd:
                self._listen(worker)
                continue
            while not worker.silent and worker.line.poll():
                self._listen(worker)
            self._gone(worker)
        self._codes |= leftovers.reap()

    def _listen(self, worker: _Worker) -> None:
        """Take the message that is there, or that there will be none."""
        try:
            word, said = worker.line.recv()
        except (EOFError, OSError):
            worker.silent = True
            self._sources.unregister(worker.line)
            return
        self._take(worker, word, said)

    def _take(self, worker: _Worker, word: str, told: Any) -> None:
        hook = self._config.hook
        if word == "start":
            self._finish(worker)
            worker.running, worker.location = told
            worker.begun += 1
            worker.left.remove(worker.running)
            item = self._session.items[worker.running]
            hook.pytest_runtest_logstart(nodeid=item.nodeid, location=worker.location)
        elif word == "reports":
            for data in told:
                report = hook.pytest_report_from_serializable(config=self._config, data=data)
                hook.pytest_runtest_logreport(report=report)
            self._finish(worker)
        elif word == "warning":
            self._warn(*told)
        elif word == "used" and self._reach is not None:
            self._reach.note(self._session.items[told[0]].nodeid, told[1])
        elif word == "idle":
            self._finish(worker)
            self._hand_out(worker)
        elif word == "end":
            self.outputs.append(told)
        elif word == "broken":
            self.complaints.append(f"worker {worker.number} cannot go on:\n{told}")

    def _finish(self, worker: _Worker) -> None:
        if worker.running is not None:
            item = self._session.items[worker.running]
            worker.running = None
            self._config.hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=worker.location)

    def _warn(self, text: tuple[str, str, str, int], when: Any, nodeid: str, location: Any) -> None:
        message, category, filename, line = text
        told = warnings.WarningMessage(
            UserWarning(f"{category}: {message}"), UserWarning, filename, line
        )
        self._config.hook.pytest_warning_recorded.call_historic(
            kwargs={
                "warning_message": told,
                "when": when,
                "nodeid": nodeid,
                "location": location,
            }
        )

    def _gone(self, worker: _Worker) -> None:
        """It has ended: as asked to, or within a test, which failed then; others do the rest."""
        if not worker.silent:
            self._sources.unregister(worker.line)
        self._sources.unregister(worker.pidfd)
        worker.ended = worker.silent = True
        worker.line.close()
        os.close(worker.pidfd)
        self._codes |= leftovers.reap()
        code = self._codes.get(worker.pid)
        if worker.running is not None:
            self._fail(self._session.items[worker.running], f"its process ended with {code}")
            self._finish(worker)
        elif code != 0:
            self.complaints.append(f"worker {worker.number} ended with {code}")
        if worker.asked_to_end:
            return
        if not worker.begun:
            raise self._session.Failed("a worker ended before its first test")
        if worker.left:
            module = self._session.items[worker.left[0]].nodeid
            self._queues[worker.kind].insert(0, Unit(worker.kind, module, worker.left))
        self._fork(worker.kind)

    def _fail(self, item: pytest.Item, why: str) -> None:
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")
        self._config.hook.pytest_runtest_logreport(report=report)

    def _end(self) -> None:
        """Have workers end their fixtures; then nothing that came of them is left."""
        try:
            for worker in self._workers:
                if not worker.ended:
                    worker.asked_to_end = True
                    os.kill(worker.pid, signal.SIGINT)
            until = time.monotonic() + FINISH_S
            while any(not worker.ended for worker in self._workers) and time.monotonic() < until:
                self._drain()
        finally:
            self.leftovers = leftovers.end_all()

    def _drain(self) -> None:
        """Wait for workers that end early, and take no more from them."""
        there = [worker for worker in self._workers if not worker.ended]
        for worker in there:
            with suppress(EOFError, OSError):
                while worker.line.poll():
                    worker.line.recv()
        for pidfd in wait([worker.pidfd for worker in there], 0.2):
            next(worker for worker in there if worker.pidfd == pidfd).ended = True
        leftovers.reap()
