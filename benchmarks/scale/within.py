"""Runs in a worker of the simulation, where nothing else does, and measures its CPU time.

Topologies come as msgpack, as everything that is sent to a worker. A lab of one host is built
first: what Python loads and fills at its first use is no cost of size.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections import Counter
from collections.abc import Callable

import msgspec

from benchmarks.memory import memory_of
from benchmarks.scale.shapes import lab_of
from chaos.experiment.plan import load_plan
from chaos.observe.look import all_hosts
from lab.play.play import simulate_plan
from lab.simulation.sim_lab import SimLab, make
from lab.topology.plan import Topology
from protocol.messages.host.crypto import AddKeys
from protocol.messages.vcenter.vms import EncryptVm
from protocol.subjects import request_subject
from protocol.terms import NodeName, VmName

SEED = 1
AT_ONCE = 8  # encryptions, as many as the building of a lab has
SETTLE_S = 60.0  # lab seconds in which what was begun comes to its end
LOOKS = 20


class Costs(msgspec.Struct, frozen=True):
    """CPU seconds of a lab: building it, and ``idle`` of each of the lab minutes afterwards."""

    build: float
    idle: tuple[float, ...]


def build_and_idle(topology: bytes, minutes: int) -> Costs:
    """Build the lab, let it settle, and let it idle."""
    make(lab_of(1), SEED)
    begun = time.process_time()
    lab, _ = make(_topology(topology), SEED)
    build = time.process_time() - begun
    lab.run(lab.sleep(SETTLE_S))
    return Costs(build, tuple(_cpu(lambda: lab.run(lab.sleep(60.0))) for _ in range(minutes)))


class Census(msgspec.Struct, frozen=True):
    """What a lab takes: CPU seconds of building it, PSS in MiB that it adds to the process; and of
    an idle lab minute CPU seconds, messages of the bus, and bytes in them."""

    build_s: float
    memory_mib: float
    minute_s: float
    messages: float
    bytes: float


def census(topology: bytes, minutes: int) -> Census:
    """Build the lab, let it settle, and count what it takes while it idles."""
    make(lab_of(1), SEED)
    gc.collect()
    before = memory_of(os.getpid())["Pss"]
    sizes: list[int] = []

    def tap(subject: str, reply: str, payload: bytes) -> None:
        sizes.append(len(subject) + len(reply) + len(payload))

    begun = time.process_time()
    lab, _ = make(_topology(topology), SEED, tap=tap)
    build = time.process_time() - begun
    lab.run(lab.sleep(SETTLE_S))
    gc.collect()
    memory = memory_of(os.getpid())["Pss"] - before
    sizes.clear()
    idle = _cpu(lambda: lab.run(lab.sleep(60.0 * minutes)))
    return Census(build, memory, idle / minutes, len(sizes) / minutes, sum(sizes) / minutes)


class Turns(msgspec.Struct, frozen=True):
    """CPU seconds of an idle lab minute, of a lab alone, and of one of several that take turns."""

    alone: float
    in_turns: float

    @property
    def ratio(self) -> float:
        """What it costs more when others have been at work between."""
        return self.in_turns / self.alone


def idle_in_turns(topology: bytes, labs: int) -> Turns:
    """Build the same lab several times, each for itself, and let them idle: one alone, then each
    for a lab second in turn. They do the same either way, but for what they find in the
    processor's caches."""
    made = [make(_topology(topology), SEED)[0] for _ in range(labs)]
    for lab in made:
        lab.run(lab.sleep(SETTLE_S))
    gc.collect()

    def minute(some: list[SimLab]) -> None:
        for _ in range(60):
            for lab in some:
                lab.run(lab.sleep(1.0))

    alone = sorted(_cpu(lambda: minute(made[:1])) for _ in range(3))[1]
    return Turns(alone, _cpu(lambda: minute(made)) / labs)


def pushes(topology: bytes) -> Counter[NodeName]:
    """How many ``AddKeys`` each host gets while all VMs of the lab are encrypted."""
    planned = _topology(topology)
    subjects = {
        request_subject(planned.vcenter, spec.node, AddKeys.__name__): spec.node
        for spec in planned.nodes
    }
    seen: Counter[NodeName] = Counter()

    def tap(subject: str, reply: str, payload: bytes) -> None:
        host = subjects.get(subject)
        if host is not None:
            seen[host] += 1

    lab, _ = make(planned, SEED, tap=tap)
    lab.run(lab.sleep(SETTLE_S))
    seen.clear()
    left = iter([plan.vm for plan in planned.vms])

    async def one_after_another() -> None:
        for vm in left:
            await _encrypt(lab, vm)

    async def encrypt_all() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(one_after_another())
        await lab.sleep(SETTLE_S)

    lab.run(encrypt_all())
    return seen


async def _encrypt(lab: SimLab, vm: VmName) -> None:
    message = EncryptVm(operation_id=lab.operation_id(), vm=vm)
    await lab.ask(lab.vcenter, message, within_s=600.0)


def list_hosts(topology: bytes) -> float:
    """CPU seconds of the cheapest of some looks at all hosts, with their pages."""
    lab, _ = make(_topology(topology), SEED)
    lab.run(lab.sleep(SETTLE_S))
    return min(_cpu(lambda: lab.run(all_hosts(lab, lab.vcenter))) for _ in range(LOOKS))


def play(plan: bytes, topology: bytes) -> tuple[float, float]:
    """CPU seconds of an experiment on a lab that is ready, and how many lab seconds it took."""
    made = load_plan(plan)
    lab, _ = make(_topology(topology), made.seed)
    before = lab.monotonic()
    cost = _cpu(lambda: simulate_plan(lab, made, "bench"))
    return cost, lab.monotonic() - before


def idle(plan: bytes, topology: bytes, seconds: float) -> float:
    """CPU seconds of the same lab that is left alone for so many lab seconds."""
    lab, _ = make(_topology(topology), load_plan(plan).seed)
    return _cpu(lambda: lab.run(lab.sleep(seconds)))


def _cpu(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def _topology(packed: bytes) -> Topology:
    return msgspec.msgpack.decode(packed, type=Topology)
