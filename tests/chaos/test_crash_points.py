"""Crash points of a file: what falls within a call, in virtual time, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chaos.checks.result import CheckOutcome
from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.experiment.lint import BadExperiment
from chaos.faults import FAULTS, make_fault
from chaos.faults.base import Fault, Targets
from chaos.faults.points import CrashParams, FailParams, PointCrash, PointFail
from chaos.history import Record
from chaos.keeper import FaultKeeper
from chaos.points import CALLS, Happening, blows_at, flaws_at
from lab.simulation.points import SimStrikes
from protocol.terms import NodeName
from tests.chaos.test_engine import all_well, planned, play, result_of
from tests.chaos.worlds import Limp, World

pytestmark = pytest.mark.sim
HOLDS = """\
hypothesis:
  recover: {within: 120s}
  after: [{probe: host.up, is: "== 100%"}, {probe: vm.works, is: "== 100%"}]
workload: [{op: key.create, rate: 0.5/s, until: 30s}, {op: vm.encrypt, rate: 0.3/s, until: 30s}]
"""


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=2, vms=2, key_persistence=True)
    yield made
    made.close()


def struck(world: World, entry: str, code: int = 0) -> tuple[Record, list[Record]]:
    """The fault's record of a run with this entry, and all records."""
    made = planned(world, HOLDS + f"schedule: [{{id: it, {entry}}}]\n")
    verdict, history = play(world, made, strikes=SimStrikes(world.lab))
    assert verdict.exit_code == code, verdict
    assert all_well(world)
    [fault] = [r for r in history.records if r.type == "fault"]
    return fault, history.records


@pytest.mark.parametrize(
    ("call", "way"),
    [
        ("disk.append", "crash"),
        ("disk.append", "torn"),
        ("disk.sync", "torn"),
        ("disk.sync", "power_loss"),
    ],
)
def test_a_node_goes_down_within_the_call_and_is_back_at_the_end(
    world: World, call: str, way: str
) -> None:
    before = world.run(world.lab.status(world.lab.hosts()[0])).boot
    point = f"point: {{node: esxi-001, call: {call}, path: 'bootbank/*', nth: 2}}"
    fault, records = struck(world, f"{point}, fault: point.crash, way: {way}, for: 10s")
    passage = fault.data["values"]["passage"]
    assert passage.startswith("esxi-001:archive.Archive.") and f":{call}:bootbank/" in passage
    assert fault.data["nodes"] == ["esxi-001"]
    [healed] = [r for r in records if r.type == "heal"]
    assert healed.data["verified"] and healed.t >= fault.t + 10
    status = world.run(world.lab.status(world.lab.hosts()[0]))
    assert (status.boot, fault.data.get("error")) == (before + 1, None)


def test_a_call_is_refused_and_the_node_goes_on(world: World) -> None:
    point = "point: {node: kms, call: db.commit, nth: 2}"
    kms = NodeName("kms")
    before = world.run(world.lab.status(kms)).boot
    fault, records = struck(world, f"{point}, fault: point.fail, error: enospc, moment: within")
    assert ":db.commit:keys:" in fault.data["values"]["passage"]
    assert world.run(world.lab.status(kms)).boot == before
    assert any(r.type == "ok" and r.t > fault.t for r in records if r.op == "key.create")


def test_calls_are_counted_from_the_time_that_is_given(world: World) -> None:
    point = "point: {node: kms, call: db.commit, from: 15s}"
    fault, _ = struck(world, f"{point}, fault: point.crash, for: 5s")
    assert 15 <= fault.data["planned"] < 25


def test_what_is_never_passed_proves_nothing_and_falls_on_nobody_later(world: World) -> None:
    entry = "{id: it, point: {node: kms, call: db.commit, nth: 1000}, fault: point.crash}"
    strikes = SimStrikes(world.lab)
    made = planned(world, HOLDS + f"schedule: [{entry}]")
    verdict, _ = play(world, made, strikes=strikes)
    assert verdict.exit_code == 2
    assert result_of(verdict, "entry it") is CheckOutcome.UNKNOWN
    assert "call 1000 of db.commit on kms did not come" in str(verdict.checks)
    assert all(store.gate is None for store in world.lab.world.stores.values())
    optional = entry.replace("fault:", "optional: true, fault:")
    made = planned(world, HOLDS + f"schedule: [{optional}]")
    assert play(world, made, strikes=strikes)[0].exit_code == 0


