"""What vCenter keeps of a cluster's vSAN encryption: ids, never a value."""

from __future__ import annotations

import msgspec

from protocol.terms import CryptoKeyId, ManagementType, NodeName, ProviderId
from protocol.vsan import ComponentKind, VsanChange, VsanTransitionState


class VsanKeys(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration: in force, or wished. The checks are of keys that hosts derive."""

    encryption_enabled: bool = False
    provider: ProviderId | None = None
    management_type: ManagementType = ManagementType.UNKNOWN
    kek: CryptoKeyId | None = None
    kek_check: str = ""
    host_key: CryptoKeyId | None = None
    host_key_check: str = ""
    dek_generation: int = 0
    erase_disks_before_use: bool = False


class VsanTransition(msgspec.Struct, frozen=True, kw_only=True):
    """A change that is on its way to ``target``."""

    change: VsanChange
    target: VsanKeys
    state: VsanTransitionState = VsanTransitionState.PREPARING
    allow_reduced_redundancy: bool = False


class VsanPlacement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a component of an object was put."""

    host: NodeName
    kind: ComponentKind


class VsanRow(msgspec.Struct, frozen=True, kw_only=True):
    """``operation``: the id of the change that was begun last, so that a repeat is the same one."""

    keys: VsanKeys = VsanKeys()
    transition: VsanTransition | None = None
    operation: str = ""
    objects: dict[str, tuple[VsanPlacement, ...]] = {}
