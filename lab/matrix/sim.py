"""Stagings in virtual time.

The lab of a block is built and staged once, up to just before its fault, and each staging is a
fork of it. ``Stages`` keeps these labs for as long as stagings of theirs are played.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from typing import Final

from chaos.history import History, as_written
from chaos.matrix.grid import Staging, staged_events
from chaos.matrix.heard import Heard
from chaos.matrix.play import play, stage
from chaos.matrix.scene import Scene, Void
from lab.api.session import Session
from lab.errors import KeysteadError
from lab.matrix.bench import scene_of
from lab.matrix.outcome import Done, Outcome
from lab.matrix.topologies import topology_of
from lab.simulation.sim_lab import SimLab
from lab.simulation.snapshot import Origin, Snapshot
from protocol.messages.agent import TpmBackend
from services.runtime.forking.connection import ForkFailed
from services.runtime.sim.runner import WorkerDied, WorkerFailed

LIMIT_S: Final = 300.0  # real seconds that a staging may take


_scene: list[Scene] = []  # of the lab that this process holds, for its forks


def prepare(staging: Staging, seed: int, lab: SimLab, session: Session) -> None:
    """The stage of an origin: everything before the fault."""
    heard = Heard(lab.monotonic)
    lab.broker.tap = heard.hear
    history = History(None, lab.monotonic)
    scene = scene_of(staging, lab, lambda: lab.records, heard, history, seed)
    lab.run(stage(scene, staged_events(staging)))
    _scene[:] = [scene]


def perform(lab: SimLab, session: Session, staging: Staging) -> Outcome:
    """In a fork: play it."""
    scene = _scene[0]
    scene.fault, scene.boot, scene.evicted = staging.fault, staging.boot, staging.evicted
    played = lab.run(play(scene, staged_events(staging)))
    history = scene.book.history
    history.close()
    return Outcome(played, b"".join(map(as_written, history.records)))


class Stages:
    """The labs from which stagings begin, each made when the first one needs it; ``jobs`` stagings
    go on at a time. ``patch``: a module that is imported before any node is made.
    """

    def __init__(self, tpm: TpmBackend, seed: int, jobs: int, *, patch: str = "") -> None:
        self._tpm, self._seed, self._jobs, self._patch = tpm, seed, jobs, patch
        self._lock = threading.Lock()
        self._snapshots: dict[tuple[object, ...], Snapshot] = {}

    def play_each(self, stagings: Sequence[Staging], done: Done) -> None:
        """Play them all; ``done`` hears of each. Blocks."""
        with ThreadPoolExecutor(self._jobs) as pool:
            waiting = {pool.submit(self._play, staging): staging for staging in stagings}
            for one in as_completed(waiting):
                done(waiting[one], one.result())

    def _play(self, staging: Staging) -> Outcome:
        try:
            return self._of(staging).run(self._seed, perform, staging)
        except (ForkFailed, WorkerDied, WorkerFailed, TimeoutError, MemoryError) as error:
            return Outcome.lost(staging, f"{type(error).__name__}: {error}")
        except (KeysteadError, Void) as error:
            return Outcome.lost(staging, str(error))

    def _of(self, staging: Staging) -> Snapshot:
        events = staged_events(staging)
        with self._lock:
            key = (staging.block, events)
            if key not in self._snapshots:
                origin = Origin(
                    topology_of(staging.block, events, self._tpm),
                    partial(prepare, staging, self._seed),
                    self._patch,
                )
                self._snapshots[key] = Snapshot(origin, limit_s=LIMIT_S)
            return self._snapshots[key]

    def close(self) -> None:
        """End every lab, and what still runs in one."""
        for snapshot in self._snapshots.values():
            snapshot.close()
