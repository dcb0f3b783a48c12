"""Keys as an administrator of vCenter handles them: made, added, removed; defaults; bad news."""

from __future__ import annotations

import pytest

from protocol.errors import (
    AlreadyExists,
    EncryptionKeyRequired,
    InvalidArgument,
    KeyProviderUnreachable,
    NotFound,
    ResourceInUse,
)
from protocol.events import EventTypeId as E
from protocol.messages.vcenter.inventory import ConfigureCryptoKey
from protocol.messages.vcenter.providers import (
    AddKey,
    GenerateKey,
    GetDefaultKmsCluster,
    ListKeys,
    ListKmsClusters,
    QueryCryptoKeyStatus,
    RemoveKey,
    SetDefaultKmsCluster,
    UnregisterKmsCluster,
)
from protocol.messages.vcenter.vms import CreateVm, EncryptVm, PowerOffVm, PowerOnVm
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    HostConnectionState,
    KeyId,
    KeyUnavailableReason,
    KmipState,
    NodeName,
    PowerState,
    ProviderId,
    VmCryptoState,
    VmName,
)
from services.vcenter.provider_health import compare
from services.vcenter.tables import CryptoKeyRow
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, P, Q, Rig

VM2 = VmName("vm-02")
KMS2 = NodeName("kms2")
R = KeyUnavailableReason


def generated(rig: Rig, operation: str = "g", provider: ProviderId | None = None) -> CryptoKeyId:
    made = rig.do(GenerateKey(operation_id=operation, provider=provider))
    assert made.success and made.key is not None
    return made.key


def listed(rig: Rig) -> set[CryptoKeyId]:
    return set(rig.do(ListKeys()).keys)


def reason(rig: Rig, key: CryptoKeyId) -> KeyUnavailableReason | None:
    (status,) = rig.do(QueryCryptoKeyStatus(keys=(key,))).keys
    assert status.available is (status.reason is None)
    return status.reason


# ---- making and listing -------------------------------------------------------------------


def test_a_generated_key_is_not_active_before_its_first_use(rig: Rig) -> None:
    rig.up(A)
    key = generated(rig)
    assert rig.servers[KMS].keys[key.key_id][1] is KmipState.PRE_ACTIVE
    assert reason(rig, key) is R.NOT_ACTIVE_OR_ENABLED
    assert listed(rig) == {key}
    rig.do(ConfigureCryptoKey(host=A, key=key))
    assert rig.servers[KMS].keys[key.key_id][1] is KmipState.ACTIVE
    assert reason(rig, key) is None
    assert generated(rig) == key  # a repeat of the operation


def test_a_key_that_nobody_uses_yet_is_no_bad_news(rig: Rig) -> None:
    rig.up(A)
    generated(rig)
    mark = rig.mark()
    rig.sleep(700)
    assert rig.ids(mark) == []


def test_keys_are_listed_in_pages(rig: Rig) -> None:
    rig.up(A)
    keys = sorted(generated(rig, f"g{number}") for number in range(4))
    first = rig.do(ListKeys(after=keys[1]))
    assert (first.keys, first.more) == (tuple(keys[2:]), False)


# ---- removing and adding ------------------------------------------------------------------


