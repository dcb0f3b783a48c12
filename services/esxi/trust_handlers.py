"""Handlers of a trusted host, for its vCenter and its administrator."""

from __future__ import annotations

from protocol.errors import InvalidState
from protocol.messages import host as m
from services.esxi.host import EsxiHost
from services.esxi.providers.trusted import (
    attestation,
    configuration,
    exports,
    health,
    reports,
    retries,
)
from services.runtime.service import Peer, Service, serves


class EsxiTrustHandlers(Service):
    """Handlers of ``protocol.messages.host.trust``. A subclass sets ``host``."""

    host: EsxiHost

    @serves(m.SetTrustedConfiguration, turn=lambda _: "keystore")
    async def set_trusted_configuration(
        self, message: m.SetTrustedConfiguration, peer: Peer
    ) -> m.Done:
        """See ``configuration.apply``."""
        await configuration.apply(self.host, message.configuration)
        retries.start_retries(self.host)
        return m.Done()

    @serves(m.DeleteTrustedConfiguration, turn=lambda _: "keystore")
    async def delete_trusted_configuration(
        self, message: m.DeleteTrustedConfiguration, peer: Peer
    ) -> m.Done:
        """See ``configuration.delete``."""
        await configuration.delete(self.host)
        return m.Done()

    @serves(m.QueryTrustedConfiguration)
    async def query_trusted_configuration(
        self, message: m.QueryTrustedConfiguration, peer: Peer
    ) -> m.TrustedConfigurationState:
        """The applied configuration, and the attestation services' results in this life."""
        now = self.host.archive.now.trusted
        return m.TrustedConfigurationState(
            configuration=now, reports=reports.reports(now, self.host.trust)
        )

    @serves(m.QueryTrustedServices)
    async def query_trusted_services(
        self, message: m.QueryTrustedServices, peer: Peer
    ) -> m.TrustedServices:
        """See ``health.list_service_states``."""
        return m.TrustedServices(services=await health.list_service_states(self.host))

    @serves(m.AttestHost)
    async def attest_host(self, message: m.AttestHost, peer: Peer) -> m.HostAttested:
        """Attest now, whether the host has a token or not."""
        now = self.host.archive.now.trusted
        if now is None:
            raise InvalidState(f"{self.host.node.name} is no trusted host")
        await attestation.attest(self.host, attestation.groups(now), anew=True)
        return m.HostAttested(reports=reports.reports(now, self.host.trust))

    @serves(m.ExportTpmEndorsement)
    async def export_tpm_endorsement(
        self, message: m.ExportTpmEndorsement, peer: Peer
    ) -> m.TpmEndorsement:
        """See ``exports.export_endorsement``."""
        return await exports.export_endorsement(self.host)

    @serves(m.ExportBaseImage)
    async def export_base_image(
        self, message: m.ExportBaseImage, peer: Peer
    ) -> m.BaseImageExported:
        """See ``exports.export_base_image``."""
        return exports.export_base_image(self.host)
