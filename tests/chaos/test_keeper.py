"""The keeper loses no fault, whatever fails, and another can go on where one stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest

from chaos.errors import ChaosError
from chaos.faults import make_fault
from chaos.keeper import FaultKeeper, FaultState, HealOutcome
from chaos.lab import LabUnderTest
from protocol.errors import InvalidState
from protocol.messages.agent import NodeRunState
from protocol.terms import NodeName
from tests.chaos.worlds import World, limp

HOST = NodeName("esxi-001")
CUT: dict[str, Any] = {"between": ["vcenter", "kms"]}
pytestmark = pytest.mark.sim


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=2, vms=2)
    yield made
    made.close()


def fault_of(world: World, kind: str, values: dict[str, Any], id: str) -> Any:
    return make_fault(kind, id, values, world.lab.directory(), seed=3)


def test_a_heal_that_is_not_seen_keeps_the_fault_listed(world: World) -> None:
    lame, keeper = limp(world, drop_rules=None)
    world.run(keeper.inject(fault_of(world, "link.cut", CUT, "wan")))
    report = world.run(keeper.heal_all())
    assert not report.verified
    assert [left.id for left in report.left] == ["wan"]
    assert keeper.active()[0].state is FaultState.NOT_HEALED
    assert "still in the desired set" in keeper.active()[0].seen
    lame.verbs.clear()
    assert world.run(keeper.heal_all()).healed == ("wan",)
    assert keeper.active() == ()


@pytest.mark.parametrize(("pace", "healed"), [(0, ()), (100, ("wan",))])
def test_a_heal_is_looked_for_in_real_seconds_too(
    world: World, monkeypatch: pytest.MonkeyPatch, pace: int, healed: tuple[str, ...]
) -> None:
    """A connection that is there again after a real second is so a hundred lab seconds later at
    pace 100; virtual time waits for nobody."""
    fault = fault_of(world, "link.cut", CUT, "wan")
    world.run(world.keeper.inject(fault))
    back = world.lab.monotonic() + 100.0

    async def look(self: object, lab: LabUnderTest, notes: object) -> str:
        return "" if lab.monotonic() > back else "not yet"

    monkeypatch.setattr(type(fault), "verify_heal", look)
    monkeypatch.setattr(world.lab, "in_lab_s", lambda real_s: real_s * pace)
    assert world.run(world.keeper.heal_all()).healed == healed


def test_that_a_heal_was_not_seen_is_saved(world: World) -> None:
    """A controller that dies then leaves to its successor what it knew."""
    saved: list[bytes] = []

    async def save(data: bytes) -> None:
        saved.append(data)

    lame, _ = limp(world, drop_rules=None)
    keeper = FaultKeeper(lame, save=save)
    world.run(keeper.inject(fault_of(world, "link.cut", CUT, "wan")))
    world.run(keeper.heal("wan"))
    successor = FaultKeeper(world.lab)
    successor.load(saved[-1])
    assert [active.state for active in successor.active()] == [FaultState.NOT_HEALED]
    assert successor.active() == keeper.active()


def test_an_irreversible_fault_outlives_its_lease_once(world: World) -> None:
    keeper, provider = world.keeper, {"provider": "kms-provider"}
    world.run(keeper.inject(fault_of(world, "provider.delete", provider, "gone"), lease_s=5.0))
    world.run(world.lab.sleep(10.0))
    assert [left.id for left in world.run(keeper.lapse()).left] == ["gone"]
    assert [(a.state, a.until) for a in keeper.active()] == [(FaultState.STAYS, 0.0)]
    assert world.run(keeper.lapse()) == HealOutcome(healed=(), left=())


def test_a_lease_does_not_wait_for_the_slow_end_of_another_fault() -> None:
    """Before, one fault after another was healed, and a staggered power-on held up all leases."""
    world = World(hosts=1, vms=1)
    lab = world.lab
    _, keeper = limp(world, power_on=None)  # the first one's heal is looked at for seconds
    for fault, lease_s in (
        (fault_of(world, "host.power_loss", {"on": HOST}, "first"), 50.0),
        (fault_of(world, "link.cut", CUT, "second"), 50.5),
    ):
        world.run(keeper.inject(fault, lease_s=lease_s))

    async def lapsed() -> list[str]:
        leases = asyncio.ensure_future(keeper.keep_leases(1.0))
        await lab.sleep(52.0)
        listed = [active.fault.id for active in keeper.active()]
        leases.cancel()
        return listed

    assert world.run(lapsed()) == ["first"]
    world.close()


def test_a_fault_that_begins_anew_while_another_lapses_has_not_the_lease_of_the_old_one() -> None:
    world = World(hosts=1, vms=1)
    lab = world.lab
    _, keeper = limp(world, power_on=None)  # the first one's heal is looked at for seconds
    second = fault_of(world, "link.cut", CUT, "second")
    for fault in (fault_of(world, "host.power_loss", {"on": HOST}, "first"), second):
        world.run(keeper.inject(fault, lease_s=50.0))
    world.run(lab.sleep(100.0))

    async def lapsed() -> HealOutcome:
        lapsing = asyncio.ensure_future(keeper.lapse())
        await lab.sleep(0.001)
        while any(active.fault.id == "second" for active in keeper.active()):
            await lab.sleep(0.001)
        await keeper.inject(second)
        assert not lapsing.done()
        return await lapsing

    assert [left.id for left in world.run(lapsed()).left] == ["first", "second"]
    assert [(a.state, a.until) for a in keeper.active()][1] == (FaultState.ACTIVE, 0.0)
    world.close()


def test_what_never_came_to_be_is_not_kept_for_the_next_keeper(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[bytes] = []

    async def save(data: bytes) -> None:
        saved.append(data)

    async def refused(*args: object) -> None:
        raise InvalidState("no")

    keeper = FaultKeeper(world.lab, save=save)
    fault = fault_of(world, "provider.delete", {"provider": "kms-provider"}, "gone")
    monkeypatch.setattr(type(fault), "begin", refused)
    with pytest.raises(ChaosError, match="KS-CHAOS-102") as caught:
        world.run(keeper.inject(fault))
    assert caught.value.text == "gone (provider.delete): InvalidState: no"
    assert keeper.active() == () and b"gone" in saved[0] and b"gone" not in saved[-1]


def test_what_has_no_undo_and_came_to_be_in_part_is_listed_at_the_first_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was done that a second look could show the end of."""
    looks: list[Any] = []

    async def refused(*args: object) -> None:
        raise InvalidState("no")

    async def seen(*args: object) -> str:
        looks.append(args)
        return "a part of it is there"

    fault = fault_of(world, "provider.delete", {"provider": "kms-provider"}, "gone")
    monkeypatch.setattr(type(fault), "begin", refused)
    monkeypatch.setattr(type(fault), "verify_heal", seen)
    with pytest.raises(ChaosError, match="KS-CHAOS-102") as caught:
        world.run(world.keeper.inject(fault))
    no = "InvalidState: no"
    assert caught.value.text == f"gone (provider.delete): {no}; still listed: {no}"
    assert len(looks) == 1
    assert [(a.state, a.seen) for a in world.keeper.active()] == [(FaultState.STAYS, no)]


