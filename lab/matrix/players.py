"""Players of stagings: on real processes, a lab for each, and in virtual time, forks of a lab that
was staged once up to just before its fault.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from chaos.history import History
from chaos.matrix.events import EVENTS
from chaos.matrix.grid import Staging, events_of_staging
from chaos.matrix.play import stage
from chaos.matrix.scene import Heard, StagingScene
from chaos.matrix.terms import Boot, is_trusted
from lab.building.course import unheard
from lab.building.provision import provision
from lab.matrix.bench import (
    Done,
    StagingOutcome,
    each,
    outcome_of,
    pack_processes,
    scene_of,
    topology_of,
)
from lab.processes.agents import begin, build_copied_server, memory, preload
from lab.processes.process_lab import ProcessLab
from lab.serve.session import LabSession
from lab.simulation.scan import Scan
from lab.simulation.sim_lab import SimLab
from lab.simulation.snapshot import BuiltLabs, Origin
from lab.state.scratch import scratch
from protocol.messages.agent import NodeRecord, TpmBackend
from protocol.messages.base import Event
from services.kms.settings.config import KmsTransport
from services.runtime.forking.blocking import ForkServer
from services.runtime.forking.child import withhold_memory
from services.runtime.forking.connection import ForkServerSocket
from services.runtime.real.world import LabTime
from services.runtime.sim.runner import run_in_worker

LATE_WITHIN: Final = 0.6
"""The part of the run in which all that waits longest is begun."""
BRIEF_ONES: Final = 2
"""Begun after each whole lab: there are more of them, so the last ones are brief."""


def in_sequence(stagings: Iterable[Staging]) -> list[Staging]:
    """See the module's text; of those that wait longest, first what waits for tokens."""
    late, whole, brief = list[Staging](), list[Staging](), list[Staging]()
    for one in stagings:
        kind = late if one.expired or one.evicted else brief if _is_brief(one) else whole
        kind.append(one)
    late.sort(key=lambda one: not one.expired)
    trusted = [one for one in whole if is_trusted(one.block)]
    spread = _spread((trusted, 1.0), ([one for one in whole if one not in trusted], 1.0))
    others = iter(brief)
    mixed = [each for one in spread for each in (one, *islice(others, BRIEF_ONES))]
    return _spread(([*mixed, *others], 1.0), (late, LATE_WITHIN))


def _spread(*kinds: tuple[Sequence[Staging], float]) -> list[Staging]:
    """Each kind evenly over a part of the whole, from its beginning on, and in its order."""
    placed = [(at / len(kind) * part, one) for kind, part in kinds for at, one in enumerate(kind)]
    return [one for _, one in sorted(placed, key=lambda found: found[0])]


def _is_brief(staging: Staging) -> bool:
    """What comes after a loss of power only, what is about a vSAN, and controls."""
    of_vsan = any(EVENTS[event].vsan for event in staging.events)
    return of_vsan or staging.control or staging.boot is not Boot.ORDERLY


PAUSE_S: Final = 0.1
"""Real seconds between two looks for a free turn."""


@asynccontextmanager
async def turn(folder: Path, at_once: int) -> AsyncIterator[None]:
    """Wait until fewer than ``at_once`` processes are in such a block with this folder. A process
    that is killed in its turn has it no longer."""
    while (lock := _free(folder, at_once)) is None:
        await asyncio.sleep(PAUSE_S)
    try:
        yield
    finally:
        os.close(lock)


