"""Experiments on a lab that runs."""

from __future__ import annotations

import asyncio

from chaos.errors import ChaosError
from chaos.experiment.plan import load_plan
from chaos.lab import Directory
from chaos.progress import ProgressStep
from chaos.verdict import Verdict
from lab.machines.doubts import doubts as doubts_of
from lab.runs.live import play_on
from lab.runs.store import RunFolder
from lab.schema import commands
from lab.schema.answers import RunStopped
from lab.schema.errors import KeysteadError
from lab.serve.executing import executes
from lab.serve.session import LabSession


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
