"""vCenter's handlers for Trust Authority: each task is for members of TrustedAdmins (TA-04)."""

from __future__ import annotations

from typing import Any

from protocol import names
from protocol.messages.vcenter import trust as m
from services.runtime.service import Peer, serves
from services.vcenter.provider_handlers import ProviderHandlers


def _trust(message: Any) -> str:
    return "trust"


class VcenterTrustHandlers(ProviderHandlers):
    """Handlers for Trust Authority."""

    @serves(m.SetTrustedAdmin, turn=_trust)
    async def set_trusted_admin(self, message: m.SetTrustedAdmin, peer: Peer) -> m.TrustedAdmins:
        """The first step, at both vCenters."""
        return await self.task(peer, message.member, message, self._set_trusted_admin(message))

    async def _set_trusted_admin(self, message: m.SetTrustedAdmin) -> m.TrustedAdmins:
        names.PRINCIPAL.check(message.member)
        trust = self.vcenter.trust
        members = {*trust.row.admins, message.member}
        if message.remove:
            members.discard(message.member)
        await self.vcenter.inventory.commit(trust.edit(admins=tuple(sorted(members))))
        return m.TrustedAdmins(members=trust.row.admins)

    # ---- the Trust Authority vCenter --------------------------------------------------------

    @serves(m.EnableTrustAuthority)
    async def enable_trust_authority(
        self, message: m.EnableTrustAuthority, peer: Peer
    ) -> m.TrustAuthorityState:
        work = self.vcenter.authority.enable(message)
        return await self.task(peer, message.cluster, message, work)

    @serves(m.ImportToTrustAuthority)
    async def import_to_trust_authority(
        self, message: m.ImportToTrustAuthority, peer: Peer
    ) -> m.TrustAuthorityState:
        return await self.task(peer, "", message, self.vcenter.authority.change(message))

    @serves(m.SetTpmSettings)
    async def set_tpm_settings(
        self, message: m.SetTpmSettings, peer: Peer
    ) -> m.TrustAuthorityState:
        return await self.task(peer, "", message, self.vcenter.authority.change(message))

    @serves(m.CreateTrustedKeyProvider)
    async def create_trusted_key_provider(
        self, message: m.CreateTrustedKeyProvider, peer: Peer
    ) -> m.TrustAuthorityState:
        return await self.task(
            peer, message.provider, message, self.vcenter.authority.change(message)
        )

    @serves(m.TrustKeyServers)
    async def trust_key_servers(
        self, message: m.TrustKeyServers, peer: Peer
    ) -> m.TrustAuthorityState:
        return await self.task(
            peer, message.provider, message, self.vcenter.authority.change(message)
        )

    @serves(m.RemoveFromTrustAuthority)
    async def remove_from_trust_authority(
        self, message: m.RemoveFromTrustAuthority, peer: Peer
    ) -> m.TrustAuthorityState:
        return await self.task(peer, message.name, message, self.vcenter.authority.change(message))

    @serves(m.QueryTrustAuthority)
    async def query_trust_authority(
        self, message: m.QueryTrustAuthority, peer: Peer
    ) -> m.TrustAuthorityState:
        self.check(peer, message)
        return await self.vcenter.authority.state()

    @serves(m.ExportServicesInformation)
    async def export_services_information(
        self, message: m.ExportServicesInformation, peer: Peer
    ) -> m.ServicesInformation:
        self.check(peer, message)
        return await self.vcenter.authority.export()

    # ---- the workload vCenter ---------------------------------------------------------------

    @serves(m.ExportPrincipal, turn=_trust)
    async def export_principal(self, message: m.ExportPrincipal, peer: Peer) -> m.PrincipalExported:
        self.check(peer, message)
        return await self.vcenter.trust.principal()

    @serves(m.RenewStsCertificate, turn=_trust)
    async def renew_sts_certificate(
        self, message: m.RenewStsCertificate, peer: Peer
    ) -> m.PrincipalExported:
        return await self.task(peer, "", message, self.vcenter.trust.renew())

    @serves(m.ImportServicesInformation, turn=_trust)
    async def import_services_information(
        self, message: m.ImportServicesInformation, peer: Peer
    ) -> m.TrustedClusters:
        return await self.task(peer, "", message, self.vcenter.trust.import_services(message))

    @serves(m.SetTrustedState, turn=_trust)
    async def set_trusted_state(self, message: m.SetTrustedState, peer: Peer) -> m.TrustedClusters:
        work = self.vcenter.trust.set_trusted(message)
        return await self.task(peer, message.cluster, message, work)

    @serves(m.RemediateTrustedCluster, turn=_trust)
    async def remediate_trusted_cluster(
        self, message: m.RemediateTrustedCluster, peer: Peer
    ) -> m.TrustedClusters:
        work = self.vcenter.trust.remediate(message)
        return await self.task(peer, message.cluster, message, work)

    @serves(m.QueryTrustedClusters)
    async def query_trusted_clusters(
        self, message: m.QueryTrustedClusters, peer: Peer
    ) -> m.TrustedClusters:
        self.check(peer, message)
        return self.vcenter.trust.state()
