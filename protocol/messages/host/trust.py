"""A trusted host: its applied configuration, what it tells of its attestation, and its exports."""

from __future__ import annotations

import msgspec

from protocol.messages.base import Reply, Request
from protocol.messages.host.session import Command, Done
from protocol.terms import NodeName, ProviderHealth, ProviderId
from protocol.tpm.structures import PublicArea
from protocol.trust import BaseImage, HostTrustReport, TrustedConfiguration


class SetTrustedConfiguration(Command[Done], frozen=True, kw_only=True):
    """The whole applied configuration, in the place of the one before (KPS-00).

    Saved in the encrypted configuration before it is answered, so that it outlives every boot
    while vCenter is down. Tokens of services that are not in it are forgotten. ``NotAvailable`` on
    a host without a TPM (TA-03), ``InvalidArgument`` for a configuration that is none.
    """

    configuration: TrustedConfiguration


class DeleteTrustedConfiguration(Command[Done], frozen=True, kw_only=True):
    """The host is no trusted host any more; saved before it is answered. No change when it is none.

    Keys in cache and store stay; they leave by ``EvictKeys`` and ``RemoveKeys``.
    """


class QueryTrustedConfiguration(Request["TrustedConfigurationState"], frozen=True, kw_only=True):
    """What is applied on the host, whole, and what services made of it in this boot."""


class TrustedConfigurationState(Reply, frozen=True, kw_only=True):
    """``configuration`` None: it is no trusted host. ``reports``: one for each service of it."""

    configuration: TrustedConfiguration | None
    reports: tuple[HostTrustReport, ...] = ()


class QueryTrustedServices(Request["TrustedServices"], frozen=True, kw_only=True):
    """Whether the Key Provider Services of the applied configuration serve this host now (HLT-06).

    Each is asked about each provider, with the token that is at hand: nobody attests for it.
    """


class TrustedServiceState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a service said of a provider: ``answers`` whether it serves it, ``health`` what it said
    of its key servers (NONE: it did not say, for want of a token), ``reason`` what is wrong."""

    service: NodeName
    provider: ProviderId
    answers: bool
    health: ProviderHealth = ProviderHealth.NONE
    reason: str = ""


class TrustedServices(Reply, frozen=True, kw_only=True):
    """One for each service and provider; none on a host that is no trusted host."""

    services: tuple[TrustedServiceState, ...]


class AttestHost(Command["HostAttested"], frozen=True, kw_only=True):
    """Attest now with a service of the applied configuration, token or none.

    For the administrator and vCenter; hosts attest by themselves at the first need (B7).
    ``InvalidState`` on a host that is no trusted host.
    """


class HostAttested(Reply, frozen=True, kw_only=True):
    """What each service made of it; those that were not asked are ``unknown``."""

    reports: tuple[HostTrustReport, ...]


class ExportTpmEndorsement(Request["TpmEndorsement"], frozen=True, kw_only=True):
    """Export-Tpm2EndorsementKey and Export-Tpm2CACertificate: the endorsement key of this host.

    ``NotAvailable`` without a TPM, ``InvalidState`` when it does not answer.
    """


class TpmEndorsement(Reply, frozen=True, kw_only=True):
    """``certificate``: DER, empty when the key is bare. ``ca_chain``: of its maker, root to leaf,
    empty when the TPM carries none."""

    public_area: PublicArea
    certificate: bytes = b""
    ca_chain: tuple[bytes, ...] = ()


class ExportBaseImage(Request["BaseImageExported"], frozen=True, kw_only=True):
    """Export-VMHostImageDb: what a boot of this host's build measures of its signed image."""


class BaseImageExported(Reply, frozen=True, kw_only=True):
    """The image of the build that this life has booted."""

    image: BaseImage
