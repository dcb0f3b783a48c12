"""What a staging needs of a lab besides the commands on it (``chaos.matrix.scene.Bench``): its
topology with one cluster for each of its events, damage to files behind every host's back, what
came of a staging, and several stagings at a time, each in a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Final, assert_never

import msgspec

from chaos.checks.keys.no_plaintext_key import no_plaintext_key
from chaos.checks.result import CheckOutcome, Finding
from chaos.draws import Draws
from chaos.history import History, as_written
from chaos.matrix import clock
from chaos.matrix.control import Control, controls
from chaos.matrix.events import EVENTS
from chaos.matrix.evidence import Wrapped
from chaos.matrix.grid import Staging, events_of_staging
from chaos.matrix.play import PlayedEvent, play
from chaos.matrix.scene import (
    BESIDE,
    SERVERS_OF_P,
    SERVERS_OF_Q,
    TA_VCENTER,
    Book,
    Heard,
    P,
    Q,
    StagingScene,
    cluster_of,
)
from chaos.matrix.terms import Actor, is_native, is_sealed, is_trusted
from chaos.matrix.twists import TWISTS
from chaos.oracle.terms import Block, TableEvent
from lab.core import LabCore
from lab.forensics.forensics import archive_of
from lab.simulation.scan import Scan
from lab.topology.lab_file import load
from lab.topology.plan import Topology, plan
from protocol.messages.agent import NodeRecord, TpmBackend
from protocol.terms import ClusterName, CryptoKeyId, NodeName, ProviderId, Role, VmName
from services.esxi.vms.file_formats import VmConfig, vmx_file
from services.esxi.vms.files import add_checksum, verify_checksum
from services.esxi.vsan.disk_groups import DiskImage, path_of, unpack_disk
from services.kms.settings.config import KmsTransport


class StagingOutcome(msgspec.Struct, frozen=True):
    """Its events as played or the controls that it was made for, and its history as it stands in a
    file, empty when it was lost."""

    played: tuple[PlayedEvent, ...]
    history: bytes = b""
    controls: tuple[Control, ...] = ()

    @classmethod
    def of_lost_lab(cls, staging: Staging, why: str) -> StagingOutcome:
        """Of a lab that did not come to its end: every event is void."""
        text = f"the lab of {staging.name} was lost: {why}"
        if staging.control:
            lost = Control(block=staging.block, what="anything", held=False, seen=text)
            return cls((), controls=(lost,))
        return cls(tuple(PlayedEvent(event=event, void=text) for event in staging.events))


Done = Callable[[Staging, StagingOutcome], None]
"""Hears of a staging that has ended, from any thread."""


def each(
    stagings: Sequence[Staging],
    play: Callable[[Staging], StagingOutcome],
    done: Done,
    *,
    jobs: int,
    end: Callable[[], None],
) -> None:
    """``play`` each of them, ``jobs`` at a time; ``done`` hears of each, in this thread.

    Interrupted, it calls ``end``, which ends what is being played, and does not begin the rest.
    """

    def one(staging: Staging) -> StagingOutcome:
        try:
            return play(staging)
        except Exception as error:
            # Its lab was lost or never came up, or the play itself has a defect: the other
            # stagings say what they say all the same.
            return StagingOutcome.of_lost_lab(staging, f"{type(error).__name__}: {error}")

    with ThreadPoolExecutor(jobs) as pool:
        waiting = {pool.submit(one, staging): staging for staging in stagings}
        try:
            for future in as_completed(waiting):
                done(waiting[future], future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            end()
            raise


LEAST_HOSTS = 2
"""Two clients must miss vCenter, and hosts reach each other, where one host plays alone too."""
HOSTS_IN_ONE = 5
"""Hosts that share a process, where there are processes: an agent that waits costs little, and each
of them costs that."""


def file_of(
    staging: Staging,
    tpm: TpmBackend,
    knobs: Mapping[str, Any] | None = None,
    transport: KmsTransport = KmsTransport.BUS,
) -> dict[str, Any]:
    """The Lab file: P with two key servers is the default, Q has one of its own. Where both are
    native, these two are of a standard provider beside them. ``knobs``: over those of the staging.
    ``transport``: that of every key server.
    """
    block, events = staging.block, events_of_staging(staging)
    twist = TWISTS[staging.twist]
    counts = {event: len(_initial_hosts(event)) + twist.spare for event in events}
    if sum(counts.values()) < LEAST_HOSTS:
        counts[events[0]] = LEAST_HOSTS
    sealed, persistent = is_sealed(block), block.value[2] == "1"
    hosts = {
        "tpm": (tpm if sealed else TpmBackend.NONE).value,
        "secure_boot": True,
        "key_persistence": persistent,
        **twist.hosts,
    }
    servers, providers = _providers(block, tpm_required=twist.tpm_required)
    return {
        **_trust_authority(block, events),
        "knobs": {**_knobs(block), **dict(staging.knobs), **twist.knobs, **(knobs or {})},
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "name": f"matrix-{block.value.lower()}",
        "vcenters": [{"name": name} for name in _vcenters(block)],
        "kms": [{"name": server, "transport": transport.value} for server in servers],
        "providers": providers,
        "clusters": [
            {
                "name": cluster_of(event),
                "hosts": {**hosts, "count": count},
                "ha": EVENTS[event].by_ha(staging.fault),
                **_vsan(event),
            }
            for event, count in counts.items()
        ],
    }


def _providers(
    block: Block, *, tpm_required: bool
) -> tuple[tuple[NodeName, ...], list[dict[str, Any]]]:
    """Key servers, and key providers, of the block's lab."""
    if is_native(block):
        return SERVERS_OF_P, [
            {"name": P, "type": "native", "default": True, "tpm_required": tpm_required},
            {"name": Q, "type": "native"},
            {"name": BESIDE, "servers": list(SERVERS_OF_P)},
        ]
    kind = {"type": "trusted"} if is_trusted(block) else {}
    return SERVERS_OF_P + SERVERS_OF_Q, [
        {"name": P, **kind, "servers": list(SERVERS_OF_P), "default": True},
        {"name": Q, **kind, "servers": list(SERVERS_OF_Q)},
    ]


