"""vCenter's part in a recrypt: what a refusal, a lost answer and a repeat leave (REK-04)."""

from __future__ import annotations

import pytest

from protocol.errors import (
    DatastoreFault,
    InvalidState,
    InvalidVmState,
    NotConnected,
    NotFound,
    ProductError,
)
from protocol.events import EventTypeId as E
from protocol.messages.vcenter.providers import RemoveKey
from protocol.messages.vcenter.vms import CreateVm, RecryptVm
from protocol.terms import CryptoKeyId, NodeName, VmName
from services.vcenter.tables import VmRow
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, P, Q, Rig

SECOND_KMS = NodeName("kms-2")
THERE = RecryptVm(operation_id="there", vm=VM, provider=Q)
BACK = RecryptVm(operation_id="back", vm=VM, provider=P)


@pytest.fixture
def ready(rig: Rig) -> Rig:
    rig.up(A, B)
    rig.provider(Q, (SECOND_KMS,))
    rig.vm()
    return rig


def row(rig: Rig) -> VmRow:
    return rig.vcenter.inventory.vms[VM]


def cached(rig: Rig, key: CryptoKeyId) -> list[bool]:
    return [key in rig.hosts[host].cache for host in (A, B)]


def test_what_certainly_failed_leaves_the_old_key_and_no_new_one_on_a_host(ready: Rig) -> None:
    """The repeat goes on with the key that was made, which leaves no host any more."""
    rig, old = ready, ready.key_of()
    held = set(rig.hosts[A].cache)
    rig.hosts[A].errors["HostRecryptVm"] = DatastoreFault("No space left on device")
    mark = rig.mark()
    assert isinstance(rig.refused(THERE), DatastoreFault)
    assert rig.ids(mark) == [E.VM_NO_DISK_SPACE]
    assert (row(rig).keys, row(rig).recrypting) == ((old,), False)
    rig.sleep(400)  # STD-17, by the next pass
    assert set(rig.hosts[A].cache) == set(rig.hosts[B].cache) == held
    del rig.hosts[A].errors["HostRecryptVm"]
    made = len(rig.servers[SECOND_KMS].keys)
    done = rig.do(THERE)
    assert done.key.provider_id == Q and len(rig.servers[SECOND_KMS].keys) == made
    rig.sleep(400)
    assert cached(rig, done.key) == [True, True] and cached(rig, old) == [False, False]


def test_a_lost_answer_is_made_good_by_the_hosts_report(ready: Rig) -> None:
    """And a repeat tells of it, once."""
    rig, old = ready, ready.key_of()
    rig.hosts[A].silent = True
    assert isinstance(rig.refused(THERE), ProductError)
    rig.reboot(VCENTER)
    rig.sleep(60)
    assert row(rig).keys != (old,) and not row(rig).recrypting
    mark = rig.mark()
    again = rig.do(THERE)
    assert (again.old, row(rig).keys) == ((old,), (again.key,))
    assert rig.do(THERE) == again
    assert rig.ids(mark).count(E.CRYPTO_OPERATION) == 1
    rig.sleep(400)
    assert cached(rig, old) == [False, False] and cached(rig, again.key) == [True, True]


def test_a_repeat_is_not_told_of_another_tasks_key(ready: Rig) -> None:
    """One that failed is not done because another one was; one that was done stays it."""
    rig = ready
    rig.hosts[A].errors["HostRecryptVm"] = DatastoreFault("no")
    assert isinstance(rig.refused(THERE), DatastoreFault)
    del rig.hosts[A].errors["HostRecryptVm"]
    back = rig.do(BACK)
    assert back.key.provider_id == P and row(rig).keys == (back.key,)
    refused = rig.refused(THERE)
    assert isinstance(refused, InvalidState) and "recrypt it anew" in str(refused)
    assert row(rig).keys == (back.key,)
    later = rig.do(RecryptVm(operation_id="later", vm=VM, provider=Q))
    assert rig.do(BACK).old == back.old and row(rig).keys == (later.key,)


def test_a_disk_alone_leaves_the_rest_as_it_is(ready: Rig) -> None:
    """KEY-04: it is told, and the key of the rest stays on the hosts."""
    rig, old = ready, ready.key_of()
    mark = rig.mark()
    done = rig.do(RecryptVm(operation_id="disk", vm=VM, provider=Q, disk=2))
    assert row(rig).keys == (old, done.key) and done.key.provider_id == Q
    assert rig.ids(mark).count(E.VM_DISKCHAIN_USING_MIXED_KEYS) == 1
    assert rig.do(RecryptVm(operation_id="disk", vm=VM, provider=Q, disk=2)) == done
    rig.sleep(400)
    assert cached(rig, old) == cached(rig, done.key) == [True, True]
    whole = rig.do(THERE)
    assert row(rig).keys == (whole.key,) and whole.old == (old, done.key)
    rig.sleep(400)
    assert cached(rig, old) == cached(rig, done.key) == [False, False]


def test_a_key_that_another_vm_has_stays_on_the_hosts(ready: Rig) -> None:
    rig, old = ready, ready.key_of()
    rig.hosts[A].vms[VmName("clone")] = type(rig.hosts[A].vms[VM])(keys=(old,))
    rig.sleep(400)
    rig.do(THERE)
    rig.sleep(400)
    assert cached(rig, old) == [True, True]


def test_a_vm_whose_key_was_removed_by_force_is_refused(ready: Rig) -> None:
    """REK-05: by the name of the key, and no new one is made."""
    rig, old = ready, ready.key_of()
    assert old is not None
    rig.do(RemoveKey(key=old, force=True))
    rig.sleep(5)
    made = len(rig.servers[SECOND_KMS].keys)
    refused = rig.refused(THERE)
    assert isinstance(refused, InvalidVmState) and refused.keys == (old,)
    assert row(rig).keys == (old,) and len(rig.servers[SECOND_KMS].keys) == made


def test_without_its_host_nothing_is_made(ready: Rig) -> None:
    rig = ready
    rig.power_off(A)
    rig.sleep(60)
    made = len(rig.servers[SECOND_KMS].keys)
    assert isinstance(rig.refused(THERE), NotConnected | ProductError)
    assert len(rig.servers[SECOND_KMS].keys) == made and not row(rig).recrypting


def test_a_vm_in_clear_is_none_to_recrypt(ready: Rig) -> None:
    rig, clear = ready, VmName("clear")
    rig.do(CreateVm(operation_id="clear", vm=clear, cluster=CLUSTER, host=A))
    made = len(rig.servers[KMS].keys)
    for disk in (None, 1):
        message = RecryptVm(operation_id=f"clear-{disk}", vm=clear, disk=disk)
        assert isinstance(rig.refused(message), InvalidState)
    assert len(rig.servers[KMS].keys) == made


def test_for_a_disk_that_is_not_there_nothing_is_begun(ready: Rig) -> None:
    """Its number may be mistyped: no key, no row, no event, and its id is free."""
    rig, old = ready, ready.key_of()
    mark, made = rig.mark(), len(rig.servers[SECOND_KMS].keys)
    message = RecryptVm(operation_id="disk", vm=VM, provider=Q, disk=9)
    assert isinstance(rig.refused(message), NotFound)
    assert len(rig.servers[SECOND_KMS].keys) == made and rig.ids(mark) == []
    assert row(rig).keys == (old,)
    assert rig.do(RecryptVm(operation_id="disk", vm=VM, provider=Q, disk=2)).key.provider_id == Q
