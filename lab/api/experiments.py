"""Experiments on a running lab."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from chaos.errors import ChaosError
from chaos.experiment.plan import load_plan
from lab.api.table import Nothing, Session, verb
from lab.errors import KeysteadError
from lab.runs.live import play_on
from lab.runs.store import RunFolder

Row = dict[str, Any]


@verb("directory", Nothing)
async def directory(session: Session, _: Nothing) -> Row:
    """Who is in this lab; plans are resolved against it."""
    row: Row = msgspec.to_builtins(session.lab.directory())
    return row


class PlayArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``run`` is a prepared run folder on this machine."""

    run: str


@verb("chaos.play", PlayArgument, changes=True)
async def play(session: Session, arguments: PlayArgument) -> Row:
    """Play the run's plan here, one at a time; answers with the verdict."""
    if session.playing:
        running = ", ".join(session.playing)
        raise ChaosError("KS-CHAOS-102", f"the experiment {running} runs on this lab")
    folder = RunFolder(arguments.run)
    plan = load_plan(folder.read("plan.json"))

    def tell(phase: str, text: str) -> None:
        session.report(f"{phase}: {text}", 0, 0)

    work = play_on(plan, folder, session.lab, session.keeper, tell)
    task = asyncio.get_running_loop().create_task(work, name=f"chaos:{arguments.run}")
    session.playing[arguments.run] = task
    try:
        verdict = await task
    finally:
        session.playing.pop(arguments.run, None)
    row: Row = msgspec.to_builtins(verdict)
    return row


@verb("chaos.stop", PlayArgument, changes=True)
async def stop(session: Session, arguments: PlayArgument) -> Row:
    """Interrupt a run: it heals everything it began, and its verdict says 130."""
    task = session.playing.get(arguments.run)
    if task is None:
        raise KeysteadError("KS-RUN-001", f"no run {arguments.run} is in progress here")
    task.cancel()
    return {"kind": "RunStopped", "run": arguments.run}
