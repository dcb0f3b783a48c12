"""Campaigns of random schedules, and shrinking, as commands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from chaos.experiment.plan import Plan
from chaos.experiment.random_runs import UNDRAWN
from chaos.experiment.shrink import size
from lab.fuzz.campaign import Campaign, Seed
from lab.fuzz.play import Failure, failures_of
from lab.fuzz.shrinking import Shrinking, Small, describe_finding, write
from lab.fuzz.world import CampaignWorld
from lab.play.prepare import Prepared
from lab.schema.answers.experiments import FoundFailure, FuzzReport, ShrunkRun
from lab.schema.errors import KeysteadError
from lab.simulation.snapshot import BuiltLabs, Origin
from lab.state.scratch import state_home
from protocol import names
from protocol.terms import Role

SHRUNK_OF_EACH: Final = 3  # seeds of one failure that are shrunk: the smallest of them is kept
Say = Callable[[str], None]
Tell = Callable[[str, int, int], None]


@dataclass
class Fuzzing:
    """One campaign from its first seed to its report. ``stop`` ends it early, from any thread."""

    name: str
    world: CampaignWorld
    jobs: int
    budget: int = 200
    enough: int = 0  # findings after which no further seed begins; 0: never enough
    say: Say = lambda text: None
    tell: Tell = lambda text, step, total: None
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self, seeds: Iterable[int], seconds: float, *, shrink: bool = True) -> FuzzReport:
        """Play until ``seconds`` are over, then shrink what was found.

        Raises as ``Campaign`` does, and KS-USE-003 for a bad name.
        """
        if wrong := names.RUN.fault(self.name):
            raise KeysteadError("KS-USE-003", f"--campaign {self.name}: {wrong}")
        folder = state_home() / "campaigns" / self.name
        with Campaign(folder, self.world, self.jobs, stop=self.stop) as campaign:
            return self._run(campaign, seeds, seconds, shrink=shrink)

    def _run(
        self, campaign: Campaign, seeds: Iterable[int], seconds: float, *, shrink: bool
    ) -> FuzzReport:
        if campaign.played:
            self.say(f"campaign {self.name} goes on: {len(campaign.played)} seeds were played")
        begun = time.monotonic()
        now: list[Seed] = []
        red = 0
        for seed in campaign.play(seeds, begun + seconds, self.tell):
            now.append(seed)
            if seed.failures:
                red += 1
                self.say(f"seed {seed.seed} ({seed.lab}): {', '.join(map(str, seed.failures))}")
            if self.enough and red >= self.enough:
                campaign.enough = True
        taken = time.monotonic() - begun
        return self._report(campaign, now, taken, self._collect_failures(campaign, shrink=shrink))

    def _collect_failures(self, campaign: Campaign, *, shrink: bool) -> tuple[FoundFailure, ...]:
        """Each failure with its seeds; the first of each seed's failures counts."""
        seeds: dict[Failure, list[int]] = {}
        for seed in sorted(campaign.played.values(), key=lambda seed: seed.seed):
            if seed.failures:
                seeds.setdefault(seed.failures[0], []).append(seed.seed)
        return tuple(
            self._smallest(campaign, failure, tuple(numbers))
            if shrink and failure.kind not in ("replay", "slow") and not self.stop.is_set()
            else FoundFailure(
                failure=str(failure), seeds=tuple(numbers), lab=campaign.played[numbers[0]].lab
            )
            for failure, numbers in sorted(seeds.items())
        )

    def _smallest(
        self, campaign: Campaign, failure: Failure, seeds: tuple[int, ...]
    ) -> FoundFailure:
        """The smallest of what some of the seeds shrink to, in its file."""
        best: tuple[int, Small] | None = None
        for number in seeds[:SHRUNK_OF_EACH]:
            self.say(f"shrink seed {number}: {failure}")
            world = campaign.world_of(number)
            shrinking = Shrinking(world, self.budget, self.say, self.stop.is_set)
            small = shrinking.shrink(campaign.plan(number), failure)
            if best is None or _weight(small.plan) < _weight(best[1].plan):
                best = number, small
        if best is None:
            return FoundFailure(failure=str(failure), seeds=seeds)
        seed, small = best
        before = size(campaign.plan(seed))
        path = write(campaign.folder / "found", small, seed, before)
        self.say(describe_finding(small, seed))
        return FoundFailure(
            failure=str(failure),
            seeds=seeds,
            smallest=f"{size(small.plan)}: {small.shape()}",
            faults=len(small.plan.faults),
            runs=small.runs,
            file=str(path),
            lab=small.world.describe_lab(),
        )

    def _report(
        self,
        campaign: Campaign,
        now: list[Seed],
        taken: float,
        found: tuple[FoundFailure, ...],
    ) -> FuzzReport:
        coverage = campaign.coverage()
        cpu = [seed.cpu_s for seed in campaign.played.values() if seed.cpu_s]
        return FuzzReport(
            campaign=self.name,
            folder=str(campaign.folder),
            tpm=self.world.tpm,
            labs=campaign.labs(),
            played=len(campaign.played),
            now=len(now),
            seconds=round(taken, 3),
            cpu_ms=round(1000 * sum(cpu) / len(cpu), 1) if cpu else 0.0,
            twice=sum(seed.twice for seed in campaign.played.values()),
            items=found,
            tried=msgspec.structs.asdict(coverage),
            untried=coverage.list_untried(),
            undrawn={kind: why for kind, why in UNDRAWN.items() if kind not in coverage.faults},
        )


