"""Faults that are half there or half gone: each sentence of a check has a lab that earns it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from chaos.errors import ChaosError
from chaos.faults import make_fault
from chaos.keeper import FaultKeeper
from chaos.lab import LabUnderTest
from protocol.messages.agent import (
    CutRule,
    DelayRule,
    Firmware,
    NodeRunState,
    NodeStatus,
    TpmAct,
    TpmActed,
)
from protocol.messages.base import Request
from protocol.messages.host.session import Esxcli, EsxcliResult, SaveConfiguration
from protocol.messages.kms.keys import Destroy, Revoke
from protocol.messages.vcenter.providers import RegisterKmsCluster
from protocol.terms import NodeName, ProviderId
from tests.chaos.bad_labs import PLAYED, Bad, How, Values
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
HOST, OTHER = NodeName("esxi-001"), NodeName("esxi-002")
KMS, VCENTER = NodeName("kms"), NodeName("vcenter")


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=2, vms=2, key_persistence=True)
    yield made
    made.close()


def instead(bad: Any, verb: str, act: Callable[..., Any]) -> None:
    """Let ``verb`` of the lab be ``act``, which gets the real verb first."""
    real = getattr(bad, verb)

    async def done(*given: Any, **options: Any) -> Any:
        return await act(real, *given, **options)

    setattr(bad, verb, done)


def bad_one(world: World, kind: str, values: Values | None = None) -> tuple[Any, FaultKeeper, Any]:
    bad: Any = Bad(world)
    lab: LabUnderTest = bad
    given = PLAYED[kind][0] if values is None else values
    return bad, FaultKeeper(lab), make_fault(kind, "f", given, lab.directory(), seed=3)


def refused(world: World, keeper: FaultKeeper, fault: Any) -> str:
    """Why the fault is not believed."""
    with pytest.raises(ChaosError) as caught:
        world.run(keeper.inject(fault))
    assert caught.value.id == "KS-CHAOS-101"
    return caught.value.text


def left(world: World, keeper: FaultKeeper) -> str:
    """Why its heal is not believed."""
    report = world.run(keeper.heal_all(with_cure=True))
    assert [fault.id for fault in report.left] == ["f"]
    return report.left[0].seen


# Bites -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "way"),
    [("host.power_loss", "stop"), ("host.reboot", "crash"), ("vcenter.down", "power_loss")],
)
def test_a_life_that_ends_in_another_way(world: World, kind: str, way: str) -> None:
    bad, keeper, fault = bad_one(world, kind)

    async def otherwise(real: Any, node: NodeName, asked: str) -> NodeStatus:
        found: NodeStatus = await real(node, way)
        return found

    instead(bad, "power_off", otherwise)
    assert f"last ended by {way}" in refused(world, keeper, fault)


def said_to_be(bad: Bad, lying: Callable[[NodeStatus], NodeStatus]) -> None:
    """Whoever asks how a node is hears what ``lying`` makes of it, asked alone or with others."""

    async def one(real: Any, node: NodeName) -> NodeStatus:
        return lying(await real(node))

    async def all_of_them(real: Any, **options: Any) -> dict[NodeName, NodeStatus]:
        return {node: lying(status) for node, status in (await real(**options)).items()}

    instead(bad, "status", one)
    instead(bad, "statuses", all_of_them)


def test_a_vcenter_that_is_said_to_be_down_and_answers(world: World) -> None:
    bad, _keeper, fault = bad_one(world, "vcenter.down")
    bad.how = How.NOTHING

    def lying(status: NodeStatus) -> NodeStatus:
        if status.node != VCENTER:
            return status
        return msgspec.structs.replace(status, state=NodeRunState.OFF, ended="crash")

    notes = world.run(fault.survey(bad))
    said_to_be(bad, lying)
    assert world.run(fault.bites(bad, notes)) == f"{VCENTER} answers {HOST}"


def test_a_pause_that_is_only_listed(world: World) -> None:
    bad, _keeper, fault = bad_one(world, "proc.pause")
    bad.how = How.NOTHING

    async def always(real: Any, node: NodeName) -> bool:
        return node in fault.nodes

    notes = world.run(fault.survey(bad))
    instead(bad, "paused", always)
    assert world.run(fault.bites(bad, notes)) == f"{KMS} answers {VCENTER}"


def test_firmware_that_is_set_and_not_measured(world: World) -> None:
    """A boot later, the PCR that the setting goes into has the value that it had."""
    bad, _keeper, fault = bad_one(world, "host.boot_measure")
    before = {node: world.run(world.lab.tpm(node, TpmAct.INFO)) for node in fault.nodes}
    notes = world.run(fault.survey(bad))
    world.run(fault.begin(bad, 0.0, notes))
    assert world.run(fault.bites(bad, notes)) == ""
    world.run(world.lab.power_off(HOST, "stop"))
    world.run(world.lab.power_on(HOST))
    assert world.run(fault.bites(bad, notes)) == ""

    async def as_before(real: Any, node: NodeName, act: TpmAct, label: str = "") -> TpmActed:
        return before[node]

    instead(bad, "tpm", as_before)
    assert world.run(fault.bites(bad, notes)) == f"{HOST}: PCR 7 is what it was before"


def test_a_delay_of_half_of_what_it_says(world: World) -> None:
    bad, keeper, fault = bad_one(world, "link.delay")

    async def half(real: Any, rules: list[DelayRule]) -> None:
        await real([msgspec.structs.replace(rule, base_s=rule.base_s / 2) for rule in rules])

    instead(bad, "put_rules", half)
    assert "a canary over vcenter esxi-001 took 0.3" in refused(world, keeper, fault)


def test_another_board_does_not_pass_for_a_cleared_tpm(world: World) -> None:
    bad, keeper, fault = bad_one(world, "tpm.clear")

    async def swapped(real: Any, node: NodeName, act: TpmAct, label: str = "") -> TpmActed:
        done: TpmActed = await real(node, TpmAct.SWAP if act is TpmAct.CLEAR else act, label)
        return done

    instead(bad, "tpm", swapped)
    assert "has another endorsement key" in refused(world, keeper, fault)


def test_a_key_that_is_deactivated_is_not_compromised(world: World) -> None:
    bad, keeper, fault = bad_one(world, "kms.key_state", PLAYED["kms.key_state"][1])

    async def softly(real: Any, node: NodeName, message: Request[Any], **options: Any) -> Any:
        if isinstance(message, Revoke):
            message = Revoke(key_id=message.key_id)
        return await real(node, message, **options)

    instead(bad, "ask", softly)
    assert "Deactivated" in refused(world, keeper, fault)


def test_a_key_that_is_revoked_is_not_destroyed(world: World) -> None:
    bad, keeper, fault = bad_one(world, "kms.key_state", PLAYED["kms.key_state"][2])

    async def kept(real: Any, node: NodeName, message: Request[Any], **options: Any) -> Any:
        return None if isinstance(message, Destroy) else await real(node, message, **options)

    instead(bad, "ask", kept)
    assert "Deactivated" in refused(world, keeper, fault)


# Heals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("other servers", "is listed with other servers, or another key"),
        ("not the default", "is no longer the default"),
    ],
)
def test_a_provider_that_came_back_as_another(world: World, what: str, told: str) -> None:
    bad, keeper, fault = bad_one(world, "provider.delete")
    world.run(keeper.inject(fault))

    async def otherwise(real: Any, node: NodeName, message: Any, **options: Any) -> Any:
        if isinstance(message, RegisterKmsCluster) and what == "other servers":
            server = msgspec.structs.replace(message.servers[0], node=NodeName("another"))
            message = msgspec.structs.replace(message, servers=(server,))
        elif isinstance(message, RegisterKmsCluster):
            first = msgspec.structs.replace(message, provider=ProviderId("first"))
            await real(node, first, **options)
            message = msgspec.structs.replace(message, make_default=False)
        return await real(node, message, **options)

    instead(bad, "ask", otherwise)
    assert told in left(world, keeper)


@pytest.mark.parametrize("kind", ["broker.restart", "proc.pause"])
def test_a_node_whose_link_does_not_come_back(world: World, kind: str) -> None:
    """The broker is up, or the process goes on, and still nothing reaches the node."""
    bad, keeper, fault = bad_one(world, kind)
    world.run(keeper.inject(fault))
    nodes = [entry.node for entry in world.lab.directory().nodes]
    cuts = [CutRule(id="hidden", src=node, dst=KMS) for node in nodes if node != KMS]
    world.run(world.lab.put_rules(cuts))
    bad.rules = tuple
    seen = left(world, keeper)
    assert "no canary passes" in seen or "does not answer" in seen
    world.run(world.lab.drop_rules("hidden"))
    assert world.run(keeper.heal_all()).healed == ("f",)


def test_a_process_that_is_no_longer_paused_and_cannot_be_asked(world: World) -> None:
    bad, keeper, fault = bad_one(world, "proc.pause")
    world.run(keeper.inject(fault))
    bad.how = How.NOTHING

    async def never(real: Any, node: NodeName) -> bool:
        return False

    instead(bad, "paused", never)
    assert "cannot be asked" in left(world, keeper)


@pytest.mark.parametrize("kind", ["tpm.clear", "tpm.swap"])
def test_a_host_that_runs_by_its_recovery_key_alone(world: World, kind: str) -> None:
    """Neither sealed anew nor saved, nor booted again: it would stop at its next boot."""
    bad, keeper, fault = bad_one(world, kind, {"on": HOST})
    world.run(keeper.inject(fault))
    boots = 0

    async def once(real: Any, node: NodeName, *given: Any, **options: Any) -> NodeStatus:
        nonlocal boots
        boots += 1
        status: NodeStatus = await (real if boots == 1 else world.lab.status)(
            node, *(given if boots == 1 else ()), **options
        )
        return status

    async def not_off(real: Any, node: NodeName, way: str) -> NodeStatus:
        status: NodeStatus = await (real(node, way) if not boots else world.lab.status(node))
        return status

    async def idle(real: Any, node: NodeName, message: Any, **options: Any) -> Any:
        if isinstance(message, Esxcli):
            return EsxcliResult(exit_code=0, output="")
        if isinstance(message, SaveConfiguration):
            return None
        return await real(node, message, **options)

    for verb, act in (("power_on", once), ("power_off", not_off), ("ask", idle)):
        instead(bad, verb, act)
    assert "has not shown that it can boot by itself" in left(world, keeper)


def test_a_host_that_comes_back_in_another_mode(world: World) -> None:
    _bad, keeper, fault = bad_one(world, "tpm.clear", {"on": HOST})
    world.run(keeper.inject(fault))
    keeper._kept["f"].notes["mode"][HOST] = "NONE+"
    assert f"{HOST} is in mode TPM, not NONE+" in left(world, keeper)


def test_a_host_that_still_stands_at_the_screen_of_the_changed_boot(world: World) -> None:
    bad, keeper, fault = bad_one(world, "host.boot_measure")
    world.run(keeper.inject(fault))
    world.run(world.lab.power_off(HOST, "stop"))
    world.run(world.lab.power_on(HOST))

    async def set_up(real: Any, node: NodeName, firmware: Firmware) -> None:
        await world.lab.firmware(node, firmware)

    instead(bad, "firmware", set_up)
    bad.how = How.NOTHING
    assert f"{HOST} has not booted since its boot 2" in left(world, keeper)
    bad.how = None
    assert world.run(keeper.heal_all()).healed == ("f",)


@pytest.mark.parametrize("kind", ["host.power_loss", "site.power_loss", "proc.kill"])
def test_a_node_that_is_said_to_run_in_the_boot_of_before(world: World, kind: str) -> None:
    bad, keeper, fault = bad_one(world, kind)
    world.run(keeper.inject(fault))
    bad.how = How.NOTHING

    said_to_be(bad, lambda seen: msgspec.structs.replace(seen, state=NodeRunState.RUNNING))
    assert "has not booted since" in left(world, keeper)


def test_nodes_dragged_down_with_a_process_are_missed(world: World) -> None:
    bad, keeper, fault = bad_one(world, "proc.kill", {"on": HOST})

    async def both(real: Any, node: NodeName) -> None:
        await real(node)
        await world.lab.power_off(OTHER, "crash")

    instead(bad, "kill", both)
    world.run(keeper.inject(fault))

    async def alone(real: Any, node: NodeName, *given: Any, **options: Any) -> Any:
        return None if node == OTHER else await real(node, *given, **options)

    instead(bad, "power_on", alone)
    assert f"{OTHER} went down with it and is still off" in left(world, keeper)


def test_a_node_that_went_down_later_is_not_powered_on_with_the_process(world: World) -> None:
    """Another fault holds it: a random run in which vCenter had crashed saw it come back so."""
    _bad, keeper, fault = bad_one(world, "proc.kill", {"on": HOST})
    world.run(keeper.inject(fault))
    world.run(world.lab.power_off(OTHER, "crash"))
    assert world.run(keeper.heal_all()).healed == ("f",)
    assert world.run(world.lab.status(OTHER)).state is NodeRunState.OFF
