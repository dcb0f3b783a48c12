"""A campaign: many seeds, as many at once as asked for, each judged; findings kept and shrunk.

Its folder has ``campaign.json`` (what it is), ``seeds.msgpack`` (a line for each seed that was
played, written as it ends) and ``found/`` (a file for each finding). A campaign that was killed
goes on where it was: seeds that are written down are not played again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from chaos.errors import ChaosError
from chaos.experiment.plan import Plan
from chaos.experiment.random_runs import random_plan
from chaos.lab import Directory
from chaos.recording import pack, packed
from lab.errors import KeysteadError
from lab.fuzz.coverage import Coverage
from lab.fuzz.finding import LEAK, Failure, failures, of_exception
from lab.fuzz.play import Played, play
from lab.fuzz.world import World
from lab.runs.store import code_version
from lab.simulation.snapshot import Snapshot
from services.runtime.forking.connection import ForkFailed

AGAIN_EVERY: Final = 50
"""One seed in so many is played twice: it must give the same run. The second one is in a lab that
keeps the ledger of keys, and ends with a search for them (S1)."""
Tell = Callable[[str, int, int], None]
Twice = tuple[Snapshot, Snapshot]
"""In which a seed is played, and in which it is played again."""


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """A seed that was played: how it failed (nothing when it passed), its trace, what it cost."""

    seed: int
    failures: tuple[Failure, ...] = ()
    trace: str = ""
    cpu_s: float = 0.0
    twice: bool = False
    coverage: Coverage = msgspec.field(default_factory=Coverage)


class About(msgspec.Struct, frozen=True, kw_only=True):
    """``campaign.json``: what a campaign plays; another one may not go on in its folder."""

    world: World
    code: str


@dataclass
class Campaign:
    """``folder`` is its own. ``stop`` may be set from any thread, and ``enough`` while it plays:
    no further seed begins, and those that run are ended."""

    folder: Path
    world: World
    jobs: int = 1
    played: dict[int, Seed] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    enough: bool = False

    def open(self) -> None:
        """Make the folder, or go on in it.

        KS-RUN-005 when another world, or another version of the code, was played in it.
        """
        (self.folder / "found").mkdir(parents=True, exist_ok=True, mode=0o700)
        about = msgspec.json.encode(About(world=self.world, code=code_version()))
        path = self.folder / "campaign.json"
        if path.exists() and path.read_bytes() != about:
            raise KeysteadError("KS-RUN-005", f"{self.folder.name} has other options or other code")
        path.write_bytes(about)
        self.played |= {seed.seed: seed for seed in read_seeds(self._log)}

    @property
    def _log(self) -> Path:
        return self.folder / "seeds.msgpack"

    def play(self, seeds: Iterable[int], until: float, tell: Tell) -> Iterator[Seed]:
        """Play those of ``seeds`` that were not played yet until ``until`` (monotonic seconds).

        Each is written down before it is given; the order is that in which they end.
        """
        wanted = [seed for seed in seeds if seed not in self.played]
        directory, done = self.world.directory(), 0
        with (
            Snapshot(self.world.origin()) as snapshot,
            Snapshot(self.world.origin(ledger=True)) as again,
            self._log.open("ab") as log,
        ):
            for seed in self._ended((snapshot, again), directory, wanted, until):
                log.write(pack(msgspec.to_builtins(seed)))
                log.flush()
                self.played[seed.seed] = seed
                done += 1
                tell(self._line(), done, len(wanted))
                yield seed

    def _ended(
        self, snapshots: Twice, directory: Directory, wanted: list[int], until: float
    ) -> Iterator[Seed]:
        """As many at once as there are jobs, none begun after ``until``."""
        waiting = iter(wanted)
        with ThreadPoolExecutor(self.jobs, thread_name_prefix="fuzz") as pool:
            going: set[Future[Seed]] = set()
            while True:
                while len(going) < self.jobs and not self._over(until):
                    seed = next(waiting, None)
                    if seed is None:
                        break
                    going.add(pool.submit(self._one, snapshots, directory, seed))
                if not going:
                    return
                ended, going = wait(going, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ended)

    def _over(self, until: float) -> bool:
        return self.enough or self.stop.is_set() or time.monotonic() >= until

    def _one(self, snapshots: Twice, directory: Directory, number: int) -> Seed:
        plan = self.plan(directory, number)
        snapshot, again = snapshots
        try:
            played = play(snapshot, plan)
            failed = failures(played.verdict)
            twice = bool(failed) or number % AGAIN_EVERY == 0
            if twice:
                more, searched = differs(again, plan, played)
                failed = (*failed, *more)
                played.coverage.checks.update(searched)
        except ForkFailed:  # there is no lab to play in: no seed could be played
            raise
        except Exception as error:  # of whatever kind: a run that raises it is a finding
            return Seed(seed=number, failures=(of_exception(error),))
        return Seed(
            seed=number,
            failures=failed,
            trace=played.verdict.trace_hash,
            cpu_s=round(played.cpu_s, 4),
            twice=twice,
            coverage=played.coverage,
        )

    def plan(self, directory: Directory, seed: int) -> Plan:
        """What is played for a seed."""
        return random_plan(directory, seed, self.world.mix, topology=self.world.use)

    def coverage(self) -> Coverage:
        """Of all seeds that were played."""
        whole = Coverage()
        for seed in self.played.values():
            whole.add(seed.coverage)
        return whole

    def _line(self) -> str:
        red = sum(bool(seed.failures) for seed in self.played.values())
        return f"{len(self.played)} seeds, {red} with findings"


def differs(
    snapshot: Snapshot, plan: Plan, first: Played
) -> tuple[tuple[Failure, ...], dict[str, int]]:
    """Whether the same run once more is another one: then determinism is broken. What only the
    second one found is told too, and what its search for keys came to, as coverage has it."""
    again = play(snapshot, plan)
    known = failures(first.verdict)
    more = [found for found in failures(again.verdict) if found not in known]
    same = again.verdict.trace_hash == first.verdict.trace_hash
    searched = {name: 1 for name in again.coverage.checks if name.endswith(f" {LEAK.name}")}
    return (*more, *(() if same else (Failure("replay", "trace"),))), searched


def read_seeds(path: Path) -> Iterator[Seed]:
    """What a campaign has written down; the last line may have been cut off by a kill, and is
    taken away then, so that the next one begins at its place."""
    if not path.exists():
        return
    whole = 0
    with path.open("rb") as file:
        try:
            for raw in packed(file):
                yield msgspec.msgpack.decode(raw, type=Seed)
                whole += len(raw)
        except (ChaosError, msgspec.DecodeError):
            os.truncate(path, whole)
