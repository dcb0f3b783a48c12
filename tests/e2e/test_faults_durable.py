"""Durable before acknowledged: what was answered is there after its server lost power."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from protocol.messages.kms.keys import CreateKey, GetAttributes, Revoke
from protocol.messages.vcenter.providers import ListKmsClusters, UnregisterKmsCluster
from protocol.messages.vcenter.vms import CreateVm, EncryptVm, ListVms
from protocol.terms import KmipState, NodeName, ProviderId, RevocationReason, VmName
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
KMS, VCENTER = NodeName("kms"), NodeName("vcenter")


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=1, vms=1)
    yield made
    made.close()


def power_loss(world: World, node: NodeName) -> None:
    world.run(world.lab.power_off(node, "power_loss"))
    world.run(world.lab.power_on(node))


def test_a_key_server_without_power_has_every_key_it_answered(world: World) -> None:
    lab = world.lab
    made = [
        world.run(lab.ask(KMS, CreateKey(operation_id=f"op-{n}", activate=True))) for n in range(3)
    ]
    revoke = Revoke(key_id=made[2].key_id, reason=RevocationReason.CESSATION_OF_OPERATION)
    world.run(lab.ask(KMS, revoke))
    power_loss(world, KMS)
    ids = tuple(m.key_id for m in made)
    found = world.run(lab.ask(KMS, GetAttributes(key_ids=ids))).keys
    assert [(k.key_id, k.state) for k in found] == [
        (ids[0], KmipState.ACTIVE),
        (ids[1], KmipState.ACTIVE),
        (ids[2], KmipState.DEACTIVATED),
    ]


def test_a_vcenter_without_power_knows_all_it_answered(world: World) -> None:
    lab = world.lab
    cluster = world.run(lab.ask(VCENTER, ListVms())).vms[0].cluster
    create = CreateVm(operation_id="c", vm=VmName("new"), cluster=cluster)
    world.run(lab.ask(VCENTER, create))
    encrypted = world.run(lab.ask(VCENTER, EncryptVm(operation_id="e", vm=VmName("new"))))
    power_loss(world, VCENTER)
    vms = {vm.vm: vm.key for vm in world.run(lab.ask(VCENTER, ListVms())).vms}
    assert vms.get(VmName("new")) == encrypted.key
    world.run(lab.ask(VCENTER, UnregisterKmsCluster(provider=ProviderId("kms-provider"))))
    power_loss(world, VCENTER)
    assert world.run(lab.ask(VCENTER, ListKmsClusters())).providers == ()
