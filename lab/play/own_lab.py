"""Plays a prepared experiment on real processes, in a lab of its own."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import msgspec

from chaos.conversation import BusRecording
from chaos.keeper import FaultKeeper
from chaos.progress import Progress, ProgressStep
from chaos.report.story import Story
from chaos.verdict import Verdict
from lab.building.provision import provision
from lab.play.prepare import Prepared
from lab.processes.process_lab import ProcessLab
from lab.runs.live import Searching, play_on
from lab.runs.store import RunFolder
from lab.scan.ledger import Collector, collecting
from lab.scan.search import BUILD
from lab.state.scratch import scratch
from lab.topology.plan import directory_of
from services.runtime.real.world import LabTime


async def play_lab(prepared: Prepared, folder: RunFolder, show: Progress) -> Verdict:
    """Play it in a lab of its own, named after the run, that is gone afterwards. A run that is to
    end with a search for every key collects them from the first process on."""
    with scratch(folder.run) as home:
        if not folder.record().scan:
            return await _play_in(home, prepared, folder, show)
        async with collecting() as collector:
            return await _play_in(home, prepared, folder, show, collector)


async def _play_in(
    home: Path,
    prepared: Prepared,
    folder: RunFolder,
    show: Progress,
    collector: Collector | None = None,
) -> Verdict:
    clock = LabTime(time.monotonic(), time.time(), prepared.topology.pace)
    topology = msgspec.structs.replace(prepared.topology, name=folder.run)
    lab = ProcessLab(home, topology, clock, prepared.plan.seed)
    lab.ledger = "" if collector is None else collector.name
    try:
        show(ProgressStep(phase="lab", text=f"start {len(topology.nodes)} nodes"))
        await lab.start()
        async with record_build(lab) if collector is not None else nullcontext():
            await provision(
                lab, lambda text, step, total: show(ProgressStep(phase="lab", text=text))
            )
        keeper = FaultKeeper(lab)
        scan = None if collector is None else searching(lab, keeper, prepared, folder, collector)
        leases = asyncio.get_running_loop().create_task(keeper.keep_leases(lab.lease_tick_s))
        try:
            return await play_on(prepared.plan, folder, lab, keeper, show, scan=scan)
        finally:
            leases.cancel()
    finally:
        await lab.close()
        logs = home / "logs"
        if logs.is_dir():
            shutil.copytree(logs, folder.path / "logs", dirs_exist_ok=True)


@asynccontextmanager
async def record_build(lab: ProcessLab) -> AsyncIterator[None]:
    """What is said on the bus while a lab is built, in a file of its folder: a search for keys is
    about that too."""
    recording = BusRecording((lab.folder / BUILD).open("xb"), lab.monotonic)
    async with lab.tap(recording.hear) as gaps:
        try:
            yield
        finally:
            recording.close(gaps())


def searching(
    lab: ProcessLab,
    keeper: FaultKeeper,
    prepared: Prepared,
    folder: RunFolder,
    collector: Collector,
) -> Searching:
    """The search that a run in this lab ends with."""
    from lab.play.process_scan import LabScan  # with all that a report is made by

    record = folder.record()
    story = Story(
        run=record.run,
        mode=record.mode,
        code=record.code,
        python=record.python,
        tpm=record.tpm_text,
        began=record.began,
        plan=prepared.plan,
        directory=directory_of(prepared.topology),
        verdict=None,
        records=(),
        reproduce="",
    )
    return lambda heard: LabScan(lab, keeper, folder, collector, story, heard).record
