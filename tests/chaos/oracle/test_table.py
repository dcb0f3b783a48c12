"""The truth table is whole, agrees with itself, and with the document that it was taken from."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from chaos.oracle.table import all_parts, cell, cells, parts, read_cells, title
from chaos.oracle.terms import Block, CellTag, Letter, TableEvent, TableFault
from lab.local.explain import all_rules

ORIGIN = Path(os.environ.get("KEYSTEAD_TRUTH_TABLE", "truth-table.json"))
"""The document as JSON, for whoever has it: blocks, cells by fault and event."""
COMPARED = "c5f376ff5fa5604f5ae9abaca4fa8188414203d1e8d8b2f7ec4d7df581cea7ad"
"""The digest of all cells as they were when they were compared with it."""


def test_every_place_has_one_cell() -> None:
    places = [(cell.block, cell.fault, cell.event) for cell in cells()]
    assert places == [(b, f, e) for b in Block for f in TableFault for e in TableEvent]


def test_every_cell_is_as_it_was_compared() -> None:
    assert hashlib.sha256(msgspec.json.encode(cells())).hexdigest() == COMPARED


def test_so_many_cells_have_each_letter() -> None:
    assert Counter(str(cell.letter) for cell in cells()) == {
        "OK": 385,
        "NO": 159,
        "--": 104,
        "PT": 74,
        "LK": 55,
        "SAFE": 35,
        "UNSAFE": 18,
        "PS": 10,
    }


def test_what_does_not_apply_is_no_claim() -> None:
    for found in cells():
        assert (found.letter is Letter.NONE) == (found.tag in (None, CellTag.RECALLED))
        assert found.reasons or found.tag is None


def test_a_host_has_a_state_and_a_vm_is_locked() -> None:
    """Only events that end in a host's state have its letters, only starts of VMs lock."""
    states = {Letter.SAFE, Letter.UNSAFE, Letter.PURPLE_SCREEN}
    for found in cells():
        if found.letter in states:
            assert found.event is TableEvent.E2
        if found.letter is Letter.LOCKED:
            assert found.event in (TableEvent.E3, TableEvent.E4, TableEvent.E5, TableEvent.E6)


def test_every_reason_is_explained_and_every_explained_reason_is_one() -> None:
    """But for R57: a provider for hosts with TPM, which is no block."""
    used = {f"R{reason}" for found in cells() for reason in found.reasons}
    told = {id for id in all_rules() if id[0] == "R" and id[1:].isdigit()}
    assert used == told - {"R57"}


@pytest.mark.parametrize("id", [*TableFault, *TableEvent])
def test_every_fault_and_event_is_explained(id: str) -> None:
    assert str(id) in all_rules()


def test_every_partly_cell_has_parts_and_no_other_has() -> None:
    for found in cells():
        told = parts(found.block, found.fault, found.event)
        assert (told is not None) == (found.letter is Letter.PARTLY), found
    covered = sum(len(group.blocks) * len(group.faults) for group in all_parts())
    assert covered == 74 and all(group.parts for group in all_parts())


def test_a_part_has_its_value_in_its_order() -> None:
    told = parts(Block.S10, TableFault.F7, TableEvent.E3)
    assert told is not None and list(told.parts.items())[:2] == [
        ("in_grace", "OK"),
        ("evicted", "LK"),
    ]


def test_a_cell_and_a_block_can_be_had_by_name() -> None:
    found = cell(Block("S11"), TableFault("F1"), TableEvent("E4"))
    assert (found.letter, found.tag, found.reasons) == (Letter.OK, CellTag.DOCUMENTED, (36,))
    assert str(found) == "S11 F1 E4" and "persistence on" in title(found.block)


def test_a_row_that_lacks_a_cell_is_refused() -> None:
    with pytest.raises(ValueError, match="argument"):
        read_cells("S00: a block\nF0 | OK d 1 | OK d 2\n")


class _Origin(msgspec.Struct):
    result: Letter
    tag: CellTag | None
    reasons: tuple[int, ...]


class _OriginBlock(msgspec.Struct):
    cells: dict[TableFault, dict[TableEvent, _Origin]]


class _OriginTable(msgspec.Struct):
    blocks: dict[Block, _OriginBlock]


@pytest.mark.skipif(not ORIGIN.exists(), reason="840 cells have nothing to be compared with")
def test_every_cell_is_that_of_the_document() -> None:
    origin = msgspec.json.decode(ORIGIN.read_bytes(), type=_OriginTable)
    for found in cells():
        there = origin.blocks[found.block].cells[found.fault][found.event]
        assert (found.letter, found.tag, found.reasons) == (
            there.result,
            there.tag,
            there.reasons,
        ), str(found)
