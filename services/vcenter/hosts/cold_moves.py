"""VMs that are off, and go to another host of their cluster: registered there, then not here.

Both hosts list such a VM for a moment, and whoever falls in it leaves it so. The row names both
hosts before the first of them is told (``VmRow.moving``), until one of them is known not to list
it. What a task, or an earlier life, left open is settled when both hosts are connected: the VM
stays where it is by what they say (``whereabouts``), and the other one drops it.
"""

from __future__ import annotations

from protocol.errors import HostUnreachable, InvalidArgument, ProductError
from protocol.messages.host import HostRegisterVm, HostUnregisterVm
from protocol.terms import VmName
from services.runtime.ports import Clock
from services.vcenter.hosts.session import HostSession
from services.vcenter.hosts.sessions import HostSessions
from services.vcenter.inventory import Inventory, change_vm
from services.vcenter.knobs import VcenterNode
from services.vcenter.tables import VmRow


class ColdMoves:
    """Moves VMs that are off, and ends what was left open."""

    def __init__(
        self, node: VcenterNode, clock: Clock, inventory: Inventory, sessions: HostSessions
    ) -> None:
        self._node, self._clock = node, clock
        self._inventory, self._sessions = inventory, sessions
        self._following = False

    def start(self) -> None:
        """Look after what an earlier life left open; nothing when there is nothing."""
        if self._open():
            self._follow()

    async def move(self, row: VmRow, target: HostSession) -> None:
        """Move the VM, in its turn. ``InvalidArgument``: its host does not list it.

        After any other error it is on one of both hosts, by what they say, and open until then.
        """
        source = self._sessions.usable(row.host)
        if not self._sessions.lists(row.host, row.name):
            raise InvalidArgument(f"{row.name} is orphaned: {row.host} does not list it any more")
        await self.settle(row.name)
        moving = (source.host, target.host)
        await self._inventory.commit(change_vm(row.name, moving=moving))
        try:
            state = await target.command_vm(HostRegisterVm(vm=row.name))
            await self._drop(row.name, source)
        except ProductError:
            self._follow()
            raise
        await self._sessions.take_in(target.host, (state,))
        await self._inventory.commit(change_vm(row.name, moving=()))

    async def settle(self, name: VmName) -> None:
        """End what is open about this VM, in its turn. ``HostUnreachable``: it cannot be known now;
        ``InvalidPowerState``: the host that should drop it runs it, and has not said so yet."""
        row = self._inventory.vms.get(name)
        if row is None or not row.moving:
            return
        for host in row.moving:  # one that fell over a command may list it no more by now
            if host in self._inventory.hosts:
                await self._sessions.usable(host).look()
        row = self._inventory.vms.get(name)
        if row is None:
            return
        if not self._sessions.lists(row.host, name):
            raise HostUnreachable(f"{row.host} does not say that it has {name}")
        for host in row.moving:
            if host != row.host and host in self._inventory.hosts:
                await self._drop(name, self._sessions.usable(host))
        await self._inventory.commit(change_vm(name, moving=()))

    async def _drop(self, name: VmName, session: HostSession) -> None:
        await session.command(HostUnregisterVm(vm=name))
        self._sessions.lists_no_more(session.host, name)

    def _open(self) -> list[VmName]:
        return [row.name for row in self._inventory.vms.values() if row.moving]

    def _follow(self) -> None:
        if not self._following:
            self._following = True
            self._node.background("cold_moves", self._settle_all())

    async def _settle_all(self) -> None:
        """Until nothing is open: at once, and again after each period of heartbeats."""
        told: dict[VmName, str] = {}
        while names := self._open():
            for name in names:
                try:
                    async with self._node.turn(f"vm:{name}"):
                        await self.settle(name)
                except ProductError as error:
                    if told.get(name) != str(error):
                        told[name] = str(error)
                        self._node.record(
                            "vm.move_open", level="warning", vm=name, reason=told[name]
                        )
            await self._clock.sleep(self._node.knobs.heartbeat_s)
        self._following = False
