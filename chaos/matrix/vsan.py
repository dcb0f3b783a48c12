"""The encrypted vSAN of a staging: an object that only we can tell, and what is seen of it.

Its components lie on the disks of three hosts: a replica on B, which is rebooted, another on V2, a
vote on V3. Every read is of blocks that are asked for under a fresh nonce.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from chaos.lab import REFUSALS
from chaos.matrix.evidence import GroupsSeen, Works
from chaos.matrix.looks import Looks, plain
from chaos.matrix.scene import OnVsan, StagingScene, Void, cluster_of
from chaos.matrix.terms import Actor, Boot
from chaos.oracle.terms import TableEvent
from protocol.errors import GuestFault
from protocol.guest import challenge_digest, guest_block, guest_seed
from protocol.messages.host.vsan import (
    QueryVsan,
    QueryVsanEncryptionHealth,
    ReadVsanObject,
    WriteVsanObject,
)
from protocol.messages.vcenter.vsan import QueryVsanCluster, QueryVsanHealth, VsanCluster
from protocol.terms import CryptoKeyId, NodeName
from protocol.vsan import ComponentKind, ComponentState

BLOCKS, ASKED = 64, 8
WITHIN_S = 60.0
OFF_S = 2.0
HEALTH_S = 120.0  # each host waits for each of its key servers


async def mark(scene: StagingScene) -> None:
    """Fill the object's replicas with blocks that only we can tell. ``Void`` when B and V2 do not
    have them, or nothing says which keys the disks are under."""
    found = await _cluster(scene)
    item, config = found.objects[0], found.config
    hosts = [str(part.host) for part in item.components if part.kind == ComponentKind.REPLICA]
    wanted = [str(scene.host(TableEvent.E12, actor)) for actor in (Actor.B, Actor.V2)]
    kek = _kek_on(found, scene.host(TableEvent.E12, Actor.B))
    if sorted(hosts) != sorted(wanted) or kek is None or config.host_key_id is None:
        raise Void(f"the replicas of {item.object} lie on {', '.join(hosts)}")
    marker = scene.draws.token(32)
    for host in hosts:
        message = WriteVsanObject(object=item.object, marker=marker)
        await scene.lab.ask(NodeName(host), message, within_s=WITHIN_S)
    scene.on_vsan = OnVsan(item.object, marker, kek=kek, host_key=config.host_key_id)
    scene.book.write("note", "", "object filled", object=item.object, hosts=hosts)


def _kek_on(found: VsanCluster, host: NodeName) -> CryptoKeyId | None:
    """The KEK that opens the one disk group of the host, the cluster's or its own (C3)."""
    groups = next((one.groups for one in found.hosts if one.host == host), ())
    keks = {disk.kek_id for group in groups for disk in group.disks}
    return keks.pop() if len(keks) == 1 else None


async def check_healthy(scene: StagingScene) -> None:
    """``Void`` unless every disk group is mounted and both replicas read right."""
    for host in (*(await _cluster(scene)).hosts,):
        if not host.answers or not all(group.mounted for group in host.groups):
            raise Void(f"the disk groups of {host.host} are not mounted before the fault")
    for actor in (Actor.B, Actor.V2):
        read = await read_on(scene, scene.host(TableEvent.E12, actor))
        if read.right is not True:
            raise Void(f"a replica does not read right before the fault: {read.detail}")


async def try_flipped_bit(scene: StagingScene) -> tuple[bool, str]:
    """Whether a bit that is flipped on a disk of V2, while it is off, is noticed; what was seen."""
    host = scene.host(TableEvent.E12, Actor.V2)
    await _while_off(scene, host, scene.bench.flip_vsan_bit)
    found = await read_on(scene, host, asked=BLOCKS)
    return found.right is False, found.detail or "every block was read back right"


async def other_dek(scene: StagingScene) -> tuple[bool, str]:
    """Whether the wrapped DEK of another disk, put on one of B while it is off, is noticed: its
    groups are not mounted."""
    host = scene.host(TableEvent.E12, Actor.B)
    await _while_off(scene, host, scene.bench.replace_vsan_dek)
    mounted, found = await _are_groups_mounted(scene, host), await read_on(scene, host)
    return mounted is False and found.right is None, f"mounted: {mounted}; {found.detail}"


async def _while_off(
    scene: StagingScene, host: NodeName, spoil: Callable[[NodeName], Awaitable[None]]
) -> None:
    await scene.lab.power_off(host, Boot.ORDERLY.way)
    await scene.lab.sleep(OFF_S)
    await spoil(host)
    await scene.lab.power_on(host)


