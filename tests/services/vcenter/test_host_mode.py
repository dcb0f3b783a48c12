"""Host encryption mode as administrators and tasks turn it: HEM-01 to HEM-05, SC-37."""

from __future__ import annotations

import msgspec
import pytest

from protocol.authorization import Privilege
from protocol.errors import (
    Disconnected,
    InvalidArgument,
    InvalidState,
    KeyProviderUnreachable,
    NoPermission,
    NotFound,
    ResourceInUse,
)
from protocol.events import EventTypeId as E
from protocol.messages.host.crypto import CryptoManagerHostDisable
from protocol.messages.host.session import Done
from protocol.messages.vcenter.inventory import (
    ConfigureCryptoKey,
    CryptoModePolicy,
    DisableCrypto,
    ListClusters,
    PrepareCrypto,
    SetCryptoMode,
)
from protocol.messages.vcenter.providers import GenerateKey, UnregisterKmsCluster
from protocol.messages.vcenter.vms import CreateVm, EncryptVm, PowerOnVm
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    CryptoMode,
    HostCryptoState,
    KeyId,
    NodeName,
    ProviderId,
    VmName,
)
from services.runtime.service import Peer
from services.vcenter.hosts.mode import should_be_safe
from services.vcenter.hosts.plan import PlannedKeyFacts, Supply, keys_refused_by_mode, plan_keys
from tests.services.vcenter.peers import VCENTER, ScriptedHost
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, C, P, Q, Rig

VM2 = VmName("vm-02")
INCAPABLE, SAFE = HostCryptoState.INCAPABLE, HostCryptoState.SAFE
PENDING = HostCryptoState.PENDING_INCAPABLE


def states(rig: Rig, *hosts: NodeName) -> list[HostCryptoState]:
    return [rig.hosts[host].crypto_state for host in hosts]


def create(vm: VmName = VM, host: NodeName = A) -> CreateVm:
    return CreateVm(
        operation_id=f"create {vm}",
        vm=vm,
        cluster=CLUSTER,
        host=host,
        encrypted=True,
    )


def unable(rig: Rig) -> str:
    """A user who may do everything but register hosts."""
    return rig.user("unable", Privilege.REGISTER_HOST)


def made_keys(rig: Rig, since: int) -> list[str]:
    """Requests that make a key or bring one to a host."""
    sent = [name for _, _, name in rig.requests(since)]
    return [name for name in sent if name in ("CreateKey", "GetKeys", "AddKeys")]


# ---- the matrix of HEM-02 -----------------------------------------------------------------


def two_on_one_off(rig: Rig) -> None:
    rig.up(A, B, C)
    for host in (A, B):
        rig.do(ConfigureCryptoKey(host=host))
    assert states(rig, A, B, C) == [SAFE, SAFE, INCAPABLE]


def test_with_all_hosts_safe_nobody_needs_to_register_hosts(rig: Rig) -> None:
    rig.up(A, B)
    for host in (A, B):
        rig.do(ConfigureCryptoKey(host=host))
    key = rig.do(create(), unable(rig)).vm.key
    rig.sleep(5)
    assert key in rig.hosts[A].cache and key in rig.hosts[B].cache


def test_a_task_of_who_may_register_hosts_enables_the_host_that_is_off(rig: Rig) -> None:
    two_on_one_off(rig)
    key = rig.do(create()).vm.key
    rig.sleep(5)
    assert states(rig, C) == [SAFE]
    assert all(key in rig.hosts[host].cache for host in (A, B, C))


