"""What a guest has written to an object is read back, whatever hosts went and came (VSAN-04).

An object is judged as a register: a read gives what was acknowledged last, or what was begun
since and may have been kept; and never again what is older than what was read before.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from lab.simulation.sim_lab import SimLab
from protocol.errors import InvalidState, ProductError
from protocol.guest import challenge_digest, guest_block, guest_seed
from protocol.messages.agent import CutRule
from protocol.messages.host.vsan import ReadVsanObject, WriteVsanObject
from protocol.messages.vcenter.vsan import ChangeVsanDisk, CreateVsanObject, RekeyEncryptedCluster
from protocol.terms import NodeName
from protocol.vsan import ComponentState
from services.esxi.vsan.disk_groups import unpack_disk
from services.runtime.link_rules import DesiredRules
from tests.e2e import test_vsan_kills as kills
from tests.e2e.test_vsan import lab_file
from tests.e2e.test_vsan_kills import CLUSTER, FILE, VCENTER, seen

pytestmark = pytest.mark.sim
lab = kills.lab
BLOCKS, STEPS = (0, 7, 63), 60
STEP = (
    "full",
    "off",
    "on",
    "on",
    "on",
    "cut",
    "write",
    "write",
    "write",
    "read",
    "read",
    "rekey",
    "wait",
)
ONE_GROUP = pytest.mark.parametrize(
    "lab", [{"topology": lab_file(objects=1), "tpm": "model"}], indirect=True
)
TWO_GROUPS = pytest.mark.parametrize("lab", [{"topology": FILE}], indirect=True)


def digest(marker: bytes) -> bytes:
    """What blocks that were made of this marker answer."""
    seed = guest_seed(marker)
    return challenge_digest(b"n", [guest_block(seed, at, 0) for at in BLOCKS])


async def places(lab: SimLab, name: str = "object-1") -> list[NodeName]:
    """The hosts of the two replicas, and that of the witness."""
    item = next(o for o in (await seen(lab)).objects if o.object == name)
    return [p.host for p in sorted(item.components, key=lambda p: p.kind == "witness")]


async def write(lab: SimLab, host: NodeName, marker: bytes, name: str = "object-1") -> None:
    await lab.ask(host, WriteVsanObject(object=name, marker=marker), within_s=300.0)


async def reads(lab: SimLab, host: NodeName, name: str = "object-1") -> bytes:
    message = ReadVsanObject(object=name, nonce=b"n", blocks=BLOCKS)
    return (await lab.ask(host, message, within_s=300.0)).digest


async def off(lab: SimLab, *hosts: NodeName) -> None:
    for host in hosts:
        await lab.power_off(host, "power_loss")


async def on(lab: SimLab, *hosts: NodeName) -> None:
    for host in hosts:
        await lab.power_on(host)


def cut(lab: SimLab, *pairs: tuple[NodeName, NodeName]) -> None:
    """These links carry nothing, both ways; all others do."""
    ways = [way for a, b in pairs for way in ((a, b), (b, a))]
    rules = [CutRule(id=f"cut-{n}", src=src, dst=dst) for n, (src, dst) in enumerate(ways)]
    desired = DesiredRules()
    desired.epoch = lab.world.rules.epoch
    lab.world.rules.apply(desired.put(rules))


async def _comes_back_old(lab: SimLab) -> None:
    first, second, _ = await places(lab)
    await write(lab, first, b"one")
    await off(lab, second)
    await write(lab, first, b"two")
    await on(lab, second)
    assert await reads(lab, second) == digest(b"two")


@ONE_GROUP
def test_a_replica_that_was_away_is_not_read_as_it_was(lab: SimLab) -> None:
    lab.run(_comes_back_old(lab))


async def _dark_neighbour(lab: SimLab) -> None:
    first, second, _ = await places(lab)
    await off(lab, second)
    begun = lab.monotonic()
    await reads(lab, first)
    assert lab.monotonic() - begun < 1.0
    await write(lab, first, b"one")
    assert lab.monotonic() - begun < 15.0  # the write waits once for who may still take it


@ONE_GROUP
def test_a_read_waits_for_nobody_whose_answer_is_not_needed(lab: SimLab) -> None:
    """A machine without power does not refuse: it is silent."""
    lab.run(_dark_neighbour(lab))


async def _old_one_alone(lab: SimLab) -> None:
    first, second, witness = await places(lab)
    await write(lab, first, b"one")
    await off(lab, second)
    await write(lab, first, b"two")
    await off(lab, first)
    await on(lab, second)
    await lab.sleep(90.0)
    with pytest.raises(InvalidState, match="inaccessible"):
        await reads(lab, second)
    with pytest.raises(InvalidState, match="inaccessible"):
        await write(lab, second, b"three")
    (item,) = (await seen(lab)).objects
    assert not item.accessible
    assert {p.host: p.state for p in item.components}[second] is ComponentState.STALE
    await on(lab, first)
    await lab.sleep(90.0)
    await off(lab, first)
    assert await reads(lab, second) == digest(b"two")
    await off(lab, witness)
    with pytest.raises(InvalidState, match="inaccessible"):
        await reads(lab, second)


@ONE_GROUP
def test_an_old_replica_alone_is_inaccessible_until_it_has_caught_up(lab: SimLab) -> None:
    """The witness tells that there was a later write."""
    lab.run(_old_one_alone(lab))


async def _partition(lab: SimLab) -> None:
    first, second, witness = await places(lab)
    await write(lab, first, b"one")
    cut(lab, (second, first), (second, witness))
    await write(lab, first, b"two")
    for ask in (reads(lab, second), write(lab, second, b"three")):
        with pytest.raises(InvalidState, match="inaccessible"):
            await ask
    cut(lab)
    await lab.sleep(90.0)  # nobody has booted, and nobody asks
    await off(lab, first)
    assert await reads(lab, second) == digest(b"two")


@ONE_GROUP
def test_the_side_of_a_partition_without_a_majority_neither_reads_nor_writes(lab: SimLab) -> None:
    lab.run(_partition(lab))


async def _rekey_over_an_old_one(lab: SimLab) -> None:
    """The current replica is on the host whose disks are formatted; the other one is old."""
    first, second, witness = await places(lab)
    await write(lab, first, b"one")
    cut(lab, (second, first), (second, witness))
    await write(lab, first, b"two")
    message = RekeyEncryptedCluster(
        operation_id="test/deep", cluster=CLUSTER, deep_rekey=True, allow_reduced_redundancy=True
    )
    with pytest.raises(InvalidState, match="would be inaccessible"):
        await lab.ask(VCENTER, message, within_s=3600.0)
    cut(lab)
    await lab.sleep(90.0)
    await lab.ask(VCENTER, message, within_s=3600.0)
    for host in (first, second):
        assert await reads(lab, host) == digest(b"two")


@ONE_GROUP
def test_a_deep_rekey_does_not_blank_the_only_current_replica(lab: SimLab) -> None:
    lab.run(_rekey_over_an_old_one(lab))


async def _lost_witness(lab: SimLab) -> None:
    """The host with the current replica is alone, and the vote of the write is lost; an old replica
    and a new witness are no majority that knows."""
    first, second, witness = await places(lab)
    await write(lab, first, b"one")
    await off(lab, second)
    await write(lab, first, b"two")
    await _loses_its_disks(lab, witness)
    cut(lab, (first, second), (first, witness))
    await on(lab, second)
    await lab.sleep(90.0)
    again = CreateVsanObject(operation_id="again", cluster=CLUSTER, object="object-1", blocks=64)
    with pytest.raises(InvalidState, match="too few of its components answer"):
        await lab.ask(VCENTER, again, within_s=600.0)
    await lab.sleep(90.0)
    with pytest.raises(InvalidState, match="inaccessible"):
        await reads(lab, second)
    cut(lab)
    await lab.sleep(90.0)
    found = await lab.ask(VCENTER, again, within_s=600.0)
    assert {p.state for p in found.objects[0].components} == {ComponentState.ACTIVE}
    await off(lab, first)
    assert await reads(lab, second) == digest(b"two")


async def _loses_its_disks(lab: SimLab, host: NodeName) -> None:
    await off(lab, host)
    store = lab.world.stores[host]
    for path, _ in store.images():
        if path.startswith("synced/vsan/"):
            store.on_disk.write(path.removeprefix("synced/"), b"torn")
    await on(lab, host)
    await lab.sleep(60.0)
    for remove in (True, False):
        for disk in ("disk-1", "disk-2"):
            message = ChangeVsanDisk(host=host, group="group-1", disk=disk, remove=remove)
            await lab.ask(VCENTER, message, within_s=600.0)


@ONE_GROUP
def test_a_witness_that_was_made_again_has_no_vote_before_it_knows(lab: SimLab) -> None:
    lab.run(_lost_witness(lab))


def stamp_on(lab: SimLab, host: NodeName, name: str = "object-1") -> int:
    """The last write that the component has seen, as it lies on the host's disk."""
    images = [
        unpack_disk(data)
        for path, data in lab.world.stores[host].images()
        if path.startswith("synced/vsan/")
    ]
    parts = [c for image in images if image is not None for c in image.label.components]
    return max(part.stamp for part in parts if part.object == name)