def test_a_key_in_use_is_not_forgotten_without_force(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    host_key = rig.hosts[A].host_key
    assert host_key is not None
    for key in (rig.key_of(), host_key):
        assert isinstance(rig.refused(RemoveKey(key=key)), ResourceInUse)
    assert listed(rig) == {rig.key_of(), host_key}


def test_an_unused_key_is_forgotten_and_stays_at_its_server(rig: Rig) -> None:
    rig.up(A)
    key = generated(rig)
    rig.do(RemoveKey(key=key))
    assert listed(rig) == set() and key.key_id in rig.servers[KMS].keys
    assert isinstance(rig.refused(RemoveKey(key=key)), InvalidArgument)
    assert isinstance(rig.refused(RemoveKey(key=key, force=True)), InvalidArgument)


def test_a_key_that_is_added_again_leaves_no_host_that_was_away(rig: Rig) -> None:
    """Nobody shall drop it any more: B has kept it over its boot."""
    rig.up(A, B)
    rig.vm()
    rig.hosts[B].persistence = True
    rig.power_off(B)
    rig.sleep(60)
    rig.do(RemoveKey(key=rig.key_of(), force=True))
    assert rig.vcenter.inventory.released
    rig.do(AddKey(key=rig.key_of()))
    assert not rig.vcenter.inventory.released
    rig.power_on(B)
    rig.sleep(30)
    assert rig.key_of() in rig.hosts[B].cache and "RemoveKeys" not in rig.hosts[B].seen


def test_a_key_removed_by_force_leaves_the_hosts_and_locks_at_the_next_need(rig: Rig) -> None:
    """SC-16: everything runs, then nothing starts; a reconnect does not repair it."""
    rig.up(A, B)
    rig.vm()
    rig.vm(VM2)
    key, other = rig.key_of(), rig.key_of(VM2)
    rig.power_on_vm()
    rig.do(RemoveKey(key=key, force=True))
    rig.sleep(10)
    assert key not in rig.hosts[A].cache and key not in rig.hosts[B].cache
    assert other in rig.hosts[A].cache
    assert rig.vm_info().power is PowerState.ON
    assert rig.vm_info().crypto is VmCryptoState.UNLOCKED  # it runs
    rig.do(RemoveKey(key=other, force=True))
    rig.sleep(10)
    assert rig.vm_info(VM2).missing == (other,)  # it is off
    asked = len(rig.servers[KMS].asked)
    rig.reboot(VCENTER)
    rig.sleep(400)
    rig.do(PowerOffVm(vm=VM))
    rig.sleep(10)
    assert rig.vm_info().crypto is VmCryptoState.LOCKED
    assert isinstance(rig.refused(PowerOnVm(vm=VM)), EncryptionKeyRequired)
    assert rig.ids()[-1] is E.VM_LOCKED_KEY_MISSING_ON_HOST
    rig.reboot(A)
    rig.sleep(400)
    assert not any(key.key_id in ids for ids in rig.servers[KMS].asked[asked:])
    assert rig.vm_info().crypto is VmCryptoState.LOCKED
    assert reason(rig, key) is R.MISSING_IN_CACHE
    assert key not in listed(rig)
    rig.do(AddKey(key=key))
    rig.sleep(10)
    assert rig.vm_info().crypto is VmCryptoState.UNLOCKED
    assert key in rig.hosts[A].cache and key in rig.hosts[B].cache
    rig.healthy()


def test_a_host_that_was_away_loses_a_removed_key_when_it_is_back(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    key = rig.key_of()
    rig.cut((VCENTER, B))
    rig.sleep(60)
    assert rig.host_info(B).connection is HostConnectionState.NOT_RESPONDING
    rig.do(RemoveKey(key=key, force=True))
    rig.sleep(10)
    assert key in rig.hosts[B].cache
    rig.heal()
    rig.sleep(700)
    assert key not in rig.hosts[B].cache


def test_what_is_added_is_a_key_of_a_provider_that_is_there(rig: Rig) -> None:
    rig.up(A)
    known = generated(rig)
    rig.servers[KMS].keys[KeyId("made outside")] = (b"x" * 32, KmipState.ACTIVE)
    outside = CryptoKeyId(KeyId("made outside"), P)
    assert isinstance(rig.refused(AddKey(key=known)), AlreadyExists)
    for wrong in (CryptoKeyId(KeyId("none"), P), CryptoKeyId(KeyId("none"), Q)):
        assert isinstance(rig.refused(AddKey(key=wrong)), InvalidArgument)
    rig.cut((VCENTER, KMS))
    assert isinstance(rig.refused(AddKey(key=outside)), KeyProviderUnreachable)
    rig.heal()
    assert listed(rig) == {known}
    rig.do(AddKey(key=outside))
    rig.reboot(VCENTER)
    rig.sleep(10)
    assert listed(rig) == {known, outside}


# ---- defaults of clusters -----------------------------------------------------------------


def default(rig: Rig, entity: ClusterName | None = None, parent: bool = True) -> ProviderId | None:
    return rig.do(GetDefaultKmsCluster(entity=entity, defaults_to_parent=parent)).provider


def test_a_cluster_may_have_a_default_of_its_own(rig: Rig) -> None:
    rig.up(A)
    rig.provider(Q, (KMS2,))
    assert (default(rig), default(rig, CLUSTER), default(rig, CLUSTER, False)) == (P, P, None)
    rig.do(SetDefaultKmsCluster(entity=CLUSTER, provider=Q))
    rig.reboot(VCENTER)
    rig.sleep(10)
    assert (default(rig), default(rig, CLUSTER), default(rig, CLUSTER, False)) == (P, Q, Q)
    infos = {info.provider: info for info in rig.do(ListKmsClusters()).providers}
    assert (infos[P].default, infos[P].default_of) == (True, ())
    assert (infos[Q].default, infos[Q].default_of) == (False, (CLUSTER,))
    rig.do(CreateVm(operation_id="c", vm=VM, cluster=CLUSTER, encrypted=True))
    assert rig.key_of().provider_id == Q
    host_key = rig.hosts[A].host_key
    assert host_key is not None and host_key.provider_id == Q
    assert generated(rig).provider_id == P  # of no cluster
    rig.do(UnregisterKmsCluster(provider=Q))
    assert (default(rig, CLUSTER), default(rig, CLUSTER, False)) == (P, None)
    rig.provider(Q, (KMS2,))
    assert default(rig, CLUSTER) == P  # until an administrator chooses
    rig.do(SetDefaultKmsCluster(entity=CLUSTER, provider=Q))
    rig.do(SetDefaultKmsCluster(entity=CLUSTER))
    rig.do(CreateVm(operation_id="d", vm=VM2, cluster=CLUSTER))
    assert rig.do(EncryptVm(operation_id="e", vm=VM2)).key.provider_id == P


def test_a_default_is_of_a_cluster_and_a_provider_that_are_there(rig: Rig) -> None:
    rig.up(A)
    none = ClusterName("none")
    assert isinstance(rig.refused(SetDefaultKmsCluster(entity=none, provider=P)), NotFound)
    assert isinstance(rig.refused(GetDefaultKmsCluster(entity=none)), NotFound)
    refused = rig.refused(SetDefaultKmsCluster(entity=CLUSTER, provider=Q))
    assert isinstance(refused, InvalidArgument)


# ---- LOCK-04 without automatic unlock -----------------------------------------------------


def test_a_marked_vm_that_was_powered_on_is_not_shown_locked() -> None:
    rig = Rig(auto_unlock=False)
    rig.up(A)
    rig.vm()
    key = rig.key_of()
    rig.cut((VCENTER, KMS))
    rig.reboot(A)
    rig.sleep(60)
    assert rig.vm_info().crypto is VmCryptoState.LOCKED
    rig.hosts[A].cache[key] = rig.servers[KMS].keys[key.key_id][0]  # by its administrator
    rig.power_on_vm()
    assert rig.vm_info().crypto is VmCryptoState.UNLOCKED
    assert (rig.vm_info().missing, rig.vm_info().alarms) == ((), ())
    rig.sleep(30)
    assert rig.ids()[-1] is E.VM_UNLOCKED
    rig.do(PowerOffVm(vm=VM))
    assert rig.vm_info().crypto is VmCryptoState.UNLOCKED
    rig.healthy()
    rig.close()


# ---- bad news of keys in use --------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (KmipState.DEACTIVATED, "KeyStateNotActiveOrEnabled"),
        (KmipState.COMPROMISED, "KeyStateNotActiveOrEnabled"),
        (KmipState.DESTROYED, "KeyStateMissingInKMS"),
    ],
)
def test_a_key_that_is_not_usable_any_more_is_told_once(
    rig: Rig, state: KmipState, why: str
) -> None:
    rig.up(A)
    rig.vm()
    rig.vm(VM2)
    rig.power_on_vm()
    key = rig.key_of()
    mark = rig.mark()
    rig.servers[KMS].set_state(key.key_id, state)
    rig.sleep(310)
    (event,) = rig.events(mark)
    assert (event.event, event.vm, event.provider) == (E.KMS_KEYS_UNUSABLE, VM, P)
    assert event.keys == (key,) and why in event.text and str(key) in event.text
    rig.sleep(700)
    rig.reboot(VCENTER)
    rig.sleep(700)
    assert rig.ids(mark) == [E.KMS_KEYS_UNUSABLE]
    assert rig.vm_info().power is PowerState.ON
    rig.servers[KMS].set_state(key.key_id, KmipState.ACTIVE)
    rig.sleep(310)
    rig.servers[KMS].set_state(key.key_id, state)
    rig.sleep(310)
    assert rig.ids(mark) == [E.KMS_KEYS_UNUSABLE] * 2


