"""Plays a plan on a lab that runs already, with its own keeper of faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from chaos.conversation import BusRecording
from chaos.experiment.plan import Plan
from chaos.history import History
from chaos.keeper import FaultKeeper
from chaos.playing.engine import Scan
from chaos.playing.engine import run as play_plan
from chaos.progress import Progress
from chaos.verdict import Verdict
from lab.core import LabCore
from lab.forensics.forensics import Forensics
from lab.runs.load_control import changeable
from lab.runs.store import RunFolder
from lab.schema.errors import KeysteadError

Searching = Callable[[Callable[[], str]], Scan]
"""Makes the search for keys of a run; it is given who tells what its recording lacks."""


async def play_on(
    plan: Plan,
    folder: RunFolder,
    lab: LabCore,
    keeper: FaultKeeper,
    show: Progress,
    *,
    scan: Searching | None = None,
    doubts: Callable[[], Sequence[str]] = tuple,
) -> Verdict:
    """Play, write history and conversation as they grow, store the verdict. Leases are the lab
    owner's work. ``scan`` makes the search for keys that the run ends with, out of its recording
    and how often the tap lost its link. ``doubts``: why nothing of it counts, asked at its end."""
    recording = BusRecording(folder.bus.open("xb"), lab.monotonic)
    async with lab.tap(recording.hear) as gaps:
        history = History(folder.history, lab.monotonic)
        try:
            verdict = await play_plan(
                plan,
                lab,
                keeper,
                history,
                show,
                run_id=folder.run,
                scan=None if scan is None else scan(lambda: unheard(recording, gaps())),
                opened=Forensics(lab).keys_on,
                doubts=doubts,
                load_control=partial(changeable, folder),
            )
        finally:
            recording.close(gaps())
    return finish(folder, verdict)


def unheard(recording: BusRecording, gaps: int) -> str:
    """What is missing of a recording whose file is about to be searched; empty when nothing is."""
    if not recording.flush():
        return f"{recording.dropped} messages found no room in the recording of the bus"
    return f"the recorder of the bus lost its link {gaps} times" if gaps else ""


def finish(folder: RunFolder, verdict: Verdict) -> Verdict:
    """Store the verdict with its run; KS-CHAOS-206 when it finds no room."""
    try:
        folder.end(verdict)
    except KeysteadError as error:
        raise KeysteadError("KS-CHAOS-206", str(error)) from None
    return verdict