def _free(folder: Path, at_once: int) -> int | None:
    """The descriptor that holds a free turn; None when all are taken."""
    for number in range(at_once):
        lock = os.open(folder / f"turn-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return lock
    return None


PACE: Final = 36.0
"""Lab seconds in a real one: a reconcile interval takes some eight seconds."""
SLOW_PACE: Final = 18.0
"""Of a lab that was too slow: everything has twice the real time."""
PER_CORE: Final = 6
"""Stagings at once: each needs a core for a tenth of its time, and waits for the rest of it."""
MOST_AT_ONCE: Final = 40
BUILDS_PER_CORE: Final = 2
SLOW_PART: Final = 2
"""So much fewer stagings at once then."""
LATE_S: Final = 1.0
"""A loop that was late by more cannot tell what came when: a third of what windows have on top."""
LOOK_S: Final = 0.05
LIMIT_S: Final = 900.0  # real seconds that a staging may take


class Processes:
    """Plays stagings in labs of real processes, ``jobs`` at a time, each lab with a supervisor
    process of its own: no other's work makes its loop late."""

    def __init__(
        self,
        tpm: TpmBackend,
        seed: int,
        jobs: int,
        *,
        patch: str = "",
        pace: float = PACE,
        knobs: Mapping[str, Any] | None = None,
        transport: KmsTransport = KmsTransport.BUS,
    ) -> None:
        self._tpm, self._seed, self._jobs = tpm, seed, jobs
        self._knobs, self._transport = dict(knobs or {}), transport
        self._patch, self._pace = patch, pace
        # It has loaded what agents need too: labs are copies of it, and start no Python.
        loaded = (__name__, *preload(real_tpms=tpm is TpmBackend.LIBTPMS))
        self._supervisors = ForkServer(loaded, env=memory())

    def play_each(self, stagings: Sequence[Staging], done: Done, *, slowly: bool = False) -> None:
        """Play them all; ``done`` hears of each. Blocks. ``slowly``: what a busy machine was too
        slow for, with more time for everything, and fewer at once."""
        jobs = -(-self._jobs // SLOW_PART) if slowly else self._jobs
        pace = min(self._pace, SLOW_PACE) if slowly else self._pace
        with scratch("matrix-turns") as turns:
            how = _How(
                self._tpm, self._seed, self._patch, pace, self._knobs, self._transport, turns
            )
            each(in_sequence(stagings), partial(self._play, how), done, jobs=jobs, end=self.close)

    def _play(self, how: _How, staging: Staging) -> StagingOutcome:
        return run_in_worker(supervise, staging, how, timeout_s=LIMIT_S, server=self._supervisors)

    def close(self) -> None:
        """End every lab that is left, and what it has started."""
        self._supervisors.close()


class _How(NamedTuple):
    tpm: TpmBackend
    seed: int
    patch: str
    pace: float
    knobs: dict[str, Any]
    transport: KmsTransport
    turns: Path


def supervise(staging: Staging, how: _How) -> StagingOutcome:
    """In a process of its own: make the lab, play, and take it away again.

    A core file of it would have what a lab keeps secret.
    """
    withhold_memory()
    with scratch(f"matrix-{staging.name}") as home, closing(build_copied_server()) as server:
        begin(server, home)
        return asyncio.run(_in_a_lab(home, staging, how, server))


async def _in_a_lab(
    home: Path, staging: Staging, how: _How, server: ForkServerSocket
) -> StagingOutcome:
    made = topology_of(staging, how.tpm, how.knobs, how.transport)
    clock = LabTime(time.monotonic(), time.time(), how.pace)
    topology = msgspec.structs.replace(pack_processes(made), pace=how.pace)
    lab = ProcessLab(home, topology, clock, how.seed, patch=how.patch)
    lab.agents.server = server
    try:
        async with turn(how.turns, BUILDS_PER_CORE * len(os.sched_getaffinity(0))):
            await lab.start()
            await provision(lab, unheard)
        return await _play_in(lab, staging, how.seed)
    finally:
        await lab.close()


async def _play_in(lab: ProcessLab, staging: Staging, seed: int) -> StagingOutcome:
    heard, records = Heard(lab.monotonic), list[NodeRecord]()

    def note(sender: str, event: Event) -> None:
        if isinstance(event, NodeRecord):
            records.append(event)

    await lab.listen(note)
    history = History(None, lab.monotonic)
    async with lab.tap(heard.hear):
        scene = scene_of(staging, lab, lambda: records, heard, history, seed, lab.time.wall)
        await stage(scene, events_of_staging(staging))
        async with _lateness() as late:
            outcome = await outcome_of(scene, staging)
    if late() <= LATE_S:
        return outcome
    why = f"the loop was late by {late():.2f} s"
    played = tuple(msgspec.structs.replace(one, void=one.void or why) for one in outcome.played)
    return msgspec.structs.replace(outcome, played=played)


@asynccontextmanager
async def _lateness() -> AsyncIterator[Callable[[], float]]:
    """By how many seconds this loop was late at most, so far."""
    worst = 0.0

    async def look() -> None:
        nonlocal worst
        while True:
            before = time.monotonic()
            await asyncio.sleep(LOOK_S)
            worst = max(worst, time.monotonic() - before - LOOK_S)

    task = asyncio.get_running_loop().create_task(look())
    try:
        yield lambda: worst
    finally:
        task.cancel()


SIM_LIMIT_S: Final = 300.0  # real seconds that a staging may take


_staged: list[tuple[StagingScene, Scan]] = []  # of the lab that this process holds, for its forks


def prepare(staging: Staging, seed: int, lab: SimLab, session: LabSession) -> None:
    """The stage of an origin: everything before the fault."""
    heard = Heard(lab.monotonic)
    lab.broker.tap = heard.hear
    scan = Scan(lab)
    history = History(None, lab.monotonic)
    began_at = lab.loop.epoch
    scene = scene_of(staging, lab, lambda: lab.records, heard, history, seed, began_at)
    lab.run(stage(scene, events_of_staging(staging)))
    _staged[:] = [(scene, scan)]


def perform(lab: SimLab, session: LabSession, staging: Staging) -> StagingOutcome:
    """In a fork: play it."""
    [(scene, scan)] = _staged
    scene.fault, scene.boot, scene.evicted = staging.fault, staging.boot, staging.evicted
    scene.expired = staging.expired
    scene.variant, scene.twist, scene.seen_as = staging.variant, staging.twist, staging.seen_as
    return lab.run(outcome_of(scene, staging, scan))


class Stages:
    """The labs from which stagings begin, each made when the first one needs it; ``jobs`` stagings
    go on at a time. ``patch``: a module that is imported before any node is made. ``knobs``: those
    that are not at their defaults. ``transport``: that of key servers.
    """

    def __init__(
        self,
        tpm: TpmBackend,
        seed: int,
        jobs: int,
        *,
        patch: str = "",
        knobs: Mapping[str, Any] | None = None,
        transport: KmsTransport = KmsTransport.BUS,
    ) -> None:
        self._tpm, self._seed, self._jobs, self._patch = tpm, seed, jobs, patch
        self._knobs, self._transport = dict(knobs or {}), transport
        self._lock = threading.Lock()
        self._snapshots: dict[bytes, BuiltLabs] = {}

    def play_each(self, stagings: Sequence[Staging], done: Done, *, slowly: bool = False) -> None:
        """Play them all; ``done`` hears of each. Blocks. Virtual time is never too short."""
        each(stagings, self._play, done, jobs=self._jobs, end=self.close)

    def _play(self, staging: Staging) -> StagingOutcome:
        return self._of(staging).run(self._seed, perform, staging)

    def _of(self, staging: Staging) -> BuiltLabs:
        topology = topology_of(staging, self._tpm, self._knobs, self._transport)
        with self._lock:
            key = msgspec.msgpack.encode(topology)
            if key not in self._snapshots:
                origin = Origin(
                    topology,
                    partial(prepare, staging, self._seed),
                    self._patch,
                    ledger=True,
                )
                self._snapshots[key] = BuiltLabs(origin, limit_s=SIM_LIMIT_S)
            return self._snapshots[key]

    def close(self) -> None:
        """End every lab, and what still runs in one."""
        for snapshot in self._snapshots.values():
            snapshot.close()
