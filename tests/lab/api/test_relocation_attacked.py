"""Moves between vCenters, attacked: hosts that were away, names, lost answers (MOB-07)."""

from __future__ import annotations

from typing import Any

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from protocol.events import EventTypeId
from tests.lab.api import relocation_struck
from tests.lab.api.refusals import refused
from tests.lab.api.test_relocation import EAST, SOURCE, TARGET, VM, WEST, move, where

OTHER = "esxi-002"
SOUTH = "south"


def lab_of(*vcenters: str, ha: bool = False, far: bool = False) -> dict[str, Any]:
    """As many vCenters on one datastore; ``far``: the second has a cluster on another one."""
    clusters = [
        {
            "name": f"cluster-{vcenter}",
            "vcenter": vcenter,
            "datastore": "shared",
            "ha": ha,
            "hosts": {"count": 2, "tpm": "model"},
            "vms": {"count": 2, "provider": "keys"},
        }
        for vcenter in vcenters
    ]
    if far:
        there = {"name": "far", "vcenter": vcenters[1], "datastore": "far"}
        clusters.append({**there, "hosts": {"count": 1, "tpm": "model"}})
    return {
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "name": "attacked",
        "vcenters": [{"name": vcenter} for vcenter in vcenters],
        "kms": [{"name": "kms"}],
        "providers": [{"name": "keys", "vcenter": v, "servers": ["kms"]} for v in vcenters],
        "clusters": clusters,
    }


def simulated(*vcenters: str, **more: bool) -> Lab:
    return Lab(topology=lab_of(*(vcenters or (WEST, EAST)), **more), mode="sim", seed=11)


async def listed_by(lab: Lab, vm: str = VM) -> list[str]:
    """The hosts that list the VM, of those that answer."""
    found: list[str] = []
    for host in await lab.hosts():
        try:
            view = await lab.do(c.GetHostView(host.host))
        except KeysteadError:
            continue
        found += [host.host for seen in view.vms if seen.vm == vm]
    return found


async def one_only(lab: Lab, vcenter: str, host: str, vm: str = VM) -> None:
    assert await where(lab, vm) == [(vcenter, host)]
    assert await listed_by(lab, vm) == [host]
    await lab.vm_off(vm)
    (item,) = await lab.vm_on(vm)
    assert (item.error, item.host) == (None, host)


async def _registered_elsewhere(lab: Lab) -> None:
    """Its host is away, and lists it when it is back; another one of its cluster runs it."""
    await lab.do(c.HostPowerLoss((SOURCE,), stay_off=True))
    await lab.sleep(120)
    await lab.do(c.VmRegister(VM, host=OTHER))
    (item,) = await lab.vm_on(VM)
    assert item.error is None


async def test_a_host_that_was_away_does_not_bring_a_vm_back_that_has_left() -> None:
    async with simulated() as lab:
        await _registered_elsewhere(lab)
        await lab.do(move())
        await lab.do(c.HostPowerOn((SOURCE,)))
        await lab.sleep(300)
        await one_only(lab, EAST, TARGET)


@pytest.mark.slow
async def test_neither_does_one_that_high_availability_had_taken_it_from() -> None:
    async with simulated(ha=True) as lab:
        await lab.sleep(120)
        await lab.do(c.HostPowerLoss((SOURCE,), stay_off=True))
        await lab.sleep(400)
        assert await where(lab) == [(WEST, OTHER)]
        await lab.do(move())
        await lab.do(c.HostPowerOn((SOURCE,)))
        await lab.sleep(300)
        await one_only(lab, EAST, TARGET)


@pytest.mark.slow
@pytest.mark.parametrize("off", [False, True], ids=["running", "off"])
async def test_a_vm_that_two_hosts_list_leaves_both(off: bool) -> None:
    async with simulated() as lab:
        await _registered_elsewhere(lab)
        await lab.do(c.HostPowerOn((SOURCE,)))
        await lab.sleep(300)
        if off:
            await lab.vm_off(VM)
        assert len(await listed_by(lab)) == 2
        await lab.do(move())
        await lab.sleep(300)
        await one_only(lab, EAST, TARGET)


async def test_a_host_that_lists_it_is_told_after_it_has_come_back_and_was_refused() -> None:
    """What is known of a move is not lost by another one that comes to nothing."""
    async with simulated() as lab:
        await _registered_elsewhere(lab)
        await lab.do(move())
        await lab.do(c.LinkCut(TARGET, OTHER))
        back = c.VmMigrate(VM, OTHER, to_vcenter=WEST)
        assert "did not answer" in str(await refused(lab, back))
        await lab.heal()
        await lab.do(c.HostPowerOn((SOURCE,)))
        await lab.sleep(300)
        await one_only(lab, EAST, TARGET)


async def test_a_move_that_fails_on_its_way_is_told_too() -> None:
    async with simulated() as lab:
        await lab.do(c.LinkCut(SOURCE, TARGET))
        error = str(await refused(lab, move()))
        told = [e for e in await lab.events() if e.vm == VM]
        assert told[-1].event is EventTypeId.VM_RELOCATE_FAILED
        assert TARGET in error and TARGET in told[-1].text
        await lab.heal()
        await one_only(lab, WEST, SOURCE)


@pytest.mark.slow
async def test_a_vm_has_moved_on_before_its_first_vcenter_heard_that_it_came() -> None:
    async with simulated(WEST, EAST, SOUTH) as lab:
        for step in relocation_struck.STEPS:
            found = await lab.beside(relocation_struck.moved_on, VM, step)
            assert found["owners"] == found["there"] and len(found["owners"]) == 1, (step, found)
            if found["on"]:
                break
        assert found["owners"] == [SOUTH]


async def test_a_name_that_is_on_its_way_here_is_taken() -> None:
    async with simulated(far=True) as lab:
        found = await lab.beside(relocation_struck.named, VM, "far")
        assert "AlreadyExists" in found["made"] and WEST in found["made"], found
        assert found["owners"] == [EAST] and found["outcome"] == "ok", found


async def test_a_vm_that_never_left_is_no_hostage_of_a_vcenter_that_is_gone() -> None:
    """Off, and listed by its host: the other one cannot have it, whatever it may say."""
    async with simulated(far=True) as lab:
        await lab.vm_off(VM)
        found = await lab.beside(relocation_struck.left_alone, VM, "far")
        assert found == {"open": "TimedOut", "unregistered": "ok", "waits": "ok"}, found


async def test_a_vm_that_is_registered_again_moves_without_the_one_it_came_from() -> None:
    async with simulated(WEST, EAST, SOUTH) as lab:
        await lab.vm_off(VM)
        await lab.do(move())
        await lab.do(c.VmUnregister((VM,)))
        await lab.do(c.VmRegister(VM, cluster="cluster-west"))
        await lab.do(c.LinkCut(WEST, EAST))
        await lab.do(c.VmMigrate(VM, "esxi-005", to_vcenter=SOUTH))
        await one_only(lab, SOUTH, "esxi-005")
