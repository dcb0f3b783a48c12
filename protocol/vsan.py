"""What vCenter and hosts exchange about an encrypted vSAN datastore, in vSAN's own terms."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from protocol.terms import CryptoKeyId, ManagementType, NodeName, ProviderId


class VsanTransitionState(StrEnum):
    """vsan DataEncryptionConfig: the progress of a change of encryption (VSAN-01)."""

    SETTLED = "settled"
    PREPARING = "preparing"  # hosts fetch the new keys; the change can still be cancelled
    PREPARED = "prepared"  # every host has them; the change can no longer be cancelled


class VsanChange(StrEnum):
    """The kind of a change of encryption."""

    ENABLE = "enable"
    DISABLE = "disable"
    SHALLOW_REKEY = "shallow rekey"
    DEEP_REKEY = "deep rekey"
    PROVIDER = "change of provider"


class VsanEncryptionIssue(StrEnum):
    """vsan encryption health issue, spelled as in the product (VSAN-14)."""

    KMS_INFO = "kmsinfoinconsistent"
    SERVER_CERTIFICATES = "servercertificatesinconsistent"
    CLIENT_CERTIFICATE = "clientcertificateinconsistent"
    CLIENT_KEY = "clientkeyinconsistent"
    KEK = "keyencryptionkeyinconsistent"
    DEK = "dataencryptionkeyinconsistent"
    HOST_KEY = "hostkeyinconsistent"
    HOST_KEY_NOT_AVAILABLE = "hostkeynotavailable"
    KEK_NOT_AVAILABLE = "keknotavailable"
    ENABLED_WHEN_CLUSTER_DISABLED = "enabledwhenclusterdisabled"
    DISABLED_WHEN_CLUSTER_ENABLED = "disabledwhenclusterenabled"
    ERASE_DISKS = "erasedisksbeforeuseinconsistent"


class VsanHealthState(StrEnum):
    """The colour of a health test."""

    GREEN = "green"
    YELLOW = "yellow"
    RED = "red"
    UNKNOWN = "unknown"


class ComponentKind(StrEnum):
    """A component of an object: a whole replica, or a witness without data."""

    REPLICA = "replica"
    WITNESS = "witness"


class ComponentState(StrEnum):
    """The state of a component; ``absent`` when its disk group is not mounted."""

    ACTIVE = "active"
    ABSENT = "absent"
    STALE = "stale"  # its blocks are stale or missing, until another replica provides them


class VsanKeyServer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key server of the KMS profile, which hosts ask themselves.

    ``address``: ``kmip://NODE`` or ``kmip://HOST:PORT``; empty: its node, over the bus.
    """

    name: str
    node: NodeName
    address: str = ""


class VsanGroupKek(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The KEK of one disk group (C3). ``kek_check``: its check value, if the host derives it."""

    group: str
    kek_id: CryptoKeyId
    kek_check: str = ""


class VsanEncryption(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What vCenter gives to each host of a cluster: the KMS profile and key *ids* (VSAN-01).

    ``kek_check`` and ``host_key_check``: check values of keys that hosts derive. ``servers`` is
    empty when the provider has none, or was deleted. ``group_keks``: the KEKs of the receiving
    host's disk groups, when each group has its own; ``kek_id`` is None then. ``dek_generation_id``:
    data encryption keys of a lower generation are to be replaced. ``members``: the hosts of the
    cluster, which may ask each other for replicas. ``trusted``: certificates (DER); over KMIP, a
    server's certificate must lead to one of them (STD-06).
    """

    encryption_enabled: bool = False
    kms_provider_id: ProviderId | None = None
    management_type: ManagementType = ManagementType.UNKNOWN
    servers: tuple[VsanKeyServer, ...] = ()
    kek_id: CryptoKeyId | None = None
    kek_check: str = ""
    group_keks: tuple[VsanGroupKek, ...] = ()
    host_key_id: CryptoKeyId | None = None
    host_key_check: str = ""
    dek_generation_id: int = 0
    erase_disks_before_use: bool = False
    members: tuple[NodeName, ...] = ()
    trusted: tuple[bytes, ...] = ()

    def kek_of(self, group: str) -> CryptoKeyId | None:
        """The KEK of a disk group; None when it has none."""
        own = next((one.kek_id for one in self.group_keks if one.group == group), None)
        return own or self.kek_id

    def keks(self) -> dict[CryptoKeyId, str]:
        """Every KEK of this configuration with its check value."""
        found = {one.kek_id: one.kek_check for one in self.group_keks}
        return found if self.kek_id is None else {self.kek_id: self.kek_check, **found}


class VsanPlacement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a component of an object is placed."""

    host: NodeName
    kind: ComponentKind


class VsanComponent(msgspec.Struct, frozen=True, kw_only=True):
    """A component on a disk of a host; ``state`` as far as the host can tell. ``stamp``: the number
    of the last write that it has."""

    object: str
    kind: ComponentKind
    state: ComponentState
    disk: str
    blocks: int = 0
    stamp: int = 0


class VsanDisk(msgspec.Struct, frozen=True, kw_only=True):
    """A disk of a disk group, as its own label says. ``kek_id``: the key that wraps its DEK."""

    disk: str
    encrypted: bool = False
    kek_id: CryptoKeyId | None = None
    dek_generation_id: int = 0


class VsanDiskGroup(msgspec.Struct, frozen=True, kw_only=True):
    """A disk group of a host; ``why`` it is not mounted."""

    group: str
    mounted: bool
    why: str = ""
    disks: tuple[VsanDisk, ...] = ()
    components: tuple[VsanComponent, ...] = ()
