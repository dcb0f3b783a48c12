"""Stagings on real processes: a lab for each, made for it and gone after it.

Everything lasts as long as in virtual time, divided by one factor, the lab's pace; what is real
(time limits, boots) is not. A staging whose own loop was late says nothing: it is void.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from chaos.history import History
from chaos.matrix.grid import Staging, events_of_staging
from chaos.matrix.heard import Heard
from chaos.matrix.play import stage
from lab.building.course import unheard
from lab.building.provision import provision
from lab.matrix.bench import outcome_of, scene_of
from lab.matrix.outcome import Done, StagingOutcome
from lab.matrix.pool import each
from lab.matrix.sequence import in_sequence
from lab.matrix.topologies import pack_processes, topology_of
from lab.matrix.turns import turn
from lab.processes.agents import begin, build_copied_server, memory, preload
from lab.processes.process_lab import ProcessLab
from lab.state.scratch import scratch
from protocol.messages.agent import NodeRecord, TpmBackend
from protocol.messages.base import Event
from services.kms.settings.config import KmsTransport
from services.runtime.forking.blocking import ForkServer
from services.runtime.forking.connection import ForkServerSocket
from services.runtime.forking.memory_protection import withhold_memory
from services.runtime.real.world import LabTime
from services.runtime.sim.runner import run_in_worker

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