async def _falls_with_its_write(lab: SimLab) -> None:
    first, second, witness = await places(lab)
    await write(lab, first, b"one")
    before = stamp_on(lab, second)
    work = asyncio.ensure_future(write(lab, second, b"two"))
    while stamp_on(lab, second) == before:
        assert not work.done()
        await lab.sleep(0.0002)
    await off(lab, second)
    assert stamp_on(lab, first) == stamp_on(lab, witness) == before
    with pytest.raises(ProductError):
        await work
    await write(lab, first, b"three")
    await on(lab, second)
    await lab.sleep(90.0)
    for host in (first, second):
        assert await reads(lab, host) == digest(b"three")


@ONE_GROUP
def test_a_write_that_its_host_alone_has_seen_stays_below_a_later_one(
    lab: SimLab,
) -> None:
    lab.run(_falls_with_its_write(lab))


async def _two_writers(lab: SimLab) -> None:
    first, second, _ = await places(lab)
    for step in range(6):
        markers = [b"%d on the one" % step, b"%d on the other" % step]
        works = [
            asyncio.ensure_future(write(lab, host, marker))
            for host, marker in zip((first, second), markers, strict=True)
        ]
        ended = await asyncio.gather(*works, return_exceptions=True)
        kept = [m for m, end in zip(markers, ended, strict=True) if end is None]
        assert kept
        assert await reads(lab, first) == await reads(lab, second)
        assert await reads(lab, first) in {digest(marker) for marker in markers}


