"""The words of a play that are no words of the truth table."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from chaos.oracle.table import Cell, cell
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault

UNCLEAR: Final = "??"
"""The letter of evidence that fits none: it never agrees."""


OF_HOSTS: Final = frozenset({TableFault.F5A, TableFault.F5B, TableFault.F6})
"""Faults of single hosts, which their next boot meets."""


def is_native(block: Block) -> bool:
    """Whether hosts derive the keys of this block's provider."""
    return block in (Block.N0X, Block.N1X)


def is_trusted(block: Block) -> bool:
    """Whether hosts of this block get their keys at a Trust Authority."""
    return block in (Block.T10, Block.T11)


def is_sealed(block: Block) -> bool:
    """Whether hosts of this block have a TPM that seals their configuration."""
    return block.value[1] == "1"


Knobs = tuple[tuple[str, str], ...]
"""Knobs of a lab that are not as usual, each with its value."""


class CellPlace(msgspec.Struct, frozen=True):
    """Where in the table cells stand; ``letter`` with its ``reasons``: what they come to there in a
    lab outside of the grid, where no cell of the table is of these reasons."""

    block: Block
    fault: TableFault
    letter: Letter | None = None
    reasons: tuple[int, ...] = ()

    def cell(self, event: TableEvent) -> Cell:
        """What this event is compared with."""
        found = cell(self.block, self.fault, event)
        if self.letter is None:
            return found
        return msgspec.structs.replace(found, letter=self.letter, reasons=self.reasons)


class Actor(StrEnum):
    """What a host of a staging is there for."""

    A = "A"  # warm: the judged VM lives here; it is not rebooted
    B = "B"  # is rebooted under the fault
    C = "C"  # warm, with the key
    D = "D"  # safe and connected, without the key
    N = "N"  # to be added: it was never in this inventory
    SOURCE = "source"  # loses its power
    V2 = "V2"  # has the other replica of what lies on B's vSAN disks
    V3 = "V3"  # has the third vote


class Boot(StrEnum):
    """How a host goes down before the boot that is judged."""

    ORDERLY = "orderly"
    POWER_LOSS = "power_loss"

    @property
    def way(self) -> str:
        """The same as ``chaos.lab.LabUnderTest.power_off`` calls it."""
        return "stop" if self is Boot.ORDERLY else self.value


class Variant(StrEnum):
    """Another way in which a fault is made; each has the letters of its first way."""

    USUAL = ""
    SERVERS_OFF = "servers-off"
    LINKS_CUT = "links-cut"
    EXEC_OPTION = "exec-option"
    TPM_DISABLED = "tpm-disabled"
    FIRMWARE = "firmware"
    REPLACED = "replaced"
    DEAD = "dead"
    DEACTIVATED = "deactivated"
    COMPROMISED = "compromised"


class VmKind(StrEnum):
    """What a VM of a staging is."""

    RUN = "run"  # encrypted, running
    OFF = "off"  # encrypted, off; it was on once on its host since that host's boot
    CLEAR = "clear"  # not encrypted, off: what no fault but a screen keeps from running


class Agreement(StrEnum):
    """What comes of comparing a letter with the table's."""

    AGREE = "agree"
    DISAGREE = "disagree"
    VOID = "void"  # the play itself failed: a precondition, a bite check or a heal check
