"""What the keeper tells and saves of each fault, to the last field, in every state of its list."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from chaos.errors import ChaosError
from chaos.faults import make_fault
from chaos.faults.base import Fault
from chaos.keeper import (
    PAUSE_S,
    FaultInForce,
    FaultKeeper,
    FaultState,
    HealOutcome,
    StillThere,
)
from protocol.errors import InvalidState
from protocol.terms import NodeName
from tests.chaos.worlds import World, limp

HOST = NodeName("esxi-001")
CUT: dict[str, Any] = {"between": ["vcenter", "kms"]}
GONE: dict[str, Any] = {"provider": "kms-provider"}
CURE = (
    "add a provider of exactly the name kms-provider with the servers it had, their user names and "
    "passwords (a native one: import its backup), have vCenter and its KMIP servers trust each "
    "other, make it the default again if it was, and re-enable host encryption mode where it is "
    "lost"
)
SOON_S = 0.001
"""Every step of the simulation takes a microsecond."""
pytestmark = pytest.mark.sim


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=1, vms=1)
    yield made
    made.close()


def fault_of(world: World, kind: str, values: dict[str, Any], id: str) -> Fault:
    return make_fault(kind, id, values, world.lab.directory(), seed=3)


def listed(fault: Fault, since: float, until: float = 0.0, **changes: Any) -> FaultInForce:
    """A fault as the list has it."""
    shown = FaultInForce(
        fault=fault,
        kind=fault.kind,
        summary=fault.summary(),
        since=since,
        until=until,
        state=FaultState.ACTIVE,
    )
    return msgspec.structs.replace(shown, **changes)


@pytest.mark.parametrize("lease_s", [None, 0.0, 30.0])
def test_a_fault_is_told_with_its_time_and_its_lease(world: World, lease_s: float | None) -> None:
    world.run(world.lab.sleep(7.0))
    now = world.lab.monotonic()
    fault = fault_of(world, "link.cut", CUT, "wan")
    told = world.run(world.keeper.inject(fault, lease_s))
    assert told.since == pytest.approx(now, abs=SOON_S)
    until = told.since + lease_s if lease_s else 0.0
    assert told == listed(fault, told.since, until)
    assert world.keeper.active() == (told,)
    assert {rule.until for rule in world.lab.rules()} == {until}


def test_what_has_no_undo_stays_with_its_cure_until_it_is_asked_for(world: World) -> None:
    keeper = world.keeper
    fault = fault_of(world, "provider.delete", GONE, "gone")
    stays = world.run(keeper.inject(fault, 30.0))
    assert stays.until == pytest.approx(stays.since + 30.0, abs=SOON_S)
    lease = {"since": stays.since, "until": stays.until}
    assert stays == listed(fault, **lease, state=FaultState.STAYS, cure=CURE)
    seen = "it has no undo; see its cure"
    there = StillThere(id="gone", kind="provider.delete", reversible=False, seen=seen, cure=CURE)
    for report in (world.run(keeper.heal("gone")), world.run(keeper.heal_all())):
        assert report == HealOutcome(left=(there,)) and report.verified
    world.run(world.lab.sleep(30.0))
    assert world.run(keeper.lapse()) == HealOutcome(left=(there,))
    without_lease = msgspec.structs.replace(stays, until=0.0, seen=seen)
    assert keeper.active() == (without_lease,)
    assert world.run(keeper.lapse()) == HealOutcome()
    assert world.run(keeper.heal("gone", with_cure=True)) == HealOutcome(healed=("gone",))
    assert keeper.active() == ()


def test_only_what_was_asked_about_is_reported(world: World) -> None:
    keeper = world.keeper
    world.run(keeper.inject(fault_of(world, "provider.delete", GONE, "gone")))
    world.run(keeper.inject(fault_of(world, "link.cut", CUT, "wan")))
    assert world.run(keeper.heal("wan")) == HealOutcome(healed=("wan",))


def test_a_heal_that_does_not_work_is_looked_at_six_times_a_second_apart(world: World) -> None:
    lame, keeper = limp(world, drop_rules=None)
    fault = fault_of(world, "link.cut", CUT, "wan")
    world.run(keeper.inject(fault))
    begin = world.lab.monotonic()
    report = world.run(keeper.heal("wan"))
    assert world.lab.monotonic() - begin == pytest.approx(5 * PAUSE_S, abs=SOON_S)
    [left] = report.left
    assert (left.id, left.kind, left.reversible, left.cure) == ("wan", "link.cut", True, "")
    assert "still in the desired set" in left.seen
    assert not report.verified and report.healed == ()
    lame.verbs["drop_rules"] = InvalidState("no")
    assert world.run(keeper.heal("wan")).left[0].seen == "InvalidState: no"
    assert keeper.active()[0].state is FaultState.NOT_HEALED


def test_a_fault_that_does_not_bite_is_taken_back_and_told(world: World) -> None:
    lame, keeper = limp(world, put_rules=None)
    begin = world.lab.monotonic()
    with pytest.raises(ChaosError, match=r"wan \(link\.cut\): .*") as caught:
        world.run(keeper.inject(fault_of(world, "link.cut", CUT, "wan")))
    assert caught.value.id == "KS-CHAOS-101" and "still listed" not in caught.value.text
    assert world.lab.monotonic() - begin >= 2 * PAUSE_S
    assert keeper.active() == ()
    lame.verbs["drop_rules"] = InvalidState("no")
    with pytest.raises(ChaosError, match="; still listed: InvalidState: no") as again:
        world.run(keeper.inject(fault_of(world, "link.cut", CUT, "wan")))
    assert again.value.id == "KS-CHAOS-101"
    assert [fault.state for fault in keeper.active()] == [FaultState.NOT_HEALED]


def test_one_without_undo_that_never_began_is_not_listed(world: World) -> None:
    _, keeper = limp(world, ask=InvalidState("no"))
    fault = fault_of(world, "provider.delete", GONE, "gone")
    with pytest.raises(ChaosError) as caught:
        world.run(keeper.inject(fault))
    assert caught.value.id == "KS-CHAOS-106" and caught.value.text == "InvalidState: no"
    assert keeper.active() == ()


@pytest.mark.parametrize(
    ("kind", "values", "text"),
    [
        ("link.cut", CUT, "there is a fault 'one'"),
        ("host.power_loss", {"on": HOST}, "there is a fault 'one'"),
    ],
)
def test_an_id_that_is_taken_is_refused_by_name(
    world: World, kind: str, values: dict[str, Any], text: str
) -> None:
    world.run(world.keeper.inject(fault_of(world, "link.cut", CUT, "one")))
    before = world.keeper.active()
    with pytest.raises(ChaosError) as caught:
        world.run(world.keeper.inject(fault_of(world, kind, values, "one")))
    assert (caught.value.id, caught.value.text) == ("KS-CHAOS-105", text)
    assert world.keeper.active() == before


def test_an_id_that_is_not_there_is_refused_by_name(world: World) -> None:
    for work in (world.keeper.heal("x"), world.keeper.renew("x", 1.0)):
        with pytest.raises(ChaosError) as caught:
            world.run(work)
        assert (caught.value.id, caught.value.text) == ("KS-CHAOS-104", "no fault 'x'")


def test_a_renewal_that_is_refused_leaves_the_lease_and_says_so(world: World) -> None:
    lame, keeper = limp(world)
    told = world.run(keeper.inject(fault_of(world, "link.cut", CUT, "wan"), 30.0))
    world.run(world.lab.sleep(10.0))
    lame.verbs["put_rules"] = InvalidState("no")
    renewed = world.run(keeper.renew("wan", 30.0))
    assert renewed == msgspec.structs.replace(told, seen="InvalidState: no")
    lame.verbs.clear()
    assert world.run(keeper.renew("wan", 30.0)).until == pytest.approx(
        world.lab.monotonic() + 30.0, abs=SOON_S
    )


def test_a_lease_ends_on_its_second_and_is_looked_after_every_few(world: World) -> None:
    keeper, lab = world.keeper, world.lab
    world.run(keeper.inject(fault_of(world, "link.cut", CUT, "wan"), 10.0))
    world.run(keeper.inject(fault_of(world, "host.power_loss", {"on": HOST}, "dark")))

    async def look_after() -> list[tuple[str, ...]]:
        task = asyncio.get_running_loop().create_task(keeper.keep_leases(4.0))
        seen = []
        for _ in range(3):
            await lab.sleep(4.5)
            seen.append(tuple(fault.fault.id for fault in keeper.active()))
        task.cancel()
        return seen

    both, one = ("wan", "dark"), ("dark",)
    assert world.run(look_after()) == [both, both, one], "what has no lease stays"


@pytest.mark.parametrize("until", [0.5, 50.0])
def test_a_lease_is_over_when_its_moment_has_come(world: World, until: float) -> None:
    """To the last digit, and however early in the life of the lab."""
    world.run(world.keeper.inject(fault_of(world, "link.cut", CUT, "wan")))
    state = msgspec.json.decode(world.keeper.dump())
    state["faults"][0]["until"] = until
    lame, successor = limp(world)
    successor.load(msgspec.json.encode(state))
    lame.monotonic = lambda: until - 0.25
    assert world.run(successor.lapse()) == HealOutcome()
    lame.monotonic = lambda: until
    assert world.run(successor.lapse()) == HealOutcome(healed=("wan",))


def test_every_change_is_saved_whole(world: World) -> None:
    """A list taken over tells the same, and its notes heal: at each moment that was saved."""
    saved: list[bytes] = []

    async def save(data: bytes) -> None:
        saved.append(data)

    keeper = FaultKeeper(world.lab, save=save)
    fault = fault_of(world, "link.cut", CUT, "wan")
    now = world.run(keeper.inject(fault, 30.0)).since
    world.run(keeper.renew("wan", 60.0))
    taken: list[tuple[FaultInForce, ...]] = []
    for data in (*saved, keeper.dump()):
        successor = FaultKeeper(world.lab)
        successor.load(data)
        assert successor.dump() == data
        taken.append(successor.active())
    begun = listed(fault, now, now + 30.0, state=FaultState.BEGINNING)
    until = keeper.active()[0].until
    states = [shown for (shown,) in taken]
    assert states[0] == begun and states[-1] == listed(fault, now, until)
    assert [shown.state for shown in states[:3]] == [
        FaultState.BEGINNING,
        FaultState.BEGINNING,
        FaultState.ACTIVE,
    ]
    world.run(keeper.heal("wan"))
    assert msgspec.json.decode(saved[-1]) == {"version": 1, "faults": []}


FIELDS = ("fault", "since", "until", "state", "notes", "seen")


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b'{"version": 2, "faults": []}', "version 2"),
        (b'{"faults": []}', "'version'"),
        (b'{"version": 1}', "'faults'"),
        (b'{"version": 1, "faults": [{}]}', "'fault'"),
        (b"[]", "Expected `object`, got `array`"),
    ],
)
def test_a_list_of_another_kind_is_refused_with_what_is_wrong(
    world: World, data: bytes, text: str
) -> None:
    with pytest.raises(ChaosError) as caught:
        FaultKeeper(world.lab).load(data)
    assert (caught.value.id, caught.value.text) == ("KS-CHAOS-109", text)


@pytest.mark.parametrize("name", FIELDS)
def test_a_fault_of_a_saved_list_has_every_field(world: World, name: str) -> None:
    world.run(world.keeper.inject(fault_of(world, "link.cut", CUT, "wan")))
    state = msgspec.json.decode(world.keeper.dump())
    del state["faults"][0][name]
    with pytest.raises(ChaosError, match=f"KS-CHAOS-109: '{name}'"):
        FaultKeeper(world.lab).load(msgspec.json.encode(state))