async def read_on(scene: StagingScene, host: NodeName, *, asked: int = ASKED) -> Works:
    """What comes of the object's replica when so many blocks are read on this host, at its
    console."""
    there = require_mark(scene)
    nonce, blocks = scene.draws.token(32), scene.draws.pick(range(BLOCKS), asked)
    seed = guest_seed(there.marker)
    wanted = challenge_digest(nonce, [guest_block(seed, index, 0) for index in blocks])
    message = ReadVsanObject(object=there.name, nonce=nonce, blocks=tuple(blocks))
    try:
        answer = await scene.lab.ask(host, message, within_s=WITHIN_S)
    except GuestFault as error:
        return Works(right=False, detail=str(error))
    except REFUSALS as error:
        return Works(right=None, detail=f"{type(error).__name__}: {error}")
    right = answer.digest == wanted
    return Works(right=right, detail="" if right else f"{host} reads other blocks")


async def look_at_groups(looks: Looks, host: NodeName, *, since: float) -> GroupsSeen:
    """Disk groups and component of B; ``since`` is its power-on."""
    scene = looks.scene
    shown = await looks.host(host, since=since)
    told = None
    if shown.answers:
        told = await scene.find_answer(host, QueryVsanEncryptionHealth(), within_s=WITHIN_S)
    state, accessible = await _in_vcenter(looks, host)
    found = GroupsSeen(
        host=shown,
        mounted=await _are_groups_mounted(scene, host) if shown.answers else None,
        read=await read_on(scene, host),
        neighbour=await read_on(scene, scene.host(TableEvent.E12, Actor.V2)),
        shown=state,
        accessible=accessible,
        reached=sum(one.connected for one in told.servers) if told and told.servers else None,
        issues=() if told is None else told.issues,
        handed=_handed(scene, host),
    )
    looks.trail.write("probe", host, "groups", **plain(found))
    return found


def require_mark(scene: StagingScene) -> OnVsan:
    """What lies on the vSAN; ``Void`` when nothing was written there."""
    if scene.on_vsan is None:
        raise Void("nothing was written on the vSAN")
    return scene.on_vsan


async def servers_of(scene: StagingScene, hosts: Sequence[NodeName]) -> dict[NodeName, int]:
    """How many key servers each of these hosts has in its profile now."""
    found = {}
    for host in hosts:
        state = await scene.lab.ask(host, QueryVsan(), within_s=WITHIN_S)
        found[host] = len(state.encryption.servers)
    return found


async def kms_connection(scene: StagingScene) -> tuple[str, ...]:
    """What vSAN health says of everybody's way to the key servers now."""
    message = QueryVsanHealth(cluster=cluster_of(TableEvent.E12))
    found = await scene.lab.ask(scene.vcenter, message, within_s=HEALTH_S)
    return next((test.details for test in found.tests if test.test == "kmsconnection"), ())


async def find_unmounted_hosts(scene: StagingScene) -> list[NodeName]:
    """Hosts that are up without their disk groups; none where there is no vSAN."""
    return [host for host in scene.vsan_hosts if await _are_groups_mounted(scene, host) is False]


async def _cluster(scene: StagingScene) -> VsanCluster:
    message = QueryVsanCluster(cluster=cluster_of(TableEvent.E12))
    return await scene.lab.ask(scene.vcenter, message, within_s=WITHIN_S)


async def _are_groups_mounted(scene: StagingScene, host: NodeName) -> bool | None:
    found = await scene.find_answer(host, QueryVsan(), within_s=WITHIN_S)
    return None if found is None else bool(found.groups) and all(g.mounted for g in found.groups)


async def _in_vcenter(looks: Looks, host: NodeName) -> tuple[ComponentState | None, bool | None]:
    """How vCenter shows the component on that host, and whether the object is accessible."""
    scene = looks.scene
    if scene.vcenter_cut:
        return None, None
    try:
        found = await _cluster(scene)
    except REFUSALS:
        return None, None
    item = next(one for one in found.objects if one.object == require_mark(scene).name)
    state = next(part.state for part in item.components if part.host == host)
    return state, item.accessible


def _handed(scene: StagingScene, host: NodeName) -> bool:
    """Whether vCenter has sent this host the value of the KEK since the fault began."""
    kek = str(require_mark(scene).kek.key_id)
    return any(
        one.src == scene.vcenter
        and one.dst == host
        and one.boxes
        and any(kek == str(key.get("key_id")) for key in one.body.get("keys") or ())
        for one in scene.heard.of(host, scene.t0)
    )