def _vcenters(block: Block) -> tuple[str, ...]:
    """The first is the one whose hosts these are."""
    return ("vcenter", str(TA_VCENTER)) if is_trusted(block) else ("vcenter",)


def _trust_authority(block: Block, events: Iterable[TableEvent]) -> dict[str, Any]:
    """Two hosts of it, each with both services; they know endorsement keys by a list."""
    if not is_trusted(block):
        return {}
    authority = {
        "vcenter": str(TA_VCENTER),
        "cluster": "trust-authority",
        "hosts": 2,
        "clusters": [str(cluster_of(event)) for event in events],
    }
    return {"trust_authority": authority}


def _knobs(block: Block) -> dict[str, Any]:
    return {"token_lifetime_s": clock.TOKEN_S} if is_trusted(block) else {}


def _vsan(event: TableEvent) -> dict[str, Any]:
    """One disk group on each host, and one object, whose first replica is B's."""
    if not EVENTS[event].vsan:
        return {}
    return {"vsan": {"groups": 1, "disks": 2, "provider": P, "objects": 1}}


def topology_of(
    staging: Staging,
    tpm: TpmBackend,
    knobs: Mapping[str, Any] | None = None,
    transport: KmsTransport = KmsTransport.BUS,
) -> Topology:
    """Nodes by name; hosts that are added later are not among them."""
    return plan(load(file_of(staging, tpm, knobs, transport)))


def pack_processes(topology: Topology) -> Topology:
    """The same with fewer processes: hosts of different clusters share one, hosts of one cluster
    never do, so that whatever two hosts have to do with each other is between processes."""
    places: dict[int, list[NodeName]] = {}
    seen: dict[ClusterName, int] = {}
    for spec in topology.nodes:
        if spec.role is Role.ESXI:
            place = seen[spec.cluster] = seen.get(spec.cluster, 0) + 1
            places.setdefault(place, []).append(spec.node)
    hosts = {node for nodes in places.values() for node in nodes}
    others = tuple(group for group in topology.groups if hosts.isdisjoint(group))
    made = (
        tuple(nodes[i : i + HOSTS_IN_ONE])
        for nodes in places.values()
        for i in range(0, len(nodes), HOSTS_IN_ONE)
    )
    return msgspec.structs.replace(topology, groups=(*others, *made))


def casts_of(
    topology: Topology, events: Iterable[TableEvent]
) -> dict[TableEvent, dict[Actor, NodeName]]:
    """Who plays what: the first hosts of an event's cluster, in their order."""
    return {
        event: dict(
            zip(
                _initial_hosts(event),
                (s.node for s in topology.nodes if s.cluster == cluster_of(event)),
                strict=False,
            )
        )
        for event in events
    }


