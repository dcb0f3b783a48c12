"""The inventory of one vCenter: its objects by id and by name, computed from one snapshot of what
the lab answered last, and when the lab has to be queried again.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from lab.schema import answers
from lab.schema import commands as c
from lab.schema.commands import Command
from lab.schema.errors import KeysteadError
from lab.vsphere.executor import Executor
from lab.vsphere.faults import not_found
from lab.vsphere.vim.host import HostSystem
from lab.vsphere.vim.managed import (
    DatastoreBrowser,
    EnvironmentBrowser,
    HostAutoStartManager,
    Managed,
    numbers,
)
from lab.vsphere.vim.places import (
    ClusterEntity,
    ComputeResource,
    Datacenter,
    DatastoreEntity,
    EntityIds,
    FolderEntity,
    Network,
    ResourcePool,
    RootFolder,
)
from lab.vsphere.vim.virtual_machine import VirtualMachine
from lab.vsphere.vim.vm_creation import VirtualMachineSnapshot, VmFolder
from protocol.terms import Role

MAX_AGE_S = 0.2
"""Real seconds for which an answer of a lab of real processes holds, at most."""
LEAST_AGE_S = 0.02
LOOK_SHARE = 0.15
"""How much of the time may be spent on asking a lab of real processes; the more it takes to ask
one, the longer its answers hold."""
LONGEST_PAUSE_S = 0.25
"""Real seconds after which a client that waits looks again although there is no news."""
IDLE_LOOKS = 4
"""Looks without a client that waits, after which nobody looks any more."""
LONGEST_STEP_S = 60.0
"""Virtual seconds after which a client that waits looks again, at most."""


@dataclass(frozen=True)
class InventorySnapshot:
    """The lab's answers, taken together. ``revision`` grows when one of them differs from the
    last one."""

    revision: int
    hosts: tuple[answers.Host, ...] = ()
    vms: tuple[answers.Vm, ...] = ()
    clusters: tuple[answers.Cluster, ...] = ()
    providers: tuple[answers.Provider, ...] = ()
    alarms: tuple[answers.Alarm, ...] = ()
    tasks: tuple[answers.Task, ...] = ()
    events: int = 0
    boot: int = 0
    """The boot of vCenter: another one has no session of the one before."""
    nodes: frozenset[str] = frozenset()
    users: tuple[answers.User, ...] = ()
    roles: tuple[answers.PermissionRole, ...] = ()
    view: answers.HostView | None = None
    """Of a host that answers for itself: what it says."""

    def now(self) -> datetime:
        """The newest time of the lab that its answers show."""
        times = [h.seen_at for h in self.hosts]
        times += [t.complete_time or t.start_time for t in self.tasks[-1:]]
        return datetime.fromtimestamp(max(times, default=0.0), UTC)


class LabWatch:
    """The lab as it was answered last, for every session of one vCenter."""

    def __init__(self, executor: Executor, vcenter: str = "") -> None:
        self.executor, self.vcenter = executor, vcenter
        self._clock, self._clock_at = answers.LabClock(time=0.0, pace=1.0), 0.0
        self._last: InventorySnapshot | None = None
        self._at, self._age_s = 0.0, MAX_AGE_S
        self._seen = -1, -1  # changes and sleeps of the executor when the last answers began
        self._lock = asyncio.Lock()
        self._last_event = 0
        self._waiting = 0  # clients
        self._news = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def _read_clock(self) -> None:
        self._clock = await self.executor.look(c.GetClock())
        self._clock_at = time.monotonic()

    @property
    def time(self) -> datetime:
        """The time of the lab, which tasks and events are stamped with: that of its last answers
        when it is simulated, and now otherwise."""
        seconds = self._clock.time
        if not self.executor.virtual:
            seconds += (time.monotonic() - self._clock_at) * self._clock.pace
        return datetime.fromtimestamp(seconds, UTC)

    async def do(self, command: Command[Any], user: str = "") -> Any:
        """Give a command to the lab, at this vCenter; what was known before holds no longer."""
        try:
            return await self.executor.do(command, self.vcenter, user)
        finally:
            self.forget()

    async def ask(self, command: Command[Any], user: str = "") -> Any:
        """Give a command that changes nothing."""
        return await self.executor.do(command, self.vcenter, user)

    def forget(self) -> None:
        """What was known before holds no longer: the lab changed from elsewhere."""
        self.executor.changes += 1

    def _so_far(self) -> tuple[int, int]:
        return self.executor.changes, self.executor.sleeps

    def _is_fresh(self) -> bool:
        if self._seen != self._so_far():
            return False
        return self.executor.virtual or time.monotonic() - self._at < self._age_s

    async def now(self) -> InventorySnapshot:
        """What the lab is now. Raises ``KeysteadError`` while vCenter does not answer."""
        if self._is_fresh() and self._last is not None:
            return self._last
        async with self._lock:
            if not self._is_fresh() or self._last is None:
                begun, seen = time.monotonic(), self._so_far()
                only_time = self._seen[0] == seen[0] and self._seen[1] != seen[1]
                if self._last is None or not (only_time and await self._is_unchanged(self._last)):
                    self._last = await self._take()
                self._at, self._seen = begun, seen
                took = time.monotonic() - begun
                self._age_s = min(max(took / LOOK_SHARE, LEAST_AGE_S), MAX_AGE_S)
            return self._last

    async def _is_unchanged(self, last: InventorySnapshot) -> bool:
        """Whether nothing came of time that passed in a simulated lab: without a command, all
        changes begin at a host, a VM or a key server, or make an event."""
        hosts = (await self.ask(c.GetHosts())).items
        before, known = _content_of(last), self._last_event
        looked = replace(
            last,
            hosts=hosts,
            vms=(await self.ask(c.GetVms())).items,
            providers=(await self.ask(c.GetProviders())).items,
        )
        await self._read_clock()
        await self._find_last_event()
        return _content_of(looked) == before and self._last_event == known

    async def _take(self) -> InventorySnapshot:
        hosts = await self.ask(c.GetHosts())
        vms = await self.ask(c.GetVms())
        clusters = await self.ask(c.GetClusters())
        providers = await self.ask(c.GetProviders())
        alarms = await self.ask(c.GetAlarms())
        tasks = await self.ask(c.GetTasks())
        nodes = await self.executor.look(c.GetNodes())
        users, roles = await self.ask(c.GetUsers()), await self.ask(c.GetRoles())
        await self._find_last_event()
        own = self._own(nodes)
        taken = InventorySnapshot(
            1,
            hosts.items,
            vms.items,
            clusters.items,
            providers.items,
            alarms.items,
            tasks.items,
            self._last_event,
            own.boot if own is not None else 0,
            frozenset(str(n.node) for n in nodes.items),
            users.items,
            roles.items,
        )
        await self._read_clock()
        return self._compare(taken)

    def _compare(self, taken: InventorySnapshot) -> InventorySnapshot:
        """The last answers if these say the same, else these with the next revision."""
        before = self._last
        if before is None:
            return taken
        if _content_of(before) == _content_of(taken):
            return before
        return replace(taken, revision=before.revision + 1)

    async def find_vcenter(self) -> answers.Node | None:
        """vCenter's machine as it is now."""
        return self._own(await self.executor.look(c.GetNodes()))

    def _own(self, nodes: answers.NodeList) -> answers.Node | None:
        found = (n for n in nodes.items if n.role is Role.VCENTER)
        return next((n for n in found if self.vcenter in ("", n.node)), None)

    async def _find_last_event(self) -> None:
        while True:
            more = (await self.ask(c.GetEvents(after=self._last_event))).items
            if not more:
                return
            if more[0].sequence <= self._last_event:
                return
            self._last_event = more[-1].sequence

    async def pause(self, seconds: float, tries: int) -> float:
        """Let some of ``seconds`` pass for a client that waits, and say how much; the more
        ``tries``, the more.

        Time of a simulated lab passes here and in commands, and nowhere else.
        """
        if self.executor.virtual:
            step = min(seconds, 0.25 * 2 ** min(tries, 10), LONGEST_STEP_S)
            await self.executor.sleep(step)
        else:
            step = min(seconds, LONGEST_PAUSE_S)
            await self._wait_for_news(step)
        return float(step)

    def wake(self) -> None:
        """Let clients that wait look again now."""
        self._news.set()
        self._news = asyncio.Event()

    async def _wait_for_news(self, seconds: float) -> None:
        self._waiting += 1
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_for_all())
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Nobody waits any more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def _look_for_all(self) -> None:
        """Look at a lab of real processes for all clients that wait, as long as there are any."""
        idle = 0
        try:
            while idle < IDLE_LOOKS:
                await asyncio.sleep(max(self._at + self._age_s - time.monotonic(), 0.001))
                idle = 0 if self._waiting else idle + 1
                before = self._last
                try:
                    if self._waiting and await self.now() is not before:
                        self.wake()
                except KeysteadError:  # they are told by their own look
                    self.wake()
        finally:
            self._looking = None


