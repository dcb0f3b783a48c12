"""Encrypted vSAN under hostile hands: what is said, and what is kept."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Sequence

import pytest

from lab.schema import commands as c
from lab.simulation.sim_lab import SimLab
from protocol.errors import EncryptionKeyRequired, InvalidArgument, InvalidState, ProductError
from protocol.events import EventTypeId
from protocol.guest import challenge_digest, guest_block, guest_seed
from protocol.messages.agent import CutRule
from protocol.messages.host.vsan import QueryVsan, ReadVsanObject, WriteVsanObject
from protocol.messages.vcenter.inventory import ListEvents
from protocol.messages.vcenter.vsan import (
    ChangeVsanDisk,
    CreateVsanObject,
    MountVsanDisks,
    QueryVsanHealth,
)
from protocol.terms import NodeName
from protocol.vsan import ComponentState, VsanHealthState, VsanTransitionState
from services.runtime.link_rules import DesiredRules
from services.runtime.sim.disk import SimDisk
from tests.e2e import test_vsan_kills as kills
from tests.e2e.test_vsan import A, lab_file, now, restart, vsan
from tests.e2e.test_vsan_kills import FILE, HOST, VCENTER, comes_to_its_end, mark, rekey, seen

pytestmark = pytest.mark.sim
lab = kills.lab
TWO_GROUPS = pytest.mark.parametrize("lab", [{"topology": FILE}], indirect=True)


def disks_of(lab: SimLab, host: NodeName = HOST) -> dict[str, bytes]:
    """The disks of a host as they would be after a loss of power."""
    images = lab.world.stores[host].images()
    return {name: data for name, data in images if name.startswith("synced/vsan/")}


@TWO_GROUPS
def test_deep_rekeys_leave_disks_as_large_as_they_were(lab: SimLab) -> None:
    """A disk that is formatted anew keeps nothing of what has left it."""
    places = lab.run(mark(lab))
    before = sum(len(data) for data in disks_of(lab).values())
    for number in range(3):
        lab.run(lab.ask(VCENTER, rekey(number, deep=True), within_s=3600.0))
    assert sum(len(data) for data in disks_of(lab).values()) < before + 1000
    lab.run(comes_to_its_end(lab, places))


async def _written_between(lab: SimLab) -> None:
    """The host falls when the component lies in two groups, and it is written before vCenter goes
    on with the rekey."""
    name = next(name for host, name in await mark(lab) if host == HOST)
    task = asyncio.ensure_future(lab.ask(VCENTER, rekey(0, deep=True), within_s=3600.0))
    while sum(name.encode() in data for data in disks_of(lab).values()) < 2:
        assert not task.done()
        await lab.sleep(0.001)
    await lab.power_off(VCENTER, "crash")
    await lab.power_off(HOST, "power_loss")
    await lab.power_on(HOST)
    with pytest.raises(ProductError):
        await task
    groups = (await lab.ask(HOST, QueryVsan())).groups
    assert [part.object for group in groups for part in group.components].count(name) == 1
    await lab.ask(HOST, WriteVsanObject(object=name, marker=b"written since"))
    await lab.power_on(VCENTER)
    await comes_to_its_end(lab, [])
    blocks = (0, 7, 63)
    answer = await lab.ask(HOST, ReadVsanObject(object=name, nonce=b"n", blocks=blocks))
    seed = guest_seed(b"written since")
    assert answer.digest == challenge_digest(b"n", [guest_block(seed, at, 0) for at in blocks])


@TWO_GROUPS
def test_what_is_written_while_a_component_lies_in_two_groups_is_kept(lab: SimLab) -> None:
    lab.run(_written_between(lab))


async def test_a_disk_that_was_removed_before_anybody_encrypted_stays_removed() -> None:
    async with vsan(topology=lab_file(encrypted=False, provider=None, objects=0)) as running:
        await running.do(c.VsanDiskRemove(A, "group-1", "disk-2"))
        await restart(running, A)
        found = next(group for group in (await now(running)).groups if group.host == A)
        assert [disk.disk for disk in found.disks] == ["disk-1"]


async def test_a_group_without_disks_gets_some_again() -> None:
    async with vsan(topology=lab_file(objects=0)) as running:
        for disk in ("disk-1", "disk-2"):
            found = await running.do(c.VsanDiskRemove(A, "group-1", disk))
        assert A not in {group.host for group in found.groups}
        await restart(running, A)
        found = await running.do(c.VsanDiskAdd(A, "group-1", "disk-7"))
        group = next(group for group in found.groups if group.host == A)
        assert group.mounted and [disk.key for disk in group.disks] == [found.kek]


async def _refused_by_the_device(lab: SimLab, how: str) -> None:
    """A device that refuses for a while, a little later in the rekey each time."""
    places, store, in_time = await mark(lab), lab.world.stores[HOST], 0
    for step in range(8):
        task = asyncio.ensure_future(lab.ask(VCENTER, rekey(step, deep=True), within_s=3600.0))
        await lab.sleep(0.025 * step)
        in_time += not task.done()
        setattr(store, how, True)
        await lab.sleep(2.0)
        await asyncio.gather(task, return_exceptions=True)
        setattr(store, how, False)
        await comes_to_its_end(lab, places)
    assert in_time >= 6


@pytest.mark.slow
@TWO_GROUPS
@pytest.mark.parametrize("how", ["full", "fail"])
def test_a_device_that_refuses_in_the_midst_of_a_rekey_costs_no_data(lab: SimLab, how: str) -> None:
    """Also where it has done what it said that it has not."""
    lab.run(_refused_by_the_device(lab, how))


async def _read_all_along(lab: SimLab) -> int:
    places = [(host, name) for host, name in await mark(lab) if host == HOST]
    task = asyncio.ensure_future(lab.ask(VCENTER, rekey(0, deep=True), within_s=3600.0))
    seed, reads = guest_seed(kills.MARKER), 0
    wanted = challenge_digest(b"n", [guest_block(seed, at, 0) for at in (0, 63)])
    while not task.done():
        for host, name in places:
            message = ReadVsanObject(object=name, nonce=b"n", blocks=(0, 63))
            assert (await lab.ask(host, message)).digest == wanted
            reads += 1
    return reads


@TWO_GROUPS
def test_what_is_read_while_a_disk_gets_its_new_key_is_right(lab: SimLab) -> None:
    assert lab.run(_read_all_along(lab)) > 50


async def _boots_with_dead_disks(lab: SimLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its configuration is read, and its disks are not; until an administrator has them mounted."""
    places, real = await mark(lab), SimDisk.list

    async def dead(self: SimDisk, path: str = "") -> Sequence[str]:
        if path == "vsan" and self.life.node == HOST:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return await real(self, path)

    monkeypatch.setattr(SimDisk, "list", dead)
    await lab.power_off(HOST, "power_loss")
    await lab.power_on(HOST)
    await lab.sleep(60.0)
    groups = next(host.groups for host in (await seen(lab)).hosts if host.host == HOST)
    assert [(group.group, group.mounted) for group in groups] == [
        ("group-1", False),
        ("group-2", False),
    ]
    assert "Input/output error" in groups[0].why
    found = await lab.ask(VCENTER, QueryVsanHealth(cluster=kills.CLUSTER), within_s=600.0)
    colours = {test.test: test.health for test in found.tests}
    assert colours["physicaldisks"] is VsanHealthState.RED
    monkeypatch.undo()
    await lab.ask(VCENTER, MountVsanDisks(host=HOST), within_s=600.0)
    await comes_to_its_end(lab, places)


