"""Small runs, told as their folders would tell them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chaos.checks.result import CheckOutcome, CheckResult
from chaos.experiment.plan import Needs, Plan, PlannedFault
from chaos.history import Record
from chaos.lab import Directory, NodeEntry
from chaos.report.story import Story
from chaos.verdict import Verdict
from protocol.terms import ClusterName, NodeName, Role, VmName


class Tale:
    """Records in the order in which they are told."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def add(self, t: float, type: str, op: str = "", node: str = "", **data: Any) -> Record:
        """One more record."""
        seq = len(self.records) + 1
        made = Record(seq=seq, t=t, node=node, type=type, op=op, data=data)
        self.records.append(made)
        return made

    def fault(self, t: float, id: str, kind: str = "link.cut", **data: Any) -> Record:
        """A fault begins."""
        return self.add(t, "fault", kind, id=id, **{"summary": f"{id} is there", **data})

    def heal(self, t: float, id: str, *, verified: bool = True) -> Record:
        """A fault was seen gone, or not."""
        return self.add(t, "heal", "heal", id=id, verified=verified)

    def operation(self, t: float, op: str, took: float | None, n: int, end: str = "ok") -> None:
        """An operation that ended so, ``took`` seconds later; None: nothing tells of its end."""
        self.add(t, "invoke", op, "vm-01", n=n)
        if took is not None:
            self.add(t + took, end, op, "vm-01", n=n)


def plan(name: str = "tale", faults: Sequence[PlannedFault] = (), seed: int = 7) -> Plan:
    """A plan of that name."""
    return Plan(
        name=name,
        title="A tale of faults",
        seed=seed,
        file=f"{name}.yaml",
        duration_s=100.0,
        max_duration_s=200.0,
        lease_s=30.0,
        recover_s=60.0,
        requires=Needs(),
        topology={},
        faults=tuple(faults),
        arrivals=(),
        probes=(),
        checks=("guests_read_back",),
    )


CUT = PlannedFault(id="wan", kind="link.cut", at=10.0, until=50.0, cure=False, values={})


def directory(hosts: int = 2, vms: int = 2) -> Directory:
    """A vCenter and a key server in one site, hosts of one cluster in another."""
    there = [
        NodeEntry(node=NodeName("kms"), role=Role.KMS, site="main"),
        NodeEntry(node=NodeName("vcenter"), role=Role.VCENTER, site="main"),
    ]
    for n in range(1, hosts + 1):
        name = NodeName(f"esxi-{n:03d}")
        cluster = ClusterName("cluster-a")
        there.append(NodeEntry(node=name, role=Role.ESXI, site="edge", cluster=cluster))
    names = tuple(VmName(f"vm-{n:02d}") for n in range(1, vms + 1))
    return Directory(nodes=tuple(there), vms=names)


def result(name: str, outcome: CheckOutcome, text: str = "seen", *seqs: int) -> CheckResult:
    """What a check or hypothesis said."""
    return CheckResult(name=name, result=outcome, text=text, records=seqs)


def verdict(*results: CheckResult, word: str = "pass", code: int = 0, **more: Any) -> Verdict:
    """The verdict of a run."""
    return Verdict(
        verdict=word,
        exit_code=code,
        seed=7,
        trace_hash="ab" * 16,
        run="tale-sim-7",
        checks=results,
        **more,
    )


def story(records: Sequence[Record], said: Verdict | None, **more: Any) -> Story:
    """A run of these records."""
    told: dict[str, Any] = {
        "run": "tale-sim-7",
        "mode": "sim",
        "code": "c0de",
        "python": "3.11",
        "tpm": "model",
        "began": 1_800_000_000.0,
        "plan": plan(faults=(CUT,)),
        "directory": directory(),
        "verdict": said,
        "records": tuple(records),
        "reproduce": "keystead chaos replay tale-sim-7",
    }
    return Story(**{**told, **more})
