"""Modes of hosts and clusters, keys that vCenter knows, and alarms: as people ask for them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.client import Lab
from lab.schema.commands import (
    AlarmAcknowledge,
    ClusterCryptoMode,
    ClusterDefaultProvider,
    DescribeHost,
    Esx,
    GetAlarms,
    GetClusters,
    GetKeys,
    GetProviders,
    GetTasks,
    HostClearTpm,
    HostDisableCrypto,
    HostEnableCrypto,
    HostPrepareCrypto,
    HostReboot,
    KeyAdd,
    KeyGenerate,
    KeyIds,
    KeyRemove,
    KmsKeyRevoke,
    KmsKeyShow,
    ProviderAdd,
    RoleCreate,
    UserSet,
    VmCreate,
    VmEncrypt,
)
from lab.schema.errors import KeysteadError
from protocol.authorization import Privilege
from protocol.messages.vcenter.inventory import TaskInfoState
from protocol.terms import (
    CryptoMode,
    HostCryptoState,
    KeyUnavailableReason,
    KmipState,
    ProviderId,
)
from tests.lab.api.refusals import refused

A, B, C = "esxi-001", "esxi-002", "esxi-003"
CLUSTER = "cluster-a"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    knobs = {"remediation_interval_s": 60, "kms_health_interval_s": 60}
    async with Lab(mode="sim", seed=5, hosts=3, vms=0, knobs=knobs) as made:
        yield made


async def states(lab: Lab) -> list[HostCryptoState | None]:
    return [(await lab.host(host)).crypto_state for host in (A, B, C)]


async def test_hem_02_row_3_is_staged(lab: Lab) -> None:
    """A and B on, C off; a user without RegisterHost: the VM is made, C stays off."""
    for host in (A, B):
        assert (await lab.do(HostEnableCrypto(host))).crypto_state is HostCryptoState.SAFE
    await lab.do(RoleCreate("no-host", like="Admin", without=(Privilege.REGISTER_HOST,)))
    await lab.do(UserSet("unable", "no-host"))
    made = await lab.do(VmCreate("one", host=A, encrypted=True), user="unable")
    await lab.sleep(200)
    safe, off = HostCryptoState.SAFE, HostCryptoState.INCAPABLE
    assert made.key is not None and await states(lab) == [safe, safe, off]
    error = await refused(lab, VmCreate("two", host=C, encrypted=True), "unable")
    assert "Cryptographer.RegisterHost" in str(error)
    await lab.do(VmCreate("three", host=A))
    await lab.do(VmEncrypt("three"))  # who may register hosts
    await lab.sleep(10)
    assert await states(lab) == [safe, safe, safe]


async def test_a_host_is_disabled_explained_and_enabled_with_a_key_of_its_own(lab: Lab) -> None:
    prepared = await lab.do(HostPrepareCrypto(A))
    assert prepared.crypto_state is HostCryptoState.PREPARED
    assert "InvalidState" in str(await refused(lab, HostPrepareCrypto(A)))
    await lab.do(HostEnableCrypto(A))
    pending = await lab.do(HostDisableCrypto(A))
    assert pending.crypto_state is HostCryptoState.PENDING_INCAPABLE
    (reason, *_) = (await lab.do(DescribeHost(A))).reasons
    assert reason.rule == "HEM-03" and "enable-crypto" in reason.cure
    await lab.do(HostReboot((A,)))
    assert (await states(lab))[0] is HostCryptoState.INCAPABLE
    key = (await lab.do(KeyGenerate())).key
    enabled = await lab.do(HostEnableCrypto(A, key))
    assert (enabled.crypto_state, enabled.crypto_key_id) == (HostCryptoState.SAFE, key)
    wrong = await refused(lab, HostEnableCrypto(A, "kms-provider/none"))
    assert "InvalidArgument" in str(wrong)


async def test_a_cluster_has_a_mode_and_a_default_provider(lab: Lab) -> None:
    (cluster,) = (await lab.do(GetClusters())).items
    assert (cluster.cluster, cluster.crypto_mode) == (CLUSTER, CryptoMode.ON_DEMAND)
    assert (cluster.hosts, cluster.vms, cluster.default_provider) == (3, 0, None)
    forced = await lab.do(ClusterCryptoMode(CLUSTER, CryptoMode.FORCE_ENABLE))
    assert forced.crypto_mode is CryptoMode.FORCE_ENABLE
    await lab.sleep(20)
    assert await states(lab) == [HostCryptoState.SAFE] * 3
    await lab.do(ProviderAdd("second", ("kms",)))
    chosen = await lab.do(ClusterDefaultProvider(CLUSTER, "second"))
    assert chosen.default_provider == "second"
    made = await lab.do(VmCreate("one", encrypted=True))
    assert made.key is not None and made.key.startswith("second/")
    providers = {p.provider: p for p in (await lab.do(GetProviders())).items}
    second = providers[ProviderId("second")]
    assert (second.default, second.default_of) == (False, (CLUSTER,))
    assert (await lab.do(ClusterDefaultProvider(CLUSTER))).default_provider is None
    for wrong in (ClusterCryptoMode("none", CryptoMode.ON_DEMAND), ClusterDefaultProvider("none")):
        assert (await refused(lab, wrong)).id == "KS-USE-002"
    assert (await refused(lab, ClusterDefaultProvider(CLUSTER, "third"))).id != "KS-USE-002"


async def test_keys_are_made_forgotten_and_added_again(lab: Lab) -> None:
    key = (await lab.do(KeyGenerate())).key
    assert (await lab.do(KmsKeyShow(key))).state is KmipState.PRE_ACTIVE
    status = {k.key: k for k in (await lab.do(GetKeys())).items}[key]
    assert status.reason is KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED
    assert key in [k.key for k in (await lab.do(KeyIds())).items]
    assert not (await lab.do(KeyRemove(key))).known
    assert key not in [k.key for k in (await lab.do(KeyIds())).items]
    assert "InvalidArgument" in str(await refused(lab, KeyRemove(key)))
    assert (await lab.do(KeyAdd(key))).known
    assert "AlreadyExists" in str(await refused(lab, KeyAdd(key)))
    made = await lab.do(VmCreate("one", encrypted=True))
    assert made.key is not None
    assert "ResourceInUse" in str(await refused(lab, KeyRemove(made.key)))
    await lab.do(KeyRemove(made.key, force=True))
    await lab.sleep(10)
    assert (await lab.vm("one")).missing == (made.key,)
    for wrong in ("no-provider", "provider/", "/id"):
        with pytest.raises(KeysteadError) as caught:
            KeyAdd(wrong)
        assert caught.value.id == "KS-USE-003"
    assert "no key provider third" in str(await refused(lab, KeyGenerate("third")))


async def test_a_new_recovery_key_is_an_alarm_until_it_is_acknowledged(lab: Lab) -> None:
    """REC-03: each host asks for it once, and again after the key was rotated."""
    raised = [(host, "alarm.HostRecoveryKeyBackup") for host in (A, B, C)]
    assert [(alarm.of, alarm.alarm) for alarm in (await lab.do(GetAlarms())).items] == raised
    assert (await lab.do(AlarmAcknowledge(A))).alarms == ()
    assert (await lab.do(AlarmAcknowledge(A))).alarms == (), "again is no change"
    assert [alarm.of for alarm in (await lab.do(GetAlarms())).items] == [B, C]
    await lab.do(Esx(A, ("system", "settings", "encryption", "recovery", "rotate")))
    await lab.sleep(120)
    assert [alarm.of for alarm in (await lab.do(GetAlarms())).items] == [A, B, C]
    assert "no host esxi-009" in str(await refused(lab, AlarmAcknowledge("esxi-009")))


async def test_tasks_say_how_they_ended(lab: Lab) -> None:
    before = len((await lab.do(GetTasks())).items)
    await lab.do(VmCreate("one", encrypted=True))
    await refused(lab, VmEncrypt("one"))
    made, again = (await lab.do(GetTasks())).items[before:]
    assert (made.name, made.entity, made.state) == ("CreateVm", "one", TaskInfoState.SUCCESS)
    assert (again.name, again.state, again.error) == ("EncryptVm", "error", "InvalidState")
    assert (await lab.do(GetTasks(running=True))).items == ()


async def test_alarms_say_why(lab: Lab) -> None:
    for host in (A, B, C):
        await lab.do(AlarmAcknowledge(host))
    assert (await lab.do(GetAlarms())).items == ()
    made = await lab.do(VmCreate("one", host=B, encrypted=True))
    assert made.key is not None
    await lab.do(KeyRemove(made.key, force=True))
    await lab.fault("host.boot_measure", on=A, version="2.0")
    await lab.do(HostReboot((A,)))
    await lab.fault("link.cut", between=["vcenter", "kms"])
    await lab.sleep(120)
    found = {(alarm.of, alarm.alarm): alarm.why for alarm in (await lab.do(GetAlarms())).items}
    assert "PCR 0" in found[A, "alarm.HostTpmAttestation"]
    assert made.key in found["one", "alarm.VmLocked"]
    assert "kms" in found["kms-provider", "alarm.KeyServerHealth"]
    await lab.heal()
    await lab.do(HostClearTpm(A))
    await lab.do(KeyAdd(made.key))
    await lab.sleep(120)
    assert (await lab.do(GetAlarms())).items == ()


async def test_a_revoked_key_leaves_an_event_that_a_person_finds(lab: Lab) -> None:
    made = await lab.do(VmCreate("one", encrypted=True))
    assert made.key is not None
    await lab.do(KmsKeyRevoke(made.key))
    await lab.sleep(70)
    (event,) = [e for e in await lab.events() if e.event.startswith("keystead.")]
    assert made.key in event.text and event.keys == (made.key,) and event.vm == "one"


async def test_hosts_that_did_not_confirm_a_removal_are_named(lab: Lab) -> None:
    """The rest have dropped it when the command returns."""
    key = (await lab.do(VmCreate("one", encrypted=True))).key
    assert key is not None
    await lab.sleep(10)  # each host has it by then (STD-12)
    await lab.fault("link.cut", between=["vcenter", B])
    removed = await lab.do(KeyRemove(key, force=True))
    assert removed.not_confirmed_by == (B,)
    cached = {
        host: any(one.key == key for one in (await lab.do(DescribeHost(host))).keys)
        for host in (A, B, C)
    }
    assert cached == {A: False, B: True, C: False}
