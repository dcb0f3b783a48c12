"""Names and enumerations of the field; every value is spelled as in the product."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

import msgspec

NodeName = NewType("NodeName", str)
CLIENT = NodeName("client")
"""Stands for all clients of the vSphere APIs where the ends of a link are named."""
KeyId = NewType("KeyId", str)
ProviderId = NewType("ProviderId", str)
VmName = NewType("VmName", str)
ClusterName = NewType("ClusterName", str)


class Role(StrEnum):
    """The role of a node."""

    VCENTER = "vcenter"
    KMS = "kms"
    ESXI = "esxi"
    ATTESTATION = "attestation"
    KEYPROVIDER = "keyprovider"


class ManagementType(StrEnum):
    """KmipClusterInfo.managementType: who manages a key provider."""

    UNKNOWN = "unknown"
    VCENTER = "vCenter"  # the standard key provider
    TRUST_AUTHORITY = "trustAuthority"
    NATIVE_PROVIDER = "nativeProvider"


class KeyManagement(StrEnum):
    """CryptoManagerHostKeyManagementType: where a host's key is managed (HEM-08)."""

    UNKNOWN = "unknown"
    INTERNAL = "internal"  # the host derives it
    EXTERNAL = "external"  # it comes from outside


class ProviderHealth(StrEnum):
    """Health of a key provider in vCenter's REST interface (NKP-01)."""

    NONE = "NONE"  # unknown: this vCenter does not determine it
    OK = "OK"
    WARNING = "WARNING"  # it works, but needs attention
    ERROR = "ERROR"


class HostCryptoState(StrEnum):
    """HostSystem.runtime.cryptoState [HEM-01]."""

    INCAPABLE = "incapable"
    PREPARED = "prepared"
    SAFE = "safe"
    PENDING_INCAPABLE = "pendingIncapable"


class VmCryptoState(StrEnum):
    """VirtualMachine.runtime.cryptoState; absent (None) on an unencrypted VM."""

    UNLOCKED = "unlocked"
    LOCKED = "locked"


class MigrateEncryption(StrEnum):
    """VirtualMachine.config.migrateEncryption: whether a VM's memory travels encrypted (MOB-02)."""

    DISABLED = "disabled"
    OPPORTUNISTIC = "opportunistic"
    REQUIRED = "required"


class PowerState(StrEnum):
    """VirtualMachine.runtime.powerState."""

    ON = "poweredOn"
    OFF = "poweredOff"


class VmConnectionState(StrEnum):
    """VirtualMachine.runtime.connectionState; ``invalid`` is LOCK-02.

    ``orphaned``: it is no longer registered on the host that vCenter has it on.
    """

    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    ORPHANED = "orphaned"
    INVALID = "invalid"


class HostConnectionState(StrEnum):
    """HostSystem.runtime.connectionState as vCenter sees it."""

    CONNECTED = "connected"
    NOT_RESPONDING = "notResponding"
    DISCONNECTED = "disconnected"


class AttestationStatus(StrEnum):
    """HostTpmAttestationInfo.AcceptanceStatus: what vCenter makes of a host's TPM (ATT-09)."""

    ACCEPTED = "accepted"
    NOT_ACCEPTED = "notAccepted"


class CryptoMode(StrEnum):
    """ClusterCryptoConfigInfo.cryptoMode: which hosts of a cluster are kept safe (HEM-05)."""

    ON_DEMAND = "onDemand"
    FORCE_ENABLE = "forceEnable"


class DrsBehavior(StrEnum):
    """ClusterDrsConfigInfo.defaultVmBehavior: how far DRS acts by itself. Load balancing of running
    VMs, in which ``fullyAutomated`` goes further than ``partiallyAutomated``, is not implemented.
    """

    MANUAL = "manual"  # manual: a VM is powered on where it is registered
    PARTIALLY_AUTOMATED = "partiallyAutomated"  # chooses the host at power-on
    FULLY_AUTOMATED = "fullyAutomated"  # also evacuates a host that enters maintenance mode


class ProtectionMode(StrEnum):
    """How a host protects its configuration archive: ``esxcli ... encryption get`` Mode."""

    NONE = "NONE"
    TPM = "TPM"


class RootKind(StrEnum):
    """What opens a key server's key ring, and with it everything on its disk."""

    KEYFILE = "keyfile"
    PASSPHRASE = "passphrase"
    TPM = "tpm"


