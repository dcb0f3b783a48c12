"""One seed, one run: the same in every process, whatever its hashes and addresses are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from services.runtime.forking.blocking import ForkServer
from services.runtime.sim.ready_queue import StepOrder
from services.runtime.sim.runner import run_in_worker
from services.runtime.sim.trace import first_difference
from tests.services.runtime.sim.workload import Outcome, play, play_planted

pytestmark = pytest.mark.sim

WORKLOAD = "tests.services.runtime.sim.workload"


@pytest.fixture(scope="module", params=["1", "2", "4711"])
def hash_seed(request: pytest.FixtureRequest) -> Iterator[ForkServer]:
    server = ForkServer([WORKLOAD], env={"PYTHONHASHSEED": request.param})
    yield server
    server.close()


@pytest.mark.slow
def test_ten_runs_in_one_process_are_equal() -> None:
    first = play(7)
    assert first.steps > 10_000
    assert not first.escapes and not first.unhandled
    for junk in range(1, 10):
        again = play(7, junk * 31)
        assert again == first


@pytest.mark.slow
@pytest.mark.parametrize("order", StepOrder)
def test_each_order_replays(order: StepOrder) -> None:
    first, second = play(3, order=order), play(3, 1000, order=order)
    assert first.order == order.value
    assert first == second


@pytest.mark.slow
def test_hash_seeds_and_allocation_histories_change_nothing(hash_seed: ForkServer) -> None:
    here = [play(seed) for seed in (7, 8)]
    for junk in (0, 5_000):
        for mine, seed in zip(here, (7, 8), strict=True):
            there = run_in_worker(play, seed, junk, server=hash_seed, timeout_s=60)
            assert there == mine


@pytest.mark.slow
def test_seeds_differ() -> None:
    outcomes = [play(seed) for seed in range(12)]
    assert len({outcome.hash for outcome in outcomes}) == 12
    assert len({outcome.journal for outcome in outcomes}) == 12
    # A quarter each of FIFO and few preemptions, half random: twelve seeds draw more than one.
    assert len({outcome.order for outcome in outcomes}) > 1


def test_the_order_alone_makes_another_history() -> None:
    histories = {play(5, order=order).journal for order in StepOrder}
    assert len(histories) == 3


def test_the_story_really_has_what_could_leak_order() -> None:
    outcome = play(7)
    said = "\n".join(outcome.journal)
    for sign in ("cancelled", "failed", "consumed", "no word", "lost the broker", "is back"):
        assert sign in said
    assert any("/2 " in line for line in outcome.journal)  # rebooted
    assert "ends orderly" not in said  # crashes are no cancellations


def test_recording_does_not_change_the_hash() -> None:
    plain, recorded = play(7), play(7, record=True)
    assert plain.hash == recorded.hash
    assert len(recorded.entries) > recorded.steps


@pytest.mark.parametrize("planted", ["set", "id"])
def test_an_order_by_address_is_caught(planted: str) -> None:
    hashes = {play_planted(7, junk, planted) for junk in range(0, 400, 40)}
    assert len(hashes) > 1


@pytest.mark.slow
def test_an_order_by_string_hash_is_caught() -> None:
    hashes = set()
    for value in ("1", "2", "3", "4"):
        server = ForkServer([WORKLOAD], env={"PYTHONHASHSEED": value})
        try:
            hashes.add(run_in_worker(play_planted, 7, 0, "hash", server=server, timeout_s=60))
        finally:
            server.close()
    assert len(hashes) > 1


def test_the_first_difference_is_shown() -> None:
    first: Outcome = play(7, record=True, planted="id")
    others = (play(7, junk, record=True, planted="id") for junk in itertools.count(40, 40))
    second = next(o for o in itertools.islice(others, 20) if o.hash != first.hash)
    difference = first_difference(first.entries, second.entries)
    assert difference is not None
    assert difference.first != difference.second
    assert first.entries[: difference.index] == second.entries[: difference.index]
    assert "part at entry" in str(difference)
