"""VMs that move to another host of their cluster, and how an interrupted move is completed.

Both hosts list such a VM for a while, and a crash of either leaves it so. The row names both hosts
before the second of them gets a command (``VmRow.moving``), until one of them is known not to list
the VM. A move that a task, or an earlier life, left open is settled when both hosts are connected:
their reports decide where the VM stays (``whereabouts``), and the other host drops it. This applies
to running VMs (``tasks.migrate``), and to VMs that are off, which are first registered at the
second host and then unregistered at the first.
"""

from __future__ import annotations

from protocol.errors import HostUnreachable, InvalidState, ProductError
from protocol.messages.host import HostRegisterVm, HostUnregisterVm
from protocol.terms import NodeName, VmName
from services.runtime.ports import Clock
from services.vcenter.hosts.session import HostSession
from services.vcenter.hosts.sessions import HostSessions
from services.vcenter.inventory import Inventory, change_vm
from services.vcenter.knobs import VcenterNode
from services.vcenter.tables import VmRow


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
