"""Plays a prepared experiment on real processes, in a lab of its own."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import msgspec

from chaos.keeper import FaultKeeper
from chaos.progress import Progress, Step
from chaos.verdict import Verdict
from lab.processes.process_lab import ProcessLab
from lab.runs.live import play_on
from lab.runs.prepare import Prepared
from lab.runs.store import RunFolder
from lab.supervise.scratch import scratch
from lab.topology.provision import provision
from services.runtime.real.world import LabTime


async def play_lab(prepared: Prepared, folder: RunFolder, show: Progress) -> Verdict:
    """Play it in a lab of its own, named after the run, that is gone afterwards."""
    with scratch(folder.run) as home:
        return await _play_in(home, prepared, folder, show)


async def _play_in(home: Path, prepared: Prepared, folder: RunFolder, show: Progress) -> Verdict:
    clock = LabTime(time.monotonic(), time.time(), prepared.topology.pace)
    topology = msgspec.structs.replace(prepared.topology, name=folder.run)
    lab = ProcessLab(home, topology, clock, prepared.plan.seed)
    try:
        show(Step(phase="lab", text=f"start {len(topology.nodes)} nodes"))
        await lab.start()
        await provision(lab, lambda text, step, total: show(Step(phase="lab", text=text)))
        keeper = FaultKeeper(lab)
        leases = asyncio.get_running_loop().create_task(keeper.keep_leases(lab.lease_tick_s))
        try:
            return await play_on(prepared.plan, folder, lab, keeper, show)
        finally:
            leases.cancel()
    finally:
        await lab.close()
        logs = home / "logs"
        if logs.is_dir():
            shutil.copytree(logs, folder.path / "logs", dirs_exist_ok=True)
