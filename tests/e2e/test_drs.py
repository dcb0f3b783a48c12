"""Where DRS starts VMs: a decision of vCenter, asked in one process with its real hosts (HA-03)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from chaos.lab import REFUSALS
from protocol.messages.vcenter.inventory import EnterMaintenanceMode, ReconfigureComputeResource
from protocol.messages.vcenter.vms import CreateVm, ListVms, PowerOffVm, PowerOnVm
from protocol.terms import ClusterName, DrsBehavior, NodeName, VmName
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim

A, B, C = NodeName("esxi-001"), NodeName("esxi-002"), NodeName("esxi-003")
VCENTER, KMS, CLUSTER = NodeName("vcenter"), NodeName("kms"), ClusterName("cluster-a")
FIRST = VmName("vm-01")


@pytest.fixture
def world() -> Iterator[World]:
    """Encrypted VMs that run on A and B."""
    made = World(seed=5, hosts=3, vms=2, drs="partiallyAutomated")
    yield made
    made.close()


async def create(world: World, vm: str, host: NodeName) -> VmName:
    name = VmName(vm)
    await world.lab.ask(
        VCENTER, CreateVm(operation_id=vm, vm=name, cluster=CLUSTER, host=host), within_s=60
    )
    return name


async def power_on(world: World, vm: VmName) -> str:
    """Its host, or why it does not run."""
    try:
        done = await world.lab.ask(VCENTER, PowerOnVm(vm=vm), within_s=60)
    except REFUSALS as error:
        return f"{type(error).__name__}: {error}"
    return str(done.vm.host)


def test_the_labs_file_turns_it_on_when_its_vms_run(world: World) -> None:
    async def story() -> None:
        listed = (await world.lab.ask(VCENTER, ListVms())).vms
        assert [vm.host for vm in listed] == [A, B]
        await create(world, "next", B)
        assert await power_on(world, VmName("next")) == C

    world.run(story())


def test_a_host_in_maintenance_mode_is_passed_over(world: World) -> None:
    async def story() -> None:
        await world.lab.ask(VCENTER, PowerOffVm(vm=FIRST), within_s=60)
        await world.lab.ask(VCENTER, EnterMaintenanceMode(host=A))
        assert await power_on(world, FIRST) == C

    world.run(story())


def test_a_host_without_the_key_is_not(world: World) -> None:
    """It has booted while the key server was away, and is the emptiest."""

    async def story() -> None:
        lab = world.lab
        await lab.ask(VCENTER, PowerOffVm(vm=FIRST), within_s=60)
        await create(world, "clear", A)
        assert await power_on(world, VmName("clear")) == A
        await lab.power_off(KMS, "stop")
        await lab.power_off(C, "crash")
        await lab.power_on(C)
        await lab.sleep(60)
        assert f"EncryptionKeyRequired: {FIRST}: required keys" in await power_on(world, FIRST)
        (vm,) = [vm for vm in (await lab.ask(VCENTER, ListVms())).vms if vm.vm == FIRST]
        assert vm.host == C and vm.lock_event is not None

    world.run(story())


def test_many_at_once_are_spread(world: World) -> None:
    """Each counts as running from when its host is chosen."""

    async def story() -> None:
        names = [await create(world, f"many-{number}", A) for number in range(4)]
        found = await asyncio.gather(*(power_on(world, name) for name in names))
        assert sorted(found) == [A, B, C, C], found

    world.run(story())


def test_nobody_chooses_in_manual_mode(world: World) -> None:
    async def story() -> None:
        manual = ReconfigureComputeResource(cluster=CLUSTER, drs=DrsBehavior.MANUAL)
        await world.lab.ask(VCENTER, manual)
        await create(world, "next", B)
        assert await power_on(world, VmName("next")) == B

    world.run(story())
