"""Handlers for VMs that the host claims to have; see ``claims``."""

from __future__ import annotations

from protocol.messages import host as m
from services.esxi.host import Host
from services.runtime.service import Peer, Service, serves


class IntruderDoor(Service):
    """Handlers of ``protocol.messages.host.intruder``; a subclass sets ``host``."""

    host: Host

    @serves(m.HostClaim)
    async def claim(self, message: m.HostClaim, peer: Peer) -> m.HostClaims:
        """Claim these from now on; vCenter gets them with its next heartbeat."""
        if message.again and not self.host.claims:
            return m.HostClaims(vms=())
        self.host.claims = message.vms
        self.node.record("intruder.claims", level="warning", vms=len(message.vms))
        return m.HostClaims(vms=self.host.claims)

    @serves(m.QueryHostClaims)
    async def query_claims(self, message: m.QueryHostClaims, peer: Peer) -> m.HostClaims:
        """What the host claims now."""
        return m.HostClaims(vms=self.host.claims)
