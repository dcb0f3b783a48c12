"""An object on encrypted vSAN of an operation's own: written and read at each host that has a
replica, over a rekey of its cluster and a disk that comes and goes (VSAN-01 to VSAN-05)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from chaos.draws import Draws
from chaos.observe.look import OWN, vcenter_of
from chaos.workload.base import WITHIN_S, Arrival, Means, OperationOutcome, WorkloadOperation
from chaos.workload.life import Drifted, Trial, Wrong, conclude
from protocol.guest import challenge_digest, guest_block, guest_seed
from protocol.messages.host.vsan import ReadVsanObject, WriteVsanObject
from protocol.messages.vcenter.vsan import (
    ChangeVsanDisk,
    CreateVsanObject,
    QueryVsanCluster,
    RekeyEncryptedCluster,
    VsanCluster,
    VsanObject,
)
from protocol.terms import ClusterName, NodeName
from protocol.vsan import ComponentKind, ComponentState

_BLOCKS: Final = 8
_DISK: Final = f"{OWN}disk"


@dataclass
class ObjectTrial(Trial):
    """One object. ``marker``: what was written last; empty before the first write."""

    marker: bytes = b""

    @property
    def name(self) -> str:
        """The object's."""
        return f"{OWN}{self.id}"

    async def do(self, message: Any) -> VsanCluster:
        """A task; one with an id is asked for twice, which is no change."""
        answer: VsanCluster = await self.ask(message)
        if hasattr(message, "operation_id"):
            again = await self.ask(message)
            if again.config != answer.config:
                raise Wrong(f"{type(message).__name__} has another outcome when it is repeated")
        return answer

    async def replicas(self) -> tuple[NodeName, ...]:
        """Hosts with one; ``Wrong`` when its components are not as RAID-1 has them."""
        seen = await self.ask(QueryVsanCluster(cluster=self.cluster))
        found = [one for one in seen.objects if one.object == self.name]
        if len(found) != 1:
            raise Wrong(f"{self.name} was made, and {len(found)} such objects are there")
        if any(place.state is not ComponentState.ACTIVE for place in found[0].components):
            raise Drifted(f"a component of {self.name} is not active")
        if flaw := flaw_of(found[0]):
            raise Wrong(f"{self.name} {flaw}")
        return tuple(p.host for p in found[0].components if p.kind == ComponentKind.REPLICA)

    async def write(self, host: NodeName) -> None:
        """``Wrong`` when it reads back something else."""
        self.marker = self.draws.token(16)
        message = WriteVsanObject(object=self.name, marker=self.marker)
        answer = await self.means.lab.ask(host, message, within_s=WITHIN_S)
        if answer.digest != self.digest(b"", range(_BLOCKS)):
            raise Wrong(f"{host} has written something else to {self.name}")

    async def read(self, task: str) -> None:
        """``Wrong`` when a replica is not what was written last."""
        for host in await self.replicas():
            nonce, blocks = self.draws.token(16), self.draws.pick(range(_BLOCKS), 4)
            message = ReadVsanObject(object=self.name, nonce=nonce, blocks=blocks)
            answer = await self.means.lab.ask(host, message, within_s=WITHIN_S)
            if answer.digest != self.digest(nonce, blocks):
                raise Wrong(f"after {task} {host} reads something else from {self.name}")

    def digest(self, nonce: bytes, blocks: Iterable[int]) -> bytes:
        """Of these blocks as they were written last."""
        seed = guest_seed(self.marker)
        return challenge_digest(nonce, [guest_block(seed, block, 0) for block in blocks])


def flaw_of(one: VsanObject) -> str:
    """How an object is not of two replicas and a witness on three hosts; empty when it is."""
    kinds = sorted(place.kind for place in one.components)
    wanted = sorted([ComponentKind.REPLICA, ComponentKind.REPLICA, ComponentKind.WITNESS])
    if kinds != wanted or len({place.host for place in one.components}) != len(wanted):
        return f"has the components {kinds}"
    return "" if one.accessible else "has all its components, and is not accessible"


