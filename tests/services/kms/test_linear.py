"""What clients of replicating key servers saw under kills and partitions has an order.

Each mode is held to what it promises (``tests.linear.judge``). More seeds:
``python -m tests.services.kms.test_linear MODE FIRST LAST``.
"""

from __future__ import annotations

import sys
import time

import pytest

from tests.linear import acts
from tests.linear.judge import Judged, judge
from tests.services.kms.linear_play import MODES, played

LEAST_ACTS = 60


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_clients_saw_has_an_order(mode: str, seed: int) -> None:
    found = judge(played(mode, seed))
    assert found.violations == ()
    assert found.undecided == ()
    assert found.acts > LEAST_ACTS and found.reads > found.acts / 2


def test_plays_have_every_operation_and_every_outcome() -> None:
    records = [record for mode in MODES for record in played(mode, 0)]
    ended = {(record.op, record.type) for record in records if record.op in acts.OPERATIONS}
    assert {op for op, how in ended if how == "ok"} == acts.OPERATIONS - {acts.ACTIVATE}
    assert {how for _, how in ended} == {"invoke", "ok", "fail", "info"}
    assert {record.op for record in records if record.type == "fault"} == {"link.cut", "proc.kill"}


def test_a_play_replays_from_its_seed() -> None:
    first, again = (
        [(record.t, record.node, record.type, record.op) for record in played("sync-pair", 1)]
        for _ in range(2)
    )
    assert first == again


def _many(mode: str, first: int, last: int) -> int:
    began, told = time.monotonic(), dict[int, Judged]()
    for seed in range(first, last):
        told[seed] = judge(played(mode, seed))
        for violation in told[seed].violations:
            print(f"{mode}, seed {seed}: {violation.text}")
    bad = [seed for seed, found in told.items() if found.violations]
    undecided = sum(len(found.undecided) for found in told.values())
    acts_judged = sum(found.acts for found in told.values())
    parts = sum(found.parts for found in told.values())
    taken_s = time.monotonic() - began
    print(
        f"{mode}: {len(told)} plays, {acts_judged} operations, {parts} parts, "
        f"{undecided} undecided, {len(bad)} violated, {len(told) / taken_s:.1f} plays a second"
    )
    return 1 if bad or undecided else 0


if __name__ == "__main__":
    sys.exit(_many(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
