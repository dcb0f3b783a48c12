"""Actions that are refused as an administrator would be, in labs of the simulation."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.actions import ACTIONS
from chaos.actions.base import Acting
from chaos.faults import make_fault
from chaos.observe.look import all_providers
from chaos.workload import OperationOutcome
from protocol.errors import (
    EncryptionKeyRequired,
    InvalidPowerState,
    InvalidState,
    NotFound,
    ProductError,
)
from protocol.messages.vcenter.providers import GenerateKey
from protocol.terms import NodeName, ProviderId
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
KMS = NodeName("kms")


def give(
    world: World, kind: str, target: str = "", name: str = "x", **fields: Any
) -> OperationOutcome:
    action = ACTIONS[kind]
    values = {**fields, **({"on": target} if target else {})}

    async def given() -> OperationOutcome:
        return await action.run(
            Acting(world.lab, name), target, action.params.model_validate(values)
        )

    return world.run(given())


@pytest.mark.parametrize(
    ("kind", "target", "fields", "error"),
    [
        ("host.wrong-recovery-key", "esxi-001", {}, InvalidState),
        ("host.dump.read", "esxi-001", {"dump": "none"}, NotFound),
        ("trust.import-base-image", "esxi-001", {}, NotFound),
        ("trust.import-endorsement-key", "esxi-001", {}, NotFound),
        ("trust.remediate", "", {"cluster": "cluster-a"}, NotFound),
        ("vm.recrypt", "vm-01", {"deep": True}, InvalidPowerState),
        ("vm.add-disk", "vm-01", {}, InvalidPowerState),
        ("vm.remove-disk", "vm-01", {"disk": 2}, InvalidPowerState),
        ("vm.migrate", "vm-01", {"host": "esxi-009"}, NotFound),
    ],
)
def test_what_cannot_be_is_refused(
    kind: str, target: str, fields: dict[str, Any], error: type[ProductError]
) -> None:
    world = World(hosts=1, vms=1)
    with pytest.raises(error):
        give(world, kind, target, **fields)
    world.close()


def test_an_administrator_of_a_trust_authority_gives_all_of_it_anew() -> None:
    world = World(use="trusted", hosts=1, vms=1)
    steps: list[tuple[str, str, dict[str, Any]]] = [
        ("trust.import-endorsement-key", "esxi-001", {}),
        ("trust.import-base-image", "esxi-001", {}),
        ("trust.renew-certificate", "", {}),
        ("trust.import-principal", "", {}),
        ("trust.remediate", "", {"cluster": "cluster-a"}),
    ]
    for kind, target, fields in steps:
        assert give(world, kind, target, **fields).kind == "ok", kind
    with pytest.raises(InvalidState):
        give(world, "kms.key.destroy-unused")
    world.close()


def test_a_dump_is_read_with_the_host_key_that_it_is_under_only() -> None:
    world = World(hosts=1, vms=1)
    assert "kms-provider" in give(world, "host.dump", "esxi-001", dump="hostd").data["under"]
    assert give(world, "host.dump.read", "esxi-001", dump="hostd").kind == "ok"
    world.run(world.lab.power_off(world.lab.vcenter, "crash"))
    world.run(world.lab.power_off(world.lab.hosts()[0], "power_loss"))
    world.run(world.lab.power_on(world.lab.hosts()[0]))
    with pytest.raises(EncryptionKeyRequired):
        give(world, "host.dump.read", "esxi-001", dump="hostd")
    world.close()


def test_what_a_recrypt_left_behind_is_unused_and_nothing_else_is() -> None:
    world = World(hosts=1, vms=2)
    assert give(world, "kms.key.destroy-unused").data["keys"] == []
    (old,) = give(world, "vm.recrypt", "vm-01").data["old"]
    gone = give(world, "kms.key.destroy-unused").data["keys"]
    assert [f"kms-provider/{key}" for key in gone] == [old]
    world.close()


def test_a_fault_reads_again_as_it_was_written() -> None:
    world = World(hosts=1, vms=0)
    directory = world.lab.directory()
    for kind, fields in (("tpm.swap", {"accept": False}), ("tpm.clear", {"latent": True})):
        found = make_fault(kind, "x", {"on": "esxi-001", **fields}, directory)
        assert make_fault(kind, "x", found.file_fields(), directory) == found
    world.close()


@pytest.mark.parametrize("transport", ["bus", "kmip"])
def test_a_provider_is_added_by_the_transport_of_its_servers(transport: str) -> None:
    """vCenter and the server trust each other then, so that keys are made there."""
    world = World(hosts=1, vms=1, kms={"replicas": 1, "transport": transport})
    assert give(world, "provider.add", provider="second", servers=["kms"]).kind == "ok"
    listed = world.run(all_providers(world.lab, world.lab.vcenter))
    [server] = next(one.servers for one in listed if one.provider == "second")
    assert server.address == {"bus": "", "kmip": "kmip://kms"}[transport]
    assert give(world, "provider.default", provider="second").kind == "ok"
    made = world.run(
        world.lab.ask(
            world.lab.vcenter, GenerateKey(operation_id="x", provider=ProviderId("second"))
        )
    )
    assert made.key is not None and made.key.provider_id == "second"
    world.close()


def test_a_provider_that_nobody_could_trust_is_there_all_the_same() -> None:
    world = World(hosts=1, vms=1, kms={"replicas": 1, "transport": "kmip"})
    world.run(world.lab.power_off(KMS, "crash"))
    outcome = give(world, "provider.add", provider="second", servers=["kms"])
    assert outcome.kind == "info" and outcome.data["trusted"] is False
    assert "second" in {p.provider for p in world.run(all_providers(world.lab, world.lab.vcenter))}
    world.close()