def test_a_silent_provider_is_no_news_of_its_keys(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    mark = rig.mark()
    rig.cut((VCENTER, KMS))
    rig.sleep(700)
    assert E.KMS_KEYS_UNUSABLE not in rig.ids(mark)


KEY = CryptoKeyId(KeyId("k"), P)


@pytest.mark.parametrize(
    ("before", "now", "told", "noted"),
    [
        (None, None, False, False),
        (None, R.NOT_ACTIVE_OR_ENABLED, True, True),
        (R.NOT_ACTIVE_OR_ENABLED, R.NOT_ACTIVE_OR_ENABLED, False, False),
        (R.NOT_ACTIVE_OR_ENABLED, R.MISSING_IN_KMS, True, True),
        (R.MISSING_IN_KMS, None, False, True),
        (None, R.CLUSTER_UNREACHABLE, False, False),
        (R.MISSING_IN_KMS, R.CLUSTER_UNREACHABLE, False, False),
    ],
)
def test_what_is_news_of_a_key(
    before: KeyUnavailableReason | None,
    now: KeyUnavailableReason | None,
    told: bool,
    noted: bool,
) -> None:
    rows = {str(KEY): CryptoKeyRow(name=str(KEY), key=KEY, trouble=before)} if before else {}
    found = compare(rows, [KEY], {KEY: now})
    assert (dict(found.news) == ({now: (KEY,)} if told else {})) and bool(found.edits) is noted
