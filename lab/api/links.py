"""Faults by hand: cut links, list what is in force, heal, cure.

Every fault goes through the keeper: its bite is checked when it begins, and it leaves the list
only when it was seen gone.
"""

from __future__ import annotations

from typing import Any

import msgspec

from chaos.faults import make_fault
from chaos.keeper import ActiveFault, HealReport
from lab.api.table import Nothing, Session, verb
from lab.errors import KeysteadError

Row = dict[str, Any]


class InjectArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``kind`` as in experiment files (``link.cut``), ``values`` as there; ``lease`` 0 = none."""

    kind: str
    values: dict[str, Any]
    id: str = ""
    lease: float = 0.0
    seed: int = 0


def _row(fault: ActiveFault) -> Row:
    return {
        "id": fault.fault.id,
        "kind": fault.kind,
        "summary": fault.summary,
        "since": round(fault.since, 3),
        "until": round(fault.until, 3),
        "state": fault.state.value,
        "seen": fault.seen,
        "cure": fault.cure,
    }


@verb("fault.inject", InjectArgument, changes=True)
async def inject(session: Session, arguments: InjectArgument) -> Row:
    """Begin a fault and see it bite; it lasts until ``heal``, or as long as its lease."""
    fault_id = arguments.id or _free_id(session, arguments.kind)
    session.report(f"{arguments.kind}: begin and check that it bites", 1, 1)
    fault = make_fault(
        arguments.kind, fault_id, arguments.values, session.lab.directory(), arguments.seed
    )
    active = await session.keeper.inject(fault, arguments.lease or None)
    return {"kind": "Fault", "fault": _row(active)}


def _free_id(session: Session, kind: str) -> str:
    """``link-cut-1``, or the next number that is free."""
    taken = {f.fault.id for f in session.keeper.active()}
    stem = kind.replace(".", "-").replace("_", "-")
    return next(i for i in (f"{stem}-{n}" for n in range(1, 10_000)) if i not in taken)


@verb("faults", Nothing)
async def faults(session: Session, _: Nothing) -> Row:
    return {"kind": "FaultList", "items": [_row(f) for f in session.keeper.active()]}


class HealArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``ids``, or ``between`` two nodes (their link faults), or ``all``."""

    ids: tuple[str, ...] = ()
    between: tuple[str, ...] = ()
    all: bool = False
    with_cure: bool = False


@verb("heal", HealArgument, changes=True)
async def heal(session: Session, arguments: HealArgument) -> Row:
    """Take faults back and see them gone; what has no undo stays listed with its cure."""
    if arguments.all:
        report = await session.keeper.heal_all(with_cure=arguments.with_cure)
        return _report(report)
    ids = list(arguments.ids)
    if arguments.between:
        ends = {session.node(n) for n in arguments.between}
        ids += [
            f.fault.id
            for f in session.keeper.active()
            if f.kind.startswith("link.") and set(f.fault.touches()) == ends
        ]
        if not ids:
            pair = " and ".join(arguments.between)
            raise KeysteadError("KS-USE-002", f"no link fault between {pair} is in force")
    if not ids:
        raise KeysteadError("KS-USE-003", "name a fault, or give --all")
    healed: list[str] = []
    left: list[Row] = []
    for fault_id in ids:
        one = _report(await session.keeper.heal(fault_id, with_cure=arguments.with_cure))
        healed += one["healed"]
        left += one["left"]
    return {"kind": "HealReport", "healed": healed, "left": left}


def _report(report: HealReport) -> Row:
    return {
        "kind": "HealReport",
        "healed": list(report.healed),
        "left": [msgspec.to_builtins(s) for s in report.left],
    }