class KmipState(StrEnum):
    """KMIP State attribute of a managed object."""

    PRE_ACTIVE = "Pre-Active"
    ACTIVE = "Active"
    DEACTIVATED = "Deactivated"
    COMPROMISED = "Compromised"
    DESTROYED = "Destroyed"
    DESTROYED_COMPROMISED = "Destroyed Compromised"


class RevocationReason(StrEnum):
    """KMIP Revocation Reason Code."""

    UNSPECIFIED = "Unspecified"
    KEY_COMPROMISE = "Key Compromise"
    CA_COMPROMISE = "CA Compromise"
    AFFILIATION_CHANGED = "Affiliation Changed"
    SUPERSEDED = "Superseded"
    CESSATION_OF_OPERATION = "Cessation of Operation"
    PRIVILEGE_WITHDRAWN = "Privilege Withdrawn"


class ResultReason(StrEnum):
    """KMIP Result Reason (KMIP 1.4 section 9.1.3.2.29; the lifecycle one is KMIP 2.0's)."""

    ITEM_NOT_FOUND = "Item Not Found"
    RESPONSE_TOO_LARGE = "Response Too Large"
    INVALID_MESSAGE = "Invalid Message"
    INVALID_FIELD = "Invalid Field"
    OPERATION_NOT_SUPPORTED = "Operation Not Supported"
    FEATURE_NOT_SUPPORTED = "Feature Not Supported"
    KEY_FORMAT_TYPE_NOT_SUPPORTED = "Key Format Type Not Supported"
    KEY_COMPRESSION_TYPE_NOT_SUPPORTED = "Key Compression Type Not Supported"
    CRYPTOGRAPHIC_FAILURE = "Cryptographic Failure"
    ILLEGAL_OPERATION = "Illegal Operation"
    AUTHENTICATION_NOT_SUCCESSFUL = "Authentication Not Successful"
    PERMISSION_DENIED = "Permission Denied"
    INDEX_OUT_OF_BOUNDS = "Index Out of Bounds"
    WRONG_KEY_LIFECYCLE_STATE = "Wrong Key Lifecycle State"
    ENCODING_OPTION_ERROR = "Encoding Option Error"
    SENSITIVE = "Sensitive"
    NOT_EXTRACTABLE = "Not Extractable"
    GENERAL_FAILURE = "General Failure"


class KeyKind(StrEnum):
    """What a host's key is for. (vim25 has no term for it.)"""

    VM = "vm"  # a KEK of VMs
    HOST = "host"  # the host key: core dumps, and what makes the host safe
    VSAN = "vsan"  # a KEK of the encrypted vSAN datastore
    KDK = "kdk"  # the key derivation key of a native provider


class KeyType(StrEnum):
    """KmipClusterInfo.KeyType: what a standard provider makes for a new key (KEY-07)."""

    RAW = "rawKey"  # the key itself is at the key server
    WRAPPED = "wrappedKey"  # its wrapping key is, and the key is in its own id


class KeyUnavailableReason(StrEnum):
    """CryptoKeyStatus.reason (STD-20); the last two since 9.0 (KEY-09)."""

    MISSING_IN_CACHE = "KeyStateMissingInCache"
    CLUSTER_INVALID = "KeyStateClusterInvalid"
    CLUSTER_UNREACHABLE = "KeyStateClusterUnreachable"
    MISSING_IN_KMS = "KeyStateMissingInKMS"
    NOT_ACTIVE_OR_ENABLED = "KeyStateNotActiveOrEnabled"
    MANAGED_BY_TRUST_AUTHORITY = "KeyStateManagedByTrustAuthority"
    MANAGED_BY_NKP = "KeyStateManagedByNKP"
    WRAPPING_KEY_MISSING_IN_KMS = "WrappingKeyMissingInKMS"
    WRAPPING_KEY_NOT_ACTIVE_OR_ENABLED = "WrappingKeyNotActiveOrEnabled"


class CryptoKeyId(msgspec.Struct, frozen=True, order=True):
    """vim25 CryptoKeyId: a key is a provider *name* plus an id (KEY-01)."""

    key_id: KeyId
    provider_id: ProviderId

    def __str__(self) -> str:
        return f"{self.provider_id}/{self.key_id}"
