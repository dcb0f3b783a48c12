"""The core of a lab is healed first and has to work while the rest stays faulted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chaos.checks.result import CheckOutcome
from chaos.experiment.lint import BadExperiment
from chaos.faults import make_fault
from chaos.hypotheses.probes import PROBES
from chaos.playing.engine import hurts
from protocol.terms import NodeName
from tests.chaos.test_engine import all_well, planned, play, result_of
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
AFTER = """\
hypothesis:
  recover: {within: 90s}
  after:
    - {probe: host.up, is: "== 100%"}
    - {probe: vm.running, is: "== 100%"}
    - {probe: host.connected, is: "== 100%"}
    - {probe: node.internal_errors, is: "== 0"}
    - {probe: vm.back_within, is: "<= 90s"}
"""
CORE = "final: {heal: {core: [vcenter, kms, esxi-001], within: 60s}}\n"
DARK = (
    "schedule: [{id: one, at: 1s, fault: host.power_loss, on: esxi-001}, {id: two, at: 2s, REST}]\n"
)
STAYS = DARK.replace("REST", "fault: host.power_loss, on: esxi-002")


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=2, vms=4, key_persistence=True)
    yield made
    made.close()


def test_the_core_works_while_the_rest_is_down_and_then_all_of_it(world: World) -> None:
    verdict, history = play(world, planned(world, AFTER + CORE + STAYS))
    assert verdict.exit_code == 0, verdict
    core = [check.name for check in verdict.checks if check.name.startswith("core ")]
    assert core == [
        "core host.up == 100%",
        "core vm.running == 100%",
        "core host.connected == 100%",
        "core node.internal_errors == 0",
    ]
    healed = {r.data["id"]: r.t for r in history.records if r.type == "heal"}
    measured = [r.t for r in history.records if r.data.get("when") == "core"]
    assert healed["one"] <= min(measured) <= max(measured) < healed["two"]
    assert all_well(world)


LACKS = """\
hypothesis:
  recover: {within: 400s}
  after: [{probe: vm.locked, is: "== 0%"}]
final: {heal: {core: [vcenter, esxi-001], within: 20s}}
schedule:
  - {id: kms, at: 1s, fault: proc.pause, on: kms}
  - {id: one, at: 2s, fault: host.power_loss, on: esxi-001}
"""


def test_a_core_that_lacks_something_is_not_recovered_whatever_comes_later() -> None:
    """Without key persistence its host needs the key server, which stays paused."""
    world = World(hosts=2, vms=4)
    verdict, _ = play(world, planned(world, LACKS))
    assert (verdict.exit_code, verdict.verdict) == (6, "fail"), verdict
    assert result_of(verdict, "core vm.locked") is CheckOutcome.FAIL
    assert result_of(verdict, "after vm.locked") is CheckOutcome.PASS
    assert all_well(world)
    world.close()


def test_where_nothing_stays_faulted_the_core_shows_nothing(world: World) -> None:
    text = AFTER + CORE + DARK.replace("REST", "for: 5s, fault: host.power_loss, on: esxi-002")
    verdict, _ = play(world, planned(world, text))
    assert verdict.exit_code == 2 and result_of(verdict, "core") is CheckOutcome.PASS
    [found] = [check for check in verdict.checks if check.name == "core"]
    assert found.result is CheckOutcome.UNKNOWN and "no fault was left" in found.text


def test_leases_of_the_rest_are_carried_on() -> None:
    """The core takes longer than a lease: what stays faulted does not heal by itself."""
    world = World(hosts=2, vms=4)
    verdict, history = play(world, planned(world, "guards: {lease: 5s}\n" + LACKS))
    assert verdict.exit_code == 6, verdict
    healed = {r.data["id"]: r.t for r in history.records if r.type == "heal"}
    assert healed["kms"] - healed["one"] >= 18
    world.close()


@pytest.mark.parametrize(
    ("kind", "values", "suffers"),
    [
        ("link.cut", {"between": ["vcenter", "kms"]}, True),
        ("link.cut", {"between": ["vcenter", "esxi-002"]}, False),
        ("link.cut", {"between": ["vcenter", "role:esxi"]}, True),
        ("proc.pause", {"on": "esxi-002"}, False),
        ("proc.pause", {"on": "role:esxi"}, True),
        ("broker.restart", {}, True),
        ("vcenter.down", {}, True),
    ],
)
def test_what_a_core_suffers_from(
    world: World, kind: str, values: dict[str, Any], suffers: bool
) -> None:
    core = frozenset(map(NodeName, ("vcenter", "kms", "esxi-001")))
    assert hurts(make_fault(kind, "x", values, world.lab.directory()), core) is suffers


@pytest.mark.parametrize(
    ("final", "core", "within_s"),
    [
        ("{heal: all}", (), 0.0),
        ("{heal: core}", ("kms", "vcenter", "esxi-00"), 60.0),
        ("{heal: {within: 5s}}", ("kms", "vcenter", "esxi-00"), 5.0),
        ("{heal: {core: [role:vcenter]}}", ("vcenter",), 60.0),
    ],
)
def test_what_the_core_is(world: World, final: str, core: tuple[str, ...], within_s: float) -> None:
    made = planned(world, AFTER + f"final: {final}\n" + STAYS)
    assert [str(node)[:7] for node in made.core] == list(core)
    assert made.core_s == within_s


@pytest.mark.parametrize(
    ("final", "said"),
    [
        ("{heal: rest}", "KS-CHAOS-004: "),
        ("{heal: {core: nobody}}", "KS-CHAOS-010: no node 'nobody'"),
        ("{heal: {core: all}}", "KS-CHAOS-004: this core is the whole lab"),
        ("{heal: {core: vcenter, rest: broken}}", "KS-CHAOS-002: unknown field 'rest'"),
        ("{heal: {core: vcenter, within: 5}}", "KS-CHAOS-005: within: "),
    ],
)
def test_a_core_that_is_none_is_told(world: World, final: str, said: str) -> None:
    with pytest.raises(BadExperiment) as caught:
        planned(world, AFTER + f"final: {final}\n" + STAYS)
    told = [f"{p.id}: {p.text}" for p in caught.value.problems]
    assert any(one.startswith(said) for one in told), told
    assert all(p.place.column > len("final: {") for p in caught.value.problems), told


def test_a_core_needs_something_to_hold(world: World) -> None:
    after = 'hypothesis: {after: [{probe: op.ok, is: "== 1"}]}\n'
    assert not PROBES["op.ok"].live
    with pytest.raises(BadExperiment, match="no live hypothesis for a core to hold"):
        planned(world, after + "final: {heal: core}\n" + STAYS)
