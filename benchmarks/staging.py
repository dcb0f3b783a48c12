"""Where benchmarks write, and a lab of real processes in which one of them is vCenter.

A benchmark that drives one service needs a peer on the bus that the service obeys. The lab's own
vCenter stays powered off, and the benchmark speaks under its name and identity.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.benchmark import CannotRun
from lab.processes.process_lab import ProcessLab
from lab.state.scratch import no_room, state_home
from lab.topology.lab_file import LabFile, load
from lab.topology.plan import Topology, plan
from protocol.messages.agent import NodeSpec, TpmBackend
from protocol.terms import NodeName
from services.runtime.bus import BusPort
from services.runtime.incarnation import Incarnation
from services.runtime.link_rules import RuleTable
from services.runtime.real.bus import NatsWire
from services.runtime.real.clock_and_rng import LabRng, PacedClock
from services.runtime.real.world import LabTime
from services.runtime.tpm.backends import missing_for_libtpms

SEED = 1


def home() -> Path:
    """Beside the labs, so on the same disk as they are; made when it is needed."""
    path = state_home()
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise no_room(error) from None
    return path


@contextmanager
def folder() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    made = Path(tempfile.mkdtemp(prefix="bench-", dir=home()))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def need_tpm() -> None:
    """``CannotRun`` on a machine without the TPM libraries."""
    missing = missing_for_libtpms()
    if missing:
        raise CannotRun(f"no real TPM: {missing}")


def make_lab(
    where: Path, *, beside: tuple[NodeSpec, ...] = (), vtpm: bool = False, **changes: Any
) -> ProcessLab:
    """A lab of the default file with ``changes``, with nodes ``beside`` its own; not started.

    ``vtpm``: each VM has a virtual TPM.
    """
    topology = plan(_with_vtpms(load("default", **changes), vtpm=vtpm))
    topology = msgspec.structs.replace(
        topology,
        nodes=(*topology.nodes, *beside),
        groups=(*topology.groups, *((spec.node,) for spec in beside)),
    )
    return lab_for(where, topology)


def lab_for(where: Path, topology: Topology) -> ProcessLab:
    """A lab of that plan, not started."""
    if any(s.tpm is TpmBackend.LIBTPMS for s in topology.nodes):
        need_tpm()
    clock = LabTime(time.monotonic(), time.time(), topology.pace)
    return ProcessLab(where, topology, clock, SEED)


def _with_vtpms(file: LabFile, *, vtpm: bool) -> LabFile:
    clusters = [
        of.model_copy(update={"vms": of.vms.model_copy(update={"vtpm": vtpm})})
        for of in file.clusters
    ]
    return file.model_copy(update={"clusters": tuple(clusters)})


@dataclass(frozen=True)
class Stage:
    """A started lab with all nodes off, and the port of its vCenter."""

    lab: ProcessLab
    port: BusPort
    life: Incarnation


@asynccontextmanager
async def stage(**changes: Any) -> AsyncIterator[Stage]:
    """A lab of ``pace`` 1 unless ``changes`` say otherwise, with us as its vCenter."""
    with folder() as where:
        lab = make_lab(where, **{"pace": 1.0, "vms": 0, **changes})
        try:
            await lab.start()
            port, life = open_port(lab, lab.vcenter)
            await port.open()
            try:
                yield Stage(lab, port, life)
            finally:
                port.abort()
        finally:
            await lab.close()


def open_port(lab: ProcessLab, node: NodeName) -> tuple[BusPort, Incarnation]:
    """A port under the identity of ``node``, which must be off; not opened."""
    life = Incarnation(node, 1)
    time = lab.time
    clock = PacedClock(life, LabRng(SEED, life), epoch=time.epoch, wall=time.wall, pace=time.pace)
    wire = NatsWire(lab.data.url, lab.identities.node(node).seed, life)
    rules = RuleTable(SEED, clock.monotonic)
    return BusPort(life, lambda: wire, lab.identities.keyring(node), rules, clock, "bench"), life
