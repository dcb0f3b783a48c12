"""What every operation is: drawn up front, executed without waiting for answers, with an outcome.

Adding an operation: its function and its row in the file of its subject.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from chaos.draws import Draws
from chaos.lab import LabUnderTest
from chaos.observe.guests import Guests
from chaos.observe.key_values import Remains
from chaos.observe.look import LabLook, vcenter_of
from protocol.errors import NotFound
from protocol.terms import ClusterName, NodeName, VmName

WITHIN_S: Final = 60.0
"""Lab seconds that an operation waits for each answer."""
ARRIVALS_LIMIT: Final = 100_000
"""So many operations of a run are planned, on average over seeds."""


def load_name(lab: LabUnderTest, run: str) -> str:
    """What the run's own VMs and operation ids begin with: unique in a lab that lives on,
    the same in every replay of a simulation."""
    if lab.mode == "sim":
        return "load"
    return f"load-{hashlib.sha256(run.encode()).hexdigest()[:8]}"


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """One operation: ``at`` seconds after the begin of the fault phase, on ``target``.

    ``number`` is unique in the run and names what the operation makes.
    """

    at: float
    op: str
    target: str
    number: int


def draw_arrivals(
    rate: float,
    span: tuple[float, float],
    targets: tuple[str, ...],
    draws: Draws,
) -> list[tuple[float, str]]:
    """Times (to the millisecond) and targets of one stream: exponential gaps, mean 1/rate."""
    found: list[tuple[float, str]] = []
    at = span[0]
    while True:
        at += draws.exponential(1.0 / rate)
        if at >= span[1]:
            return found
        target = targets[draws.below(len(targets))] if targets else ""
        found.append((round(at, 3), target))


@dataclass(frozen=True)
class OperationOutcome:
    """How an operation ended: ``ok``, ``fail`` or ``info``, with plain values for the history."""

    kind: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Means:
    """What operations act with; ``name`` begins the names of what they make."""

    lab: LabUnderTest
    guests: Guests
    name: str = "load"
    clusters: dict[VmName, ClusterName] = field(default_factory=dict)
    """Of VMs that vCenter was asked about: a VM stays in its cluster."""
    remains: Remains | None = None
    """Where it can be seen what lies on a host's disk."""
    look: Callable[[], Awaitable[None]] | None = None
    """Has what hosts are written down at once, after something was changed about them."""

    async def vcenter(self, subject: str = "") -> NodeName:
        """The vCenter of a host, a VM or a cluster, the lab's first for anything else;
        ``NotFound`` when it has none."""
        return await vcenter_of(self.lab, subject)

    def operation_id(self, arrival: Arrival) -> str:
        """The id under which a repeat of this arrival is the same operation."""
        return f"{self.name}-{arrival.number:06d}"

    async def cluster_of(self, vm: VmName) -> ClusterName:
        """The cluster of a VM; ``NotFound`` when vCenter has no such VM."""
        if vm not in self.clusters:
            listed = await LabLook(self.lab).vcenter_vms()
            self.clusters.update({name: info.cluster for name, info in listed.items()})
        if vm not in self.clusters:
            raise NotFound(f"vCenter has no {vm}")
        return self.clusters[vm]


@dataclass(frozen=True)
class WorkloadOperation:
    """Something that the workload does; ``about`` says what it aims at: VMs, or nothing."""

    name: str
    about: str
    doc: str
    run: Callable[[Means, Arrival], Awaitable[OperationOutcome]]


@dataclass
class OperationCounts:
    """Outcomes of the workload by operation: ok, fail, info, and seconds of the ok ones."""

    ok: dict[str, int] = field(default_factory=dict)
    other: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
