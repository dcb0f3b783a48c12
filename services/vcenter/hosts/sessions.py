"""The sessions with all hosts of the inventory, the effects of what hosts report in them, and the
periodic repair of all connected hosts (STD-10).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from protocol.errors import HostUnreachable, InvalidState, SaveFailed
from protocol.messages.host.session import HostSummary, VmSummary
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    HostConnectionState,
    NodeName,
    VmName,
)
from services.runtime.ports import Ports
from services.vcenter.events import EventDraft, OncePerBoot, host_send_error
from services.vcenter.hosts.host_reports import (
    Registrations,
    VmPlace,
    Word,
    disbelief,
    edits_of_report,
    is_unreadable,
    list_unreported_problems,
    needs_pass,
    of_relocations,
    place_of,
    problem_event,
    split_believed,
)
from services.vcenter.hosts.pass_queue import PassQueue
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Inventory, change_host
from services.vcenter.knobs import VcenterNode
from services.vcenter.tables import DatabaseTable
from services.vcenter.timers import Beats, Ticker
from services.vcenter.trust.judgement import attestation_news, view_of


class HostSessions:
    """All hosts of the inventory, by name, in the order in which they were added."""

    def __init__(
        self,
        node: VcenterNode,
        ports: Ports,
        inventory: Inventory,
        passes: PassQueue,
        attestations: PassQueue,
        once: OncePerBoot,
    ) -> None:
        self.node, self.bus, self.clock, self.rng = node, ports.bus, ports.clock, ports.rng
        self.heartbeats = Beats(ports.clock, node.knobs.heartbeat_s)
        self._inventory, self._passes, self._attestations = inventory, passes, attestations
        self._once = once
        self._sessions: dict[NodeName, HostSession] = {}
        self._sessions_opened = 0
        self._registrations = Registrations()

    # ---- finding ----------------------------------------------------------------------------

    def add(self, host: NodeName) -> HostSession:
        """The session of that host; a new one, not started, when there is none."""
        session = self._sessions.get(host)
        if session is None:
            session = self._sessions[host] = HostSession(host, self)
        return session

    def get(self, host: NodeName) -> HostSession | None:
        """The session of that host, connected or not; None when there is no such host."""
        return self._sessions.get(host)

    def remove(self, host: NodeName) -> None:
        """The host left the inventory: its session ends, if there was one."""
        self._registrations.forget(host)
        session = self._sessions.pop(host, None)
        if session is not None:
            session.remove()

    def list_connected(self) -> list[HostSession]:
        """The sessions in force."""
        return [session for session in self._sessions.values() if session.connected]

    def find_connected(self, host: NodeName) -> HostSession | None:
        """The session of that host if it is in force."""
        session = self._sessions.get(host)
        return session if session is not None and session.connected else None

    def usable(self, host: NodeName) -> HostSession:
        """The session for a task; ``HostUnreachable`` when the host is not connected."""
        session = self.find_connected(host)
        if session is None:
            known = self._sessions.get(host)
            state = HostConnectionState.DISCONNECTED if known is None else known.state
            if state is HostConnectionState.CONNECTED:  # its session has ended since it was seen
                raise HostUnreachable(f"host {host} is being connected anew; ask again")
            raise HostUnreachable(f"host {host} is {state.value}")
        return session

    def lists(self, host: NodeName, vm: VmName) -> bool:
        """Whether that host is connected and listed the VM in its last report."""
        return self.find_connected(host) is not None and self._registrations.lists(host, vm)

    def listing(self, vm: VmName) -> list[HostSession]:
        """The connected hosts whose report of the VM counts, and that listed it in the last one."""
        found = (self.find_connected(report.host) for report in self._reports(vm))
        return [session for session in found if session is not None]

    def lists_no_more(self, host: NodeName, vm: VmName) -> None:
        """The host has unregistered the VM on command."""
        self._registrations.forget_vm(host, vm)

    def _reports(self, vm: VmName) -> list[Word]:
        """The reports of connected hosts about the VM that count."""
        row = self._inventory.vms.get(vm)
        return [
            report
            for report in self._registrations.reports(vm)
            if self.find_connected(report.host) is not None
            and (row is None or self._counts(report.host, row.cluster))
        ]

    def _place_of(self, vm: VmName) -> VmPlace | None:
        """The place of the VM by the reports of connected hosts."""
        reports = self._reports(vm)
        holders = {
            report.locked_by for report in reports if report.locked_by in self._inventory.hosts
        }
        away = {host for host in holders if host and self.find_connected(host) is None}
        row = self._inventory.vms.get(vm)
        return place_of(reports, away, None if row is None else row.host)

    async def take_in(
        self, host: NodeName, vms: tuple[VmSummary, ...], drafts: Sequence[EventDraft] = ()
    ) -> None:
        """Update the inventory from a host's report of its VMs, and post these events."""
        row = self._inventory.hosts.get(host)
        if row is None:
            return
        events = [*drafts]
        if not self.node.knobs.believe_reports_of_other_clusters:
            vms, refused = split_believed(
                row.cluster, vms, self._inventory.vms, self._inventory.belongs_to_others
            )
            session = self._sessions.get(host)
            boot = 0 if session is None else session.boot
            for one in refused:
                if self._once.first(host, boot, "disbelief", one.vm):
                    events.append(host_send_error(host, one.keys, one.why))
        vms, came, arrived = of_relocations(
            self._inventory.relocations,
            self._inventory.vms,
            self._inventory.hosts,
            host,
            vms,
        )
        events += arrived
        edits = edits_of_report(
            self._inventory.vms, self._inventory.hosts, host, vms, self._place_of
        )
        edits += came
        self._note_other_keys(
            host, vms, {edit.name for edit in edits if edit.table is DatabaseTable.VM}
        )
        if edits or events:
            await self._inventory.commit(*edits, events=events)

    def _note_other_keys(
        self, host: NodeName, vms: Sequence[VmSummary], changed: Collection[str]
    ) -> None:
        """Record each VM whose keys change by its host's report alone."""
        for vm in vms if changed else ():
            row = self._inventory.vms.get(vm.vm)
            if row is None or vm.vm not in changed or row.recrypting:
                continue
            if row.keys and vm.keys != row.keys and not is_unreadable(vm):
                old, new = ([str(key) for key in keys] for keys in (row.keys, vm.keys))
                self.node.record(
                    "vm.keys_learned", level="warning", vm=vm.vm, host=host, old=old, new=new
                )

    async def check_believed(
        self, host: NodeName, vm: VmName, keys: tuple[CryptoKeyId, ...]
    ) -> None:
        """``InvalidState``, with an event, when the host names keys of others for a VM that a user
        registers or unlocks (C28)."""
        row = self._inventory.hosts.get(host)
        if row is None or self.node.knobs.believe_reports_of_other_clusters:
            return
        why = disbelief(row.cluster, vm, keys, None, self._inventory.belongs_to_others)
        if why is not None:
            await self._inventory.commit(events=[host_send_error(host, why.keys, why.why)])
            raise InvalidState(f"{host} is not believed: {why.why}")

    def _counts(self, host: NodeName, cluster: ClusterName) -> bool:
        """Whether that host's reports of a VM of the cluster count (C28)."""
        row = self._inventory.hosts.get(host)
        of_it = row is not None and row.cluster == cluster
        return of_it or self.node.knobs.believe_reports_of_other_clusters

    # ---- calls of sessions (``SessionOwner``) -----------------------------------------------

    def next_session(self) -> str:
        """A new name; never used twice, even by an earlier life: it includes the boot."""
        self._sessions_opened += 1
        return f"{self.node.name}/{self.node.boot}/{self._sessions_opened}"

    def moment(self) -> int:
        return self._registrations.moment()

    async def took_view(self, session: HostSession) -> None:
        if session.summary is None or not session.connected:
            return
        vms, times = session.summary.vms, session.view.times
        self._registrations.view(session.host, session.opened_at, vms, *times)
        try:
            await self.take_in(session.host, vms)
            await self._report_problems(session.host, session.summary)
        # VCenter's own failure, not the host's: the next view repeats it.
        except SaveFailed as error:
            self.node.record(
                "inventory.save_failed", level="warning", host=session.host, reason=str(error)
            )

    async def _report_problems(self, host: NodeName, summary: HostSummary) -> None:
        """Post an event for each new problem of the host."""
        row = self._inventory.hosts.get(host)
        if row is not None and (untold := list_unreported_problems(row, summary)):
            await self._inventory.commit(
                change_host(host, problems_told=(summary.boot, untold[-1].number)),
                events=[problem_event(row, problem) for problem in untold],
            )

    def handle_vm_answer(self, session: HostSession, vm: VmSummary, requested_at: int) -> None:
        if session.connected:
            received_at = self.moment()
            self._registrations.answer(
                session.host, session.opened_at, vm, requested_at, received_at
            )

    def handle_session_opened(self, session: HostSession) -> None:
        if session.host in self._inventory.hosts:
            self._passes.want(session.host, looked=True)
            self._attestations.want(session.host, looked=True)

    def _trust_is_news(self, session: HostSession) -> bool:
        """Whether the Attestation Services' result for the host differs from the reported one
        (ATT-05)."""
        row, view = self._inventory.hosts.get(session.host), view_of(session.summary)
        return row is not None and attestation_news(row.name, view, row.trust_told) is not None

    def handle_heartbeat(self, session: HostSession, *, rang: bool) -> None:
        if session.summary is None:
            return
        if self._attestations.unfinished(session.host):
            self._attestations.want(session.host, looked=True)
        if rang and not session.view.is_current:
            self._passes.want(session.host)  # commands hid the view that would show the reason
        elif (
            self._passes.unfinished(session.host)
            or needs_pass(
                session.host,
                session.summary.vms,
                self._inventory.vms,
                self._inventory.management_types(),
                rang=rang,
                auto_unlock=self.node.knobs.auto_unlock,
            )
            or self._trust_is_news(session)
        ):
            self._passes.want(session.host, looked=True)


class Reconciliation:
    """Requests the passes; ``soon`` does so before the period is over."""

    def __init__(
        self, node: VcenterNode, ticker: Ticker, sessions: HostSessions, passes: PassQueue
    ) -> None:
        self._node, self._ticker = node, ticker
        self._sessions, self._passes = sessions, passes

    def start(self) -> None:
        """Repair in each period from now on; the first time after one period."""
        self._ticker.start()
        self._node.background("reconcile", self._run())

    def soon(self) -> None:
        """Repair now, without waiting for the end of the period."""
        self._ticker.tick_now()

    async def _run(self) -> None:
        while True:
            await self._ticker.next()
            connected = self._sessions.list_connected()
            self._node.record("reconcile.pass", hosts=len(connected))
            for session in connected:
                self._passes.want(session.host, removing=True)
