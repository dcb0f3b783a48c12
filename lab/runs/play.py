"""Plays prepared experiments, in virtual time or on real processes, and replays stored runs."""

from __future__ import annotations

import asyncio
import shutil
import time
from itertools import zip_longest
from pathlib import Path

import msgspec

from chaos.engine import run as play_plan
from chaos.experiment.plan import Plan, dump_plan, load_plan
from chaos.history import History, Record
from chaos.keeper import FaultKeeper
from chaos.verdict import Verdict
from lab.errors import KeysteadError
from lab.processes.process_lab import ProcessLab
from lab.runs.live import Tell, finish, play_on
from lab.runs.prepare import Prepared
from lab.runs.store import (
    RunFolder,
    RunRecord,
    code_version,
    lock_version,
    new_run,
    python_version,
)
from lab.simulation.sim_lab import SimLab, make
from lab.simulation.worker import simulations
from lab.supervise.scratch import scratch
from lab.topology.plan import Topology
from lab.topology.provision import provision
from services.runtime.real.world import LabTime
from services.runtime.sim.runner import run_in_worker
from services.runtime.sim.said import parting


def begin(prepared: Prepared, mode: str, *, replay_of: str = "") -> RunFolder:
    """The run's folder with everything that is known before it starts."""
    made = prepared.plan
    folder = new_run(made.name, mode, made.seed)
    hosts = [s for s in prepared.topology.nodes if s.role.value == "esxi"]
    record = RunRecord(
        run=folder.run,
        experiment=made.name,
        mode=mode,
        seed=made.seed,
        code=code_version(),
        python=python_version(),
        lock=lock_version(),
        began=time.time(),
        tpm=hosts[0].tpm.value if hosts else "none",
        replay_of=replay_of,
    )
    folder.write("run.json", msgspec.json.format(msgspec.json.encode(record)))
    folder.write("plan.json", dump_plan(made))
    folder.write("topology.msgpack", msgspec.msgpack.encode(prepared.topology))
    folder.write("experiment.yaml", prepared.text.encode())
    return folder


# ---- virtual time ------------------------------------------------------------------------------


def play_sim(prepared: Prepared, folder: RunFolder) -> Verdict:
    """Play it in a worker of its own; blocks until it ends."""
    answer = run_in_worker(
        simulate,
        dump_plan(prepared.plan),
        msgspec.msgpack.encode(prepared.topology),
        folder.run,
        str(folder.history),
        server=simulations(),
    )
    return finish(folder, msgspec.msgpack.decode(answer, type=Verdict))


def simulate(plan: bytes, topology: bytes, run: str, history: str) -> bytes:
    """In the worker: make the lab, play, write the history; the verdict as msgpack."""
    made = load_plan(plan)
    lab, _ = make(msgspec.msgpack.decode(topology, type=Topology), made.seed)
    verdict, log = simulate_plan(lab, made, run)
    Path(history).write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in log.records))
    return msgspec.msgpack.encode(verdict)


def simulate_plan(lab: SimLab, made: Plan, run: str) -> tuple[Verdict, History]:
    """Play on a simulated lab that is ready; the history stays in memory."""
    keeper = FaultKeeper(lab)
    history = History(None, lab.monotonic)

    lab.world.spawn(None, "leases", keeper.keep_leases(lab.lease_tick_s))
    verdict = lab.loop.run(
        play_plan(
            made,
            lab,
            keeper,
            history,
            run_id=run,
            trace=lab.loop.trace.hash,
            escapes=lab.defects,
        )
    )
    return verdict, history


# ---- real processes ----------------------------------------------------------------------------


async def play_lab(prepared: Prepared, folder: RunFolder, tell: Tell) -> Verdict:
    """Play it in a lab of its own, named after the run, that is gone afterwards."""
    with scratch(folder.run) as home:
        return await _play_in(home, prepared, folder, tell)


async def _play_in(home: Path, prepared: Prepared, folder: RunFolder, tell: Tell) -> Verdict:
    clock = LabTime(time.monotonic(), time.time(), prepared.topology.pace)
    topology = msgspec.structs.replace(prepared.topology, name=folder.run)
    lab = ProcessLab(home, topology, clock, prepared.plan.seed)
    try:
        tell("lab", f"start {len(topology.nodes)} nodes")
        await lab.start()
        await provision(lab, lambda text, step, total: tell("lab", text))
        keeper = FaultKeeper(lab)
        leases = asyncio.get_running_loop().create_task(keeper.keep_leases(lab.lease_tick_s))
        try:
            return await play_on(prepared.plan, folder, lab, keeper, tell)
        finally:
            leases.cancel()
    finally:
        await lab.close()
        logs = home / "logs"
        if logs.is_dir():
            shutil.copytree(logs, folder.path / "logs", dirs_exist_ok=True)


# ---- replay ------------------------------------------------------------------------------------


def replay(run: str) -> tuple[RunFolder, Verdict]:
    """Play a stored run of the simulation again; KS-RUN-003 when it is not the same again."""
    old = RunFolder(run)
    record = old.record()
    if record.mode != "sim":
        raise KeysteadError(
            "KS-RUN-002", f"{run} ran on real processes: its seed fixes the schedule only"
        )
    for what, then, now in (
        ("code", record.code, code_version()),
        ("Python", record.python, python_version()),
        ("requirements.lock", record.lock, lock_version()),
    ):
        if then != now:
            raise KeysteadError("KS-RUN-002", f"{run}: {what} was {then}, now it is {now}")
    prepared = Prepared(
        plan=load_plan(old.read("plan.json")),
        topology=msgspec.msgpack.decode(old.read("topology.msgpack"), type=Topology),
        text=old.read("experiment.yaml").decode(),
    )
    folder = begin(prepared, "sim", replay_of=run)
    verdict = play_sim(prepared, folder)
    before = old.verdict()
    same = old.history.read_bytes() == folder.history.read_bytes()
    if not same or before is None or before.trace_hash != verdict.trace_hash:
        raise KeysteadError("KS-RUN-003", f"{run}: {_first_difference(old, folder)}")
    return folder, verdict


def _first_difference(a: RunFolder, b: RunFolder) -> str:
    """Where the histories part, in words; the trace itself is finer than the history."""
    first, second = a.history.read_bytes().splitlines(), b.history.read_bytes().splitlines()
    for number, (mine, other) in enumerate(zip_longest(first, second), 1):
        if mine is None or other is None:
            return f"line {number}: one history has ended, the other goes on"
        if mine != other:
            record = msgspec.json.decode(mine, type=Record)
            where = f"line {number}, {record.t:g} s, {record.type} {record.op} {record.node}"
            found = parting(msgspec.json.decode(mine), msgspec.json.decode(other))
            return f"{where.rstrip()}: {found}"
    return "the histories are equal; what was done or said between their records is not"
