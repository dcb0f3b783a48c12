"""``chaos new``, parameters at the command line, negative controls, runs of other code."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.cli.chaos import new, plan, replay, run
from lab.errors import KeysteadError
from lab.runs import play

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


@pytest.mark.sim
def test_a_run_of_other_code_is_replayed_when_that_is_meant(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(file, mode="sim")
    monkeypatch.setattr(play, "code_version", lambda: "another")
    with pytest.raises(KeysteadError, match="code was") as caught:
        replay("small-sim-1")
    assert caught.value.id == "KS-RUN-002"
    assert replay("small-sim-1", other_code=True) == 0
