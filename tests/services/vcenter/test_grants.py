"""A host gets keys that a task gave to its cluster, and no other one, whatever it lists (C28).

The host under test is a scripted one in another cluster, or in the same one: it lists VMs that name
keys in every state that a key can be in. What reaches it, lies in its cache.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from protocol.authorization import Privilege
from protocol.errors import InvalidState, NoPermission
from protocol.events import EventTypeId
from protocol.messages.vcenter.inventory import AddHost, ConfigureCryptoKey, RemoveHost
from protocol.messages.vcenter.providers import GenerateKey, RemoveKey
from protocol.messages.vcenter.vms import (
    CloneVm,
    CryptoUnlock,
    DecryptVm,
    DestroyVm,
    EncryptVm,
    RecryptVm,
    RegisterVm,
    UnregisterVm,
)
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    KmipState,
    NodeName,
    VmCryptoState,
    VmName,
)
from services.vcenter.inventory import drop
from services.vcenter.tables import DatabaseTable
from tests.services.vcenter.peers import VCENTER, VmRecord
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, C, Rig

OTHER = ClusterName("other")
SPY, COPY = VmName("spy"), VmName("copy")


def in_use(rig: Rig) -> CryptoKeyId:
    return rig.key_of()


def unregistered(rig: Rig) -> CryptoKeyId:
    key = rig.key_of()
    rig.do(UnregisterVm(vm=VM))
    return key


def vm_destroyed(rig: Rig) -> CryptoKeyId:
    key = rig.key_of()
    rig.do(DestroyVm(vm=VM))
    return key


def before_a_recrypt(rig: Rig) -> CryptoKeyId:
    key = rig.key_of()
    rig.do(RecryptVm(operation_id="recrypt", vm=VM))
    assert rig.key_of() != key
    return key


def before_a_decrypt(rig: Rig) -> CryptoKeyId:
    key = rig.key_of()
    rig.do(DecryptVm(vm=VM))
    return key


def destroyed(rig: Rig) -> CryptoKeyId:
    key = rig.key_of()
    rig.servers[KMS].set_state(key.key_id, KmipState.DESTROYED)
    return key


def forgotten(rig: Rig) -> CryptoKeyId:
    key = rig.key_of()
    rig.do(RemoveKey(key=key, force=True))
    return key


def never_given(rig: Rig) -> CryptoKeyId:
    """A key that the key server has, and that is of no VM: another client's, say."""
    key = rig.do(GenerateKey(operation_id="unused")).key
    assert key is not None
    return key


def a_host_key(rig: Rig) -> CryptoKeyId:
    key = rig.vcenter.inventory.clusters[CLUSTER].host_key
    assert key is not None
    return key


STATES: tuple[Callable[[Rig], CryptoKeyId], ...] = (
    in_use,
    unregistered,
    vm_destroyed,
    before_a_recrypt,
    before_a_decrypt,
    destroyed,
    forgotten,
    never_given,
    a_host_key,
)


def liars(rig: Rig) -> None:
    """Hosts A and C in one cluster, with a VM on A; host B in another one."""
    rig.up(A, C)
    rig.host(B, cluster=OTHER)
    rig.vm(host=A)


def lie(rig: Rig, host: NodeName, key: CryptoKeyId) -> None:
    """The host boots with an empty cache, and lists a VM that names the key."""
    rig.sleep(60)  # what is to leave the hosts has left them
    rig.hosts[host].vms[SPY] = VmRecord(keys=(key,))
    rig.reboot(host)
    rig.sleep(700)


@pytest.mark.parametrize("state", STATES)
def test_a_host_of_another_cluster_gets_no_key(
    rig: Rig, state: Callable[[Rig], CryptoKeyId]
) -> None:
    liars(rig)
    key = state(rig)
    lie(rig, B, key)
    assert key not in rig.hosts[B].cache


@pytest.mark.slow
@pytest.mark.parametrize("state", [s for s in STATES if s not in (in_use, a_host_key)])
def test_a_host_of_the_same_cluster_gets_no_key_that_its_cluster_does_not_need(
    rig: Rig, state: Callable[[Rig], CryptoKeyId]
) -> None:
    liars(rig)
    key = state(rig)
    lie(rig, C, key)
    assert key not in rig.hosts[C].cache


def test_a_host_of_the_same_cluster_has_the_keys_of_its_cluster(rig: Rig) -> None:
    """STD-12: the boundary is the cluster."""
    liars(rig)
    rig.reboot(C)
    rig.sleep(60)
    assert rig.key_of() in rig.hosts[C].cache


