"""A few seeds of ``wide_walk`` for each mode; many more were run when it was written.

It found two servers with full disks that woke each other for ever.
"""

from __future__ import annotations

from contextlib import closing

import pytest

from tests.services.kms.wide_walk import WideWalk

STEPS = 30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "size", "seed"),
    [
        *[("pair", 2, seed) for seed in range(4)],
        *[("async", 3, seed) for seed in range(3)],
        ("async", 5, 1),
        ("forward", 3, 1),
        ("forward", 4, 2),
        ("async", 8, 1),
        ("forward", 8, 0),
    ],
)
def test_after_all_that_befell_them_all_have_the_same(mode: str, size: int, seed: int) -> None:
    walk = WideWalk(seed, mode, size)
    with closing(walk.rig) as rig:
        walk.play(STEPS)
        assert walk.flaws() == []
        rig.healthy()
