"""A failing run made small, on snapshots of its lab, then of smaller labs; findings and corpus as
experiment files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import yaml

from chaos.experiment.plan import Plan
from chaos.experiment.shrink import Shrinker, size
from chaos.experiment.write import as_file
from lab.fuzz.play import LEAK, Failure, failures_of
from lab.fuzz.world import CampaignWorld
from lab.play.prepare import Prepared, prepare
from lab.schema.errors import KeysteadError
from lab.simulation.snapshot import BuiltLabs
from lab.state.scratch import no_room
from protocol import names


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
            if self._runs_left() <= 0 or not fits(moved, smaller):
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


def fits(plan: Plan, world: CampaignWorld) -> bool:
    """Whether there can be such a lab, and it has every node and VM that the plan names."""
    try:
        directory = world.directory()
    except KeysteadError as error:
        if error.id != "KS-TOPO-001":
            raise
        return False  # components of vSAN objects need hosts, for example
    nodes = {entry.node for entry in directory.nodes}
    there = set(map(str, directory.vms)) | {""}
    return all(set(fault.fault().touches()) <= nodes for fault in plan.faults) and all(
        arrival.target in there for arrival in plan.arrivals
    )


def describe_finding(small: Small, seed: int) -> str:
    """What a finding is, in a sentence."""
    return f"{small.failure} of seed {seed}: {size(small.plan)} ({small.shape()})"


def write(folder: Path, small: Small, seed: int, before: str) -> Path:
    """The file of a finding, whole or not there; its name is that of the experiment in it.
    ``before``: the size of the run that it was made from. KS-LAB-005 when there is no room."""
    name = name_of(small, seed)
    plan = msgspec.structs.replace(small.plan, name=name, title=f"{small.failure} of seed {seed}")
    checks = [small.failure.name] if small.failure.kind == "check" else ["no_fault_left"]
    text = yaml.safe_dump(as_file(plan, checks), sort_keys=False, allow_unicode=True, width=100)
    head = [
        f"{small.failure}, found by seed {seed} and shrunk in {small.runs} runs:",
        f"from {before}",
        f"to   {size(plan)}: {small.shape()}",
        f"lab  {small.world.describe_lab()}",
        f"play it: keystead chaos run {name}.yaml --mode sim",
    ]
    if small.world.patch:
        head.append(f"in code in which {small.world.patch} is planted")
    path = folder / f"{name}.yaml"
    half = path.with_suffix(".new")
    try:
        half.write_text("".join(f"# {line}\n" for line in head) + text)
        half.replace(path)
    except OSError as error:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise no_room(error) from None
    return path


def name_of(small: Small, seed: int) -> str:
    """``no-fault-left-17``: what it is, and by which seed it was found."""
    words = (small.failure.name or small.failure.kind).lower().replace("_", "-").strip("-")
    name = f"{words}-{seed}"
    return name if not names.EXPERIMENT.fault(name) else f"found-{seed}"


def corpus(folder: Path) -> Iterable[Path]:
    """The files of a corpus, in order of their names."""
    return sorted(folder.glob("*.yaml"))


def read(path: Path) -> Prepared:
    """A file of findings as a run would be made from it; raises as ``prepare`` does."""
    return prepare(str(path), None, {})
