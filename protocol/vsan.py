"""What vCenter and hosts say to each other of an encrypted vSAN datastore, in vSAN's own words."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from protocol.terms import CryptoKeyId, ManagementType, NodeName, ProviderId


class VsanTransitionState(StrEnum):
    """vsan DataEncryptionConfig: how far a change of encryption is (VSAN-01)."""

    SETTLED = "settled"
    PREPARING = "preparing"  # hosts fetch the new keys; it may still be given up
    PREPARED = "prepared"  # every host has them; from now on it only goes forward


class VsanChange(StrEnum):
    """What a change of encryption is."""

    ENABLE = "enable"
    DISABLE = "disable"
    SHALLOW_REKEY = "shallow rekey"
    DEEP_REKEY = "deep rekey"
    PROVIDER = "change of provider"


class VsanEncryptionIssue(StrEnum):
    """vsan encryption health issue, spelled as the product spells it (VSAN-14)."""

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
    """What a component of an object is: a whole copy of it, or a vote without data."""

    REPLICA = "replica"
    WITNESS = "witness"


class ComponentState(StrEnum):
    """How a component is: one whose disk group is not mounted is ``absent``."""

    ACTIVE = "active"
    ABSENT = "absent"
    STALE = "stale"  # its blocks have yet to come from another replica, or are of an older write


class VsanKeyServer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key server of the KMS profile that hosts ask themselves.

    ``address``: ``kmip://NODE`` or ``kmip://HOST:PORT``; empty: its node, over the bus.
    """

    name: str
    node: NodeName
    address: str = ""


class VsanGroupKek(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The KEK of one disk group (C3). ``kek_check``: of one that the host derives."""

    group: str
    kek_id: CryptoKeyId
    kek_check: str = ""


class VsanEncryption(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What vCenter hands to each host of a cluster: the KMS profile and key *ids* (VSAN-01).

    ``kek_check`` and ``host_key_check``: check values of keys that hosts derive. ``servers`` is
    empty when the provider has none, or was deleted. ``group_keks``: of the disk groups of the host
    that is told, when each group has a KEK of its own; ``kek_id`` is None then.
    ``dek_generation_id``: data encryption keys
    of a lower generation are to be made anew. ``members``: the hosts of the cluster, which
    may ask each other for replicas. ``trusted``: certificates (DER) to one of which that of a
    server that is asked by KMIP must lead (STD-06).
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
    """Where a component of an object was put."""

    host: NodeName
    kind: ComponentKind


class VsanComponent(msgspec.Struct, frozen=True, kw_only=True):
    """A component on a disk of a host; ``state`` as far as the host itself can tell. ``stamp``: the
    number of the last write that it has seen."""

    object: str
    kind: ComponentKind
    state: ComponentState
    disk: str
    blocks: int = 0
    stamp: int = 0


class VsanDisk(msgspec.Struct, frozen=True, kw_only=True):
    """A disk of a disk group, as its own label says. ``kek_id``: under which its key is wrapped."""

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
