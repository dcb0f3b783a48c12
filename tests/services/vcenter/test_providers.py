"""Key providers: limit, default, deletion and its grace, the cure by name, servers in turn."""

from __future__ import annotations

import pytest

from protocol.errors import (
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidName,
    InvalidState,
    KeyProviderUnreachable,
    NotAvailable,
    NotFound,
    PermissionDenied,
)
from protocol.events import EventTypeId as E
from protocol.messages.vcenter.inventory import ConfigureCryptoKey
from protocol.messages.vcenter.providers import (
    GenerateKey,
    KmipServer,
    ListKmsClusters,
    MarkDefault,
    QueryCryptoKeyStatus,
    RegisterKmsCluster,
    UnregisterKmsCluster,
)
from protocol.messages.vcenter.vms import EncryptVm, PowerOffVm, PowerOnVm
from protocol.terms import (
    CryptoKeyId,
    HostConnectionState,
    HostCryptoState,
    KeyId,
    KeyUnavailableReason,
    KmipState,
    ManagementType,
    NodeName,
    PowerState,
    ProviderId,
    Role,
    VmCryptoState,
    VmName,
)
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import KMS, VM, A, B, P, Q, Rig

VM2 = VmName("vm-02")
K1, K2 = NodeName("k1"), NodeName("k2")
SERVERS = (KmipServer(name="kms", node=KMS),)


def listed(rig: Rig) -> dict[ProviderId, bool]:
    return {p.provider: p.default for p in rig.do(ListKmsClusters()).providers}


def test_32_providers_and_not_one_more(rig: Rig) -> None:
    rig.add(KMS, Role.KMS)
    for number in range(32):
        rig.do(RegisterKmsCluster(provider=ProviderId(f"p{number}"), servers=SERVERS))
    last = RegisterKmsCluster(provider=ProviderId("p32"), servers=SERVERS)
    assert isinstance(rig.refused(last), InvalidState)
    assert len(listed(rig)) == 32
    rig.do(RegisterKmsCluster(provider=ProviderId("p31"), servers=SERVERS))  # no new one
    rig.do(UnregisterKmsCluster(provider=ProviderId("p0")))
    rig.do(last)
    assert len(listed(rig)) == 32


def test_the_default(rig: Rig) -> None:
    rig.provider(P)
    rig.provider(Q)
    assert listed(rig) == {P: True, Q: False}  # STD-02: the first
    rig.do(MarkDefault(provider=Q))
    assert listed(rig) == {P: False, Q: True}
    rig.do(UnregisterKmsCluster(provider=Q))
    assert listed(rig) == {P: False}  # none, until somebody chooses
    rig.provider(Q)
    assert listed(rig) == {P: False, Q: False}
    rig.provider(Q, default=True)
    assert listed(rig) == {P: False, Q: True}
    rig.reboot(VCENTER)
    assert listed(rig) == {P: False, Q: True}
    assert isinstance(rig.refused(MarkDefault(provider=ProviderId("x"))), InvalidArgument)


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (ManagementType.UNKNOWN, "unknown"),
    ],
)
def test_what_is_not_built_says_so(rig: Rig, kind: ManagementType, word: str) -> None:
    error = rig.refused(RegisterKmsCluster(provider=P, management_type=kind))
    assert isinstance(error, NotAvailable) and word in str(error)
    assert listed(rig) == {}


def test_bad_arguments(rig: Rig) -> None:
    rig.provider(P)
    for bad in (
        RegisterKmsCluster(provider=Q, servers=()),
        RegisterKmsCluster(provider=Q, servers=SERVERS * 2),
    ):
        assert isinstance(rig.refused(bad), InvalidArgument)
    for name in ("", "a/b", "a\n", "x" * 129):
        nameless = RegisterKmsCluster(provider=ProviderId(name), servers=SERVERS)
        assert isinstance(rig.refused(nameless), InvalidName)
    assert isinstance(rig.refused(UnregisterKmsCluster(provider=Q)), NotFound)
    assert listed(rig) == {P: True}


def test_nothing_is_remembered_of_the_contacts_of_a_provider_that_is_gone(rig: Rig) -> None:
    """Of the new one of that name the first silence is an event again."""
    rig.up(A)
    rig.provider(Q)
    mark = rig.mark()
    rig.power_off(KMS)
    rig.sleep(700)
    told = [str(e.provider) for e in rig.events(mark) if e.event is E.KMS_UNREACHABLE]
    assert sorted(told) == sorted([P, Q])
    rig.do(UnregisterKmsCluster(provider=Q))
    mark = rig.mark()
    rig.provider(Q)
    assert E.KMS_UNREACHABLE in rig.ids(mark)


