"""Rows outside of the grid agree on sound code; what breaks their subject turns them red."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.matrix.events import EVENTS
from chaos.matrix.faults import FAULTS
from chaos.matrix.grid import BLOCKS
from chaos.matrix.outside import ROWS, RowPlayed
from chaos.matrix.terms import Agreement
from chaos.matrix.twists import TWISTS
from lab.local.matrix import outside
from lab.matrix.run import MatrixOrder, play_outside
from lab.schema.errors import KeysteadError
from protocol.messages.agent import TpmBackend
from tests.mutations.outside import TURNED

pytestmark = pytest.mark.sim


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))


def unheard(text: str, step: int, total: int) -> None:
    """Nobody listens."""


def played(*rows: str, patch: str = "") -> dict[str, RowPlayed]:
    wanted = MatrixOrder(cells=(), mode="sim", tpm=TpmBackend.MODEL, seed=1, jobs=2, patch=patch)
    chosen = [row for row in ROWS if row.id in rows]
    _, result, found = play_outside(chosen, wanted, unheard)
    assert not result.not_played
    return {row.id: row for row in found}


def test_there_are_twenty_and_each_has_plays() -> None:
    assert [row.id for row in ROWS] == [f"X{number:02}" for number in range(1, 21)]
    for row in ROWS:
        assert row.plays
        for play in row.plays:
            assert play.block in BLOCKS and play.fault in FAULTS and play.twist in TWISTS
            assert play.cells() and {one.event for one in play.cells()} <= set(EVENTS)
    used = {play.twist for row in ROWS for play in row.plays}
    assert used == set(TWISTS)
    stagings = [one for row in ROWS for play in row.plays for one in play.stagings(row.id)]
    names = [one.name for one in stagings]
    assert len(names) == len(set(names))
    assert not any(one.alone for one in stagings), "the events of a play share a lab"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["X03", "X11", "X19"])
def test_a_row_agrees(name: str) -> None:
    found = played(name)[name]
    assert found.verdict is Agreement.AGREE, [cell.why for cell in found.cells]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_row_agrees() -> None:
    found = outside((), mode="sim", tpm=None, seed=1, jobs=2, report=unheard)
    wrong = [
        f"{row.id} {cell.block} {cell.event}: {cell.why}"
        for row in found.items
        for cell in row.cells
        if cell.verdict is not Agreement.AGREE
    ]
    assert not wrong and found.exit_code == 0
    assert [row.id for row in found.items] == [row.id for row in ROWS]
    assert {row.verdict for row in found.items} == {Agreement.AGREE}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("row", "bug", "told"),
    TURNED,
)
def test_what_breaks_its_subject_turns_a_row_red(row: str, bug: str, told: str) -> None:
    found = played(row, patch=f"tests.mutations.bugs:{bug}")[row]
    assert found.verdict is Agreement.DISAGREE
    assert any(told in cell.why for cell in found.cells), [cell.why for cell in found.cells]


def test_a_row_that_there_is_not_is_told() -> None:
    with pytest.raises(KeysteadError, match="there is no row Y01") as caught:
        outside(("Y01",), mode="sim", tpm=None, seed=1, jobs=1, report=unheard)
    assert caught.value.id == "KS-USE-002"
