"""``vsan.live``: an object of an operation's own, and each lie about it that the operation must
notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from chaos.draws import Draws
from chaos.history import History, Record
from chaos.observe.guests import Guests
from chaos.observe.look import OWN, leaders
from chaos.workload import Arrival, Means, perform
from chaos.workload.base import OperationCounts
from chaos.workload.life import Drifted, Wrong
from chaos.workload.vsan_lives import ObjectTrial, _steps
from protocol.messages.host.vsan import ReadVsanObject, WriteVsanObject
from protocol.messages.vcenter.vsan import (
    ChangeVsanDisk,
    CreateVsanObject,
    QueryVsanCluster,
    RekeyEncryptedCluster,
)
from protocol.vsan import ComponentState
from tests.chaos.lies import Lie, answering, changed, each, lying, nth
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim


@pytest.fixture
def world() -> Iterator[World]:
    made = World(use="vsan", vms=1)
    yield made
    made.close()


def trial_in(world: World, lab: Any = None) -> ObjectTrial:
    lab = lab or world.lab
    means = Means(lab, Guests(lab, Draws(1, "guests")))
    cluster = next(one.cluster for one in world.lab.directory().nodes if one.vsan)
    assert cluster is not None
    return ObjectTrial(means, leaders(world.lab)[0], cluster, "trial", Draws(1, "trial"))


def arrived(world: World, lab: Any = None) -> Record:
    history = History(None, world.lab.monotonic)
    means = Means(lab or world.lab, Guests(world.lab, Draws(1, "guests")))
    arrival = Arrival(at=0.0, op="vsan.live", target="", number=1)
    world.run(perform(means, arrival, history, OperationCounts()))
    return history.records[-1]


def test_one_lives(world: World) -> None:
    ended = arrived(world)
    assert (ended.type, ended.data) == ("ok", {"n": 1})


def test_without_vsan_there_is_nothing_to_do() -> None:
    world = World(vms=1)
    try:
        ended = arrived(world, lying(world, QueryVsanCluster, answering(None)))
        assert (ended.type, ended.data) == ("ok", {"n": 1})
    finally:
        world.close()


def of_config(**fields: Any) -> Lie:
    """The cluster's configuration has other fields."""

    async def answered(real: Any) -> Any:
        answer = await real()
        config = msgspec.structs.replace(answer.config, **fields)
        return msgspec.structs.replace(answer, config=config)

    return answered


async def _as_before(real: Any) -> Any:
    """A rekey whose answer has the keys of the first one."""
    answer = await real()
    _first.append(answer.config)
    return msgspec.structs.replace(answer, config=_first[0])


_first: list[Any] = []


def of_objects(change: Callable[[tuple[Any, ...]], tuple[Any, ...]], **fields: Any) -> Lie:
    """The components of the operation's object are others."""

    async def answered(real: Any) -> Any:
        answer = await real()
        objects = tuple(
            msgspec.structs.replace(one, components=change(one.components), **fields)
            if one.object.startswith(OWN)
            else one
            for one in answer.objects
        )
        return msgspec.structs.replace(answer, objects=objects)

    return answered


def of_disks(**fields: Any) -> Lie:
    """Every disk of every host has other fields."""

    async def answered(real: Any) -> Any:
        answer = await real()
        hosts = []
        for host in answer.hosts:
            groups = []
            for group in host.groups:
                disks = tuple(msgspec.structs.replace(disk, **fields) for disk in group.disks)
                groups.append(msgspec.structs.replace(group, disks=disks))
            hosts.append(msgspec.structs.replace(host, groups=tuple(groups)))
        return msgspec.structs.replace(answer, hosts=tuple(hosts))

    return answered


LIES: dict[str, tuple[type[Any], Lie, str]] = {
    "a repeat has another outcome": (
        CreateVsanObject,
        nth(2, of_config(dek_generation_id=9)),
        "CreateVsanObject has another outcome",
    ),
    "it is not there": (QueryVsanCluster, changed(objects=()), "and 0 such objects are there"),
    "it has two components": (
        QueryVsanCluster,
        of_objects(lambda some: some[:2]),
        "has the components",
    ),
    "two are on one host": (
        QueryVsanCluster,
        of_objects(lambda some: tuple(msgspec.structs.replace(p, host=some[0].host) for p in some)),
        "has the components",
    ),
    "it is not accessible": (
        QueryVsanCluster,
        of_objects(lambda some: some, accessible=False),
        "and is not accessible",
    ),
    "something else is written": (WriteVsanObject, changed(digest=b""), "has written something"),
    "something else is read": (ReadVsanObject, changed(digest=b""), "reads something else"),
    "its keys stay": (RekeyEncryptedCluster, of_config(kek_id=None), "is under"),
    "its generation stays": (
        RekeyEncryptedCluster,
        of_config(dek_generation_id=0),
        "has generation 0, not",
    ),
    "a disk is in clear": (QueryVsanCluster, of_disks(encrypted=False), "is under"),
    "a new disk is in clear": (ChangeVsanDisk, of_disks(encrypted=False), "is in clear"),
    "a disk stays": (ChangeVsanDisk, of_disks(disk=f"{OWN}disk"), "has the disk own-disk"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_lie_is_noticed(world: World, name: str) -> None:
    kind, lie, told = LIES[name]
    with pytest.raises(Wrong, match=told):
        world.run(_steps(trial_in(world, lying(world, kind, lie))))


def test_a_rekey_without_new_keys_is_noticed(world: World) -> None:
    _first.clear()
    lab = lying(world, RekeyEncryptedCluster, _as_before)
    with pytest.raises(Wrong, match="was rekeyed, and has a key of before"):
        world.run(_steps(trial_in(world, lab)))


def test_a_disk_that_does_not_come_is_noticed(world: World) -> None:
    lab = lying(world, ChangeVsanDisk, of_disks(disk="other"))
    with pytest.raises(Wrong, match="has not the disk own-disk"):
        world.run(_steps(trial_in(world, lab)))


@pytest.mark.parametrize(
    ("lie", "told"),
    [
        (
            of_objects(
                lambda some: tuple(
                    msgspec.structs.replace(p, state=ComponentState.STALE) for p in some
                )
            ),
            "is not active",
        ),
        (each("hosts", answers=False), "is not mounted"),
    ],
)
def test_a_fault_says_nothing_against_the_product(world: World, lie: Lie, told: str) -> None:
    with pytest.raises(Drifted, match=told):
        world.run(_steps(trial_in(world, lying(world, QueryVsanCluster, lie))))
