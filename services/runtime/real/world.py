"""The real world of one agent process: creates the ports of every life of its nodes.

Under the lab's folder::

    nodes/<node>/disk/     the node's Disk (written, synced, databases)
    nodes/<node>/boots     its boot counter, and ``boots.twin``
    tpm/<node>.nv          the TPM's NV, outside of the host's disk
    arrays/<datastore>/    the clusters' shared arrays
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from protocol.crypto.seal import Keyring
from protocol.errors import InvalidState
from protocol.messages.agent import NodeSpec, TpmBackend
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, NodeDown, WayDown, context_of
from services.runtime.link_rules import RuleTable
from services.runtime.ports import Clock
from services.runtime.real.broker_tls import BrokerTls
from services.runtime.real.bus import NatsWire, RequestShares
from services.runtime.real.clock_and_rng import LabRng, PacedClock
from services.runtime.real.datastore import LabArray
from services.runtime.real.disk import LabDisk, LabStore
from services.runtime.real.state_files import FileNv, read_boots, tpm_maker, write_boots
from services.runtime.real.streams import LabStreams
from services.runtime.request_queues import Processor
from services.runtime.tls.port import StreamPort
from services.runtime.tpm.backends import open_device
from services.runtime.tpm.device import ForeignImage, TpmDevice
from services.runtime.tpm.maker import TpmMaker
from services.runtime.tpm.port import PoolRunner, TpmPort
from services.runtime.tpm.virtual import VirtualTpmPools, VirtualTpmsPort
from services.runtime.world import World

Keys = Callable[[NodeName], tuple[str, Keyring]]
"""A node's broker seed and its keyring."""

WRITTEN: Final = "disk/written"
"""Below the folder of a node: the files of its disk as last written."""


@dataclass(frozen=True)
class LabTime:
    """The time of all processes of a lab: ``time.monotonic()`` and Unix time of its beginning, and
    how many lab seconds a real second has. ``read`` is that clock on this machine."""

    epoch: float
    wall: float
    pace: float
    read: Callable[[], float] = time.monotonic

    def monotonic(self) -> float:
        """Lab seconds since the lab began."""
        return (self.read() - self.epoch) * self.pace


class LabWorld(World):
    """See ``services.runtime.world.World``. One per agent process."""

    def __init__(
        self,
        folder: Path,
        url: str,
        keys: Keys,
        clock: LabTime,
        seed: int,
        secured: BrokerTls | None = None,
        shares: Callable[[], RequestShares | None] = RequestShares,
    ) -> None:
        self.folder, self.url, self.time, self.seed = folder, url, clock, seed
        self._secured, self._shares = secured, shares
        self.rules = RuleTable(seed, clock.monotonic)
        self._keys = keys
        self._arrays: dict[str, LabArray] = {}
        self._stores: dict[NodeName, LabStore] = {}
        self._devices: dict[NodeName, TpmDevice] = {}
        self._boots: dict[NodeName, int] = {}
        self._pool = PoolRunner(self.sleep)
        self._made_by: TpmMaker | None = None
        self._vtpms = VirtualTpmPools()
        self._vtpm_of: dict[NodeName, TpmBackend] = {}

    def add(self, spec: NodeSpec) -> None:
        if spec.node in self._stores:
            return
        home = self.folder / "nodes" / spec.node
        home.mkdir(0o700, parents=True, exist_ok=True)
        (self.folder / "tpm").mkdir(0o700, exist_ok=True)
        boots = self._boots[spec.node] = read_boots(home)
        store = LabStore(home / "disk", self._array, made=boots > 0)
        if not boots:
            store.make()  # before its first boot: from then on the folder must exist
        if spec.tpm is not TpmBackend.NONE:
            path = self.folder / "tpm" / f"{spec.node}.nv"
            try:
                self._devices[spec.node] = open_device(spec.tpm, FileNv(path, made=boots > 0))
            except ForeignImage as error:
                raise InvalidState(f"{path}: {error}") from None
        self._vtpm_of[spec.node] = spec.vtpm
        self._stores[spec.node] = store

    def _array(self, name: str) -> LabArray:
        if name not in self._arrays:
            self._arrays[name] = LabArray(self.folder / "arrays" / name)
        return self._arrays[name]

    def next_boot(self, node: NodeName) -> int:
        """Written before it is used, so that a killed process does not repeat it."""
        boot = self._boots[node] + 1
        write_boots(self.folder / "nodes" / node, boot)
        self._boots[node] = boot
        return boot

    def last_boot(self, node: NodeName) -> int:
        return self._boots[node]

    def monotonic(self) -> float:
        return self.time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.time.pace)

    def processor(self, node: NodeName) -> Processor | None:
        """None: the kernel divides the cores."""
        return None

    def clock(self, life: Incarnation) -> PacedClock:
        time = self.time
        return PacedClock(
            life,
            self.rng(life),
            epoch=time.epoch,
            wall=time.wall,
            pace=time.pace,
            read=time.read,
        )

    def rng(self, life: Incarnation) -> LabRng:
        return LabRng(self.seed, life)

    def wire(self, life: Incarnation) -> NatsWire:
        seed = self._keys(life.node)[0]
        return NatsWire(self.url, seed, life, secured=self._secured, shares=self._shares())

    def disk(self, life: Incarnation) -> LabDisk:
        return self._stores[life.node].disk(life)

    def store(self, node: NodeName) -> LabStore:
        return self._stores[node]

    def device(self, node: NodeName) -> TpmDevice | None:
        return self._devices.get(node)

    def tpm(self, life: Incarnation) -> TpmPort | None:
        device = self._devices.get(life.node)
        return None if device is None else TpmPort(device, life, self._pool, self._maker())

    def _maker(self) -> TpmMaker:
        if self._made_by is None:
            self._made_by = tpm_maker(self.folder / "tpm")
        return self._made_by

    def vtpms(self, life: Incarnation) -> VirtualTpmsPort | None:
        pool = self._vtpms.of(self._vtpm_of[life.node])
        return None if pool is None else VirtualTpmsPort(pool, life, self._pool)

    def streams(self, life: Incarnation, clock: Clock) -> StreamPort:
        driver = LabStreams(self.folder, life, self.rules, self.monotonic, self.time.pace)
        return StreamPort(life, self.rules, clock, driver)

    def keyring(self, node: NodeName) -> Keyring:
        return self._keys(node)[1]

    def spawn(
        self, life: Incarnation | None, label: str, work: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        return loop.create_task(_report_exceptions(work), name=label, context=context_of(life))

    def mark(self, node: NodeName, boot: int, label: str) -> None:
        """The lab keeps no trace; its log has the same information."""

    async def end_life(self, life: Incarnation, way: WayDown) -> None:
        device = self._devices.get(life.node)
        if device is not None and device.powered:
            device.cut_power()
        await self._stores[life.node].end(life, way)


async def _report_exceptions(work: Coroutine[Any, Any, None]) -> None:
    """Report exceptions of a life's last tasks. Cancellations and ``NodeDown`` are expected; any
    other exception is a defect and goes to the loop's exception handler."""
    try:
        await work
    except (NodeDown, asyncio.CancelledError):
        return
    except BaseExceptionGroup as errors:
        rest = errors.split((NodeDown, asyncio.CancelledError))[1]
        if rest is not None:
            raise rest from None
