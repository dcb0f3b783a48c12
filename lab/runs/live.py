"""Plays a plan on a lab that runs already, with its own keeper of faults."""

from __future__ import annotations

import msgspec

from chaos.conversation import BusRecording
from chaos.engine import run as play_plan
from chaos.experiment.plan import Plan
from chaos.history import History
from chaos.keeper import FaultKeeper
from chaos.progress import Progress
from chaos.verdict import Verdict
from lab.core import LabCore
from lab.runs.store import RunFolder
from lab.scan.forensics import Forensics


async def play_on(
    plan: Plan, folder: RunFolder, lab: LabCore, keeper: FaultKeeper, show: Progress
) -> Verdict:
    """Play, write history and conversation as they grow, store the verdict. Leases are the lab
    owner's work."""
    scan = unscanned if folder.record().scan else None
    recording = BusRecording(folder.bus.open("xb"), lab.monotonic)
    async with lab.tapped(recording.hear) as gaps:
        history = History(folder.history, lab.monotonic)
        try:
            verdict = await play_plan(
                plan,
                lab,
                keeper,
                history,
                show,
                run_id=folder.run,
                scan=scan,
                opened=Forensics(lab).keys_on,
            )
        finally:
            recording.close(gaps())
    return finish(folder, verdict)


def unscanned(history: History) -> None:
    """Say in the history why nothing was searched: each process keeps its keys to itself."""
    text = "keys of real processes are not collected: a scan is for --mode sim"
    history.add("state", op="scan", reason=text)


def finish(folder: RunFolder, verdict: Verdict) -> Verdict:
    """Store the verdict with its run."""
    folder.write("result.json", msgspec.json.format(msgspec.json.encode(verdict)))
    return verdict
