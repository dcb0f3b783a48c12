"""Each missing key is judged on its own: what is wrong with one decides nothing for the others."""

from __future__ import annotations

import pytest

from protocol.errors import (
    Busy,
    GeneralFailure,
    OperationNotSupported,
    PermissionDenied,
    ProductError,
)
from protocol.events import EventTypeId as E
from protocol.messages.vcenter.inventory import ConfigureCryptoKey
from protocol.messages.vcenter.providers import GenerateKey, MarkDefault, QueryCryptoKeyStatus
from protocol.terms import (
    CryptoKeyId,
    KeyId,
    KeyUnavailableReason,
    KmipState,
    NodeName,
    PowerState,
    VmCryptoState,
    VmName,
)
from services.vcenter.inventory import change_vm
from services.vcenter.key_use import grant_keys
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, P, Q, Rig

VM2 = VmName("vm-02")
OTHER = NodeName("other-kms")


def two_providers(rig: Rig) -> tuple[CryptoKeyId, CryptoKeyId]:
    """Host A with a VM of each provider; the keys of both."""
    rig.up(A)
    rig.provider(Q, (OTHER,))
    rig.vm(VM)
    rig.do(MarkDefault(provider=Q))
    rig.vm(VM2)
    rig.do(MarkDefault(provider=P))
    return rig.key_of(VM), rig.key_of(VM2)


def two_keys(rig: Rig) -> tuple[CryptoKeyId, CryptoKeyId]:
    """One VM that needs a key of each provider: home and disk."""
    home, _ = two_providers(rig)
    disk = rig.do(GenerateKey(operation_id="disk", provider=Q)).key
    assert disk is not None
    rig.hosts[A].vms[VM].keys = (home, disk)
    rig.run(
        rig.vcenter.inventory.commit(
            change_vm(VM, keys=(home, disk)), *grant_keys(VM, CLUSTER, (disk,))
        )
    )
    return home, disk


def test_a_key_server_that_answers_with_an_error_stops_nobody_elses_keys(rig: Rig) -> None:
    first, second = two_providers(rig)
    rig.servers[KMS].errors["GetKeys"] = GeneralFailure("the storage refused")
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(60)
    assert second in rig.hosts[A].cache and first not in rig.hosts[A].cache
    assert rig.vm_info(VM2).crypto is VmCryptoState.UNLOCKED
    assert rig.vm_info(VM).lock_event is E.VM_LOCKED_KEY_MISSING_ON_KMS
    assert rig.ids(mark).count(E.VM_LOCKED_KEY_MISSING_ON_KMS) == 1
    rig.servers[KMS].errors.clear()
    rig.sleep(330)
    assert rig.vm_info(VM).crypto is VmCryptoState.UNLOCKED


def test_one_damaged_key_of_many_is_the_only_one_that_does_not_come(rig: Rig) -> None:
    rig.up(A)
    names = [VmName(f"vm-{number}") for number in range(7)]
    for name in names:
        rig.vm(name)
    damaged = rig.key_of(names[4])
    rig.servers[KMS].damaged.add(damaged.key_id)
    rig.reboot(A)
    rig.sleep(30)
    here = [name for name in names if rig.key_of(name) in rig.hosts[A].cache]
    assert here == [name for name in names if name != names[4]]
    assert [name for name in names if rig.vm_info(name).lock_event is not None] == [names[4]]
    status = rig.do(QueryCryptoKeyStatus(keys=(damaged, rig.key_of(names[0])))).keys
    assert [entry.available for entry in status] == [True, True]  # its state is as it was


def test_the_event_names_the_provider_of_the_key_that_decided(rig: Rig) -> None:
    """The home's provider is only silent; the disk's key is destroyed, which is worse."""
    home, disk = two_keys(rig)
    rig.cut((VCENTER, KMS))
    rig.servers[OTHER].set_state(disk.key_id, KmipState.DESTROYED)
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(60)
    locked = next(e for e in rig.events(mark) if e.event is E.VM_LOCKED_KEY_MISSING_ON_KMS)
    assert (locked.vm, locked.provider, locked.keys) == (VM, Q, (home, disk))
    first, second = locked.text.split("; ")
    assert str(disk) in first and "KeyStateMissingInKMS" in first and str(home) not in first
    assert str(home) in second and "KeyStateClusterUnreachable" in second


def test_a_second_key_that_goes_missing_later_is_noticed(rig: Rig) -> None:
    """The VM is marked for its home's key already; the disk's is missed at the next heartbeat."""
    home, disk = two_keys(rig)
    rig.servers[KMS].set_state(home.key_id, KmipState.DESTROYED)
    rig.reboot(A)
    rig.sleep(60)
    assert rig.vm_info(VM).missing == (home,)
    rig.servers[OTHER].set_state(disk.key_id, KmipState.DESTROYED)
    del rig.hosts[A].cache[disk]
    rig.sleep(25)
    assert rig.vm_info(VM).missing == (home, disk)


