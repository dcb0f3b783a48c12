"""A whole sweep: points are enumerated from a play of each story, and then struck.

A point is struck at its first, second and last passage within each step, in every way that can
happen there. The blows of a story are shared out among plays, several of which go on at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from fnmatch import fnmatchcase
from typing import Final

from chaos.points import Blow, blows_at, flaws_at
from lab.building.course import Report
from lab.schema.errors import KeysteadError
from lab.simulation.points import Passage
from lab.simulation.snapshot import BuiltLabs, Origin
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.messages.agent import TpmBackend
from protocol.printable import quote_if_needed
from tests.sweep.forks import Seen, Struck, name_of, record, strike
from tests.sweep.stories import STORIES

LIMIT_S: Final = 1800.0  # real seconds that the plays of one share of a story may take
SHARE: Final = 24  # blows of one play

Chosen = dict[Passage, tuple[Blow, ...]]
"""Blows by the passage at which they fall."""


def sweep(
    stories: Sequence[str],
    *,
    tpm: TpmBackend,
    seed: int,
    jobs: int,
    only: str,
    patch: str,
    report: Report,
) -> list[Struck]:
    """Every blow of these stories whose name begins as the pattern ``only`` says.

    ``patch`` names a module that is imported before any node is made. A story that breaks a rule
    undisturbed is not struck: it is in the answer without a blow. KS-USE-005 when ``only`` fits
    nothing.
    """
    named = only.partition("/")[0]
    wanted = [name for name in stories if named in ("", name) or named not in STORIES]
    snapshots = {name: _snapshot(name, tpm, patch) for name in wanted}
    struck: list[Struck] = []
    pool = ThreadPoolExecutor(jobs)
    try:
        playing = {
            name: pool.submit(made.run, seed, record, name) for name, made in snapshots.items()
        }
        shares: list[tuple[str, Chosen]] = []
        for name, ended in playing.items():
            played, seen = ended.result()
            if played.violations:
                struck.append(Struck(story=name, played=played))
            else:
                shares += [(name, share) for share in _shares(name, seen, only)]
        if not shares and not struck:
            raise KeysteadError("KS-USE-005", f"no point has a name like {quote_if_needed(only)}")
        total = sum(len(blows) for _, share in shares for blows in share.values())
        going = [
            pool.submit(snapshots[name].run, seed, strike, name, share) for name, share in shares
        ]
        for done in as_completed(going):
            struck += done.result()
            report("plays", len(struck), total)
    finally:  # whoever stops it waits for no play that still goes on
        for made in snapshots.values():
            made.close()
        pool.shutdown(cancel_futures=True)
    order = {name: place for place, name in enumerate(stories)}
    return sorted(struck, key=lambda each: (order[each.story], each.place))


def _snapshot(name: str, tpm: TpmBackend, patch: str) -> BuiltLabs:
    lab = load("default", **{**STORIES[name].topology, "tpm": tpm.value})
    return BuiltLabs(Origin(plan(lab), patch=patch), limit_s=LIMIT_S)


def _shares(name: str, seen: Iterable[Seen], only: str) -> Iterable[Chosen]:
    wanted = [
        (passage, blow)
        for passage in passages_to_strike(seen)
        for blow in (*blows_at(passage.point.call), *flaws_at(passage.point.call))
        if _fits(name_of(name, passage, blow), only)
    ]
    count = -(-len(wanted) // SHARE)
    for share in range(count):
        chosen: Chosen = {}
        for passage, blow in wanted[share::count]:
            chosen[passage] = (*chosen.get(passage, ()), blow)
        yield chosen


def passages_to_strike(seen: Iterable[Seen]) -> list[Passage]:
    """The first, second and last passage of each point within each step, in order."""
    by_place: dict[tuple[str, object], list[Passage]] = {}
    for each in seen:
        by_place.setdefault((each.step, each.passage.point), []).append(each.passage)
    chosen = [passage for passages in by_place.values() for passage in _three(passages)]
    return sorted(chosen, key=lambda passage: (passage.at, str(passage)))


def _three(passages: list[Passage]) -> list[Passage]:
    return passages[:2] + passages[2:][-1:]


def _fits(name: str, only: str) -> bool:
    """A pattern of the shell's kind fits what begins so."""
    return fnmatchcase(name, f"{only}*")
