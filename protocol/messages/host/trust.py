"""A trusted host: its applied configuration, its attestation, and its exports."""

from __future__ import annotations

import msgspec

from protocol.messages.base import Reply, Request
from protocol.messages.host.session import Command, Done
from protocol.terms import NodeName, ProviderHealth, ProviderId
from protocol.tpm.structures import PublicArea
from protocol.trust import BaseImage, HostTrustReport, TrustedConfiguration


class SetTrustedConfiguration(Command[Done], frozen=True, kw_only=True):
    """Replace the applied configuration (KPS-00).

    Saved in the encrypted configuration before the answer, so that it outlives reboots while
    vCenter is down. Tokens of services that are not in it are dropped. ``NotAvailable`` on a host
    without a TPM (TA-03), ``InvalidArgument`` for an invalid configuration.
    """

    configuration: TrustedConfiguration


class DeleteTrustedConfiguration(Command[Done], frozen=True, kw_only=True):
    """The host is no longer a trusted host; saved before the answer. No change when it is none.

    Keys in cache and store stay; ``EvictKeys`` and ``RemoveKeys`` remove them.
    """


class QueryTrustedConfiguration(Request["TrustedConfigurationState"], frozen=True, kw_only=True):
    """The configuration applied on the host, and the results of services in this boot."""


class TrustedConfigurationState(Reply, frozen=True, kw_only=True):
    """``configuration`` None: not a trusted host. ``reports``: one for each of its services."""

    configuration: TrustedConfiguration | None
    reports: tuple[HostTrustReport, ...] = ()


class QueryTrustedServices(Request["TrustedServices"], frozen=True, kw_only=True):
    """Whether the Key Provider Services of the applied configuration serve this host now (HLT-06).

    Each is asked about each provider with the token at hand; the host does not attest for it.
    """


class TrustedServiceState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A service's answer about a provider. ``answers``: whether the service serves it. ``health``:
    that of its key servers (NONE: unknown without a token). ``reason``: what is wrong."""

    service: NodeName
    provider: ProviderId
    answers: bool
    health: ProviderHealth = ProviderHealth.NONE
    reason: str = ""


class TrustedServices(Reply, frozen=True, kw_only=True):
    """One per service and provider; none on a host that is not a trusted host."""

    services: tuple[TrustedServiceState, ...]


class AttestHost(Command["HostAttested"], frozen=True, kw_only=True):
    """Attest now with a service of the applied configuration, whether there is a token or not.

    For the administrator and vCenter; hosts attest by themselves at the first need (B7).
    ``InvalidState`` on a host that is not a trusted host.
    """


class HostAttested(Reply, frozen=True, kw_only=True):
    """The result of each service; ``unknown`` for those that were not asked."""

    reports: tuple[HostTrustReport, ...]


class ExportTpmEndorsement(Request["TpmEndorsement"], frozen=True, kw_only=True):
    """Export-Tpm2EndorsementKey and Export-Tpm2CACertificate: the endorsement key of this host.

    ``NotAvailable`` without a TPM, ``InvalidState`` when it does not answer.
    """


class TpmEndorsement(Reply, frozen=True, kw_only=True):
    """``certificate``: DER, empty when the key has none. ``ca_chain``: of its manufacturer, root to
    leaf, empty when the TPM has none."""

    public_area: PublicArea
    certificate: bytes = b""
    ca_chain: tuple[bytes, ...] = ()


class ExportBaseImage(Request["BaseImageExported"], frozen=True, kw_only=True):
    """Export-VMHostImageDb: the measurements of this host's signed image at boot."""


class BaseImageExported(Reply, frozen=True, kw_only=True):
    """The image of the build that this life has booted."""

    image: BaseImage
