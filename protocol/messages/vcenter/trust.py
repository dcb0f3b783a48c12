"""Trust Authority, as administrators of both vCenters configure it (the steps of TA-01 to TA-08).

Every one of these tasks requires a member of TrustedAdmins, else it is ``NoPermission`` (TA-04).
While a change of a Trust Authority is in progress, a second one is ``ResourceInUse`` (HLT-04).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.terms import ClusterName, KeyId, NodeName, ProviderHealth, ProviderId
from protocol.trust import (
    BaseImage,
    HostTrustReport,
    ServiceRecord,
    TpmCaCertificate,
    TpmSettings,
    TrustedEndorsementKey,
    TrustedPrincipal,
    TrustItem,
)


class SetTrustedAdmin(Request["TrustedAdmins"], frozen=True, kw_only=True):
    """Add ``member`` to the group TrustedAdmins, or take it out (TA-04)."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    member: str
    remove: bool = False


class TrustedAdmins(Reply, frozen=True, kw_only=True):
    """The members, by name."""

    members: tuple[str, ...]


# ---- the Trust Authority vCenter ---------------------------------------------------------------


class EnableTrustAuthority(Request["TrustAuthorityState"], frozen=True, kw_only=True):
    """TrustAuthorityCluster state ENABLED: these services are those of its hosts.

    ``AlreadyExists`` when it is enabled already (TA-01).
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    cluster: ClusterName
    attestation_services: tuple[NodeName, ...]
    key_provider_services: tuple[NodeName, ...]


class ImportToTrustAuthority(Request["TrustAuthorityState"], frozen=True, kw_only=True):
    """Import one item: exactly one of the fields is given.

    ``AlreadyExists`` for a name, or an image's version, that is there. ``InvalidArgument`` for what
    the services refuse: a certificate that is none, an endorsement key's certificate that no
    imported CA has issued. ``HostUnreachable`` when no service is there to judge it.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    principal: TrustedPrincipal | None = None
    ca_certificate: TpmCaCertificate | None = None
    endorsement_key: TrustedEndorsementKey | None = None
    base_image: BaseImage | None = None


class SetTpmSettings(Request["TrustAuthorityState"], frozen=True, kw_only=True):
    """What endorsement keys have to be; neither of both takes any, and is warned about (TA-07)."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    settings: TpmSettings


class CreateTrustedKeyProvider(Request["TrustAuthorityState"], frozen=True, kw_only=True):
    """TrustAuthorityKeyProvider: ``primary_key_id`` is the key server's unique id of the key.

    It is not usable until its key servers are trusted. ``AlreadyExists`` for a name that is there.
    ``by_kmip``: those of the ``servers`` that are asked by KMIP.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId
    primary_key_id: KeyId
    servers: tuple[NodeName, ...]
    by_kmip: tuple[NodeName, ...] = ()


class TrustKeyServers(Request["TrustAuthorityState"], frozen=True, kw_only=True):
    """The certificates of the provider's key servers were reviewed, and are trusted: of those that
    are asked by KMIP, the ones that they show a Key Provider Service now, and no earlier ones.

    ``HostUnreachable`` when one of them shows none, or no Key Provider Service is there to look.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    provider: ProviderId


class RemoveFromTrustAuthority(Request["TrustAuthorityState"], frozen=True, kw_only=True):
    """Take one item out. ``NotFound`` when it is not there."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    kind: TrustItem
    name: str


class QueryTrustAuthority(Request["TrustAuthorityState"], frozen=True, kw_only=True):
    """How it stands; each service is asked."""


class TrustItemHealth(msgspec.Struct, frozen=True, kw_only=True):
    """OK: the same on all services; ERROR: not; WARNING: not all of them answer; NONE: none does
    (HLT-01)."""

    kind: str
    name: str
    health: ProviderHealth
    details: tuple[str, ...] = ()


class TrustAuthorityState(Reply, frozen=True, kw_only=True):
    """``group`` empty: it is not enabled. ``silent`` services did not take, or tell, what is
    configured; they get it when they answer."""

    cluster: ClusterName
    group: str
    items: tuple[TrustItemHealth, ...] = ()
    settings: TpmSettings = TpmSettings()
    warnings: tuple[str, ...] = ()
    silent: tuple[NodeName, ...] = ()


class ExportServicesInformation(Request["ServicesInformation"], frozen=True, kw_only=True):
    """Addresses, certificates and group ids of the services (TA-08), for the workload vCenter.

    ``HostUnreachable`` when one of them does not answer.
    """


class ServicesInformation(Reply, frozen=True, kw_only=True):
    """What a workload vCenter imports."""

    attestation_services: tuple[ServiceRecord, ...]
    key_provider_services: tuple[ServiceRecord, ...]


# ---- the workload vCenter ----------------------------------------------------------------------


class ExportPrincipal(Request["PrincipalExported"], frozen=True, kw_only=True):
    """The certificate with which this vCenter vouches for its hosts (that of its STS)."""


class PrincipalExported(Reply, frozen=True, kw_only=True):
    """For ``ImportToTrustAuthority``."""

    principal: TrustedPrincipal


class RenewStsCertificate(Request["PrincipalExported"], frozen=True, kw_only=True):
    """Another signing certificate: what was imported of the old one is stale (HLT-05)."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE


class ImportServicesInformation(Request["TrustedClusters"], frozen=True, kw_only=True):
    """Register the services of a Trust Authority, in the place of those before.

    ``InvalidArgument`` when no Attestation Service has the group of a Key Provider Service (TA-08);
    ``ResourceInUse`` when a service that a cluster uses is missing in it (HLT-04).
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    services: ServicesInformation


class SetTrustedState(Request["TrustedClusters"], frozen=True, kw_only=True):
    """Make a cluster a trusted one, or end that: its hosts are told at once.

    ``NotFound`` for a cluster that is not there, or when no services are imported;
    ``AlreadyExists`` when it is one.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    cluster: ClusterName
    trusted: bool = True


class RemediateTrustedCluster(Request["TrustedClusters"], frozen=True, kw_only=True):
    """Make what is applied on its hosts what is desired, or wipe it (HLT-02)."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    cluster: ClusterName
    delete: bool = False


class QueryTrustedClusters(Request["TrustedClusters"], frozen=True, kw_only=True):
    """Desired against applied, by the hosts' last word."""


class TrustedHost(msgspec.Struct, frozen=True, kw_only=True):
    """OK: applied is desired; ERROR: it is not; NONE: the host does not say (HLT-02)."""

    host: NodeName
    cluster: ClusterName
    health: ProviderHealth
    details: tuple[str, ...] = ()
    reports: tuple[HostTrustReport, ...] = ()


class TrustedClusters(Reply, frozen=True, kw_only=True):
    """``hosts``: of trusted clusters, and others that have a configuration nevertheless.
    ``stale_principal``: the certificate was renewed since services were imported (HLT-05)."""

    clusters: tuple[ClusterName, ...]
    hosts: tuple[TrustedHost, ...]
    services: ServicesInformation | None = None
    stale_principal: bool = False
