"""A datastore that takes a lock and does not give it back: what failed is told, no life ends."""

from __future__ import annotations

import errno
import os

import pytest

from protocol.errors import DatastoreFault
from protocol.messages.host.vms import HostCreateVm, HostPowerOffVm, HostPowerOnVm
from protocol.terms import PowerState, VmName
from services.runtime.sim.datastore import SimDatastore
from tests.services.esxi.rig import VCENTER, VM, A, B, Rig, key
from tests.services.esxi.test_ha import C, clear_vm, cluster, isolate, primary, running, safe

REAL = SimDatastore.unlock
OTHER = VmName("vm-02")


async def stuck(self: SimDatastore, vm: str) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_primary_that_cannot_give_a_lock_back_lives_and_has_the_vm_restarted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The primary tries it itself, lacks its key, and the lock stays with it."""
    cluster(rig)
    safe(rig, A)
    for host in (B, C):
        safe(rig, host, "kek-1")
    rig.encrypted_vm(node=B)
    clear = [VmName(f"vm-{name}") for name in "abc"]
    for name in clear:
        clear_vm(rig, C, name)  # so that the primary is tried first
    assert primary(rig) == A
    rig.power_off(B, "power_loss")
    monkeypatch.setattr(SimDatastore, "unlock", stuck)
    rig.sleep(100.0)
    assert rig.status(A).state.value == "running", rig.status(A).screen
    assert rig.kinds("vm.refused", A)[0]["error"] == "EncryptionKeyRequired"
    assert rig.array.locks[VM].node == A and not running(rig, among=(A, C))
    monkeypatch.setattr(SimDatastore, "unlock", REAL)
    rig.sleep(900.0)
    assert running(rig, among=(A, C)) == [C] and rig.works(VM, C)


def test_a_host_that_starts_its_vms_after_a_boot_lives(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    rig.power_off(way="power_loss")
    monkeypatch.setattr(SimDatastore, "unlock", stuck)
    rig.power_on()
    rig.connect()
    rig.sleep(5)
    assert rig.status().state.value == "running", rig.status().screen
    rig.make_safe()
    rig.add_keys(key("kek-1"))
    rig.sleep(5)
    assert rig.vm().power is PowerState.ON and rig.works()


def test_an_isolated_primary_that_powers_its_vms_off_lives(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(rig, ha_isolation_response="powerOff", heartbeat_s=5.0)
    clear_vm(rig, A)
    clear_vm(rig, A, OTHER)
    monkeypatch.setattr(SimDatastore, "unlock", stuck)
    isolate(rig, A, B, C, VCENTER)
    rig.sleep(120.0)
    assert rig.status(A).state.value == "running", rig.status(A).screen
    assert running(rig, among=(A,)) == [] and running(rig, OTHER, among=(A,)) == []
    monkeypatch.setattr(SimDatastore, "unlock", REAL)


def test_a_refused_power_on_says_why_it_was_refused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    rig.reboot()
    rig.connect()
    rig.sleep(60)
    monkeypatch.setattr(SimDatastore, "unlock", stuck)
    assert rig.refused_command(HostPowerOnVm(vm=VM)).keys == (key("kek-1"),)


def test_a_power_off_whose_lock_stays_is_told_and_made_good_when_it_is_repeated(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.up(A)
    rig.up(B)
    rig.command(HostCreateVm(vm=VM, blocks=8))
    rig.command(HostPowerOnVm(vm=VM))
    monkeypatch.setattr(SimDatastore, "unlock", stuck)
    refused = rig.refused_command(HostPowerOffVm(vm=VM))
    assert isinstance(refused, DatastoreFault) and "its lock" in str(refused)
    assert rig.vm().power is PowerState.OFF and VM in rig.array.locks
    monkeypatch.setattr(SimDatastore, "unlock", REAL)
    rig.command(HostPowerOffVm(vm=VM))
    assert VM not in rig.array.locks
