"""Handlers of a trusted host, for its vCenter and its administrator: its configuration, its
attestation, its exports for a Trust Authority, and whether its Key Provider Services serve it
now (HLT-06).
"""

from __future__ import annotations

from protocol.errors import InvalidState, NotAvailable, ProductError, Unauthenticated
from protocol.messages.host import crypto as crypto_messages
from protocol.messages.host import session as session_messages
from protocol.messages.host.crypto import BaseImageExported, TpmEndorsement, TrustedServiceState
from protocol.messages.keyprovider import QueryTrustedKeyProviderHealth
from protocol.terms import ProviderId
from protocol.tpm.errors import TpmError
from protocol.tpm.structures import EkKind
from protocol.trust import BaseImage, ImageMeasurement, ServiceRecord
from services.esxi.host import EsxiHost
from services.esxi.measured_boot import image_events
from services.esxi.providers.trusted import attestation, attestation_state, keys
from services.runtime.each import for_each
from services.runtime.service import Peer, Service, serves


async def export_endorsement(host: EsxiHost) -> TpmEndorsement:
    """The endorsement key of this host's TPM, with its certificate if it has one."""
    if host.tpm is None:
        raise NotAvailable(f"{host.node.name} has no TPM")
    try:
        area, certificate = await host.tpm.ek(EkKind.ECC_P256)
        chain = await host.tpm.ek_chain()
    except TpmError as error:
        raise InvalidState(f"the TPM of {host.node.name} does not answer: {error}") from None
    return TpmEndorsement(public_area=area, certificate=certificate or b"", ca_chain=chain)


def export_base_image(host: EsxiHost) -> BaseImageExported:
    """The image of the build that this life booted, from its metadata: not what was measured."""
    version, build = host.config.version, host.build
    files = tuple(
        ImageMeasurement(event.pcr, event.body.decode(), event.digest)
        for event in image_events(version, build)
    )
    image = BaseImage(
        version=f"{version}-{build}",
        display_name=f"ESXi {version} build {build}",
        measurements=files,
    )
    return BaseImageExported(image=image)


async def list_service_states(host: EsxiHost) -> tuple[TrustedServiceState, ...]:
    """The state of each service and provider of the applied configuration; all are asked at once. A
    service that refuses a missing token counts as reachable, and no more is known."""
    now = host.archive.now.trusted
    if now is None:
        return ()
    services = [
        (record, provider) for record in now.key_provider_services for provider in now.providers
    ]
    return tuple(
        await for_each(services, lambda one: _service_state(host, *one), name="trust.health")
    )


async def _service_state(
    host: EsxiHost, record: ServiceRecord, provider: ProviderId
) -> TrustedServiceState:
    held = host.trust.find_token(record.group, host.clock.monotonic())
    message = QueryTrustedKeyProviderHealth(
        provider=provider, token=b"" if held is None else held.token
    )
    within_s = host.node.knobs.trust_timeout_s
    try:
        found = await host.ports.bus.request(record.node, message, within_s=within_s)
    except Unauthenticated:
        return TrustedServiceState(service=record.node, provider=provider, answers=True)
    except ProductError as error:
        return TrustedServiceState(
            service=record.node, provider=provider, answers=False, reason=f"{record.node}: {error}"
        )
    reasons = [f"{one.node}: {one.reason}" for one in found.servers if one.reason]
    return TrustedServiceState(
        service=record.node,
        provider=provider,
        answers=True,
        health=found.health,
        reason="; ".join(reasons),
    )


class EsxiTrustHandlers(Service):
    """Handlers of ``protocol.messages.host.crypto``. A subclass sets ``host``."""

    host: EsxiHost

    @serves(crypto_messages.SetTrustedConfiguration, turn=lambda _: "keystore")
    async def set_trusted_configuration(
        self, message: crypto_messages.SetTrustedConfiguration, peer: Peer
    ) -> session_messages.Done:
        """See ``keys.apply``."""
        await keys.apply(self.host, message.configuration)
        keys.start_retries(self.host)
        return session_messages.Done()

    @serves(crypto_messages.DeleteTrustedConfiguration, turn=lambda _: "keystore")
    async def delete_trusted_configuration(
        self, message: crypto_messages.DeleteTrustedConfiguration, peer: Peer
    ) -> session_messages.Done:
        """See ``keys.delete``."""
        await keys.delete(self.host)
        return session_messages.Done()

    @serves(crypto_messages.QueryTrustedConfiguration)
    async def query_trusted_configuration(
        self, message: crypto_messages.QueryTrustedConfiguration, peer: Peer
    ) -> crypto_messages.TrustedConfigurationState:
        """The applied configuration, and the attestation services' results in this life."""
        now = self.host.archive.now.trusted
        return crypto_messages.TrustedConfigurationState(
            configuration=now, reports=attestation_state.reports(now, self.host.trust)
        )

    @serves(crypto_messages.QueryTrustedServices)
    async def query_trusted_services(
        self, message: crypto_messages.QueryTrustedServices, peer: Peer
    ) -> crypto_messages.TrustedServices:
        """See ``handlers.list_service_states``."""
        return crypto_messages.TrustedServices(services=await list_service_states(self.host))

    @serves(crypto_messages.AttestHost)
    async def attest_host(
        self, message: crypto_messages.AttestHost, peer: Peer
    ) -> crypto_messages.HostAttested:
        """Attest now, whether the host has a token or not."""
        now = self.host.archive.now.trusted
        if now is None:
            raise InvalidState(f"{self.host.node.name} is no trusted host")
        await attestation.attest(self.host, attestation.groups(now), anew=True)
        return crypto_messages.HostAttested(reports=attestation_state.reports(now, self.host.trust))

    @serves(crypto_messages.ExportTpmEndorsement)
    async def export_tpm_endorsement(
        self, message: crypto_messages.ExportTpmEndorsement, peer: Peer
    ) -> crypto_messages.TpmEndorsement:
        """See ``handlers.export_endorsement``."""
        return await export_endorsement(self.host)

    @serves(crypto_messages.ExportBaseImage)
    async def export_base_image(
        self, message: crypto_messages.ExportBaseImage, peer: Peer
    ) -> crypto_messages.BaseImageExported:
        """See ``handlers.export_base_image``."""
        return export_base_image(self.host)
