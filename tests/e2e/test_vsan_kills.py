"""A rekey that is cut off anywhere: every disk is mounted again, and the rekey comes to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from lab.simulation.sim_lab import SimLab, build
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.errors import ProductError
from protocol.guest import challenge_digest, guest_block, guest_seed
from protocol.messages.base import Request
from protocol.messages.host.vsan import ReadVsanObject, WriteVsanObject
from protocol.messages.vcenter.vsan import (
    DataEncryptionConfig,
    MountVsanDisks,
    QueryVsanCluster,
    RekeyEncryptedCluster,
    VsanCluster,
    VsanClusterReconfig,
)
from protocol.terms import ClusterName, NodeName, ProviderId
from protocol.vsan import VsanTransitionState

CLUSTER, MARKER = ClusterName("cluster-a"), b"what only the test knows"
HOST, VCENTER = NodeName("esxi-002"), NodeName("vcenter")
SETTLED_S, PERIOD_S, CHANGES = 1500.0, 300.0, 6


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Iterator[SimLab]:
    changes = getattr(request, "param", {})
    topology = changes.get("topology", "vsan")
    more = {name: value for name, value in changes.items() if name != "topology"}
    if topology == "vsan":
        more |= {"tpm": "model", "vms": 0}
    made, _ = build(plan(load(topology, **more)), 0)
    yield made
    for store in made.world.stores.values():
        store.close()
    made.loop.close()


def rekey(number: int, *, deep: bool) -> RekeyEncryptedCluster:
    operation = f"test/rekey/{number}"
    return RekeyEncryptedCluster(operation_id=operation, cluster=CLUSTER, deep_rekey=deep)


async def seen(lab: SimLab) -> VsanCluster:
    return await lab.ask(VCENTER, QueryVsanCluster(cluster=CLUSTER), within_s=60.0)


async def mark(lab: SimLab) -> list[tuple[NodeName, str]]:
    found = [
        (part.host, item.object)
        for item in (await seen(lab)).objects
        for part in item.components
        if part.kind == "replica"
    ]
    for host, name in found:
        await lab.ask(host, WriteVsanObject(object=name, marker=MARKER))
    return found


async def struck(lab: SimLab, node: NodeName, way: str, step: int, *, deep: bool) -> bool:
    """A rekey, see ``struck_in``."""
    span_s = 0.2 if deep else 0.1
    return await struck_in(lab, node, way, rekey(step, deep=deep), span_s * step / CHANGES)


async def struck_in(
    lab: SimLab, node: NodeName, way: str, message: Request[VsanCluster], after_s: float
) -> bool:
    """Begin, take the node away, have it back; whether the task had not ended before."""
    task = asyncio.ensure_future(lab.ask(VCENTER, message, within_s=3600.0))
    await lab.sleep(after_s)
    in_time = not task.done()
    await lab.power_off(node, way)
    await lab.sleep(1.0)
    await lab.power_on(node)
    try:
        await task
    except ProductError:
        pass
    return in_time


async def comes_to_its_end(lab: SimLab, places: list[tuple[NodeName, str]]) -> None:
    until = lab.monotonic() + SETTLED_S
    while True:
        found = await seen(lab)
        if found.config.transition_state is VsanTransitionState.SETTLED:
            if all(host.answers for host in found.hosts):
                break
        assert lab.monotonic() < until, found
        await lab.sleep(20.0)
    await lab.sleep(PERIOD_S + 30.0)  # vCenter has looked at every host
    await lab.ask(VCENTER, MountVsanDisks(host=HOST), within_s=600.0)
    found = await seen(lab)
    groups = [group for host in found.hosts for group in host.groups]
    assert all(group.mounted for group in groups), groups
    keys = {(disk.kek_id, disk.dek_generation_id) for group in groups for disk in group.disks}
    config = found.config
    generation = config.dek_generation_id if config.encryption_enabled else None
    assert {(kek, of if kek else None) for kek, of in keys} == {(config.kek_id, generation)}
    seed, blocks = guest_seed(MARKER), (0, 7, 63)
    wanted = challenge_digest(b"n", [guest_block(seed, index, 0) for index in blocks])
    for host, name in places:
        answer = await lab.ask(host, ReadVsanObject(object=name, nonce=b"n", blocks=blocks))
        assert answer.digest == wanted


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize(
    ("node", "way"), [(HOST, "power_loss"), (HOST, "crash"), (VCENTER, "crash")]
)
def test_a_rekey_that_is_cut_off_comes_to_its_end(
    lab: SimLab, node: NodeName, way: str, deep: bool
) -> None:
    """VSAN-11: a disk is at all times under a key that exists, and its label names that."""
    places = lab.run(mark(lab))
    struck_in_time = 0
    for step in range(CHANGES):
        struck_in_time += lab.run(struck(lab, node, way, step, deep=deep))
        lab.run(comes_to_its_end(lab, places))
    assert struck_in_time >= CHANGES // 2


async def boots_without(lab: SimLab, *away: NodeName) -> None:
    """The host loses power while these are off, and still reads what it wrote."""
    host, name = next((host, name) for host, name in await mark(lab) if host == HOST)
    for node in away:
        await lab.power_off(node, "crash")
    await lab.power_off(host, "power_loss")
    await lab.power_on(host)
    answer = await lab.ask(host, ReadVsanObject(object=name, nonce=b"", blocks=(0,)))
    assert answer.digest == challenge_digest(b"", [guest_block(guest_seed(MARKER), 0, 0)])


@pytest.mark.sim
def test_a_host_asks_the_key_server_itself(lab: SimLab) -> None:
    """VSAN-03."""
    lab.run(boots_without(lab, VCENTER))


@pytest.mark.sim
@pytest.mark.parametrize("lab", [{"key_persistence": True}], indirect=True)
def test_a_host_with_persistence_needs_nobody(lab: SimLab) -> None:
    """VSAN-07."""
    lab.run(boots_without(lab, VCENTER, NodeName("kms")))


@pytest.mark.sim
def test_a_shallow_rekey_is_settled_when_every_disk_has_the_new_key(lab: SimLab) -> None:
    """VSAN-11."""
    found = lab.run(lab.ask(VCENTER, rekey(0, deep=False), within_s=3600.0))
    disks = [d for host in found.hosts for group in host.groups for d in group.disks]
    assert [str(disk.kek_id) for disk in disks] == [str(found.config.kek_id)] * len(disks)


FILE = {
    "apiVersion": "keystead/v1",
    "kind": "Lab",
    "name": "vsan",
    "vcenters": [{"name": "vcenter"}],
    "kms": [{"name": "kms"}, {"name": "kms-2"}],
    "providers": [
        {"name": "kms-provider", "servers": ["kms"], "default": True},
        {"name": "second", "servers": ["kms-2"]},
    ],
    "clusters": [
        {
            "name": "cluster-a",
            "hosts": {"count": 3, "tpm": "model"},
            "vsan": {"groups": 2, "disks": 2, "provider": "kms-provider", "objects": 2},
        }
    ],
}


def wish(number: int, provider: str | None) -> VsanClusterReconfig:
    """Encrypt with keys of that provider; None: decrypt."""
    return VsanClusterReconfig(
        operation_id=f"test/change/{number}",
        cluster=CLUSTER,
        data_encryption_config=DataEncryptionConfig(
            encryption_enabled=provider is not None,
            kms_provider_id=None if provider is None else ProviderId(provider),
        ),
    )


async def changed(lab: SimLab, node: NodeName, way: str, ways: tuple[str | None, ...]) -> int:
    """The changes one after the other, each cut off a little later; how many were under way."""
    places, in_time = await mark(lab), 0
    for step in range(CHANGES):
        found = (await seen(lab)).config
        now = found.kms_provider_id if found.encryption_enabled else None
        message = wish(step, next(one for one in ways if one != now))
        in_time += await struck_in(lab, node, way, message, 0.12 * step / CHANGES)
        await comes_to_its_end(lab, places)
    return in_time


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.parametrize("lab", [{"topology": FILE}], indirect=True)
@pytest.mark.parametrize(
    "ways", [("kms-provider", None), ("kms-provider", "second")], ids=["on and off", "provider"]
)
@pytest.mark.parametrize(
    ("node", "way"),
    [(HOST, "power_loss"), (HOST, "crash"), (VCENTER, "crash"), (NodeName("kms"), "crash")],
)
def test_a_change_that_is_cut_off_is_done_or_given_up(
    lab: SimLab, node: NodeName, way: str, ways: tuple[str | None, ...]
) -> None:
    """VSAN-01: disks are as the configuration says, whole, and what was written reads right:
    encrypting, decrypting, and another provider."""
    assert lab.run(changed(lab, node, way, ways)) >= CHANGES // 2
