"""A bug in a service turns the cells red that depend on what it breaks.

What is played is only these cells, each on a lab that has the bug from its building on.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from chaos.matrix.compare import CellRow, row_of
from chaos.matrix.control import Control
from chaos.matrix.grid import BLOCKS, Staging, cells_of, controls_of, stagings_of
from chaos.matrix.terms import Agreement
from chaos.oracle.table import Cell, cell
from chaos.oracle.terms import Block, TableEvent, TableFault
from lab.matrix.bench import StagingOutcome
from lab.matrix.players import Stages
from protocol.messages.agent import TpmBackend
from services.runtime.tpm.backends import missing_for_libtpms
from tests.mutations.matrix import TURNED, Turned

pytestmark = pytest.mark.sim
BUGS = "tests.mutations.bugs:"
OF_TPMS = ("unseal_ignores_pcrs", "sealed_to_the_image", "config_key_in_escrow")
PAGE = Path(__file__).parents[2] / "docs" / "matrix-mutations.md"


def named(text: str) -> Cell:
    block, fault, event = text.split()
    return cell(Block(block), TableFault(fault), TableEvent(event))


def played(
    cells: Sequence[Cell],
    patch: str,
    *,
    variants: bool = False,
    block: Block = Block.S10,
    event: TableEvent = TableEvent.E1,
    backend: TpmBackend = TpmBackend.MODEL,
) -> tuple[list[CellRow], list[Control]]:
    """These cells as they are with the patch, once; without cells the controls of ``block``."""
    stagings = stagings_of(cells, variants=variants) or controls_of(
        [cell(block, TableFault.F0, event)]
    )
    found: dict[str, StagingOutcome] = {}

    def done(staging: Staging, outcome: StagingOutcome) -> None:
        found[staging.name] = outcome

    with closing(Stages(backend, 1, 2, patch=patch)) as stages:
        stages.play_each(stagings, done)
    rows = [
        row_of(
            one,
            "matrix-sim-1",
            [
                (staging, event)
                for staging in stagings
                if (staging.block, staging.fault) == (one.block, one.fault)
                for event in found[staging.name].played
                if event.event is one.event and one.event in staging.events
            ],
        )
        for one in cells
    ]
    return rows, [control for outcome in found.values() for control in outcome.controls]


@pytest.mark.slow
@pytest.mark.parametrize("entry", TURNED, ids=lambda entry: entry.bug)
def test_the_bug_turns_its_cells_red(entry: Turned) -> None:
    bug = BUGS + entry.bug
    rows, controls = played(
        [*map(named, entry.cells)],
        bug,
        variants=entry.variants,
        block=entry.block,
        event=TableEvent.E12 if entry.on_vsan else TableEvent.E1,
    )
    told = {f"{row.block} {row.fault} {row.event}": (row.verdict, row.why) for row in rows}
    assert {name: verdict for name, (verdict, _) in told.items()} == dict.fromkeys(
        entry.cells, Agreement.DISAGREE
    ), told
    assert not rows or entry.told in rows[0].why
    failed = [control.what for control in controls if not control.held]
    assert failed == ([entry.control] if entry.control else [])


@pytest.mark.slow
@pytest.mark.skipif(bool(missing_for_libtpms()), reason=f"no real TPM: {missing_for_libtpms()}")
@pytest.mark.parametrize("bug", OF_TPMS)
def test_what_a_tpm_is_asked_turns_red_on_a_real_one_too(bug: str) -> None:
    entry = next(one for one in TURNED if one.bug == bug)
    (row,), _ = played([named(entry.cells[0])], BUGS + bug, backend=TpmBackend.LIBTPMS)
    assert row.verdict is Agreement.DISAGREE and entry.told in row.why


def test_every_cell_that_is_named_is_one_that_sound_code_agrees_in() -> None:
    """``tests/lab/matrix/test_cells`` plays all of these."""
    playable = set(cells_of(BLOCKS, tuple(TableFault), tuple(TableEvent)))
    assert {named(text) for entry in TURNED for text in entry.cells} <= playable


def test_the_page_of_planted_bugs_has_each_with_its_cells() -> None:
    rows = [line.split(" | ") for line in PAGE.read_text("utf-8").splitlines() if "| `" in line]
    told = {row[0].strip("|` "): row[-1].rstrip(" |") for row in rows}
    assert set(told) == {entry.bug for entry in TURNED}
    for entry in TURNED:
        assert told[entry.bug].startswith(", ".join(entry.cells) or "control: "), entry
