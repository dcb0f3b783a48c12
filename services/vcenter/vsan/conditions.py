"""The requirements of a change of a cluster's encryption; refusals are in vSAN's own words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocol.errors import InvalidArgument, InvalidState, NotAvailable, NotFound
from protocol.messages.host.vsan import QueryVsan, VsanState
from protocol.terms import ClusterName, NodeName, ProviderId
from services.runtime.each import try_each
from services.vcenter.hosts.session import HostSession
from services.vcenter.providers.capabilities import CAPABILITIES
from services.vcenter.tables import ClusterRow, ProviderRow
from services.vcenter.vcenter import VCenter


def cluster_row(vc: VCenter, name: ClusterName) -> ClusterRow:
    """The row of the cluster; ``NotFound`` when there is no such cluster."""
    row = vc.inventory.clusters.get(name)
    if row is None:
        raise NotFound(f"there is no cluster {name}")
    return row


def require_provider(vc: VCenter, name: ProviderId | None) -> ProviderRow:
    """The provider that the administrator names; the default is never used (VSAN-01)."""
    if not name:
        raise InvalidArgument("kms_provider_id: vSAN encryption names its key provider")
    row = vc.inventory.providers.get(name)
    if row is None:
        raise NotFound(f"there is no key provider {name}")
    if not CAPABILITIES[row.management_type].vsan:
        kind = row.management_type.value
        raise NotAvailable(f"vSAN encryption is not supported with key provider {name} ({kind})")
    return row


async def states(vc: VCenter, cluster: ClusterName) -> dict[NodeName, VsanState]:
    """The states of the connected hosts of the cluster; silent ones are left out."""
    here = [vc.sessions.find_connected(row.name) for row in vc.inventory.hosts_of(cluster)]
    sessions = [session for session in here if session is not None]
    answers = await try_each(sessions, lambda session: session.ask(QueryVsan()), name="vsan")
    return {
        session.host: answer
        for session, answer in zip(sessions, answers, strict=True)
        if isinstance(answer, VsanState)
    }


async def present(vc: VCenter, cluster: ClusterName) -> list[HostSession]:
    """The hosts that take part in a change, each with mounted disk groups.

    ``InvalidState``: the cluster has no vSAN, a host is absent (unless the knob ignores it, C25),
    or a disk group is not mounted.
    """
    rows = vc.inventory.hosts_of(cluster)
    found = await states(vc, cluster)
    absent = [row.name for row in rows if row.name not in found]
    if absent and vc.node.knobs.vsan_rekey_with_absent_host == "refuse":
        raise InvalidState(f"cluster {cluster}: hosts are absent: {', '.join(absent)}")
    check_mounted(cluster, found)
    sessions = [vc.sessions.find_connected(row.name) for row in rows if row.name in found]
    return [session for session in sessions if session is not None]


def check_mounted(cluster: ClusterName, found: Mapping[NodeName, VsanState]) -> None:
    """``InvalidState`` when no host has disk groups, or one of them is not mounted."""
    if not any(state.groups for state in found.values()):
        raise InvalidState(f"cluster {cluster} has no vSAN: no host of it has a disk group")
    unmounted = [
        f"{group.group} of {host}"
        for host, state in found.items()
        for group in state.groups
        if not group.mounted
    ]
    if unmounted:
        raise InvalidState(f"cluster {cluster}: not mounted: {', '.join(unmounted)}")


async def groups_of(vc: VCenter, cluster: ClusterName) -> list[tuple[NodeName, str]]:
    """The disk groups of the hosts that answer, each with its host."""
    found = await states(vc, cluster)
    return [(host, group.group) for host, state in found.items() for group in state.groups]


def check_idle(row: ClusterRow) -> None:
    """``InvalidState`` while another change is in progress."""
    if row.vsan is not None and row.vsan.transition is not None:
        change = row.vsan.transition.change.value
        raise InvalidState(f"cluster {row.name}: vSAN encryption is changing ({change})")


def members(vc: VCenter, cluster: ClusterName) -> Sequence[NodeName]:
    """The hosts of the cluster by name."""
    return sorted(row.name for row in vc.inventory.hosts_of(cluster))
