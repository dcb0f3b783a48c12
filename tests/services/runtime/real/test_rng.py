"""The lab's randomness: choices repeat with the seed, tokens never."""

from __future__ import annotations

import pytest

from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, NodeDown, WayDown
from services.runtime.real.clock_and_rng import LabRng


def draws(seed: int, node: str, boot: int, name: str) -> list[float]:
    stream = LabRng(seed, Incarnation(NodeName(node), boot)).stream(name)
    return [stream.random() for _ in range(5)]


def test_the_same_seed_gives_the_same_choices() -> None:
    assert draws(7, "esxi-001", 1, "retry") == draws(7, "esxi-001", 1, "retry")


@pytest.mark.parametrize(
    "other",
    [
        (8, "esxi-001", 1, "retry"),
        (7, "esxi-002", 1, "retry"),
        (7, "esxi-001", 2, "retry"),
        (7, "esxi-001", 1, "backoff"),
    ],
)
def test_each_purpose_has_a_stream_of_its_own(other: tuple[int, str, int, str]) -> None:
    assert draws(*other) != draws(7, "esxi-001", 1, "retry")


def test_a_stream_goes_on() -> None:
    rng = LabRng(7, Incarnation(NodeName("esxi-001"), 1))
    first = rng.stream("retry")
    first.random()
    assert rng.stream("retry") is first


def test_tokens_are_never_the_same() -> None:
    one, two = (LabRng(7, Incarnation(NodeName("esxi-001"), 1)) for _ in range(2))
    tokens = {rng.token(16) for rng in (one, two) for _ in range(100)}
    assert len(tokens) == 200
    assert {len(token) for token in tokens} == {16}


def test_a_dead_life_draws_nothing() -> None:
    life = Incarnation(NodeName("esxi-001"), 1)
    rng = LabRng(7, life)
    life.end(WayDown.CRASH)
    with pytest.raises(NodeDown):
        rng.token(16)
    with pytest.raises(NodeDown):
        rng.stream("retry")
