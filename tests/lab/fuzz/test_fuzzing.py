"""A planted bug is found, made small, and its file plays it again."""

from __future__ import annotations

import json
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from chaos.experiment.generate import Mix
from lab.cli.experiments.campaigns import fuzz as fuzz_command
from lab.cli.experiments.campaigns import shrink as shrink_command
from lab.cli.invocation import Format
from lab.cli.options import Options
from lab.cli.progress import Style
from lab.fuzz import shrinking
from lab.fuzz.play import Failure, play
from lab.fuzz.shrinking import Small, fits
from lab.fuzz.world import CampaignWorld
from lab.local.fuzzing import Fuzzing, shrink
from lab.play.prepare import prepare
from lab.schema.errors import KeysteadError
from lab.simulation.snapshot import BuiltLabs, Origin

pytestmark = pytest.mark.sim
PLANTED = "tests.lab.fuzz.planted"
MIX = Mix(from_s=5.0, until_s=60.0)
WORLD = CampaignWorld(hosts=2, vms=2, mix=MIX, patch=PLANTED)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))


@pytest.mark.slow
def test_what_is_found_is_shrunk_and_its_file_plays_it_again(tmp_path: Path) -> None:
    said: list[str] = []
    report = Fuzzing("c", WORLD, jobs=2, say=said.append).run(range(2), 3600)
    [found] = report.items
    assert (found.failure, found.seeds) == ("check guests_read_back", (0, 1))
    assert found.faults == 0 and 0 < found.runs <= 200
    assert (report.played, report.now, report.twice) == (2, 2, 2)
    assert report.tried["operations"]["ok guest.challenge"] > 0
    path = Path(found.file)
    assert path.parent == tmp_path / "campaigns" / "c" / "found"
    text = path.read_text()
    assert text.startswith("# check guests_read_back, found by seed ")
    assert f"in code in which {PLANTED} is planted" in text
    made = shrinking.read(path)
    assert len([s for s in made.topology.nodes if s.role == "esxi"]) == 1, "one host is enough"
    with BuiltLabs(Origin(made.topology, patch=PLANTED)) as snapshot:
        verdict = play(snapshot, made.plan).verdict
    assert "guests_read_back" in {c.name for c in verdict.checks if c.result == "fail"}
    with BuiltLabs(Origin(made.topology)) as snapshot:
        sound = play(snapshot, made.plan).verdict
    assert sound.exit_code == 2 and not [c for c in sound.checks if c.result == "fail"]
    again = Fuzzing("c", WORLD, jobs=1, say=said.append).run(range(2), 3600, shrink=False)
    assert (again.played, again.now) == (2, 0)
    assert any("goes on: 2 seeds" in line for line in said)
    assert list(shrinking.corpus(path.parent)) == [path]


@pytest.mark.slow
def test_a_campaign_ends_when_enough_was_found() -> None:
    report = Fuzzing("e", WORLD, jobs=1, enough=1).run(range(50), 3600, shrink=False)
    [found] = report.items
    assert (found.seeds, report.played) == ((0,), 1)
    assert not found.file


@pytest.mark.slow
def test_a_command_finds_nothing_in_sound_code(capsys: pytest.CaptureFixture[str]) -> None:
    few: dict[str, Any] = {"seeds": 2, "hosts": 1, "vms": 1, "kinds": ("proc.pause",)}
    common = {**few, "progress": Style.NONE}
    assert fuzz_command(**common, campaign="calm", options=Options(output=Format.JSON)) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["played"], report["items"], report["tpm"]) == (2, [], "model")
    assert "link.cut" in report["untried"]["faults"]
    assert fuzz_command(**common, campaign="calm") == 0
    shown = capsys.readouterr().out
    assert "never tried, faults: link.cut" in shown
    assert "2 seeds (0 now; " in shown


