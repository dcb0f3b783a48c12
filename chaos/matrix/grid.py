"""Which stagings a part of the truth table takes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from chaos.matrix.control import EVENTS as CONTROLLED
from chaos.matrix.events import EVENTS
from chaos.matrix.faults import FAULTS, variants_of
from chaos.matrix.terms import Boot, CellPlace, Knobs, Variant, is_trusted
from chaos.oracle.table import Cell, cell
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault

BLOCKS: Final[tuple[Block, ...]] = (
    Block.S00,
    Block.S10,
    Block.S11,
    Block.N0X,
    Block.N1X,
    Block.T10,
    Block.T11,
)
"""Those whose kind of provider is built."""
EXPIRING: Final = {
    TableFault.F3: (TableEvent.E3, TableEvent.E5, TableEvent.E7),
    TableFault.F4: (TableEvent.E3, TableEvent.E5),
}
"""What is played again in trusted blocks when tokens have expired: what a key in a cache is enough
for, and no vCenter is needed (C6)."""
NEVER: Final[Knobs] = (("persist_overrides_attestation", "never"),)


class Staging(msgspec.Struct, frozen=True, kw_only=True):
    """One lab: the events that are played in it, and when.

    ``evicted``: the events come when the keys of a deleted provider have left every host.
    ``expired``: when every token of before the fault has expired.
    ``alone``: an event is played in a lab in which nothing else is. ``control``: no event is
    played, their hosts and VMs are used for controls (``chaos.matrix.control``). ``variant``: how
    the fault is made. ``outside``: the row outside of the grid that it is of, with its ``twist``;
    ``seen_as``: the place that it must be as. ``knobs``: those of its lab that are not
    as usual.
    """

    block: Block
    fault: TableFault
    boot: Boot
    events: tuple[TableEvent, ...]
    evicted: bool = False
    expired: bool = False
    alone: bool = False
    control: bool = False
    variant: Variant = Variant.USUAL
    outside: str = ""
    twist: str = ""
    seen_as: CellPlace | None = None
    knobs: Knobs = ()

    def cell_of(self, event: TableEvent) -> Cell:
        """The cell that this event of it is compared with."""
        return (self.seen_as or CellPlace(self.block, self.fault)).cell(event)

    @property
    def case(self) -> tuple[bool, bool, Knobs]:
        """What its letter may depend on: a part of the cell. All else must not change it."""
        return self.evicted, self.expired, self.knobs

    @property
    def way(self) -> str:
        """How it is played, in a word or two: what plays of one cell differ in."""
        words = [self.variant.value] * bool(self.variant) + [self.boot.value]
        words += [f"{name}={value}" for name, value in self.knobs]
        return " ".join((*words, *self._late))

    @property
    def _late(self) -> tuple[str, ...]:
        return ("evicted",) * self.evicted + ("expired",) * self.expired

    @property
    def name(self) -> str:
        """Unique in a run: ``S11-F1-orderly``."""
        words = [self.block.value, self.fault.value, *[self.variant.value] * bool(self.variant)]
        words.append(self.boot.value)
        words += [*self._late, *["control"] * self.control]
        words += [value for _, value in self.knobs]
        apart = any(EVENTS[event].vsan for event in self.events)
        words += ["alone"] * self.alone + [*self.events] * (self.alone or apart)
        words = [self.outside, self.twist, *words] if self.outside else words
        return "-".join(filter(None, words))


def cells_of(
    blocks: Sequence[Block], faults: Sequence[TableFault], events: Sequence[TableEvent]
) -> tuple[Cell, ...]:
    """The cells that can be played: they apply, and block, fault and event are built."""
    return tuple(
        found
        for block in blocks
        for fault in faults
        for event in events
        if block in BLOCKS
        and fault in FAULTS
        and event in EVENTS
        and (found := cell(block, fault, event)).letter is not Letter.NONE
    )


def stagings_of(
    cells: Iterable[Cell], *, isolate: bool = False, variants: bool = False
) -> tuple[Staging, ...]:
    """The stagings in which these cells are played; with ``isolate`` each event in its own, with
    ``variants`` for each way in which a fault is made."""
    groups: dict[tuple[Block, TableFault], list[TableEvent]] = {}
    for one in cells:
        groups.setdefault((one.block, one.fault), []).append(one.event)
    found: list[Staging] = []
    for (block, fault), events in groups.items():
        for together in [(event,) for event in events] if isolate else [tuple(events)]:
            usual = stagings_together(block, fault, together, alone=isolate)
            ways = variants_of(block, fault) if variants else (Variant.USUAL,)
            found += [msgspec.structs.replace(one, variant=way) for way in ways for one in usual]
    return tuple(found)


def controls_of(cells: Iterable[Cell]) -> tuple[Staging, ...]:
    """The controls of each block of which a cell is played, and those of its vSAN, if one is about
    that."""
    played: dict[Block, list[tuple[TableEvent, ...]]] = {}
    for one in cells:
        found = played.setdefault(one.block, [CONTROLLED])
        if EVENTS[one.event].vsan and (one.event,) not in found:
            found.append((one.event,))
    return tuple(
        Staging(block=block, fault=TableFault.F0, boot=Boot.ORDERLY, events=events, control=True)
        for block, of in played.items()
        for events in of
    )


def stagings_together(
    block: Block, fault: TableFault, events: tuple[TableEvent, ...], *, alone: bool
) -> list[Staging]:
    """One for each kind of boot that these events tell apart, one after an eviction or when tokens
    have expired, and one for each setting of knobs that makes a difference. What is about a vSAN is
    apart."""
    together = tuple(event for event in events if not EVENTS[event].vsan)
    groups = [together] * bool(together) + [(one,) for one in events if EVENTS[one].vsan]
    return [one for group in groups for one in _stagings_of(block, fault, group, alone=alone)]


def _stagings_of(
    block: Block, fault: TableFault, events: tuple[TableEvent, ...], *, alone: bool
) -> list[Staging]:
    def staging(boot: Boot, of: tuple[TableEvent, ...], **more: Any) -> Staging:
        return Staging(block=block, fault=fault, boot=boot, events=of, alone=alone, **more)

    found = [staging(Boot.ORDERLY, events)]
    if booted := tuple(event for event in events if EVENTS[event].boots):
        found.append(staging(Boot.POWER_LOSS, booted))
    graced = tuple(event for event in events if EVENTS[event].graced)
    if fault is TableFault.F7 and graced:
        found.append(staging(Boot.ORDERLY, graced, evicted=True))
    expiring = tuple(event for event in events if event in EXPIRING.get(fault, ()))
    if is_trusted(block) and expiring:
        found += [
            staging(Boot.ORDERLY, expiring, expired=True, knobs=knobs) for knobs in ((), NEVER)
        ]
    forks: dict[Knobs, list[TableEvent]] = {}
    for event in events:
        for knobs in EVENTS[event].forks(block, fault):
            forks.setdefault(knobs, []).append(event)
    for knobs, of in forks.items():
        found.append(staging(Boot.ORDERLY, tuple(of), knobs=knobs))
        if booted := tuple(event for event in of if EVENTS[event].boots):
            found.append(staging(Boot.POWER_LOSS, booted, knobs=knobs))
    return found


def events_of_staging(staging: Staging) -> tuple[TableEvent, ...]:
    """The events for which there are hosts: also the reboot of a host that an event waits for."""
    block, fault = staging.block, staging.fault
    if staging.expired and not staging.alone and not staging.outside:
        return EXPIRING[TableFault.F3]  # one lab for all of these
    waits = any(EVENTS[event].waits_for_b(block, fault) for event in staging.events)
    more = waits and TableEvent.E2 not in staging.events
    return (TableEvent.E2, *staging.events) if more else staging.events
