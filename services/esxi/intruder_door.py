"""What an intruder who holds the host has it claim; see ``claims``."""

from __future__ import annotations

from protocol.messages import host as m
from services.esxi.host import Host
from services.runtime.service import Peer, Service, serves


class IntruderDoor(Service):
    """Handlers of ``protocol.messages.host.intruder``. Who inherits from it sets up ``host``."""

    host: Host

    @serves(m.HostClaim)
    async def claim(self, message: m.HostClaim, peer: Peer) -> m.HostClaims:
        """Claim this from now on; vCenter hears of it at its next heartbeat."""
        self.host.claims = message.vms
        self.node.record("intruder.claims", level="warning", vms=len(message.vms))
        return m.HostClaims(vms=self.host.claims)

    @serves(m.QueryHostClaims)
    async def query_claims(self, message: m.QueryHostClaims, peer: Peer) -> m.HostClaims:
        """What it claims now."""
        return m.HostClaims(vms=self.host.claims)
