"""What a run plays, and again, and what of it stands when somebody interrupts it: with a player
that gives what it is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from chaos.matrix.control import Control
from chaos.matrix.grid import BLOCKS, Staging, cells_of
from chaos.matrix.play import PlayedEvent
from chaos.oracle.table import Cell
from chaos.oracle.terms import Block, TableEvent, TableFault
from chaos.verdict import Exit
from lab.local.matrix import matrix
from lab.matrix import run as runs
from lab.matrix.bench import Done, StagingOutcome
from lab.matrix.run import MatrixOrder, exit_of, play_matrix, result_of
from lab.schema.errors import KeysteadError
from protocol.messages.agent import TpmBackend

Answers = Callable[[Staging, bool], PlayedEvent]


class Player:
    """Plays each event as ``answer`` says; ``most``: an interrupt comes after so many stagings."""

    def __init__(self, answer: Answers, most: int) -> None:
        self.answer, self.most = answer, most
        self.played: list[tuple[str, bool]] = []
        self.closed = False

    def play_each(self, stagings: Sequence[Staging], done: Done, *, slowly: bool = False) -> None:
        for staging in stagings:
            if len(self.played) == self.most:
                raise KeyboardInterrupt
            self.played.append((staging.name, slowly))
            held = Control(block=staging.block, what="bit", held=True, seen="")
            played = tuple(self._one(staging, event, slowly) for event in staging.events)
            done(
                staging,
                StagingOutcome((), controls=(held,)) if staging.control else StagingOutcome(played),
            )

    def _one(self, staging: Staging, event: TableEvent, slowly: bool) -> PlayedEvent:
        return msgspec.structs.replace(self.answer(staging, slowly), event=event)

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def play(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Player, runs.Result]]:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))

    def one(answer: Answers, *, mode: str = "sim", most: int = 99) -> tuple[Player, runs.Result]:
        player = Player(answer, most)
        monkeypatch.setattr(runs, "player_of", lambda wanted: player)
        wanted = MatrixOrder(
            cells=cells_of(
                (Block.S00,), (TableFault.F2, TableFault.F8), (TableEvent.E3, TableEvent.E5)
            ),
            mode=mode,
            tpm=TpmBackend.MODEL,
            seed=1,
            jobs=1,
        )
        folder, result = play_matrix(wanted, lambda text, step, total: None)
        assert player.closed and result_of(folder) == result
        verdict = folder.verdict()
        assert verdict is not None and verdict.exit_code == exit_of(result)
        return player, result

    return one


def ok(staging: Staging, slowly: bool) -> PlayedEvent:
    return PlayedEvent(event=TableEvent.E3, letter="OK", why="it runs")


@pytest.fixture(autouse=True)
def _no_witness_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos.matrix.compare.disagreement", _letters_differ)


def _letters_differ(cell: Cell, observed: str, *more: object) -> str:
    return "" if observed == cell.letter else "another letter"


def test_an_interrupt_leaves_the_cells_that_were_played(
    play: Callable[..., tuple[Player, runs.Result]],
) -> None:
    _, whole = play(ok)
    assert [row.fault for row in whole.cells] == ["F2", "F2", "F8", "F8"]
    assert (whole.not_played, exit_of(whole)) == (0, Exit.PASS)
    _, part = play(ok, most=1)
    assert [row.fault for row in part.cells] == ["F2", "F2"] and part.controls == ()
    assert (part.not_played, exit_of(part)) == (2, Exit.INTERRUPTED)
    _, none = play(ok, most=0)
    assert (none.cells, none.not_played) == ((), 4)


def test_controls_stand_in_the_order_of_their_blocks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However they happen to end: the same run gives the same document."""
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))

    class Backwards(Player):
        def play_each(
            self, stagings: Sequence[Staging], done: Done, *, slowly: bool = False
        ) -> None:
            super().play_each(stagings[::-1], done, slowly=slowly)

    monkeypatch.setattr(runs, "player_of", lambda wanted: Backwards(ok, 99))
    wanted = MatrixOrder(
        cells=cells_of(tuple(Block), (TableFault.F2,), (TableEvent.E3,)),
        mode="sim",
        tpm=TpmBackend.MODEL,
        seed=1,
        jobs=1,
    )
    _, result = play_matrix(wanted, lambda text, step, total: None)
    assert [one.block for one in result.controls] == [block for block in Block if block in BLOCKS]


def test_what_a_busy_machine_made_void_is_played_once_more_slowly(
    play: Callable[..., tuple[Player, runs.Result]],
) -> None:
    def late(staging: Staging, slowly: bool) -> PlayedEvent:
        void = "the loop was late" if staging.fault is TableFault.F8 and not slowly else ""
        return PlayedEvent(event=TableEvent.E3, letter="OK", void=void)

    player, result = play(late, mode="lab")
    assert {row.verdict for row in result.cells} == {"agree"}
    assert player.played[3:] == [("S00-F8-orderly", True)]
    player, result = play(late)  # virtual time is never late: it says the same again
    assert [row.verdict for row in result.cells] == ["agree"] * 2 + ["void"] * 2
    assert len(player.played) == 3 and exit_of(result) is Exit.UNKNOWN


def test_a_cell_that_disagrees_is_decided_alone_and_stands_when_it_is_not(
    play: Callable[..., tuple[Player, runs.Result]],
) -> None:
    def differs(staging: Staging, slowly: bool) -> PlayedEvent:
        wrong = staging.fault is TableFault.F8 and not staging.alone
        return PlayedEvent(event=TableEvent.E3, letter="NO" if wrong else "OK")

    player, result = play(differs)
    assert {row.verdict for row in result.cells} == {"agree"}
    assert [bool(row.finding) for row in result.cells] == [False, False, True, True]
    assert [name for name, _ in player.played[3:]] == [
        "S00-F8-orderly-alone-E3",
        "S00-F8-orderly-alone-E5",
    ]
    _, result = play(differs, most=4)
    assert [row.verdict for row in result.cells] == ["agree", "agree", "agree", "disagree"]
    assert exit_of(result) is Exit.FAILED


@pytest.mark.parametrize("jobs", [-1, 65])
def test_a_number_of_jobs_that_no_machine_has(jobs: int) -> None:
    with pytest.raises(KeysteadError, match=f"--jobs {jobs}") as caught:
        matrix(
            (),
            (),
            (),
            mode="sim",
            tpm=None,
            seed=1,
            jobs=jobs,
            isolate=False,
            variants=False,
            report=lambda text, step, total: None,
        )
    assert caught.value.id == "KS-USE-003"
