"""What answers share."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, NewType

import msgspec

from lab.schema.tables import ColumnTable

KeyRef = NewType("KeyRef", str)
"""A key as people write it: ``provider/id`` [KEY-01]."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a command; its document has the name of the struct as ``kind``.

    ``table``: how it is printed; None: as the rows of its ``items`` are, or by a page of its own
    (``lab.cli.pages``).
    """

    table: ClassVar[ColumnTable | None] = None

    def remarks(self) -> tuple[str, ...]:
        """What a terminal says besides; documents have it in their fields."""
        return ()

    def errors(self, of_lab: str) -> tuple[str, ...]:
        """What did not come about, in every format. ``of_lab`` goes into a command line that is
        proposed: empty, or with ``--name``."""
        return ()

    @property
    def exit_code(self) -> int:
        """Of the command line: 1 when something that was asked for did not come about."""
        return 0


class MachineState(StrEnum):
    """A node's machine. ``paused``: it stands still, neither dead nor answering. ``gone``: the
    process that holds it does not answer."""

    OFF = "off"
    BOOTING = "booting"
    RUNNING = "running"
    HALTED = "halted"  # a screen with the reason; only a power cycle helps
    PAUSED = "paused"
    GONE = "gone"