@pytest.mark.parametrize("others", [False, True])
def test_contacts_are_of_the_servers_that_a_provider_has(rig: Rig, *, others: bool) -> None:
    """With the same servers their silence is known; with others it is an event of each again."""
    rig.up(A)
    rig.provider(Q)
    rig.power_off(KMS)
    rig.sleep(700)
    mark = rig.mark()
    more = (KmipServer(name="more", node=KMS),) if others else ()
    rig.do(RegisterKmsCluster(provider=Q, servers=(*SERVERS, *more)))
    rig.sleep(30)
    assert rig.ids(mark).count(E.KMS_UNREACHABLE) == (2 if others else 0)


# ---- F7: deletion, grace, eviction, cure ----------------------------------------------------


def test_grace_then_eviction_then_the_cure_by_name(rig: Rig) -> None:
    rig.up(A)
    rig.vm(VM)
    rig.vm(VM2)
    rig.power_on_vm(VM2)
    key, mark = rig.key_of(VM), rig.mark()
    rig.do(UnregisterKmsCluster(provider=P))
    rig.do(UnregisterKmsCluster(provider=P))  # twice is once
    rig.sleep(200)
    assert key in rig.hosts[A].cache
    assert rig.power_on_vm(VM).power is PowerState.ON  # in grace: from the cache (R25)
    rig.do(PowerOffVm(vm=VM))
    rig.sleep(450)
    assert key not in rig.hosts[A].cache and rig.key_of(VM2) not in rig.hosts[A].cache
    assert rig.ids(mark) == [E.VM_LOCKED_KMS_CLUSTER_ERROR]
    assert "KeyStateClusterInvalid" in rig.events(mark)[0].text
    assert isinstance(rig.refused(PowerOnVm(vm=VM)), EncryptionKeyRequired)
    assert rig.vm_info(VM2).power is PowerState.ON  # DEL-01: running ones go on
    assert rig.vm_info(VM2).crypto is VmCryptoState.UNLOCKED
    assert rig.hosts[A].crypto_state is HostCryptoState.SAFE

    rig.do(PowerOffVm(vm=VM2))
    rig.sleep(5)
    assert rig.vm_info(VM2).crypto is VmCryptoState.LOCKED  # only now

    rig.provider(Q)  # another name does not cure (A14), the same servers notwithstanding
    rig.sleep(330)
    assert rig.vm_info(VM).crypto is VmCryptoState.LOCKED
    rig.provider(P, default=True)
    rig.do(ConfigureCryptoKey(host=A))
    assert rig.vm_info(VM).crypto is rig.vm_info(VM2).crypto is VmCryptoState.UNLOCKED
    assert rig.power_on_vm(VM).power is PowerState.ON


def test_readding_by_name_unlocks_by_itself(rig: Rig) -> None:
    rig.up(A)
    rig.vm(VM)
    rig.do(UnregisterKmsCluster(provider=P))
    rig.sleep(650)
    assert rig.vm_info(VM).crypto is VmCryptoState.LOCKED
    rig.provider(P)
    rig.sleep(5)
    assert rig.vm_info(VM).crypto is VmCryptoState.UNLOCKED


def test_after_a_reboot_the_deleted_provider_is_missed_at_once(rig: Rig) -> None:
    rig.up(A)
    rig.vm(VM)
    rig.do(UnregisterKmsCluster(provider=P))
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(30)
    assert rig.ids(mark) == [
        E.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR,
        E.VM_LOCKED_KMS_CLUSTER_ERROR,
    ]


def test_no_eviction_by_knob_and_grace_counts_over_a_crash() -> None:
    rig = Rig(evict_on_provider_delete=False)
    rig.up(A)
    rig.vm(VM)
    rig.do(UnregisterKmsCluster(provider=P))
    rig.sleep(1300)
    assert rig.key_of(VM) in rig.hosts[A].cache
    rig.healthy()
    rig.close()

    rig = Rig()
    rig.up(A)
    rig.vm(VM)
    rig.sleep(200)
    rig.do(UnregisterKmsCluster(provider=P))
    rig.sleep(250)  # a reconciliation in the grace leaves the keys
    assert rig.key_of(VM) in rig.hosts[A].cache
    rig.reboot(VCENTER)
    rig.sleep(30)
    assert rig.key_of(VM) in rig.hosts[A].cache
    rig.sleep(330)
    assert rig.key_of(VM) not in rig.hosts[A].cache
    rig.healthy()
    rig.close()


def test_a_longer_grace_leaves_keys_longer() -> None:
    """C4: at the default they are gone after 650 seconds."""
    rig = Rig(provider_delete_grace_s=1200.0)
    rig.up(A)
    rig.vm(VM)
    rig.do(UnregisterKmsCluster(provider=P))
    rig.sleep(1100)
    assert rig.power_on_vm(VM).power is PowerState.ON
    rig.sleep(500)
    assert rig.key_of(VM) not in rig.hosts[A].cache
    rig.healthy()
    rig.close()


