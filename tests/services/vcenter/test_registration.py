"""VMs that leave vCenter's inventory and come into it, and what becomes of their keys (STD-17)."""

from __future__ import annotations

import pytest

from protocol.errors import (
    AlreadyExists,
    DatastoreFault,
    HostUnreachable,
    InvalidPowerState,
    InvalidState,
    NotFound,
    TimedOut,
)
from protocol.events import EventTypeId
from protocol.messages.base import Request
from protocol.messages.host.session import Done
from protocol.messages.vcenter.inventory import RemoveHost
from protocol.messages.vcenter.providers import QueryCryptoKeyStatus, UnregisterKmsCluster
from protocol.messages.vcenter.vms import CreateVm, DestroyVm, ListVms, RegisterVm, UnregisterVm
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    HostCryptoState,
    KmipState,
    NodeName,
    PowerState,
    VmConnectionState,
    VmCryptoState,
    VmName,
)
from tests.services.vcenter.peers import VCENTER, VmRecord
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, C, P, Rig

VM2 = VmName("vm-02")
LEAVE: list[type[Request[Done]]] = [UnregisterVm, DestroyVm]


def leave(kind: type[Request[Done]]) -> Request[Done]:
    return kind(vm=VM)


def listed_keys(rig: Rig) -> list[CryptoKeyId]:
    return [status.key for status in rig.do(QueryCryptoKeyStatus()).keys]


@pytest.mark.parametrize("kind", LEAVE)
def test_the_key_of_a_vm_that_left_leaves_every_host_and_stays_at_the_server(
    rig: Rig, kind: type[Request[Done]]
) -> None:
    rig.up(A, B)
    rig.vm()
    rig.vm(VM2)
    key, other = rig.key_of(VM), rig.key_of(VM2)
    rig.do(leave(kind))
    assert [vm.vm for vm in rig.do(ListVms()).vms] == [VM2]
    assert key not in listed_keys(rig) and other in listed_keys(rig)
    rig.sleep(3)
    for host in (A, B):
        assert key not in rig.hosts[host].cache and other in rig.hosts[host].cache
    assert rig.servers[KMS].keys[key.key_id][1] is KmipState.ACTIVE  # KEY-03
    assert rig.vcenter.inventory.released == {}
    rig.do(leave(kind))  # twice is once
    rig.reboot(VCENTER)
    rig.sleep(400)
    assert [vm.vm for vm in rig.do(ListVms()).vms] == [VM2]
    assert set(rig.hosts[B].cache) == set(rig.hosts[A].cache)


def test_what_enters_and_leaves_the_inventory_is_in_the_log_once(rig: Rig) -> None:
    def told(mark: int) -> list[tuple[EventTypeId, VmName | None, NodeName | None]]:
        ours = (EventTypeId.VM_REGISTERED, EventTypeId.VM_REMOVED)
        return [(e.event, e.vm, e.host) for e in rig.events(mark) if e.event in ours]

    rig.up(A, B)
    rig.vm()
    mark = rig.mark()
    host = rig.vm_info().host
    for _ in range(2):
        rig.do(UnregisterVm(vm=VM))
    assert told(mark) == [(EventTypeId.VM_REMOVED, VM, host)]
    mark = rig.mark()
    for _ in range(2):
        rig.do(RegisterVm(vm=VM, cluster=CLUSTER))
    assert told(mark) == [(EventTypeId.VM_REGISTERED, VM, rig.vm_info().host)]
    mark = rig.mark()
    for _ in range(2):
        rig.do(DestroyVm(vm=VM))
    assert [event for event, *_ in told(mark)] == [EventTypeId.VM_REMOVED]


