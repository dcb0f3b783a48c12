"""One direction of a connection: nothing overtakes, nothing is lost, and patience has an end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from services.runtime.tls.transport import (
    FIRST_RETRY_S,
    GIVE_UP_S,
    LONGEST_RETRY_S,
    PartKind,
    StreamLane,
    StreamPart,
    Wait,
)


@dataclass
class Later:
    at: float
    act: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Time:
    """A clock that a test moves."""

    at: float = 0.0
    set: list[Later] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    def later(self, seconds: float, act: Callable[[], None]) -> Later:
        made = Later(self.at + seconds, act)
        self.set.append(made)
        return made

    def to(self, at: float) -> None:
        while True:
            due = [later for later in self.set if later.at <= at]
            if not due:
                break
            first = min(due, key=lambda later: later.at)
            self.set.remove(first)
            self.at = max(self.at, first.at)
            if not first.cancelled:
                first.act()
        self.at = at


@dataclass
class Played:
    """A lane with its judge: ``verdicts`` by the bytes of a part; all others pass."""

    time: Time = field(default_factory=Time)
    verdicts: dict[bytes, float | Wait] = field(default_factory=dict)
    out: list[tuple[float, bytes]] = field(default_factory=list)
    asked: int = 0
    gave_up: int = 0
    emptied: int = 0

    def __post_init__(self) -> None:
        self.lane = StreamLane(self.time, self.judge, self.put, self.give_up)
        self.lane.emptied = self.count

    def judge(self, part: StreamPart) -> float | Wait:
        self.asked += 1
        return self.verdicts.get(part.data, 0.0)

    def put(self, part: StreamPart) -> None:
        self.out.append((round(self.time.at, 3), part.data))

    def give_up(self) -> None:
        self.gave_up += 1
        self.lane.drop()

    def count(self) -> None:
        self.emptied += 1

    def send(self, *parts: bytes) -> None:
        for data in parts:
            self.lane.send(StreamPart(PartKind.DATA, data, len(data)))


def test_what_nothing_holds_passes_at_once() -> None:
    played = Played()
    played.send(b"a", b"b")
    assert played.out == [(0.0, b"a"), (0.0, b"b")]
    assert played.lane.empty and not played.time.set


def test_nothing_overtakes_what_a_rule_holds() -> None:
    """Also when the rule is gone and what comes after it would pass at once."""
    played = Played(verdicts={b"a": Wait.RETRY})
    played.send(b"a", b"b")
    del played.verdicts[b"a"]
    played.time.to(0.1)
    played.send(b"c")
    assert played.out == [] and played.lane.weight == 3
    played.time.to(1.0)
    assert [data for _, data in played.out] == [b"a", b"b", b"c"]
    assert played.out[0][0] == FIRST_RETRY_S
    assert played.lane.empty and played.lane.weight == 0 and played.emptied == 1


def test_it_is_tried_less_and_less_often() -> None:
    played = Played(verdicts={b"a": Wait.RETRY})
    played.send(b"a")
    played.time.to(FIRST_RETRY_S * (1 + 2 + 4 + 8))
    assert played.asked == 5
    played.time.to(100.0)
    assert 100 / LONGEST_RETRY_S < played.asked < 100 / LONGEST_RETRY_S + 7


def test_delays_run_beside_each_other_and_keep_the_order() -> None:
    played = Played(verdicts={b"a": 1.0, b"b": 0.5, b"c": 0.5})
    played.send(b"a", b"b")
    played.time.to(0.8)
    played.send(b"c")
    played.time.to(5.0)
    assert played.out == [(1.0, b"a"), (1.0, b"b"), (1.3, b"c")]


def test_who_is_not_ready_is_not_asked_until_it_says_so() -> None:
    played = Played(verdicts={b"a": Wait.KICK})
    played.send(b"a", b"b")
    played.time.to(1000.0)
    assert played.asked == 2 and played.gave_up == 0
    played.lane.go_on()
    assert played.out == []
    played.verdicts.clear()
    played.lane.go_on()
    assert [data for _, data in played.out] == [b"a", b"b"]


def test_patience_has_an_end() -> None:
    played = Played(verdicts={b"a": Wait.RETRY})
    played.send(b"a")
    played.time.to(GIVE_UP_S)
    assert played.gave_up == 0
    played.time.to(GIVE_UP_S + 2 * LONGEST_RETRY_S)
    assert played.gave_up == 1
    played.send(b"b")
    played.time.to(5000.0)
    assert played.out == [] and played.gave_up == 1


def test_what_is_dropped_never_passes() -> None:
    played = Played(verdicts={b"a": 1.0})
    played.send(b"a", b"b")
    played.lane.drop()
    played.send(b"c")
    played.time.to(10.0)
    assert played.out == [] and played.lane.weight == 0


def test_a_judge_may_end_it() -> None:
    """A rule that resets a connection does so while a part is judged."""
    time = Time()
    out: list[bytes] = []
    lane: StreamLane

    def judge(part: StreamPart) -> float | Wait:
        if part.data == b"end" or time.at > 1:
            lane.drop()
        return Wait.RETRY if part.data == b"held" else 0.0

    lane = StreamLane(time, judge, lambda part: out.append(part.data))
    lane.send(StreamPart(PartKind.DATA, b"end"))
    assert out == [] and lane.empty
    lane = StreamLane(time, judge, lambda part: out.append(part.data))
    lane.send(StreamPart(PartKind.DATA, b"held"))
    time.to(5.0)
    assert out == [] and lane.empty


@pytest.mark.parametrize("verdict", [Wait.RETRY, Wait.KICK])
def test_a_lane_without_an_end_of_patience_waits(verdict: Wait) -> None:
    time = Time()
    lane = StreamLane(time, lambda part: verdict, lambda part: None)
    lane.send(StreamPart(PartKind.DATA, b"a"))
    time.to(10 * GIVE_UP_S)
    assert not lane.empty