def test_where_nothing_can_strike_the_run_is_refused_before_it_begins(world: World) -> None:
    made = planned(
        world, HOLDS + "schedule: [{point: {node: kms, call: db.commit}, fault: point.crash}]"
    )
    with pytest.raises(ChaosError, match="KS-CHAOS-021: call 1 of db"):
        play(world, made)


@pytest.mark.parametrize("kind", [fault.kind for fault in FAULTS if fault.at_point])
def test_no_command_can_name_the_moment(world: World, kind: str) -> None:
    with pytest.raises(ChaosError, match="KS-CHAOS-021"):
        make_fault(kind, "x", {"on": "kms"}, world.lab.directory())


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("at: 1s, fault: point.crash", "003: point.crash happens within a call: give `point`"),
        ("point: {node: kms, call: db.commit}, fault: proc.kill, on: kms", "004: within a call th"),
        ("point: {node: kms, call: db.commit}, do: key.generate", "004: `point` belongs to a fau"),
        ("point: {node: kms, call: db.comit}, fault: point.crash", "004: call: Input should be"),
        ("point: {node: kms, call: db.query}, fault: point.crash, way: torn", "004: at db.query t"),
        ("point: {node: kms, call: db.commit}, fault: point.crash, on: kms", "004: `point` has `n"),
        ("point: {node: kms, call: db.commit}, fault: point.fail, for: 5s", "004: it is over at "),
        ("point: {node: role:esxi, call: db.commit}, fault: point.crash", "011: role:esxi are 2 "),
        ("point: {node: nobody, call: db.commit}, fault: point.crash", "010: no node 'nobody'"),
        (
            "point: {node: kms, call: db.commit}, rolling: {over: all}, fault: point.crash",
            "004: a `point` is of one node",
        ),
    ],
)
def test_what_cannot_be_is_told_with_its_place(world: World, entry: str, said: str) -> None:
    with pytest.raises(BadExperiment) as caught:
        planned(world, HOLDS + f"schedule:\n  - {{{entry}}}\n")
    told = [f"{p.id}: {p.text}".removeprefix("KS-CHAOS-") for p in caught.value.problems]
    assert any(one.startswith(said) for one in told), told
    assert {p.place.line for p in caught.value.problems} == {11}


def test_every_call_has_something_that_can_fall_there() -> None:
    assert all(blows_at(call) for call in CALLS)
    fallen = {blow.happening for call in CALLS for blow in (*blows_at(call), *flaws_at(call))}
    assert fallen == set(Happening)


def crash_of(world: World, node: str = "esxi-001") -> Fault:
    fields = {"on": node, "way": "crash"}
    params = CrashParams.model_validate(fields)
    return PointCrash.of("it", params, Targets(world.lab.directory(), Draws(1, "x")))


def test_a_crash_that_did_not_happen_is_told(world: World) -> None:
    with pytest.raises(ChaosError, match="KS-CHAOS-101") as caught:
        world.run(world.keeper.inject(crash_of(world)))
    assert "esxi-001 is running" in caught.value.text


def test_a_node_that_is_not_powered_on_again_stays_listed(world: World) -> None:
    lab: Any = Limp(world.lab, power_on=None)
    keeper = FaultKeeper(lab)
    world.run(world.lab.power_off(NodeName("esxi-001"), "crash"))
    world.run(keeper.inject(crash_of(world)))
    [left] = world.run(keeper.heal_all()).left
    assert left.reversible and "esxi-001 is off" in left.seen
    assert world.run(FaultKeeper.heal_all(_loaded(world, keeper))).left == ()
    assert all_well(world)


def _loaded(world: World, keeper: FaultKeeper) -> FaultKeeper:
    """Another controller goes on with the list."""
    other = FaultKeeper(world.lab)
    other.load(keeper.dump())
    return other


def test_a_call_that_was_not_refused_is_no_fault(world: World) -> None:
    params = FailParams.model_validate({"on": "kms"})
    made = PointFail.of("it", params, Targets(world.lab.directory(), Draws(1, "x")))
    with pytest.raises(ChaosError, match=r"KS-CHAOS-101.*no call of kms was refused"):
        world.run(world.keeper.inject(made))
