"""The model, by its reasons alone, comes to every cell of the truth table."""

from __future__ import annotations

import pytest

from chaos.oracle import judgement
from chaos.oracle.judgement import Undecided, outcome
from chaos.oracle.reasons import REASONS
from chaos.oracle.table import Cell, cells, parts
from chaos.oracle.terms import Block, Letter, TableEvent
from lab.local.explain import all_rules
from tests.chaos.oracle.joining import joined_parts
from tests.chaos.oracle.plays import letter_of, play, reasons_of
from tests.chaos.oracle.situations import situations

_MEANS = {
    "refused": "NO",
    "ResourceInUse, provider listed, group mounted": "OK",
    "deleted, profile gone, host up, group unmounted, readable after adding by name": "NO",
    "no answer, nothing made": "NO",
    "round trip good, no message left the host": "OK",
}
"""Parts whose words say more than a letter."""


def _named(cell: Cell) -> set[int]:
    return reasons_of(play(cell.block, cell.fault, cell.event))


@pytest.mark.parametrize("block", Block)
@pytest.mark.parametrize("event", TableEvent)
def test_every_cell_has_the_letter_of_the_table(block: Block, event: TableEvent) -> None:
    for cell in cells():
        if (cell.block, cell.event) == (block, event):
            assert letter_of(play(block, cell.fault, event)) is cell.letter, cell


def test_every_cell_has_the_reasons_of_the_table() -> None:
    """Where several reasons hold, each enough by itself, the table sometimes names fewer."""
    fewer = []
    for cell in cells():
        named = _named(cell)
        assert set(cell.reasons) <= named, cell
        assert cell.reasons or not named, cell
        if named != set(cell.reasons):
            fewer.append(cell)
    assert len(fewer) == 35, [str(cell) for cell in fewer]


def test_what_the_table_leaves_out_is_true_as_well() -> None:
    """No reason stands in a cell that never stands in a cell with the same letter."""
    told = {(reason, cell.letter) for cell in cells() for reason in cell.reasons}
    for cell in cells():
        if cell.letter not in (Letter.PARTLY, Letter.NONE):
            assert {(reason, cell.letter) for reason in _named(cell)} <= told, cell


@pytest.mark.parametrize("number", sorted({reason.number for reason in REASONS} - {57}))
def test_no_cell_comes_out_without_its_reason(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """R57 is of no cell."""
    left = tuple(reason for reason in REASONS if reason.number != number)
    monkeypatch.setattr(judgement, "REASONS", left)
    outcome.cache_clear()
    try:
        for cell in cells():
            if number in cell.reasons:
                try:
                    assert number not in _named(cell)
                except Undecided:
                    pass
                else:
                    assert set(cell.reasons) - _named(cell) == {number}
    finally:
        outcome.cache_clear()


def test_every_reason_of_the_table_is_a_function_that_cites_rules() -> None:
    known = all_rules()
    assert {f"R{reason.number}" for reason in REASONS} == {
        id for id in known if id[0] == "R" and id[1:].isdigit()
    }
    for reason in REASONS:
        assert reason.cites and all(rule in known for rule in reason.cites), reason
        assert reason.says.__doc__ or reason.beside


@pytest.mark.parametrize("seed", range(8))
def test_the_reasons_say_one_thing_in_every_situation(seed: int) -> None:
    for situation in situations(seed, 400):
        assert outcome(situation).letter


def test_a_contradiction_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    situation = next(situations(1, 1))
    monkeypatch.setattr(judgement, "REASONS", ())
    outcome.cache_clear()
    with pytest.raises(Undecided, match="nothing: "):
        while True:
            outcome(situation)
            situation = next(situations(2, 1))
    outcome.cache_clear()


def test_every_part_of_a_partly_cell_comes_out() -> None:
    """Each part that keys decide; the others are messages and events, which services show."""
    compared = 0
    for cell in cells():
        told = parts(cell.block, cell.fault, cell.event)
        if told is None:
            continue
        if cell.event is TableEvent.E11:
            found = joined_parts(cell.block, cell.fault)
        else:
            found = {
                name: str(part.letter)
                for name, part in play(cell.block, cell.fault, cell.event).items()
            }
        both = told.parts.keys() & found.keys()
        assert both, cell
        for name in both:
            expected = str(told.parts[name])
            assert _MEANS.get(str(found[name]), str(found[name])) == _MEANS.get(expected, expected)
        compared += len(both)
    assert compared == 269  # of 330
