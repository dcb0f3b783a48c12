"""``explain`` tells what an experiment's file can name, and ``schema`` gives it to editors."""

from __future__ import annotations

import json
import re

import pytest

from chaos.reference import NOUNS, entries
from lab.cli.main import run


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_alone_lists_all(noun: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", noun, "-o", "name"]) == 0
    assert capsys.readouterr().out.splitlines() == [entry.name for entry in entries(noun)]
    assert run(["explain", noun, "-o", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["kind"], made["noun"]) == ("ReferenceList", noun)


def test_one_is_told_with_fields_and_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "fault", "LINK.Cut"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("link.cut: No message passes the links.")
    assert re.search("between +a list, each a selector", out) and "to | from | both" in out
    assert "schedule: [{at: 30s, for: 5m, fault: link.cut, between: [vcenter, kms]}]" in out
    assert run(["explain", "fault", "host.power-loss", "-o", "name"]) == 0
    assert capsys.readouterr().out == "host.power_loss\n"


def test_a_wrong_one_names_the_near_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "probe", "vm.runing"]) == 64
    err = capsys.readouterr().err
    assert "there is no probe vm.runing; did you mean vm.running" in err
    assert "`keystead explain probe` lists all" in err


@pytest.mark.parametrize("name", ["heartbeat_s", "HEARTBEAT_S", "Heartbeat-s"])
def test_a_knob_is_found_in_any_case(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "knob", name]) == 0
    assert capsys.readouterr().out.startswith("heartbeat_s: ")


@pytest.mark.slow
@pytest.mark.parametrize("of", ["api", "lab", "experiment"])
def test_a_schema_is_printed(of: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", of]) == 0
    assert json.loads(capsys.readouterr().out)["$schema"].endswith("2020-12/schema")


def test_an_unknown_knob_of_up_names_the_near_ones(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    assert run(["up", "--tpm", "none", "--set", "hartbeat=5"]) == 64
    assert "there is no such knob; did you mean heartbeat_s" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("noun", ["fault", "probe", "op", "check", "guard"])
def test_a_name_that_a_reason_or_report_cites_is_explained_without_its_noun(
    noun: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``proc.pause`` stands in brackets in a reason, as a rule does."""
    for entry in entries(noun):
        assert run(["explain", entry.name.upper()]) == 0
        alone = capsys.readouterr().out
        assert run(["explain", noun, entry.name]) == 0
        assert alone == capsys.readouterr().out


@pytest.mark.parametrize("written", ["R6", "r6", "R" + "06"])
def test_a_reason_of_the_truth_table_is_explained_however_it_is_written(
    written: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", written]) == 0
    assert capsys.readouterr().out.startswith("R6: The key is in no place that can be reached")
