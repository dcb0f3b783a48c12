"""What a trusted host is told and asked by its vCenter and administrator; flows lie elsewhere."""

from __future__ import annotations

from protocol.errors import NotAvailable
from protocol.messages import host as m
from services.esxi.host import Host
from services.runtime.service import Peer, Service, serves


class TrustDoor(Service):
    """Handlers of ``protocol.messages.host.trust``. Who inherits from it sets up ``host``."""

    host: Host

    @serves(m.SetTrustedConfiguration, turn=lambda _: "keystore")
    async def set_trusted_configuration(
        self, message: m.SetTrustedConfiguration, peer: Peer
    ) -> m.Done:
        """Not built yet."""
        raise NotAvailable("the trusted key provider is not built yet")

    @serves(m.DeleteTrustedConfiguration, turn=lambda _: "keystore")
    async def delete_trusted_configuration(
        self, message: m.DeleteTrustedConfiguration, peer: Peer
    ) -> m.Done:
        """Not built yet."""
        raise NotAvailable("the trusted key provider is not built yet")

    @serves(m.QueryTrustedConfiguration)
    async def query_trusted_configuration(
        self, message: m.QueryTrustedConfiguration, peer: Peer
    ) -> m.TrustedConfigurationState:
        """No host is a trusted one yet."""
        return m.TrustedConfigurationState(configuration=None)

    @serves(m.AttestHost)
    async def attest_host(self, message: m.AttestHost, peer: Peer) -> m.HostAttested:
        """Not built yet."""
        raise NotAvailable("the trusted key provider is not built yet")

    @serves(m.ExportTpmEndorsement)
    async def export_tpm_endorsement(
        self, message: m.ExportTpmEndorsement, peer: Peer
    ) -> m.TpmEndorsement:
        """Not built yet."""
        raise NotAvailable("the trusted key provider is not built yet")

    @serves(m.ExportBaseImage)
    async def export_base_image(
        self, message: m.ExportBaseImage, peer: Peer
    ) -> m.BaseImageExported:
        """Not built yet."""
        raise NotAvailable("the trusted key provider is not built yet")
