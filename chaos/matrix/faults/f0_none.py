"""F0: nothing is wrong."""

from __future__ import annotations

from typing import ClassVar

from chaos.matrix.faults.base import StagedFault
from chaos.oracle.terms import Fault


class NothingWrong(StagedFault):
    """The undisturbed lab."""

    fault: ClassVar[Fault] = Fault.F0
