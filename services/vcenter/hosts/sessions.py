"""The sessions with all hosts of the inventory, and what follows from what hosts say there.

A host's VMs are carried into the inventory at each view; a pass of step B8 is asked for when a
session was opened, and when a look shows that there is something to do.
"""

from __future__ import annotations

from protocol.errors import HostUnreachable, SaveFailed
from protocol.messages.host import VmSummary
from protocol.terms import HostConnectionState, NodeName, VmName
from services.runtime.ports import Ports
from services.vcenter.hosts.need import needs_pass
from services.vcenter.hosts.pass_queue import PassQueue
from services.vcenter.hosts.reported_vms import edits_of_report
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Inventory
from services.vcenter.knobs import VcenterNode


class HostSessions:
    """All hosts of the inventory, by name in order of adding."""

    def __init__(
        self,
        node: VcenterNode,
        ports: Ports,
        inventory: Inventory,
        passes: PassQueue,
        attestations: PassQueue,
    ) -> None:
        self.node, self.bus, self.clock, self.rng = node, ports.bus, ports.clock, ports.rng
        self._inventory, self._passes, self._attestations = inventory, passes, attestations
        self._sessions: dict[NodeName, HostSession] = {}
        self._sessions_opened = 0

    # ---- finding ----------------------------------------------------------------------------

    def add(self, host: NodeName) -> HostSession:
        """The session of that host; made when there is none, and then not started."""
        session = self._sessions.get(host)
        if session is None:
            session = self._sessions[host] = HostSession(host, self)
        return session

    def get(self, host: NodeName) -> HostSession | None:
        """The session of that host, connected or not; None when there is no such host."""
        return self._sessions.get(host)

    def remove(self, host: NodeName) -> None:
        """The host left the inventory: its session ends, if there was one."""
        session = self._sessions.pop(host, None)
        if session is not None:
            session.remove()

    def connected(self) -> list[HostSession]:
        """Those that are in force now."""
        return [session for session in self._sessions.values() if session.connected]

    def connected_to(self, host: NodeName) -> HostSession | None:
        """The session of that host if it is in force."""
        session = self._sessions.get(host)
        return session if session is not None and session.connected else None

    def usable(self, host: NodeName) -> HostSession:
        """The session for a task; ``HostUnreachable`` when the host is not connected."""
        session = self.connected_to(host)
        if session is None:
            known = self._sessions.get(host)
            state = HostConnectionState.DISCONNECTED if known is None else known.state
            raise HostUnreachable(f"host {host} is {state.value}")
        return session

    def claims(self, host: NodeName, vm: VmName) -> bool:
        """Whether that host is connected and lists the VM."""
        session = self.connected_to(host)
        if session is None or session.summary is None:
            return False
        return any(listed.vm == vm for listed in session.summary.vms)

    async def take_in(self, host: NodeName, vms: tuple[VmSummary, ...]) -> None:
        """Carry what a host says of its VMs into the inventory."""
        row = self._inventory.hosts.get(host)
        if row is None:
            return
        edits = edits_of_report(self._inventory.vms, row.name, row.cluster, vms, self.claims)
        if edits:
            await self._inventory.commit(*edits)

    # ---- what sessions tell (``SessionOwner``) ----------------------------------------------

    def next_session(self) -> str:
        """Never given twice, also not by an earlier life: the boot is in it."""
        self._sessions_opened += 1
        return f"{self.node.name}/{self.node.boot}/{self._sessions_opened}"

    async def took_view(self, session: HostSession) -> None:
        if session.summary is None:
            return
        try:
            await self.take_in(session.host, session.summary.vms)
        except SaveFailed as error:  # vCenter's own trouble, not the host's: the next view tells
            self.node.record(
                "inventory.save_failed", level="warning", host=session.host, reason=str(error)
            )

    def opened(self, session: HostSession) -> None:
        if session.host in self._inventory.hosts:
            self._passes.want(session.host, looked=True)
            self._attestations.want(session.host, looked=True)

    def looked(self, session: HostSession, *, rang: bool) -> None:
        if session.summary is None:
            return
        if self._attestations.unfinished(session.host):
            self._attestations.want(session.host, looked=True)
        if rang and not session.view_is_current:
            self._passes.want(session.host)  # commands hid the view in which it would be seen why
        elif self._passes.unfinished(session.host) or needs_pass(
            session.host,
            session.summary.vms,
            self._inventory.vms,
            self._inventory.management_types(),
            rang=rang,
            auto_unlock=self.node.knobs.auto_unlock,
        ):
            self._passes.want(session.host, looked=True)
