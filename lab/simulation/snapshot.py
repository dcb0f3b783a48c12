"""A simulated lab that is built once, and from which many runs begin.

The lab stands at a quiet point (between two calls of ``SimLab.run``) in a process of its own, a
fork server of which each run is a child: it has the lab as it is there, reseeds it and goes on.
Such a run is the run that a lab made from the start would be, hash of its trace included
(decision 30). What happens in a run reaches neither the snapshot nor another run.

    origin = Origin(plan(load("default", hosts=4)))
    with BuiltLabs(origin) as snapshot:
        verdicts = [snapshot.run(seed, play, schedule) for seed in range(1000)]

where ``play(lab, session, schedule)`` can be imported by its name. Calls block, and may be made
from several threads: as many runs go on at once.
"""

from __future__ import annotations

import pickle  # spoken with our own workers only
import resource
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from lab.scan.ledger import keep
from lab.serve.session import LabSession
from lab.simulation.sim_lab import SimLab, build, build_of
from lab.simulation.workers import simulations
from lab.state.checkout import apply_patch
from lab.topology.plan import Topology
from services.runtime.forking.blocking import ForkServer, NestedForkServer
from services.runtime.forking.connection import ForkFailed
from services.runtime.sim.runner import run_in_worker

P = ParamSpec("P")
T = TypeVar("T")

BUILD_LIMIT_S: Final = 600.0  # seconds that building and staging may take
RUN_LIMIT_S: Final = 120.0  # seconds after which a run that does not end is killed
MEMORY_LIMIT: Final = 2 << 30  # bytes that a run may take on top of what the built lab has

Stage = Callable[[SimLab, LabSession], None]
"""Brings a lab that is ready to where runs begin: tasks, faults, time that passes."""


@dataclass(frozen=True)
class Origin:
    """Where runs begin: a topology, built, then staged. ``patch`` is applied before any node is
    made (``lab.state.checkout``). ``stage`` can be imported by its name. ``ledger``: the lab's
    process keeps every key that is made in it, for a scan."""

    topology: Topology
    stage: Stage | None = None
    patch: str = ""
    ledger: bool = False

    def build_lab(self, seed: int, **options: Any) -> tuple[SimLab, LabSession]:
        """The lab with which the run of ``seed`` begins; ``options`` are those of ``SimLab``."""
        if self.ledger:
            keep()
        apply_patch(self.patch)
        lab, session = build(self.topology, build_of(seed), **options)
        if self.stage is not None:
            self.stage(lab, session)
        lab.check()
        return lab, session

    def play(
        self,
        seed: int,
        function: Callable[Concatenate[SimLab, LabSession, P], T],
        *args: P.args,
        **named: P.kwargs,
    ) -> T:
        """One run from the start, in this process; from a ``BuiltLabs`` it is the same run."""
        lab, session = self.build_lab(seed)
        lab.reseed(seed)
        return function(lab, session, *args, **named)


class BuiltLabs:
    """The builds of one origin (``sim_lab.build_of``), each made when the first run needs it.

    A run that takes longer than ``limit_s`` seconds is killed, one that takes more than
    ``memory`` bytes has a ``MemoryError``. Everything ends with ``close``, with this process, and
    with the fork server ``above``.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        limit_s: float = RUN_LIMIT_S,
        memory: int = MEMORY_LIMIT,
        above: ForkServer | None = None,
    ) -> None:
        self.origin, self.limit_s, self.memory = origin, limit_s, memory
        self._above = above or simulations()
        self._lock = threading.Lock()
        self._builds: dict[int, NestedForkServer] = {}
        self._closed = False

    def run(
        self,
        seed: int,
        function: Callable[Concatenate[SimLab, LabSession, P], T],
        *args: P.args,
        **named: P.kwargs,
    ) -> T:
        """What ``function(lab, session, ...)`` returns in the run of ``seed``; it must pickle.

        An exception comes back as itself, ``MemoryError`` too. ``TimeoutError`` for a run that
        was killed for its length, ``WorkerDied`` for one that ended in another way, and tells
        which. ``ForkFailed`` when the lab cannot be built, or has something open that its
        children would tear: it is named; and after ``close``.
        """
        server = self._of(build_of(seed), function)
        server.start()
        played: T = run_in_worker(
            _play, seed, self.memory, function, args, named, timeout_s=self.limit_s, server=server
        )
        return played

    def _of(self, number: int, function: Callable[..., Any]) -> NestedForkServer:
        """The build ``number``, which has loaded what ``function`` needs: its runs need not."""
        with self._lock:
            if self._closed:
                raise ForkFailed("the snapshot was closed")
            found = self._builds.get(number)
            if found is None:
                found = self._builds[number] = NestedForkServer(
                    self._above,
                    f"ks-build-{number}",
                    f"{__name__}:hold",
                    pickle.dumps((self.origin, number, function)),
                    start_limit_s=BUILD_LIMIT_S,
                )
            return found

    @property
    def pids(self) -> list[int]:
        """Of the processes that hold a build."""
        with self._lock:
            return [server.pid for server in self._builds.values() if server.pid is not None]

    def close(self) -> None:
        """End the builds, made or not yet, and with them every run that still goes on."""
        with self._lock:
            self._closed = True
            for server in self._builds.values():
                server.close()
            self._builds.clear()

    def __enter__(self) -> BuiltLabs:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


# ---- in the process of a build, and in the runs that are its children ----------------------------

_held: list[tuple[SimLab, LabSession]] = []


def hold(argument: bytes) -> None:
    """What the process of a build loads: the lab, and with the argument the code of its runs."""
    origin: Origin
    origin, number, _ = pickle.loads(argument)  # noqa: S301
    _held.append(origin.build_lab(number))


def _play(
    seed: int, memory: int, function: Callable[..., T], args: tuple[Any, ...], named: dict[str, Any]
) -> T:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    lab, session = _held[0]
    lab.reseed(seed)
    return function(lab, session, *args, **named)
