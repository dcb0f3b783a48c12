"""The faults of the table. Adding one: its class, and a line in the tuple here.

- ``base``            what every fault is to a play
- ``f0_none``         nothing is wrong
- ``f1_key_servers``  no key server of the provider can be reached
- ``f2_vcenter``      vCenter is down
- ``f3_trust_authority`` no service of the Trust Authority is up
- ``f4_outside``      everything outside of the hosts is down
- ``boots``           F5a, F5b, F6: what the next boot of a host meets
- ``f7_provider``     the provider is deleted
- ``f8_key``          the key is gone at its source
- ``f8_primary_key``  the same where keys are a Trust Authority's: its provider's primary key
- ``f8_provider``     the same where hosts derive keys: another KDK under the provider's name
- ``pushes``          what vCenter brings to hosts is lost
"""

from __future__ import annotations

from typing import Final

from chaos.matrix.faults.base import ReturningVcenter, StagedFault, until_healed
from chaos.matrix.faults.boots import OtherMeasure, PolicyViolated, TpmGone
from chaos.matrix.faults.f0_none import NothingWrong
from chaos.matrix.faults.f1_key_servers import KeyServersAway
from chaos.matrix.faults.f2_vcenter import VcenterAway
from chaos.matrix.faults.f3_trust_authority import TrustAuthorityAway
from chaos.matrix.faults.f4_outside import OutsideAway
from chaos.matrix.faults.f7_provider import DeletionRefused, ProviderDeleted
from chaos.matrix.faults.f8_key import KeyDestroyed
from chaos.matrix.faults.f8_primary_key import PrimaryKeyDestroyed
from chaos.matrix.faults.f8_provider import ProviderMadeAnew
from chaos.matrix.scene import StagingScene
from chaos.matrix.terms import Variant, is_native, is_sealed, is_trusted
from chaos.oracle.terms import Block, TableFault

__all__ = [
    "FAULTS",
    "ReturningVcenter",
    "StagedFault",
    "fault_of",
    "until_healed",
    "variants_of",
]

_FAULTS: Final[tuple[type[StagedFault], ...]] = (
    NothingWrong,
    KeyServersAway,
    VcenterAway,
    TrustAuthorityAway,
    OutsideAway,
    PolicyViolated,
    OtherMeasure,
    TpmGone,
    ProviderDeleted,
    KeyDestroyed,
)
FAULTS: Final[dict[TableFault, type[StagedFault]]] = {kind.fault: kind for kind in _FAULTS}
"""Every fault that is built, by its name in the table."""


_NATIVE: Final[dict[TableFault, type[StagedFault]]] = {TableFault.F8: ProviderMadeAnew}
"""Faults that are made in another way where hosts derive keys."""
_TRUSTED: Final[dict[TableFault, type[StagedFault]]] = {TableFault.F8: PrimaryKeyDestroyed}
"""The same where keys are a Trust Authority's."""


def fault_of(scene: StagingScene) -> StagedFault:
    """The fault of this staging, not begun yet."""
    if scene.fault is TableFault.F7 and DeletionRefused.holds(scene):
        return DeletionRefused(scene)
    others = _NATIVE if scene.native else _TRUSTED if scene.trusted else {}
    return others.get(scene.fault, FAULTS[scene.fault])(scene)


def variants_of(block: Block, fault: TableFault) -> tuple[Variant, ...]:
    """Every way in which the fault is made in that block, the usual one first."""
    without: tuple[Variant, ...] = () if is_sealed(block) else (Variant.TPM_DISABLED,)
    if fault is TableFault.F8 and is_native(block):
        return (Variant.USUAL,)  # the states of a key are a key server's
    if is_trusted(block):
        if fault is TableFault.F8:
            return (Variant.USUAL,)
        without = (*without, Variant.FIRMWARE)  # it is the build that is attested
    return tuple(way for way in FAULTS[fault].variants if way not in without)
