"""How many hosts boot together when a lab is built: as many as begin in a second, and wait."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from lab.building.provision import BOOT_WAITS, BOOTS_A_SECOND, boots_at_once
from lab.processes.process_lab import ProcessLab
from lab.simulation.sim_lab import SimLab
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.terms import NodeName
from services.esxi.knobs import EsxiKnobs
from services.runtime.real.world import LabTime


def together(folder: Path, **changes: Any) -> int | None:
    """Of a lab of real processes that is not started."""
    topology = plan(load("default", tpm="model", **changes))
    clock = LabTime(time.monotonic(), time.time(), topology.pace)
    return boots_at_once(ProcessLab(folder, topology, clock, 1))


def test_a_boot_that_waits_for_long_leaves_room_for_others(tmp_path: Path) -> None:
    assert together(tmp_path, pace=30.0) == BOOTS_A_SECOND  # its waits are less than a second
    assert together(tmp_path, pace=1.0) == 25 * BOOTS_A_SECOND


@pytest.mark.parametrize("changes", [{"knobs": {"boot_step_s": 0.0}}, {"hosts": 0, "vms": 0}])
def test_boots_that_wait_for_nothing_are_a_crowd(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert together(tmp_path, pace=1.0, **changes) == BOOTS_A_SECOND


def test_in_virtual_time_all_boot_together_and_wait_as_long_as_is_said() -> None:
    lab = SimLab(plan(load("default", tpm="model")), 7)
    lab.run(lab.start())
    assert boots_at_once(lab) is None
    begun = lab.monotonic()
    lab.run(lab.power_on(NodeName("esxi-001")))
    waited = BOOT_WAITS * EsxiKnobs().boot_step_s
    assert waited <= lab.monotonic() - begun < waited + 1.0
    for store in lab.world.stores.values():
        store.close()
    lab.loop.close()
