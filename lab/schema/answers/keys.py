"""Answers about key providers, keys and key servers, and the trust between a vCenter and KMIP
servers as each of them has it.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from lab.schema.answers.base import Answer, KeyRef, MachineState
from lab.schema.tables import ColumnTable, field, moment
from protocol.messages.kms.keys import AuditRow
from protocol.terms import (
    ClusterName,
    KeyId,
    KeyType,
    KeyUnavailableReason,
    KmipState,
    ManagementType,
    NodeName,
    ProviderHealth,
    ProviderId,
    RootKind,
    VmName,
)

# Hosts -------------------------------------------------------------------------------------


class WrappingKey(msgspec.Struct, frozen=True, kw_only=True):
    """A wrapping key [KEY-07]: whether it was named ``by_id``, since and until when it was in force
    (Unix seconds; None: not known, or until now)."""

    key_id: KeyId
    by_id: bool
    since: float | None = None
    until: float | None = None


class Provider(Answer, frozen=True, kw_only=True):
    """A key provider of vCenter with the names of its servers.

    ``status`` is green, yellow or red [STD-03]; ``unreachable`` servers did not answer last.
    ``addresses``: the node that each of ``servers`` is, or HOST:PORT of one outside of the lab.
    ``default`` of vCenter, ``default_of`` these clusters [STD-02]. Of a native one [NKP-01]:
    ``health`` with the ids of ``details``, ``key_id`` of its key derivation key, and whether hosts
    without a TPM are left out. Of a standard one that was told what its new keys are [KEY-07]:
    ``key_type``, the ``wrapping_key`` in force, and ``rotation_days``.
    """

    provider: ProviderId
    management_type: ManagementType
    servers: tuple[str, ...]
    default: bool
    status: str
    unreachable: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    default_of: tuple[ClusterName, ...] = ()
    health: ProviderHealth = ProviderHealth.NONE
    details: tuple[str, ...] = ()
    key_id: str = ""
    tpm_required: bool = False
    vcenter: NodeName | None = None
    key_type: KeyType | None = None
    wrapping_key: WrappingKey | None = None
    rotation_days: int | None = None
    rotated_at: float | None = None

    table = ColumnTable(
        "provider",
        (
            field("provider"),
            field("management_type", "TYPE"),
            field("servers"),
            field("default"),
            ("STATUS", lambda provider: provider.describe_status()),
        ),
        wide=(
            field("unreachable"),
            field("default_of"),
            field("key_type", "KEY TYPE"),
            ("WRAPPING KEY", lambda row: row.wrapping_key and row.wrapping_key.key_id),
        ),
    )

    def describe_status(self) -> str:
        """Its health where it has one, else how its key servers answer."""
        return str(self.status if self.health is ProviderHealth.NONE else self.health)


class ProviderBackup(Answer, frozen=True, kw_only=True):
    """A backup file of a native provider [NKP-03]: what it is of, and when it was made (Unix s).

    ``imported``: a provider was made of it now.
    """

    provider: ProviderId
    file: str
    key_id: str
    exported_at: float
    tpm_required: bool
    imported: bool = False

    table = ColumnTable(
        "provider",
        (
            field("provider"),
            field("key_id", "KEY ID"),
            ("EXPORTED", lambda backup: moment(backup.exported_at)),
            field("tpm_required", "TPM REQUIRED"),
            field("file"),
            field("imported"),
        ),
    )


class ProviderList(Answer, frozen=True, kw_only=True):
    """Providers by name."""

    items: tuple[Provider, ...]


class KeyStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a key's provider can give it [STD-20], and who uses it."""

    key: KeyRef
    available: bool
    reason: KeyUnavailableReason | None = None
    encrypted_vms: tuple[VmName, ...] = ()
    affected_hosts: tuple[NodeName, ...] = ()
    vcenter: NodeName | None = None
    wrapping_key: WrappingKey | None = None

    table = ColumnTable(
        "key",
        (
            field("key"),
            field("available"),
            field("reason"),
            field("encrypted_vms", "VMS"),
            field("affected_hosts", "HOSTS"),
        ),
    )


class KeyList(Answer, frozen=True, kw_only=True):
    """Every key that the inventory knows of."""

    items: tuple[KeyStatus, ...]


class KnownKey(Answer, frozen=True, kw_only=True):
    """A key, and whether vCenter knows it now.

    ``not_confirmed_by``: hosts that were to drop it, and have not said that they did.
    """

    key: KeyRef
    known: bool
    not_confirmed_by: tuple[NodeName, ...] = ()

    table = ColumnTable("key", (field("key"),), wide=(field("known"),))

    def remarks(self) -> tuple[str, ...]:
        if not self.not_confirmed_by:
            return ()
        hosts = ", ".join(self.not_confirmed_by)
        return (f"not confirmed by {hosts}: each drops it when vCenter reaches it",)


class KnownKeyList(Answer, frozen=True, kw_only=True):
    """Every key that vCenter knows; nobody was asked whether it can be had."""

    items: tuple[KnownKey, ...]


class KeyAttribute(msgspec.Struct, frozen=True, kw_only=True):
    """One instance of an attribute that a client has set, its value as text."""

    name: str
    index: int
    value: str


