"""The choice of a host for a new VM, for a VM that DRS starts, or for a VM whose host is evacuated;
VMs that move to another host of their cluster, and how an interrupted move is completed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from protocol.errors import HostUnreachable, InvalidArgument, InvalidState, NotFound, ProductError
from protocol.messages.host.vms import HostRegisterVm, HostUnregisterVm
from protocol.terms import ClusterName, HostCryptoState, NodeName, VmName
from services.runtime.ports import Clock
from services.vcenter.hosts.session import HostSession
from services.vcenter.hosts.sessions import HostSessions
from services.vcenter.inventory import Inventory, change_vm
from services.vcenter.knobs import VcenterNode
from services.vcenter.tables import VmRow


class Placement:
    """Chooses by the number of VMs, including those that are being created or started."""

    def __init__(self, inventory: Inventory, sessions: HostSessions) -> None:
        self._inventory, self._sessions = inventory, sessions
        self._being_made: dict[NodeName, int] = {}
        self._being_started: dict[NodeName, int] = {}
        self._being_emptied: dict[NodeName, int] = {}

    def choose(
        self,
        cluster: ClusterName,
        wanted: NodeName | None,
        *,
        but: NodeName | None = None,
        encrypted: bool = False,
    ) -> NodeName:
        """The wanted host, or the connected one with the fewest VMs; the first added among equals.
        Never ``but``, which is being evacuated. For an ``encrypted`` VM no host is chosen whose
        encryption is disabled until it reboots (HA-03), nor, when vCenter evacuates a host by
        itself, one whose mode stays off until it is enabled on request. The keys of a host are not
        considered; the task itself judges a wanted host.

        ``NotFound``: no such cluster or host. ``InvalidArgument``: the host is in another cluster.
        ``HostUnreachable``: the wanted host, or every host of the cluster, is not connected;
        ``InvalidState``: it, or every one that is connected, is in maintenance mode, or does not
        accept encrypted VMs.
        """
        if cluster not in self._inventory.clusters:
            raise NotFound(f"there is no cluster {cluster}")
        if wanted is not None:
            row = self._inventory.hosts.get(wanted)
            if row is None:
                raise NotFound(f"host {wanted} is not in the inventory")
            if row.cluster != cluster:
                raise InvalidArgument(f"host: {wanted} is not in cluster {cluster}")
            session = self._sessions.usable(wanted)
            if _in_maintenance_mode(session):
                raise InvalidState(f"{wanted} is in maintenance mode")
            return session.host
        found = self._fit(cluster, but, encrypted=encrypted, own=but is not None)
        return min(found, key=self._load)

    def for_power_on(self, vm: VmRow) -> NodeName:
        """The host on which DRS starts a powered-off VM: of the hosts that accept it, one with the
        fewest running VMs; its own among equals, else the first added (HA-03). The keys of a host
        are not considered. ``HostUnreachable``, ``InvalidState``: no host accepts it."""
        found = self._fit(vm.cluster, None, encrypted=bool(vm.keys), own=True)
        return min(found, key=lambda host: (self._running(host), host != vm.host))

    def takes(self, vm: VmRow) -> bool:
        """Whether DRS could start the VM on its present host."""
        try:
            return vm.host in self._fit(vm.cluster, None, encrypted=bool(vm.keys), own=True)
        except (HostUnreachable, InvalidState):
            return False

    @contextmanager
    def making_on(self, host: NodeName) -> Iterator[None]:
        """While inside, a VM that is being created on the host counts."""
        with _count_while_inside(self._being_made, host):
            yield

    @contextmanager
    def starting_on(self, host: NodeName) -> Iterator[None]:
        """While inside, a VM that is being started on the host counts as running."""
        with _count_while_inside(self._being_started, host):
            yield

    @contextmanager
    def emptying(self, host: NodeName) -> Iterator[None]:
        """While inside, the host enters maintenance mode, and nothing is placed there."""
        with _count_while_inside(self._being_emptied, host):
            yield

    def _fit(
        self, cluster: ClusterName, but: NodeName | None, *, encrypted: bool, own: bool
    ) -> list[NodeName]:
        """The hosts that accept such a VM, in the order in which they were added. ``own``: vCenter
        chooses for an existing VM."""
        hosts = (
            self._sessions.find_connected(row.name) for row in self._inventory.hosts_of(cluster)
        )
        connected = [one for one in hosts if one is not None and one.host != but]
        if not connected:
            raise HostUnreachable(f"no host of cluster {cluster} is connected")
        found = [
            session.host
            for session in connected
            if not _in_maintenance_mode(session) and not self._being_emptied.get(session.host)
        ]
        if not found:
            raise InvalidState(
                f"every connected host of cluster {cluster} is in maintenance mode, or enters it"
            )
        if encrypted:
            found = [host for host in found if self._takes_encrypted(host, own=own)]
            if not found:
                raise InvalidState(f"no connected host of cluster {cluster} takes encrypted VMs")
        return found

    def _takes_encrypted(self, host: NodeName, *, own: bool) -> bool:
        session = self._sessions.find_connected(host)
        view = None if session is None else session.summary
        pending = view is not None and view.crypto_state is HostCryptoState.PENDING_INCAPABLE
        row = self._inventory.hosts.get(host)
        kept_off = own and (row is None or row.kept_off)
        return not pending and not kept_off

    def _load(self, host: NodeName) -> int:
        return self._inventory.index.vms_on.count(host) + self._being_made.get(host, 0)

    def _running(self, host: NodeName) -> int:
        return self._inventory.index.running_on.count(host) + self._being_started.get(host, 0)


@contextmanager
def _count_while_inside(numbers: dict[NodeName, int], host: NodeName) -> Iterator[None]:
    numbers[host] = numbers.get(host, 0) + 1
    try:
        yield
    finally:
        numbers[host] -= 1


def _in_maintenance_mode(session: HostSession) -> bool:
    return session.summary is not None and session.summary.in_maintenance_mode


class VmMoves:
    """Records moves, moves powered-off VMs, and settles moves that were left open."""

    def __init__(
        self, node: VcenterNode, clock: Clock, inventory: Inventory, sessions: HostSessions
    ) -> None:
        self._node, self._clock = node, clock
        self._inventory, self._sessions = inventory, sessions
        self._following = False

    def start(self) -> None:
        """Settle what an earlier life left open."""
        self.follow()

    async def begin(self, row: VmRow, target: NodeName) -> None:
        """Record in the VM's turn that a move of it begins; an open move of it is settled first."""
        moving = dict.fromkeys((row.host, target, *self._find_removed_hosts(row.name)))
        await self._inventory.commit(change_vm(row.name, moving=tuple(moving)))

    async def end(self, name: VmName) -> None:
        """One of both hosts is known not to list the VM: end the move. It stays open while one of
        its hosts has left the inventory, because that host may be added again."""
        await self._inventory.commit(change_vm(name, moving=self._find_removed_hosts(name)))

    def _find_removed_hosts(self, name: VmName) -> tuple[NodeName, ...]:
        row = self._inventory.vms.get(name)
        left = () if row is None else row.moving
        return tuple(host for host in left if host not in self._inventory.hosts)

    async def cold(self, row: VmRow, target: HostSession) -> None:
        """Move a powered-off VM, in its turn. ``InvalidState``: its host does not list it.

        After any other error it is on one of both hosts, by their reports, and the move is open
        until then.
        """
        source = self._sessions.usable(row.host)
        if not self._sessions.lists(row.host, row.name):
            raise InvalidState(f"{row.name} is orphaned: {row.host} does not list it any more")
        await self.begin(row, target.host)
        try:
            state = await target.command_vm(HostRegisterVm(vm=row.name))
            await self._drop(row.name, source)
            await self._drop_elsewhere(row.name, target)
            await self._sessions.take_in(target.host, (state,))
            await self.end(row.name)
        except ProductError:
            self.follow()
            raise

    async def settle(self, name: VmName) -> None:
        """Settle the open move of this VM, in its turn. ``HostUnreachable``: its place is unknown
        now; ``InvalidPowerState``: the host that should drop it still runs it."""
        row = self._inventory.vms.get(name)
        if row is None or not self._is_open(row):
            return
        there = [host for host in row.moving if host in self._inventory.hosts]
        for host in there:  # a host that failed during a command may have dropped it by now
            await self._sessions.usable(host).look()
        row = self._inventory.vms.get(name)
        if row is None:
            return
        if not self._sessions.lists(row.host, name):
            raise HostUnreachable(f"{row.host} does not say that it has {name}")
        for host in there:
            if host != row.host:
                await self._drop(name, self._sessions.usable(host))
        await self.end(name)

    def follow(self) -> None:
        """Settle open moves from now on, until there are none."""
        if not self._following and self._open():
            self._following = True
            self._node.background("moves", self._settle_all())

    async def _drop(self, name: VmName, session: HostSession) -> None:
        await session.command(HostUnregisterVm(vm=name))
        self._sessions.lists_no_more(session.host, name)

    async def _drop_elsewhere(self, name: VmName, target: HostSession) -> None:
        """Unregister the VM from other hosts that still list it: it is not there any more."""
        for other in self._sessions.listing(name):
            if other.host != target.host:
                try:
                    await self._drop(name, other)
                except ProductError as error:
                    self._node.record("vm.untidy", level="warning", vm=name, reason=str(error))

    def _open(self) -> list[VmName]:
        return [row.name for row in self._inventory.vms.values() if self._is_open(row)]

    def _is_open(self, row: VmRow) -> bool:
        return any(host in self._inventory.hosts for host in row.moving if host != row.host)

    async def _settle_all(self) -> None:
        """Settle at once, and again after each period of heartbeats."""
        reported: dict[VmName, str] = {}
        while names := self._open():
            for name in names:
                try:
                    async with self._node.turn(f"vm:{name}"):
                        await self.settle(name)
                except ProductError as error:
                    if reported.get(name) != str(error):
                        reported[name] = str(error)
                        self._node.record(
                            "vm.move_open", level="warning", vm=name, reason=reported[name]
                        )
            await self._clock.sleep(self._node.knobs.heartbeat_s)
        self._following = False
