"""``chaos new``, parameters at the command line, negative controls, runs of other code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab.cli.experiments.chaos import new, plan, replay, run, worst
from lab.cli.invocation import Format
from lab.cli.main import run as command
from lab.cli.options import Options
from lab.local.experiment_files import prepare_experiment
from lab.play import play
from lab.play.prepare import find
from lab.schema.errors import KeysteadError

SMALL = """\
apiVersion: keystead/v1
kind: Experiment
name: small
title: A small one
with: {gap: 2s}
topology: {use: default, with: {hosts: 2, vms: 2}}
hypothesis: {recover: {within: 20s}, after: [{probe: vm.running, is: "== 100%"}]}
schedule: [{id: down, at: "${gap}", fault: host.reboot, on: role:esxi}]
negative_control: {patch: no_autostart, expect: [vm.running]}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    return str(tmp_path / "small.yaml")


def test_a_new_experiment_is_written_once_and_can_be_planned(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    new("mine")
    assert capsys.readouterr().out.splitlines()[0] == str(Path("mine.yaml").absolute())
    plan("mine.yaml")
    assert "cut vcenter <-> kms" in capsys.readouterr().out
    for name in ("mine", "No Name"):
        with pytest.raises(KeysteadError) as caught:
            new(name)
        assert caught.value.id == "KS-USE-003"


def test_parameters_are_given_at_the_command_line(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(file, given=["gap=9s"])
    assert "9.000 s .. 9 s  down" in capsys.readouterr().out
    for wrong, id in (("gap", "KS-USE-003"), ("gap=[", "KS-USE-003"), ("gp=9s", "KS-CHAOS-017")):
        with pytest.raises(KeysteadError) as caught:
            plan(file, given=[wrong])
        assert caught.value.id == id, wrong


@pytest.mark.slow
@pytest.mark.sim
def test_a_negative_control_is_played_and_has_to_fail(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(file, mode="sim") == 0
    assert run(file, mode="sim", negative_control=True) == 0
    assert "negative control: with no_autostart, vm.running failed" in capsys.readouterr().err
    replay("small-sim-1-2")
    Path(file).write_text(SMALL.replace("no_autostart", "no_eviction"))
    with pytest.raises(KeysteadError) as caught:
        run(file, mode="sim", negative_control=True)
    assert caught.value.id == "KS-CHAOS-019"
    with pytest.raises(KeysteadError) as caught:
        run(file, mode="lab", negative_control=True)
    assert caught.value.id == "KS-USE-003"


@pytest.mark.slow
@pytest.mark.sim
def test_a_quiet_run_prints_its_name_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["chaos", "run", "sc-13-key-deactivated", "--mode", "sim", "-q"]) == 0
    assert capsys.readouterr() == ("sc-13-key-deactivated-sim-7\n", "")


def test_a_run_of_other_code_is_replayed_when_that_is_meant(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(file, mode="sim")
    monkeypatch.setattr(play, "code_version", lambda: "another")
    with pytest.raises(KeysteadError, match="code was") as caught:
        replay("small-sim-1")
    assert caught.value.id == "KS-RUN-002"
    assert replay("small-sim-1", other_code=True) == 0


FAILS = SMALL.replace("name: small", "name: fails").replace("== 100%", "== 50%")
"""Its hypothesis is wrong: all VMs run."""

ASKS = SMALL.replace("name: small", "name: asks").replace("recover:", "sometimes: [], recover:")
"""It asks for what this version does not have."""


@pytest.mark.slow
@pytest.mark.sim
def test_several_are_played_one_after_another_and_told_in_a_table(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("fails.yaml").write_text(FAILS)
    Path("asks.yaml").write_text(ASKS)
    names = (file, "nothing-like-it", "fails.yaml", "asks.yaml")
    assert run(*names, mode="sim", options=Options(output=Format.JSON)) == 6
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "PlayedExperiments" and document["left"] == []
    rows = [
        (row["experiment"], row["verdict"], row["exit_code"], row["run"])
        for row in document["items"]
    ]
    assert rows == [
        (file, "pass", 0, "small-sim-1"),
        ("nothing-like-it", "refused", 64, ""),
        ("fails.yaml", "fail", 6, "fails-sim-1"),
        ("asks.yaml", "refused", 4, ""),
    ]
    why = [row["why"] for row in document["items"]]
    assert why[0] == "" and "KS-USE-002" in why[1] and "`sometimes` is not available" in why[3]
    assert "vm.running" in why[2]
    assert run(file, file, mode="sim") == 0
    table = capsys.readouterr()
    assert table.out.count(" pass ") == 2 and "small-sim-1-3" in table.out
    assert f"{file}: pass (exit 0), " in table.err


def test_what_is_of_one_run_is_refused_with_several(file: str, tmp_path: Path) -> None:
    for option in ({"report": tmp_path / "r.html"}, {"negative_control": True}):
        with pytest.raises(KeysteadError) as caught:
            run(file, file, mode="sim", **option)
        assert caught.value.id == "KS-USE-003"
    assert not (tmp_path / "home").exists()


def test_an_interrupt_ends_several(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lab.cli.experiments.chaos.play_experiment", interrupted)
    assert run(file, "second", "third", mode="sim", options=Options(output=Format.JSON)) == 130
    document = json.loads(capsys.readouterr().out)
    assert [row["verdict"] for row in document["items"]] == ["interrupted"]
    assert document["left"] == ["second", "third"]


def test_the_worst_exit_code_is_that_of_several() -> None:
    """A failure says more than that nothing could be judged, and both more than a refusal."""
    assert worst([0, 0]) == 0 and worst([]) == 0
    assert worst([0, 2, 64, 1]) == 1 and worst([2, 6, 5]) == 6 and worst([0, 64]) == 64
    assert worst([1, 130]) == 130 and worst([64, 4]) == 4


def test_the_first_words_of_one_name_will_do() -> None:
    assert find("SC-49").stem == "sc-49-native-backup-by-address"
    assert find("edge").stem == "edge-outage-reboot"
    for many in ("sc", "sc-4"):
        with pytest.raises(KeysteadError):
            find(many)


def test_a_pace_is_of_a_lab_of_real_processes_of_its_own(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeysteadError) as caught:
        run(file, pace=5, mode="sim")
    assert caught.value.id == "KS-USE-003"
    with pytest.raises(KeysteadError) as caught:
        run(file, pace=5, mode="lab", on="default")
    assert caught.value.id == "KS-USE-003"
    made = prepare_experiment(file, None, None, "lab", (), 5)
    assert made.topology.pace == 5 and made.options == ("--pace", "5")
    assert prepare_experiment(file, None, None, "lab").topology.pace == 30
    with pytest.raises(KeysteadError) as caught:
        run(file, mode="lab", pace=-1)
    assert caught.value.id == "KS-TOPO-001"