def test_a_host_that_was_away_loses_the_keys_when_it_is_back(rig: Rig) -> None:
    """R38: stored entries are kept until vCenter reconciles after the reconnect."""
    rig.up(A, B)
    rig.vm(VM, A)
    rig.hosts[B].persistence = True
    rig.sleep(5)
    key = rig.key_of(VM)
    assert key in rig.hosts[B].cache
    rig.power_off(B)
    rig.do(UnregisterKmsCluster(provider=P))
    rig.sleep(700)
    rig.power_on(B)
    rig.sleep(15)
    assert rig.host_info(B).connection is HostConnectionState.CONNECTED
    assert key in rig.hosts[B].cache  # a pass at connecting only adds
    rig.sleep(310)
    assert key not in rig.hosts[B].cache
    assert rig.hosts[B].seen.count("EvictKeys") == 1


def test_an_eviction_is_one_act_of_each_host(rig: Rig) -> None:
    rig.up(A, B)
    rig.provider(Q, (NodeName("kms2"),))
    rig.vm(VM)
    other = rig.do(EncryptVm(operation_id="o", vm=rig.vm(VM2, encrypted=False).vm, provider=Q)).key
    rig.do(UnregisterKmsCluster(provider=P))
    rig.sleep(650)
    key = rig.key_of(VM)
    rig.hosts[A].cache[key] = b"?" * 32  # its administrator put it back
    rig.reboot(VCENTER)
    rig.sleep(1000)
    for host in (A, B):
        assert rig.hosts[host].seen.count("EvictKeys") == 1
    assert key in rig.hosts[A].cache and key not in rig.hosts[B].cache
    assert other in rig.hosts[A].cache and other in rig.hosts[B].cache
    rig.provider(P)
    rig.sleep(20)
    assert key in rig.hosts[B].cache
    rig.do(UnregisterKmsCluster(provider=P))  # a deletion anew is an eviction anew
    rig.sleep(650)
    assert rig.hosts[A].seen.count("EvictKeys") == 2
    assert key not in rig.hosts[A].cache


def test_hosts_learn_the_list_of_providers(rig: Rig) -> None:
    rig.up(A)
    rig.provider(Q)
    rig.sleep(5)
    assert [ref.provider_id for ref in rig.hosts[A].providers] == [P, Q]
    rig.do(UnregisterKmsCluster(provider=Q))
    rig.sleep(310)
    assert [ref.provider_id for ref in rig.hosts[A].providers] == [P]


# ---- host key (C17) -------------------------------------------------------------------------