def _initial_hosts(event: TableEvent) -> tuple[Actor, ...]:
    """Its hosts that are there from the beginning."""
    return tuple(actor for actor in EVENTS[event].cast if actor is not Actor.N)


async def disk_of(lab: LabCore, event: TableEvent, vm: VmName) -> bytes:
    """The VM's disk file as the datastore has it."""
    file = (await _config(lab, event, vm)).disks[0].file
    return await lab.datastore_file(_store(event), vm, file)


async def read_wrapped(lab: LabCore, event: TableEvent, vm: VmName) -> Wrapped:
    """Keys and wrapped DEKs of the VM, as its configuration on the datastore has them."""
    config = await _config(lab, event, vm)
    parts = (config.home, *(disk.dek for disk in config.disks))
    return Wrapped(keys=config.keys, deks=tuple(part.wrapped for part in parts if part is not None))


async def flip_bit(lab: LabCore, event: TableEvent, vm: VmName) -> None:
    """Flip one bit in the middle of the VM's first block on the datastore."""
    file = (await _config(lab, event, vm)).disks[0].file
    data = bytearray(await lab.datastore_file(_store(event), vm, file))
    data[2048] ^= 1
    await lab.spoil(_store(event), vm, file, bytes(data))


async def replace_dek(
    lab: LabCore, event: TableEvent, vm: VmName, of: tuple[TableEvent, VmName]
) -> None:
    """Put the wrapped DEK of another VM's disk in the place of this one's; the key id stays."""
    config, other = await _config(lab, event, vm), await _config(lab, *of)
    disk, theirs = config.disks[0], other.disks[0]
    if disk.dek is None or theirs.dek is None:
        raise ValueError(f"{vm} or {of[1]} is not encrypted")
    dek = msgspec.structs.replace(disk.dek, wrapped=theirs.dek.wrapped)
    disks = (msgspec.structs.replace(disk, dek=dek), *config.disks[1:])
    made = msgspec.msgpack.encode(msgspec.structs.replace(config, disks=disks))
    await lab.spoil(_store(event), vm, vmx_file(vm), add_checksum(made))


async def flip_vsan_bit(lab: LabCore, host: NodeName) -> None:
    """Flip one bit in the middle of the first block of a replica; the file's checksum fits."""
    image, _ = await _vsan_disks(lab, host)
    blocks = bytearray(image.blocks)
    blocks[2048] ^= 1
    await _put(lab, host, DiskImage(image.label, bytes(blocks)))


async def replace_vsan_dek(lab: LabCore, host: NodeName) -> None:
    """Put the wrapped DEK of another disk in the place of that of a replica's; the key id stays."""
    image, other = await _vsan_disks(lab, host)
    label = msgspec.structs.replace(image.label, wrapped=other.label.wrapped)
    await _put(lab, host, DiskImage(label, image.blocks))


async def _vsan_disks(lab: LabCore, host: NodeName) -> tuple[DiskImage, DiskImage]:
    """The disk with the replica, and another one of the same group."""
    images = []
    for number in range(1, lab.spec(host).config["vsan"]["disks"] + 1):
        image = unpack_disk(await lab.disk_file(host, path_of("group-1", f"disk-{number}")))
        if image is None or not image.label.encrypted:
            raise ValueError(f"disk-{number} of {host} is damaged, or not encrypted")
        images.append(image)
    images.sort(key=lambda image: not image.blocks)
    return images[0], images[1]


async def _put(lab: LabCore, host: NodeName, image: DiskImage) -> None:
    path = path_of(image.label.group, image.label.disk)
    await lab.put_disk_file(host, path, image.pack())


async def _config(lab: LabCore, event: TableEvent, vm: VmName) -> VmConfig:
    body = verify_checksum(await lab.datastore_file(_store(event), vm, vmx_file(vm)))
    if body is None:
        raise ValueError(f"{vmx_file(vm)} is damaged")
    return msgspec.msgpack.decode(body, type=VmConfig)


def _store(event: TableEvent) -> str:
    return f"datastore-{cluster_of(event)}"


PATIENCE_REAL_S: Final = 3.0
"""Real seconds that a window is longer where messages and boots take real time: a time limit of a
service is at least two of them, however fast its lab."""
SILENT_REAL_S: Final = 2.0
"""Real seconds that a trusted host waits for a service which is silent, before it asks the next."""


