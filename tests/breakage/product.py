"""What the product's own judges see of drawn bugs: random runs, the truth table, and ``plays``.

A lab is built once, with probes in the places of all bugs, and each run is a fork of it. The sound
run says which places it comes to; then the same run is played with each of these bugs, planted as
it begins. A bug in a place that only building a lab comes to is planted before one is built.
The first judge that sees a bug decides, and nothing else is played for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec

from chaos.experiment.plan import dump_plan
from chaos.experiment.random_runs import random_plan
from chaos.matrix.compare import row_of
from chaos.matrix.grid import BLOCKS, Staging, cells_of, controls_of, stagings_of
from chaos.matrix.terms import Agreement
from chaos.oracle.terms import Block, TableEvent, TableFault
from lab.fuzz.play import PlayedRun, _play, failures, of_exception
from lab.fuzz.world import CampaignWorld, number_of
from lab.fuzz.world import draw_lab as lab_of
from lab.matrix.bench import StagingOutcome
from lab.matrix.players import Stages, perform
from lab.serve.session import LabSession
from lab.simulation.sim_lab import SimLab
from lab.simulation.snapshot import BuiltLabs
from protocol.messages.agent import TpmBackend
from services.runtime.forking.connection import ForkFailed
from tests.breakage import planting
from tests.breakage.bugs import Bug
from tests.breakage.planting import plant
from tests.breakage.plays import JUDGES, play

PROBES: Final = "tests.breakage.early.probes"
EARLY: Final = "tests.breakage.early.bug_"
LIMIT_S: Final = 60.0
"""Real seconds after which a run is killed; in a campaign that is a finding."""
RUNS: Final = 5
"""Random runs that are played for one bug, at most."""
STAGINGS: Final = 4
"""Stagings of the truth table that are played for one bug, at most."""
SEED: Final = 1


class Sight(msgspec.Struct, kw_only=True):
    """What judges made of one bug: ``judge`` that saw it (``JUDGES`` of the command), or nothing;
    what it said; in which run. ``runs``: how many were played with it."""

    judge: str = ""
    said: str = ""
    where: str = ""
    runs: int = 0
    stagings: int = 0
    reached: tuple[str, ...] = ()


Say = Callable[[str], None]


class Sweep:
    """The bugs and what was seen of each so far."""

    def __init__(self, bugs: Sequence[Bug], until: float, say: Say, marks: Path) -> None:
        self.bugs, self._until, self._say, self._marks = bugs, until, say, marks
        self.sights = [Sight() for _ in bugs]
        self.built: set[int] = set()

    def over(self) -> bool:
        """Whether the time for all of it is over."""
        return time.monotonic() >= self._until

    def left(self, reached: Iterable[int], most: Callable[[Sight], bool]) -> list[int]:
        """Those of the bugs that nobody has seen yet, and that may be played once more."""
        return [n for n in sorted(reached) if not self.sights[n].judge and most(self.sights[n])]

    def seen(self, number: int, judge: str, said: str, where: str) -> None:
        sight = self.sights[number]
        sight.judge, sight.said, sight.where = judge, said, where
        self._say(f"{judge}: {self.bugs[number].name}: {said} ({where})")

    def noted(self, reached: Iterable[int], where: str) -> None:
        for number in reached:
            self.sights[number].reached += (where,)

    def fuzz(self, labs: Sequence[int], runs: int) -> None:
        """``runs`` seeds in each of these labs of campaigns."""
        for lab in labs:
            seeds = [seed for seed in range(40 * runs) if number_of(seed) == lab][:runs]
            world = msgspec.structs.replace(lab_of(CampaignWorld(drawn=True), lab), patch=PROBES)
            where = world.describe_lab()
            with BuiltLabs(world.origin(), limit_s=LIMIT_S) as snapshot:
                for seed in seeds:
                    if self.over():
                        return
                    self._fuzz_seed(snapshot, world, seed, f"seed {seed}, {where}")

    def _fuzz_seed(self, snapshot: BuiltLabs, world: CampaignWorld, seed: int, where: str) -> None:
        plan = random_plan(world.directory(), seed, world.mix, topology=world.use)
        encoded = dump_plan(plan)
        began = time.monotonic()
        sound, built, reached = snapshot.run(seed, run_probed, encoded)
        self.built |= built
        if failures(_verdict(sound).verdict):
            self._say(f"sound code fails: {where}")
            return
        self.noted(reached, where)
        numbers = self.left(reached, lambda sight: sight.runs < RUNS)
        cost = time.monotonic() - began
        self._say(f"{where}: {len(reached)} reached, {len(numbers)} to play, {cost:.1f} s each")
        for number in numbers:
            if self.over():
                return
            self.sights[number].runs += 1
            said = self._broken_run(snapshot, seed, number, encoded)
            if said:
                self.seen(number, "fuzz", said, where)

    def _broken_run(self, snapshot: BuiltLabs, seed: int, number: int, plan: bytes) -> str:
        try:
            played = _verdict(snapshot.run(seed, run_broken, self.bugs[number], plan))
        except (ForkFailed, LookupError):
            raise
        except Exception as error:
            return str(of_exception(error))
        return ", ".join(map(str, failures(played.verdict)))

    def matrix(self, blocks: Sequence[Block], faults: Sequence[TableFault]) -> None:
        """The stagings of these blocks and faults, cheap ones first, and the controls."""
        with closing(Stages(TpmBackend.MODEL, SEED, 1, patch=PROBES)) as stages:
            for block in blocks:
                cells = cells_of((block,), faults, tuple(TableEvent))
                stagings = (*stagings_of(cells), *controls_of(cells))
                for staging in sorted(stagings, key=lambda one: len(one.events)):
                    if self.over():
                        return
                    self._staging(stages, staging)
                stages.close()

    def _staging(self, stages: Stages, staging: Staging) -> None:
        snapshot = stages._of(staging)
        sound, built, reached = snapshot.run(SEED, stage_probed, staging)
        self.built |= built
        self.noted(reached, staging.name)
        numbers = self.left(reached, lambda sight: sight.stagings < STAGINGS)
        self._say(f"{staging.name}: {len(reached)} reached, {len(numbers)} to play")
        right = _wrong_in(staging, sound)
        for number in numbers:
            if self.over():
                return
            self.sights[number].stagings += 1
            try:
                outcome = snapshot.run(SEED, stage_broken, self.bugs[number], staging)
            except ForkFailed:
                raise
            except Exception as error:
                outcome = StagingOutcome.of_lost_lab(staging, f"{type(error).__name__}: {error}")
            wrong = _wrong_in(staging, outcome)
            new = [f"{name}: {why}" for name, why in wrong.items() if name not in right]
            if new:
                self.seen(number, "matrix", new[0][:300], staging.name)

    def plays(self, name: str) -> None:
        """Plays of this judge, for each bug those that come to its place; those that come to the
        fewest bugs first."""
        judge = JUDGES[name]
        sound: list[tuple[set[int], str]] = []
        for one in judge.plays():
            if self.over() or not self.left(range(len(self.bugs)), lambda sight: True):
                return
            if reached := self._sound_play(name, one):
                sound.append((reached, one))
        sound.sort(key=lambda pair: (len(pair[0]), pair[1]))
        self._say(f"{name}: {len(sound)} plays")
        for number in self.left(range(len(self.bugs)), lambda sight: True):
            for one in [one for reached, one in sound if number in reached][: judge.most]:
                if self.over():
                    return
                if said := _what_it_finds(name, one, f"{EARLY}{number}"):
                    self.seen(number, name, said[:300], one)
                    break

    def _sound_play(self, name: str, one: str) -> set[int]:
        """The places that this play comes to; none when it is not accepted."""
        self._marks.write_bytes(bytes(len(self.bugs)))
        said = _what_it_finds(name, one, PROBES)
        reached = {number for number, mark in enumerate(self._marks.read_bytes()) if mark}
        if said:
            self._say(f"sound code fails: {name} {one}: {said}")
            return set()
        self.noted(reached, one)
        return reached

    def builds(self, labs: Sequence[int]) -> None:
        """A lab and one run of it for each bug that only a build comes to."""
        only = [n for n in sorted(self.built) if not self.sights[n].reached]
        for number in self.left(only, lambda sight: True):
            for lab in labs:
                if self.over() or self.sights[number].judge:
                    break
                self._build(number, lab)

    def _build(self, number: int, lab: int) -> None:
        seed = next(seed for seed in range(4000) if number_of(seed) == lab)
        world = lab_of(CampaignWorld(drawn=True, patch=f"{EARLY}{number}"), lab)
        plan = random_plan(world.directory(), seed, world.mix, topology=world.use)
        where = f"seed {seed}, {world.describe_lab()}, from its building on"
        self.sights[number].runs += 1
        try:
            with BuiltLabs(world.origin(), limit_s=LIMIT_S) as snapshot:
                played = _verdict(snapshot.run(seed, _play, dump_plan(plan), False))
        except Exception as error:
            self.seen(number, "build", str(of_exception(error)), where)
            return
        said = ", ".join(map(str, failures(played.verdict)))
        if said:
            self.seen(number, "fuzz", said, where)


def _what_it_finds(judge: str, one: str, patch: str) -> str:
    """What a play finds; an exception that ends it is a finding too."""
    try:
        return play(judge, one, patch)
    except ForkFailed:
        raise
    except Exception as error:
        if type(error) is LookupError:  # it could not be planted
            raise
        return str(of_exception(error))


def _wrong_in(staging: Staging, outcome: StagingOutcome) -> dict[str, str]:
    """Events that disagree with the table, and controls that do not hold, each with the reason."""
    found = {one.what: one.seen for one in outcome.controls if not one.held}
    for played in outcome.played:
        row = row_of(staging.cell_of(played.event), "", [(staging, played)])
        if row.verdict is Agreement.DISAGREE:
            found[f"{row.block} {row.fault} {row.event}"] = row.why
    return found


def _verdict(encoded: bytes) -> PlayedRun:
    return msgspec.msgpack.decode(encoded, type=PlayedRun)


# ---- in the process of a run ---------------------------------------------------------------------

Probed = tuple[Any, set[int], set[int]]
"""What a sound run gave; places that building its lab came to, and places that it came to."""


def _probed(run: Callable[[], Any]) -> Probed:
    built = set(planting.reached)
    planting.reached.clear()
    return run(), built, set(planting.reached)


def run_probed(lab: SimLab, session: LabSession, plan: bytes) -> Probed:
    """A sound run of a campaign."""
    return _probed(lambda: _play(lab, session, plan, False))


def run_broken(lab: SimLab, session: LabSession, bug: Bug, plan: bytes) -> bytes:
    """The same with the bug."""
    plant(bug)
    return _play(lab, session, plan, False)


def stage_probed(lab: SimLab, session: LabSession, staging: Staging) -> Probed:
    """A sound staging of the truth table."""
    return _probed(lambda: perform(lab, session, staging))


def stage_broken(lab: SimLab, session: LabSession, bug: Bug, staging: Staging) -> StagingOutcome:
    """The same with the bug."""
    plant(bug)
    return perform(lab, session, staging)


ALL_BLOCKS: Final = BLOCKS
