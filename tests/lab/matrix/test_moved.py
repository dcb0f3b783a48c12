"""What a knob changes: cells of the truth table that move, and say where to."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from chaos.matrix.compare import CellRow
from chaos.matrix.terms import Agreement
from lab.cli.main import run
from lab.local.matrix import matrix, story
from lab.matrix.run import list_moved
from lab.runs.store import RunFolder
from lab.schema.errors import KeysteadError

pytestmark = pytest.mark.sim


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))


def play(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = run(["matrix", *words, "--progress", "none"])
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("knob", "cells", "moves"),
    [
        ("vc_key_cache_s=3600", ("S10", "F1"), {"E2": "UNSAFE -> SAFE", "E4": "LK -> OK"}),
        ("vc_key_cache_s=0", ("S10", "F1"), {}),
        ("kps_primary_key_cache=true", ("T10", "F1"), {"E2": "UNSAFE -> SAFE", "E4": "LK -> OK"}),
        ("persist_overrides_attestation=always", ("T11", "F5b"), {"E4": "NO -> OK"}),
        ("evict_on_provider_delete=false", ("S00", "F7"), {}),
    ],
)
def test_the_cells_that_a_knob_moves_are_told(
    knob: str, cells: tuple[str, str], moves: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    block, fault = cells
    where = ("--block", block, "--fault", fault, "--event", "E2", "--event", "E4")
    code, out, _ = play(capsys, *where, "--knob", knob)
    told = [line for line in out.splitlines() if line.startswith("moved ")]
    assert [line.split(" (")[0] for line in told] == [
        f"moved {block} {fault} {event}: {change}" for event, change in moves.items()
    ]
    count = f"{len(moves)} of 2 {'cell moves' if len(moves) == 1 else 'cells move'}"
    assert f"{knob}: {count}" in out.replace("3600.0", "3600")
    assert code == (1 if moves else 0)


@pytest.mark.slow
def test_a_run_with_a_knob_keeps_it_and_is_nobodys_last_run(
    capsys: pytest.CaptureFixture[str],
) -> None:
    where = ("--block", "S10", "--fault", "F1", "--event", "E4")
    code, out, _ = play(capsys, *where, "--knob", "vc_key_cache_s=3600", "-o", "json")
    made = json.loads(out)
    assert (code, made["knobs"]) == (1, {"vc_key_cache_s": 3600})
    [one] = made["moved"]
    assert (one["was"], one["now"], one["event"]) == ("LK", "OK", "E4")
    assert one["why"].startswith("it runs on esxi-001")
    assert RunFolder(made["run"]).record().knobs == {"vc_key_cache_s": 3600}
    told = story("S10", "F1", "E4", run="", report=lambda text, step, total: None)
    assert (told.cell.observed, told.cell.verdict) == ("LK", "agree")  # played anew


@pytest.mark.parametrize(
    ("knob", "text"),
    [
        ("auto_lock=1", "there is no such knob; did you mean auto_unlock?"),
        ("vsan_kek_scope=disk", "'disk' is not cluster or diskGroup"),
        ("vc_key_cache_s=-1", "-1 is not 0 to 864000 s"),
        ("auto_unlock", "write NAME=VALUE"),
    ],
)
def test_what_is_no_knob_is_refused_before_anything_is_played(
    knob: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = play(capsys, "--knob", knob)
    assert code != 0 and "KS-USE-003" in err and text in " ".join(err.split())
    with pytest.raises(KeysteadError, match=r"knob '?colour"):
        matrix(
            (),
            (),
            (),
            mode="sim",
            tpm=None,
            seed=1,
            jobs=1,
            isolate=False,
            variants=False,
            report=lambda text, step, total: None,
            knobs={"colour": "red"},
        )


def row(**changes: object) -> CellRow:
    made = CellRow(
        block="S00",
        fault="F7",
        event="E3",
        expected="PT",
        observed="PT",
        verdict=Agreement.AGREE,
        tag="u",
        reasons=(25,),
        why="as it was seen",
    )
    return msgspec.structs.replace(made, **changes)


def test_parts_and_causes_move_too_and_what_is_void_tells_nothing() -> None:
    after = {"after_fault_ends": "unlocked, power-on ok"}
    parts = {"in_grace": "OK", "evicted": "OK", **after}
    rows = [row(), row(verdict=Agreement.VOID), row(verdict=Agreement.DISAGREE, parts=parts)]
    [one] = list_moved(rows)
    assert (one.was, one.now) == ("evicted: LK", "evicted: OK")
    same = {"in_grace": "OK", "evicted": "LK", **after}
    [cause] = list_moved([row(verdict=Agreement.DISAGREE, parts=same)])
    assert cause.was == cause.now == ""
