"""Wrapped keys of a standard provider of vCenter 9.0 (KEY-07 to KEY-09)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from protocol.errors import (
    InvalidArgument,
    NotAvailable,
    WrappingKeyMissing,
    WrappingKeyNotActive,
)
from protocol.events import EventTypeId as E
from protocol.messages.vcenter.providers import (
    CryptoKeyStatus,
    GenerateKey,
    KeySpec,
    KmipServer,
    ListKmsClusters,
    ProviderKeys,
    QueryCryptoKeyStatus,
    RegisterKmsCluster,
)
from protocol.messages.vcenter.vms import EncryptVm, PowerOffVm, PowerOnVm, RecryptVm
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyId,
    KeyType,
    KeyUnavailableReason,
    KmipState,
    ManagementType,
    VmCryptoState,
    VmName,
)
from protocol.wrapped_keys import parse_wrapped
from tests.services.vcenter.rig import KMS, VM, A, B, P, Q, Rig

DAY_S = 86_400.0
RARE = {"heartbeat_s": 3600, "remediation_interval_s": DAY_S}
"""Many days pass: what happens every few minutes and is not looked at happens less often."""
VM2 = VmName("vm-02")
R = KeyUnavailableReason
WRAPPED = KeySpec(key_type=KeyType.WRAPPED)
RAW = KeySpec()


Make = Callable[..., Rig]


@pytest.fixture
def rig_of() -> Iterator[Make]:
    """Makes a vCenter of that version and with these knobs."""
    made: list[Rig] = []

    def make(version: str = "9.0", **knobs: Any) -> Rig:
        made.append(Rig(config={"version": version}, **knobs))
        return made[-1]

    yield make
    for rig in made:
        rig.healthy()
        rig.close()


@pytest.fixture
def rig(rig_of: Make) -> Rig:
    return rig_of()


def register(spec: KeySpec = WRAPPED, **fields: Any) -> RegisterKmsCluster:
    servers = (KmipServer(name=KMS, node=KMS),)
    return RegisterKmsCluster(provider=P, servers=servers, keys=spec, **fields)


def up(rig: Rig, *hosts: Any, spec: KeySpec = WRAPPED) -> None:
    rig.up(*hosts)
    rig.do(register(spec))


def wrapping_key_of(key: CryptoKeyId) -> KeyId:
    found = parse_wrapped(key.key_id)
    assert found is not None, key
    return found.wrapping_key


def provider_keys(rig: Rig) -> ProviderKeys:
    (provider,) = rig.do(ListKmsClusters()).providers
    assert isinstance(provider.keys, ProviderKeys)
    return provider.keys


def in_force(rig: Rig) -> KeyId:
    keys = provider_keys(rig)
    assert keys.wrapping_key is not None
    return keys.wrapping_key.key_id


def status(rig: Rig, key: CryptoKeyId) -> CryptoKeyStatus:
    (found,) = rig.do(QueryCryptoKeyStatus(keys=(key,))).keys
    return found


def generated(rig: Rig, operation: str, key_type: KeyType | None = None) -> CryptoKeyId:
    message = GenerateKey(operation_id=operation, provider=P)
    if key_type is not None:
        message = GenerateKey(operation_id=operation, provider=P, key_type=key_type)
    made = rig.do(message)
    assert made.success and made.key is not None, made.reason
    return made.key


# ---- one key at the key server --------------------------------------------------------------


def test_one_key_of_the_key_server_is_under_all_vms_and_host_keys(rig: Rig) -> None:
    up(rig, A, B)
    rig.vm()
    rig.vm(VM2)
    (wrapping_key,) = rig.servers[KMS].keys
    host_key = rig.host_info(A).crypto_key_id
    assert host_key is not None
    keys = {rig.key_of(), rig.key_of(VM2), host_key}
    assert len(keys) == 3
    assert {wrapping_key_of(key) for key in keys} == {wrapping_key} == {in_force(rig)}
    values = {rig.hosts[host].cache[key] for key in keys for host in (A, B)}
    assert len(values) == 3 and rig.servers[KMS].keys[wrapping_key][0] not in values


def test_a_delivery_asks_for_each_wrapping_key_once(rig: Rig) -> None:
    up(rig, A)
    for number in range(5):
        rig.vm(VmName(f"vm-{number}"))
    rig.servers[KMS].asked.clear()
    rig.reboot(A)
    rig.sleep(20)
    assert rig.host_info(A).crypto_state is HostCryptoState.SAFE
    assert all(rig.key_of(VmName(f"vm-{n}")) in rig.hosts[A].cache for n in range(5))
    asked = rig.servers[KMS].asked
    assert set(asked) == {(in_force(rig),)} and len(asked) == 2  # the host key, then the others


def test_raw_and_wrapped_keys_of_one_provider_work_side_by_side(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    rig.do(register())
    rig.vm(VM2)
    raw, wrapped = rig.key_of(), rig.key_of(VM2)
    assert raw.key_id in rig.servers[KMS].keys and parse_wrapped(wrapped.key_id)
    rig.reboot(A)
    rig.sleep(20)
    assert {raw, wrapped} <= rig.hosts[A].cache.keys()
    rig.do(register(RAW))
    assert status(rig, wrapped).available  # its wrapping key is still there
    assert parse_wrapped(generated(rig, "later").key_id) is None


def test_a_generated_key_has_the_type_that_is_asked_for(rig: Rig) -> None:
    up(rig, A)
    assert parse_wrapped(generated(rig, "default").key_id)
    raw = generated(rig, "raw", KeyType.RAW)
    assert rig.servers[KMS].keys[raw.key_id][1] is KmipState.PRE_ACTIVE
    before = dict(rig.servers[KMS].keys)
    wrapped = generated(rig, "wrapped", KeyType.WRAPPED)
    assert rig.servers[KMS].keys == before and status(rig, wrapped).available
    assert generated(rig, "wrapped", KeyType.WRAPPED) == wrapped


def test_a_provider_of_raw_keys_has_no_wrapping_key(rig: Rig) -> None:
    rig.up(A)
    made = rig.do(GenerateKey(operation_id="g", provider=P, key_type=KeyType.WRAPPED))
    assert not made.success and "has no wrapping key" in made.reason


def test_raw_keys_may_be_the_default_beside_a_wrapping_key(rig: Rig) -> None:
    up(rig, A, spec=KeySpec(key_type=KeyType.RAW, rotation_days=30))
    assert parse_wrapped(generated(rig, "default").key_id) is None
    assert parse_wrapped(generated(rig, "wrapped", KeyType.WRAPPED).key_id)


# ---- what is refused ------------------------------------------------------------------------


def test_before_9_0_there_are_none(rig_of: Make) -> None:
    rig = rig_of("8.0U3")
    rig.up(A)
    for refused in (register(), register(RAW), GenerateKey(operation_id="g", key_type=KeyType.RAW)):
        error = rig.refused(refused)
        assert isinstance(error, NotAvailable) and "it came with 9.0" in str(error)


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (KeySpec(key_type=KeyType.WRAPPED, rotation_days=29), "after 30 to 3650 days"),
        (KeySpec(key_type=KeyType.WRAPPED, rotation_days=3651), "after 30 to 3650 days"),
        (
            KeySpec(key_type=KeyType.WRAPPED, wrapping_key=KeyId("k"), rotation_days=30),
            "not replaced automatically",
        ),
        (KeySpec(key_type=KeyType.WRAPPED, wrapping_key=KeyId("a/b")), "no id of a wrapping key"),
    ],
)
def test_a_specification_that_no_provider_can_have(rig: Rig, spec: KeySpec, text: str) -> None:
    rig.up(A)
    error = rig.refused(register(spec))
    assert text in str(error)
    assert not isinstance(rig.do(ListKmsClusters()).providers[0].keys, ProviderKeys)


def test_only_a_standard_provider_has_them(rig: Rig) -> None:
    message = RegisterKmsCluster(
        provider=Q, management_type=ManagementType.TRUST_AUTHORITY, keys=WRAPPED
    )
    assert isinstance(rig.refused(message), InvalidArgument)


# ---- the wrapping key -----------------------------------------------------------------------


def test_a_named_wrapping_key_is_used_and_never_replaced(rig: Rig) -> None:
    rig.up(A)
    named = generated(rig, "named").key_id
    rig.do(register(KeySpec(key_type=KeyType.WRAPPED, wrapping_key=named)))
    rig.vm()
    assert wrapping_key_of(rig.key_of()) == named
    assert rig.servers[KMS].keys[named][1] is KmipState.ACTIVE  # STD-18
    info = provider_keys(rig)
    assert info.wrapping_key is not None and info.wrapping_key.by_id
    assert info.rotation_days is None and info.rotated_at is None


def test_it_is_replaced_when_its_interval_is_over_and_vms_keep_the_old_one(rig_of: Make) -> None:
    rig = rig_of(**RARE, kms_health_interval_s=DAY_S / 2)
    up(rig, A, spec=KeySpec(key_type=KeyType.WRAPPED, rotation_days=30))
    rig.vm()
    first = in_force(rig)
    rig.sleep(29 * DAY_S)
    assert in_force(rig) == first
    rig.sleep(2 * DAY_S)
    second = in_force(rig)
    assert second != first and len(rig.servers[KMS].keys) == 2
    info = provider_keys(rig)
    assert info.rotated_at is not None and info.wrapping_key is not None
    assert info.rotated_at == info.wrapping_key.since
    old = status(rig, rig.key_of()).wrapping_key
    assert old.key_id == first and old.until == info.rotated_at  # type: ignore[union-attr]
    rig.vm(VM2)
    assert wrapping_key_of(rig.key_of(VM2)) == second
    assert wrapping_key_of(rig.key_of()) == first
    rig.do(RecryptVm(operation_id="r", vm=VM))
    assert wrapping_key_of(rig.key_of()) == second


def test_the_default_interval_is_that_of_the_knob(rig_of: Make) -> None:
    rig = rig_of(**RARE, kms_health_interval_s=DAY_S, wrapping_key_rotation_days=30)
    up(rig)
    generated(rig, "one")
    first = in_force(rig)
    rig.sleep(29 * DAY_S)
    assert in_force(rig) == first
    rig.sleep(3 * DAY_S)
    assert in_force(rig) != first


def test_a_key_server_that_is_away_delays_the_replacement(rig_of: Make) -> None:
    rig = rig_of(**RARE, kms_health_interval_s=DAY_S)
    up(rig, spec=KeySpec(key_type=KeyType.WRAPPED, rotation_days=30))
    generated(rig, "one")
    first = in_force(rig)
    rig.power_off(KMS)
    rig.sleep(32 * DAY_S)
    assert in_force(rig) == first
    rig.power_on(KMS)
    rig.sleep(2 * DAY_S)
    assert in_force(rig) != first


def test_a_new_key_does_not_wait_for_the_next_check(rig_of: Make) -> None:
    """The interval ended, and no health check has come since."""
    rig = rig_of(**RARE, kms_health_interval_s=10 * DAY_S)
    up(rig, spec=KeySpec(key_type=KeyType.WRAPPED, rotation_days=30))
    rig.sleep(5 * DAY_S)
    first = wrapping_key_of(generated(rig, "one"))
    rig.sleep(31 * DAY_S)
    assert wrapping_key_of(generated(rig, "two")) != first


def test_what_a_new_specification_changes(rig: Rig) -> None:
    up(rig, spec=KeySpec(key_type=KeyType.WRAPPED, rotation_days=30))
    first = wrapping_key_of(generated(rig, "one"))
    rig.do(register(KeySpec(key_type=KeyType.WRAPPED, rotation_days=60)))
    assert (in_force(rig), provider_keys(rig).rotation_days) == (first, 60)
    rig.do(register(RAW))
    assert provider_keys(rig).wrapping_key is None
    rig.do(register())
    assert provider_keys(rig).wrapping_key is None  # created at the first need
    second = wrapping_key_of(generated(rig, "two"))
    assert second != first
    rig.do(RegisterKmsCluster(provider=P, servers=(KmipServer(name=KMS, node=KMS),)))
    assert in_force(rig) == second  # nothing was said of keys


def test_a_provider_made_again_has_another_wrapping_key(rig: Rig) -> None:
    from protocol.messages.vcenter.providers import UnregisterKmsCluster

    up(rig)
    first = wrapping_key_of(generated(rig, "one"))
    rig.do(UnregisterKmsCluster(provider=P))
    rig.do(register())
    assert wrapping_key_of(generated(rig, "two")) != first


def test_two_first_keys_at_once_have_one_wrapping_key(rig: Rig) -> None:
    import asyncio

    up(rig)

    async def both() -> list[Any]:
        asked = (GenerateKey(operation_id=f"g{n}", provider=P) for n in range(2))
        return await asyncio.gather(*(rig.ask(one) for one in asked))

    one, two = rig.run(both())
    assert wrapping_key_of(one.key) == wrapping_key_of(two.key)
    assert len(rig.servers[KMS].keys) == 1


# ---- when it cannot be had ------------------------------------------------------------------

LOST = [
    (KmipState.DESTROYED, R.WRAPPING_KEY_MISSING_IN_KMS, WrappingKeyMissing),
    (KmipState.DEACTIVATED, R.WRAPPING_KEY_NOT_ACTIVE_OR_ENABLED, WrappingKeyNotActive),
    (KmipState.COMPROMISED, R.WRAPPING_KEY_NOT_ACTIVE_OR_ENABLED, WrappingKeyNotActive),
]


@pytest.mark.parametrize(("state", "reason", "error"), LOST)
def test_without_it_all_its_keys_are_lost_to_a_host_that_boots(
    rig: Rig, state: KmipState, reason: R, error: type[Exception]
) -> None:
    up(rig, A, B)
    for vm in (VM, VM2):
        rig.vm(vm)
        rig.power_on_vm(vm)
    keys = [rig.key_of(VM), rig.key_of(VM2)]
    rig.servers[KMS].set_state(in_force(rig), state)
    for key in keys:
        found = status(rig, key)
        assert (found.available, found.reason) == (False, reason)
    assert isinstance(
        rig.refused(EncryptVm(operation_id="e", vm=rig.vm(VmName("vm-3"), encrypted=False).vm)),
        error,
    )
    rig.do(PowerOffVm(vm=VM))
    rig.power_on_vm(VM)  # its host has the key (STD-19)
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(20)
    for vm in (VM, VM2):
        info = rig.vm_info(vm)
        assert info.crypto is VmCryptoState.LOCKED
    assert rig.ids(mark).count(E.VM_LOCKED_KEY_MISSING_ON_KMS) == 2
    assert E.HOST_REQ_ENABLE_KEY_MISSING_ON_KMS in rig.ids(mark)
    assert rig.host_info(A).crypto_state is HostCryptoState.PREPARED


def test_another_key_under_its_id_counts_as_missing(rig: Rig) -> None:
    up(rig, A)
    rig.vm()
    wrapping_key = in_force(rig)
    rig.servers[KMS].keys[wrapping_key] = (b"?" * 32, KmipState.ACTIVE)
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(20)
    assert E.VM_LOCKED_KEY_MISSING_ON_KMS in rig.ids(mark)


def test_a_key_server_that_is_away_takes_none_of_them(rig: Rig) -> None:
    up(rig, A)
    rig.vm()
    rig.power_off(KMS)
    rig.reboot(A)
    rig.sleep(60)
    assert rig.vm_info().crypto is VmCryptoState.LOCKED
    assert E.VM_LOCKED_KMS_CLUSTER_ERROR in rig.ids()
    assert status(rig, rig.key_of()).reason is R.CLUSTER_UNREACHABLE
    made = rig.do(GenerateKey(operation_id="g", provider=P))
    assert not made.success
    rig.power_on(KMS)
    rig.sleep(400)
    assert rig.vm_info().crypto is VmCryptoState.UNLOCKED


def test_the_health_check_tells_of_it_once_with_all_its_users(rig_of: Make) -> None:
    rig = rig_of(kms_health_interval_s=10)
    up(rig, A)
    rig.vm()
    rig.vm(VM2)
    mark = rig.mark()
    rig.servers[KMS].set_state(in_force(rig), KmipState.DESTROYED)
    rig.sleep(40)
    (told,) = [e for e in rig.events(mark) if e.event is E.KMS_KEYS_UNUSABLE]
    assert "WrappingKeyMissingInKMS" in told.text and len(told.keys) == 3
    assert "vm-01, vm-02" in told.text


def test_keys_work_again_under_another_specification(rig_of: Make) -> None:
    """The cure for new keys: the old ones stay lost."""
    rig = rig_of()
    up(rig, A)
    rig.vm()
    lost = rig.key_of()
    rig.servers[KMS].set_state(in_force(rig), KmipState.DESTROYED)
    rig.do(register(RAW))
    rig.do(register())
    fresh = generated(rig, "fresh")
    assert status(rig, fresh).available and not status(rig, lost).available
    rig.do(RecryptVm(operation_id="r", vm=VM))  # its host has the old key in memory
    assert wrapping_key_of(rig.key_of()) == in_force(rig)
    rig.reboot(A)
    rig.sleep(20)
    rig.do(PowerOnVm(vm=VM))


def test_a_restart_of_vcenter_keeps_what_it_has_recorded(rig: Rig) -> None:
    from tests.services.vcenter.peers import VCENTER

    up(rig, A)
    rig.vm()
    before = provider_keys(rig)
    rig.reboot(VCENTER)
    rig.sleep(10)
    assert provider_keys(rig) == before
    assert wrapping_key_of(generated(rig, "after")) == in_force(rig)
