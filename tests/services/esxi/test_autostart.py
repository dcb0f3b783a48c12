"""Step B9: what was wanted starts by itself, within the boot and not after it."""

from __future__ import annotations

import pytest

from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.host.vms import HostCreateVm, HostPowerOffVm, HostPowerOnVm, HostRegisterVm
from protocol.terms import PowerState, VmCryptoState, VmName
from tests.services.esxi.rig import HOST_KEY, VCENTER, VM, B, Rig, key

ENABLE = "system security keypersistence enable"
ON, OFF = PowerState.ON, PowerState.OFF


@pytest.mark.parametrize("way", ["stop", "crash", "power_loss"])
def test_a_running_vm_comes_back_with_persistence_and_nobody_else(rig: Rig, way: str) -> None:
    """The story's end: vCenter is down, power was lost, the VM runs and its guest works."""
    rig.up()
    rig.esxcli(ENABLE)
    rig.make_safe()
    rig.encrypted_vm()
    rig.power_off(VCENTER, "crash")
    rig.reboot(way=way)
    rig.sleep(10)
    assert rig.vm().power is ON
    assert rig.works()


def test_a_vm_that_was_powered_off_stays_off(rig: Rig) -> None:
    rig.up()
    rig.esxcli(ENABLE)
    rig.make_safe()
    rig.encrypted_vm(on=False)
    rig.reboot(way="power_loss")
    rig.sleep(60)
    assert (rig.vm().power, rig.vm().wanted) == (OFF, OFF)


def test_an_orderly_shutdown_is_no_power_command(rig: Rig) -> None:
    rig.up()
    rig.esxcli(ENABLE)
    rig.make_safe()
    rig.encrypted_vm()
    rig.power_off(way="stop")
    assert rig.kinds("vm.powered")[-1] == {"vm": VM, "power": "poweredOff"}
    rig.power_on()
    assert rig.vm().wanted is ON
    rig.sleep(10)
    assert rig.vm().power is ON


def test_keys_that_arrive_within_the_boot_start_it(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    rig.reboot(way="power_loss")
    rig.connect()
    rig.sleep(5)
    assert rig.vm().crypto is VmCryptoState.LOCKED
    rig.add_keys(key("kek-1"))  # the mode is not there yet: it goes on waiting
    rig.sleep(2)
    assert rig.vm().power is OFF
    rung = len(rig.controller.rung)
    rig.make_safe()
    rig.sleep(2)
    assert rig.vm().power is ON
    assert len(rig.controller.rung) == rung + 1  # vCenter should look: a VM started by itself
    assert rig.works()


def test_keys_that_arrive_later_unlock_and_power_nothing_on(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    rig.reboot(way="power_loss")
    rig.sleep(60)
    rig.connect()
    rig.make_safe()
    rig.add_keys(key("kek-1"))
    rig.sleep(60)
    assert (rig.vm().power, rig.vm().wanted) == (OFF, ON)
    assert rig.vm().crypto is VmCryptoState.UNLOCKED
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()


def test_what_is_missing_is_told_once_and_a_supply_starts_it(rig: Rig) -> None:
    """Step 5 of the search: the host tells vCenter, which pushes; nobody else is asked."""
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    rig.reboot(way="power_loss")
    rig.connect()
    rig.controller.supply[key("kek-1")] = rig.host().node.name
    rig.make_safe()
    rung = len(rig.controller.rung)
    rig.sleep(5)
    assert rig.vm().power is ON
    assert len(rig.controller.rung) == rung + 2  # its key is missing; then: it was started


def test_a_power_off_during_the_window_is_the_last_word(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    rig.reboot(way="power_loss")
    rig.connect()
    rig.sleep(3)
    rig.command(HostPowerOffVm(vm=VM))
    rig.make_safe()
    rig.add_keys(key("kek-1"))
    rig.sleep(30)
    assert (rig.vm().power, rig.vm().wanted) == (OFF, OFF)


def test_a_vm_that_runs_elsewhere_meanwhile_is_left_alone(rig: Rig) -> None:
    rig.up()
    rig.up(B)
    rig.esxcli(ENABLE)
    rig.make_safe()
    rig.make_safe(B)
    rig.encrypted_vm()
    rig.add_keys(key("kek-1"), node=B)
    rig.power_off(way="power_loss")
    rig.command(HostRegisterVm(vm=VM), B)
    rig.command(HostPowerOnVm(vm=VM), B)
    rig.power_on()
    rig.sleep(30)
    assert rig.vm().power is OFF
    assert rig.works(node=B)


def test_one_lacking_key_holds_up_no_other_vm(rig: Rig) -> None:
    rig.up()
    rig.esxcli(ENABLE)
    rig.make_safe()
    other = VmName("vm-02")
    rig.encrypted_vm()
    rig.encrypted_vm(other, kek="kek-2")
    rig.command(RemoveKeys(keys=(key("kek-1"),)))
    rig.reboot(way="power_loss")
    rig.sleep(10)
    assert [vm.power for vm in rig.summary().vms] == [OFF, ON]
    assert rig.kinds("vm.refused")[-1]["missing"] == [str(key("kek-1"))]
    assert rig.summary().crypto_key_id == HOST_KEY


def test_a_key_that_arrives_while_another_vm_is_tried_starts_its_own(rig: Rig) -> None:
    """Nothing else changes afterwards: who looked for changes only then would wait in vain."""
    rig.up()
    rig.esxcli(ENABLE)
    rig.make_safe()
    rig.encrypted_vm()
    other = VmName("vm-02")
    rig.command(HostCreateVm(vm=other, blocks=8))
    rig.command(HostPowerOnVm(vm=other))
    rig.command(RemoveKeys(keys=(key("kek-1"),)))

    async def charge(call: str) -> None:
        if call == f"datastore.lock {other}" and rig.kinds("vm.refused"):
            await rig.world.sleep(5)

    rig.reboot(way="power_loss")
    rig.array.charge = charge
    rig.connect()
    rig.sleep(2)
    assert rig.kinds("vm.refused")[-1]["missing"] == [str(key("kek-1"))]
    assert [vm.power for vm in rig.summary().vms] == [OFF, OFF], "the other is not started yet"
    rig.add_keys(key("kek-1"))
    rig.sleep(5)
    assert [vm.power for vm in rig.summary().vms] == [ON, ON]
