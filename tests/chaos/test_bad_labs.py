"""Every fault, on a good lab and beside it on bad ones: its checks tell them apart.

The table is the registry of faults, so a new fault is played here or the tests are red.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from chaos.administration import back_up
from chaos.errors import ChaosError
from chaos.faults import make_fault
from chaos.faults.base import Fault
from chaos.keeper import FaultKeeper, HealOutcome
from chaos.lab import LabUnderTest
from protocol.messages.agent import NodeRunState
from protocol.messages.kms.keys import CreateKey
from protocol.messages.vcenter.vms import ListVms
from protocol.terms import NodeName
from tests.chaos.bad_labs import ACTS, LOOKS, PLAYED, Bad, How, Values
from tests.chaos.worlds import World, exec_installed_only

pytestmark = pytest.mark.sim
KMS = NodeName("kms")
BACKUPS = count()
ALL = [(kind, values) for kind in PLAYED for values in PLAYED[kind]]
ALONE = (
    *(
        "broker.restart",
        "broker.down",
        "broker.route_cut",
        "kms.certificate",
        "kms.failover",
        "kms.rollback",
        "provider.delete",
    ),
    "vcenter.down",
)
"""Faults that act on one thing only, or are taken back at another one: nothing can be left out."""


OTHER_LABS: dict[str, dict[str, Any]] = {
    "broker.down": {"bus": {"servers": 3}},
    "broker.route_cut": {"bus": {"servers": 3}},
    "kms.certificate": {"kms": {"replicas": 2, "mode": "sync-pair", "transport": "kmip"}},
    "kms.failover": {"kms": {"replicas": 2, "mode": "forward"}},
}
"""Of faults that the lab of all others has nothing for."""


@pytest.fixture
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    kind = request.node.callspec.params["kind"]
    made = World(hosts=2, vms=2, key_persistence=True, **OTHER_LABS.get(kind, {}))
    yield made
    made.close()


def named(case: object) -> str:
    return " ".join(map(str, case.values())) if isinstance(case, dict) else str(case)


def bad_one(world: World, kind: str, values: Values) -> tuple[Bad, Any, Fault]:
    bad: Any = Bad(world)
    lab: LabUnderTest = bad
    if kind == "host.exec_option_removed":
        world.run(exec_installed_only(world.lab))
    if "backup" in values:
        world.run(back_up(world.lab, [KMS], values["backup"]))
        world.run(world.lab.ask(KMS, CreateKey(operation_id=f"since {next(BACKUPS)}")))
    return bad, FaultKeeper(lab), make_fault(kind, "f", values, lab.directory(), seed=3)


def keys_of(world: World) -> list[str]:
    listed = world.run(world.lab.ask(world.lab.vcenter, ListVms())).vms
    return [str(vm.key.key_id) for vm in listed if vm.key is not None]


def test_every_verb_of_a_lab_is_known_to_look_or_to_act() -> None:
    bodies = [kind for kind in LabUnderTest.__mro__ if kind.__module__ == LabUnderTest.__module__]
    verbs = {name for kind in bodies for name in vars(kind) if not name.startswith("_")}
    assert verbs == LOOKS | ACTS


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "values"), ALL, ids=named)
def test_its_checks_tell_a_good_lab_from_bad_ones(world: World, kind: str, values: Values) -> None:
    """All on one lab, one after the other: what was healed is as it was before."""
    keys = keys_of(world)
    for how in (None, How.NOTHING, *(() if kind in ALONE else (How.ALL_BUT_LAST,))):
        if how is not None:
            bad, keeper, fault = bad_one(world, kind, values)
            bad.spare(fault, keys)
            an_injection_that_does_nothing_is_told(world, bad, keeper, fault, how)
        bad, keeper, fault = bad_one(world, kind, values)
        bad.spare(fault, keys)
        world.run(keeper.inject(fault))
        assert [a.fault for a in keeper.active()] == [fault]
        if how is not None:
            a_heal_that_does_nothing_is_told(world, bad, keeper, how)
        assert world.run(keeper.heal_all(with_cure=True)) == HealOutcome(healed=("f",)), how
        assert keeper.active() == () and world.lab.rules() == ()
        for entry in world.lab.directory().nodes:
            assert world.run(world.lab.status(entry.node)).state is NodeRunState.RUNNING


def an_injection_that_does_nothing_is_told(
    world: World, bad: Bad, keeper: FaultKeeper, fault: Fault, how: How
) -> None:
    bad.how = how
    with pytest.raises(ChaosError) as caught:
        world.run(keeper.inject(fault))
    assert caught.value.id == "KS-CHAOS-101", (how, caught.value)
    bad.how = None
    world.run(keeper.heal_all(with_cure=True))


def a_heal_that_does_nothing_is_told(world: World, bad: Bad, keeper: FaultKeeper, how: How) -> None:
    bad.how = how
    report = world.run(keeper.heal_all(with_cure=True))
    assert report.healed == () and [left.id for left in report.left] == ["f"], how
    assert report.left[0].seen and "Error" not in report.left[0].seen, how
    bad.how = None
