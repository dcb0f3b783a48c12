"""A failing run made small, on snapshots of its lab, then of smaller labs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from chaos.experiment.plan import Plan
from chaos.experiment.shrink import Shrinker, size
from chaos.lab import Directory
from lab.fuzz.finding import LEAK, Failure
from lab.fuzz.play import failures_of
from lab.fuzz.world import CampaignWorld
from lab.simulation.snapshot import BuiltLabs


class Small(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest run that was found to fail as ``failure`` says, after ``runs`` runs."""

    failure: Failure
    plan: Plan
    world: CampaignWorld
    runs: int

    def shape(self) -> str:
        """What it is made of: findings of one failure and one shape are one group."""
        kinds = "+".join(sorted(fault.kind for fault in self.plan.faults)) or "no fault"
        ops = "+".join(sorted({arrival.op for arrival in self.plan.arrivals}))
        return f"{kinds} while {ops}" if ops else kinds


@dataclass
class Shrinking:
    """Makes runs of one world small. ``stop`` is asked between runs: True ends it early."""

    world: CampaignWorld
    budget: int = 200
    tell: Callable[[str], None] = lambda text: None
    stop: Callable[[], bool] = lambda: False
    _runs: int = field(default=0, init=False)

    def shrink(self, plan: Plan, failure: Failure) -> Small:
        """The smallest run that fails as ``plan`` is known to fail."""
        self._runs = 0
        best, world = self._in(self.world, plan, failure), self.world
        for hosts in range(1, self.world.hosts):
            smaller = msgspec.structs.replace(world, hosts=hosts, vms=2 * hosts)
            moved = msgspec.structs.replace(best, topology=smaller.use)
            if self._runs_left() <= 0 or not fits(moved, smaller.directory()):
                continue
            with BuiltLabs(smaller.origin(ledger=failure == LEAK)) as snapshot:
                if self._fails(snapshot, moved, failure):
                    self.tell(f"in a lab of {hosts} hosts too")
                    best, world = moved, smaller
                    break
        if world is not self.world:
            best = self._in(world, best, failure)
        return Small(failure=failure, plan=best, world=world, runs=self._runs)

    def _in(self, world: CampaignWorld, plan: Plan, failure: Failure) -> Plan:
        with BuiltLabs(world.origin(ledger=failure == LEAK)) as snapshot:
            shrinker = Shrinker(
                lambda candidate: self._fails(snapshot, candidate, failure),
                world.directory(),
                budget=max(0, self._runs_left()),
                told=self.tell,
            )
            return shrinker.shrink(plan)

    def _runs_left(self) -> int:
        return 0 if self.stop() else self.budget - self._runs

    def _fails(self, snapshot: BuiltLabs, plan: Plan, failure: Failure) -> bool:
        if self.stop():
            return False
        self._runs += 1
        return failure in failures_of(snapshot, plan)


def fits(plan: Plan, directory: Directory) -> bool:
    """Whether every node and VM that the plan names is there."""
    nodes = {entry.node for entry in directory.nodes}
    there = set(map(str, directory.vms)) | {""}
    return all(set(fault.fault().touches()) <= nodes for fault in plan.faults) and all(
        arrival.target in there for arrival in plan.arrivals
    )


def describe_finding(small: Small, seed: int) -> str:
    """What a finding is, in a sentence."""
    return f"{small.failure} of seed {seed}: {size(small.plan)} ({small.shape()})"