@TWO_GROUPS
def test_a_host_that_cannot_see_its_disks_says_so_and_looks_again_on_request(
    lab: SimLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.run(_boots_with_dead_disks(lab, monkeypatch))


async def _lost_disk(lab: SimLab) -> None:
    """A disk with a replica is damaged, taken out, and its object is made whole again."""
    places = await mark(lab)
    name = next(name for host, name in places if host == HOST)
    disk = next(path for path, data in disks_of(lab).items() if name.encode() in data)
    path = disk.removeprefix("synced/")
    await lab.power_off(HOST, "power_loss")
    lab.world.stores[HOST].on_disk.write(path, b"a torn header")
    await lab.power_on(HOST)
    await lab.sleep(60.0)
    (group,) = [g for g in (await lab.ask(HOST, QueryVsan())).groups if not g.mounted]
    assert group.why == f"disk {path.partition('.')[2]} is damaged"
    assert all(item.accessible for item in (await seen(lab)).objects)
    with pytest.raises(InvalidState, match="may have"):
        await lab.ask(VCENTER, _made_again(name, 64), within_s=600.0)
    away = path.partition(".")[2]
    taken = ChangeVsanDisk(host=HOST, group=group.group, disk=away, remove=True)
    await lab.ask(VCENTER, taken, within_s=600.0)
    await lab.ask(VCENTER, MountVsanDisks(host=HOST), within_s=600.0)
    with pytest.raises(InvalidState, match="would be inaccessible"):
        await lab.ask(VCENTER, rekey(0, deep=True), within_s=3600.0)
    assert not (await seen(lab)).config.changing
    with pytest.raises(InvalidArgument, match="64"):
        await lab.ask(VCENTER, _made_again(name, 8), within_s=600.0)
    found = await lab.ask(VCENTER, _made_again(name, 64), within_s=600.0)
    (item,) = [o for o in found.objects if o.object == name]
    assert {part.state for part in item.components} == {ComponentState.ACTIVE}
    await comes_to_its_end(lab, places)


def _made_again(name: str, blocks: int) -> CreateVsanObject:
    return CreateVsanObject(
        operation_id="test/again", cluster=kills.CLUSTER, object=name, blocks=blocks
    )


@TWO_GROUPS
def test_a_replica_that_was_lost_comes_from_the_other_one(lab: SimLab) -> None:
    """VSAN-04: what comes back is what the object held, not what it was made of."""
    lab.run(_lost_disk(lab))


async def _closed_while_a_rekey_waits(lab: SimLab) -> list[str]:
    task = asyncio.ensure_future(lab.ask(VCENTER, rekey(0, deep=False), within_s=3600.0))
    while (await seen(lab)).config.transition_state is not VsanTransitionState.PREPARED:
        await lab.sleep(0.001)
    await lab.power_off(HOST, "power_loss")
    with pytest.raises(ProductError):
        await task
    other = NodeName("esxi-001")
    lab.world.rules.apply(DesiredRules().put([CutRule(id="cut", src=other, dst=NodeName("kms"))]))
    await lab.sleep(2 * kills.PERIOD_S + 60.0)
    assert (await seen(lab)).config.changing
    told = (await lab.ask(VCENTER, ListEvents())).events
    return [e.text for e in told if e.event == EventTypeId.VSAN_KMS_CONNECTION]


@TWO_GROUPS
def test_what_is_wrong_is_told_while_a_change_waits_for_a_host(lab: SimLab) -> None:
    """VSAN-14: the way of another host to the key server closes meanwhile."""
    told = lab.run(_closed_while_a_rekey_waits(lab))
    assert told and "esxi-001: 0 of" in told[-1]


async def _asks_for_no_key_of_a_change_that_was_given_up(lab: SimLab) -> None:
    server = NodeName("kms-2")
    ways = [CutRule(id="cut", src=HOST, dst=server), CutRule(id="cut", src=server, dst=HOST)]
    lab.world.rules.apply(DesiredRules().put(ways))
    with pytest.raises(EncryptionKeyRequired):
        await lab.ask(VCENTER, kills.wish(0, "second"), within_s=3600.0)
    await lab.sleep(kills.PERIOD_S + 60.0)
    before = len(lab.records)
    await lab.power_off(HOST, "power_loss")
    await lab.power_on(HOST)
    state = await lab.ask(HOST, QueryVsan())
    assert all(group.mounted for group in state.groups) and not state.preparing
    told = {record.kind for record in lab.records[before:]}
    assert not told & {"vsan.kms_failed", "vsan.key_missing"}


@TWO_GROUPS
def test_a_host_asks_for_no_key_of_a_change_that_was_given_up(lab: SimLab) -> None:
    """VSAN-01: what was in force still is; nothing of the other profile is left on a host."""
    lab.run(_asks_for_no_key_of_a_change_that_was_given_up(lab))
