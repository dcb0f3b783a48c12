"""A seed is a world: the same trace in every process, whatever its hash seed or heap looks like.

The worker makes its lab inside a forked process; hash seed and allocation history differ.
"""

from __future__ import annotations

import msgspec
import pytest

from lab.api.commands import (
    Command,
    FaultInject,
    Heal,
    HostCrash,
    HostPowerLoss,
    HostPowerOn,
    LinkCut,
)
from lab.api.table import perform
from lab.simulation.sim_lab import make
from lab.simulation.worker import simulations
from lab.topology.lab_file import load
from lab.topology.plan import Topology, plan
from services.runtime.forking.blocking import ForkServer
from services.runtime.sim.runner import run_in_worker

PRELOAD = ("lab.simulation.sim_lab",)


def play(topology: bytes, seed: int, junk: int) -> str:
    """A short eventful life of a lab; ``junk`` objects are made first, to move every address."""
    keep = [object() for _ in range(junk)] + [[n] for n in range(junk)]
    lab, session = make(msgspec.msgpack.decode(topology, type=Topology), seed)

    def do(command: Command[object]) -> None:
        lab.run(perform(session, command))

    del keep[::2]
    do(FaultInject("link.loss", {"between": ["vcenter", "role:esxi"], "p": 0.3}))
    do(LinkCut("vcenter", "kms"))
    do(HostPowerLoss(("esxi-001",)))
    do(HostCrash(("esxi-002",)))
    do(HostPowerOn(("esxi-002",)))
    lab.run(lab.sleep(400))
    do(Heal(all=True))
    lab.run(lab.sleep(400))
    return lab.loop.trace.hash()


def topology(tpm: str = "model") -> bytes:
    return msgspec.msgpack.encode(plan(load("default", hosts=3, vms=4, tpm=tpm)))


@pytest.mark.sim
def test_twenty_runs_of_one_seed_are_one_run() -> None:
    wanted, server = topology(), simulations()
    hashes = {run_in_worker(play, wanted, 42, n * 1_000, server=server) for n in range(20)}
    assert len(hashes) == 1
    assert run_in_worker(play, wanted, 43, 0, server=server) not in hashes


@pytest.mark.sim
def test_hash_seed_and_heap_do_not_matter() -> None:
    wanted = topology()
    hashes = set()
    for hash_seed in ("0", "1", "4242"):
        server = ForkServer(PRELOAD, env={"PYTHONHASHSEED": hash_seed})
        try:
            hashes.add(run_in_worker(play, wanted, 5, 0, server=server))
            hashes.add(run_in_worker(play, wanted, 5, 123_457, server=server))
        finally:
            server.close()
    assert len(hashes) == 1
