"""The unlock action, power-on of locked VMs, and the knob for unlocking by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from protocol.errors import EncryptionKeyRequired, InvalidState, InvalidVmState
from protocol.events import EventTypeId as E
from protocol.messages.host.crypto import AddKeys
from protocol.messages.vcenter.inventory import ConfigureCryptoKey
from protocol.messages.vcenter.providers import UnregisterKmsCluster
from protocol.messages.vcenter.vms import CryptoUnlock, PowerOnVm
from protocol.terms import PowerState, VmCryptoState, VmName
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import KMS, VM, A, P, Rig


@pytest.fixture
def by_hand() -> Iterator[Rig]:
    made = Rig(auto_unlock=False)
    yield made
    made.healthy()
    made.close()


def lock(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    rig.cut((VCENTER, KMS))
    rig.reboot(A)
    rig.sleep(60)
    assert rig.vm_info().crypto is VmCryptoState.LOCKED


def test_unlock_when_it_is_cured_and_when_it_is_not(rig: Rig) -> None:
    lock(rig)
    assert isinstance(rig.refused(CryptoUnlock(vm=VM)), InvalidVmState)
    rig.heal()
    mark = rig.mark()
    vm = rig.do(CryptoUnlock(vm=VM)).vm
    assert (vm.crypto, vm.power) == (VmCryptoState.UNLOCKED, PowerState.OFF)
    assert rig.ids(mark) == [E.HOST_CRYPTO_ENABLED, E.VM_UNLOCKED]
    assert rig.do(CryptoUnlock(vm=VM)).vm == vm  # twice is once


def test_unlock_without_its_provider(rig: Rig) -> None:
    lock(rig)
    rig.do(UnregisterKmsCluster(provider=P))
    rig.heal()
    assert isinstance(rig.refused(CryptoUnlock(vm=VM)), InvalidState)


def test_unlock_of_an_unencrypted_vm(rig: Rig) -> None:
    rig.up(A)
    rig.vm(encrypted=False)
    assert isinstance(rig.refused(CryptoUnlock(vm=VM)), InvalidState)


def test_power_on_asks_the_provider_now_and_hands_on_the_hosts_refusal(rig: Rig) -> None:
    lock(rig)
    error = rig.refused(PowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired) and error.keys == (rig.key_of(),)
    assert rig.hosts[A].seen[-1] != "AddKeys"
    rig.heal()
    assert rig.power_on_vm().power is PowerState.ON  # no wait for a health check
    assert rig.vm_info().crypto is VmCryptoState.UNLOCKED


def test_power_on_with_the_key_in_the_cache_moves_no_key(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    before, asked = len(rig.sent), len(rig.servers[KMS].asked)
    rig.power_on_vm()
    assert [name for _, to, name in rig.requests(before) if to == A] == [
        "GetCryptoKeyStatus",
        "HostPowerOnVm",
    ]
    assert len(rig.servers[KMS].asked) == asked  # R2


def test_kms_back_unlocks_at_the_next_check(rig: Rig) -> None:
    lock(rig)
    rig.sleep(100)
    rig.heal()
    assert rig.vm_info().missing == (rig.key_of(),)
    rig.sleep(310)
    assert rig.vm_info().crypto is VmCryptoState.UNLOCKED and rig.vm_info().missing == ()
    assert rig.vm_info().power is PowerState.OFF


def test_without_the_knob_nothing_unlocks_by_itself(by_hand: Rig) -> None:
    rig = by_hand
    lock(rig)
    rig.heal()
    rig.sleep(700)
    assert rig.key_of() in rig.hosts[A].cache  # repaired, and the mark stays
    assert rig.vm_info().crypto is VmCryptoState.LOCKED
    rig.do(ConfigureCryptoKey(host=A))
    assert rig.vm_info().crypto is VmCryptoState.UNLOCKED


def test_without_the_knob_the_action_unlocks(by_hand: Rig) -> None:
    rig = by_hand
    lock(rig)
    rig.heal()
    rig.sleep(700)
    assert rig.do(CryptoUnlock(vm=VM)).vm.crypto is VmCryptoState.UNLOCKED
    assert rig.power_on_vm().power is PowerState.ON


def test_bulk_push_is_cut_by_count_and_asks_once_per_key() -> None:
    """Five keys a message: 12 VMs make 3 requests each way, host key aside."""
    rig = Rig(config={"keys_at_once": 5})
    rig.up(A)
    names = [VmName(f"vm-{n:02d}") for n in range(12)]
    for name in names:
        rig.vm(name)
    asked = len(rig.servers[KMS].asked)
    seen = len(rig.hosts[A].seen)
    rig.reboot(A)
    rig.sleep(30)
    assert [len(ids) for ids in rig.servers[KMS].asked[asked:]] == [1, 5, 5, 2]
    assert rig.hosts[A].seen[seen:].count(AddKeys.__name__) == 3
    rig.healthy()
    rig.close()


def test_a_health_check_that_finds_the_kms_back_repairs_at_once() -> None:
    """LOCK-05: it recovers at the next check, however far the next reconcile is."""
    rig = Rig(remediation_interval_s=100_000)
    lock(rig)
    rig.heal()
    rig.sleep(310)
    assert rig.vm_info().crypto is VmCryptoState.UNLOCKED
    rig.healthy()
    rig.close()


def test_each_key_of_a_bulk_push_comes_with_its_own_value(rig: Rig) -> None:
    rig.up(A)
    names = [VmName(f"vm-{number}") for number in range(3)]
    for name in names:
        rig.vm(name)
    rig.reboot(A)
    rig.sleep(30)
    keys = {rig.key_of(name) for name in names}
    got = {key.key_id: rig.hosts[A].cache[key] for key in keys}
    assert got == {key.key_id: rig.servers[KMS].keys[key.key_id][0] for key in keys}
    assert len(set(map(bytes, got.values()))) == 3
