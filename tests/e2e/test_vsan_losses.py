"""What vSAN has said stays said after a loss: of power, of a disk, of a bit."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable

import pytest

from lab.simulation.sim_lab import SimLab
from protocol.errors import InvalidState, ProductError, TimedOut
from protocol.messages.agent import CutRule
from protocol.messages.host.vsan import QueryVsan
from protocol.messages.vcenter.vsan import (
    ChangeVsanDisk,
    CreateVsanObject,
    MountVsanDisks,
    RekeyEncryptedCluster,
)
from protocol.terms import NodeName
from protocol.vsan import ComponentState
from services.esxi.host import EsxiHost
from services.esxi.vsan import components
from services.esxi.vsan import objects as object_writes
from services.esxi.vsan.disk_groups import PlacedComponent, unpack_disk
from services.runtime.link_rules import DesiredRules
from services.runtime.sim.disk import SimDisk
from services.runtime.sim.gate import StorageCall
from services.vcenter.tasks import vsan as tasks
from tests.e2e import test_vsan_kills as kills
from tests.e2e import test_vsan_objects as objects
from tests.e2e.test_vsan import lab_file
from tests.e2e.test_vsan_kills import CLUSTER, VCENTER, seen
from tests.e2e.test_vsan_objects import ONE_GROUP, TWO_GROUPS, cut, digest, off, on, places, reads

pytestmark = pytest.mark.sim
lab = kills.lab


class Held:
    """The sync of the folder of disks of one host is refused, or comes to no end: what was put in
    its place is there, and not yet durably. Of a write the second sync: the first is of its number.
    """

    def __init__(self, *, refused: bool) -> None:
        self.refused, self.struck, self.syncs = refused, False, 0

    async def before(self, call: StorageCall) -> None:
        if call.name == "disk.sync_folder" and call.path == "vsan":
            self.syncs += 1
            self.struck = self.syncs > 1
            if self.struck and self.refused:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            if self.struck:
                await asyncio.Event().wait()

    def within(self, call: StorageCall) -> None:
        pass

    async def after(self, call: StorageCall) -> None:
        pass


async def _not_yet_durable(lab: SimLab, *, refused: bool) -> None:
    """A write that was seen once, of which one copy is not durable yet."""
    first, second, witness = await places(lab)
    await objects.write(lab, first, b"one")
    gate = lab.world.stores[first].gate = Held(refused=refused)
    work = asyncio.ensure_future(objects.write(lab, first, b"two"))
    while not gate.struck:
        await lab.sleep(0.0001)
    if not refused:  # the process ends, the machine stays on
        await lab.power_off(first, "crash")
    with pytest.raises(ProductError):
        await work
    lab.world.stores[first].gate = None
    cut(lab, (first, witness), (second, witness))
    if not refused:
        await on(lab, first)
    found = await reads(lab, first)
    assert found == digest(b"two")
    await off(lab, first, second)
    cut(lab)
    await on(lab, first)
    await lab.sleep(60.0)
    assert await reads(lab, first) == found


@ONE_GROUP
@pytest.mark.parametrize("refused", [False, True], ids=["crash", "refused"])
def test_what_was_read_once_is_durable_on_a_majority(lab: SimLab, refused: bool) -> None:
    """Also where a disk was put in its place, and the sync of its folder did not come to its
    end."""
    lab.run(_not_yet_durable(lab, refused=refused))


class AtTheWrite(Held):
    """The same moment, and nothing is refused: something else happens there."""

    def __init__(self, happens: Callable[[], object]) -> None:
        super().__init__(refused=False)
        self.happens = happens

    async def before(self, call: StorageCall) -> None:
        if call.name == "disk.sync_folder" and call.path == "vsan":
            self.syncs += 1
            if self.syncs == 2:
                self.happens()


async def _seen_by_nobody_else(lab: SimLab) -> None:
    """The others answer, and cannot be told of a write."""
    first, second, witness = await places(lab)
    await objects.write(lab, first, b"one")
    rules = [
        CutRule(id=f"cut-{to}", src=first, dst=to, requests=("SyncVsanComponent",))
        for to in (second, witness)
    ]
    desired = DesiredRules()
    desired.epoch = lab.world.rules.epoch
    store = lab.world.stores[first]
    store.gate = AtTheWrite(lambda: lab.world.rules.apply(desired.put(rules)))
    with pytest.raises(TimedOut, match="too few of its components have seen it"):
        await objects.write(lab, first, b"two")
    store.gate = None
    with pytest.raises(InvalidState, match="too few of its components have seen its last write"):
        await reads(lab, first)
    assert await reads(lab, second) == digest(b"two")  # it hears of it, asks for it, and has it
    # The first majority that answers counts: without the witness, which is behind, it is these two.
    rules.append(CutRule(id="cut-votes", src=first, dst=witness, requests=("QueryVsanComponent",)))
    lab.world.rules.apply(desired.put(rules))
    assert await reads(lab, first) == digest(b"two")


@ONE_GROUP
def test_what_one_component_alone_has_seen_is_neither_acknowledged_nor_read(lab: SimLab) -> None:
    lab.run(_seen_by_nobody_else(lab))


async def _blanked_meanwhile(lab: SimLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deep rekey gives the replica's blocks up when a majority has the write."""
    first, second, _ = await places(lab)
    original = object_writes._spread

    async def spread(host: EsxiHost, placed: PlacedComponent, stamp: int) -> bool:
        done = await original(host, placed, stamp)
        if host.node.name == first:
            monkeypatch.undo()
            group, disk, now = object_writes.component_here(host, placed.object)
            await components._make_stale(host, group, disk, now)
        return done

    monkeypatch.setattr(object_writes, "_spread", spread)
    with pytest.raises(TimedOut, match="cannot be read back"):
        await objects.write(lab, first, b"two")
    assert await reads(lab, second) == digest(b"two")
    assert await reads(lab, first) == digest(b"two")


