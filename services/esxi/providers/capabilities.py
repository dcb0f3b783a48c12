"""What a host does for each management type of key provider. Pure.

| | vCenter, unknown | trustAuthority | nativeProvider |
|---|---|---|---|
| where a key comes from | vCenter brings it | a Key Provider Service | derived from the KDK |
| makes a key when vCenter names none (KEY-02) | no | yes | yes |
| vCenter is asked for a missing key | yes | no: it has none (TA-06) | yes: for the KDK (NKP-15) |
| persistence without a TPM (KP-01, KP-06) | no | no | by knob |
| why a key is not there (STD-20) | MissingInCache | ManagedByTrustAuthority | ManagedByNKP |
| who manages its keys (HEM-08) | external; unknown | external | internal |

``unknown`` is also what a host assumes of a provider that its list does not name: a standard
provider needs no presence on hosts (NKP-09).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, assert_never

from protocol.terms import KeyManagement, KeyUnavailableReason, ManagementType


class KeySource(StrEnum):
    """Where a host gets a key from that is neither cached nor stored."""

    VCENTER = "vCenter brings it"
    KEY_PROVIDER_SERVICE = "the host asks a Key Provider Service"
    DERIVATION = "the host derives it from the KDK"


@dataclass(frozen=True, slots=True)
class HostCapability:
    """One column of the table above.

    ``makes_keys``: the host makes the key when ``ReconfigureVm`` names none. ``rings_vcenter``: the
    host rings vCenter for a missing key. ``unavailable``: the reason that the host reports for a
    missing key of such a provider. ``management``: who manages its keys, in a key's status
    (HEM-08).
    """

    source: KeySource
    makes_keys: bool
    rings_vcenter: bool
    persists_without_tpm: bool
    unavailable: KeyUnavailableReason
    management: KeyManagement


_STANDARD: Final = HostCapability(
    source=KeySource.VCENTER,
    makes_keys=False,
    rings_vcenter=True,
    persists_without_tpm=False,
    unavailable=KeyUnavailableReason.MISSING_IN_CACHE,
    management=KeyManagement.EXTERNAL,
)
_UNLISTED: Final = replace(_STANDARD, management=KeyManagement.UNKNOWN)
_TRUSTED: Final = HostCapability(
    source=KeySource.KEY_PROVIDER_SERVICE,
    makes_keys=True,
    rings_vcenter=False,
    persists_without_tpm=False,
    unavailable=KeyUnavailableReason.MANAGED_BY_TRUST_AUTHORITY,
    management=KeyManagement.EXTERNAL,
)
_NATIVE: Final = HostCapability(
    source=KeySource.DERIVATION,
    makes_keys=True,
    rings_vcenter=True,
    persists_without_tpm=True,
    unavailable=KeyUnavailableReason.MANAGED_BY_NKP,
    management=KeyManagement.INTERNAL,
)


def capability(management_type: ManagementType) -> HostCapability:
    """What a host does for a provider of this management type."""
    match management_type:
        case ManagementType.VCENTER:
            return _STANDARD
        case ManagementType.UNKNOWN:
            return _UNLISTED
        case ManagementType.TRUST_AUTHORITY:
            return _TRUSTED
        case ManagementType.NATIVE_PROVIDER:
            return _NATIVE
        case _:
            assert_never(management_type)
