"""The simulated world: creates the ports of every node's life, and keeps what outlives lives.

Calls of a host's TPM run at once, through the gate of the host's storage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import lru_cache, partial
from typing import Any, NoReturn, Protocol, TypeVar

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from protocol.crypto.seal import Keyring
from protocol.messages.agent import (
    WAKEUP,
    NodeSpec,
    ServiceTime,
    ServiceTimes,
    SharedMachine,
    TpmBackend,
)
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from protocol.tpm.errors import TpmError
from services.runtime.incarnation import CURRENT, Incarnation, WayDown, context_of
from services.runtime.link_rules import RuleTable
from services.runtime.ports import Clock
from services.runtime.request_queues import QueueFigures, ServiceQueue, draw_service_time
from services.runtime.seeded import SeededStreams, stream
from services.runtime.sim.bus import SimBroker, SimWire
from services.runtime.sim.clock_and_rng import SimClock, SimRng
from services.runtime.sim.cores import CommitGroups, SharedCores, SharedProcess
from services.runtime.sim.datastore import SimArray
from services.runtime.sim.disk import SimDisk, SimStore
from services.runtime.sim.gate import StorageCall, StorageGate
from services.runtime.sim.loop import SimLoop
from services.runtime.sim.streams import SimExchange, SimStreams
from services.runtime.tls.port import StreamPort
from services.runtime.tpm.backends import open_device
from services.runtime.tpm.device import MemoryNv, TpmDevice
from services.runtime.tpm.latency import LATENCY_S
from services.runtime.tpm.maker import TpmMaker
from services.runtime.tpm.port import InlineRunner, TpmPort
from services.runtime.tpm.virtual import VirtualTpmPools, VirtualTpmsPort
from services.runtime.world import World

T = TypeVar("T")


class Gated(Protocol):
    """An object with a gate: the store of the same node."""

    gate: StorageGate | None


class SimRunner(InlineRunner):
    """As ``InlineRunner``, for one life of a node; its ``store`` may have a gate."""

    def __init__(
        self,
        sleep: Callable[[float], Awaitable[object]],
        life: Incarnation,
        store: Gated,
        latency_s: Callable[[str], float],
    ) -> None:
        super().__init__(sleep, latency_s)
        self._life, self._store = life, store

    async def run(self, label: str, work: Callable[[], T]) -> T:
        gate = self._store.gate
        if gate is None:
            return await super().run(label, work)
        call = StorageCall(self._life, f"tpm.{label}", "")
        await gate.before(call)
        try:
            value = work()
        except TpmError as error:
            return await super().run(label, partial(_raise, error))
        await gate.after(call)
        return await super().run(label, lambda: value)


def _raise(error: TpmError) -> NoReturn:
    raise error


# Calls in which a thread waits for the device.
_SYNCED = frozenset(
    ("disk.sync", "disk.sync_folder", "db.transact", "datastore.write", "datastore.write_blocks")
)

# Seconds of a storage call, by the beginning of its name; the last line is for all others.
_COSTS = (
    ("disk.sync", 0.002),
    ("disk.", 0.0002),
    ("db.transact", 0.002),
    ("datastore.write", 0.001),
    ("", 0.0004),
)


@lru_cache(maxsize=4096)
def _storage_cost(label: str) -> float:
    """The cost of the call that ``label`` begins with."""
    return next(seconds for start, seconds in _COSTS if label.startswith(start))


class SimWorld(World):
    """See ``services.runtime.world.World``. One per simulation.

    ``machine``: the machine that the broker, the client and all nodes share, if they do; then
    ``processes`` are the queues of the broker and of the client.
    """

    def __init__(
        self, loop: SimLoop, broker: SimBroker, seed: int, machine: SharedMachine | None = None
    ) -> None:
        self.loop, self.broker, self.seed = loop, broker, seed
        self.rules = RuleTable(seed, loop.time)
        self.exchange = SimExchange(loop, self.rules, seed)
        self.arrays: dict[str, SimArray] = {}
        self.stores: dict[NodeName, SimStore] = {}
        self._devices: dict[NodeName, TpmDevice] = {}
        self._nv: dict[NodeName, MemoryNv] = {}
        self._vtpms = VirtualTpmPools()
        self._vtpm_of: dict[NodeName, TpmBackend] = {}
        self._private: dict[NodeName, X25519PrivateKey] = {}
        self._public: dict[NodeName, X25519PublicKey] = {}
        self._boots: dict[NodeName, int] = {}
        # Random, as the bytes of a TPM are.
        secret = X25519PrivateKey.generate().private_bytes_raw()
        self._maker = TpmMaker(KeyMaterial(secret))
        self._costs = stream(seed, "storage")
        self._times: dict[NodeName, Mapping[str, ServiceTime]] = {}
        self._array_times: Mapping[str, ServiceTime] = {}
        self._draws = SeededStreams(seed, "service")
        self._rngs: dict[NodeName, SimRng] = {}  # of the latest life of each node
        self._machine = machine
        self._cores = None if machine is None else SharedCores(loop, machine.cores)
        self._processors: dict[NodeName, SharedProcess] = {}
        self._commits: dict[tuple[NodeName, str], CommitGroups] = {}
        self._disks: dict[str, CommitGroups] = {}  # by node; "" that of a machine that all share
        self.processes: dict[str, ServiceQueue] = {}
        if machine is not None:
            for name, times in (("bus", machine.bus), ("client", machine.client)):
                process, draws = self._make_process(NodeName(name), times), self._draws[name]
                queue = ServiceQueue(times, self, draws, QueueFigures(), process)
                self.processes[name] = queue
            self.broker.hops = self.processes["bus"]

    def _make_process(self, name: NodeName, times: ServiceTimes) -> SharedProcess | None:
        """None where the cores are the node's own and processes take no time to wake up."""
        if self._machine is None and WAKEUP not in times.times:
            return None
        cores = self._cores or SharedCores(self.loop, times.cores)
        machine = self._machine or SharedMachine(cores=times.cores)
        delay, after = machine.delay, machine.after
        made = SharedProcess(self.loop, cores, self._draws[name], times, delay, after)
        self._processors[name] = made
        return made

    def processor(self, node: NodeName) -> SharedProcess | None:
        return self._processors.get(node)

    def count_work(self) -> dict[str, dict[str, float]]:
        """By process: its pieces of work by class so far, and its wake-ups."""
        return {name: dict(process.counts) for name, process in self._processors.items()}

    def reseed(self, seed: int) -> None:
        """Draw everything from ``seed`` from now on: this world, its links and the lives in it."""
        self.seed = seed
        self._costs = stream(seed, "storage")
        self._draws.reseed(seed)
        self.rules.reseed(seed)
        self.broker.reseed(seed)
        self.exchange.reseed(seed)
        for rng in self._rngs.values():
            rng.reseed(seed)

    def add(self, spec: NodeSpec) -> None:
        if spec.node in self.stores:
            return
        charge = self.charge
        if spec.service is not None:
            self._times[spec.node] = times = spec.service.times
            if any(kind.startswith("datastore.") for kind in times):
                self._array_times = times
            charge = partial(self._charge_by_profile, spec.node)
        self._make_process(spec.node, spec.service or ServiceTimes())
        self.stores[spec.node] = SimStore(self._array, charge)
        private = X25519PrivateKey.generate()  # random; nothing may depend on it
        self._private[spec.node], self._public[spec.node] = private, private.public_key()
        self._vtpm_of[spec.node] = spec.vtpm
        if spec.tpm is not TpmBackend.NONE:
            self._nv[spec.node] = MemoryNv()
            self._devices[spec.node] = open_device(spec.tpm, self._nv[spec.node])

    def _array(self, name: str) -> SimArray:
        return self.arrays.setdefault(name, SimArray(self._charge_array))

    def charge(self, label: str) -> Awaitable[None]:
        """Spend the virtual time of one storage call."""
        return self.loop.sleep_future(_storage_cost(label) * (0.5 + self._costs.random()))

    def _charge_by_profile(self, node: NodeName, label: str) -> Awaitable[None]:
        """As ``charge``, for a node whose profile may have a service time for the call."""
        call, _, name = label.partition(" ")
        found = self._times[node].get(call)
        if found is None:
            return self.charge(label)
        process = self._processors.get(node)
        if process is None:
            return self.loop.sleep_future(draw_service_time(found, self._draws[node]))
        seconds = draw_service_time(found, self._draws[node])
        if call != "db.transact":
            return self._call_device(node, process, call, lambda: seconds)
        groups = self._commits.get((node, name))
        if groups is None:
            commit = partial(self._call_device, node, process, call)
            groups = self._commits[node, name] = CommitGroups(self.loop, commit)
        return groups.join(seconds)

    async def _call_device(
        self, node: NodeName, process: SharedProcess, call: str, begin: Callable[[], float]
    ) -> None:
        """A thread of the process wakes up and calls the device; where it waits for that it wakes
        up again. Then it wakes the loop up."""
        await process.work(call, 0.0, thread=True)
        seconds = begin()
        if call in _SYNCED:
            name = node if self._machine is None else ""
            disk = self._disks.get(name)
            if disk is None:
                disk = self._disks[name] = CommitGroups(self.loop, self._sync)
            await disk.join(seconds)
            await process.work(call, 0.0, thread=True)
        elif seconds:
            await self.loop.sleep_future(seconds)
        await process.work(call, 0.0)

    async def _sync(self, begin: Callable[[], float]) -> None:
        await self.loop.sleep_future(begin())

    def _charge_array(self, label: str) -> Awaitable[None]:
        """As ``charge``, of an array that takes the times of its hosts' profile."""
        found = self._array_times.get(label.partition(" ")[0])
        if found is None:
            return self.charge(label)
        life = CURRENT.get()
        process = None if life is None else self._processors.get(life.node)
        if life is not None and process is not None:
            seconds = draw_service_time(found, self._draws[life.node])
            call = label.partition(" ")[0]
            return self._call_device(life.node, process, call, lambda: seconds)
        return self.loop.sleep_future(draw_service_time(found, self._draws["arrays"]))

    def _tpm_latency(self, node: NodeName, label: str) -> float:
        """Lab seconds of a TPM command: from the node's profile, else that of libtpms."""
        name = label if label.startswith("vtpm.") else f"tpm.{label}"
        found = self._times.get(node, {}).get(name)
        return LATENCY_S[label] if found is None else draw_service_time(found, self._draws[node])

    def _runner(self, life: Incarnation) -> SimRunner:
        latency_s = partial(self._tpm_latency, life.node)
        return SimRunner(self.sleep, life, self.stores[life.node], latency_s)

    def next_boot(self, node: NodeName) -> int:
        boot = self._boots[node] = self._boots.get(node, 0) + 1
        return boot

    def last_boot(self, node: NodeName) -> int:
        return self._boots.get(node, 0)

    def monotonic(self) -> float:
        return self.loop.time()

    async def sleep(self, seconds: float) -> None:
        await self.loop.sleep_future(seconds)

    def clock(self, life: Incarnation) -> SimClock:
        return SimClock(self.loop, life, self.rng(life))

    def rng(self, life: Incarnation) -> SimRng:
        found = self._rngs.get(life.node)
        if found is None or found.life is not life:
            found = self._rngs[life.node] = SimRng(self.seed, life)
        return found

    def wire(self, life: Incarnation) -> SimWire:
        return SimWire(self.broker, life)

    def disk(self, life: Incarnation) -> SimDisk:
        return self.stores[life.node].disk(life)

    def store(self, node: NodeName) -> SimStore:
        return self.stores[node]

    def device(self, node: NodeName) -> TpmDevice | None:
        return self._devices.get(node)

    def nv(self, node: NodeName) -> bytes:
        """The permanent state of the node's TPM; empty when it has none."""
        return self._nv[node].load() if node in self._nv else b""

    def tpm(self, life: Incarnation) -> TpmPort | None:
        device = self._devices.get(life.node)
        if device is None:
            return None
        return TpmPort(device, life, self._runner(life), self._maker)

    def vtpms(self, life: Incarnation) -> VirtualTpmsPort | None:
        pool = self._vtpms.of(self._vtpm_of[life.node])
        if pool is None:
            return None
        return VirtualTpmsPort(pool, life, self._runner(life))

    def streams(self, life: Incarnation, clock: Clock) -> StreamPort:
        return StreamPort(life, self.rules, clock, SimStreams(self.exchange, life))

    def keyring(self, node: NodeName) -> Keyring:
        return Keyring(self._private[node], self._public)

    def identities(self) -> dict[bytes, str]:
        """The private key of each node, for scans."""
        return {key.private_bytes_raw(): f"identity:{node}" for node, key in self._private.items()}

    def spawn(
        self, life: Incarnation | None, label: str, work: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        return self.loop.create_task(work, name=label, context=context_of(life))

    def mark(self, node: NodeName, boot: int, label: str) -> None:
        self.loop.trace.add(self.loop.now_ns, node, boot, label)

    async def end_life(self, life: Incarnation, way: WayDown) -> None:
        device = self._devices.get(life.node)
        if device is not None and device.powered:
            device.cut_power()
        await self.stores[life.node].end(life, way)
