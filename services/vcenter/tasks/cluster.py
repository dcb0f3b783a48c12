"""Clusters: vSphere HA and DRS."""

from __future__ import annotations

from msgspec import UNSET

from protocol.errors import NotFound
from protocol.messages.host import Done
from protocol.messages.vcenter import ReconfigureComputeResource
from services.runtime.each import try_each
from services.vcenter.cluster_events import drs_configured, ha_switched
from services.vcenter.inventory import change_cluster
from services.vcenter.tables import ClusterRow
from services.vcenter.vcenter import VCenter


async def reconfigure(vc: VCenter, message: ReconfigureComputeResource) -> Done:
    """See ``ReconfigureComputeResource``. A repeat changes nothing."""
    row = vc.inventory.clusters.get(message.cluster)
    if row is None:
        raise NotFound(f"there is no cluster {message.cluster}")
    if message.drs is not UNSET and row.drs != message.drs:
        await vc.inventory.commit(
            change_cluster(row.name, drs=message.drs),
            events=[drs_configured(row.name, row.drs, message.drs)],
        )
    if message.das_enabled is not UNSET:
        await _switch_ha(vc, row, on=message.das_enabled)
    return Done()


async def _switch_ha(vc: VCenter, row: ClusterRow, *, on: bool) -> None:
    """Record the change first, then tell each connected host; a pass updates those that did not
    take it. Enabling again starts a new epoch: the agents' earlier records do not count any
    more."""
    if row.ha != on:
        epoch = row.ha_epoch + on
        await vc.inventory.commit(
            change_cluster(row.name, ha=on, ha_epoch=epoch), events=[ha_switched(row.name, on=on)]
        )
    hosts = [host.name for host in vc.inventory.hosts_of(row.name)]
    sessions = [session for name in hosts if (session := vc.sessions.find_connected(name))]

    outcomes = await try_each(sessions, vc.availability.hand_out, name="ha.configure")
    for session, outcome in zip(sessions, outcomes, strict=True):
        if isinstance(outcome, Exception):
            vc.passes.want(session.host)
