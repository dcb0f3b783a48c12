"""The faults of the table. Adding one: its class, and a line in the tuple here.

- ``base``      what every fault is to a play
- ``outages``   f0 to F4
- ``boots``     F5a, F5b, F6: what the next boot of a host meets
- ``key_loss``  f7 and F8
"""

from __future__ import annotations

from typing import Final

from chaos.matrix.faults.base import ReturningVcenter, StagedFault, until_healed
from chaos.matrix.faults.boots import OtherMeasure, PolicyViolated, TpmGone
from chaos.matrix.faults.key_loss import (
    DeletionRefused,
    KeyDestroyed,
    PrimaryKeyDestroyed,
    ProviderDeleted,
    ProviderMadeAnew,
)
from chaos.matrix.faults.outages import (
    KeyServersAway,
    NothingWrong,
    OutsideAway,
    TrustAuthorityAway,
    VcenterAway,
)
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
