"""Real cells in virtual time: staged, played, compared; and what a lie of the product would do."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from chaos.history import read_packed, records_of
from chaos.matrix.grid import BLOCKS, cells_of
from chaos.oracle.table import Cell
from chaos.oracle.terms import Block, TableEvent, TableFault
from lab.local.matrix import matrix, story
from lab.matrix.run import MatrixOrder, play_matrix, result_of
from lab.runs.store import RunFolder
from lab.schema.errors import KeysteadError
from protocol.messages.agent import TpmBackend
from tests.chaos.matrix.cells import PLAYED

pytestmark = pytest.mark.sim


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))


def wanted(
    block: Block,
    fault: TableFault,
    events: tuple[TableEvent, ...],
    *,
    isolate: bool = False,
    variants: bool = False,
    patch: str = "",
) -> MatrixOrder:
    return MatrixOrder(
        cells=cells_of((block,), (fault,), events),
        mode="sim",
        tpm=TpmBackend.MODEL,
        seed=1,
        jobs=2,
        isolate=isolate,
        variants=variants,
        patch=patch,
    )


def unheard(text: str, step: int, total: int) -> None:
    """Nobody listens."""


@pytest.mark.slow
def test_a_native_host_without_its_provider_is_told_as_an_outage_of_the_provider() -> None:
    """The provider is gone, and may come back: nobody can say that the key is missing at it."""
    _, result = play_matrix(wanted(Block.N0X, TableFault.F7, (TableEvent.E2,)), unheard)
    assert [row.verdict for row in result.cells] == ["agree"]


@pytest.mark.slow
def test_cells_of_an_outage_agree_and_their_evidence_is_in_the_run() -> None:
    told: list[str] = []
    folder, result = play_matrix(
        wanted(
            Block.S11, TableFault.F1, (TableEvent.E2, TableEvent.E3, TableEvent.E4, TableEvent.E6)
        ),
        lambda text, step, total: told.append(f"[{step}/{total}] {text}"),
    )
    rows = result.cells
    assert [(row.event, row.observed, row.verdict) for row in rows] == [
        ("E2", "SAFE", "agree"),
        ("E3", "OK", "agree"),
        ("E4", "OK", "agree"),
        ("E6", "LK", "agree"),
    ]
    assert {text[:6] for text in told} == {"[1/3] ", "[2/3] ", "[3/3] "}
    names = ("S11-F1-orderly", "S11-F1-power_loss", "S11-F0-orderly-control")
    assert {text[6:] for text in told} == {f"play: {name}" for name in names}
    assert len(result.controls) == 4 and all(one.held for one in result.controls)
    assert result_of(folder) == result
    verdict = folder.verdict()
    assert verdict is not None and (verdict.verdict, verdict.exit_code) == ("pass", 0)
    for row in rows:
        assert row.evidence
        for evidence in row.evidence:
            path = RunFolder(evidence.run).path / "stagings" / f"{evidence.staging}.msgpack"
            with path.open("rb") as file:
                records = {record.seq: record for record in records_of(read_packed(file))}
            assert evidence.records
            assert {records[seq].data["event"] for seq in evidence.records} == {row.event}


FEW = [
    (
        Block.S10,
        TableFault.F6,
        (TableEvent.E1, TableEvent.E2, TableEvent.E4, TableEvent.E5),
        ("OK", "PS", "NO", "OK"),
    ),
    (Block.S00, TableFault.F7, (TableEvent.E3, TableEvent.E11), ("PT", "PT")),
    (Block.S10, TableFault.F2, (TableEvent.E12,), ("OK",)),
    (Block.N1X, TableFault.F8, (TableEvent.E12,), ("NO",)),
    (
        Block.T11,
        TableFault.F5B,
        (TableEvent.E2, TableEvent.E4, TableEvent.E8),
        ("SAFE", "NO", "NO"),
    ),
    (Block.T10, TableFault.F0, (TableEvent.E11,), ("PT",)),
]
MORE = [
    (Block.S10, TableFault.F2, (TableEvent.E4, TableEvent.E6, TableEvent.E9), ("LK", "LK", "NO")),
    (Block.S11, TableFault.F4, (TableEvent.E12,), ("OK",)),
    (Block.T11, TableFault.F4, (TableEvent.E5, TableEvent.E6), ("PT", "LK")),
    (Block.T10, TableFault.F2, (TableEvent.E4, TableEvent.E6, TableEvent.E10), ("OK", "OK", "NO")),
    (Block.T10, TableFault.F8, (TableEvent.E4, TableEvent.E10), ("LK", "OK")),
]


@pytest.mark.parametrize(
    ("block", "fault", "events", "letters"),
    [*FEW, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE)],
)
def test_a_few_cells_of_every_kind_of_fault(
    block: Block, fault: TableFault, events: tuple[TableEvent, ...], letters: tuple[str, ...]
) -> None:
    _, result = play_matrix(wanted(block, fault, events), unheard)
    assert [
        (row.observed, row.verdict, row.why) for row in result.cells if row.verdict != "agree"
    ] == []
    assert tuple(row.observed for row in result.cells) == letters


@pytest.mark.slow
@pytest.mark.parametrize("fault", [TableFault.F2, TableFault.F4])
def test_a_host_alone_has_a_neighbour_that_misses_vcenter_too(fault: TableFault) -> None:
    cells = (TableEvent.E3, TableEvent.E5, TableEvent.E11)
    _, result = play_matrix(wanted(Block.S00, fault, cells, isolate=True), unheard)
    assert [(row.observed, row.verdict) for row in result.cells] == [
        ("OK", "agree"),
        ("OK", "agree"),
        ("NO", "agree"),
    ]


@pytest.mark.slow
def test_a_lost_key_is_met_alone_too() -> None:
    """By a VM that is yet to be made, and by a host that is not told at once that it is back."""
    _, result = play_matrix(
        wanted(Block.S00, TableFault.F8, (TableEvent.E9, TableEvent.E11), isolate=True), unheard
    )
    assert [
        (row.observed, row.verdict, row.why) for row in result.cells if row.verdict != "agree"
    ] == []


@pytest.mark.slow
def test_an_event_alone_has_the_letter_that_it_has_with_others() -> None:
    events = (TableEvent.E9, TableEvent.E11)
    _, result = play_matrix(wanted(Block.S10, TableFault.F5A, events, isolate=True), unheard)
    assert [(row.observed, row.verdict) for row in result.cells] == [("OK", "agree")] * 2
    assert {e.staging for row in result.cells for e in row.evidence} == {
        "S10-F5a-orderly-alone-E9",
        "S10-F5a-orderly-alone-E11",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "fault", "event", "letter", "ways"),
    [
        (Block.S10, TableFault.F1, TableEvent.E4, "LK", 2),
        (Block.S10, TableFault.F2, TableEvent.E4, "LK", 2),
        (Block.S10, TableFault.F5A, TableEvent.E2, "PS", 3),
        (Block.S11, TableFault.F5B, TableEvent.E4, "OK", 2),
        (Block.S10, TableFault.F6, TableEvent.E2, "PS", 3),
        (Block.S10, TableFault.F8, TableEvent.E11, "PT", 3),
    ],
)
def test_a_cell_has_its_letter_in_whatever_way_its_fault_is_made(
    block: Block, fault: TableFault, event: TableEvent, letter: str, ways: int
) -> None:
    _, result = play_matrix(wanted(block, fault, (event,), variants=True), unheard)
    (row,) = result.cells
    assert (row.observed, row.verdict, row.why) == (letter, "agree", row.why)
    names = {evidence.staging for evidence in row.evidence}
    assert len(names) == ways * (1 if event is TableEvent.E11 else 2)


def cells_that_can_be_played(block: Block) -> tuple[Cell, ...]:
    return cells_of((block,), tuple(TableFault), tuple(TableEvent))


def test_the_whole_table_is_what_its_blocks_have() -> None:
    assert sum(len(cells_that_can_be_played(block)) for block in BLOCKS) == PLAYED


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("block", BLOCKS)
def test_every_cell_agrees_in_every_way(block: Block) -> None:
    """All that is built, with witnesses, parts and controls, and each fault in every way in which
    it can be made, the usual one among them."""
    asked = wanted(block, TableFault.F0, (), variants=True)
    cells = cells_that_can_be_played(block)
    _, result = play_matrix(msgspec.structs.replace(asked, cells=cells, jobs=1), unheard)
    wrong = [f"{r.fault} {r.event}: {r.why}" for r in result.cells if r.verdict != "agree"]
    assert (len(result.cells), wrong) == (len(cells), [])
    assert not [row for row in result.cells if row.finding]
    assert result.controls and all(one.held for one in result.controls)


@pytest.mark.slow
def test_a_host_that_forgets_nothing_is_found_out_alone_too() -> None:
    """A planted bug: the key cache outlives a boot. The letter is what is seen, whatever the table
    says, and the cell is played again alone."""
    told: list[str] = []
    _, result = play_matrix(
        wanted(
            Block.S10,
            TableFault.F1,
            (TableEvent.E2, TableEvent.E4),
            patch="tests.mutations.bugs:cache_survives_reboot",
        ),
        lambda text, step, total: told.append(text),
    )
    assert [(row.expected, row.observed, row.verdict) for row in result.cells] == [
        ("UNSAFE", "SAFE", "disagree"),
        ("LK", "OK", "disagree"),
    ]
    assert all("alone" in evidence.staging for row in result.cells for evidence in row.evidence)
    assert any("alone" in text for text in told)


@pytest.mark.parametrize(
    ("blocks", "faults", "events", "id", "text"),
    [
        (("S99",), (), (), "KS-USE-002", "there is no block S99"),
        ((), ("G1",), (), "KS-USE-002", "there is no fault G1"),
        ((), (), ("H1",), "KS-USE-002", "there is no event H1"),
        (("S00",), ("F3",), (), "KS-USE-004", "none of these cells applies"),
        (("T10",), ("F1",), ("E12",), "KS-USE-004", "none of these cells applies"),
        (("S00",), ("F6",), (), "KS-USE-004", "none of these cells applies"),
    ],
)
def test_what_cannot_be_played_is_said(
    blocks: tuple[str, ...], faults: tuple[str, ...], events: tuple[str, ...], id: str, text: str
) -> None:
    with pytest.raises(KeysteadError) as error:
        matrix(
            blocks,
            faults,
            events,
            mode="sim",
            tpm=None,
            seed=1,
            jobs=1,
            isolate=False,
            variants=False,
            report=unheard,
        )
    assert error.value.id == id and text in str(error.value)


@pytest.mark.slow
@pytest.mark.lab
def test_a_cell_on_real_processes() -> None:
    """The same play, in a lab of its own that is gone afterwards."""
    asked = wanted(Block.S00, TableFault.F1, (TableEvent.E3,))
    folder, result = play_matrix(
        msgspec.structs.replace(asked, mode="lab", tpm=TpmBackend.NONE, jobs=1), unheard
    )
    (row,) = result.cells
    if row.verdict == "void":
        assert "the loop was late" in row.why  # of a machine that has others to serve
    assert row.observed == "OK"
    assert not list((folder.path.parent.parent / "scratch").iterdir())


@pytest.mark.slow
def test_a_run_that_another_version_wrote_is_passed_over_or_named() -> None:
    first, _ = play_matrix(wanted(Block.S00, TableFault.F0, (TableEvent.E3,)), unheard)
    second, _ = play_matrix(wanted(Block.S00, TableFault.F0, (TableEvent.E3,)), unheard)
    second.write("matrix.json", b'{"cells": [], "controls": [{"block": "S00"}]}')
    told = story("S00", "F0", "E3", run="", report=unheard)
    assert {evidence.run for evidence in told.cell.evidence} == {first.run}
    with pytest.raises(KeysteadError, match=r"matrix\.json") as caught:
        story("S00", "F0", "E3", run=second.run, report=unheard)
    assert caught.value.id == "KS-RUN-004"