def test_a_heal_of_all_says_of_what_has_no_undo_that_it_has_a_cure(world: World) -> None:
    keeper, provider = world.keeper, {"provider": "kms-provider"}
    world.run(keeper.inject(fault_of(world, "provider.delete", provider, "gone")))
    (left,) = world.run(keeper.heal_all()).left
    assert left.cure and left.seen == "it has no undo; see its cure"


def test_a_lab_that_refuses_leaves_nothing_behind_or_says_so(world: World) -> None:
    _, keeper = limp(world, power_off=InvalidState("no"))
    with pytest.raises(ChaosError) as caught:
        world.run(keeper.inject(fault_of(world, "host.power_loss", {"on": HOST}, "dark")))
    assert caught.value.id == "KS-CHAOS-102"
    # It never went down, so its heal cannot show a later boot: listed, not forgotten.
    assert [a.fault.id for a in keeper.active()] == ["dark"]


def test_the_same_id_twice_is_refused(world: World) -> None:
    world.run(world.keeper.inject(fault_of(world, "link.cut", CUT, "wan")))
    with pytest.raises(ChaosError, match="KS-CHAOS-105"):
        world.run(world.keeper.inject(fault_of(world, "link.cut", CUT, "wan")))
    world.run(world.keeper.heal("wan"))
    with pytest.raises(ChaosError, match="KS-CHAOS-104"):
        world.run(world.keeper.heal("wan"))