def _weight(plan: Plan) -> tuple[int, int, float]:
    return len(plan.faults), len(plan.arrivals), plan.duration_s


def shrink(made: Prepared, budget: int, target: Path, say: Say) -> ShrunkRun:
    """Make a failing experiment small; its file goes to ``target``.

    KS-RUN-006 when it does not fail in the simulation, or fails in another way each time.
    """
    if made.plan.load is not None:
        raise KeysteadError("KS-CHAOS-022", f"{made.plan.name} has a load")
    failure = _failure_of(made)
    world = _world_of(made)
    small = Shrinking(world, budget, say).shrink(made.plan, failure)
    path = write(target, small, made.plan.seed, size(made.plan))
    return ShrunkRun(
        failure=str(failure),
        before=size(made.plan),
        after=size(small.plan),
        shape=small.shape(),
        runs=small.runs,
        file=str(path),
    )


def _failure_of(made: Prepared) -> Failure:
    with BuiltLabs(Origin(made.topology, ledger=True)) as snapshot:
        found = failures_of(snapshot, made.plan)
    if not found:
        raise KeysteadError("KS-RUN-006", f"{made.plan.name} passes with seed {made.plan.seed}")
    return found[0]


def _knobs(topology: Any) -> dict[str, Any]:
    """Those that an experiment's ``topology`` sets over the lab's file."""
    changes = topology.get("with", {}) if isinstance(topology, dict) else {}
    return dict(changes.get("knobs", {}))


def _world_of(made: Prepared) -> CampaignWorld:
    """The world whose lab is this experiment's; KS-RUN-006 when a campaign has no such lab."""
    hosts = [spec for spec in made.topology.nodes if spec.role is Role.ESXI]
    servers = sum(spec.role is Role.KMS for spec in made.topology.nodes)
    world = CampaignWorld(
        lab=("ha" if made.topology.ha else "default") if servers else "native",
        hosts=len(hosts),
        vms=len(made.topology.vms),
        kms=servers or 1,
        tpm=hosts[0].tpm.value if hosts else "none",
        knobs=_knobs(made.plan.topology),
    )
    for persistence in (True, False):
        found = msgspec.structs.replace(world, persistence=persistence)
        if found.topology() == made.topology:
            return found
    raise KeysteadError(
        "KS-RUN-006", f"{made.plan.name}: its lab has not the shape of a shipped one"
    )
