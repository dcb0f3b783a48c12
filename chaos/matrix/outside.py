"""Rows outside of the grid: cells played in a lab that is a little different.

A *row* has plays: cells of a block and a fault, with a *twist* (``twists``). Each must come out as
the cells of the same place of the table, or of another one, say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from chaos.matrix.compare import CellRow
from chaos.matrix.events import EVENTS
from chaos.matrix.grid import BLOCKS, Staging, stagings_together
from chaos.matrix.terms import Agreement, Boot, CellPlace, is_native, is_sealed, is_trusted
from chaos.oracle.table import Cell
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault

ALL: Final = tuple(EVENTS)
AFTER_BOOT: Final = (TableEvent.E2, TableEvent.E4)
SERVED: Final = (
    TableEvent.E2,
    TableEvent.E3,
    TableEvent.E4,
    TableEvent.E6,
    TableEvent.E8,
    TableEvent.E9,
)
"""What a Key Provider Service is needed for, or a key in a cache is enough for."""


TAKES_PART: Final = (
    TableEvent.E2,
    TableEvent.E3,
    TableEvent.E4,
    TableEvent.E7,
    TableEvent.E9,
    TableEvent.E10,
)
"""What hosts of a cluster do of which another is left out."""


class OutsidePlay(msgspec.Struct, frozen=True):
    """Cells of ``block`` and ``fault`` with the twist of that name, which must be as those of
    ``as_block`` and ``as_fault`` (None: of their own place), or have the ``letter`` for these
    ``reasons``. ``expired``: when tokens of before the fault have expired. ``boot``: hosts go down
    in that way only."""

    block: Block
    fault: TableFault
    events: tuple[TableEvent, ...]
    twist: str = ""
    as_block: Block | None = None
    as_fault: TableFault | None = None
    expired: bool = False
    boot: Boot | None = None
    letter: Letter | None = None
    reasons: tuple[int, ...] = ()

    @property
    def seen_as(self) -> CellPlace:
        """Where the cells that it is compared with stand."""
        place = (self.as_block or self.block, self.as_fault or self.fault)
        return CellPlace(*place, self.letter, self.reasons)

    def cells(self) -> tuple[Cell, ...]:
        """What it is compared with: cells that apply, of events that are built."""
        found = (self.seen_as.cell(event) for event in self.events)
        return tuple(one for one in found if one.letter is not Letter.NONE)

    def stagings(self, row: str) -> tuple[Staging, ...]:
        """The labs in which it is played."""
        events = tuple(one.event for one in self.cells())
        made = stagings_together(self.block, self.fault, events, alone=False)
        return tuple(
            msgspec.structs.replace(
                one,
                outside=row,
                twist=self.twist,
                seen_as=self.seen_as,
                expired=self.expired or one.expired,
            )
            for one in made
            if self.boot in (None, one.boot)
        )


class OutsideRow(msgspec.Struct, frozen=True, kw_only=True):
    """``id`` as the table's page has it."""

    id: str
    title: str
    plays: tuple[OutsidePlay, ...]


class RowPlayed(msgspec.Struct, frozen=True, kw_only=True):
    """A row outside of the grid: its cells as they were played, each compared with the one that it
    must be as."""

    id: str
    title: str
    verdict: Agreement
    cells: tuple[CellRow, ...]


class Rows(msgspec.Struct, frozen=True):
    """What came of a run, in the order of the rows."""

    rows: tuple[RowPlayed, ...]


def _expect_refusal(fault: TableFault, events: tuple[TableEvent, ...], twist: str) -> OutsidePlay:
    """By a host that takes no part in its provider."""
    return OutsidePlay(Block.N1X, fault, events, twist, letter=Letter.NO, reasons=(57,))


_IN_CLEAR: Final = (TableEvent.E1, TableEvent.E3, TableEvent.E4, TableEvent.E5)
_OF_KEYS: Final = (
    TableFault.F1,
    TableFault.F2,
    TableFault.F3,
    TableFault.F4,
    TableFault.F7,
    TableFault.F8,
)


