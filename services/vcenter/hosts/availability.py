"""vSphere HA: hosts get the configuration of their cluster's agents, and report what the agents
did.

A host gets it when it is connected, and when its cluster's configuration has changed since. What it
got in its session is kept in memory: sending it again changes nothing.
"""

from __future__ import annotations

from protocol.errors import ProductError
from protocol.messages.host.session import HaConfiguration, SetHaConfiguration
from protocol.messages.vcenter.inventory import HaIncident, HaIncidentKind
from protocol.terms import NodeName
from services.vcenter import events
from services.vcenter.events import EventDraft
from services.vcenter.hosts.session import UNANSWERED, HostSession
from services.vcenter.inventory import Inventory
from services.vcenter.knobs import VcenterNode
from services.vcenter.tables import ClusterRow


class HaConfigurations:
    """The HA configuration that each host got in the session in force."""

    def __init__(self, node: VcenterNode, inventory: Inventory) -> None:
        self._node, self._inventory = node, inventory
        self._sent: dict[NodeName, tuple[str, HaConfiguration | None]] = {}

    async def hand_out(self, session: HostSession) -> None:
        """Send the host its cluster's configuration; nothing if HA was never on.

        Raises only when the host does not answer.
        """
        row = self._inventory.hosts.get(session.host)
        cluster = None if row is None else self._inventory.clusters.get(row.cluster)
        if cluster is None or not cluster.ha_epoch:
            return
        wanted = self._configuration(cluster)
        if self._sent.get(session.host) != (session.name, wanted):
            await self._send(session, wanted)

    async def take_back(self, session: HostSession) -> None:
        """Stop the agent of a host that is about to leave its cluster.

        A refusal of the host is recorded. Raises when it does not answer: which VMs run there is
        unknown then, so the host stays until it is notResponding.
        """
        if session.host in self._sent:
            await self._send(session, None)

    def forget(self, host: NodeName) -> None:
        """The host left the inventory."""
        self._sent.pop(host, None)

    async def _send(self, session: HostSession, wanted: HaConfiguration | None) -> None:
        name = session.name
        try:
            await session.command(SetHaConfiguration(configuration=wanted))
        except UNANSWERED:
            raise
        except ProductError as error:
            self._node.record(
                "ha.not_configured", level="warning", host=session.host, reason=str(error)
            )
        else:
            self._sent[session.host] = name, wanted

    def _configuration(self, cluster: ClusterRow) -> HaConfiguration | None:
        if not cluster.ha:
            return None
        hosts = sorted(row.name for row in self._inventory.hosts_of(cluster.name))
        epoch = f"{cluster.name}/{cluster.ha_epoch}"
        return HaConfiguration(cluster=cluster.name, epoch=epoch, hosts=tuple(hosts))

    # ---- reports of agents ------------------------------------------------------------------

    async def record_incidents(self, host: NodeName, incidents: tuple[HaIncident, ...]) -> None:
        """Post events for a primary's incidents; those of another cluster are not believed
        (C28)."""
        row = self._inventory.hosts.get(host)
        if row is None:
            return
        drafts = [
            _draft(one)
            for one in incidents
            if self._is_of(one, self._inventory.clusters[row.cluster])
        ]
        if drafts:
            await self._inventory.commit(events=drafts)

    def _is_of(self, incident: HaIncident, cluster: ClusterRow) -> bool:
        of = self._inventory.hosts.get(incident.host)
        vm = None if incident.vm is None else self._inventory.vms.get(incident.vm)
        return (
            of is not None
            and of.cluster == cluster.name
            and (incident.vm is None or (vm is not None and vm.cluster == cluster.name))
        )


def _draft(incident: HaIncident) -> EventDraft:
    match incident.kind:
        case HaIncidentKind.HOST_FAILED:
            return events.ha_host_failed(incident.host)
        case HaIncidentKind.HOST_ISOLATED:
            return events.ha_host_isolated(incident.host)
        case HaIncidentKind.VM_RESTARTED | HaIncidentKind.VM_NOT_RESTARTED:
            return events.ha_of_vm(incident)
