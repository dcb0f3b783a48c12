"""Points: calls of nodes to storage and TPM, what can happen at them, and what waits for one.

A point is named by node, the function of the service that calls, the call and its path. Nothing in
a service knows of it (decision 38). Only the simulation can strike within a call.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Final, Literal, Protocol, get_args

import msgspec

from protocol.terms import NodeName
from services.runtime.sim.gate import COMMIT

Call = Literal[
    "disk.read",
    "disk.write",
    "disk.append",
    "disk.sync",
    "disk.replace",
    "disk.sync_folder",
    "disk.list",
    "disk.remove",
    "disk.database",
    "db.query",
    "db.commit",
]
CALLS: Final[tuple[str, ...]] = get_args(Call)


class When(StrEnum):
    """Where in a call something happens."""

    BEFORE = "before"
    WITHIN = "within"  # a commit only
    AFTER = "after"


class Happening(StrEnum):
    """What happens there."""

    CRASH = "crash"  # what was written stays
    POWER_LOSS = "power_loss"  # what was synced stays
    TORN = "torn"  # a part of what is written or synced is there, and then the end
    ENOSPC = "enospc"  # this one call is refused: the device is full
    EIO = "eio"  # this one call is refused: the device fails, a TPM too (TPM_RC_FAILURE)
    LOST_WRITE = "lost_write"  # a page of the commit never reaches the device, which says it did
    MISDIRECTED = "misdirected"  # it reaches the place of another page, and not its own
    BIT_ROT = "bit_rot"  # one bit of a page is another one from now on


class Blow(msgspec.Struct, frozen=True, order=True):
    """What happens, and where in the call."""

    happening: Happening
    when: When = When.BEFORE

    def __str__(self) -> str:
        return f"{self.when}:{self.happening}"


_ENDS: Final = tuple(
    Blow(happening, when)
    for happening in (Happening.CRASH, Happening.POWER_LOSS)
    for when in (When.BEFORE, When.AFTER)
)
REFUSALS: Final = (Happening.ENOSPC, Happening.EIO)
FLAWS: Final = (Happening.LOST_WRITE, Happening.MISDIRECTED, Happening.BIT_ROT)
"""What a device does and nobody is told: it shows when a power loss has emptied all caches."""
_TEARS: Final = ("disk.write", "disk.append", "disk.sync")
_GROWS: Final = ("disk.write", "disk.append")
_READS: Final = (
    *("disk.read", "disk.list", "disk.database", "db.query"),
    *("tpm.pcrs", "tpm.unseal", "tpm.ek", "tpm.ak", "tpm.quote", "tpm.nv_read", "tpm.info"),
)


def blows_at(call: str) -> tuple[Blow, ...]:
    """All that can happen at a call of this name.

    What reads has no effect: an end before it is as one after the call that came earlier.
    """
    if call == COMMIT:
        ways = (Happening.CRASH, Happening.POWER_LOSS, *REFUSALS)
        return tuple(Blow(way, when) for when in When for way in ways)
    if call in _READS:
        return (Blow(Happening.CRASH), Blow(Happening.EIO))
    found = [*_ENDS, Blow(Happening.EIO)]
    if call in _GROWS:
        found.append(Blow(Happening.ENOSPC))
    if call in _TEARS:
        found.append(Blow(Happening.TORN))
    return tuple(found)


def flaws_at(call: str) -> tuple[Blow, ...]:
    """What a device can silently do to the pages that a call of this name has written."""
    return tuple(Blow(flaw, When.AFTER) for flaw in FLAWS) if call == COMMIT else ()


class Strike(msgspec.Struct, frozen=True, kw_only=True, tag="strike"):
    """The ``nth`` call of this kind that ``node`` makes, counted from ``start`` on (lab seconds of
    the fault phase), and the blow that falls there. ``function`` and ``path`` are patterns."""

    node: NodeName
    call: str
    blow: Blow
    function: str = "*"
    path: str = "*"
    nth: int = 1
    start: float = 0.0

    def text(self) -> str:
        """In words, such as ``call 2 of disk.append on esxi-001 (bootbank/*)``."""
        about = [pattern for pattern in (self.function, self.path) if pattern != "*"]
        told = f" ({', '.join(about)})" if about else ""
        return f"call {self.nth} of {self.call} on {self.node}{told}"


class Strikes(Protocol):
    """What can strike within the calls of nodes: a simulated lab."""

    def arm(self, strike: Strike, fell: Callable[[str], None]) -> None:
        """Let the blow fall once. ``fell`` is called with the passage, such as
        ``esxi-001:archive.Archive._append_addition:disk.append:bootbank/state.tgz:2``, in that very
        step."""
        ...

    def disarm(self) -> None:
        """Nothing falls any more."""
        ...
