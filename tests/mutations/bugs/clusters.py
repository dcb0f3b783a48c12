"""Bugs of vSphere HA and DRS."""

from __future__ import annotations

from typing import Any

from protocol.terms import HostCryptoState
from services.esxi.ha import primary
from services.esxi.ha.primary import Primary
from services.esxi.vms import ownership
from services.vcenter import placement
from services.vcenter.placement import Placement, VmMoves
from services.vcenter.tasks import power
from tests.mutations.bugs.planting import plant, replaces


def cold_move_left_open() -> None:
    """HA-03 broken: what a vCenter that fell in a move of a VM that is off left open stays so."""

    @replaces(VmMoves, "start")
    @replaces(VmMoves, "follow")
    def start(original: Any, self: Any) -> None:
        return


def datastore_heartbeat_ignored() -> None:
    """HA-01 broken: who does not answer on the network is dead, whatever the datastore says."""

    @replaces(primary, "is_heartbeat_held")
    async def lives(original: Any, datastore: Any, host: Any) -> bool:
        return False


def drs_counts_late() -> None:
    """HA-03 broken: VMs that are being started are not counted, so many at once come to one
    host."""

    @replaces(Placement, "_running")
    def running(original: Any, self: Any, host: Any) -> int:
        return int(self._inventory.index.running_on.count(host))


def drs_ignores_maintenance() -> None:
    """HA-03 broken: DRS starts VMs on hosts in maintenance mode, and they refuse."""

    @replaces(placement, "_in_maintenance_mode")
    def in_maintenance_mode(original: Any, session: Any) -> bool:
        return False


def drs_looks_at_keys() -> None:
    """HA-03 broken: DRS places an encrypted VM on no host that lacks keys, as nobody documents."""

    @replaces(Placement, "_takes_encrypted")
    def takes_encrypted(original: Any, self: Any, host: Any, *, own: bool) -> bool:
        session = self._sessions.find_connected(host)
        safe = session is not None and session.summary is not None
        safe = safe and session.summary.crypto_state is HostCryptoState.SAFE
        return safe and bool(original(self, host, own=own))


def ha_tries_once() -> None:
    """HA-02 broken: a VM whose restart was refused once is given up."""

    plant(primary, "after_refusal", lambda original: lambda *facts, **limits: None)


def manual_is_automated() -> None:
    """HA-03 broken: DRS chooses hosts in a cluster whose automation level is manual."""

    @replaces(power, "_is_placed")
    def is_placed(original: Any, vc: Any, row: Any) -> bool:
        return True


def ownership_forgotten() -> None:
    """HA-01 broken: a host that comes back keeps, and starts, what was restarted elsewhere."""

    @replaces(ownership, "owner_in")
    def owner_in(original: Any, record: Any, epoch: str) -> None:
        return None


def restart_through_vcenter() -> None:
    """HA-01 broken: VMs of a failed host are restarted only while vCenter is heard."""

    @replaces(Primary, "_begin_restarts")
    def begin(original: Any, self: Primary) -> None:
        if self._host.uplink.connected:
            original(self)


def restarted_though_off() -> None:
    """HA starts a VM on the word of the primary alone, which may have looked before it was off."""

    @replaces(primary, "_check_owner")
    async def check(original: Any, host: Any, vm: Any, of: Any, epoch: Any) -> None:
        """Nothing is looked at."""
