"""Maintenance mode of a host: nothing comes, nothing starts, over reboots, until it is left."""

from __future__ import annotations

import asyncio

from protocol.errors import InvalidState
from protocol.messages.host.session import HostEnterMaintenanceMode, HostExitMaintenanceMode
from protocol.messages.host.vms import (
    HostCreateVm,
    HostPowerOffVm,
    HostPowerOnVm,
    HostRegisterVm,
    HostUnregisterVm,
)
from protocol.terms import PowerState, VmName
from services.esxi.vms.files import add_checksum
from tests.services.esxi.rig import VM, A, B, Rig, key

VM2 = VmName("vm-02")
ENTER, LEAVE = HostEnterMaintenanceMode(), HostExitMaintenanceMode()


def test_a_host_that_runs_something_does_not_enter(rig: Rig) -> None:
    rig.up()
    rig.command(HostCreateVm(vm=VM, blocks=8))
    rig.command(HostPowerOnVm(vm=VM))
    refused = rig.refused_command(ENTER)
    assert isinstance(refused, InvalidState) and VM in str(refused)
    assert not rig.summary().in_maintenance_mode
    rig.command(HostCreateVm(vm=VM2, blocks=8))
    rig.command(HostPowerOnVm(vm=VM2))  # the refusal left nothing behind


def test_nothing_comes_and_nothing_starts(rig: Rig) -> None:
    rig.up(A)
    rig.up(B)
    for vm, host in ((VM, A), (VM2, B)):
        rig.command(HostCreateVm(vm=vm, blocks=8), host)
    rig.command(ENTER, A)
    rig.command(ENTER, A)
    assert rig.summary(A).in_maintenance_mode
    for refused in (
        HostPowerOnVm(vm=VM),
        HostCreateVm(vm=VmName("vm-03")),
        HostRegisterVm(vm=VM2),
    ):
        assert isinstance(rig.refused_command(refused, A), InvalidState)
    assert isinstance(rig.refused_door(HostPowerOnVm(vm=VM), A), InvalidState)
    rig.command(HostPowerOffVm(vm=VM), A)
    rig.command(HostUnregisterVm(vm=VM), A)  # what is here may leave
    rig.command(LEAVE, A)
    rig.command(LEAVE, A)
    rig.command(HostRegisterVm(vm=VM), A)
    assert rig.command(HostPowerOnVm(vm=VM), A).summary.power is PowerState.ON


def test_the_mode_outlives_a_power_loss_and_starts_no_vm(rig: Rig) -> None:
    rig.up()
    rig.command(HostCreateVm(vm=VM, blocks=8))
    rig.command(HostPowerOnVm(vm=VM))
    rig.power_off(way="crash")
    rig.power_on()
    rig.connect()
    rig.sleep(5)
    assert rig.vm().power is PowerState.ON  # B9 starts what was running
    rig.power_off(way="crash")
    rig.power_on()
    rig.connect()
    rig.console(HostPowerOffVm(vm=VM))
    rig.command(ENTER)
    rig.array.folders[VM]["power"] = bytearray(add_checksum(PowerState.ON.value.encode()))
    rig.reboot(way="power_loss")
    rig.sleep(30)
    assert rig.summary().in_maintenance_mode and rig.vm().power is PowerState.OFF
    rig.connect()
    rig.command(LEAVE)
    rig.reboot(way="power_loss")
    rig.sleep(30)
    assert rig.vm().power is PowerState.ON


def test_leaving_the_mode_soon_after_a_boot_starts_nothing(rig: Rig) -> None:
    """B9 is over then: a key that arrives within its window starts no VM, it may be elsewhere."""
    rig.up()
    rig.make_safe()
    rig.encrypted_vm(on=False)
    rig.command(ENTER)
    rig.array.folders[VM]["power"] = bytearray(add_checksum(PowerState.ON.value.encode()))
    rig.reboot(way="power_loss")
    rig.sleep(5)
    rig.connect()
    rig.command(LEAVE)
    rig.make_safe()
    rig.add_keys(key("kek-1"))
    rig.sleep(30)
    assert rig.vm().power is PowerState.OFF
    rig.command(HostPowerOnVm(vm=VM))


def test_a_vm_that_was_being_started_is_seen(rig: Rig) -> None:
    """The power-on and the mode meet: one of them is refused, whichever comes first."""
    rig.up()
    rig.command(HostCreateVm(vm=VM, blocks=8))
    refusals: list[str] = []

    async def ask(message: HostPowerOnVm | HostEnterMaintenanceMode) -> None:
        try:
            await rig.controller.command(A, message)
        except InvalidState:
            refusals.append(type(message).__name__)

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ask(HostPowerOnVm(vm=VM)))
            group.create_task(ask(ENTER))

    rig.run(both())
    assert len(refusals) == 1, refusals
    assert rig.summary().in_maintenance_mode is (rig.vm().power is PowerState.OFF)