def test_a_host_that_was_away_drops_the_key_when_it_is_back(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    key = rig.key_of()
    rig.hosts[B].persistence = True
    rig.power_off(B)
    rig.do(DestroyVm(vm=VM))
    rig.sleep(60)
    rig.reboot(VCENTER)
    rig.power_on(B)
    rig.sleep(15)
    assert key in rig.hosts[B].cache
    rig.sleep(320)
    assert key not in rig.hosts[B].cache and rig.vcenter.inventory.released == {}


def test_a_host_that_was_removed_and_added_again_drops_the_key_then(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    key = rig.key_of()
    rig.hosts[B].persistence = True
    rig.power_off(B)
    rig.do(DestroyVm(vm=VM))
    rig.sleep(60)
    rig.do(RemoveHost(host=B))
    rig.sleep(600)
    rig.power_on(B)
    rig.host(B)
    assert key in rig.hosts[B].cache
    rig.sleep(320)
    assert key not in rig.hosts[B].cache and rig.vcenter.inventory.released == {}


def test_keys_of_a_deleted_provider_leave_a_host_that_comes_with_them_again() -> None:
    """What was done there was done to a host that has left since: it is done once more."""
    rig = Rig(provider_delete_grace_s=0.0)
    rig.up(A, B)
    rig.vm()
    key = rig.key_of()
    rig.do(UnregisterKmsCluster(provider=P))
    rig.sleep(320)
    assert key not in rig.hosts[B].cache
    rig.do(RemoveHost(host=B))
    rig.hosts[B].cache[key] = b"?" * 32
    rig.host(B)
    rig.sleep(320)
    assert key not in rig.hosts[B].cache
    rig.healthy()
    rig.close()


def test_a_key_that_another_vm_uses_stays(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    key = rig.key_of()
    rig.hosts[A].vms[VM2] = VmRecord(keys=(key,))  # a clone, made on the host
    rig.sleep(15)
    rig.do(DestroyVm(vm=VM))
    rig.sleep(320)
    assert key in rig.hosts[A].cache and key in rig.hosts[B].cache
    rig.do(DestroyVm(vm=VM2))
    rig.sleep(5)
    assert key not in rig.hosts[A].cache and key not in rig.hosts[B].cache


@pytest.mark.parametrize("kind", LEAVE)
def test_a_vm_that_runs_or_whose_host_is_away_stays(rig: Rig, kind: type[Request[Done]]) -> None:
    rig.up(A)
    rig.vm()
    rig.power_on_vm()
    assert isinstance(rig.refused(leave(kind)), InvalidPowerState)
    rig.hosts[A].vms[VM].power = PowerState.OFF
    rig.sleep(15)
    rig.power_off(A)
    rig.sleep(60)
    assert isinstance(rig.refused(leave(kind)), HostUnreachable)
    assert rig.vm_info().key is not None and rig.vcenter.inventory.released == {}


@pytest.mark.parametrize("kind", LEAVE)
def test_a_vm_leaves_every_host_that_lists_it(rig: Rig, kind: type[Request[Done]]) -> None:
    rig.up(A, B)
    rig.vm(encrypted=False)
    rig.hosts[B].vms[VM] = VmRecord()
    rig.sleep(15)
    rig.do(leave(kind))
    rig.sleep(30)
    assert rig.do(ListVms()).vms == ()
    assert rig.hosts[A].vms == rig.hosts[B].vms == {}


def test_a_vm_that_its_host_gave_up_is_orphaned_and_can_be_taken_out(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    assert rig.vm_info().connection is VmConnectionState.CONNECTED
    rig.hosts[A].files[VM] = rig.hosts[A].vms.pop(VM)  # by its local administrator
    rig.sleep(15)
    assert rig.vm_info().connection is VmConnectionState.ORPHANED
    assert rig.vm_info().crypto is None and rig.vm_info().key is not None
    assert isinstance(rig.refused(DestroyVm(vm=VM)), InvalidState)
    back = rig.do(RegisterVm(vm=VM, cluster=CLUSTER)).vm
    assert back.connection is VmConnectionState.CONNECTED and back.key == rig.key_of()
    rig.hosts[A].files[VM] = rig.hosts[A].vms.pop(VM)
    rig.sleep(15)
    rig.do(UnregisterVm(vm=VM))
    assert rig.do(ListVms()).vms == ()


def test_a_vm_that_a_host_claimed_and_gave_up_is_not_shown_as_unlocked_there(rig: Rig) -> None:
    """Whoever has that host's identity may say that it runs what another host has."""
    rig.up(A, B)
    rig.vm()
    rig.power_off(A)
    rig.sleep(60)
    rig.hosts[B].vms[VM] = VmRecord(power=PowerState.ON, keys=rig.hosts[A].vms[VM].keys)
    rig.sleep(30)
    assert (rig.vm_info().host, rig.vm_info().crypto) == (B, VmCryptoState.UNLOCKED)
    del rig.hosts[B].vms[VM]
    rig.sleep(30)
    found = rig.vm_info()
    assert (found.host, found.connection) == (B, VmConnectionState.ORPHANED)
    assert found.crypto is None and found.key is not None
    rig.power_on(A)
    rig.sleep(60)
    found = rig.vm_info()
    assert (found.host, found.connection) == (A, VmConnectionState.CONNECTED)
    assert found.crypto is VmCryptoState.UNLOCKED


def test_a_destruction_whose_answer_was_lost_is_completed(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    rig.hosts[A].errors["HostDestroyVm"] = TimedOut("no answer")
    assert isinstance(rig.refused(DestroyVm(vm=VM)), TimedOut)
    del rig.hosts[A].vms[VM]
    rig.hosts[A].errors.clear()
    rig.reboot(VCENTER)
    rig.sleep(15)
    assert rig.vm_info().connection is VmConnectionState.ORPHANED
    rig.do(DestroyVm(vm=VM))
    assert rig.do(ListVms()).vms == ()


def test_a_registered_vm_has_its_keys_on_the_whole_cluster(rig: Rig) -> None:
    """REG-01."""
    rig.up(A, B)
    rig.vm()
    key = rig.key_of()
    rig.do(UnregisterVm(vm=VM))
    rig.sleep(5)
    assert key not in rig.hosts[A].cache
    vm = rig.do(RegisterVm(vm=VM, cluster=CLUSTER, host=A)).vm
    assert (vm.host, vm.key, vm.crypto) == (A, key, VmCryptoState.UNLOCKED)
    assert key in rig.hosts[A].cache
    rig.sleep(5)
    assert key in rig.hosts[B].cache
    assert rig.do(RegisterVm(vm=VM, cluster=CLUSTER)).vm == vm  # no change
    assert isinstance(rig.refused(RegisterVm(vm=VM, cluster=CLUSTER, host=B)), AlreadyExists)
    rig.sleep(700)
    assert key in rig.hosts[A].cache and key in rig.hosts[B].cache
    assert rig.power_on_vm().power is PowerState.ON


def test_registered_before_its_key_had_left_every_host(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    key = rig.key_of()
    rig.hosts[B].persistence = True
    rig.power_off(B)
    rig.do(UnregisterVm(vm=VM))
    rig.do(RegisterVm(vm=VM, cluster=CLUSTER, host=A))
    rig.power_on(B)
    rig.sleep(400)
    assert key in rig.hosts[B].cache and "RemoveKeys" not in rig.hosts[B].seen
    assert rig.vcenter.inventory.released == {}


def test_without_its_key_a_vm_is_registered_and_locked(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    rig.do(UnregisterVm(vm=VM))
    rig.sleep(5)
    rig.cut((VCENTER, KMS))
    vm = rig.do(RegisterVm(vm=VM, cluster=CLUSTER, host=A)).vm
    assert (vm.crypto, vm.connection) == (VmCryptoState.LOCKED, VmConnectionState.INVALID)
    rig.heal()
    rig.sleep(330)
    assert rig.vm_info().crypto is VmCryptoState.UNLOCKED


def test_a_host_that_did_not_answer_when_a_vm_came_is_made_safe_at_its_next_heartbeat(
    rig: Rig,
) -> None:
    """Its cache has the VM's key, so that no view shows what was not done."""
    rig.up(A)
    rig.vm()
    key = rig.key_of()
    rig.do(UnregisterVm(vm=VM))
    rig.sleep(5)
    rig.hosts[A].cache[key] = rig.servers[KMS].keys[key.key_id][0]  # by its administrator
    rig.hosts[A].crypto_state, rig.hosts[A].host_key = HostCryptoState.PREPARED, None
    rig.sleep(15)
    rig.hosts[A].errors["CryptoManagerHostEnable"] = TimedOut("no answer")
    assert rig.do(RegisterVm(vm=VM, cluster=CLUSTER, host=A)).vm.crypto is VmCryptoState.UNLOCKED
    rig.hosts[A].errors.clear()
    rig.sleep(25)
    assert rig.hosts[A].crypto_state is HostCryptoState.SAFE


def test_what_cannot_be_registered(rig: Rig) -> None:
    rig.up(A)
    assert isinstance(rig.refused(RegisterVm(vm=VM, cluster=CLUSTER)), NotFound)
    nowhere = RegisterVm(vm=VM, cluster=ClusterName("nowhere"))
    assert isinstance(rig.refused(nowhere), NotFound)
    assert isinstance(rig.refused(RegisterVm(vm=VM, cluster=CLUSTER, host=C)), NotFound)
    assert rig.do(ListVms()).vms == ()


def test_the_key_of_a_vm_that_was_never_made_does_not_stay(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    rig.hosts[A].errors["HostCreateVm"] = DatastoreFault("no space")
    made = CreateVm(operation_id="op", vm=VM2, cluster=CLUSTER, host=A, encrypted=True)
    rig.refused(made)
    rig.sleep(320)
    assert set(rig.hosts[A].cache) == set(rig.hosts[B].cache) == set(listed_keys(rig))
    rig.hosts[A].errors.clear()
    key = rig.do(made).vm.key
    rig.sleep(320)
    assert key in rig.hosts[A].cache and key in rig.hosts[B].cache


def test_a_key_that_was_still_on_its_way_does_not_arrive() -> None:
    """The VM is destroyed before the other hosts of its cluster have got its key."""
    rig = Rig(key_gather_s=20.0)
    rig.up(A, B)
    rig.vm()
    rig.sleep(40)
    made = rig.do(CreateVm(operation_id="op", vm=VM2, cluster=CLUSTER, host=A, encrypted=True)).vm
    rig.do(DestroyVm(vm=VM2))
    rig.sleep(60)
    assert rig.key_of() in rig.hosts[B].cache
    assert made.key is not None
    assert made.key not in rig.hosts[A].cache and made.key not in rig.hosts[B].cache
    rig.healthy()
    rig.close()


def test_a_host_of_another_cluster_has_no_say(rig: Rig) -> None:
    """It has a VM of the same name on its own datastore, or asks for a key of ours that way."""
    elsewhere = ClusterName("cluster-2")
    rig.up(A)
    rig.host(B, cluster=elsewhere)
    rig.vm()
    key = rig.key_of()
    rig.hosts[B].vms[VM] = VmRecord(power=PowerState.ON)
    rig.hosts[B].files[VM2] = VmRecord(keys=(key,))
    rig.sleep(15)
    assert rig.vm_info().host == A
    there = RegisterVm(vm=VM, cluster=elsewhere, host=B)
    assert isinstance(rig.refused(there), AlreadyExists)
    mark = rig.mark()
    theft = RegisterVm(vm=VM2, cluster=elsewhere, host=B)
    assert isinstance(rig.refused(theft), InvalidState)
    assert rig.ids(mark) == [EventTypeId.HOST_SEND_KEY_ERROR]
    rig.sleep(320)
    assert key not in rig.hosts[B].cache and VM2 not in rig.hosts[B].vms
    rig.do(UnregisterVm(vm=VM))
    rig.sleep(5)
    assert VM in rig.hosts[B].vms, "it is another VM, which only has the same name"
