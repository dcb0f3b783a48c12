"""The choice of a host: for a new VM, for a VM that DRS starts, or for a VM whose host is
evacuated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from protocol.errors import HostUnreachable, InvalidArgument, InvalidState, NotFound
from protocol.terms import ClusterName, HostCryptoState, NodeName
from services.vcenter.hosts.session import HostSession
from services.vcenter.hosts.sessions import HostSessions
from services.vcenter.inventory import Inventory
from services.vcenter.tables import VmRow


class Placement:
    """Chooses by the number of VMs, including those that are being created or started."""

    def __init__(self, inventory: Inventory, sessions: HostSessions) -> None:
        self._inventory, self._sessions = inventory, sessions
        self._being_made: dict[NodeName, int] = {}
        self._being_started: dict[NodeName, int] = {}
        self._being_emptied: dict[NodeName, int] = {}

    def choose(
        self,
        cluster: ClusterName,
        wanted: NodeName | None,
        *,
        but: NodeName | None = None,
        encrypted: bool = False,
    ) -> NodeName:
        """The wanted host, or the connected one with the fewest VMs; the first added among equals.
        Never ``but``, which is being evacuated. For an ``encrypted`` VM no host is chosen whose
        encryption is disabled until it reboots (HA-03), nor, when vCenter evacuates a host by
        itself, one whose mode stays off until it is enabled on request. The keys of a host are not
        considered; the task itself judges a wanted host.

        ``NotFound``: no such cluster or host. ``InvalidArgument``: the host is in another cluster.
        ``HostUnreachable``: the wanted host, or every host of the cluster, is not connected;
        ``InvalidState``: it, or every one that is connected, is in maintenance mode, or does not
        accept encrypted VMs.
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
        found = self._fit(cluster, but, encrypted=encrypted, own=but is not None)
        return min(found, key=self._load)

    def for_power_on(self, vm: VmRow) -> NodeName:
        """The host on which DRS starts a powered-off VM: of the hosts that accept it, one with the
        fewest running VMs; its own among equals, else the first added (HA-03). The keys of a host
        are not considered. ``HostUnreachable``, ``InvalidState``: no host accepts it."""
        found = self._fit(vm.cluster, None, encrypted=bool(vm.keys), own=True)
        return min(found, key=lambda host: (self._running(host), host != vm.host))

    def takes(self, vm: VmRow) -> bool:
        """Whether DRS could start the VM on its present host."""
        try:
            return vm.host in self._fit(vm.cluster, None, encrypted=bool(vm.keys), own=True)
        except (HostUnreachable, InvalidState):
            return False

    @contextmanager
    def making_on(self, host: NodeName) -> Iterator[None]:
        """While inside, a VM that is being created on the host counts."""
        with _count_while_inside(self._being_made, host):
            yield

    @contextmanager
    def starting_on(self, host: NodeName) -> Iterator[None]:
        """While inside, a VM that is being started on the host counts as running."""
        with _count_while_inside(self._being_started, host):
            yield

    @contextmanager
    def emptying(self, host: NodeName) -> Iterator[None]:
        """While inside, the host enters maintenance mode, and nothing is placed there."""
        with _count_while_inside(self._being_emptied, host):
            yield

    def _fit(
        self, cluster: ClusterName, but: NodeName | None, *, encrypted: bool, own: bool
    ) -> list[NodeName]:
        """The hosts that accept such a VM, in the order in which they were added. ``own``: vCenter
        chooses for an existing VM."""
        hosts = (
            self._sessions.find_connected(row.name) for row in self._inventory.hosts_of(cluster)
        )
        connected = [one for one in hosts if one is not None and one.host != but]
        if not connected:
            raise HostUnreachable(f"no host of cluster {cluster} is connected")
        found = [
            session.host
            for session in connected
            if not _in_maintenance_mode(session) and not self._being_emptied.get(session.host)
        ]
        if not found:
            raise InvalidState(
                f"every connected host of cluster {cluster} is in maintenance mode, or enters it"
            )
        if encrypted:
            found = [host for host in found if self._takes_encrypted(host, own=own)]
            if not found:
                raise InvalidState(f"no connected host of cluster {cluster} takes encrypted VMs")
        return found

    def _takes_encrypted(self, host: NodeName, *, own: bool) -> bool:
        session = self._sessions.find_connected(host)
        view = None if session is None else session.summary
        pending = view is not None and view.crypto_state is HostCryptoState.PENDING_INCAPABLE
        row = self._inventory.hosts.get(host)
        kept_off = own and (row is None or row.kept_off)
        return not pending and not kept_off

    def _load(self, host: NodeName) -> int:
        return self._inventory.index.vms_on.count(host) + self._being_made.get(host, 0)

    def _running(self, host: NodeName) -> int:
        return self._inventory.index.running_on.count(host) + self._being_started.get(host, 0)


@contextmanager
def _count_while_inside(numbers: dict[NodeName, int], host: NodeName) -> Iterator[None]:
    numbers[host] = numbers.get(host, 0) + 1
    try:
        yield
    finally:
        numbers[host] -= 1


def _in_maintenance_mode(session: HostSession) -> bool:
    return session.summary is not None and session.summary.in_maintenance_mode
