"""A virtual TPM that comes and goes, and a VM that moves: as people ask for them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.client import Lab
from lab.schema.commands import VmAddTpm, VmMigrate, VmOff, VmOn, VmRemoveTpm
from protocol.terms import PowerState

B = "esxi-002"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(mode="sim", seed=5, hosts=2, vms=1) as made:
        yield made


async def test_a_vtpm_comes_and_goes(lab: Lab) -> None:
    await lab.do(VmOff(("vm-01",)))
    assert (await lab.do(VmAddTpm("vm-01"))).vtpm
    await lab.do(VmOn(("vm-01",)))
    await lab.do(VmOff(("vm-01",)))
    assert not (await lab.do(VmRemoveTpm("vm-01"))).vtpm


async def test_a_vm_moves_while_it_runs(lab: Lab) -> None:
    await lab.do(VmMigrate("vm-01", B))
    moved = await lab.vm("vm-01")
    assert (moved.host, moved.power) == (B, PowerState.ON)
