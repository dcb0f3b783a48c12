"""The offset of another machine's clock: errors that hold, drift that is followed, jumps."""

from __future__ import annotations

import random

import pytest

from lab.machines.machine import CONTRADICTIONS, WINDOW, Offset, OffsetSample, sample_of

HOURS_3 = 3 * 3600.0


class Link:
    """A link with a base delay each way and a tail of slow ways, and a clock at its other end."""

    def __init__(self, seed: int, there_s: float, back_s: float, drift: float = 0.0) -> None:
        self._random = random.Random(seed)
        self._there_s, self._back_s, self.drift = there_s, back_s, drift
        self.ahead_s = HOURS_3
        self.now = 1000.0

    def clock(self) -> float:
        """The clock at the other end."""
        return self.now * (1 + self.drift) + self.ahead_s

    @property
    def truth(self) -> float:
        return self.clock() - self.now

    def beat(self) -> OffsetSample:
        sent = self.now
        self.now += self._there_s + self._random.expovariate(200)
        received = self.clock()
        self.now += 0.001
        answered = self.clock()
        self.now += self._back_s + self._random.expovariate(200)
        sample = sample_of(sent, received, answered, self.now)
        self.now = sent + 1.0
        return sample


@pytest.mark.parametrize(("there_s", "back_s"), [(0.0, 0.0), (0.03, 0.03), (0.08, 0.01)])
def test_the_truth_lies_within_the_error_that_is_told(there_s: float, back_s: float) -> None:
    link, offset = Link(1, there_s, back_s), Offset()
    for _ in range(200):
        offset.add(link.beat())
        assert offset.known is not None
        assert abs(offset.known.offset_s - link.truth) <= offset.known.error_s
    assert offset.known is not None
    assert offset.known.error_s < (there_s + back_s) / 2 + 0.01, "the best ways count"
    assert offset.jumps == 0


@pytest.mark.parametrize("drift", [2e-4, -2e-4])
def test_drift_is_followed(drift: float) -> None:
    link, offset = Link(2, 0.001, 0.001, drift), Offset()
    for _ in range(2000):
        offset.add(link.beat())
    assert offset.known is not None
    assert abs(offset.known.offset_s - link.truth) < 2e-4 * WINDOW
    assert offset.jumps == 0


@pytest.mark.parametrize("jump_s", [600.0, -600.0, 1.0])
def test_a_jump_is_believed_after_some_agree_and_counted(jump_s: float) -> None:
    link, offset = Link(3, 0.001, 0.001), Offset()
    for _ in range(50):
        offset.add(link.beat())
    link.ahead_s += jump_s
    for _ in range(CONTRADICTIONS):
        offset.add(link.beat())
    assert offset.known is not None
    assert abs(offset.known.offset_s - link.truth) <= offset.known.error_s
    assert offset.jumps == 1


def test_one_lie_changes_nothing() -> None:
    link, offset = Link(4, 0.001, 0.001), Offset()
    for _ in range(50):
        offset.add(link.beat())
    before = offset.known
    offset.add(OffsetSample(0.0, 0.001))
    assert offset.known == before and offset.jumps == 0
    offset.add(link.beat())
    for _ in range(CONTRADICTIONS - 1):
        offset.add(OffsetSample(0.0, 0.001))
    offset.add(link.beat())
    assert offset.jumps == 0, "those between agreed with what was known"


def test_a_way_back_in_time_has_no_negative_error() -> None:
    assert sample_of(10.0, 5.0, 6.0, 10.5).error_s == 0.0