def test_a_vm_that_a_host_makes_up_does_not_take_the_host_key_away(rig: Rig) -> None:
    """With the host key of its own cluster; unregistering a VM takes its keys from the hosts."""
    liars(rig)
    key = a_host_key(rig)
    rig.hosts[C].vms[SPY] = VmRecord(keys=(key,))
    rig.sleep(60)
    rig.do(UnregisterVm(vm=SPY))
    rig.sleep(700)
    assert key in rig.hosts[A].cache and key in rig.hosts[C].cache


@pytest.mark.parametrize("host_key", [True, False])
def test_a_host_key_on_a_hosts_word_alone_is_not_delivered(rig: Rig, host_key: bool) -> None:
    """In a cluster without host key, as in a vCenter that was rebuilt."""
    liars(rig)
    key = a_host_key(rig) if host_key else unregistered(rig)
    rig.hosts[B].host_key = key
    rig.hosts[B].crypto_state = rig.hosts[A].crypto_state
    rig.sleep(60)
    rig.reboot(B)
    rig.sleep(60)
    rig.do(ConfigureCryptoKey(host=B))
    assert key not in rig.hosts[B].cache
    mine = rig.vcenter.inventory.clusters[OTHER].host_key
    assert rig.hosts[B].host_key == mine and mine in rig.hosts[B].cache


def rebuilt(rig: Rig) -> CryptoKeyId:
    """As a vCenter that was rebuilt knows the VM: its host lists it, and no task gave its key."""
    liars(rig)
    key = rig.key_of()
    rows = [
        drop(DatabaseTable.VM, VM),
        *(drop(DatabaseTable.GRANT, name) for name in rig.vcenter.inventory.grants),
    ]
    rig.run(rig.vcenter.inventory.commit(*rows))
    rig.sleep(30)
    assert rig.vm_info().host == A, "its host has brought it in"
    return key


def test_what_a_host_has_is_used_though_nobody_gave_it(rig: Rig) -> None:
    rebuilt(rig)
    assert rig.vm_info().crypto is VmCryptoState.UNLOCKED
    assert rig.power_on_vm().host == A


def test_an_unknown_key_comes_when_somebody_unlocks_the_vm(rig: Rig) -> None:
    key, mark = rebuilt(rig), rig.mark()
    rig.reboot(A)
    rig.sleep(700)
    assert key not in rig.hosts[A].cache
    info = rig.vm_info()
    assert info.lock_event is EventTypeId.VM_LOCKED_KEY_MISSING_ON_HOST
    told = [e for e in rig.events(mark) if e.event is EventTypeId.HOST_SEND_KEY_ERROR]
    assert [(event.host, event.keys) for event in told] == [(A, (key,))]
    assert "was not given" in told[0].text and VM in told[0].text
    rig.do(ConfigureCryptoKey(host=A))
    assert key not in rig.hosts[A].cache, "the host's mode is no word on its VMs"
    assert rig.do(CryptoUnlock(vm=VM)).vm.crypto is VmCryptoState.UNLOCKED
    assert key in rig.hosts[A].cache
    rig.reboot(C)
    rig.sleep(60)
    assert key in rig.hosts[C].cache, "it is its cluster's now"


def test_an_unknown_key_comes_when_somebody_registers_the_vm(rig: Rig) -> None:
    key = rebuilt(rig)
    rig.reboot(A)
    rig.sleep(60)
    mallory = rig.user("mallory", Privilege.REGISTER_VM)
    assert isinstance(rig.refused(RegisterVm(vm=VM, cluster=CLUSTER), mallory), NoPermission)
    assert key not in rig.hosts[A].cache
    assert rig.do(RegisterVm(vm=VM, cluster=CLUSTER)).vm.crypto is VmCryptoState.UNLOCKED
    assert key in rig.hosts[A].cache


def test_a_vm_that_was_unregistered_comes_back_with_its_key(rig: Rig) -> None:
    liars(rig)
    key = unregistered(rig)
    rig.sleep(60)
    assert key not in rig.hosts[A].cache
    assert rig.do(RegisterVm(vm=VM, cluster=CLUSTER, host=A)).vm.crypto is VmCryptoState.UNLOCKED
    assert key in rig.hosts[A].cache


def test_a_vm_that_was_unregistered_is_registered_in_another_cluster(rig: Rig) -> None:
    liars(rig)
    key = unregistered(rig)
    rig.sleep(60)
    rig.hosts[B].files[VM] = rig.hosts[A].files.pop(VM)
    rig.do(RegisterVm(vm=VM, cluster=OTHER))
    rig.sleep(60)
    assert key in rig.hosts[B].cache
    rig.hosts[A].vms[VM] = VmRecord(keys=(key,))
    rig.reboot(A)
    rig.sleep(700)
    assert key not in rig.hosts[A].cache and rig.vm_info().host == B


