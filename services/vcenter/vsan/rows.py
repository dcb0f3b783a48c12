"""The rows of a cluster's vSAN encryption: ids, never a value."""

from __future__ import annotations

import msgspec

from protocol.terms import CryptoKeyId, ManagementType, NodeName, ProviderId
from protocol.vsan import VsanChange, VsanPlacement, VsanTransitionState


class VsanGroupKey(msgspec.Struct, frozen=True, kw_only=True):
    """The KEK of one disk group of a host (C3)."""

    host: NodeName
    group: str
    kek: CryptoKeyId
    kek_check: str = ""


class VsanKeys(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration, in force or desired. The checks are of derived keys.

    ``per_group``: each disk group has a KEK of its own, in ``group_keks``; there is no ``kek``.
    """

    encryption_enabled: bool = False
    provider: ProviderId | None = None
    management_type: ManagementType = ManagementType.UNKNOWN
    kek: CryptoKeyId | None = None
    kek_check: str = ""
    per_group: bool = False
    group_keks: tuple[VsanGroupKey, ...] = ()
    host_key: CryptoKeyId | None = None
    host_key_check: str = ""
    dek_generation: int = 0
    erase_disks_before_use: bool = False

    def list_keys(self) -> tuple[CryptoKeyId, ...]:
        """Every key of this configuration."""
        keks = (self.kek, *(one.kek for one in self.group_keks))
        return tuple(key for key in (*keks, self.host_key) if key is not None)

    def covers(self, host: NodeName, group: str) -> bool:
        """Whether this group needs no key that does not exist yet."""
        if not self.encryption_enabled or not self.per_group:
            return True
        return any((one.host, one.group) == (host, group) for one in self.group_keks)


class VsanTransition(msgspec.Struct, frozen=True, kw_only=True):
    """A change to ``target`` in progress."""

    change: VsanChange
    target: VsanKeys
    state: VsanTransitionState = VsanTransitionState.PREPARING
    allow_reduced_redundancy: bool = False


class VsanRow(msgspec.Struct, frozen=True, kw_only=True):
    """``operation``: the id of the latest change, by which a repeat is recognised.
    ``allow_reduced_redundancy``: as for the last deep rekey, for hosts that it has left out (C25).
    ``unmade``: by object, the hosts that may never have had its component."""

    keys: VsanKeys = VsanKeys()
    transition: VsanTransition | None = None
    operation: str = ""
    allow_reduced_redundancy: bool = False
    objects: dict[str, tuple[VsanPlacement, ...]] = {}
    unmade: dict[str, tuple[NodeName, ...]] = {}

    def list_keys(self) -> tuple[CryptoKeyId, ...]:
        """The keys in force and those of a change in progress, each once."""
        target = () if self.transition is None else self.transition.target.list_keys()
        return tuple(dict.fromkeys((*self.keys.list_keys(), *target)))

    def users_of(self, key: CryptoKeyId) -> tuple[NodeName, ...] | None:
        """The hosts that use this key alone for their disk groups; None: every host (C3)."""
        keys = (self.keys, *(() if self.transition is None else (self.transition.target,)))
        own = [one.host for each in keys for one in each.group_keks if one.kek == key]
        return tuple(dict.fromkeys(own)) or None
