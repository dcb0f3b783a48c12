"""LOCK-02: what remains for a VM that is locked and invalid, over every task on VMs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.errors import EncryptionKeyRequired, InvalidVmState, TimedOut
from protocol.events import EventTypeId as E
from protocol.messages.base import Request
from protocol.messages.vcenter.vms import (
    CloneVm,
    CreateVm,
    CryptoUnlock,
    DestroyVm,
    EncryptVm,
    MarkAsTemplate,
    MigrateVm,
    PowerOffVm,
    PowerOnVm,
    PrepareRelocation,
    ReconfigVm,
    RegisterVm,
    UnregisterVm,
)
from protocol.terms import MigrateEncryption, VmConnectionState, VmName
from services.vcenter.authorization.privileges import NEEDS
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, Rig
from tests.services.vcenter.test_each_key import OTHER, two_keys
from tests.services.vcenter.test_privileges import example_of

COPY = VmName("copy")
REMAINING = {
    UnregisterVm,  # removal from the inventory
    RegisterVm,  # and registration again
    CryptoUnlock,  # LOCK-05
    PowerOnVm,  # looks for the keys itself, and names those that it does not find
    PowerOffVm,  # it is off: only what was wanted of it changes
    CreateVm,  # of a VM that is not there yet
    PrepareRelocation,  # of a VM that comes from another vCenter
}


def fields_of(kind: type[Any]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind)}


ON_VMS = sorted((kind for kind in NEEDS if "vm" in fields_of(kind)), key=lambda k: k.__name__)
REFUSED = [kind for kind in ON_VMS if kind not in REMAINING]


def about_it(kind: type[Request[Any]], operation: str) -> Request[Any]:
    """A message of that kind about the VM, which would move or copy it to B."""
    there: dict[str, Any] = {"vm": VM, "host": B, "operation_id": operation, "snapshot": "one"}
    if kind is CloneVm:
        there |= {"vm": COPY, "source": VM}
    known = {name: value for name, value in there.items() if name in fields_of(kind)}
    return msgspec.structs.replace(example_of(kind), **known)


@pytest.fixture
def locked(rig: Rig) -> Rig:
    """A VM whose host A has rebooted while the key server was away; B has its key still."""
    rig.up(A, B)
    rig.vm()
    rig.cut((VCENTER, KMS))
    rig.reboot(A)
    rig.sleep(60)
    assert rig.vm_info().connection is VmConnectionState.INVALID
    assert rig.key_of() in rig.hosts[B].cache
    return rig


@pytest.mark.parametrize("kind", REFUSED, ids=lambda kind: kind.__name__)
def test_no_other_task_is_done_on_it(locked: Rig, kind: type[Request[Any]]) -> None:
    rig, before, sent = locked, locked.vm_info(), len(locked.sent)
    files, there = set(rig.hosts[A].vms), set(rig.hosts[B].vms)
    error = rig.refused(about_it(kind, rig.operation()))
    assert isinstance(error, InvalidVmState)
    assert error.keys == before.missing and str(before.missing[0]) in str(error)
    assert rig.vm_info() == before
    assert (set(rig.hosts[A].vms), set(rig.hosts[B].vms)) == (files, there)
    changing = {name for _, to, name in rig.requests(sent) if to in (A, B)}
    assert changing <= {"CheckForUpdates", "GetCryptoKeyStatus", "QueryHost"}


def test_the_rule_is_about_every_task_that_names_a_vm() -> None:
    """One that comes later is refused as long as the table does not say otherwise."""
    assert {kind for kind in ON_VMS if NEEDS[kind].on_invalid_vm} == REMAINING
    assert {CloneVm, MigrateVm, MarkAsTemplate, DestroyVm} <= set(REFUSED)


def test_it_leaves_the_inventory_and_comes_back_as_it_was(locked: Rig) -> None:
    before = locked.vm_info()
    locked.do(UnregisterVm(vm=VM))
    assert VM not in locked.hosts[A].vms
    locked.do(RegisterVm(vm=VM, cluster=CLUSTER, host=A))
    assert locked.vm_info() == before


def test_power_on_names_the_keys_and_power_off_changes_nothing(locked: Rig) -> None:
    error = locked.refused(PowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired) and error.keys == (locked.key_of(),)
    before = locked.vm_info()
    assert locked.do(PowerOffVm(vm=VM)).vm == before


def test_a_key_that_can_be_had_by_now_is_brought_first(locked: Rig) -> None:
    """Nobody has to wait for the next reconcile, as for power-on."""
    locked.heal()
    locked.do(DestroyVm(vm=VM))
    assert E.VM_UNLOCKED in locked.ids() and VM not in locked.hosts[A].vms


def test_a_repeated_operation_is_refused_too_unless_it_is_done(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    clone = CloneVm(operation_id="copy", vm=COPY, source=VM, host=B)
    rig.hosts[B].errors["HostCloneVm"] = TimedOut("no answer")
    assert isinstance(rig.refused(clone), TimedOut)
    rig.hosts[B].errors.clear()
    encrypt = EncryptVm(operation_id="rig-2", vm=VM)  # as it was given in ``rig.vm``
    rig.cut((VCENTER, KMS))
    rig.reboot(A)
    rig.sleep(60)
    assert isinstance(rig.refused(clone), InvalidVmState)
    assert COPY not in rig.hosts[B].vms
    assert rig.do(encrypt).vm == rig.vm_info()  # it was done: nothing is begun


def test_a_vm_is_invalid_before_vcenter_has_marked_it(rig: Rig) -> None:
    """Its host says that it lacks the key of the home; no pass over the host has ended yet."""
    rig.up(A, B)
    rig.vm()
    rig.cut((VCENTER, KMS))
    rig.power_off(A)
    rig.power_on(A)
    for _ in range(100):
        rig.sleep(0.1)
        if rig.vm_info().connection is not VmConnectionState.DISCONNECTED:
            break
    assert rig.vm_info().missing == ()  # not judged yet
    error = rig.refused(CloneVm(operation_id="copy", vm=COPY, source=VM, host=B))
    assert isinstance(error, InvalidVmState) and COPY not in rig.hosts[B].vms


def test_without_the_key_of_a_disk_alone_it_is_valid(rig: Rig) -> None:
    """LOCK-03."""
    _, disk = two_keys(rig)
    rig.cut((VCENTER, OTHER))
    rig.reboot(A)
    rig.sleep(60)
    assert rig.vm_info().missing == (disk,)
    assert rig.vm_info().connection is VmConnectionState.CONNECTED
    rig.do(ReconfigVm(vm=VM, migrate_encryption=MigrateEncryption.REQUIRED))
