"""What a staging needs of a lab besides the commands on it (``chaos.matrix.scene.Bench``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, assert_never

import msgspec

from chaos.checks.keys.no_plaintext_key import no_plaintext_key
from chaos.checks.result import CheckOutcome, Finding
from chaos.draws import Draws
from chaos.history import History, as_written
from chaos.matrix.control import Control, controls
from chaos.matrix.evidence import Wrapped
from chaos.matrix.grid import Staging, events_of_staging
from chaos.matrix.heard import Heard
from chaos.matrix.play import PlayedEvent, play
from chaos.matrix.scene import Book, StagingScene
from chaos.matrix.twists import TWISTS
from chaos.oracle.terms import TableEvent
from lab.core import LabCore
from lab.forensics.archives import archive_of
from lab.matrix import spoil
from lab.matrix.outcome import StagingOutcome
from lab.matrix.topologies import casts_of
from lab.simulation.scan import Scan
from protocol.messages.agent import NodeRecord
from protocol.terms import ClusterName, CryptoKeyId, NodeName, ProviderId, Role, VmName

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
        return await spoil.disk_of(self._lab, event, vm)

    async def read_wrapped(self, event: TableEvent, vm: VmName) -> Wrapped:
        return await spoil.read_wrapped(self._lab, event, vm)

    async def flip_bit(self, event: TableEvent, vm: VmName) -> None:
        await spoil.flip_bit(self._lab, event, vm)

    async def replace_dek(
        self, event: TableEvent, vm: VmName, of: tuple[TableEvent, VmName]
    ) -> None:
        await spoil.replace_dek(self._lab, event, vm, of)

    async def flip_vsan_bit(self, host: NodeName) -> None:
        await spoil.flip_vsan_bit(self._lab, host)

    async def replace_vsan_dek(self, host: NodeName) -> None:
        await spoil.replace_vsan_dek(self._lab, host)


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