async def _steps(trial: ObjectTrial) -> None:
    cluster, name = trial.cluster, trial.name
    await trial.do(
        CreateVsanObject(operation_id=trial.next_id(), cluster=cluster, object=name, blocks=_BLOCKS)
    )
    for host in await trial.replicas():
        await trial.write(host)
        await trial.read("it was written")
    for deep in (False, True):
        await _rekey(trial, deep=deep)
    await _change_disks(trial)


async def _rekey(trial: ObjectTrial, *, deep: bool) -> None:
    """New keys of the cluster; a deep one is refused where an object would be inaccessible."""
    before = (await trial.ask(QueryVsanCluster(cluster=trial.cluster))).config
    message = RekeyEncryptedCluster(
        operation_id=trial.next_id(),
        cluster=trial.cluster,
        deep_rekey=deep,
        allow_reduced_redundancy=deep,
    )
    after = (await trial.do(message)).config
    due = before.dek_generation_id + deep
    if after.kek_id == before.kek_id or after.host_key_id == before.host_key_id:
        raise Wrong(f"{trial.cluster} was rekeyed, and has a key of before")
    if (after.dek_generation_id, after.encryption_enabled) != (due, True):
        raise Wrong(f"{trial.cluster} has generation {after.dek_generation_id}, not {due}")
    seen = await trial.ask(QueryVsanCluster(cluster=trial.cluster))
    for host in seen.hosts:
        if not host.answers or not all(group.mounted for group in host.groups):
            raise Drifted(f"a disk group of {host.host} is not mounted")
        for disk in (disk for group in host.groups for disk in group.disks):
            if not disk.encrypted or disk.kek_id != after.kek_id:
                raise Wrong(f"disk {disk.disk} of {host.host} is under {disk.kek_id}")
    await trial.read("its cluster was rekeyed")


async def _change_disks(trial: ObjectTrial) -> None:
    """A disk comes and goes; one with components stays."""
    host = (await trial.replicas())[0]
    seen = await trial.ask(QueryVsanCluster(cluster=trial.cluster))
    group = next(one for one in seen.hosts if one.host == host).groups[0].group
    for remove in (False, True):
        message = ChangeVsanDisk(host=host, group=group, disk=_DISK, remove=remove)
        for _ in range(2):  # the second one is no change
            answer = await trial.ask(message)
        there = next(one for one in answer.hosts if one.host == host).groups
        disks = {disk.disk: disk for one in there for disk in one.disks}
        if (_DISK in disks) is remove:
            raise Wrong(f"{host} {'has' if remove else 'has not'} the disk {_DISK}")
        if not remove and not disks[_DISK].encrypted:
            raise Wrong(f"the disk {_DISK} of {host} is in clear")
    await trial.read("a disk came and went")


async def _live(means: Means, arrival: Arrival) -> OperationOutcome:
    """In a drawn cluster with encrypted vSAN and three hosts."""
    hosts: dict[ClusterName, int] = {}
    for entry in means.lab.directory().nodes:
        if entry.vsan and entry.cluster is not None:
            hosts[entry.cluster] = hosts.get(entry.cluster, 0) + 1
    clusters = [cluster for cluster, count in hosts.items() if count > 2]
    if not clusters:
        return OperationOutcome("ok", {})
    draws = Draws(arrival.number, "vsan")
    cluster = clusters[draws.below(len(clusters))]
    vcenter = await vcenter_of(means.lab, cluster)
    trial = ObjectTrial(means, vcenter, cluster, means.operation_id(arrival), draws)
    return await conclude(_steps(trial))


OPERATIONS: Final = (
    WorkloadOperation(
        "vsan.live",
        "",
        "write and read an object on vSAN, over rekeys and changes of its disks",
        _live,
    ),
)