class Key(Answer, frozen=True, kw_only=True):
    """A key's KMIP attributes at key server ``kms``; dates in Unix seconds of its clock.

    ``names`` by which people know it. ``attributes`` are the others that have no field here.
    """

    kms: NodeName
    key_id: KeyId
    state: KmipState
    algorithm: str
    length: int
    usage_mask: int
    initial_date: float
    activation_date: float | None
    deactivation_date: float | None
    compromise_date: float | None
    destroy_date: float | None
    last_change_date: float
    names: tuple[str, ...] = ()
    attributes: tuple[KeyAttribute, ...] = ()

    table = ColumnTable(
        "key_id",
        (field("key_id", "KEY"), field("kms"), field("state"), field("names")),
        wide=(
            field("algorithm"),
            field("length"),
            field("usage_mask"),
            field("initial_date"),
            field("activation_date"),
            field("deactivation_date"),
            field("compromise_date"),
            field("destroy_date"),
            field("last_change_date"),
            ("ATTRIBUTES", lambda key: [f"{one.name}: {one.value}" for one in key.attributes]),
        ),
    )


class KeyBackup(Answer, frozen=True, kw_only=True):
    """A backup that was taken of these key servers, or restored to them; all of them run."""

    backup: str
    kms: tuple[NodeName, ...]

    table = ColumnTable("backup", (field("backup"), field("kms")))


class KeyServer(Answer, frozen=True, kw_only=True):
    """A key server; ``keys``, their ``states`` and ``peer`` only while it runs.

    ``peer``: how it stands with the other of its pair, empty when it is in none [STD-01].
    ``rejects``: what it refuses clients because its administrator says so, and how often it has.
    ``root`` seals its keys, ``kek`` is the number of the KEK under which they are wrapped, and
    ``rewrapping`` of them still are under an older one, None when no rotation goes on.
    """

    kms: NodeName
    machine: MachineState
    keys: int | None = None
    states: dict[KmipState, int] = {}
    peer: str = ""
    rejects: str = ""
    root: RootKind | None = None
    kek: int | None = None
    rewrapping: int | None = None

    table = ColumnTable(
        "kms",
        (field("kms"), field("machine"), field("keys"), field("states"), field("peer")),
        wide=(field("root"), ("KEK", lambda server: server.describe_kek())),
        rare=(field("rejects"),),
    )

    def describe_kek(self) -> str | int | None:
        """The number of its KEK, and how many keys are under an older one."""
        return f"{self.kek}, {self.rewrapping} keys to re-wrap" if self.rewrapping else self.kek


class KeyServerList(Answer, frozen=True, kw_only=True):
    """Key servers in order of the topology."""

    items: tuple[KeyServer, ...]


class AuditList(Answer, frozen=True, kw_only=True):
    """A key server's audit rows, oldest first."""

    items: tuple[AuditRow, ...]

    table = ColumnTable(
        "sequence",
        (
            field("sequence", "NO"),
            ("TIME", lambda row: moment(row.at)),
            field("who"),
            field("operation"),
            field("key_id", "KEY"),
            (
                "RESULT",
                lambda row: row.result if row.times == 1 else f"{row.result}, {row.times} times",
            ),
        ),
        wide=(field("digest"),),
    )


def _day(end: float | None) -> str:
    """Of a Unix time, UTC."""
    return "" if end is None else datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d")


_UNTIL = ("UNTIL", lambda row: _day(row.end))
_DIGEST = ("DIGEST", lambda row: row.digest[:16])
"""Enough of that of a public key to know it by, at both ends."""


class KmsIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A client of a key server's KMIP endpoint; ``digest`` is the SHA-256 of its public key,
    ``end`` when its certificate expires (Unix seconds)."""

    client: str
    role: str
    scope: str
    revoked: bool
    end: float
    digest: str

    table = ColumnTable(
        "client",
        (field("client"), field("role"), field("scope"), field("revoked"), _UNTIL, _DIGEST),
    )


class KmsIdentityList(Answer, frozen=True, kw_only=True):
    """Clients of the key server ``kms``, which shows the certificate of this SHA-256, good until
    ``end`` (Unix seconds); ``digest`` is the SHA-256 of its public key."""

    kms: str
    fingerprint: str
    digest: str
    end: float
    items: tuple[KmsIdentity, ...]

    def remarks(self) -> tuple[str, ...]:
        return (f"{self.kms} shows the key {self.digest[:16]}, good until {_day(self.end)}",)


class ServerTrust(msgspec.Struct, frozen=True, kw_only=True):
    """Trust between vCenter and a server; None: not known. ``certificate`` (PEM) is what the server
    shows, of this SHA-256 (``fingerprint``), good until ``end`` (Unix seconds), and ``digest`` that
    of its public key; empty when it does not answer, for ``reason``.
    """

    server: str
    client_trust_server: bool | None = None
    server_trust_client: bool | None = None
    fingerprint: str = ""
    digest: str = ""
    end: float | None = None
    reason: str = ""
    certificate: str = ""

    table = ColumnTable(
        "server",
        (
            field("server"),
            field("client_trust_server", "CLIENT TRUSTS SERVER"),
            field("server_trust_client", "SERVER TRUSTS CLIENT"),
            _UNTIL,
            _DIGEST,
            field("reason"),
        ),
    )


class ProviderTrustList(Answer, frozen=True, kw_only=True):
    """The KMIP servers of a provider; vCenter shows them ``certificate`` (PEM), of this SHA-256,
    good until ``end`` (Unix seconds), but for one whose private key it has lost (``key_lost``).
    ``digest``: SHA-256 of its public key, by which key servers know vCenter."""

    provider: str
    fingerprint: str
    digest: str
    end: float
    certificate: str
    key_lost: bool = False
    items: tuple[ServerTrust, ...]

    def remarks(self) -> tuple[str, ...]:
        told = [f"vCenter shows the key {self.digest[:16]}, good until {_day(self.end)}"]
        if self.key_lost:
            told.append("vCenter has lost its private key: keystead provider renew-certificate")
        return tuple(told)


class SigningRequest(Answer, frozen=True, kw_only=True):
    """A ``request`` (PKCS#10 in PEM) for a certificate that vCenter shows the servers of a
    provider."""

    provider: str
    request: str
