"""A seed is a world: the same trace in every process, whatever its hash seed or heap looks like.

The worker makes its lab inside a forked process; hash seed and allocation history differ, and so
does when the garbage collector runs. The trace has what is said too, so that a text or a status
that differs is seen, and told in words.
"""

from __future__ import annotations

import gc

import msgspec
import pytest

from lab.schema import commands as c
from lab.serve.table import perform
from lab.simulation.sim_lab import make
from lab.simulation.workers import simulations
from lab.topology.lab_file import load
from lab.topology.plan import Topology, plan
from services.runtime.forking.blocking import ForkServer
from services.runtime.sim.runner import run_in_worker
from services.runtime.sim.trace import Trace, first_difference
from tests.e2e.modes import needs_tpm

PRELOAD = ("lab.simulation.sim_lab",)


def play(topology: bytes, seed: int, junk: int, collect: int = 0) -> str:
    """The trace's hash of ``live``."""
    return live(topology, seed, junk, collect).hash()


def live(topology: bytes, seed: int, junk: int, collect: int = 0, *, record: bool = False) -> Trace:
    """A short eventful life of a lab; ``junk`` objects are made first, to move every address.

    ``collect``: the garbage collector runs at every so many allocations outside of the loop; 0
    as Python does it, -1 never.
    """
    if collect < 0:
        gc.disable()
    elif collect:
        gc.enable()
        gc.set_threshold(collect, 1, 1)
    keep = [object() for _ in range(junk)] + [[n] for n in range(junk)]
    trace = Trace(record=record)
    lab, session = make(msgspec.msgpack.decode(topology, type=Topology), seed, trace=trace)

    def do(command: c.Command[object]) -> None:
        lab.run(perform(session, command))

    del keep[::2]
    do(c.FaultInject("link.loss", {"between": ["vcenter", "role:esxi"], "p": 0.3}))
    do(c.LinkCut("vcenter", "kms"))
    do(c.HostPowerLoss(("esxi-001",)))
    do(c.HostCrash(("esxi-002",)))
    do(c.HostPowerOn(("esxi-002",)))
    lab.run(lab.sleep(400))
    do(c.Heal(all=True))
    lab.run(lab.sleep(400))
    for look in (c.GetEvents(), c.GetKeys(), c.GetVms(), c.GetHosts()):
        do(look)
    return trace


def topology(tpm: str = "model") -> bytes:
    return msgspec.msgpack.encode(plan(load("default", hosts=3, vms=4, tpm=tpm)))


@pytest.mark.slow
@pytest.mark.sim
def test_twenty_runs_of_one_seed_are_one_run() -> None:
    wanted, server = topology(), simulations()
    hashes = {run_in_worker(play, wanted, 42, n * 1_000, server=server) for n in range(20)}
    assert len(hashes) == 1
    assert run_in_worker(play, wanted, 43, 0, server=server) not in hashes


@pytest.mark.slow
@pytest.mark.sim
def test_when_the_garbage_collector_runs_does_not_matter() -> None:
    """A finaliser that touches the world would run where the allocation history has it."""
    wanted, server = topology(), simulations()
    hashes = {run_in_worker(play, wanted, 42, 0, n, server=server) for n in (0, -1, 1, 50)}
    assert len(hashes) == 1


@pytest.mark.sim
def test_two_seeds_part_where_the_words_say() -> None:
    wanted = topology()
    found = first_difference(live(wanted, 42, 0, record=True), live(wanted, 43, 0, record=True))
    assert found is not None and str(found).startswith("the runs part at entry ")


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.parametrize("tpm", ["model", pytest.param("libtpms", marks=needs_tpm)])
def test_hosts_that_attest_replay_too(tpm: str) -> None:
    """Quotes, certificates and TPM keys are random, and nothing that is said depends on them."""
    wanted = msgspec.msgpack.encode(plan(load("trusted", tpm=tpm)))
    hashes = set()
    for hash_seed in ("0", "4242"):
        server = ForkServer(PRELOAD, env={"PYTHONHASHSEED": hash_seed})
        try:
            hashes.add(run_in_worker(play, wanted, 5, 0, server=server))
            hashes.add(run_in_worker(play, wanted, 5, 123_457, server=server))
        finally:
            server.close()
    assert len(hashes) == 1