@ONE_GROUP
def test_of_two_that_write_at_once_one_is_kept_on_both_hosts(lab: SimLab) -> None:
    lab.run(_two_writers(lab))


class Register:
    """What a read may give: ``known`` was acknowledged or read last, ``maybe`` begun since."""

    def __init__(self, marker: bytes) -> None:
        self.known, self.maybe = marker, list[bytes]()

    def check(self, found: bytes) -> None:
        may = {digest(marker): marker for marker in (self.known, *self.maybe)}
        assert found in may, (self.known, self.maybe)
        marker = may[found]
        if marker in self.maybe:
            self.maybe = self.maybe[self.maybe.index(marker) + 1 :]
        self.known = marker


async def _walk(lab: SimLab, seed: int) -> tuple[int, int]:
    """Hosts go and come, disks fill, links are cut, keys are changed; a guest writes and reads."""
    draw = random.Random(seed)
    hosts = await places(lab)
    replicas, down = hosts[:2], set[NodeName]()
    await write(lab, hosts[0], b"first")
    register, written, refused = Register(b"first"), 0, 0
    for step in range(STEPS):
        match draw.choice(STEP):
            case "off":
                host = draw.choice(hosts)
                if host not in down:
                    await lab.power_off(host, draw.choice(("crash", "power_loss")))
                    down.add(host)
            case "on" if down:
                host = draw.choice(sorted(down))
                down.discard(host)
                await lab.power_on(host)
            case "cut":
                pairs = [(hosts[0], hosts[1]), (hosts[0], hosts[2]), (hosts[1], hosts[2])]
                cut(lab, *draw.sample(pairs, draw.choice((0, 0, 1, 1, 2))))
            case "write":
                marker = b"%d" % step
                register.maybe.append(marker)
                work = asyncio.ensure_future(write(lab, draw.choice(replicas), marker))
                if draw.random() < 0.3:  # somebody falls in the midst of it
                    await lab.sleep(draw.choice((0.001, 0.004, 0.01, 0.03)))
                    host = draw.choice(hosts)
                    if host not in down:
                        await lab.power_off(host, "power_loss")
                        down.add(host)
                try:
                    await work
                except ProductError:
                    refused += 1
                else:
                    register.known, register.maybe, written = marker, [], written + 1
            case "read":
                try:
                    register.check(await reads(lab, draw.choice(replicas)))
                except ProductError:
                    refused += 1
            case "full":
                store = lab.world.stores[draw.choice(hosts)]
                store.full = draw.random() < 0.4
            case "rekey":
                message = kills.rekey(step, deep=draw.random() < 0.5)
                change = asyncio.ensure_future(lab.ask(VCENTER, message, within_s=3600.0))
                await lab.sleep(0.1)
                change.add_done_callback(lambda done: done.exception())
            case _:
                await lab.sleep(draw.choice((1.0, 40.0, 400.0)))
    await _ends_well(lab, hosts, sorted(down), register)
    return written, refused


async def _ends_well(
    lab: SimLab, hosts: list[NodeName], down: list[NodeName], register: Register
) -> None:
    """When all are back, both replicas are the same, and what the register may give."""
    cut(lab)
    for host in hosts:
        lab.world.stores[host].full = False
    for host in down:
        await lab.power_on(host)
    await kills.comes_to_its_end(lab, [])
    await lab.sleep(90.0)
    found = [await reads(lab, host) for host in hosts[:2]]
    assert found[0] == found[1]
    register.check(found[0])
    states = {p.state for o in (await seen(lab)).objects for p in o.components}
    assert states == {ComponentState.ACTIVE}


@pytest.mark.slow
@TWO_GROUPS
@pytest.mark.parametrize("seed", range(8))
def test_an_acknowledged_write_is_read_back_after_any_absences(lab: SimLab, seed: int) -> None:
    written, _ = lab.run(_walk(lab, seed))
    assert written > 0
