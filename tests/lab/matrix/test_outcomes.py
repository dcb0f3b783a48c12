"""How a run ends when a lab is lost, a control fails, or somebody interrupts it."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from chaos.checks.result import CheckOutcome, Finding
from chaos.matrix.control import Control
from chaos.matrix.grid import Staging
from chaos.matrix.play import PlayedEvent
from chaos.matrix.terms import Boot
from chaos.oracle.terms import Block, TableEvent, TableFault
from chaos.verdict import Exit
from lab.matrix.bench import StagingOutcome, apply_finding, each
from lab.matrix.run import Result, exit_of
from services.runtime.sim.runner import WorkerDied


def staging(*events: TableEvent, control: bool = False) -> Staging:
    return Staging(
        block=Block.S00, fault=TableFault.F1, boot=Boot.ORDERLY, events=events, control=control
    )


@pytest.mark.parametrize("error", [WorkerDied, TimeoutError, KeyError])
def test_a_lab_that_is_lost_makes_its_events_void_and_its_controls_fail(
    error: type[Exception],
) -> None:
    def lose(one: Staging) -> StagingOutcome:
        raise error("killed by signal 9")

    heard: list[tuple[Staging, StagingOutcome]] = []
    wanted = [staging(TableEvent.E3, TableEvent.E4), staging(TableEvent.E1, control=True)]
    each(wanted, lose, lambda *found: heard.append(found), jobs=2, end=lambda: None)
    found = {one.control: outcome for one, outcome in heard}
    assert [one.event for one in found[False].played] == [TableEvent.E3, TableEvent.E4]
    assert all("killed by signal 9" in one.void for one in found[False].played)
    assert [one.held for one in found[True].controls] == [False]


def test_an_interrupt_ends_what_is_played_and_begins_no_more() -> None:
    ended, began = threading.Event(), []

    def play(one: Staging) -> StagingOutcome:
        began.append(one)
        if len(began) > 1:
            ended.wait(30)
        return StagingOutcome((PlayedEvent(event=TableEvent.E3),))

    def done(one: Staging, outcome: StagingOutcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each([staging(TableEvent.E3)] * 50, play, done, jobs=2, end=ended.set)
    assert ended.is_set() and len(began) < 50


@pytest.mark.parametrize(
    ("found", "exposed", "void"),
    [
        (Finding(CheckOutcome.PASS, "none"), "e3-off in a disk", ""),
        (Finding(CheckOutcome.FAIL, "a key in a log"), "e3-off in a disk, a key in a log", ""),
        (Finding(CheckOutcome.UNKNOWN, "no canary"), "e3-off in a disk", "no canary"),
    ],
)
def test_a_key_in_clear_is_of_every_event_and_a_search_that_saw_nothing_makes_them_void(
    found: Finding, exposed: str, void: str
) -> None:
    played = apply_finding(
        PlayedEvent(event=TableEvent.E3, letter="OK", exposed="e3-off in a disk"), found
    )
    assert (played.letter, played.exposed, played.void) == ("OK", exposed, void)


@pytest.mark.parametrize(
    ("noticed", "code"), [((True, True), Exit.PASS), ((True, False), Exit.FAILED)]
)
def test_damage_that_nobody_notices_fails_the_run(noticed: Sequence[bool], code: Exit) -> None:
    controls = tuple(Control(block=Block.S00, what="bit", held=n, seen="") for n in noticed)
    assert exit_of(Result((), controls)) is code
