"""E12: a letter is given by all of its own evidence, and by none that lacks a part of it."""

from __future__ import annotations

import pytest

from chaos.matrix.evidence import GroupsSeen, Works
from chaos.matrix.judging.letters import SCREEN_A, of_groups
from chaos.matrix.terms import UNCLEAR
from protocol.terms import HostConnectionState
from protocol.vsan import ComponentState
from tests.chaos.matrix.evidence import bare, groups, host

RIGHT, WRONG, MUTE = Works(right=True), Works(right=False, detail="digest"), Works(right=None)
HALTED = host(
    answers=False,
    screen=SCREEN_A,
    crypto=None,
    vcenter_crypto=None,
    connection=HostConnectionState.NOT_RESPONDING,
    dump=None,
)
STOPPED = bare(host=HALTED, mounted=None, issues=(), reached=None)


def letter(
    now: GroupsSeen, later: GroupsSeen | None = None, *, clear: Works = RIGHT, runs: bool = True
) -> str:
    return of_groups(now, later or now, clear, clear_runs=runs).letter


def test_mounted_and_read_right_is_ok_with_vcenter_and_without() -> None:
    assert letter(groups()) == "OK"
    assert letter(groups(shown=None, accessible=None)) == "OK"


@pytest.mark.parametrize(
    "seen",
    [
        groups(read=WRONG),
        groups(read=MUTE),
        groups(shown=ComponentState.ABSENT),
        groups(shown=ComponentState.STALE),
        groups(accessible=False),
        groups(neighbour=MUTE),
        groups(handed=True),
        groups(host=host(screen="at a screen")),
        bare(),
    ],
)
def test_it_is_ok_at_both_looks_or_not_at_all(seen: GroupsSeen) -> None:
    assert letter(groups(), seen) == UNCLEAR
    assert letter(seen, groups()) == UNCLEAR


def test_up_without_its_groups_is_no_when_it_says_what_it_lacks() -> None:
    assert letter(bare()) == "NO"
    assert letter(bare(shown=None, accessible=None)) == "NO"


@pytest.mark.parametrize(
    "seen",
    [
        bare(read=RIGHT),
        bare(read=WRONG),
        bare(shown=ComponentState.ACTIVE),
        bare(issues=()),
        bare(accessible=False),
        bare(neighbour=WRONG),
        bare(handed=True),
    ],
)
def test_no_needs_every_part_of_its_evidence(seen: GroupsSeen) -> None:
    assert letter(seen) == UNCLEAR
    assert letter(bare(), seen) == UNCLEAR


@pytest.mark.parametrize("clear", [WRONG, MUTE])
def test_a_host_without_its_groups_runs_what_is_clear(clear: Works) -> None:
    assert letter(bare(), clear=clear) == UNCLEAR
    assert letter(groups(), clear=clear) == "OK"  # of which it is no evidence


def test_a_host_at_its_screen_is_no_and_silent() -> None:
    assert letter(STOPPED, clear=MUTE, runs=False) == "NO"
    for wrong in (
        bare(host=host(answers=False, crypto=None, connection=None), mounted=None),
        bare(host=HALTED, mounted=None, shown=ComponentState.ACTIVE),
        groups(host=HALTED, neighbour=MUTE),
    ):
        assert letter(wrong, clear=MUTE, runs=False) == UNCLEAR
    assert letter(STOPPED, clear=MUTE, runs=True) == UNCLEAR