def _content_of(one: InventorySnapshot) -> tuple[Any, ...]:
    """What makes a revision. The time of a host's last beat changes all the time and is no
    property."""
    hosts = [
        (h.host, h.cluster, h.connection, h.crypto_state, h.crypto_key_id, h.version, h.boot,
         h.attestation and h.attestation.status, h.in_maintenance_mode, h.alarms)
        for h in one.hosts
    ]  # fmt: skip
    return (
        hosts, one.vms, one.clusters, one.providers, one.alarms, one.tasks, one.events, one.boot,
        one.users, one.roles, one.view,
    )  # fmt: skip


class ObjectInventory:
    """The objects of one snapshot, by id and by name."""

    ids = EntityIds()
    cluster_class: type[ComputeResource] = ClusterEntity
    host_class: type[HostSystem] = HostSystem
    vm_class: type[VirtualMachine] = VirtualMachine

    def __init__(self, snapshot: InventorySnapshot, lab: str) -> None:
        self.snapshot, self.lab = snapshot, lab
        self.evaluations: dict[Any, Any] = {}
        """What filters select in it (``lab.vsphere.vim.collector``)."""
        self.number = numbers(
            [f"vm/{v.vm}" for v in snapshot.vms]
            + [f"host/{h.host}" for h in snapshot.hosts]
            + [f"cluster/{c.cluster}" for c in snapshot.clusters]
            + [f"snapshot/{v.vm}/{s}" for v in snapshot.vms for s in v.snapshots]
        )
        self.root, self.datacenter = RootFolder(self), Datacenter(self)
        self.network = Network(self)
        self.folders = [
            self.make_vm_folder(),
            FolderEntity(self, self.ids.host_folder, "host", ["ComputeResource", "Folder"]),
            FolderEntity(self, self.ids.datastore_folder, "datastore", ["Datastore", "Folder"]),
            FolderEntity(self, self.ids.network_folder, "network", ["Network", "Folder"]),
        ]
        self.clusters = {
            str(row.cluster): self.cluster_class(self, row) for row in snapshot.clusters
        }
        self.pools = {n: ResourcePool(self, n) for n in self.clusters}
        self.datastores = {n: DatastoreEntity(self, n) for n in self.clusters}
        self.hosts = {str(row.host): self.host_class(self, row) for row in snapshot.hosts}
        self.vms = {str(row.vm): self.vm_class(self, row) for row in snapshot.vms}
        self.hosts_of: dict[str, list[Any]] = defaultdict(list)
        self.vms_of: dict[str, list[Any]] = defaultdict(list)
        self.vms_on: dict[str, list[Any]] = defaultdict(list)
        for host in self.hosts.values():
            self.hosts_of[str(host.row.cluster)].append(host)
        for vm in self.vms.values():
            self.vms_of[str(vm.row.cluster)].append(vm)
            self.vms_on[str(vm.row.host)].append(vm)
        self.alarms: dict[str, list[answers.Alarm]] = defaultdict(list)
        for alarm in snapshot.alarms:
            self.alarms[alarm.of].append(alarm)
        self.tasks_of: dict[str, list[answers.Task]] = defaultdict(list)
        for task in snapshot.tasks:
            self.tasks_of[task.entity].append(task)
        here: list[Managed] = [
            self.root,
            self.datacenter,
            *self.folders,
            *self.clusters.values(),
            *self.pools.values(),
            *self.datastores.values(),
            *(DatastoreBrowser(d) for d in self.datastores.values()),
            *(EnvironmentBrowser(c) for c in self.clusters.values()),
            *(HostAutoStartManager(h) for h in self.hosts.values()),
            self.network,
            *self.hosts.values(),
            *self.vms.values(),
            *(VirtualMachineSnapshot(v, s) for v in self.vms.values() for s in v.row.snapshots),
        ]
        self.objects = {one.id: one for one in here}

    def make_vm_folder(self) -> FolderEntity:
        """The folder of VMs."""
        return VmFolder(self)

    def find(self, reference: Any) -> Managed:
        """The object of a reference; ``ManagedObjectNotFound`` when there is none."""
        found = self.objects.get(str(reference._moId))
        if found is None or not issubclass(found.kind, type(reference)):
            raise not_found(type(reference), str(reference._moId))
        return found

    def id_of(self, what: str, name: str, prefix: str) -> str:
        """The id of a VM, host or cluster."""
        return f"{prefix}{self.number[f'{what}/{name}']}"

    def children(self, thing: Any) -> list[Any]:
        """What lies below an object in the tree of the inventory."""
        if thing is self.root:
            return [self.datacenter]
        if thing is self.datacenter:
            return list(self.folders)
        below: list[list[Any]] = [
            list(self.vms.values()), list(self.clusters.values()),
            list(self.datastores.values()), [self.network],
        ]  # fmt: skip
        for folder, things in zip(self.folders, below, strict=True):
            if thing is folder:
                return things
        if isinstance(thing, ComputeResource):
            return [self.pools[thing.name], *self.hosts_of[thing.name]]
        return []

    def vms_run_by(self, thing: Any) -> list[Any]:
        """The VMs of a cluster, a resource pool or a host, which lie elsewhere in the tree."""
        if isinstance(thing, ResourcePool):
            return self.vms_of[thing.cluster]
        if isinstance(thing, ComputeResource):
            return self.vms_of[thing.name]
        return self.vms_on[thing.name] if isinstance(thing, HostSystem) else []

    def find_by_name(self, what: str) -> Any:
        """The VM, host or cluster of this name, or None."""
        return self.vms.get(what) or self.hosts.get(what) or self.clusters.get(what)

    def lies_in(self, things: Iterable[Any], entity: Any, recursion: str) -> bool:
        """Whether what happened to ``things`` is asked for by an ``entity`` with its recursion:
        self, children or all. What happened to nothing that has a place happened to the root."""
        wanted = str(entity._moId)
        direct = list(things) or [self.root]
        if recursion != "children" and any(t.id == wanted for t in direct):
            return True
        if recursion == "self":
            return False
        above = [t.parent for t in direct]
        while above:
            thing = above.pop()
            if thing is not None:
                if thing.id == wanted:
                    return True
                above.append(thing.parent)
        return False
