"""What a campaign has tried, and what it has not: faults, operations, checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from chaos.active_faults import ActiveFaults
from chaos.checks import CHECKS
from chaos.faults import FAULTS
from chaos.history import Record
from chaos.verdict import Verdict
from chaos.workload import OPERATIONS

Counts = dict[str, int]


class Coverage(msgspec.Struct, kw_only=True):
    """How often each was there, by name: ``faults`` that were seen to bite, ``missed`` ones,
    operations by how they ended (``ok vm.encrypt``), checks by what they came to, and faults that
    were active while an operation ended (``link.cut x key.create``)."""

    faults: Counts = {}
    missed: Counts = {}
    operations: Counts = {}
    checks: Counts = {}
    pairs: Counts = {}

    def add(self, other: Coverage) -> None:
        """Count another run's too."""
        for name in self.__struct_fields__:
            mine, more = getattr(self, name), getattr(other, name)
            setattr(self, name, dict(Counter(mine) + Counter(more)))

    def list_untried(self) -> dict[str, tuple[str, ...]]:
        """What no run had, of all that there is."""
        checks = {name.split(" ", 1)[1] for name in self.checks if not name.startswith("unknown")}
        ends = {name.split(" ", 1)[1] for name in self.operations}
        pairs = {
            f"{fault.kind} x {op}" for fault in FAULTS for op in OPERATIONS if fault.reversible
        }
        return {
            "faults": _missing((fault.kind for fault in FAULTS), self.faults),
            "operations": _missing(OPERATIONS, ends),
            "checks": _missing((c.name for c in CHECKS.values() if c.always), checks),
            "pairs": _missing(sorted(pairs), self.pairs),
        }


def _missing(there: Iterable[str], seen: Mapping[str, int] | set[str]) -> tuple[str, ...]:
    return tuple(name for name in there if name not in seen)


def collect_coverage(records: Iterable[Record], verdict: Verdict) -> Coverage:
    """What one run has tried."""
    faults: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    active = ActiveFaults()
    for record in records:
        active.take(record)
        match record.type:
            case "fault" if "error" not in record.data:
                faults[record.op] += 1
            case "note" if record.op == "missed":
                missed[str(record.data.get("fault"))] += 1
            case "ok" | "fail" | "info" if record.op in OPERATIONS:
                operations[f"{record.type} {record.op}"] += 1
                kinds = {begin.op for _, begin in active.bite()}
                pairs.update(f"{kind} x {record.op}" for kind in kinds)
    checks = Counter(f"{c.result} {c.name}" for c in verdict.checks if c.name in CHECKS)
    return Coverage(
        faults=dict(faults),
        missed=dict(missed),
        operations=dict(operations),
        checks=dict(checks),
        pairs=dict(pairs),
    )
