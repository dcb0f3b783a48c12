"""The trace and its hash."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from services.runtime.sim.trace import Trace, first_difference

pytestmark = pytest.mark.sim


def made(*labels: str, record: bool = True) -> Trace:
    trace = Trace(record=record)
    for at, label in enumerate(labels):
        trace.add(at, "a", 1, label, at)
    return trace


def test_the_hash_is_of_content_and_order() -> None:
    assert made("x", "y").hash() == made("x", "y", record=False).hash()
    variants = [made("x", "y"), made("y", "x"), made("x"), made("x", "y", "z")]
    assert len({trace.hash() for trace in variants}) == 4


@pytest.mark.parametrize(
    "entry",
    [(6, "a", 1, "x", 1), (5, "b", 1, "x", 1), (5, "a", 2, "x", 1), (5, "a", 1, "x", 2)],
)
def test_every_part_of_an_entry_counts(entry: tuple[int, str, int, str, int]) -> None:
    first, second = Trace(), Trace()
    first.add(5, "a", 1, "x", 1)
    second.add(*entry)
    assert first.hash() != second.hash()


def test_asking_for_the_hash_changes_nothing() -> None:
    asked, plain = Trace(), Trace()
    for at in range(10_000):
        asked.add(at, "", 0, "x")
        plain.add(at, "", 0, "x")
        if at % 777 == 0:
            asked.hash()
    assert asked.hash() == plain.hash()
    assert asked.count == plain.count == 10_000


@pytest.mark.parametrize("count", [1, 15, 16, 17, 65_535, 65_536])
def test_entries_are_folded_one_by_one(count: int) -> None:
    """However many are folded at once, whose list msgpack begins with one, three or five bytes."""
    trace, fold = Trace(), hashlib.blake2b(digest_size=16)
    for at in range(count):
        entry = (at, "a", 1, "step", (at,))
        trace.pending.append(entry)
        fold.update(msgspec.msgpack.encode(entry))
    assert trace.hash() == fold.hexdigest()
    assert trace.count == count


def test_the_first_difference() -> None:
    a, b = made("x", "y", "z"), made("x", "q", "z")
    difference = first_difference(a, b)
    assert difference is not None
    assert difference.index == 1
    assert difference.first is not None and difference.first.label == "y"
    assert difference.second is not None and difference.second.label == "q"
    assert [entry.label for entry in difference.before] == ["x"]
    shorter = first_difference(a, made("x", "y"))
    assert shorter is not None and shorter.second is None and shorter.index == 2
    assert first_difference(a, made("x", "y", "z")) is None


def test_entries_need_recording() -> None:
    with pytest.raises(ValueError, match="record"):
        _ = Trace().entries
