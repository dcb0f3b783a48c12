"""What rounds of kill -9 come to, and that a lost acknowledgement is told."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest

from lab.supervise.launching import ROOT
from tests.kills.__main__ import Tally, main, run, shared_out, table
from tests.kills.labs import KINDS, Ended, Told


def test_every_lab_has_its_share() -> None:
    assert shared_out(1000, KINDS) == {"pair": 350, "group": 350, "trusted": 250, "supervisor": 50}
    assert shared_out(20, KINDS) == {"pair": 7, "group": 7, "trusted": 5, "supervisor": 1}
    assert sum(shared_out(7, KINDS).values()) == 7


def told(*lost: str) -> Told:
    return Told(part="kms-1", acknowledged=12, read=30, lost=lost)


def test_the_table_counts_and_what_was_lost_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    tally.take("pair", told())
    tally.end("pair", Ended(read=40, operations=90, parts=8))
    verdicts = [tally.well]
    tally.take("pair", told("the key k"))
    assert [*verdicts, tally.well] == [True, False]
    assert capsys.readouterr().err == ("keystead: lost: pair, after kms-1 was killed: the key k\n")
    assert table(tally, 2.0) == (
        "part        rounds  acknowledged  read back  lost\n"
        "pair/kms-1       2            24         60     1\n"
        "at the end                               40     0\n"
        "all              2            24        100     1\n"
        "\n"
        "linearizability: 90 operations in 8 parts, 0 violations, 0 undecided\n"
        "2 rounds in 2 s, 60 a minute"
    )


@pytest.mark.parametrize(
    "ended",
    [
        Ended(read=1, lost=("a key",)),
        Ended(read=1, violations=("no order",)),
        Ended(read=1, undecided=1),
    ],
)
def test_a_bad_end_is_no_success(ended: Ended) -> None:
    tally = Tally()
    tally.end("pair", ended)
    assert not tally.well
    assert [text in table(tally, 1.0) for text in ended.violations] in ([], [True])


def test_bad_arguments_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words, text in ((["0"], "at least one round"), (["9", "--labs", "x"], "no lab x")):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2 and text in capsys.readouterr().err


@pytest.mark.lab
@pytest.mark.slow
def test_an_interrupt_leaves_no_process_behind() -> None:
    """SIGINT to the one process, as a script sends it: its labs are no part of its terminal."""
    words = [sys.executable, "-m", "tests.kills", "1000", "--labs", "pair"]
    with subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True) as played:
        assert played.stderr is not None
        assert "of 1000 rounds" in played.stderr.readline()
        children = psutil.Process(played.pid).children(recursive=True)
        assert len(children) > 2
        played.send_signal(signal.SIGINT)
        assert played.wait(60) == 130
        assert "interrupted" in played.stderr.read()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


@pytest.mark.lab
@pytest.mark.slow
@pytest.mark.parametrize(("patch", "well"), [("", True), ("tests.kills.unsaved_keys", False)])
def test_a_lost_acknowledgement_is_found_on_real_processes(patch: str, well: bool) -> None:
    pair = [kind for kind in KINDS if kind.name == "pair"]
    tally = run(4, 1, pair, patch)
    assert tally.failed == [] and tally.rounds == 4
    assert tally.well is well, (tally.lost, tally.violations)
    assert well or any("vCenter does not know the key" in text for text in tally.lost)