def _in_clear() -> Iterator[OutsidePlay]:
    """VMs without encryption: under what befalls keys as without a fault; as the table says under
    what stops a host; and on one that is refused for its image."""
    for block in BLOCKS:
        for fault in _OF_KEYS:
            told_apart = is_native(block) and fault is TableFault.F8  # of two VMs, one never used
            if (fault is not TableFault.F3 or is_trusted(block)) and not told_apart:
                yield OutsidePlay(block, fault, _IN_CLEAR, "in-clear", as_fault=TableFault.F0)
        for fault in (TableFault.F5A, TableFault.F6) if is_sealed(block) else ():
            yield OutsidePlay(block, fault, (TableEvent.E5,), "in-clear")
        if is_trusted(block):
            yield OutsidePlay(
                block, TableFault.F5B, (TableEvent.E4,), "in-clear", as_fault=TableFault.F0
            )


ROWS: Final = (
    OutsideRow(
        id="X01",
        title="key persistence is asked for on a host without a TPM",
        plays=(OutsidePlay(Block.S00, TableFault.F1, AFTER_BOOT, "enable-refused"),),
    ),
    OutsideRow(
        id="X02",
        title="keys that came after the last hourly save",
        plays=(
            OutsidePlay(Block.S11, TableFault.F1, AFTER_BOOT, "hourly-saves"),
            OutsidePlay(
                Block.S11,
                TableFault.F1,
                (TableEvent.E4,),
                "late-key",
                as_block=Block.S10,
                boot=Boot.POWER_LOSS,
            ),
            OutsidePlay(Block.S11, TableFault.F1, (TableEvent.E4,), "immediate-saves"),
        ),
    ),
    OutsideRow(
        id="X03",
        title="a host was off while a VM was made",
        plays=tuple(
            OutsidePlay(Block.S11, fault, (TableEvent.E5, TableEvent.E6), "target-was-off")
            for fault in (TableFault.F4, TableFault.F1)
        ),
    ),
    OutsideRow(
        id="X04",
        title="persistence of 7.0 U2 and encrypted vSAN",
        plays=(
            OutsidePlay(
                Block.S11, TableFault.F1, (TableEvent.E12,), "hosts-7.0U2", as_block=Block.S10
            ),
            OutsidePlay(
                Block.S11, TableFault.F4, (TableEvent.E12,), "hosts-7.0U2", as_block=Block.S10
            ),
            OutsidePlay(Block.S11, TableFault.F1, (TableEvent.E4,), "hosts-7.0U2"),
            OutsidePlay(Block.S11, TableFault.F1, (TableEvent.E12,), "hosts-7.0U3"),
            OutsidePlay(Block.S11, TableFault.F4, (TableEvent.E12,), "hosts-7.0U3"),
        ),
    ),
    OutsideRow(
        id="X05",
        title="persistence is disabled, stored keys removed",
        plays=(
            OutsidePlay(Block.S11, TableFault.F1, AFTER_BOOT, "store-removed", as_block=Block.S10),
            OutsidePlay(Block.T11, TableFault.F3, AFTER_BOOT, "store-removed", as_block=Block.T10),
        ),
    ),
    OutsideRow(
        id="X06",
        title="persistence is disabled, stored keys kept; then enabled again",
        plays=(
            OutsidePlay(Block.S11, TableFault.F1, AFTER_BOOT, "store-unused", as_block=Block.S10),
            OutsidePlay(Block.S11, TableFault.F1, AFTER_BOOT, "store-used-again"),
            OutsidePlay(Block.T11, TableFault.F3, AFTER_BOOT, "store-unused", as_block=Block.T10),
            OutsidePlay(Block.T11, TableFault.F3, AFTER_BOOT, "store-used-again"),
        ),
    ),
    OutsideRow(
        id="X07",
        title="a provider that requires a TPM, and a host without",
        plays=(
            _expect_refusal(TableFault.F0, (TableEvent.E6, TableEvent.E8), "target-left-out"),
            _expect_refusal(TableFault.F4, (TableEvent.E6,), "target-left-out"),
            _expect_refusal(TableFault.F0, (TableEvent.E9,), "host-left-out"),
            OutsidePlay(Block.N1X, TableFault.F0, (TableEvent.E3,), "clear-on-left-out"),
            OutsidePlay(Block.N1X, TableFault.F0, TAKES_PART, "others-take-part"),
        ),
    ),
    OutsideRow(
        id="X08",
        title="a native provider that is not backed up",
        plays=(
            OutsidePlay(
                Block.N1X,
                TableFault.F0,
                (TableEvent.E9,),
                "not-backed-up",
                as_fault=TableFault.F7,
            ),
        ),
    ),
    OutsideRow(
        id="X09",
        title="one of two key servers is off",
        plays=tuple(
            OutsidePlay(block, TableFault.F0, ALL, "one-server-off")
            for block in (Block.S10, Block.S11)
        ),
    ),
    OutsideRow(
        id="X10",
        title="one of two Trust Authority hosts is off",
        plays=(OutsidePlay(Block.T10, TableFault.F0, ALL, "one-authority-host-off"),),
    ),
    OutsideRow(
        id="X11",
        title="every Key Provider Service is down",
        plays=tuple(
            OutsidePlay(block, TableFault.F1, SERVED, "no-key-provider")
            for block in (Block.T10, Block.T11)
        ),
    ),
    OutsideRow(
        id="X12",
        title="every Attestation Service is down",
        plays=(
            OutsidePlay(Block.T10, TableFault.F0, (TableEvent.E6, TableEvent.E9), "no-attestation"),
            OutsidePlay(Block.T10, TableFault.F3, (TableEvent.E2,), "no-attestation"),
            OutsidePlay(
                Block.T10,
                TableFault.F3,
                (TableEvent.E6, TableEvent.E9),
                "no-attestation",
                expired=True,
            ),
        ),
    ),
    OutsideRow(
        id="X13",
        title="a host that vCenter does not reach",
        plays=tuple(
            play
            for block in (Block.S10, Block.S11)
            for play in (
                OutsidePlay(block, TableFault.F2, AFTER_BOOT, "host-apart"),
                OutsidePlay(block, TableFault.F0, (TableEvent.E7, TableEvent.E9), "others-go-on"),
            )
        ),
    ),
    OutsideRow(
        id="X14",
        title="vCenter reaches no key server, hosts do",
        plays=(
            OutsidePlay(
                Block.S10,
                TableFault.F1,
                (TableEvent.E2, TableEvent.E4, TableEvent.E9),
                "vcenter-cut-off",
            ),
            OutsidePlay(
                Block.S10,
                TableFault.F1,
                (TableEvent.E12,),
                "vcenter-cut-off",
                as_fault=TableFault.F2,
            ),
        ),
    ),
    OutsideRow(
        id="X15",
        title="a vSAN host reaches no key server",
        plays=(
            OutsidePlay(Block.S10, TableFault.F0, (TableEvent.E4, TableEvent.E9), "host-cut-off"),
            OutsidePlay(
                Block.S10, TableFault.F0, (TableEvent.E12,), "host-cut-off", as_fault=TableFault.F1
            ),
        ),
    ),
    OutsideRow(
        id="X16",
        title="keys of two providers in one VM",
        plays=(
            OutsidePlay(
                Block.S10,
                TableFault.F1,
                (TableEvent.E1, TableEvent.E3, TableEvent.E4),
                "keys-of-two",
            ),
        ),
    ),
    OutsideRow(
        id="X17",
        title="a disk's key is missing",
        plays=(OutsidePlay(Block.S10, TableFault.F8, (TableEvent.E4,), "disk-key-destroyed"),),
    ),
    OutsideRow(id="X18", title="VMs that are not encrypted", plays=tuple(_in_clear())),
    OutsideRow(
        id="X19",
        title="every answer of a key server is two seconds late",
        plays=(OutsidePlay(Block.S10, TableFault.F0, ALL, "slow-servers"),),
    ),
    OutsideRow(
        id="X20",
        title="a host is patched; what seals its configuration is as before",
        plays=tuple(
            OutsidePlay(block, TableFault.F5B, (*AFTER_BOOT, TableEvent.E6, TableEvent.E8), "")
            for block in (Block.S10, Block.S11, Block.N1X, Block.T10, Block.T11)
        ),
    ),
)
"""All twenty, in their order."""


def all_stagings() -> tuple[Staging, ...]:
    """Those of every row."""
    return tuple(one for row in ROWS for play in row.plays for one in play.stagings(row.id))
