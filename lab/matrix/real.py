"""Stagings on real processes: a lab for each, made for it and gone after it.

Everything lasts as long as in virtual time, divided by one factor, the lab's pace; what is real
(time limits, boots) is not. A staging whose own loop was late says nothing: it is void.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from chaos.errors import ChaosError
from chaos.history import History, as_written
from chaos.matrix.grid import Staging, staged_events
from chaos.matrix.heard import Heard
from chaos.matrix.play import Played, play, stage
from chaos.matrix.scene import Void
from lab.errors import KeysteadError
from lab.matrix.bench import scene_of
from lab.matrix.outcome import Done, Outcome
from lab.matrix.topologies import topology_of
from lab.processes.process_lab import ProcessLab
from lab.supervise.scratch import scratch
from lab.topology.course import unheard
from lab.topology.provision import provision
from protocol.errors import ProductError
from protocol.messages.agent import NodeRecord, TpmBackend
from protocol.messages.base import Event
from services.runtime.each import for_each
from services.runtime.real.world import LabTime

PACE: Final = 30.0
"""Lab seconds in a real one: a reconcile interval takes ten seconds."""
AT_ONCE: Final = 6
LATE_S: Final = 0.25
"""A loop that was late by more cannot tell what came when."""
LOOK_S: Final = 0.05
LOST: Final = (KeysteadError, ChaosError, ProductError, Void, OSError)


class Processes:
    """Plays stagings in labs of real processes, ``jobs`` at a time."""

    def __init__(
        self, tpm: TpmBackend, seed: int, jobs: int, *, patch: str = "", pace: float = PACE
    ) -> None:
        self._tpm, self._seed, self._jobs = tpm, seed, jobs
        self._patch, self._pace = patch, pace

    def close(self) -> None:
        """Each lab has gone with its staging."""

    def play_each(self, stagings: Sequence[Staging], done: Done) -> None:
        """Play them all; ``done`` hears of each. Blocks."""
        asyncio.run(self._all(stagings, done))

    async def _all(self, stagings: Sequence[Staging], done: Done) -> None:
        async def one(staging: Staging) -> None:
            try:
                outcome = await self._one(staging)
            except LOST as error:
                outcome = Outcome.lost(staging, f"{type(error).__name__}: {error}")
            done(staging, outcome)

        await for_each(stagings, one, at_once=self._jobs)

    async def _one(self, staging: Staging) -> Outcome:
        with scratch(f"matrix-{staging.name}") as home:
            async with self._lab(home, staging) as lab:
                history, played = await self._in(lab, staging)
            return Outcome(played, b"".join(map(as_written, history.records)))

    async def _in(self, lab: ProcessLab, staging: Staging) -> tuple[History, tuple[Played, ...]]:
        heard, records = Heard(lab.monotonic), list[NodeRecord]()

        def note(sender: str, event: Event) -> None:
            if isinstance(event, NodeRecord):
                records.append(event)

        await lab.listen(note)
        history = History(None, lab.monotonic)
        events = staged_events(staging)
        async with lab.tapped(heard.hear):
            scene = scene_of(staging, lab, lambda: records, heard, history, self._seed)
            await stage(scene, events)
            async with _lateness() as late:
                played = await play(scene, events)
            if late() > LATE_S:
                why = f"the loop was late by {late():.2f} s"
                played = tuple(msgspec.structs.replace(one, void=one.void or why) for one in played)
        history.close()
        return history, played

    @asynccontextmanager
    async def _lab(self, home: Path, staging: Staging) -> AsyncIterator[ProcessLab]:
        made = topology_of(staging.block, staged_events(staging), self._tpm)
        topology = msgspec.structs.replace(made, pace=self._pace)
        clock = LabTime(time.monotonic(), time.time(), self._pace)
        lab = ProcessLab(home, topology, clock, self._seed, patch=self._patch)
        try:
            await lab.start()
            await provision(lab, unheard)
            yield lab
        finally:
            await lab.close()


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