def test_a_missing_host_key_is_renewed(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm(VM)
    rig.sleep(5)
    old = rig.hosts[A].host_key
    assert old is not None
    rig.servers[KMS].set_state(old.key_id, KmipState.DESTROYED)
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(30)
    new = rig.hosts[A].host_key
    assert new != old and rig.hosts[A].crypto_state is HostCryptoState.SAFE
    assert rig.ids(mark) == [E.HOST_NEW_KEY_KEY_MISSING_ON_KMS, E.HOST_CRYPTO_ENABLED]
    rig.sleep(330)
    assert rig.hosts[B].host_key == new  # one per cluster: the warm host follows
    assert rig.ids(mark)[-1] is E.HOST_KEY_UPDATED


def test_no_renewal_by_knob() -> None:
    rig = Rig(host_key_renewal=False)
    rig.up(A)
    rig.vm(VM)
    host_key = rig.hosts[A].host_key
    assert host_key is not None
    rig.servers[KMS].set_state(host_key.key_id, KmipState.DESTROYED)
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(30)
    assert rig.hosts[A].crypto_state is HostCryptoState.PREPARED
    assert rig.ids(mark) == [E.HOST_REQ_ENABLE_KEY_MISSING_ON_KMS]
    assert isinstance(rig.refused(ConfigureCryptoKey(host=A)), InvalidState)
    rig.healthy()
    rig.close()


# ---- servers in turn (STD-08), health (STD-09), status (STD-20) -------------------------------


def created(rig: Rig) -> dict[NodeName, int]:
    return {name: len(record.keys) for name, record in rig.servers.items()}


def test_round_robin_and_the_next_one_when_one_is_down(rig: Rig) -> None:
    rig.provider(P, (K1, K2))
    for number in range(6):
        assert rig.do(GenerateKey(operation_id=f"g{number}")).success
    assert created(rig) == {K1: 3, K2: 3}
    rig.cut((VCENTER, K1))
    mark = rig.mark()
    for number in range(4):
        assert rig.do(GenerateKey(operation_id=f"h{number}")).success, "A16: no failed operation"
    assert created(rig) == {K1: 3, K2: 7}
    assert rig.ids(mark) == [E.KMS_UNREACHABLE]
    (info,) = rig.do(ListKmsClusters()).providers
    assert info.status == "yellow"
    assert [(c.name, c.status, bool(c.why)) for c in info.contacts] == [
        ("k1", "red", True),
        ("k2", "green", False),
    ]
    rig.cut((VCENTER, K2))
    failed = rig.do(GenerateKey(operation_id="i"))
    assert not failed.success and "no server of key provider kms-provider" in failed.reason
    assert rig.do(ListKmsClusters()).providers[0].status == "red"
    rig.heal()
    rig.sleep(301)
    assert rig.do(ListKmsClusters()).providers[0].status == "green"


def test_a_server_that_refuses_the_identity_looks_as_if_it_were_down(rig: Rig) -> None:
    rig.up(A)
    rig.vm(encrypted=False)
    rig.servers[KMS].errors["CreateKey"] = PermissionDenied("who are you")
    assert isinstance(rig.refused(EncryptVm(operation_id="op", vm=VM)), KeyProviderUnreachable)
    assert rig.do(ListKmsClusters()).providers[0].status == "red"


@pytest.mark.parametrize("failover", [False, True])
def test_missing_on_one_server(failover: bool) -> None:
    """C22: the key is on k2 only, which may lag behind."""
    rig = Rig(failover_on_missing=failover)
    rig.provider(P, (K1, K2))
    rig.host(A)
    rig.vm(VM)
    key = rig.key_of(VM)
    holder = next(r for r in rig.servers.values() if key.key_id in r.keys)
    host_key = rig.hosts[A].host_key
    assert host_key is not None
    for record in rig.servers.values():
        if record is not holder:
            record.keys.pop(key.key_id, None)
        for other in rig.servers.values():  # the host key is on both
            if host_key.key_id in other.keys:
                record.keys[host_key.key_id] = other.keys[host_key.key_id]
    locked = 0
    for number in range(4):
        rig.do(GenerateKey(operation_id=f"g{number}"))  # the turn of the servers moves on by one
        rig.reboot(A)
        rig.sleep(30)
        locked += rig.vm_info().crypto is VmCryptoState.LOCKED
    assert locked == 0 if failover else locked > 0
    rig.healthy()
    rig.close()


def test_key_status_and_its_reasons(rig: Rig) -> None:
    rig.up(A)
    rig.vm(VM)
    rig.vm(VM2)
    good, bad = rig.key_of(VM), rig.key_of(VM2)
    rig.servers[KMS].set_state(bad.key_id, KmipState.DEACTIVATED)
    lost, foreign = CryptoKeyId(KeyId("lost"), P), CryptoKeyId(KeyId("x"), Q)
    asked = QueryCryptoKeyStatus(keys=(good, bad, lost, foreign))
    found = rig.do(asked).keys
    assert [(s.key, s.available, s.reason) for s in found] == [
        (good, True, None),
        (bad, False, KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED),
        (lost, False, KeyUnavailableReason.MISSING_IN_KMS),
        (foreign, False, KeyUnavailableReason.CLUSTER_INVALID),
    ]
    assert (found[0].encrypted_vms, found[0].affected_hosts) == ((VM,), ())
    everything = {s.key: s for s in rig.do(QueryCryptoKeyStatus()).keys}
    host_key = rig.hosts[A].host_key
    assert host_key is not None and set(everything) == {good, bad, host_key}
    assert (everything[host_key].encrypted_vms, everything[host_key].affected_hosts) == ((), (A,))
    rig.cut((VCENTER, KMS))
    assert rig.do(asked).keys[0].reason is KeyUnavailableReason.CLUSTER_UNREACHABLE


def test_an_id_that_one_server_did_not_know_is_not_missing_when_another_has_it() -> None:
    """Whichever server is asked first, an id is in one of the two: its value, or a reason."""
    rig = Rig(failover_on_missing=True)
    servers = tuple(NodeName(f"k{number}") for number in (1, 2, 3))
    rig.provider(P, servers)
    key = rig.do(GenerateKey(operation_id="g")).key
    assert key is not None
    for _ in servers:
        found = rig.run(rig.vcenter.providers.require_provider(P).fetch_keys((key.key_id,)))
        assert set(found.material) == {key.key_id} and found.missing == {}
    rig.close()


def test_every_server_is_tried_whichever_has_the_turn(rig: Rig) -> None:
    servers = (K1, K2)
    rig.provider(P, servers)
    for silent in servers:
        rig.cut((VCENTER, silent))
        for number in range(3):
            assert rig.do(GenerateKey(operation_id=f"{silent} {number}")).key is not None
        rig.heal()
