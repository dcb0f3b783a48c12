"""Creating VMs: an encrypted one is one task, which makes it whole or not at all."""

from __future__ import annotations

import asyncio

import pytest

from protocol.errors import (
    DatastoreFault,
    InvalidState,
    KeyProviderUnreachable,
    NotFound,
    ProductError,
    SaveFailed,
)
from protocol.events import EventTypeId
from protocol.messages.agent import DelayRule
from protocol.messages.vcenter.inventory import RemoveHost
from protocol.messages.vcenter.vms import CreateVm, ListVms
from protocol.terms import HostCryptoState, NodeName, ProviderId, VmName
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, Rig

VM2 = VmName("vm-02")


def encrypted(vm: VmName = VM, operation: str = "op") -> CreateVm:
    return CreateVm(operation_id=operation, vm=vm, cluster=CLUSTER, host=A, encrypted=True)


def test_four_requests_make_an_encrypted_vm(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    before = len(rig.sent)
    made = rig.do(encrypted(VM2)).vm
    assert rig.requests(before) == [
        (VCENTER, A, "QueryHost"),
        (VCENTER, KMS, "CreateKey"),
        (VCENTER, A, "AddKeys"),
        (VCENTER, A, "HostCreateVm"),
    ]
    assert made.key is not None and rig.hosts[A].vms[VM2].keys == (made.key,)
    assert rig.ids()[-1] is EventTypeId.CRYPTO_OPERATION
    assert made.key != rig.key_of(VM)


def test_the_first_encrypted_vm_makes_its_whole_cluster_safe(rig: Rig) -> None:
    rig.up(A, B)
    key = rig.do(encrypted()).vm.key
    rig.sleep(5)
    assert rig.hosts[B].crypto_state is HostCryptoState.SAFE and key in rig.hosts[B].cache


@pytest.mark.parametrize(
    ("message", "answer", "refused"),
    [
        ("AddKeys", InvalidState("takes no keys"), InvalidState),
        ("HostCreateVm", DatastoreFault("no space"), DatastoreFault),
        ("CryptoManagerHostPrepare", InvalidState("no"), InvalidState),
    ],
)
def test_what_a_host_refuses_leaves_no_vm(
    rig: Rig, message: str, answer: ProductError, refused: type[ProductError]
) -> None:
    rig.up(A)
    rig.hosts[A].errors[message] = answer
    assert isinstance(rig.refused(encrypted()), refused)
    assert rig.do(ListVms()).vms == () and rig.hosts[A].vms == {}


@pytest.mark.parametrize(
    ("answer", "kept"), [(DatastoreFault("no space"), False), (SaveFailed("disk full"), True)]
)
def test_a_key_is_taken_back_only_if_there_is_certainly_no_vm_under_it(
    rig: Rig, answer: ProductError, kept: bool
) -> None:
    rig.up(A)
    rig.vm()
    before = set(rig.hosts[A].cache)
    rig.hosts[A].errors["HostCreateVm"] = answer
    rig.refused(encrypted(VM2))
    [key] = set(rig.hosts[A].cache) - before
    rig.sleep(900)
    assert (key in rig.hosts[A].cache) is kept
    assert before <= set(rig.hosts[A].cache)


def test_without_its_key_no_vm_is_made_and_a_repeat_makes_it(rig: Rig) -> None:
    rig.up(A)
    rig.cut((VCENTER, KMS))
    before = len(rig.sent)
    assert isinstance(rig.refused(encrypted()), KeyProviderUnreachable)
    unknown = CreateVm(
        operation_id="other", vm=VM, cluster=CLUSTER, encrypted=True, provider=ProviderId("x")
    )
    assert isinstance(rig.refused(unknown), NotFound)
    assert (VCENTER, A, "HostCreateVm") not in rig.requests(before)
    assert rig.do(ListVms()).vms == ()
    rig.heal()
    made = rig.do(encrypted()).vm
    assert made.key is not None and made.key in rig.hosts[A].cache


def test_a_repeat_goes_elsewhere_when_the_host_that_was_chosen_has_left(rig: Rig) -> None:
    rig.up(A, B)
    create = CreateVm(operation_id="op", vm=VM, cluster=CLUSTER)
    rig.hosts[A].errors["HostCreateVm"] = DatastoreFault("no space")
    rig.refused(create)
    rig.do(RemoveHost(host=A))
    assert rig.do(create).vm.host == B


def test_the_key_of_a_repeated_creation_is_taken_from_nobody_meanwhile(rig: Rig) -> None:
    """The first try failed, and its key was to leave the hosts; a pass falls into the second."""
    rig.up(A)
    rig.vm()
    rig.hosts[A].errors["HostCreateVm"] = DatastoreFault("no space")
    rig.refused(encrypted(VM2))
    rig.hosts[A].errors.clear()
    rig.sleep(15)
    slow = DelayRule(id="slow", src=VCENTER, dst=A, base_s=2)
    rig.world.rules.apply(rig.rules.put([slow]))

    async def pass_meanwhile() -> None:
        await rig.world.sleep(1)
        rig.vcenter.passes.want(A, looked=True, removing=True)

    async def both() -> None:
        await asyncio.gather(rig.ask(encrypted(VM2)), pass_meanwhile())

    rig.run(both())
    assert rig.key_of(VM2) in rig.hosts[A].cache


@pytest.mark.parametrize("fails", [False, True])
def test_vms_that_are_made_at_once_are_placed_apart(rig: Rig, fails: bool) -> None:
    """The second is placed while the first is being made; one that failed counts no more."""
    rig.up(A, B)
    rig.vm(VM, A, encrypted=False)
    rig.vm(VmName("vm-b"), B, encrypted=False)
    if fails:
        rig.hosts[A].errors["HostCreateVm"] = DatastoreFault("no space")
        rig.refused(CreateVm(operation_id="failed", vm=VmName("vm-x"), cluster=CLUSTER))
        rig.hosts[A].errors.clear()

    async def at_once() -> list[NodeName]:
        asked = [CreateVm(operation_id=n, vm=VmName(n), cluster=CLUSTER) for n in ("1", "2", "3")]
        return [made.vm.host for made in await asyncio.gather(*map(rig.ask, asked))]

    assert sorted(rig.run(at_once())) == [A, A, B]


def test_a_repeat_after_a_crash_goes_on_with_the_key_that_was_made(rig: Rig) -> None:
    rig.up(A)
    rig.hosts[A].errors["HostCreateVm"] = DatastoreFault("no space")
    rig.refused(encrypted())
    keys = set(rig.servers[KMS].keys)
    rig.hosts[A].errors.clear()
    rig.reboot(VCENTER)
    rig.sleep(10)
    made = rig.do(encrypted()).vm
    assert set(rig.servers[KMS].keys) == keys and made.key is not None
    assert rig.do(encrypted()).vm == made
