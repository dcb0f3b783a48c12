"""What hosts are brought of native providers, over every way of not having it (NKP-02, NKP-15)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from protocol.errors import Busy, InvalidState
from protocol.events import EventTypeId as E
from protocol.messages.vcenter.inventory import ConfigureCryptoKey
from protocol.messages.vcenter.providers import (
    CreateNativeProvider,
    UnregisterKmsCluster,
    UpdateNativeProvider,
)
from protocol.terms import CryptoKeyId, HostCryptoState, KeyId, ProviderHealth, ProviderId
from services.vcenter.providers.native import NOT_ON_ALL_HOSTS
from services.vcenter.providers.stored_secrets import SYMKEY
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import A, P, Rig
from tests.services.vcenter.test_native import NKP, UUID, create, export, listed


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def test_a_host_that_was_listed_without_a_kdk_gets_it_when_vcenter_can_open_it_again(
    rig: Rig,
) -> None:
    """The list alone is no sign of a KDK: the host says which it has."""
    create(rig)
    export(rig)
    disk = rig.services[VCENTER].disk
    symkey = rig.run(disk.read(SYMKEY))
    rig.run(disk.remove(SYMKEY))
    rig.run(disk.sync_folder())
    rig.reboot(VCENTER)
    rig.host(A)
    rig.sleep(20)
    assert rig.hosts[A].kdks == {}
    disk = rig.services[VCENTER].disk
    rig.run(disk.write(SYMKEY, symkey))
    rig.run(disk.sync(SYMKEY))
    rig.run(disk.sync_folder())
    rig.reboot(VCENTER)
    rig.sleep(20)
    assert listed(rig)[NKP].health is ProviderHealth.OK
    assert list(rig.hosts[A].kdks) == [NKP]


def test_a_key_of_a_provider_without_backup_is_no_host_key(rig: Rig) -> None:
    """NKP-05: also when an administrator names the key."""
    create(rig)
    rig.host(A)
    named = CryptoKeyId(KeyId("chosen"), NKP)
    refused = rig.refused(ConfigureCryptoKey(host=A, key=named))
    assert isinstance(refused, InvalidState) and "export it once" in str(refused)
    assert rig.hosts[A].host_key is None
    export(rig)
    rig.do(ConfigureCryptoKey(host=A, key=named))
    assert rig.hosts[A].host_key == named


def test_a_host_that_gets_a_tpm_gets_the_kdk_that_needs_one(rig: Rig) -> None:
    """NKP-12 excludes hosts without a TPM, and only as long as they have none."""
    create(rig, tpm_required=True)
    export(rig)
    rig.host(A)
    rig.sleep(20)
    assert rig.hosts[A].providers and rig.hosts[A].kdks == {}
    assert listed(rig)[NKP].health is ProviderHealth.OK  # nobody lacks it
    rig.hosts[A].tpm = True
    rig.reboot(A)
    rig.sleep(20)
    assert list(rig.hosts[A].kdks) == [NKP]


def test_a_host_that_lost_its_kdk_is_told_of_and_helped_by_the_next_pass(rig: Rig) -> None:
    create(rig)
    export(rig)
    rig.host(A)
    rig.sleep(20)
    rig.hosts[A].kdks.clear()
    rig.sleep(20)  # a heartbeat
    assert listed(rig)[NKP].details == (NOT_ON_ALL_HOSTS,)
    rig.sleep(301)
    assert list(rig.hosts[A].kdks) == [NKP]
    assert listed(rig)[NKP].health is ProviderHealth.OK


def test_a_vm_is_locked_when_the_kdk_does_not_reach_its_host_which_is_seen(rig: Rig) -> None:
    """LOCK-01: vCenter tried to bring the KDK, and cannot; the host itself says what it lacks."""
    create(rig)
    export(rig)
    rig.host(A)
    record = rig.hosts[A]
    record.makes_keys_of.add(NKP)
    rig.vm()
    mark = rig.mark()
    record.providers, record.kdks = (), {}
    record.cache.clear()
    record.errors["SetProviders"] = Busy("not now")
    rig.sleep(301)
    assert [one for one in rig.ids(mark) if "Crypto" in one] == [E.VM_LOCKED_KEY_MISSING_ON_HOST]
    del record.errors["SetProviders"]
    rig.sleep(60)  # the pass is tried again
    assert list(record.kdks) == [NKP]


def test_power_on_brings_the_kdk_before_it_makes_the_host_safe(rig: Rig) -> None:
    """STD-10 before STD-14: without the KDK the host cannot make its host key."""
    create(rig)
    export(rig)
    rig.host(A)
    rig.hosts[A].makes_keys_of.add(NKP)
    rig.vm()
    record = rig.hosts[A]
    record.providers, record.kdks, record.crypto_state = (), {}, HostCryptoState.PREPARED
    rig.sleep(12)  # a heartbeat: vCenter has seen it
    record.seen.clear()
    rig.power_on_vm()
    told = [name for name in record.seen if name in ("SetProviders", "CryptoManagerHostEnable")]
    assert told == ["SetProviders", "CryptoManagerHostEnable"]


def test_a_host_key_of_a_standard_provider_is_none_of_a_native_one_of_that_name(rig: Rig) -> None:
    """Nothing that hosts derive is that key: it is missing, and renewed (HEM-07)."""
    rig.up()
    rig.do(ConfigureCryptoKey(host=A))
    old = rig.hosts[A].host_key
    rig.do(UnregisterKmsCluster(provider=P))
    rig.do(CreateNativeProvider(provider=P, make_default=True))
    mark = rig.mark()
    export(rig, provider=P)
    rig.reboot(A)
    rig.sleep(20)
    assert rig.hosts[A].crypto_state is HostCryptoState.SAFE
    assert rig.hosts[A].host_key != old
    assert E.HOST_NEW_KEY_KEY_MISSING_ON_KMS in rig.ids(mark)


def test_all_are_backed_up_only_when_none_was_changed_since(rig: Rig) -> None:
    other = ProviderId("other")
    create(rig)
    export(rig)
    rig.do(UpdateNativeProvider(provider=NKP, key_id=UUID))
    rig.do(CreateNativeProvider(provider=other))
    mark = rig.mark()
    export(rig, provider=other)
    assert rig.ids(mark) == []
    export(rig)
    assert rig.ids(mark) == [E.KMS_ALL_BACKED_UP]


def test_a_provider_of_the_longest_name_can_be_backed_up(rig: Rig) -> None:
    longest = ProviderId("n" * 128)
    rig.do(CreateNativeProvider(provider=longest))
    export(rig, provider=longest)
    assert listed(rig)[longest].health is ProviderHealth.OK
