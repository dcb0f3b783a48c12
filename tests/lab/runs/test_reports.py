"""Reports of stored runs, as the command line makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from lab.cli.main import run
from lab.local.stored.reports import story_of
from lab.local.stored.runs import runs
from lab.play.play import play_sim
from lab.play.prepare import begin, prepare
from lab.runs.store import RunFolder

pytestmark = pytest.mark.sim

SHORT = """
apiVersion: keystead/v1
kind: Experiment
name: short
title: A cut that nobody minds
topology: {use: default, with: {hosts: 1, vms: 1}}
workload: [{op: guest.challenge, rate: 1/s}]
hypothesis:
  before: [{probe: vm.running, is: "== 100%"}]
  after: [{probe: vm.running, is: "== 100%"}]
schedule: [{id: wan, at: 5s, for: 30s, fault: link.cut, between: [vcenter, kms]}]
guards: {blast_radius: {kms: 1, vcenter: 1}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "short.yaml"
    file.write_text(SHORT)
    made = prepare("short.yaml", 5, {"tpm": "model"})
    found = begin(made, "sim")
    play_sim(made, found)
    return found


def test_a_story_is_what_the_folder_has(folder: RunFolder) -> None:
    story = story_of(folder.run)
    assert (story.run, story.mode, story.word) == ("short-sim-5", "sim", "pass")
    assert story.reproduce == "keystead chaos replay short-sim-5"
    assert story.seconds == story.records[-1].t > 30.0
    assert {str(entry.role) for entry in story.directory.nodes} == {"kms", "vcenter", "esxi"}


def test_a_run_is_one_file_named_after_it_or_as_is_wanted(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["report", folder.run]) == 0
    assert run(["report", folder.run, "-o", "own.html"]) == 0
    page = Path("own.html").read_text("utf-8")
    assert page == Path("short-sim-5.html").read_text("utf-8")
    assert "A cut that nobody minds" in page and "esxi-001" in page
    assert "written: own.html" in capsys.readouterr().err


MIXED = """
apiVersion: keystead/v1
kind: Experiment
name: mixed
title: Hosts with a TPM beside hosts without
topology:
  apiVersion: keystead/v1
  kind: Lab
  vcenters: [{name: vcenter}]
  kms: [{name: kms}]
  clusters:
    - {name: a, hosts: {count: 3, without_tpm: 1}}
    - {name: b, hosts: {count: 1, tpm: none}}
hypothesis:
  after: [{probe: host.connected, is: "== 100%"}]
schedule: [{id: wan, at: 5s, for: 30s, fault: link.cut, between: [vcenter, kms]}]
guards: {blast_radius: {kms: 1, vcenter: 1}}
"""


def test_the_tpm_of_each_host_is_named_where_they_differ(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mixed.yaml").write_text(MIXED)
    line = "chaos run mixed.yaml --mode sim --seed 9 --report run.html --junit run.xml"
    assert run(line.split()) == 0
    told = "model under esxi-[001-002], none under esxi-[003-004]"
    assert f"tpm {told}  trace" in capsys.readouterr().out
    assert told in Path("run.html").read_text("utf-8") and told in Path("run.xml").read_text()
    assert run(["describe", "run", "mixed-sim-9"]) == 0
    assert f"tpm {told}" in capsys.readouterr().out
    assert [row.tpm for row in runs().items] == ["model", "model, none"]


def test_two_runs_are_laid_beside_each_other(folder: RunFolder) -> None:
    other = prepare("short.yaml", 6, {"tpm": "model"})
    play_sim(other, begin(other, "sim"))
    assert run(["report", folder.run, "short-sim-6"]) == 0
    page = Path("short-sim-5-and-short-sim-6.html").read_text("utf-8")
    assert page.count("A cut that nobody minds") == 2 and "What differs first" in page


@pytest.mark.slow
def test_a_run_writes_its_reports_at_once(folder: RunFolder) -> None:
    line = "chaos run short.yaml --mode sim --seed 9 --report run.html --junit run.xml"
    assert run(line.split()) == 0
    assert "short-sim-9" in Path("run.html").read_text("utf-8")
    assert b'value="short-sim-9"' in Path("run.xml").read_bytes()


@pytest.mark.slow
def test_runs_are_listed_as_they_are_looked_for(folder: RunFolder) -> None:
    other = prepare("short.yaml", 6, {"tpm": "model"})
    play_sim(other, begin(other, "sim"))
    begin(other, "sim").release()  # one whose process was killed

    def names(**wanted: Any) -> list[str]:
        return [item.run for item in runs(**wanted).items]

    assert names() == ["short-sim-5", "short-sim-6", "short-sim-6-2"]
    assert names(newest=True, last=2) == ["short-sim-6-2", "short-sim-6"]
    assert names(last=1) == ["short-sim-6-2"]
    assert names(verdict="pass", newest=True) == ["short-sim-6", "short-sim-5"]
    assert names(verdict="broken off") == ["short-sim-6-2"]
    assert names(verdict="fail") == names(experiment="long") == []
    assert names(experiment="short", verdict="pass", last=1) == ["short-sim-6"]
    assert runs().items[0].began == folder.record().began


@pytest.mark.slow
@pytest.mark.parametrize("words", ["--verdict good", "--last 0", "--last -1"])
def test_a_list_that_cannot_be_is_refused(
    folder: RunFolder, capsys: pytest.CaptureFixture[str], words: str
) -> None:
    assert run(f"runs {words}".split()) == 64
    assert "error KS-USE-003" in capsys.readouterr().err


def test_junit_and_annotations(folder: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", folder.run, "--junit", "out.xml", "--github"]) == 0
    out, err = capsys.readouterr()
    suites = ElementTree.parse("out.xml").getroot()  # noqa: S314 - our own
    assert [suite.get("name") for suite in suites] == ["short"]
    assert out.startswith("::notice file=short.yaml,title=short::PASS: run short-sim-5")
    assert "written: out.xml" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("report nothing --github", "KS-RUN-001"),
        ("report ../x --github", "KS-RUN-001"),
        ("report {run} --junit nowhere/out.xml", "KS-USE-003"),
        ("report {run} --junit .", "KS-USE-003"),
        ("report {run} -o nowhere/out.html", "KS-USE-003"),
        ("report {run} -o " + "x" * 300, "KS-USE-003"),
        ("report {run} -o /dev/full", "KS-OUT-001"),
        ("report {run} nothing", "KS-RUN-001"),
        ("report {run} {run} --github", "KS-USE-003"),
        ("chaos run short.yaml --mode sim --report nowhere/out.html", "KS-USE-003"),
        ("chaos run short.yaml --mode sim --junit .", "KS-USE-003"),
        ("report", "KS-USE-001"),
    ],
)
def test_what_cannot_be_done_is_told(
    folder: RunFolder, capsys: pytest.CaptureFixture[str], words: str, said: str
) -> None:
    before = sorted(folder.path.parent.iterdir())
    assert run(words.format(run=folder.run).split()) != 0
    assert f"error {said}" in capsys.readouterr().err
    assert sorted(folder.path.parent.iterdir()) == before, "nothing was run for it"


def test_a_history_that_was_changed_is_refused(
    folder: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.history.write_bytes(folder.history.read_bytes()[:-10])
    assert run(["report", folder.run, "--github"]) == 5
    assert "error KS-CHAOS-204" in capsys.readouterr().err
