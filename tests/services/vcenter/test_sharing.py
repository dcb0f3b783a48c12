"""How many messages the keys of many VMs are, and what becomes of keys that are on their way to the
other hosts of a cluster when nobody should have them any more.

STD-12 gathers them and sends them soon; STD-17, SC-16 and DEL-02 take them away. Whatever the
order of the two on the wire, in the end no host has such a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from protocol.errors import DatastoreFault, InvalidState, NotFound, ProductError
from protocol.messages.agent import DelayRule, PowerOn
from protocol.messages.vcenter.inventory import RemoveHost
from protocol.messages.vcenter.providers import RemoveKey, UnregisterKmsCluster
from protocol.messages.vcenter.vms import CreateVm, DestroyVm, EncryptVm, RegisterVm, UnregisterVm
from protocol.terms import CryptoKeyId, NodeName, VmName
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import CLUSTER, KMS, A, B, P, Rig

VM2 = VmName("vm-02")


RigOf = Callable[..., Rig]
TwoHosts = Callable[..., Rig]


@pytest.fixture
def rig_of() -> Iterator[RigOf]:
    """Makes a lab with these settings and knobs."""
    made: list[Rig] = []

    def make(config: dict[str, Any] | None = None, **knobs: Any) -> Rig:
        rig = Rig(config=config, **knobs)
        made.append(rig)
        return rig

    yield make
    for rig in made:
        rig.healthy()
        rig.close()


@pytest.fixture
def two_hosts(rig_of: RigOf) -> TwoHosts:
    """Makes a lab with these knobs: two hosts, safe and quiet, with a VM whose key both have."""

    def make(**knobs: Any) -> Rig:
        rig = rig_of(**knobs)
        rig.up(A, B)
        rig.vm()
        rig.sleep(40)
        assert rig.key_of() in rig.hosts[B].cache
        return rig

    return make


def new_key(rig: Rig) -> CryptoKeyId:
    """Another VM on A; its key is there, and not on B yet."""
    vm = rig.do(CreateVm(operation_id="op", vm=VM2, cluster=CLUSTER, host=A, encrypted=True)).vm
    assert vm.key is not None
    assert vm.key in rig.hosts[A].cache and vm.key not in rig.hosts[B].cache
    return vm.key


def nowhere(rig: Rig, key: CryptoKeyId) -> None:
    assert key not in rig.hosts[A].cache and key not in rig.hosts[B].cache


def sent_to(rig: Rig, host: NodeName, name: str, since: int) -> int:
    """How many messages of that name vCenter sent to the host."""
    return sum((dst, rest) == (host, name) for _, dst, rest in rig.requests(since))


def vms(rig: Rig, count: int) -> list[VmName]:
    """Encrypted VMs on A, made one after another; nobody sleeps afterwards."""
    names = [VmName(f"many-{n}") for n in range(count)]
    for name in names:
        rig.do(
            CreateVm(operation_id=f"op-{name}", vm=name, cluster=CLUSTER, host=A, encrypted=True)
        )
    return names


def test_a_full_message_does_not_wait(rig_of: RigOf) -> None:
    rig = rig_of(config={"keys_at_once": 3}, key_gather_s=60.0)
    rig.up(A, B)
    rig.vm()
    rig.sleep(61)
    since = len(rig.sent)
    names = vms(rig, 7)
    rig.sleep(1)
    here = set(rig.hosts[B].cache)
    assert [rig.key_of(name) in here for name in names] == [True] * 6 + [False]
    assert sent_to(rig, B, "AddKeys", since) == 2
    rig.sleep(60)
    assert rig.key_of(names[-1]) in rig.hosts[B].cache
    assert sent_to(rig, B, "AddKeys", since) == 3


def test_the_pass_that_makes_a_host_safe_brings_new_keys_without_asking_for_them(
    rig_of: RigOf,
) -> None:
    rig = rig_of()
    rig.up(A, B)
    since = len(rig.sent)
    keys = {rig.key_of(name) for name in vms(rig, 5)}
    rig.sleep(10)
    assert keys <= rig.hosts[B].cache.keys()
    assert sent_to(rig, B, "AddKeys", since) == 1
    assert sent_to(rig, KMS, "GetKeys", since) == 1, "the host key, for B"


def test_a_pass_that_fails_leaves_no_value_behind_and_the_next_one_fetches(rig_of: RigOf) -> None:
    rig = rig_of()
    rig.up(A, B)
    rig.hosts[B].errors["CryptoManagerHostPrepare"] = InvalidState("not now")
    (name,) = vms(rig, 1)
    rig.sleep(10)
    assert rig.key_of(name) not in rig.hosts[B].cache
    assert rig.vcenter.held.count(B) == 0
    del rig.hosts[B].errors["CryptoManagerHostPrepare"]
    rig.sleep(320)
    assert rig.key_of(name) in rig.hosts[B].cache


@pytest.mark.parametrize("leaves", [DestroyVm, UnregisterVm])
def test_many_vms_that_leave_are_few_passes_over_the_other_hosts(
    rig_of: RigOf, leaves: type[DestroyVm | UnregisterVm]
) -> None:
    rig = rig_of()
    rig.up(A, B)
    names = vms(rig, 20)
    rig.sleep(10)
    keys = {rig.key_of(name) for name in names}
    assert keys <= rig.hosts[B].cache.keys()
    since = len(rig.sent)
    for name in names:
        rig.do(leaves(vm=name))
    rig.sleep(10)
    for host in (A, B):
        assert not keys & rig.hosts[host].cache.keys()
        assert 1 <= sent_to(rig, host, "RemoveKeys", since) <= 3
        assert sent_to(rig, host, "GetCryptoKeyStatus", since) <= 3


def test_many_vms_that_come_are_few_passes_over_the_other_hosts(rig_of: RigOf) -> None:
    rig = rig_of()
    rig.up(A, B)
    rig.vm()
    names = vms(rig, 20)
    keys = {rig.key_of(name) for name in names}
    for name in names:
        rig.do(UnregisterVm(vm=name))
    rig.sleep(10)
    assert not keys & rig.hosts[B].cache.keys()
    since = len(rig.sent)
    for name in names:
        rig.do(RegisterVm(vm=name, cluster=CLUSTER, host=A))
    rig.sleep(10)
    assert keys <= rig.hosts[B].cache.keys()
    assert 1 <= sent_to(rig, B, "AddKeys", since) <= 3


def test_a_key_removed_by_force_is_not_sent_any_more(two_hosts: TwoHosts) -> None:
    rig = two_hosts(key_gather_s=20.0)
    key = new_key(rig)
    rig.do(RemoveKey(key=key, force=True))
    rig.sleep(400)
    nowhere(rig, key)


def test_a_key_of_a_deleted_provider_is_not_sent_after_its_eviction(two_hosts: TwoHosts) -> None:
    rig = two_hosts(key_gather_s=60.0, provider_delete_grace_s=0.0, remediation_interval_s=15.0)
    key = new_key(rig)
    rig.do(UnregisterKmsCluster(provider=P))
    rig.sleep(400)
    nowhere(rig, key)


def test_a_key_of_a_vm_that_left_with_its_host_is_not_sent_any_more(two_hosts: TwoHosts) -> None:
    rig = two_hosts(key_gather_s=20.0)
    key = new_key(rig)
    rig.do(RemoveHost(host=A))
    rig.sleep(400)
    assert key not in rig.hosts[B].cache


def test_a_key_of_a_vm_that_was_not_made_is_not_sent_at_all(two_hosts: TwoHosts) -> None:
    rig = two_hosts(key_gather_s=20.0)
    rig.hosts[A].errors["HostCreateVm"] = DatastoreFault("no space")
    before = len(rig.sent)
    rig.refused(
        CreateVm(operation_id="op", vm=VM2, cluster=CLUSTER, host=A, encrypted=True),
    )
    rig.sleep(60)
    sent = rig.requests(before)
    assert (VCENTER, A, "AddKeys") in sent and (VCENTER, B, "AddKeys") not in sent


def test_a_key_for_a_host_that_was_removed_is_dropped(two_hosts: TwoHosts) -> None:
    rig = two_hosts(key_gather_s=20.0)
    key = new_key(rig)
    rig.do(RemoveHost(host=B))
    rig.sleep(60)
    assert key not in rig.hosts[B].cache
    assert not rig.vcenter.passes.unfinished(B), "it was tried all the same"


def lost_on_its_way(rig: Rig) -> CryptoKeyId:
    """vCenter has sent B the key, and will send it again, because no answer comes."""
    key = new_key(rig)
    rig.cut((VCENTER, B))
    rig.sleep(2)
    rig.heal()
    return key


def test_a_key_that_is_sent_again_does_not_outlive_its_vm(two_hosts: TwoHosts) -> None:
    rig = two_hosts()
    key = lost_on_its_way(rig)
    rig.do(DestroyVm(vm=VM2))
    rig.sleep(400)
    nowhere(rig, key)


def test_a_key_that_is_sent_again_does_not_outlive_its_removal(two_hosts: TwoHosts) -> None:
    rig = two_hosts()
    key = lost_on_its_way(rig)
    rig.do(RemoveKey(key=key, force=True))
    rig.sleep(400)
    nowhere(rig, key)


def test_a_key_that_is_sent_again_does_not_outlive_its_provider(two_hosts: TwoHosts) -> None:
    rig = two_hosts(provider_delete_grace_s=0.0, remediation_interval_s=5.0)
    key = lost_on_its_way(rig)
    rig.do(UnregisterKmsCluster(provider=P))
    rig.sleep(400)
    nowhere(rig, key)


def test_a_key_made_while_its_provider_is_deleted_goes_nowhere(two_hosts: TwoHosts) -> None:
    """The key server is slow: its answer comes when the keys of its provider have left.

    It leaves at once, long before the next repair of all hosts.
    """
    rig = two_hosts(provider_delete_grace_s=0.0)
    rule = DelayRule(id="slow", src=KMS, dst=VCENTER, base_s=8.0)
    rig.world.rules.apply(rig.rules.put([rule]))
    create = CreateVm(operation_id="op", vm=VM2, cluster=CLUSTER, host=A, encrypted=True)

    outcome: list[ProductError] = []

    async def ask() -> None:
        try:
            await rig.ask(create)
        except ProductError as error:
            outcome.append(error)

    rig.world.spawn(None, "beside", ask())
    rig.sleep(1)
    rig.do(UnregisterKmsCluster(provider=P))
    rig.vcenter.reconciliation.soon()
    rig.sleep(4)
    assert not rig.hosts[A].cache and not outcome
    rig.sleep(20)
    assert [type(error) for error in outcome] == [NotFound]
    assert VM2 not in rig.hosts[A].vms
    assert not [k for host in (A, B) for k in rig.hosts[host].cache if k.provider_id == P]


@pytest.mark.parametrize(
    ("command", "refused"),
    [("HostCreateVm", True), ("HostCreateVm", False), ("ReconfigureVm", False)],
)
def test_a_key_of_a_vm_whose_host_was_removed_before_it_was_known_leaves_the_others(
    two_hosts: TwoHosts, command: str, refused: bool
) -> None:
    """B has the key when A's answer comes, and A has left meanwhile."""
    rig = two_hosts()
    task: CreateVm | EncryptVm = CreateVm(
        operation_id="op", vm=VM2, cluster=CLUSTER, host=A, encrypted=True
    )
    if command == "ReconfigureVm":
        rig.vm(VM2, encrypted=False)
        task = EncryptVm(operation_id="op", vm=VM2)
    before = set(rig.hosts[B].cache)
    if refused:
        rig.hosts[A].errors[command] = DatastoreFault("no room")
    rule = DelayRule(id="slow", src=A, dst=VCENTER, base_s=8.0)
    rig.world.rules.apply(rig.rules.put([rule]))
    outcomes: list[ProductError] = []

    async def made() -> None:
        try:
            await rig.ask(task)
        except ProductError as error:
            outcomes.append(error)

    rig.hosts[A].seen.clear()
    rig.world.spawn(None, "made", made())
    while command not in rig.hosts[A].seen:
        rig.sleep(0.5)
    rig.sleep(3)
    assert len(set(rig.hosts[B].cache) - before) == 1
    rig.do(RemoveHost(host=A))
    rig.sleep(400)
    assert [type(error) for error in outcomes] == [DatastoreFault if refused else NotFound]
    assert not set(rig.hosts[B].cache) - before


@pytest.mark.parametrize("way", ["create", "encrypt"])
def test_a_host_that_connects_while_a_vm_is_encrypted_has_its_key_soon(
    two_hosts: TwoHosts, way: str
) -> None:
    """It was not there when the key was given, and its own pass comes before the VM has one."""
    rig = two_hosts()
    rig.power_off(B)
    rig.sleep(60)
    message: CreateVm | EncryptVm
    message = CreateVm(operation_id="op", vm=VM2, cluster=CLUSTER, host=A, encrypted=True)
    if way == "encrypt":
        rig.do(msgspec.structs.replace(message, operation_id="plain", encrypted=False))
        message = EncryptVm(operation_id="op", vm=VM2)
    service: Any = rig.services[A]
    name = "create_vm" if way == "create" else "reconfigure"
    real = getattr(service, name)

    async def after_the_pass(*asked: Any) -> Any:
        await rig.agent.power_on(PowerOn(node=B, options={}))
        await rig.world.sleep(5)
        return await real(*asked)

    setattr(service, name, after_the_pass)
    rig.do(message)
    assert rig.key_of(VM2) not in rig.hosts[B].cache
    rig.sleep(5)
    assert rig.key_of(VM2) in rig.hosts[B].cache