def test_a_lease_that_is_not_renewed_ends_the_fault(world: World) -> None:
    keeper, lab = world.keeper, world.lab
    world.run(keeper.inject(fault_of(world, "link.cut", CUT, "wan"), lease_s=30.0))
    world.run(lab.sleep(20.0))
    assert world.run(keeper.lapse()).healed == ()
    world.run(keeper.renew("wan", 30.0))
    assert {rule.until for rule in lab.rules()} == {keeper.active()[0].until}
    world.run(lab.sleep(20.0))
    assert world.run(keeper.lapse()).healed == ()
    world.run(lab.sleep(20.0))
    assert world.run(keeper.lapse()).healed == ("wan",)
    assert lab.rules() == ()


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_lease_that_is_renewed_while_its_fault_is_healed_does_not_bring_it_back(
    seed: int,
) -> None:
    world = World(seed=seed, hosts=1, vms=1)
    keeper = world.keeper
    world.run(keeper.inject(fault_of(world, "link.cut", CUT, "wan"), lease_s=30.0))

    async def both() -> HealOutcome:
        async def renew() -> None:
            for _ in range(20):
                with suppress(ChaosError):
                    await keeper.renew("wan", 30.0)

        async with asyncio.TaskGroup() as group:
            group.create_task(renew())
            return await group.create_task(keeper.heal("wan"))

    assert world.run(both()).healed == ("wan",)
    assert world.lab.rules() == ()
    world.close()


def test_another_keeper_goes_on_from_what_was_saved(world: World) -> None:
    saved: list[bytes] = []

    async def save(data: bytes) -> None:
        saved.append(data)

    first = FaultKeeper(world.lab, save=save)
    world.run(first.inject(fault_of(world, "host.power_loss", {"on": HOST}, "dark")))
    world.run(first.inject(fault_of(world, "link.cut", CUT, "wan")))
    second = FaultKeeper(world.lab)
    second.load(saved[-1])
    assert second.active() == first.active()
    report = world.run(second.heal_all())
    assert (report.healed, report.left) == (("dark", "wan"), ())
    assert world.run(world.lab.status(HOST)).state is NodeRunState.RUNNING


def test_a_controller_that_dies_in_the_middle_has_saved_enough(world: World) -> None:
    """The list of just before ``begin`` heals what ``begin`` then did."""
    saved: list[bytes] = []

    async def save(data: bytes) -> None:
        saved.append(data)

    async def dies() -> None:
        keeper = FaultKeeper(world.lab, save=save)
        fault = fault_of(world, "host.power_loss", {"on": "role:esxi"}, "dark")
        task = asyncio.get_running_loop().create_task(keeper.inject(fault))
        while not saved:
            await asyncio.sleep(0)
        before = saved[0]
        while (await world.lab.status(HOST)).state is not NodeRunState.OFF:
            await asyncio.sleep(0)
        task.cancel()
        saved[:] = [before]

    world.run(dies())
    successor = FaultKeeper(world.lab)
    successor.load(saved[0])
    assert [a.state for a in successor.active()] == [FaultState.BEGINNING]
    world.run(successor.heal_all())
    for host in world.lab.hosts():
        assert world.run(world.lab.status(host)).state is NodeRunState.RUNNING


