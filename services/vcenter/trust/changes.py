"""What a task of an administrator makes of a Trust Authority's configuration, and which clusters
may have one: a cluster is a trusted one, or of a Trust Authority, and never both (TA-02). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, assert_never

from msgspec.structs import replace

from protocol import names
from protocol.errors import AlreadyExists, InvalidArgument, NotFound
from protocol.messages.attestation import AttestationConfiguration
from protocol.messages.keyprovider import KeyProviderConfiguration
from protocol.messages.vcenter.trust import (
    CreateTrustedKeyProvider,
    ImportToTrustAuthority,
    RemoveFromTrustAuthority,
    SetTpmSettings,
    TrustKeyServers,
)
from protocol.printable import quote_if_needed
from protocol.terms import ClusterName, NodeName
from protocol.trust import KeyServerRecord, TrustedEndorsementKey, TrustedKeyProvider, TrustItem
from services.vcenter.inventory import Inventory
from services.vcenter.tables import AuthorityRow

AUTHORITY_ROW: Final = "authority"
TRUST_ROW: Final = "trust"


def has_another_role(inventory: Inventory, cluster: ClusterName, *, trusted: bool) -> str:
    """Why ``cluster`` cannot become a trusted one, or that of a Trust Authority; empty: it can."""
    authority, trust = inventory.authority.get(AUTHORITY_ROW), inventory.trust.get(TRUST_ROW)
    if trusted and authority is not None and authority.cluster == cluster:
        return f"{cluster} is the cluster of a Trust Authority: it cannot be a trusted one"
    if not trusted and trust is not None and cluster in trust.clusters:
        return f"{cluster} is a trusted cluster: it cannot be that of a Trust Authority"
    return ""


Change = (
    ImportToTrustAuthority
    | SetTpmSettings
    | CreateTrustedKeyProvider
    | TrustKeyServers
    | RemoveFromTrustAuthority
)
_NOTHING: Final[Mapping[NodeName, bytes]] = MappingProxyType({})
NO_SETTINGS = (
    "neither requireEndorsementKeys nor requireCertificateValidation is set: any endorsement key "
    "is trusted"
)


def apply_change(
    row: AuthorityRow, message: Change, shown: Mapping[NodeName, bytes] = _NOTHING
) -> AuthorityRow:
    """The configuration after the change, with the next revision. ``shown``: certificates (DER) of
    KMIP servers.

    Raises ``AlreadyExists``, ``NotFound`` or ``InvalidArgument`` by the table.
    """
    match message:
        case ImportToTrustAuthority():
            after = _import_item(row, message)
        case SetTpmSettings(settings=settings):
            after = replace(row, settings=settings)
        case CreateTrustedKeyProvider():
            after = _with_provider(row, message)
        case TrustKeyServers(provider=name):
            after = replace(row, providers=tuple(_trust_servers(row, name, shown)))
        case RemoveFromTrustAuthority():
            after = _without(row, message)
        case _:
            assert_never(message)
    return replace(after, revision=row.revision + 1)


def _import_item(row: AuthorityRow, message: ImportToTrustAuthority) -> AuthorityRow:
    given = [
        (field, item)
        for field, item in (
            ("principals", message.principal),
            ("ca_certificates", message.ca_certificate),
            ("endorsement_keys", message.endorsement_key),
            ("base_images", message.base_image),
        )
        if item is not None
    ]
    if len(given) != 1:
        raise InvalidArgument("exactly one item is imported at a time")
    field, item = given[0]
    if isinstance(item, TrustedEndorsementKey):
        item = replace(item, registered=row.revision + 1)
    there: tuple[Any, ...] = getattr(row, field)
    if any(_name_of(one) == _name_of(item) for one in there):
        raise AlreadyExists(f"{_name_of(item)} is imported already")
    return replace(row, **{field: (*there, item)})


def _with_provider(row: AuthorityRow, message: CreateTrustedKeyProvider) -> AuthorityRow:
    names.PROVIDER.check(message.provider)
    if any(one.provider == message.provider for one in row.providers):
        raise AlreadyExists(f"there is a trusted key provider {message.provider} already")
    if not message.primary_key_id or not message.servers:
        raise InvalidArgument("a trusted key provider has a primary key id, and key servers")
    made = TrustedKeyProvider(
        provider=message.provider,
        primary_key_id=message.primary_key_id,
        servers=tuple(
            KeyServerRecord(node=node, address=f"kmip://{node}" if node in message.by_kmip else "")
            for node in message.servers
        ),
    )
    return replace(row, providers=(*row.providers, made))


def _trust_servers(
    row: AuthorityRow, name: str, shown: Mapping[NodeName, bytes]
) -> list[TrustedKeyProvider]:
    def mark_trusted(server: KeyServerRecord) -> KeyServerRecord:
        own = (shown[server.node],) if server.node in shown else ()
        return replace(server, trusted=True, certificates=own)

    if all(one.provider != name for one in row.providers):
        raise NotFound(f"there is no trusted key provider {quote_if_needed(name)}")
    return [
        replace(one, servers=tuple(mark_trusted(server) for server in one.servers))
        if one.provider == name
        else one
        for one in row.providers
    ]


_FIELDS = {
    TrustItem.PRINCIPAL: "principals",
    TrustItem.CA_CERTIFICATE: "ca_certificates",
    TrustItem.ENDORSEMENT_KEY: "endorsement_keys",
    TrustItem.BASE_IMAGE: "base_images",
    TrustItem.PROVIDER: "providers",
}


def _without(row: AuthorityRow, message: RemoveFromTrustAuthority) -> AuthorityRow:
    field = _FIELDS[message.kind]
    there: tuple[Any, ...] = getattr(row, field)
    left = tuple(one for one in there if _name_of(one) != message.name)
    if len(left) == len(there):
        raise NotFound(f"there is no {message.kind.value} {quote_if_needed(message.name)}")
    return replace(row, **{field: left})


def _name_of(item: Any) -> str:
    """The identifying name of an item: of an image its version."""
    for field in ("version", "provider", "name"):
        if hasattr(item, field):
            return str(getattr(item, field))
    raise TypeError(f"{type(item).__name__} has no name")


def attestation_configuration(row: AuthorityRow) -> AttestationConfiguration:
    """The desired configuration of each Attestation Service."""
    return AttestationConfiguration(
        revision=str(row.revision),
        group=row.group,
        ca_certificates=row.ca_certificates,
        endorsement_keys=row.endorsement_keys,
        base_images=row.base_images,
        principals=row.principals,
        settings=row.settings,
    )


def key_provider_configuration(row: AuthorityRow) -> KeyProviderConfiguration:
    """The desired configuration of each Key Provider Service: only tokens of this group's services
    (TA-08)."""
    return KeyProviderConfiguration(
        revision=str(row.revision),
        group=row.group,
        providers=row.providers,
        attestation_services=row.issuers,
    )


def warnings_of(row: AuthorityRow) -> tuple[str, ...]:
    """TPM settings that accept any endorsement key (TA-07)."""
    settings = row.settings
    if settings.require_endorsement_keys or settings.require_certificate_validation:
        return ()
    return (NO_SETTINGS,)
