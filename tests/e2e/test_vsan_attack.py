"""Encrypted vSAN under hostile hands: what is said, and what is kept."""

from __future__ import annotations

import asyncio

import pytest

from lab.api import commands as c
from lab.simulation.sim_lab import SimLab
from protocol.errors import ProductError
from protocol.guest import challenge_digest, guest_block, guest_seed
from protocol.messages.host.vsan import QueryVsan, ReadVsanObject, WriteVsanObject
from protocol.terms import NodeName
from tests.e2e import test_vsan_kills as kills
from tests.e2e.test_vsan import A, lab_file, now, restart, vsan
from tests.e2e.test_vsan_kills import FILE, HOST, VCENTER, comes_to_its_end, mark, rekey

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
