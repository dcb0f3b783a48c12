"""What changes while a pass of step B8 waits: after a wait nothing read before is believed."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from protocol.errors import KeyProviderUnreachable, ProductError
from protocol.events import EventTypeId
from protocol.messages.agent import DelayRule
from protocol.messages.base import Request
from protocol.messages.vcenter.inventory import AddHost, HostChanged, ListHosts
from protocol.messages.vcenter.providers import KmipServer, RegisterKmsCluster, UnregisterKmsCluster
from protocol.messages.vcenter.vms import EncryptVm, PowerOffVm, PowerOnVm
from protocol.terms import CryptoKeyId, HostCryptoState, KeyId, KmipState, NodeName, Role, VmName
from tests.services.vcenter.peers import VCENTER, HostRecord, ScriptedHost, ServerRecord
from tests.services.vcenter.rig import CLUSTER, KMS, A, B, P, Q, Rig

KMS2 = NodeName("kms2")
BUSY = VmName("vm-02")
SLOW_S = 6.0


def slow(rig: Rig, *servers: NodeName, by_s: float = SLOW_S) -> None:
    """Answers of these key servers take so long from now on."""
    rules = [DelayRule(id="slow", src=one, dst=VCENTER, base_s=by_s) for one in servers]
    rig.world.rules.apply(rig.rules.put(rules))


def beside(rig: Rig, work: Coroutine[Any, Any, Any]) -> None:
    rig.world.spawn(None, "beside", work)


def until(rig: Rig, message: tuple[str, str, str], since: int) -> None:
    """Until this request was sent."""
    for _ in range(2_000):
        if message in rig.requests(since):
            return
        rig.sleep(0.01)
    raise AssertionError(f"{message} was never sent")


def a_pass_that_waits_for_a_new_host_key(rig: Rig, *, keys_here: bool) -> int:
    """P is deleted, its keys are on A or not, and A's pass waits for another host key of Q."""
    rig.up(A)
    rig.provider(Q, (KMS2,))
    rig.vm()
    rig.hosts[A].persistence = True
    rig.power_off(A)
    rig.hosts[A].crypto_state = HostCryptoState.PREPARED
    rig.provider(Q, (KMS2,), default=True)
    rig.do(UnregisterKmsCluster(provider=P))
    rig.sleep(60)
    if not keys_here:
        rig.hosts[A].cache.clear()
    slow(rig, KMS2)
    before = len(rig.sent)
    rig.power_on(A)
    until(rig, (VCENTER, KMS2, "CreateKey"), before)
    return before


def again(rig: Rig) -> Request[Any]:
    return RegisterKmsCluster(provider=P, servers=(KmipServer(name=KMS, node=KMS),))


def test_keys_of_a_provider_that_came_back_while_a_pass_waited_stay() -> None:
    rig = Rig(provider_delete_grace_s=0.0)
    before = a_pass_that_waits_for_a_new_host_key(rig, keys_here=True)
    assert rig.key_of() in rig.hosts[A].cache
    rig.do(again(rig))
    rig.sleep(30)
    assert rig.hosts[A].crypto_state is HostCryptoState.SAFE
    assert (VCENTER, A, "RemoveKeys") not in rig.requests(before)  # DEL-02 is over
    assert rig.key_of() in rig.hosts[A].cache
    rig.healthy()
    rig.close()


def test_no_lock_for_a_provider_that_came_back_while_a_pass_waited() -> None:
    rig = Rig(auto_unlock=False)
    before = a_pass_that_waits_for_a_new_host_key(rig, keys_here=False)
    rig.do(again(rig))
    rig.sleep(30)
    assert (VCENTER, KMS, "GetKeys") in rig.requests(before)
    assert rig.key_of() in rig.hosts[A].cache
    assert rig.vm_info().lock_event is None
    rig.healthy()
    rig.close()


def test_of_two_hosts_with_keys_of_their_own_the_second_takes_the_firsts(rig: Rig) -> None:
    """vCenter was rebuilt and knows no host key of the cluster; both passes run at once."""
    rig.provider()
    server: ServerRecord = rig.servers[KMS]
    for host, name in ((A, "a"), (B, "b")):
        key = CryptoKeyId(KeyId(name), P)
        server.keys[key.key_id] = (name.encode() * 32, KmipState.ACTIVE)
        rig.hosts[host] = HostRecord(
            crypto_state=HostCryptoState.SAFE,
            host_key=key,
            persistence=True,
            cache={key: name.encode() * 32},
        )
        rig.add(host, Role.ESXI)
    for host in (A, B):
        beside(rig, rig.ask(AddHost(host=host, cluster=CLUSTER)))
    rig.sleep(20)
    keys = {info.host: info.crypto_key_id for info in rig.do(ListHosts()).hosts}
    recorded = rig.vcenter.inventory.clusters[CLUSTER].host_key
    assert keys == {A: recorded, B: recorded}


def test_a_pass_over_an_earlier_life_of_a_host_judges_nothing() -> None:
    """Its cache was full when the pass looked, and is empty when the pass judges."""
    rig = Rig()
    rig.up(A)
    rig.vm()
    rig.cut((VCENTER, KMS))
    rig.reboot(A)
    rig.sleep(60)
    assert rig.vm_info().lock_event is not None
    key = rig.key_of()
    rig.hosts[A].cache[key] = rig.servers[KMS].keys[key.key_id][0]  # by its administrator
    rig.heal()
    slow(rig, KMS)
    mark, before = rig.mark(), len(rig.sent)
    until(rig, (VCENTER, KMS, "GetKeys"), before)  # its host key; the VM's key is there
    rig.reboot(A)
    rig.cut((VCENTER, KMS))
    rig.sleep(60)
    assert key not in rig.hosts[A].cache
    told = [event.value for event in rig.ids(mark)]
    assert not [name for name in told if "Locked" in name or "Unlocked" in name], told
    assert rig.vm_info().lock_event is not None
    rig.healthy()
    rig.close()


