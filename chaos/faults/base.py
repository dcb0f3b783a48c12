"""What every fault is: an interval with a bite check, a verified heal, and perhaps a cure.

Adding a fault: one file in this folder, one line in the tuple of ``chaos.faults``.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from chaos.lab import Lab
from protocol.terms import NodeName


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault with its parameters resolved: concrete node names, lab seconds.

    ``kind`` is its name in files and commands (``link.cut``). ``id`` is unique in the lab.
    """

    kind: ClassVar[str]
    reversible: ClassVar[bool] = True
    id: str

    def touches(self) -> tuple[NodeName, ...]:
        """Nodes it acts on, for the blast radius and ``describe``."""
        raise NotImplementedError

    def summary(self) -> str:
        """One line for ``keystead faults``."""
        raise NotImplementedError

    async def begin(self, lab: Lab, until: float) -> dict[str, Any]:
        """Make it so; link rules carry the lease ``until``. Returns notes that heal needs
        (plain values, they are kept in the lab's state and survive the controller)."""
        raise NotImplementedError

    async def renew(self, lab: Lab, until: float) -> None:
        """Carry the lease on; only link faults have something to do."""

    async def bites(self, lab: Lab, notes: dict[str, Any]) -> str:
        """Empty when it really happens; else what was seen instead."""
        raise NotImplementedError

    async def heal(self, lab: Lab, notes: dict[str, Any]) -> None:
        """Take it back. An irreversible one has nothing to do here; see ``cure``."""
        raise NotImplementedError

    async def healed(self, lab: Lab, notes: dict[str, Any]) -> str:
        """Empty when it is really gone; else what was seen instead."""
        raise NotImplementedError

    def cure_text(self) -> str:
        """For an irreversible one: what a person must do."""
        return ""

    async def cure(self, lab: Lab, notes: dict[str, Any]) -> None:
        """For an irreversible one: do it."""
