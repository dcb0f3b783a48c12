"""A campaign: many seeds, as many at once as asked for, each judged; findings kept and shrunk.

Its folder has ``campaign.json`` (what it is), ``seeds.msgpack`` (a line for each seed that was
played, written as it ends) and ``found/`` (a file for each finding). A campaign that was killed
goes on where it was: seeds that are written down are not played again. One process plays it at a
time.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path
from typing import Final, Self

import msgspec

from chaos.errors import ChaosError
from chaos.experiment.plan import Plan
from chaos.experiment.random_runs import random_plan
from chaos.history import pack, read_packed
from chaos.lab import Directory
from lab.fuzz.play import LEAK, Coverage, Failure, PlayedRun, failures, of_exception, play
from lab.fuzz.world import CampaignWorld, by_lab, draw_lab, number_of
from lab.runs.store import code_version
from lab.schema.errors import KeysteadError
from lab.simulation.snapshot import BuiltLabs
from lab.state.scratch import hold, no_room
from services.runtime.forking.connection import ForkFailed

AGAIN_EVERY: Final = 50
"""One seed in so many is played twice: it must give the same run. The second one is in a lab that
keeps the ledger of keys, and ends with a search for them (S1)."""
VOIDS_IN_A_ROW: Final = 3
"""So many seeds one after the other for which no process could be had end the campaign."""

Tell = Callable[[str, int, int], None]
Twice = tuple[BuiltLabs, BuiltLabs]
"""In which a seed is played, and in which it is played again."""


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """A seed that was played: how it failed (nothing when it passed), its trace, what it cost, and
    its ``lab`` in words."""

    seed: int
    failures: tuple[Failure, ...] = ()
    trace: str = ""
    cpu_s: float = 0.0
    twice: bool = False
    lab: str = ""
    coverage: Coverage = msgspec.field(default_factory=Coverage)


class CampaignFacts(msgspec.Struct, frozen=True, kw_only=True):
    """``campaign.json``: what a campaign plays; another one may not go on in its folder."""

    world: CampaignWorld
    code: str


@dataclass
class Campaign:
    """``folder`` is its own. ``stop`` may be set from any thread, and ``enough`` while it plays:
    no further seed begins, and those that run are ended. ``void`` are seeds for which no process
    could be had, each with why: they are not written down, and are played the next time."""

    folder: Path
    world: CampaignWorld
    jobs: int = 1
    played: dict[int, Seed] = field(default_factory=dict)
    void: dict[int, str] = field(default_factory=dict, init=False)
    _lock: int | None = field(default=None, init=False)
    stop: threading.Event = field(default_factory=threading.Event)
    enough: bool = False

    def __enter__(self) -> Self:
        """Make the folder, or go on in it.

        KS-RUN-005 when another world, or another version of the code, was played in it, KS-RUN-007
        while another process plays it, KS-LAB-005 when it cannot be written.
        """
        try:
            (self.folder / "found").mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = hold(self.folder)
            if self._lock is None:
                raise KeysteadError("KS-RUN-007", self.folder.name)
            self._agree()
            self.played |= {seed.seed: seed for seed in read_seeds(self._log)}
        except OSError as error:
            self.__exit__()
            raise no_room(error) from None
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    def _agree(self) -> None:
        """What is played in the folder, written down by the first that plays in it."""
        about = CampaignFacts(world=self.world, code=code_version())
        path = self.folder / "campaign.json"
        if not path.exists():
            half = path.with_suffix(".new")
            half.write_bytes(msgspec.json.encode(about))
            half.replace(path)
            return
        try:
            found = msgspec.json.decode(path.read_bytes(), type=CampaignFacts)
        except msgspec.DecodeError:
            raise KeysteadError("KS-RUN-005", f"{path} cannot be read") from None
        if found != about:
            other = "options" if found.world != about.world else "code"
            raise KeysteadError("KS-RUN-005", f"{self.folder.name} has other {other}")

    @property
    def _log(self) -> Path:
        return self.folder / "seeds.msgpack"

    def play(self, seeds: Iterable[int], until: float, tell: Tell) -> Iterator[Seed]:
        """Play those of ``seeds`` that were not played yet until ``until`` (monotonic seconds).

        Each is written down before it is given; the order is that in which they end. KS-LAB-005
        when there is no room to write one down; ``ForkFailed`` after ``VOIDS_IN_A_ROW``.
        """
        wanted = [seed for seed in seeds if seed not in self.played]
        done = 0
        with self._log.open("ab", buffering=0) as log:
            for world, some in self._worlds(wanted):
                if self._over(until):
                    break
                for seed in self._in_one_lab(world, some, until):
                    _write(log, pack(msgspec.to_builtins(seed)))
                    self.played[seed.seed] = seed
                    done += 1
                    tell(self._line(), done, len(wanted))
                    yield seed

    def world_of(self, seed: int) -> CampaignWorld:
        """The lab of a seed, and what its faults are drawn from."""
        return draw_lab(self.world, number_of(seed)) if self.world.drawn else self.world

    def _worlds(self, wanted: list[int]) -> Iterator[tuple[CampaignWorld, list[int]]]:
        """The seeds by their labs."""
        if not self.world.drawn:
            yield self.world, wanted
            return
        for number, some in by_lab(wanted):
            yield draw_lab(self.world, number), some

    def _in_one_lab(self, world: CampaignWorld, wanted: list[int], until: float) -> Iterator[Seed]:
        with (
            BuiltLabs(world.origin()) as snapshot,
            BuiltLabs(world.origin(ledger=True)) as again,
        ):
            yield from self._play_seeds((snapshot, again), world, wanted, until)

    def _play_seeds(
        self, snapshots: Twice, world: CampaignWorld, wanted: list[int], until: float
    ) -> Iterator[Seed]:
        """As many at once as there are jobs, none begun after ``until``."""
        directory = world.directory()
        waiting = iter(wanted)
        with ThreadPoolExecutor(self.jobs, thread_name_prefix="fuzz") as pool:
            going: dict[Future[Seed], int] = {}
            in_a_row = 0
            while True:
                while len(going) < self.jobs and not self._over(until):
                    seed = next(waiting, None)
                    if seed is None:
                        break
                    going[pool.submit(self._one, snapshots, world, directory, seed)] = seed
                if not going:
                    return
                for future in wait(going, return_when=FIRST_COMPLETED).done:
                    number = going.pop(future)
                    try:
                        played = future.result()
                    except ForkFailed as error:
                        self.void[number] = str(error)
                        in_a_row += 1
                        if in_a_row >= VOIDS_IN_A_ROW:
                            raise
                        continue
                    in_a_row = 0
                    self.void.pop(number, None)
                    yield played

    def _over(self, until: float) -> bool:
        return self.enough or self.stop.is_set() or time.monotonic() >= until

    def _one(
        self, snapshots: Twice, world: CampaignWorld, directory: Directory, number: int
    ) -> Seed:
        plan = random_plan(directory, number, world.mix, topology=world.use)
        snapshot, again = snapshots
        try:
            played = play(snapshot, plan)
            failed = failures(played.verdict)
            twice = bool(failed) or number % AGAIN_EVERY == 0
            if twice:
                more, searched = differs(again, plan, played)
                failed = (*failed, *more)
                played.coverage.checks.update(searched)
        except ForkFailed:  # nothing of it was played
            raise
        except Exception as error:  # of whatever kind: a run that raises it is a finding
            return Seed(seed=number, failures=(of_exception(error),), lab=world.describe_lab())
        return Seed(
            seed=number,
            failures=failed,
            trace=played.verdict.trace_hash,
            cpu_s=round(played.cpu_s, 4),
            twice=twice,
            lab=world.describe_lab(),
            coverage=played.coverage,
        )

    def plan(self, seed: int) -> Plan:
        """What is played for a seed."""
        world = self.world_of(seed)
        return random_plan(world.directory(), seed, world.mix, topology=world.use)

    def labs(self) -> dict[str, int]:
        """The labs in words, and how many seeds were played in each."""
        return dict(Counter(seed.lab for seed in self.played.values()).most_common())

    def coverage(self) -> Coverage:
        """Of all seeds that were played."""
        whole = Coverage()
        for seed in self.played.values():
            whole.add(seed.coverage)
        return whole

    def _line(self) -> str:
        red = sum(bool(seed.failures) for seed in self.played.values())
        void = f", {len(self.void)} void" if self.void else ""
        return f"{len(self.played)} seeds, {red} with findings{void}"


def _write(log: RawIOBase, line: bytes) -> None:
    """A whole line, or none of it: what had no room is taken away again."""
    begun = log.seek(0, os.SEEK_END)
    try:
        if log.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "seeds.msgpack")
    except OSError as error:
        log.truncate(begun)
        raise no_room(error) from None


def differs(
    snapshot: BuiltLabs, plan: Plan, first: PlayedRun
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
            for raw in read_packed(file):
                yield msgspec.msgpack.decode(raw, type=Seed)
                whole += len(raw)
        except (ChaosError, msgspec.DecodeError):
            os.truncate(path, whole)
