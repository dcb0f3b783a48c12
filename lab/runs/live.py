"""Plays a plan on a lab that runs already, with its own keeper of faults."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from chaos.engine import run as play_plan
from chaos.experiment.plan import Plan
from chaos.history import History
from chaos.keeper import FaultKeeper
from chaos.lab import Lab
from chaos.verdict import Verdict
from lab.runs.store import RunFolder

Tell = Callable[[str, str], None]  # phase, text


async def play_on(
    plan: Plan, folder: RunFolder, lab: Lab, keeper: FaultKeeper, tell: Tell
) -> Verdict:
    """Play, write the history as it grows, store the verdict. Leases are the lab owner's work."""
    history = History(folder.history, lab.monotonic)
    verdict = await play_plan(plan, lab, keeper, history, tell, run_id=folder.run)
    return finish(folder, verdict)


def finish(folder: RunFolder, verdict: Verdict) -> Verdict:
    """Store the verdict with its run."""
    folder.write("result.json", msgspec.json.format(msgspec.json.encode(verdict)))
    return verdict