def test_a_second_key_that_goes_missing_later_and_can_be_had_is_brought(rig: Rig) -> None:
    home, disk = two_keys(rig)
    rig.servers[KMS].set_state(home.key_id, KmipState.DESTROYED)
    rig.reboot(A)
    rig.sleep(60)
    del rig.hosts[A].cache[disk]
    rig.sleep(25)
    assert disk in rig.hosts[A].cache
    assert rig.vm_info(VM).missing == (home,)


def test_another_providers_missing_key_is_told_although_the_host_key_cannot_be_had(
    rig: Rig,
) -> None:
    """B has no VM of its own, and is not safe for want of the first provider's host key."""
    _, second = two_providers(rig)
    rig.servers[OTHER].set_state(second.key_id, KmipState.DESTROYED)
    rig.cut((VCENTER, KMS))
    mark = rig.mark()
    rig.host(B)
    rig.sleep(30)
    told = {e.event: e.keys for e in rig.events(mark) if e.host == B}
    assert set(told) == {E.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR, E.KMS_SEND_KEY_ERROR_KEY_MISSING}
    assert told[E.KMS_SEND_KEY_ERROR_KEY_MISSING] == (second,)


def test_status_of_a_provider_that_fails_says_nothing_of_another(rig: Rig) -> None:
    first, second = two_providers(rig)
    rig.servers[KMS].errors["GetAttributes"] = GeneralFailure("the storage refused")
    gone = CryptoKeyId(KeyId("gone"), Q)
    found = rig.do(QueryCryptoKeyStatus(keys=(first, second, gone))).keys
    assert [status.reason for status in found] == [
        KeyUnavailableReason.MISSING_IN_KMS,
        None,
        KeyUnavailableReason.MISSING_IN_KMS,
    ]


@pytest.mark.parametrize("error", [GeneralFailure, OperationNotSupported, PermissionDenied, None])
def test_a_server_that_answers_and_does_not_tell_is_not_called_unreachable(
    rig: Rig, error: type[ProductError] | None
) -> None:
    """STD-20: the reason is *unreachable* when no server of the cluster answers, or believes."""
    rig.up(A)
    rig.vm(VM)
    if error is None:
        rig.cut((VCENTER, KMS))
    else:
        rig.servers[KMS].errors["GetAttributes"] = error("no")
    silent = error in (None, PermissionDenied)
    [status] = rig.do(QueryCryptoKeyStatus(keys=(rig.key_of(VM),))).keys
    assert status.reason is (
        KeyUnavailableReason.CLUSTER_UNREACHABLE if silent else KeyUnavailableReason.MISSING_IN_KMS
    )


@pytest.mark.parametrize("silent", [True, False])
def test_a_key_that_cannot_be_activated_now_is_not_called_inactive(rig: Rig, silent: bool) -> None:
    """STD-18: a server that goes silent in between has said nothing of the key's state."""
    rig.up(A)
    rig.vm(VM)
    rig.servers[KMS].set_state(rig.key_of(VM).key_id, KmipState.PRE_ACTIVE)
    error = Busy if silent else GeneralFailure
    rig.servers[KMS].errors["Activate"] = error("no")
    rig.reboot(A)
    rig.sleep(60)
    assert rig.vm_info(VM).lock_event is (
        E.VM_LOCKED_KMS_CLUSTER_ERROR if silent else E.VM_LOCKED_KEY_MISSING_ON_KMS
    )
    rig.servers[KMS].errors.clear()
    rig.sleep(330)
    assert rig.power_on_vm(VM).power is PowerState.ON


def test_a_host_key_that_a_server_refuses_to_make_is_no_invalid_provider(rig: Rig) -> None:
    """The provider is there (STD-20): a server that answers with an error cannot be used."""
    rig.provider()
    rig.host(A)
    rig.servers[KMS].errors["CreateKey"] = GeneralFailure("the storage refused")
    mark = rig.mark()
    error = rig.refused(ConfigureCryptoKey(host=A))
    assert "KeyStateClusterUnreachable" in str(error)
    told = [event.text for event in rig.events(mark)]
    assert told and not any("ClusterInvalid" in text for text in told)
    rig.servers[KMS].errors.clear()
    rig.do(ConfigureCryptoKey(host=A))
    assert rig.hosts[A].host_key is not None


def test_a_power_on_brings_every_key_that_the_vm_needs(rig: Rig) -> None:
    home, disk = two_keys(rig)
    for key in (home, disk):
        rig.hosts[A].cache.pop(key, None)
    assert rig.power_on_vm().power is PowerState.ON
    assert {home, disk} <= set(rig.hosts[A].cache)