def test_a_task_of_who_may_not_register_hosts_leaves_a_host_off_and_without_key(rig: Rig) -> None:
    """Row 3: nor does vCenter do by itself later what the user may not."""
    two_on_one_off(rig)
    key = rig.do(create(), unable(rig)).vm.key
    rig.sleep(700)
    rig.reboot(VCENTER)
    rig.reboot(C)
    rig.sleep(700)
    assert states(rig, A, B, C) == [SAFE, SAFE, INCAPABLE]
    assert key in rig.hosts[B].cache and not rig.hosts[C].cache
    assert "alarm.HostRequiresEncryptionMode" not in rig.host_info(C).alarms
    assert E.HOST_SEND_KEY_ERROR not in rig.ids()
    rig.do(create(VM2))  # row 2 at last
    rig.sleep(5)
    assert states(rig, C) == [SAFE] and key in rig.hosts[C].cache
    rig.healthy()


@pytest.mark.parametrize("disabled", [False, True])
def test_a_host_that_is_off_needs_who_may_register_it(rig: Rig, disabled: bool) -> None:
    rig.up(A)
    if disabled:
        rig.do(DisableCrypto(host=A))
    before = len(rig.sent)
    assert isinstance(rig.refused(create(), unable(rig)), NoPermission)
    assert made_keys(rig, before) == [] and states(rig, A) == [INCAPABLE]
    rig.do(create())
    assert states(rig, A) == [SAFE]


def test_a_vm_on_a_host_that_was_left_off_does_not_start_there(rig: Rig) -> None:
    """SC-37: the host takes no key, and nobody turns its mode on for a power-on."""
    two_on_one_off(rig)
    key = rig.do(create(), unable(rig)).vm.key
    assert key is not None
    rig.hosts[C].vms[VM] = rig.hosts[A].vms.pop(VM)
    rig.sleep(30)
    assert rig.vm_info(VM).host == C
    rig.refused(PowerOnVm(vm=VM))
    rig.sleep(5)
    assert states(rig, C) == [INCAPABLE] and not rig.hosts[C].cache
    assert rig.vm_info(VM).lock_event is E.VM_LOCKED_KEY_MISSING_ON_HOST


# ---- disabling ----------------------------------------------------------------------------


