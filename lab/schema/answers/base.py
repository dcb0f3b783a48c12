"""What answers share."""

from __future__ import annotations

from enum import StrEnum
from typing import NewType

import msgspec

KeyRef = NewType("KeyRef", str)
"""A key as people write it: ``provider/id`` [KEY-01]."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a command; its document has the name of the struct as ``kind``."""


class MachineState(StrEnum):
    """A node's machine. ``paused``: it stands still, neither dead nor answering. ``gone``: the
    process that holds it does not answer."""

    OFF = "off"
    BOOTING = "booting"
    RUNNING = "running"
    HALTED = "halted"  # a screen with the reason; only a power cycle helps
    PAUSED = "paused"
    GONE = "gone"