def test_a_fault_that_cannot_be_noted_down_does_not_begin(world: World) -> None:
    """On a full disk a controller that dies could not heal it."""

    async def full(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    keeper = FaultKeeper(world.lab, save=full)
    with pytest.raises(OSError, match="No space"):
        world.run(keeper.inject(fault_of(world, "link.cut", CUT, "wan")))
    assert keeper.active() == () and world.lab.rules() == ()


def test_faults_that_wait_for_each_other_are_all_healed(world: World) -> None:
    keeper = world.keeper
    world.run(keeper.inject(fault_of(world, "link.cut", CUT, "wan")))
    world.run(keeper.inject(fault_of(world, "host.power_loss", {"on": HOST}, "dark")))
    world.run(keeper.inject(fault_of(world, "broker.restart", {}, "broker")))
    report = world.run(keeper.heal_all())
    assert sorted(report.healed) == ["broker", "dark", "wan"]
    assert keeper.active() == ()


@pytest.mark.parametrize("with_cure", [False, True])
def test_a_heal_of_all_comes_back_to_what_waited_for_another(
    world: World, monkeypatch: pytest.MonkeyPatch, with_cure: bool
) -> None:
    """Newest first is the wrong order here; one that stays lies between, and hinders nothing."""
    keeper = world.keeper
    first = fault_of(world, "link.cut", CUT, "first")
    waits = fault_of(world, "link.cut", {"between": ["vcenter", HOST]}, "waits")
    gone = fault_of(world, "provider.delete", {"provider": "kms-provider"}, "gone")
    healed, cure = type(waits).verify_heal, type(gone).cure
    cured: list[bool] = []

    def first_is_there() -> bool:
        return any(active.fault.id == "first" for active in keeper.active())

    async def healed_after_the_first(fault: Any, lab: Any, notes: Any) -> str:
        if fault.id == "waits" and first_is_there():
            return "it waits for the first"
        seen: str = await healed(fault, lab, notes)
        return seen

    async def cured_after_the_first(fault: Any, lab: Any, notes: Any) -> None:
        cured.append(not first_is_there())
        if not cured[-1]:
            raise ChaosError("KS-CHAOS-107", "it waits for the first")
        await cure(fault, lab, notes)

    monkeypatch.setattr(type(waits), "verify_heal", healed_after_the_first)
    monkeypatch.setattr(type(gone), "cure", cured_after_the_first)
    for fault in (first, waits, gone):
        world.run(keeper.inject(fault))
    report = world.run(keeper.heal_all(with_cure=with_cure))
    assert report.healed == (("first", "waits", "gone") if with_cure else ("first", "waits"))
    assert [left.id for left in report.left] == ([] if with_cure else ["gone"])
    assert cured == ([False, True] if with_cure else [])


@pytest.mark.parametrize("data", [b"", b"{}", b'{"version": 2}', b'{"version":1,"faults":[{}]}'])
def test_a_list_that_cannot_be_read_is_an_error_by_id(world: World, data: bytes) -> None:
    with pytest.raises(ChaosError, match="KS-CHAOS-109"):
        FaultKeeper(world.lab).load(data)


def test_two_faults_do_not_hold_one_setting(world: World) -> None:
    """The second would put the first one's change back as "what was before"."""
    values = {"on": HOST, "secure_boot": "off"}
    world.run(world.keeper.inject(fault_of(world, "host.boot_measure", values, "first")))
    with pytest.raises(ChaosError, match=r"KS-CHAOS-106: first holds the firmware of esxi-001"):
        world.run(world.keeper.inject(fault_of(world, "host.boot_measure", values, "second")))
    assert world.run(world.keeper.heal_all()).healed == ("first",)
    assert world.run(world.lab.firmware_of(HOST)).secure_boot


def test_a_cure_that_fails_leaves_the_fault_listed(world: World) -> None:
    """KS-CHAOS-107: the administrator's steps did not end well; they can be tried again."""
    lame, keeper = limp(world)
    world.run(keeper.inject(fault_of(world, "provider.delete", {"provider": "kms-provider"}, "p")))
    lame.verbs["ask"] = InvalidState("no")
    report = world.run(keeper.heal_all(with_cure=True))
    assert [left.id for left in report.left] == ["p"] and "KS-CHAOS-107" in report.left[0].seen
    lame.verbs.clear()
    assert world.run(keeper.heal_all(with_cure=True)).healed == ("p",)


def test_a_fault_waits_for_no_node_that_another_one_boots_now(world: World) -> None:
    """A cure boots its host twice: what takes the power away meanwhile would see neither."""
    keeper = world.keeper
    clear = fault_of(world, "tpm.clear", {"on": HOST}, "clear")
    reboot = fault_of(world, "host.reboot", {"on": ["esxi-001", "esxi-002"]}, "reboot")

    async def both() -> ChaosError:
        await keeper.inject(clear)
        cure = asyncio.get_running_loop().create_task(keeper.heal("clear", with_cure=True))
        await world.lab.sleep(1)
        await keeper.inject(fault_of(world, "host.reboot", {"on": "esxi-002"}, "other"))
        with pytest.raises(ChaosError) as refused:
            await keeper.inject(reboot)
        assert (await cure).healed == ("clear",)
        return refused.value

    error = world.run(both())
    assert error.id == "KS-CHAOS-106"
    assert error.text == "clear is at work on the power of esxi-001"
    assert [active.fault.id for active in keeper.active()] == ["other"]
    world.run(keeper.heal_all())
    world.run(keeper.inject(reboot))


def test_a_tpm_that_is_disabled_in_the_firmware_is_not_cleared(world: World) -> None:
    """It has power until its host's next boot, in which a clear could not be seen."""
    world.run(world.keeper.inject(fault_of(world, "host.tpm_disabled", {"on": HOST}, "off")))
    with pytest.raises(ChaosError, match=r"KS-CHAOS-106.*disabled in the firmware"):
        world.run(world.keeper.inject(fault_of(world, "tpm.clear", {"on": HOST}, "clear")))
    latent = fault_of(world, "tpm.clear", {"on": HOST, "latent": True}, "latent")
    world.run(world.keeper.inject(latent))
