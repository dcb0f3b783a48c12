"""On which host of a cluster the next VM is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from protocol.errors import HostUnreachable, InvalidArgument, InvalidState, NotFound
from protocol.terms import ClusterName, NodeName
from services.vcenter.hosts.session import HostSession
from services.vcenter.hosts.sessions import HostSessions
from services.vcenter.inventory import Inventory


class Placement:
    """Chooses by the number of VMs, those that are being made now counted in."""

    def __init__(self, inventory: Inventory, sessions: HostSessions) -> None:
        self._inventory, self._sessions = inventory, sessions
        self._being_made: dict[NodeName, int] = {}

    def choose(
        self, cluster: ClusterName, wanted: NodeName | None, *, but: NodeName | None = None
    ) -> NodeName:
        """The wanted host, or the connected one with the fewest VMs; the first added among equals.
        Never ``but``, which is to be emptied.

        ``NotFound``: no such cluster or host. ``InvalidArgument``: the host is in another cluster.
        ``HostUnreachable``: the wanted host, or every host of the cluster, is not connected;
        ``InvalidState``: it, or every one that is connected, is in maintenance mode.
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
        hosts = (self._sessions.connected_to(row.name) for row in self._inventory.hosts_of(cluster))
        connected = [one for one in hosts if one is not None and one.host != but]
        if not connected:
            raise HostUnreachable(f"no host of cluster {cluster} is connected")
        found = [session.host for session in connected if not _in_maintenance_mode(session)]
        if not found:
            raise InvalidState(f"every connected host of cluster {cluster} is in maintenance mode")
        return min(found, key=self._load)

    @contextmanager
    def making_on(self, host: NodeName) -> Iterator[None]:
        """While a VM is being made there, it counts."""
        self._being_made[host] = self._being_made.get(host, 0) + 1
        try:
            yield
        finally:
            self._being_made[host] -= 1

    def _load(self, host: NodeName) -> int:
        return self._inventory.index.vms_on.count(host) + self._being_made.get(host, 0)


def _in_maintenance_mode(session: HostSession) -> bool:
    return session.summary is not None and session.summary.in_maintenance_mode