@pytest.mark.parametrize(
    ("wrong", "id"),
    [
        ({"seeds": 0}, "KS-USE-003"),
        ({"budget": 0}, "KS-USE-003"),
        ({"first": -1}, "KS-USE-003"),
        ({"enough": -1}, "KS-USE-003"),
        ({"jobs": 0}, "KS-USE-003"),
        ({"time": "5"}, "KS-USE-003"),
        ({"kinds": ("link.cutt",)}, "KS-USE-002"),
        ({"patch": "no.such.module"}, "KS-USE-002"),
        ({"campaign": "../out"}, "KS-USE-003"),
        ({"hosts": 0}, "KS-TOPO-001"),
        ({"kms": 3}, "KS-USE-003"),
        ({"kms": 0}, "KS-USE-003"),
        ({"kms_mode": "forward"}, "KS-USE-003"),
        ({"kms": 9, "kms_mode": "async"}, "KS-USE-003"),
        ({"lab": "native", "kms_mode": "async"}, "KS-USE-003"),
    ],
)
def test_bad_values_are_refused(wrong: dict[str, Any], id: str) -> None:
    with pytest.raises(KeysteadError) as caught:
        fuzz_command(**{"seeds": 1, "progress": Style.NONE, **wrong})
    assert caught.value.id == id


FAILING = """
apiVersion: keystead/v1
kind: Experiment
name: hopeless
title: A host that is dark at the end of the phase runs no VM then
seed: 3
topology: {use: default, with: {hosts: 2, vms: 2, key_persistence: true}}
hypothesis: {during: [{probe: vm.running, is: "== 100%", every: 1s}]}
schedule:
  - {id: dark, at: 5s, for: 10s, fault: host.power_loss, on: [esxi-001, esxi-002]}
  - {id: cut, at: 20s, for: 10s, fault: link.cut, between: [vcenter, kms]}
workload: [{op: key.create, rate: 0.3/s}]
"""


@pytest.mark.slow
def test_an_experiment_that_fails_is_shrunk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "hopeless.yaml"
    file.write_text(FAILING)
    shrink_command(str(file), to=tmp_path, options=Options(output=Format.JSON))
    answer = json.loads(capsys.readouterr().out)
    assert answer["failure"] == "check during vm.running == 100%"
    assert "host.power_loss" in answer["shape"] and "link.cut" not in answer["shape"]
    made = yaml.safe_load(Path(answer["file"]).read_text())
    assert [entry["fault"] for entry in made["schedule"]] == ["host.power_loss"]
    shrink_command(str(file), to=tmp_path)
    assert "keystead chaos run " in capsys.readouterr().out


def test_a_finding_for_which_there_is_no_room_leaves_no_half_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "hopeless.yaml"
    file.write_text(FAILING)
    plan = prepare(str(file), None, {}).plan
    small = Small(failure=Failure("slow", ""), plan=plan, world=WORLD, runs=1)
    found = tmp_path / "found"
    found.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handled = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200, hard))
    try:
        with pytest.raises(KeysteadError) as caught:
            shrinking.write(found, small, 3, "much")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handled)
    assert caught.value.id == "KS-LAB-005"
    assert not list(found.iterdir())
    assert (
        shrinking.write(found, small, 3, "much").read_text().startswith("# slow, found by seed 3")
    )


@pytest.mark.slow
def test_what_does_not_fail_or_fit_is_not_shrunk(tmp_path: Path) -> None:
    fine = tmp_path / "fine.yaml"
    fine.write_text(FAILING.replace("[esxi-001, esxi-002]", "vcenter"))
    with pytest.raises(KeysteadError, match="passes with seed 3") as caught:
        shrink(prepare(str(fine), None, {"tpm": "model"}), 5, tmp_path, print)
    assert caught.value.id == "KS-RUN-006"
    other = tmp_path / "other.yaml"
    other.write_text(FAILING.replace("use: default", "use: edge"))
    with pytest.raises(KeysteadError, match="shape of a shipped one"):
        shrink(prepare(str(other), None, {"tpm": "model"}), 5, tmp_path, print)
    bad: list[dict[str, Any]] = [{"budget": 0}, {"to": tmp_path / "nowhere"}]
    for values in bad:
        with pytest.raises(KeysteadError) as caught:
            shrink_command(str(fine), **values)
        assert caught.value.id == "KS-USE-003"


def test_a_plan_fits_a_lab_that_has_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "h.yaml").write_text(FAILING)
    plan = prepare(str(tmp_path / "h.yaml"), None, {}).plan
    assert fits(plan, CampaignWorld(hosts=2, vms=2))
    assert not fits(plan, CampaignWorld(hosts=1, vms=1))
    three = CampaignWorld(lab="vsan", hosts=3, vms=3)
    assert fits(plan, three)
    assert not fits(plan, CampaignWorld(lab="vsan", hosts=2, vms=3))  # objects on 3 hosts
