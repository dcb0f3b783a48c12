"""Within a bound after the last fault was seen to end and the hosts had booted, all VMs run that
ran before and that nothing prevents from running."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.checks.states import judge_states as followed
from chaos.checks.states import last_look
from chaos.history import ActiveFaults, Record
from chaos.oracle.fold.answers import RUNS
from chaos.oracle.fold.vms import MOVES

BOUND_S: Final = 60.0
"""Lab seconds from the heal of the last fault, or the end of a boot of the VM's host after it."""
RESTARTED_S: Final = 240.0
"""Lab seconds more for a VM that others restart: after a boot of all hosts an HA agent gives one
that it has not heard two minutes, and then its try has to come (HA-01)."""
_START: Final = "vm.on"
_POWER: Final = ("vm.power_cycle", "vm.off_on", "vm.recrypt_deep", *MOVES)


@dataclass
class _Run:
    """What is known at one moment. ``back``: since when a VM was seen to run after the heal, by
    VM; ``off``: VMs that an operation of the run may have left off; ``locked``: those that were
    seen locked, which unlocking starts not; ``put_on``: when one of either was put on again."""

    ran: dict[str, bool] = field(default_factory=dict)
    on: dict[str, tuple[str, int, bool]] = field(default_factory=dict)  # host, boot, running
    nodes: dict[str, tuple[str, int, float]] = field(default_factory=dict)  # state, boot, since
    silent: set[str] = field(default_factory=set)
    active: ActiveFaults = field(default_factory=ActiveFaults)
    off: set[str] = field(default_factory=set)
    locked: set[str] = field(default_factory=set)
    back: dict[str, float] = field(default_factory=dict)
    put_on: dict[str, float] = field(default_factory=dict)
    healed: Record | None = None
    end: Record | None = None
    available: frozenset[str] = frozenset()  # hosts of clusters with vSphere HA
    restarted: set[str] = field(default_factory=set)  # VMs that came to run on another of these

    def take(self, record: Record) -> None:
        """Follow one record."""
        owed = self.active.ids_to_heal()
        self.active.take(record)
        if record.type == "fault":
            self.healed = None
            self.back.clear()
        elif record.type == "heal":
            if owed and owed != (left := self.active.ids_to_heal()):
                self.healed = None if left else record
        elif record.op in _POWER and record.type in ("invoke", "ok", "fail", "info"):
            if record.type != "ok":
                self.off.add(record.node)
            elif record.node in self.off:
                self.off.discard(record.node)
                self.put_on[record.node] = record.t
        elif record.op == _START and record.type == "ok" and record.node in self.locked:
            self.put_on[record.node] = record.t
        elif record.type == "state":
            self._state(record)

    def _state(self, record: Record) -> None:
        data = record.data
        match record.op:
            case "staging":
                self.available = frozenset(data.get("ha", ()))
            case "node":
                self.nodes[record.node] = (str(data["state"]), int(data["boot"]), record.t)
            case "host":
                (self.silent.add if data.get("silent") else self.silent.discard)(record.node)
            case "vm":
                on = data["power"] == "poweredOn"
                if data.get("crypto") == "locked":
                    self.locked.add(record.node)
                self.ran.setdefault(record.node, on)
                # A host that had it before may list it still (HA-01).
                seen = (str(data["host"]), int(data["boot"]), on)
                known = self.on.get(record.node, seen)
                if on and known[0] != seen[0] and seen[0] in self.available:
                    self.restarted.add(record.node)
                if on or known[0] == seen[0] or not self.runs(record.node):
                    self.on[record.node] = seen
            case "look":
                self.end = record
                for vm in self.ran if self.healed is not None else ():
                    if self.runs(vm):
                        self.back.setdefault(vm, record.t)

    def runs(self, vm: str) -> bool:
        """Whether the last look saw it run, in the life that its host has now."""
        host, boot, on = self.on[vm]
        state, now, _ = self.nodes.get(host, ("", 0, 0.0))
        return on and (state, now) == ("running", boot) and host not in self.silent

    def due(self, vm: str, healed: float) -> float:
        """When it has to run, in seconds of the run; ``healed``: when the last fault was gone."""
        host = self.on[vm][0]
        state, _, up = self.nodes.get(host, ("", 0, 0.0))
        away = vm in self.restarted or (host in self.available and state != "running")
        due = max(healed, up, self.put_on.get(vm, 0.0)) + BOUND_S
        return due + RESTARTED_S if away else due


def recovery_bound(records: Sequence[Record]) -> Finding:
    """Pass when each VM ran in time that ran before and that the rules allow only to run at the
    end.

    VMs that an operation of the run may have left off are not judged. Unknown when no fault was
    healed for good, or when the run ended before the bound with a VM not yet back.
    """
    run = _Run()
    last = last_look(records)
    for record in records[:last]:
        run.take(record)
    if run.healed is None or run.end is None:
        return Finding(CheckOutcome.UNKNOWN, "no fault was there, or not all were seen gone")
    judged = [vm for vm, ran in run.ran.items() if ran and vm not in run.off]
    healed = run.healed.t
    behind = [vm for vm in judged if run.back.get(vm, math.inf) > run.due(vm, healed)]
    excused = _find_excused(records, behind) if behind else frozenset()
    late: list[str] = []
    early: list[str] = []
    for vm in behind:
        back, due = run.back.get(vm), run.due(vm, healed)
        if vm in excused:
            continue
        if back is None and run.end.t <= due:
            early.append(vm)
            continue
        when = "never" if back is None else f"at {back:g} s"
        late.append(f"{vm} had to run by {due:g} s, and did {when}")
    if late:
        where = (run.healed.seq, run.end.seq)
        return Finding(CheckOutcome.FAIL, "; ".join(late[:5]), where)
    if early:
        text = f"the run ended before the bound, and {', '.join(early[:5])} did not run yet"
        return Finding(CheckOutcome.UNKNOWN, text)
    if len(judged) == len(excused):
        return Finding(CheckOutcome.UNKNOWN, "there is no VM that has to run at the end")
    text = f"{len(judged) - len(excused)} VMs ran within {BOUND_S:g} s of the last heal"
    return Finding(CheckOutcome.PASS, text)


def _find_excused(records: Sequence[Record], vms: Sequence[str]) -> frozenset[str]:
    """Those that the rules let be something else than running at the end."""
    at_end = followed(records).at_end
    return frozenset(vm for vm in vms if at_end.get(vm) != RUNS)
