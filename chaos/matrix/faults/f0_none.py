"""F0: nothing is wrong."""

from __future__ import annotations

from typing import ClassVar

from chaos.matrix.faults.base import StagedFault
from chaos.matrix.stored import find_unreachable
from chaos.oracle.terms import TableFault


class NothingWrong(StagedFault):
    """The undisturbed lab."""

    fault: ClassVar[TableFault] = TableFault.F0

    async def bites(self) -> str:
        """Everybody answers."""
        return await find_unreachable(self.scene)
