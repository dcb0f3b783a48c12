"""DRS chooses the host of a VM that is powered on, and empties hosts that enter maintenance mode
(HA-03)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lab.client import Lab
from lab.schema import commands as c
from protocol.authorization import Privilege
from protocol.events import EventTypeId as E
from protocol.terms import PowerState, VmCryptoState
from tests.lab.api.refusals import refused

CLUSTER = "cluster-a"
A, B, C = "esxi-001", "esxi-002", "esxi-003"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """Two encrypted VMs that run on A and on B, and DRS that chooses at power-on."""
    async with Lab(mode="sim", seed=4, hosts=3, vms=2) as made:
        await made.do(c.ClusterSetDrs(CLUSTER, "partiallyAutomated"))
        yield made


async def places(lab: Lab) -> dict[str, str]:
    return {vm.vm: str(vm.host) for vm in await lab.vms()}


async def registered(lab: Lab, vm: str) -> list[str]:
    """Every host that lists it, by its own word."""
    views = [await lab.do(c.GetHostView(host)) for host in (A, B, C)]
    return [str(view.host) for view in views if any(one.vm == vm for one in view.vms)]


async def told(lab: Lab, *kinds: E) -> list[tuple[E, str | None]]:
    return [(one.event, one.host) for one in await lab.events() if one.event in kinds]


async def test_a_cluster_says_what_drs_does_by_itself(lab: Lab) -> None:
    levels = (E.DRS_ENABLED, E.CLUSTER_RECONFIGURED, E.DRS_DISABLED)
    assert [event for event, _ in await told(lab, *levels)] == [E.DRS_ENABLED]
    for level in ("fullyAutomated", "fullyAutomated", "off"):
        shown = await lab.do(c.ClusterSetDrs(CLUSTER, level))
        assert shown.drs == ("" if level == "off" else level)
    assert (await lab.do(c.GetClusters())).items[0].drs == ""
    assert [event for event, _ in await told(lab, *levels)] == list(levels)
    assert "no-cluster" in str(await refused(lab, c.ClusterSetDrs("no-cluster", "off")))


async def test_a_vm_starts_where_the_fewest_run(lab: Lab) -> None:
    await lab.do(c.VmCreate("next", host=A, encrypted=True))
    (item,) = await lab.vm_on("next")
    assert (item.power, item.host) == (PowerState.ON, C)
    assert await registered(lab, "next") == [C]
    assert await told(lab, E.DRS_VM_POWERED_ON) == [(E.DRS_VM_POWERED_ON, C)]
    key = (await lab.vm("next")).key
    assert key is not None and (await lab.vm("next")).crypto is VmCryptoState.UNLOCKED


async def test_among_equals_it_stays(lab: Lab) -> None:
    await lab.do(c.VmCreate("third", host=C))
    await lab.vm_on("third")
    for host in (B, C, A):
        await lab.do(c.VmCreate(f"on-{host}", host=host))
        (item,) = await lab.vm_on(f"on-{host}")
        assert item.host == host
    events = await told(lab, E.DRS_VM_POWERED_ON)
    await lab.vm_on(f"on-{A}")
    assert await told(lab, E.DRS_VM_POWERED_ON) == events, "it runs: nothing was powered on"


async def test_many_at_once_are_spread(lab: Lab) -> None:
    """Each counts as running from when its host is chosen."""
    names = [f"many-{number}" for number in range(7)]
    for name in names:
        await lab.do(c.VmCreate(name, host=A))
    await asyncio.gather(*(lab.do(c.VmOn((name,))) for name in names))
    running = list((await places(lab)).values())
    assert sorted(running.count(host) for host in (A, B, C)) == [3, 3, 3]


@pytest.mark.parametrize("level", ["off", "manual"])
async def test_nobody_chooses_for_a_person_who_does(lab: Lab, level: Any) -> None:
    await lab.do(c.ClusterSetDrs(CLUSTER, level))
    await lab.do(c.VmCreate("next", host=A, encrypted=True))
    (item,) = await lab.vm_on("next")
    assert item.host == A and not await told(lab, E.DRS_VM_POWERED_ON)
    await lab.vm_off("next", "vm-01")
    await lab.do(c.HostEnterMaintenance((A,)))
    (item,) = await lab.vm_on("next")
    assert "maintenance mode" in str(item.error) and (await places(lab))["next"] == A


async def test_hosts_that_take_no_vm_are_passed_over(lab: Lab) -> None:
    """In maintenance mode, or with encryption off until they boot, for VMs that are encrypted."""
    await lab.vm_off("vm-01")
    await lab.do(c.HostEnterMaintenance((A,)))
    await lab.do(c.HostDisableCrypto(C))
    (item,) = await lab.vm_on("vm-01")
    assert (item.power, item.host) == (PowerState.ON, B)
    assert await registered(lab, "vm-01") == [B]
    await lab.do(c.VmCreate("clear", host=B))
    assert (await lab.vm_on("clear"))[0].host == C, "it is not encrypted"


async def test_a_host_that_stays_off_is_passed_over(lab: Lab) -> None:
    await lab.do(c.HostDisableCrypto(C))
    await lab.reboot(C)
    await lab.sleep(30)
    await lab.vm_off("vm-01")
    await lab.do(c.VmCreate("clear", host=A))
    await lab.vm_on("clear")
    assert (await places(lab))["clear"] == A
    (item,) = await lab.vm_on("vm-01")
    assert (item.power, item.host) == (PowerState.ON, A)


async def test_no_host_takes_it(lab: Lab) -> None:
    """It stays where it is, registered once, and says why."""
    await lab.vm_off("vm-01", "vm-02")
    await lab.do(c.VmMigrate("vm-02", A))
    for host in (B, C):
        await lab.do(c.HostDisableCrypto(host))
    await lab.do(c.HostEnterMaintenance((A,)))
    (item,) = await lab.vm_on("vm-01")
    assert "no connected host of cluster cluster-a takes encrypted VMs" in str(item.error)
    await lab.do(c.HostEnterMaintenance((B, C)))
    (item,) = await lab.vm_on("vm-01")
    assert "every connected host of cluster cluster-a is in maintenance mode" in str(item.error)
    assert (item.host, await registered(lab, "vm-01")) == (A, [A])


async def test_a_vm_of_a_host_that_is_away_is_not_moved(lab: Lab) -> None:
    """Its host lists it, and may run it for all that vCenter knows."""
    await lab.vm_off("vm-01")
    await lab.do(c.HostDisconnect((A,)))
    (item,) = await lab.vm_on("vm-01")
    assert f"host {A} is disconnected" in str(item.error)
    assert await registered(lab, "vm-01") == [A]


async def test_which_keys_a_host_has_is_not_looked_at(lab: Lab) -> None:
    """The emptiest host has booted while the key server was away: the VM comes there, is refused
    and locked there, and no other host is tried; the host that it left has the key."""
    await lab.vm_off("vm-01")
    await lab.do(c.VmCreate("clear", host=A))
    await lab.vm_on("clear")
    await lab.do(c.LinkCut("vcenter", "kms"))
    await lab.reboot(C)
    (item,) = await lab.vm_on("vm-01")
    assert "EncryptionKeyRequired" in str(item.error), item
    vm = await lab.vm("vm-01")
    assert (vm.host, vm.power, vm.crypto) == (C, PowerState.OFF, VmCryptoState.LOCKED)
    assert await registered(lab, "vm-01") == [C]


async def test_a_template_is_not_moved(lab: Lab) -> None:
    await lab.do(c.VmCreate("golden", host=A))
    await lab.do(c.VmTemplate("golden"))
    (item,) = await lab.vm_on("golden")
    assert "is a template" in str(item.error)
    assert await registered(lab, "golden") == [A]


async def test_who_may_power_on_may_have_it_placed(lab: Lab) -> None:
    """PowerOnVM_Task needs its own privilege, and none of a migration's."""
    await lab.do(c.RoleCreate("operator", add=(Privilege.READ, Privilege.POWER_ON)))
    await lab.do(c.UserSet("alice", "operator"))
    await lab.do(c.VmCreate("next", host=A, encrypted=True))
    assert "NoPermission" in str(await refused(lab, c.VmMigrate("next", C), "alice"))
    assert (await lab.do(c.VmOn(("next",)), user="alice")).items[0].host == C
    await lab.do(c.RoleCreate("onlooker", add=(Privilege.READ,)))
    await lab.do(c.UserSet("alice", "onlooker"))
    assert "NoPermission" in str(await refused(lab, c.ClusterSetDrs(CLUSTER, "off"), "alice"))


@pytest.mark.slow
@pytest.mark.parametrize("level", ["partiallyAutomated", "fullyAutomated"])
async def test_a_host_that_enters_maintenance_mode_is_emptied(lab: Lab, level: Any) -> None:
    """VMs that run are moved by DRS if it is fully automated, else by request only."""
    await lab.do(c.ClusterSetDrs(CLUSTER, level))
    if level == "partiallyAutomated":
        assert "vm-01" in str(await refused(lab, c.HostEnterMaintenance((A,))))
        return
    await lab.do(c.HostEnterMaintenance((A,)))
    vm = await lab.vm("vm-01")
    assert (vm.host, vm.power) == (C, PowerState.ON)
    assert await told(lab, E.DRS_VM_MIGRATED) == [(E.DRS_VM_MIGRATED, C)]
    await lab.do(c.HostExitMaintenance((A,)))
    assert (await lab.vm("vm-01")).host == C, "load balancing is not built"
