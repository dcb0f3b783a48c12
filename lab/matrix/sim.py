"""Stagings in virtual time.

The lab of a block is built and staged once, up to just before its fault, and each staging is a
fork of it. ``Stages`` keeps these labs for as long as stagings of theirs are played.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from chaos.history import History
from chaos.matrix.grid import Staging, events_of_staging
from chaos.matrix.play import stage
from chaos.matrix.scene import Heard, StagingScene
from lab.matrix.bench import Done, StagingOutcome, each, outcome_of, scene_of, topology_of
from lab.serve.session import LabSession
from lab.simulation.scan import Scan
from lab.simulation.sim_lab import SimLab
from lab.simulation.snapshot import BuiltLabs, Origin
from protocol.messages.agent import TpmBackend
from services.kms.settings.config import KmsTransport

LIMIT_S: Final = 300.0  # real seconds that a staging may take


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
                self._snapshots[key] = BuiltLabs(origin, limit_s=LIMIT_S)
            return self._snapshots[key]

    def close(self) -> None:
        """End every lab, and what still runs in one."""
        for snapshot in self._snapshots.values():
            snapshot.close()
