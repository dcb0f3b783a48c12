"""Long stagings are begun one by one and early, whole labs between brief ones, blocks are mixed."""

from __future__ import annotations

from itertools import pairwise

from chaos.matrix.events import EVENTS
from chaos.matrix.faults import FAULTS
from chaos.matrix.grid import BLOCKS, Staging, cells_of, controls_of, stagings_of
from chaos.matrix.terms import Boot, is_trusted
from lab.matrix.players import LATE_WITHIN, in_sequence

CELLS = cells_of(BLOCKS, tuple(FAULTS), tuple(EVENTS))
GRID = (*stagings_of(CELLS), *controls_of(CELLS))
AT_ONCE = 12


def whole(staging: Staging) -> bool:
    """Whether it has a host for every event, or nearly."""
    late = staging.expired or staging.evicted
    usual = staging.boot is Boot.ORDERLY and not staging.control and not late
    return usual and not any(EVENTS[event].vsan for event in staging.events)


def test_nothing_is_lost_or_played_twice() -> None:
    assert sorted(one.name for one in in_sequence(GRID)) == sorted(one.name for one in GRID)
    assert in_sequence(()) == []


def test_what_waits_longest_is_begun_one_by_one_and_early_and_what_is_brief_last() -> None:
    made = in_sequence(GRID)
    late = [at for at, one in enumerate(made) if one.expired or one.evicted]
    assert late and late[-1] < LATE_WITHIN * len(made)
    assert all(after - before > 2 for before, after in pairwise(late))
    assert made[late[0]].expired
    assert not any(whole(one) for one in made[-2 * AT_ONCE :])


def test_no_stretch_of_the_run_has_whole_or_trusted_labs_only() -> None:
    made = [one for one in in_sequence(GRID) if not one.expired and not one.evicted]
    stretches = [made[at : at + AT_ONCE] for at in range(len(made) - AT_ONCE)]
    assert max(sum(map(whole, some)) for some in stretches) <= AT_ONCE // 2
    trusted = (sum(whole(one) and is_trusted(one.block) for one in some) for some in stretches)
    assert max(trusted) <= 2