class LabBench:
    """See ``Bench``; ``records`` gives the lines of the nodes' logs so far."""

    def __init__(self, lab: LabCore, records: Callable[[], Sequence[NodeRecord]]) -> None:
        self._lab, self._records = lab, records

    async def new_host(self, cluster: ClusterName) -> NodeName:
        like = next(spec for spec in self._lab.topology.nodes if spec.cluster == cluster)
        name = NodeName(f"esxi-{len(self._lab.hosts()) + 1:03d}")
        await self._lab.add_node(msgspec.structs.replace(like, node=name))
        return name

    def records(self) -> Sequence[NodeRecord]:
        return self._records()

    async def read_archived_keys(self, host: NodeName) -> tuple[CryptoKeyId, ...]:
        return (await archive_of(self._lab, host)).stored

    async def read_archived_kdks(self, host: NodeName) -> tuple[ProviderId, ...]:
        return (await archive_of(self._lab, host)).kdks

    async def at_rest(self) -> list[tuple[str, bytes]]:
        return await self._lab.at_rest()

    async def disk_of(self, event: TableEvent, vm: VmName) -> bytes:
        return await disk_of(self._lab, event, vm)

    async def read_wrapped(self, event: TableEvent, vm: VmName) -> Wrapped:
        return await read_wrapped(self._lab, event, vm)

    async def flip_bit(self, event: TableEvent, vm: VmName) -> None:
        await flip_bit(self._lab, event, vm)

    async def replace_dek(
        self, event: TableEvent, vm: VmName, of: tuple[TableEvent, VmName]
    ) -> None:
        await replace_dek(self._lab, event, vm, of)

    async def flip_vsan_bit(self, host: NodeName) -> None:
        await flip_vsan_bit(self._lab, host)

    async def replace_vsan_dek(self, host: NodeName) -> None:
        await replace_vsan_dek(self._lab, host)


async def outcome_of(
    scene: StagingScene, staging: Staging, scan: Scan | None = None
) -> StagingOutcome:
    """Play what was staged, look with ``scan`` for every key that was ever made in its lab, and
    close its history."""
    history, played, seen = scene.book.history, tuple[PlayedEvent, ...](), tuple[Control, ...]()
    if staging.control:
        seen = await controls(scene)
    else:
        played = await play(scene, events_of_staging(staging))
        if scan is not None:
            await scan.record(history)
            found = no_plaintext_key(history.records)
            played = tuple(apply_finding(one, found) for one in played)
    history.close()
    return StagingOutcome(played, b"".join(map(as_written, history.records)), seen)


def apply_finding(played: PlayedEvent, found: Finding) -> PlayedEvent:
    """A key in clear anywhere is a matter of every event in this lab; so is that nobody looked."""
    match found.result:
        case CheckOutcome.PASS:
            return played
        case CheckOutcome.FAIL:
            exposed = ", ".join(filter(None, (played.exposed, found.text)))
            return msgspec.structs.replace(played, exposed=exposed)
        case CheckOutcome.UNKNOWN:
            return msgspec.structs.replace(played, void=played.void or found.text)
        case _:
            assert_never(found.result)


def _hosts_left_out(staging: Staging, lab: LabCore) -> frozenset[NodeName]:
    if not TWISTS[staging.twist].tpm_required:
        return frozenset()
    nodes = lab.directory().nodes
    return frozenset(one.node for one in nodes if one.role is Role.ESXI and not one.tpm)


def scene_of(
    staging: Staging,
    lab: LabCore,
    records: Callable[[], Sequence[NodeRecord]],
    heard: Heard,
    history: History,
    seed: int,
    began_at: float,
) -> StagingScene:
    """The scene of a staging in a lab that was made for it, at this Unix time by its clocks."""
    roles = [spec.role for spec in lab.topology.nodes]
    services = roles.count(Role.ATTESTATION) + roles.count(Role.KEYPROVIDER)
    return StagingScene(
        lab=lab,
        bench=LabBench(lab, records),
        heard=heard,
        book=Book(history),
        began_at=began_at,
        block=staging.block,
        fault=staging.fault,
        boot=staging.boot,
        evicted=staging.evicted,
        expired=staging.expired,
        variant=staging.variant,
        twist=staging.twist,
        seen_as=staging.seen_as,
        left_out=_hosts_left_out(staging, lab),
        patience=lab.in_lab_s(PATIENCE_REAL_S),
        in_turn=lab.in_lab_s(SILENT_REAL_S) * 2 * services,  # who waits, may wait for who waits
        draws=Draws(seed, f"matrix/{staging.block}"),
        casts=casts_of(lab.topology, events_of_staging(staging)),
    )