@pytest.mark.slow
@pytest.mark.parametrize("state", [s for s in STATES if s is not never_given])
@pytest.mark.parametrize("act", [RegisterVm, CryptoUnlock])
def test_whoever_registers_or_unlocks_a_vm_gives_no_key_of_another_one(
    rig: Rig, act: type, state: Callable[[Rig], CryptoKeyId]
) -> None:
    """The host names the key of a VM that somebody acts on. It names another VM's key."""
    liars(rig)
    key = state(rig)
    rig.sleep(60)
    rig.hosts[B].files[SPY] = VmRecord(keys=(key,))
    mark = rig.mark()
    if act is CryptoUnlock:  # in the inventory with a key of its own, before it lies
        rig.hosts[B].vms[SPY] = VmRecord(keys=(never_given(rig),))
        rig.sleep(60)
        rig.hosts[B].vms[SPY].keys = (key,)
        rig.reboot(B)
        rig.sleep(60)
        refused = rig.refused(CryptoUnlock(vm=SPY))
    else:
        refused = rig.refused(RegisterVm(vm=SPY, cluster=OTHER))
        assert SPY not in rig.hosts[B].vms
    assert isinstance(refused, InvalidState) and "belong to others" in str(refused)
    rig.sleep(60)
    assert key not in rig.hosts[B].cache
    assert EventTypeId.HOST_SEND_KEY_ERROR in rig.ids(mark)


def test_a_clone_keeps_its_key_when_its_source_goes(rig: Rig) -> None:
    liars(rig)
    key = rig.key_of()
    rig.do(CloneVm(operation_id="clone", source=VM, vm=COPY, host=A))
    rig.do(UnregisterVm(vm=VM))
    rig.reboot(C)
    rig.sleep(60)
    assert key in rig.hosts[C].cache
    rig.do(UnregisterVm(vm=COPY))
    rig.sleep(60)
    lie(rig, C, key)
    assert key not in rig.hosts[C].cache


def test_a_host_that_makes_a_clone_gives_it_no_other_key(rig: Rig) -> None:
    """The clone's keys are those of its source, and not what its host says."""
    liars(rig)
    key = unregistered(rig)
    rig.vm(SPY, host=C)
    rig.sleep(60)
    rig.hosts[C].vms[COPY] = VmRecord(keys=(key, rig.key_of(SPY)))
    rig.do(CloneVm(operation_id="clone", source=SPY, vm=COPY, host=C))
    rig.sleep(60)
    assert key not in rig.hosts[C].cache and rig.key_of(SPY) in rig.hosts[C].cache


def test_a_host_that_is_removed_and_added_brings_its_vms_with_their_keys(rig: Rig) -> None:
    liars(rig)
    key = rig.key_of()
    rig.do(RemoveHost(host=A))
    rig.reboot(A)
    rig.do(AddHost(host=A, cluster=CLUSTER))
    rig.sleep(60)
    assert key in rig.hosts[A].cache


def test_a_host_that_comes_to_another_cluster_brings_no_keys(rig: Rig) -> None:
    """Its VMs are locked there until somebody unlocks them."""
    liars(rig)
    key = rig.key_of()
    rig.do(RemoveHost(host=A))
    rig.reboot(A)
    rig.do(AddHost(host=A, cluster=OTHER))
    rig.sleep(700)
    assert key not in rig.hosts[A].cache and key not in rig.hosts[B].cache
    rig.do(CryptoUnlock(vm=VM))
    assert key in rig.hosts[A].cache


def test_a_grant_outlives_vcenter(rig: Rig) -> None:
    liars(rig)
    rig.reboot(VCENTER)
    lie(rig, B, rig.key_of())
    rig.reboot(C)
    rig.sleep(60)
    assert rig.key_of() in rig.hosts[C].cache and rig.key_of() not in rig.hosts[B].cache


def test_a_key_that_was_made_before_vcenter_fell_is_given_afterwards(rig: Rig) -> None:
    """The VM's encryption ends on its host, and vCenter falls before it records that."""
    liars(rig)
    rig.vm(SPY, host=C, encrypted=False)
    before = set(rig.servers[KMS].keys)
    asked = rig.loop.create_task(rig.ask(EncryptVm(operation_id="cut short", vm=SPY)))
    while not rig.hosts[C].vms[SPY].keys:
        rig.sleep(0.001)
    rig.reboot(VCENTER)
    asked.cancel()
    rig.sleep(30)
    [made] = set(rig.servers[KMS].keys) - before
    assert rig.key_of(SPY).key_id == made
    rig.reboot(C)
    rig.sleep(60)
    assert rig.key_of(SPY) in rig.hosts[C].cache
