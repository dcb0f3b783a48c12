"""What the tests of snapshots run: in the process of a run, or where a lab is built."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from typing import Any

from chaos.experiment.plan import load_plan
from lab.play.play import simulate_plan
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.serve.session import LabSession
from lab.serve.table import perform
from lab.simulation.sim_lab import SimLab
from lab.simulation.snapshot import Origin
from protocol.messages.agent import TpmAct
from protocol.terms import NodeName, PowerState
from services.runtime.seeded import stream

KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("link.loss", {"between": ["vcenter", "role:esxi"], "p": 0.3}),
    ("link.cut", {"between": ["role:esxi", "role:kms"]}),
    ("link.delay", {"between": ["vcenter", "kms"], "base": "80ms"}),
    ("host.power_loss", {"on": "esxi-001"}),
    ("host.power_loss", {"on": "role:esxi"}),
    ("proc.kill", {"on": "vcenter"}),
    ("proc.pause", {"on": "kms"}),
    ("broker.restart", {}),
)


def do(lab: SimLab, session: LabSession, command: c.Command[Any]) -> object:
    return lab.run(perform(session, command))


def schedule(lab: SimLab, session: LabSession, minutes: float = 4.0) -> str:
    """Faults drawn from the run's own seed, one after another, healed at the end: its hash."""
    draws = stream(lab.seed, "schedule")
    while lab.monotonic() < 60 * minutes:
        kind, params = draws.choice(KINDS)
        with suppress(KeysteadError):  # what is off already cannot lose its power
            do(lab, session, c.FaultInject(kind, params))
        lab.run(lab.sleep(draws.uniform(1, 40)))
        if draws.random() < 0.6:
            do(lab, session, c.Heal(all=True))
            lab.run(lab.sleep(draws.uniform(1, 20)))
    do(lab, session, c.Heal(all=True))
    lab.run(lab.sleep(60))
    do(lab, session, c.GetEvents())
    do(lab, session, c.GetVms())
    return lab.loop.trace.hash()


def experiment(lab: SimLab, session: LabSession, plan: bytes) -> tuple[str, int, list[Any]]:
    """The trace's hash, the exit code and the history of an experiment."""
    verdict, history = simulate_plan(lab, load_plan(plan), "run")
    return lab.loop.trace.hash(), verdict.exit_code, history.records


def in_a_process(origin: Origin, seed: int, function: Any, *args: Any) -> Any:
    """A run from the start, for a worker of its own."""
    return origin.play(seed, function, *args)


def place(lab: SimLab, session: LabSession) -> tuple[float, int, str]:
    return lab.monotonic(), os.getpid(), lab.loop.trace.hash()


def reboot(lab: SimLab, session: LabSession) -> tuple[bool, str]:
    """Whether all VMs run after a power loss, which they do with the TPM's help only; the TPM."""
    do(lab, session, c.HostPowerLoss(("esxi-001",)))
    lab.run(lab.sleep(60))
    vms: Any = do(lab, session, c.GetVms())
    tpm = lab.run(lab.tpm(NodeName("esxi-001"), TpmAct.INFO))
    return all(vm.power is PowerState.ON for vm in vms.items), tpm.ek


def swap(lab: SimLab, session: LabSession) -> str:
    """Another TPM in place of the first host's: which one."""
    lab.run(lab.power_off(NodeName("esxi-001"), "power_loss"))
    return lab.run(lab.tpm(NodeName("esxi-001"), TpmAct.SWAP)).ek


# ---- ways to end ---------------------------------------------------------------------------------


def throw(lab: SimLab, session: LabSession) -> None:
    raise ValueError("from a run")


def die(lab: SimLab, session: LabSession) -> None:
    os.kill(os.getpid(), 9)


def hang(lab: SimLab, session: LabSession, path: str = "") -> None:
    if path:
        with open(path, "w") as file:
            file.write(f"{os.getpid()}\n")
    while True:
        time.sleep(1)


def eat(lab: SimLab, session: LabSession) -> None:
    kept = []
    while True:
        kept.append(bytearray(1 << 24))


# ---- stages: where runs begin, and what must not be open there -----------------------------------

_kept: list[Any] = []


def cut(lab: SimLab, session: LabSession) -> None:
    """The key server cannot be reached any more, for half a minute now."""
    do(lab, session, c.FaultInject("link.cut", {"between": ["role:esxi", "role:kms"]}))
    lab.run(lab.sleep(30))


def thread(lab: SimLab, session: LabSession) -> None:
    threading.Thread(target=threading.Event().wait, name="left-over", daemon=True).start()


def sockets(lab: SimLab, session: LabSession) -> None:
    _kept.append(socket.socketpair())


def database(lab: SimLab, session: LabSession) -> None:
    path = os.path.join(tempfile.mkdtemp(), "left-over.db")
    _kept.append(sqlite3.connect(path))
    _kept[-1].execute("create table t (n)")


def file(lab: SimLab, session: LabSession) -> None:
    _kept.append(tempfile.NamedTemporaryFile(prefix="left-over"))


def process(lab: SimLab, session: LabSession) -> None:
    _kept.append(subprocess.Popen(["sleep", "60"]))


def memory(lab: SimLab, session: LabSession) -> None:
    import mmap

    _kept.append(mmap.mmap(-1, 4096))


def stuck(lab: SimLab, session: LabSession) -> None:
    while True:
        time.sleep(1)


def wrong(lab: SimLab, session: LabSession) -> None:
    raise RuntimeError("the stage fell over")


# ---- a fork within a step ------------------------------------------------------------------------


def _part(lab: SimLab) -> bool:
    """Go on twice: True in the copy; the other one waits for its end."""
    if os.fork() == 0:
        lab.loop.become_running_loop()
        return True
    os.wait()
    return False


def fork_within(lab: SimLab, session: LabSession, label: str, nth: int) -> tuple[str, str]:
    """The hashes of two runs that part at the ``nth`` call of a port named ``label``: a child is
    forked within the step, and both go on. Its own; the child's."""
    reading, writing = os.pipe()
    charge, seen, copy = lab.world.charge, [0], [False]

    async def counted(call: str) -> None:
        seen[0] += call.startswith(label)
        if seen[0] == nth and call.startswith(label):
            copy[0] = _part(lab)
        await charge(call)

    for store in lab.world.stores.values():
        store.charge = counted
        for database in store._disk._databases.values() if store._disk else ():
            database._charge = counted
    assert reboot(lab, session)[0]
    do(lab, session, c.VmCreate("new", encrypted=True))
    assert seen[0] >= nth
    found = lab.loop.trace.hash()
    if copy[0]:
        os.write(writing, found.encode())
        os._exit(0)
    os.close(writing)
    return found, os.read(reading, 100).decode()