def test_a_disabled_host_waits_for_its_reboot_and_then_stays_off(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm(host=B)
    rig.do(DisableCrypto(host=A))
    assert states(rig, A) == [PENDING]
    assert rig.host_info(A).crypto_state is PENDING
    assert isinstance(rig.refused(DisableCrypto(host=A)), InvalidState)
    rig.sleep(400)
    assert states(rig, A) == [PENDING]
    rig.reboot(A)
    rig.sleep(700)
    assert states(rig, A) == [INCAPABLE] and not rig.hosts[A].cache
    rig.do(ConfigureCryptoKey(host=A))
    assert states(rig, A) == [SAFE]
    assert rig.key_of() in rig.hosts[A].cache
    rig.healthy()


def test_no_encrypted_vm_comes_to_a_host_that_is_pending_incapable(rig: Rig) -> None:
    """HEM-03, whatever the user may."""
    rig.up(A, B)
    rig.vm(host=B)
    rig.do(DisableCrypto(host=A))
    mark, before = rig.mark(), len(rig.sent)
    error = rig.refused(create(VM2))
    assert isinstance(error, InvalidState)
    assert rig.ids(mark) == [E.HOST_CRYPTO_DISABLED]
    assert made_keys(rig, before) == []


def test_a_host_with_encrypted_vms_is_not_disabled(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    assert isinstance(rig.refused(DisableCrypto(host=A)), ResourceInUse)
    assert not rig.vcenter.inventory.hosts[A].kept_off
    assert states(rig, A) == [SAFE]


def test_a_disabling_whose_answer_was_lost_has_happened(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm(host=B)
    host = rig.services[A]
    assert isinstance(host, ScriptedHost)
    done, asked = host.disable, 0

    async def disable(message: CryptoManagerHostDisable, peer: Peer) -> Done:
        nonlocal asked
        asked += 1
        await done(message, peer)
        if asked == 1:
            raise Disconnected("the answer is lost")
        return Done()

    host.disable = disable  # type: ignore[method-assign]
    rig.do(DisableCrypto(host=A))
    assert asked == 2
    assert states(rig, A) == [PENDING] and rig.vcenter.inventory.hosts[A].kept_off


def test_what_the_hosts_own_administrator_disabled_is_respected(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm(host=B)
    rig.hosts[A].crypto_state = PENDING
    rig.sleep(400)  # vCenter sees it at a pass
    rig.reboot(A)
    rig.sleep(400)
    assert states(rig, A) == [INCAPABLE]


def test_an_administrator_may_ask_for_the_mode_again_before_the_reboot(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm(host=B)
    rig.do(DisableCrypto(host=A))
    rig.do(ConfigureCryptoKey(host=A))
    assert states(rig, A) == [SAFE]
    assert not rig.vcenter.inventory.hosts[A].kept_off


def test_prepare_is_for_an_incapable_host_only(rig: Rig) -> None:
    rig.up(A)
    rig.do(PrepareCrypto(host=A))
    assert rig.host_info(A).crypto_state is HostCryptoState.PREPARED
    assert isinstance(rig.refused(PrepareCrypto(host=A)), InvalidState)
    rig.vm()
    assert states(rig, A) == [SAFE]
    assert isinstance(rig.refused(PrepareCrypto(host=A)), InvalidState)


# ---- what vCenter has seen may be old -----------------------------------------------------


@pytest.mark.parametrize("register", [True, False])
def test_a_host_that_is_not_safe_any_more_says_so_before_a_key_is_made(
    rig: Rig, register: bool
) -> None:
    rig.up(A, B)
    rig.vm()
    rig.vm(VM2, encrypted=False)
    rig.sleep(1)
    rig.hosts[A].crypto_state = PENDING
    assert rig.host_info(A).crypto_state is SAFE, "vCenter's view is old"
    user = "" if register else unable(rig)
    mark, before = rig.mark(), len(rig.sent)
    error = rig.refused(EncryptVm(operation_id="e", vm=VM2), user)
    assert isinstance(error, InvalidState)
    assert rig.ids(mark) == [E.HOST_CRYPTO_DISABLED]
    assert made_keys(rig, before) == []
    assert rig.host_info(A).crypto_state is PENDING


def test_no_other_host_has_a_key_that_the_host_in_charge_did_not_take(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    rig.vm(VM2, encrypted=False)
    rig.sleep(1)
    held = set(rig.hosts[B].cache)
    rig.hosts[A].errors["AddKeys"] = InvalidState("disabled since it was asked")
    mark = rig.mark()
    assert isinstance(rig.refused(EncryptVm(operation_id="e", vm=VM2)), InvalidState)
    rig.sleep(30)
    assert E.HOST_CRYPTO_DISABLED in rig.ids(mark)
    assert set(rig.hosts[B].cache) == held


# ---- policy, HEM-05 -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "holds_keys", "kept_off", "safe"),
    [
        (CryptoMode.ON_DEMAND, False, False, False),
        (CryptoMode.ON_DEMAND, True, False, True),
        (CryptoMode.ON_DEMAND, True, True, False),
        (CryptoMode.ON_DEMAND, False, True, False),
        (CryptoMode.FORCE_ENABLE, False, False, True),
        (CryptoMode.FORCE_ENABLE, True, True, True),
        (CryptoMode.FORCE_ENABLE, False, True, True),
    ],
)
def test_which_hosts_are_kept_safe(
    policy: CryptoMode, holds_keys: bool, kept_off: bool, safe: bool
) -> None:
    assert should_be_safe(policy, holds_keys=holds_keys, kept_off=kept_off) is safe


def test_a_cluster_with_forced_mode_keeps_every_host_safe(rig: Rig) -> None:
    rig.up(A)
    assert states(rig, A) == [INCAPABLE]
    rig.do(SetCryptoMode(cluster=CLUSTER, crypto_mode=CryptoMode.FORCE_ENABLE))
    rig.sleep(5)
    assert states(rig, A) == [SAFE]
    assert isinstance(rig.refused(DisableCrypto(host=A)), InvalidState)
    assert states(rig, A) == [SAFE]
    rig.host(B)
    rig.sleep(5)
    assert states(rig, B) == [SAFE]
    rig.do(SetCryptoMode(cluster=CLUSTER, crypto_mode=CryptoMode.ON_DEMAND))
    rig.do(DisableCrypto(host=A))
    assert states(rig, A) == [PENDING]


def test_a_host_that_was_off_is_enabled_by_the_policy(rig: Rig) -> None:
    rig.up(A)
    rig.do(DisableCrypto(host=A))
    rig.do(SetCryptoMode(cluster=CLUSTER, crypto_mode=CryptoMode.FORCE_ENABLE))
    rig.reboot(VCENTER)
    rig.sleep(60)
    assert states(rig, A) == [SAFE]


def test_a_policy_is_of_a_cluster_that_is_there(rig: Rig) -> None:
    other = SetCryptoMode(cluster=ClusterName("other"), crypto_mode=CryptoMode.FORCE_ENABLE)
    assert isinstance(rig.refused(other), NotFound)


def policy(key: CryptoKeyId | None = None, provider: ProviderId | None = None) -> SetCryptoMode:
    named = CryptoModePolicy(key=key, provider=provider)
    return SetCryptoMode(cluster=CLUSTER, crypto_mode=CryptoMode.FORCE_ENABLE, policy=named)


def policies(rig: Rig) -> list[CryptoModePolicy | msgspec.UnsetType]:
    return [cluster.policy for cluster in rig.do(ListClusters()).clusters]


def test_a_policy_names_the_host_key_of_all(rig: Rig) -> None:
    """HEM-05: of hosts that have another one too, and of those that come later; not of one for
    which an administrator chose another. It lasts, and ends with a call without it."""
    rig.up(A, B)
    rig.vm()
    chosen, named = generated(rig, "chosen"), generated(rig, "named")
    rig.do(ConfigureCryptoKey(host=B, key=chosen))
    rig.do(policy(named))
    rig.sleep(5)
    rig.host(C)
    rig.sleep(5)
    assert [rig.hosts[host].host_key for host in (A, B, C)] == [named, chosen, named]
    assert policies(rig) == [CryptoModePolicy(key=named)]
    rig.reboot(VCENTER)
    rig.reboot(A)
    rig.sleep(700)
    assert states(rig, A, B, C) == [SAFE] * 3 and rig.hosts[A].host_key == named
    rig.do(SetCryptoMode(cluster=CLUSTER, crypto_mode=CryptoMode.ON_DEMAND))
    assert policies(rig) == [msgspec.UNSET] and rig.hosts[A].host_key == named


def test_a_policy_names_who_makes_the_host_key(rig: Rig) -> None:
    rig.up(A)
    rig.provider(Q, (NodeName("kms-2"),))
    rig.do(policy(provider=Q))
    rig.sleep(5)
    key = rig.hosts[A].host_key
    assert key is not None and key.provider_id == Q and states(rig, A) == [SAFE]
    assert policies(rig) == [CryptoModePolicy(provider=Q)]


def test_a_provider_that_is_named_and_gone_is_not_replaced(rig: Rig) -> None:
    """Restored under its name it makes the key (DEL-01)."""
    rig.up(A)
    rig.provider(Q, (NodeName("kms-2"),))
    rig.cut((VCENTER, A))
    rig.do(policy(provider=Q))
    rig.do(UnregisterKmsCluster(provider=Q))
    rig.heal()
    rig.sleep(400)
    assert states(rig, A) != [SAFE]
    rig.provider(Q, (NodeName("kms-2"),))
    rig.sleep(400)
    key = rig.hosts[A].host_key
    assert key is not None and key.provider_id == Q and states(rig, A) == [SAFE]


def test_a_host_key_that_is_named_is_not_renewed(rig: Rig) -> None:
    """HEM-07: it is missed, and told of."""
    rig.up(A)
    rig.vm()
    named = generated(rig, "named")
    rig.do(policy(named))
    rig.sleep(5)
    del rig.servers[KMS].keys[named.key_id]
    mark = rig.mark()
    rig.reboot(A)
    rig.sleep(400)
    assert rig.hosts[A].host_key == named and states(rig, A) == [HostCryptoState.PREPARED]
    assert E.HOST_REQ_ENABLE_KEY_MISSING_ON_KMS in rig.ids(mark)


def test_what_a_policy_cannot_name(rig: Rig) -> None:
    rig.up(A)
    absent = CryptoKeyId(KeyId("none"), P)
    for wrong in (
        policy(absent),
        policy(CryptoKeyId(KeyId("k"), Q)),
        policy(provider=Q),
        policy(absent, P),
    ):
        assert isinstance(rig.refused(wrong), InvalidArgument)
    assert states(rig, A) == [INCAPABLE] and policies(rig) == [msgspec.UNSET]


# ---- a host key that an administrator chooses ---------------------------------------------


def generated(rig: Rig, name: str = "g") -> CryptoKeyId:
    made = rig.do(GenerateKey(operation_id=name))
    assert made.key is not None
    return made.key


def test_a_chosen_host_key_is_of_that_host_alone_and_lasts(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    shared = rig.hosts[A].host_key
    chosen = generated(rig)
    mark = rig.mark()
    rig.do(ConfigureCryptoKey(host=A, key=chosen))
    assert (rig.hosts[A].host_key, rig.hosts[B].host_key) == (chosen, shared)
    assert rig.ids(mark) == [E.HOST_KEY_UPDATED]
    rig.reboot(A)
    rig.reboot(VCENTER)
    rig.sleep(700)
    assert (rig.hosts[A].host_key, rig.hosts[B].host_key) == (chosen, shared)
    assert states(rig, A, B) == [SAFE, SAFE]
    assert shared is not None
    rig.do(ConfigureCryptoKey(host=A, key=shared))  # its cluster's again
    assert rig.hosts[A].host_key == shared
    assert rig.vcenter.inventory.hosts[A].host_key is None


def test_a_key_that_cannot_be_had_changes_no_host(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    before = rig.hosts[A].host_key
    wrong = CryptoKeyId(KeyId("none"), P)
    assert isinstance(rig.refused(ConfigureCryptoKey(host=A, key=wrong)), InvalidArgument)
    chosen = generated(rig)
    rig.cut((VCENTER, KMS))
    refused = rig.refused(ConfigureCryptoKey(host=A, key=chosen))
    assert isinstance(refused, KeyProviderUnreachable)
    rig.heal()
    rig.do(UnregisterKmsCluster(provider=P))
    assert isinstance(rig.refused(ConfigureCryptoKey(host=A, key=chosen)), InvalidArgument)
    assert rig.hosts[A].host_key == before
    assert rig.vcenter.inventory.hosts[A].host_key is None


# ---- keys and modes, pure -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("absent", "takes_keys", "supplied", "refused"),
    [(True, True, True, False), (True, False, False, True), (False, False, False, False)],
)
def test_a_host_whose_mode_takes_no_keys_gets_none(
    absent: bool, takes_keys: bool, supplied: bool, refused: bool
) -> None:
    key = CryptoKeyId(KeyId("k"), P)
    lacking = frozenset({key} if absent else ())
    facts = PlannedKeyFacts(
        (key,), lacking, (), (), {}, takes_keys=takes_keys, granted=frozenset({key})
    )
    assert plan_keys(facts) == ((Supply(P, (key,)),) if supplied else ())
    assert keys_refused_by_mode(facts) == ((key,) if refused else ())
