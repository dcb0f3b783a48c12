"""Clusters: vSphere HA."""

from __future__ import annotations

from protocol.errors import NotFound
from protocol.messages.host import Done
from protocol.messages.vcenter import ReconfigureComputeResource
from services.runtime.each import try_each
from services.vcenter.events import ha_switched
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import change_cluster
from services.vcenter.vcenter import VCenter


async def reconfigure(vc: VCenter, message: ReconfigureComputeResource) -> Done:
    """Recorded first; then each connected host is told, and a pass sees to those that did not
    take it. Turned on anew it has another epoch: what agents wrote before counts no more."""
    row = vc.inventory.clusters.get(message.cluster)
    if row is None:
        raise NotFound(f"there is no cluster {message.cluster}")
    if row.ha != message.das_enabled:
        epoch = row.ha_epoch + message.das_enabled
        await vc.inventory.commit(
            change_cluster(row.name, ha=message.das_enabled, ha_epoch=epoch),
            events=[ha_switched(row.name, on=message.das_enabled)],
        )
    hosts = [host.name for host in vc.inventory.hosts_of(row.name)]
    sessions = [session for name in hosts if (session := vc.sessions.connected_to(name))]

    async def tell(session: HostSession) -> None:
        await vc.availability.hand_out(session)

    outcomes = await try_each(sessions, tell, name="ha.configure")
    for session, outcome in zip(sessions, outcomes, strict=True):
        if isinstance(outcome, Exception):
            vc.passes.want(session.host)
    return Done()
