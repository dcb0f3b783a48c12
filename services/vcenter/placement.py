"""On which host of a cluster the next VM is made, or goes to when its host is emptied."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from protocol.errors import HostUnreachable, InvalidArgument, InvalidState, NotFound
from protocol.terms import ClusterName, HostCryptoState, NodeName
from services.vcenter.hosts.session import HostSession
from services.vcenter.hosts.sessions import HostSessions
from services.vcenter.inventory import Inventory


class Placement:
    """Chooses by the number of VMs, those that are being made now counted in."""

    def __init__(self, inventory: Inventory, sessions: HostSessions) -> None:
        self._inventory, self._sessions = inventory, sessions
        self._being_made: dict[NodeName, int] = {}

    def choose(
        self,
        cluster: ClusterName,
        wanted: NodeName | None,
        *,
        but: NodeName | None = None,
        encrypted: bool = False,
    ) -> NodeName:
        """The wanted host, or the connected one with the fewest VMs; the first added among equals.
        Never ``but``, which is to be emptied. For an ``encrypted`` VM no host is chosen whose
        encryption is disabled until it reboots (HA-03), nor, when vCenter empties a host by itself,
        one whose mode stays off until somebody turns it on. Which keys a host has is not looked at;
        a wanted host is left to its task to judge.

        ``NotFound``: no such cluster or host. ``InvalidArgument``: the host is in another cluster.
        ``HostUnreachable``: the wanted host, or every host of the cluster, is not connected;
        ``InvalidState``: it, or every one that is connected, is in maintenance mode, or takes no
        encrypted VM.
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
        if encrypted:
            found = [host for host in found if self._takes_encrypted(host, own=but is not None)]
            if not found:
                raise InvalidState(f"no connected host of cluster {cluster} takes encrypted VMs")
        return min(found, key=self._load)

    @contextmanager
    def making_on(self, host: NodeName) -> Iterator[None]:
        """While a VM is being made there, it counts."""
        self._being_made[host] = self._being_made.get(host, 0) + 1
        try:
            yield
        finally:
            self._being_made[host] -= 1

    def _takes_encrypted(self, host: NodeName, *, own: bool) -> bool:
        session = self._sessions.connected_to(host)
        view = None if session is None else session.summary
        pending = view is not None and view.crypto_state is HostCryptoState.PENDING_INCAPABLE
        return not pending and not (own and self._inventory.hosts[host].kept_off)

    def _load(self, host: NodeName) -> int:
        return self._inventory.index.vms_on.count(host) + self._being_made.get(host, 0)


def _in_maintenance_mode(session: HostSession) -> bool:
    return session.summary is not None and session.summary.in_maintenance_mode