def test_a_host_that_rings_is_heard_while_commands_keep_it_busy(rig: Rig) -> None:
    """Each view is older than a command that is under way, so none of them is believed."""
    rig.up(A)
    rig.vm()
    rig.vm(BUSY, encrypted=False)
    rig.world.rules.apply(rig.rules.put([DelayRule(id="slow", src=VCENTER, dst=A, base_s=1)]))

    async def keep_busy() -> None:
        for _ in range(30):
            await rig.ask(PowerOnVm(vm=BUSY))
            await rig.ask(PowerOffVm(vm=BUSY))

    beside(rig, keep_busy())
    rig.sleep(0.5)
    rig.hosts[A].cache.clear()
    host = rig.services[A]
    assert isinstance(host, ScriptedHost)
    beside(rig, host.bus.request(VCENTER, HostChanged(boot=1), within_s=5))
    rig.sleep(20)
    assert rig.key_of() in rig.hosts[A].cache


def test_two_hosts_that_need_a_host_key_at_once_get_one(rig: Rig) -> None:
    """HEM-06: the cluster's first host key is made by the first that needs it; the other waits."""
    rig.up(A, B)
    vms = {A: VmName("vm-a"), B: VmName("vm-b")}
    for host, name in vms.items():
        rig.vm(name, host, encrypted=False)
    slow(rig, KMS)
    before = len(rig.sent)
    for name in vms.values():
        beside(rig, rig.ask(EncryptVm(operation_id=rig.operation(), vm=name)))
    rig.sleep(120)
    keys = {info.host: info.crypto_key_id for info in rig.do(ListHosts()).hosts}
    assert keys[A] == keys[B] == rig.vcenter.inventory.clusters[CLUSTER].host_key is not None
    assert all(rig.vm_info(name).key is not None for name in vms.values())
    made = [message for message in rig.requests(before) if message == (VCENTER, KMS, "CreateKey")]
    assert len(made) == 3, "one for each VM, and one for the cluster"
    rig.healthy()


def until_asked(rig: Rig, name: str, since: int) -> None:
    """Until vCenter has sent this request to one of the two key servers."""
    for _ in range(2_000):
        if any(to in (KMS, KMS2) and said == name for _, to, said in rig.requests(since)):
            return
        rig.sleep(0.01)
    raise AssertionError(f"{name} was never sent")


def refused_beside(rig: Rig, message: Request[Any]) -> list[ProductError]:
    """Ask vCenter meanwhile; filled with the error when it is refused."""
    errors: list[ProductError] = []

    async def ask() -> None:
        try:
            await rig.ask(message)
        except ProductError as error:
            errors.append(error)

    beside(rig, ask())
    return errors


def two_servers(**knobs: Any) -> Rig:
    """Host A with an encrypted VM under P, which has two key servers, and one that is not."""
    rig = Rig(kms_health_interval_s=10_000.0, **knobs)
    rig.provider(P, (KMS, KMS2))
    rig.host(A)
    rig.vm()
    rig.vm(BUSY, encrypted=False)
    return rig


def test_no_second_server_is_asked_of_a_provider_that_was_deleted_meanwhile() -> None:
    """A key is made, and the first of two key servers is silent when the provider is deleted."""
    rig = two_servers()
    slow(rig, KMS, KMS2, by_s=1_000.0)
    mark, before = rig.mark(), len(rig.sent)
    encrypt = EncryptVm(operation_id=rig.operation(), vm=BUSY, provider=P)
    errors = refused_beside(rig, encrypt)
    until_asked(rig, "CreateKey", before)
    rig.do(UnregisterKmsCluster(provider=P))
    since = len(rig.sent)
    rig.sleep(120)
    assert [type(error) for error in errors] == [KeyProviderUnreachable]
    assert "deleted" in str(errors[0])
    assert not [sent for sent in rig.requests(since) if sent[1] in (KMS, KMS2)]
    assert EventTypeId.KMS_UNREACHABLE not in rig.ids(mark)
    rig.healthy()
    rig.close()


def test_a_fetch_goes_on_at_the_servers_that_the_provider_has_now() -> None:
    """A host boots and needs keys; the server that vCenter waits for is replaced meanwhile."""
    rig = two_servers()
    key = rig.key_of()
    rig.power_off(A)
    slow(rig, KMS, KMS2, by_s=1_000.0)
    before = len(rig.sent)
    rig.power_on(A)
    until_asked(rig, "GetKeys", before)
    kms3 = NodeName("kms3")
    rig.servers[kms3] = rig.servers[KMS]
    rig.servers[kms3].keys |= rig.servers[KMS2].keys
    rig.add(kms3, Role.KMS)
    rig.provider(P, (kms3,))
    rig.sleep(12)  # one time-out of the old server; no reconciliation is due
    assert (VCENTER, kms3, "GetKeys") in rig.requests(before)
    assert key in rig.hosts[A].cache
    rig.healthy()
    rig.close()