@ONE_GROUP
def test_a_write_that_was_made_does_not_end_as_one_that_was_not(
    lab: SimLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``InvalidState`` says that nothing was written."""
    lab.run(_blanked_meanwhile(lab, monkeypatch))


def _object(name: str = "object-1") -> CreateVsanObject:
    return CreateVsanObject(operation_id="again", cluster=CLUSTER, object=name, blocks=64)


async def _hidden(lab: SimLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The witness lies in a group whose disks cannot be read for a while. One that is made again
    meanwhile has a vote, and the other one comes back with an older one."""
    first, second, witness = await places(lab)
    await objects.write(lab, first, b"one")
    groups = (await lab.ask(witness, QueryVsan())).groups
    hides = next(g.group for g in groups for c in g.components if c.object == "object-1")
    real = SimDisk.read

    async def sick(self: SimDisk, path: str) -> bytes:
        if self.life.node == witness and path.startswith(f"vsan/{hides}."):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return await real(self, path)

    monkeypatch.setattr(SimDisk, "read", sick)
    await off(lab, witness)
    await on(lab, witness)
    await lab.sleep(60.0)
    with pytest.raises(InvalidState, match="may have"):
        await lab.ask(VCENTER, _object(), within_s=600.0)
    await off(lab, second)
    with pytest.raises(InvalidState, match="inaccessible"):
        await objects.write(lab, first, b"two")
    monkeypatch.undo()
    await lab.ask(VCENTER, MountVsanDisks(host=witness), within_s=600.0)
    await objects.write(lab, first, b"two")
    await off(lab, first)
    await on(lab, second)
    with pytest.raises(InvalidState, match="inaccessible"):
        await reads(lab, second)


@TWO_GROUPS
def test_a_witness_that_a_sick_group_may_hide_is_not_made_again(
    lab: SimLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.run(_hidden(lab, monkeypatch))


@TWO_GROUPS
def test_a_host_makes_no_component_that_a_sick_group_of_it_may_hide(
    lab: SimLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks itself: what vCenter saw may be old."""

    async def saw_nothing(*of: object) -> None:
        del of

    with monkeypatch.context() as blind:
        blind.setattr(tasks, "_check_components", saw_nothing)
        lab.run(_hidden(lab, monkeypatch))


async def _damaged_under_way(lab: SimLab, which: int) -> None:
    """The only other replica has a flipped bit that nobody has read yet."""
    hosts = (await places(lab))[:2]
    await objects.write(lab, hosts[0], b"one")
    path, sick = flip(lab, hosts[which]), hosts[which]
    message = RekeyEncryptedCluster(
        operation_id="test/deep", cluster=CLUSTER, deep_rekey=True, allow_reduced_redundancy=True
    )
    with pytest.raises(ProductError):
        await lab.ask(VCENTER, message, within_s=3600.0)
    assert await reads(lab, hosts[1 - which]) == digest(b"one")
    with pytest.raises(ProductError):
        await reads(lab, sick)
    await replaced(lab, sick, path)
    await kills.comes_to_its_end(lab, [])
    for host in hosts:
        assert await reads(lab, host) == digest(b"one")


async def replaced(lab: SimLab, host: NodeName, path: str) -> None:
    """Another disk in the place of a damaged one, and what lay there is made again."""
    group, _, disk = path.removeprefix("vsan/").partition(".")
    for remove in (True, False):
        message = ChangeVsanDisk(host=host, group=group, disk=disk, remove=remove)
        await lab.ask(VCENTER, message, within_s=600.0)
        await lab.ask(VCENTER, MountVsanDisks(host=host), within_s=600.0)
    await lab.ask(VCENTER, _object(), within_s=600.0)


def flip(lab: SimLab, host: NodeName, name: str = "object-1") -> str:
    """One bit of the disk that has the object's component; the name of its file."""
    store = lab.world.stores[host]
    path, data = next(
        (path, data)
        for path, data in store.images()
        if path.startswith("synced/vsan/") and name.encode() in data
    )
    path = path.removeprefix("synced/")
    store.on_disk.write(path, data[:-9] + bytes([data[-9] ^ 4]) + data[-8:])
    store.on_disk.sync(path)
    return path


@ONE_GROUP
@pytest.mark.parametrize("which", [0, 1])
def test_a_deep_rekey_blanks_no_replica_whose_other_one_is_damaged(lab: SimLab, which: int) -> None:
    lab.run(_damaged_under_way(lab, which))


async def _pull_disk(lab: SimLab, host: NodeName) -> tuple[str, bytes]:
    """The disk that has the host's component is pulled out, and that is made again on another one;
    the name and the content of its file."""
    store = lab.world.stores[host]
    path = next(
        path.removeprefix("synced/")
        for path, data in store.images()
        if path.startswith("synced/vsan/") and b"object-1" in data
    )
    pulled = store.on_disk.read(path)
    await off(lab, host)
    store.on_disk.remove(path)
    store.on_disk.sync_folder("vsan")
    await on(lab, host)
    await lab.sleep(60.0)
    await lab.ask(VCENTER, _object(), within_s=600.0)
    return path, pulled


async def _put_disk_back(lab: SimLab, host: NodeName, path: str, pulled: bytes) -> None:
    store = lab.world.stores[host]
    await off(lab, host)
    store.on_disk.write(path, pulled)
    store.on_disk.sync(path)
    store.on_disk.sync_folder("vsan")
    await on(lab, host)


async def _twice_in_one_group(lab: SimLab) -> None:
    first, second, _ = await places(lab)
    await objects.write(lab, first, b"one")
    path, pulled = await _pull_disk(lab, second)
    await _put_disk_back(lab, second, path, pulled)
    await lab.sleep(60.0)
    group, _, _ = path.removeprefix("vsan/").partition(".")
    groups = (await lab.ask(second, QueryVsan())).groups
    places_here = [g.group for g in groups for c in g.components if c.object == "object-1"]
    assert places_here == [group, group]
    message = RekeyEncryptedCluster(operation_id="test/deep", cluster=CLUSTER, deep_rekey=True)
    await lab.ask(VCENTER, message, within_s=3600.0)
    assert await reads(lab, second) == digest(b"one")


@pytest.mark.parametrize(
    "lab", [{"topology": lab_file(groups=2, objects=4), "tpm": "model"}], indirect=True
)
def test_a_group_that_has_a_component_twice_is_evacuated(lab: SimLab) -> None:
    """After a disk was put back: to move one of both gives the other one up."""
    lab.run(_twice_in_one_group(lab))


async def _put_back(lab: SimLab) -> None:
    """A disk is pulled out, its component is made again on another one, and the disk comes back."""
    first, second, witness = await places(lab)
    await objects.write(lab, first, b"one")
    path, pulled = await _pull_disk(lab, witness)
    await off(lab, second)
    await objects.write(lab, first, b"two")
    await _put_disk_back(lab, witness, path, pulled)
    await off(lab, first)
    await on(lab, second)
    await lab.sleep(60.0)
    with pytest.raises(InvalidState, match="inaccessible"):
        await reads(lab, second)
    await on(lab, first)
    await lab.sleep(60.0)
    assert await reads(lab, second) == digest(b"two")
    states = {p.state for o in (await seen(lab)).objects for p in o.components}
    assert states == {ComponentState.ACTIVE}


@TWO_GROUPS
def test_a_disk_that_is_put_back_does_not_bring_back_an_old_vote(lab: SimLab) -> None:
    lab.run(_put_back(lab))


async def _bit_rots(lab: SimLab) -> None:
    """It is noticed at the next read, told, mended by the administrator without a boot."""
    first, second, _ = await places(lab)
    await objects.write(lab, first, b"one")
    path = flip(lab, second)
    with pytest.raises(ProductError, match="damaged"):
        await reads(lab, second)
    assert await reads(lab, first) == digest(b"one")
    groups = (await lab.ask(second, QueryVsan())).groups
    group, _, disk = path.removeprefix("vsan/").partition(".")
    assert [(g.group, g.why) for g in groups if not g.mounted] == [
        (group, f"disk {disk} is damaged")
    ]
    await replaced(lab, second, path)
    assert await reads(lab, second) == digest(b"one")


@ONE_GROUP
def test_a_flipped_bit_is_noticed_and_its_replica_is_made_again(lab: SimLab) -> None:
    lab.run(_bit_rots(lab))


async def _copy_outlives(lab: SimLab) -> None:
    """A host falls while a component moves to its other group, and is written since; then the disk
    with what was written is damaged, and the copy in the making is left."""
    name, first = "object-1", kills.HOST
    replicas, witness = (await places(lab))[:2], (await places(lab))[2]
    second = next(host for host in replicas if host != first)
    await objects.write(lab, first, b"one")
    task = asyncio.ensure_future(lab.ask(VCENTER, kills.rekey(0, deep=True), within_s=3600.0))
    while len(lying(lab, first, name)) < 2:
        assert not task.done()
        await lab.sleep(0.001)
    await lab.power_off(VCENTER, "crash")
    await off(lab, first)
    await on(lab, first)
    await asyncio.gather(task, return_exceptions=True)
    await off(lab, second)
    await objects.write(lab, first, b"two")
    await off(lab, first)
    path = next(path for path, moving in lying(lab, first, name).items() if not moving)
    lab.world.stores[first].on_disk.write(path, b"torn")
    await on(lab, first)
    await on(lab, second)
    await off(lab, witness)
    with pytest.raises(ProductError, match="inaccessible"):
        await reads(lab, second)
    await on(lab, VCENTER)
    await lab.sleep(60.0)
    group, _, disk = path.removeprefix("vsan/").partition(".")
    taken = ChangeVsanDisk(host=first, group=group, disk=disk, remove=True)
    await lab.ask(VCENTER, taken, within_s=600.0)
    await lab.ask(VCENTER, MountVsanDisks(host=first), within_s=600.0)
    with pytest.raises(ProductError, match="inaccessible"):
        await reads(lab, second)
    assert name not in {c.object for g in (await lab.ask(first, QueryVsan())).groups
                        for c in g.components}  # fmt: skip


def lying(lab: SimLab, host: NodeName, name: str) -> dict[str, bool]:
    """The disks of a host with a component of the object; whether it is a copy in the making."""
    images = [
        (path.removeprefix("synced/"), unpack_disk(data))
        for path, data in lab.world.stores[host].images()
        if path.startswith("synced/vsan/")
    ]
    return {
        path: part.moving
        for path, image in images
        if image is not None
        for part in image.label.components
        if part.object == name
    }


@TWO_GROUPS
def test_a_copy_in_the_making_does_not_count_when_its_original_is_lost(lab: SimLab) -> None:
    lab.run(_copy_outlives(lab))


async def _half_made(lab: SimLab) -> None:
    """vCenter falls before the witness is made; guests write already; a replica that
    has seen a write is lost; and the object is made to its end."""
    name = "made-later"
    making = CreateVsanObject(operation_id="made", cluster=CLUSTER, object=name, blocks=64)
    task = asyncio.ensure_future(lab.ask(VCENTER, making, within_s=600.0))
    hosts = [host.host for host in (await seen(lab)).hosts]
    while len(have := [host for host in hosts if lying(lab, host, name)]) < 2:
        assert not task.done()
        await lab.sleep(0.0005)
    (witness,) = [host for host in hosts if host not in have]
    await lab.power_off(VCENTER, "crash")
    with pytest.raises(ProductError):
        await task
    await objects.write(lab, have[0], b"one", name)
    await on(lab, VCENTER)
    await lab.sleep(60.0)
    await objects._loses_its_disks(lab, have[1])
    cut(lab, (have[0], have[1]), (have[0], witness))
    with pytest.raises(InvalidState, match="too few of its components answer"):
        await lab.ask(VCENTER, making, within_s=600.0)
    with pytest.raises(InvalidState, match="inaccessible"):
        await reads(lab, have[1], name)
    cut(lab)
    await lab.ask(VCENTER, making, within_s=600.0)
    await off(lab, have[0])
    assert await reads(lab, have[1], name) == digest(b"one")


@ONE_GROUP
def test_what_was_written_before_an_object_was_made_to_its_end_is_kept(lab: SimLab) -> None:
    lab.run(_half_made(lab))
