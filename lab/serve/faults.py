"""Faults by hand:

cut links, list what is in force, heal, cure; and experiments on a lab that runs.
"""

from __future__ import annotations

import asyncio
from typing import Any

from chaos import keeper
from chaos.errors import ChaosError
from chaos.experiment.plan import load_plan
from chaos.faults import make_fault
from chaos.lab import Directory
from chaos.progress import ProgressStep
from chaos.verdict import Verdict
from lab.machines.machine import doubts as doubts_of
from lab.runs.live import play_on
from lab.runs.store import RunFolder
from lab.schema import commands
from lab.schema.answers import ActiveFault, Fault, FaultLeft, FaultList, HealReport, RunStopped
from lab.schema.commands import name_of
from lab.schema.errors import KeysteadError
from lab.serve.session import LabSession, executes
from lab.serve.views import view

# ---- beginning ---------------------------------------------------------------------------


async def begin(
    session: LabSession,
    kind: str,
    values: dict[str, Any],
    *,
    fault_id: str = "",
    lease_s: float | None = None,
    seed: int = 0,
) -> Fault:
    """Begin a fault and see it bite; it lasts until it is healed, or ``lease_s`` lab seconds.

    Raises ``ChaosError`` as ``chaos.faults.make_fault`` and ``FaultKeeper.inject`` do.
    """
    session.report(f"{kind}: begin and check that it bites", 1, 1)
    made = make_fault(
        kind, fault_id or _free_id(session, kind), values, session.lab.directory(), seed
    )
    return Fault(fault=_active(await session.keeper.inject(made, lease_s)))


def _free_id(session: LabSession, kind: str) -> str:
    """``link-cut-1``, or the next number that is free."""
    taken = {f.fault.id for f in session.keeper.active()}
    stem = kind.replace(".", "-").replace("_", "-")
    return next(i for i in (f"{stem}-{n}" for n in range(1, 10_000)) if i not in taken)


def _active(fault: keeper.FaultInForce) -> ActiveFault:
    return view(
        ActiveFault,
        fault,
        id=fault.fault.id,
        since=round(fault.since, 3),
        until=round(fault.until, 3),
        state=fault.state.value,
    )


@executes
async def inject(session: LabSession, command: commands.FaultInject) -> Fault:
    """See ``FaultInject``."""
    return await begin(
        session,
        command.kind,
        command.values,
        fault_id=command.id,
        lease_s=command.lease_s,
        seed=command.seed,
    )


@executes
async def begin_on_link(session: LabSession, command: commands.LinkFault) -> Fault:
    """See ``LinkFault``: every fault of a link is begun by this."""
    return await begin(session, name_of(command), command.values(), lease_s=command.lease_s)


@executes
async def tpm_clear(session: LabSession, command: commands.TpmClear) -> Fault:
    """See ``TpmClear``."""
    return await begin(session, "tpm.clear", {"on": session.host(command.host)})


@executes
async def tpm_swap(session: LabSession, command: commands.TpmSwap) -> Fault:
    """See ``TpmSwap``."""
    return await begin(session, "tpm.swap", {"on": session.host(command.host)})


# ---- looking and healing -----------------------------------------------------------------


@executes
async def faults(session: LabSession, command: commands.GetFaults) -> FaultList:
    """See ``GetFaults``."""
    return FaultList(items=tuple(_active(f) for f in session.keeper.active()))


@executes
async def heal(session: LabSession, command: commands.Heal) -> HealReport:
    """See ``Heal``."""
    if command.all:
        healed = await session.keeper.heal_all(with_cure=command.with_cure)
        return _report([healed], command.with_cure)
    return await _heal(session, command.ids, command.with_cure)


@executes
async def link_heal(session: LabSession, command: commands.LinkHeal) -> HealReport:
    """See ``LinkHeal``."""
    ends = {session.link_end(command.a), session.link_end(command.b)}
    ids = tuple(
        f.fault.id
        for f in session.keeper.active()
        if f.kind.startswith("link.") and set(f.fault.touches()) == ends
    )
    if not ids:
        text = f"no link fault between {command.a} and {command.b} is in force"
        raise KeysteadError("KS-USE-002", text)
    return await _heal(session, ids, False)


async def _heal(session: LabSession, ids: tuple[str, ...], with_cure: bool) -> HealReport:
    healed = [await session.keeper.heal(id, with_cure=with_cure) for id in ids]
    return _report(healed, with_cure)


def _report(reports: list[keeper.HealOutcome], with_cure: bool) -> HealReport:
    return HealReport(
        with_cure=with_cure,
        healed=tuple(fault for report in reports for fault in report.healed),
        left=tuple(view(FaultLeft, fault) for report in reports for fault in report.left),
    )


@executes
async def directory(session: LabSession, command: commands.GetDirectory) -> Directory:
    """See ``GetDirectory``."""
    return session.lab.directory()


@executes
async def play(session: LabSession, command: commands.ChaosPlay) -> Verdict:
    """See ``ChaosPlay``."""
    if session.playing:
        running = ", ".join(session.playing)
        raise ChaosError("KS-CHAOS-102", f"the experiment {running} runs on this lab")
    folder = RunFolder(command.run)
    plan = load_plan(folder.read("plan.json"))

    def show(step: ProgressStep) -> None:
        session.report(f"{step.phase}: {step.text}", round(step.at), round(step.length_s or 0))

    machines = () if session.roster is None else session.roster.machines.values()
    work = play_on(plan, folder, session.lab, session.keeper, show, doubts=doubts_of(machines))
    task = asyncio.get_running_loop().create_task(work, name=f"chaos:{command.run}")
    session.playing[command.run] = task
    try:
        with folder.lock():  # also when the terminal that began it has gone
            return await task
    finally:
        session.playing.pop(command.run, None)


@executes
async def stop(session: LabSession, command: commands.ChaosStop) -> RunStopped:
    """See ``ChaosStop``."""
    run = command.run or next(iter(session.playing), "")
    task = session.playing.get(run)
    if task is None:
        raise KeysteadError(
            "KS-RUN-001",
            f"no run {run} is played by this lab" if run else "this lab plays no run",
            "`keystead runs` lists what was played; Ctrl-C ends a run in a lab of its own",
        )
    task.cancel()
    return RunStopped(run=run)
