"""A VM whose configuration names other keys than vCenter recorded: learned, marked, given.

That is so after vCenter was restored from an older backup, or when the configuration was changed at
the host.
"""

from __future__ import annotations

from protocol.errors import EncryptionKeyRequired, InvalidState
from protocol.events import EventTypeId as E
from protocol.messages.vcenter.providers import GenerateKey
from protocol.messages.vcenter.vms import CreateVm, CryptoUnlock, PowerOffVm, PowerOnVm
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    KmipState,
    PowerState,
    VmConnectionState,
    VmCryptoState,
    VmName,
)
from tests.services.vcenter.rig import KMS, VM, A, B, Rig

LOCKED, UNLOCKED = VmCryptoState.LOCKED, VmCryptoState.UNLOCKED


def newer_key(rig: Rig) -> CryptoKeyId:
    """Hosts A and B; vm-01 is on A under a key that vCenter never recorded for it."""
    rig.up(A, B)
    rig.vm()
    made = rig.do(GenerateKey(operation_id="newer")).key
    assert made is not None
    rig.servers[KMS].set_state(made.key_id, KmipState.ACTIVE)
    rig.hosts[A].vms[VM].keys = (made,)
    rig.sleep(30)
    return made


def test_it_is_recorded_and_locks_the_vm(rig: Rig) -> None:
    new = newer_key(rig)
    vm = rig.vm_info()
    assert (vm.key, vm.missing, vm.crypto) == (new, (new,), LOCKED)
    assert vm.connection is VmConnectionState.INVALID
    assert vm.lock_event is E.VM_LOCKED_KEY_MISSING_ON_HOST and vm.alarms
    assert new not in rig.hosts[A].cache and new not in rig.hosts[B].cache
    error = rig.refused(PowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired) and error.keys == (new,)


def test_unlocking_gives_it_to_the_hosts_of_the_cluster(rig: Rig) -> None:
    new = newer_key(rig)
    assert rig.do(CryptoUnlock(vm=VM)).vm.crypto is UNLOCKED
    assert rig.power_on_vm().power is PowerState.ON
    rig.sleep(30)
    assert new in rig.hosts[A].cache and new in rig.hosts[B].cache
    rig.do(PowerOffVm(vm=VM))
    rig.reboot(A)
    rig.sleep(30)
    assert rig.vm_info().crypto is UNLOCKED and new in rig.hosts[A].cache


def test_a_vm_that_runs_is_not_marked_and_its_key_is_recorded(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    rig.power_on_vm()
    new = rig.do(GenerateKey(operation_id="newer")).key
    assert new is not None
    rig.hosts[A].vms[VM].keys = (new,)
    rig.sleep(30)
    assert (rig.vm_info().key, rig.vm_info().crypto) == (new, UNLOCKED)
    learned = [r.fields for r in rig.records if r.kind == "vm.keys_learned"]
    assert [(one["vm"], one["new"]) for one in learned] == [(VM, [str(new)])]


def test_a_vm_that_was_decrypted_at_its_host_needs_no_key(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    rig.hosts[A].vms[VM].keys = ()
    rig.hosts[A].cache.clear()
    rig.sleep(30)
    assert (rig.vm_info().key, rig.vm_info().crypto) == (None, None)


def test_unlocking_is_refused_while_the_host_names_a_key_that_is_not_the_vms(rig: Rig) -> None:
    """It used to answer ok, and nothing was unlocked."""
    rig.up(A)
    rig.vm()
    other, far = VmName("vm-02"), ClusterName("far")
    rig.host(B, cluster=far)
    made = rig.do(CreateVm(operation_id="far", vm=other, cluster=far, host=B, encrypted=True)).vm
    assert made.key is not None
    rig.hosts[A].vms[VM].keys = (made.key,)
    rig.sleep(10)
    assert rig.key_of() != made.key
    error = rig.refused(CryptoUnlock(vm=VM))
    assert isinstance(error, InvalidState) and "belong to others" in str(error)
