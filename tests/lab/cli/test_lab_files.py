"""A Lab file of one's own: written, checked, started, used by an experiment."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from chaos.experiment.write import skeleton
from chaos.yaml_file import read_yaml
from lab.cli.main import run
from lab.local.labs import name_in_file
from lab.topology.lab_file import SHIPPED, load
from tests.lab.cli.conftest import Cli

WRONG = """\
apiVersion: keystead/v1
kind: Lab
name: mylab
pase: 30
sites: [centre, branch]
vcenters: [{name: vcenter, site: center}]
kms: [{name: kms, site: centre, trnsport: kmip}]
providers: [{name: kms-provider, type: standrd, servers: [kmz]}]
clusters:
  - name: cluster-a
    site: branch
    hosts: {cout: 2, tpm: libtpm}
    vms: {count: 4, provider: kms-provder}
knobs: {hartbeat_s: 5}
"""
FOUND = [
    "4:1: pase: there is no such field; did you mean pace?",
    "6:28: vcenters.0.site: vcenter: site center is not in sites; did you mean centre?",
    "7:33: kms.0.trnsport: there is no such field; did you mean transport?",
    "8:34: providers.0.type: standrd is none of standard, trusted, native; did you mean standard?",
    "8:59: providers.0.servers.0: provider kms-provider: no key server kmz; did you mean kms?",
    "12:13: clusters.0.hosts.cout: there is no such field; did you mean count?",
    "12:22: clusters.0.hosts.tpm: libtpm is none of none, libtpms, model; did you mean libtpms?",
    "13:21: clusters.0.vms.provider: cluster cluster-a: there is no provider kms-provder of "
    "['kms-provider']; did you mean kms-provider?",
    "14:9: knobs.hartbeat_s: there is no such knob; did you mean heartbeat_s?",
]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO())


@pytest.mark.parametrize("command", [("lab", "lint"), ("up",)])
def test_all_that_is_wrong_with_a_file_is_told_at_once_with_lines(
    command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("wrong.yaml").write_text(WRONG)
    assert run([*command, "wrong.yaml"]) == 4
    lines = capsys.readouterr().err.removeprefix("keystead: error KS-TOPO-001: ").splitlines()
    assert lines[: len(FOUND)] == [f"wrong.yaml:{text}" for text in FOUND]


def test_a_consequence_of_an_error_is_no_error_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without its provider, which is no text, the VMs would seem to have none."""
    Path("wrong.yaml").write_text(
        "apiVersion: keystead/v1\nkind: Lab\nvcenters: [{name: vcenter}]\nkms: [{name: kms}]\n"
        "providers: [{name: one, servers: [kms]}]\n"
        "clusters: [{name: a, vms: {count: 2, provider: [one]}}]\n"
    )
    assert run(["lab", "lint", "wrong.yaml", "-o", "json"]) == 4
    items = json.loads(capsys.readouterr().out)["items"]
    assert items == ["wrong.yaml:6:38: clusters.0.vms.provider: Input should be a valid string"]


@pytest.mark.parametrize("source", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_a_shipped_lab_is_copied_out_with_comments(
    source: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["lab", "new", "mine", "--from", source]) == 0
    assert capsys.readouterr().out.endswith("/mine.yaml\n")
    text = Path("mine.yaml").read_text()
    first, about, *_ = text.splitlines()
    assert first == "# yaml-language-server: $schema=lab.schema.json"
    assert about in (SHIPPED / f"{source}.yaml").read_text() or len(about) > 80
    shipped = read_yaml((SHIPPED / f"{source}.yaml").read_text()).data
    assert read_yaml(text).data == {**shipped, "name": "mine"}
    assert json.loads(Path("lab.schema.json").read_text())["title"] == "A lab of keystead"
    assert run(["lab", "lint", "mine.yaml"]) == 0
    assert name_in_file("mine.yaml") == "mine"


def test_options_are_written_into_the_file() -> None:
    options = ("--hosts", "8", "--kms", "2", "--key-persistence", "--set", "heartbeat_s=5")
    assert run(["lab", "new", "mine", "--from", "edge", *options]) == 0
    made = load("mine.yaml")
    hosts = made.clusters[0].hosts
    assert (hosts.count, hosts.key_persistence, len(made.kms)) == (8, True, 2)
    assert made.knobs == {"heartbeat_s": 5}
    text = Path("mine.yaml").read_text()
    assert "      # Also: versions, without_tpm, aesni.\n" in text
    assert "# Lab seconds that pass in one real second.\npace: 30\n" in text


def test_a_terminal_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    person = io.StringIO("5\n\n2\nyes\n\n")
    monkeypatch.setattr(person, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", person)
    assert run(["lab", "new", "mine"]) == 0
    made = load("mine.yaml")
    assert (made.clusters[0].hosts.count, len(made.kms)) == (5, 2)
    assert made.clusters[0].hosts.key_persistence


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("new", "mine", "--from", "egde"), "there is no Lab file egde of keystead: default, edge"),
        (("new", "No Name"), "is no lab name"),
        (("new", "mine", "--hosts", "-1"), "the options do not fit: clusters.0.hosts.count"),
        (("new", "there"), "there.yaml: File exists"),
    ],
)
def test_what_cannot_be_written_is_refused(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("there.yaml").write_text("mine")
    assert run(["lab", *words]) == 64
    assert said in capsys.readouterr().err
    assert Path("there.yaml").read_text() == "mine" and not Path("mine.yaml").exists()


def test_an_experiment_uses_a_file_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "new", "mine", "--vms", "4"]) == 0
    text = skeleton("outage").replace(
        "{use: default, with: {hosts: 3,", "{use: mine.yaml, with: {hosts: 5,"
    )
    Path("outage.yaml").write_text(text.replace("one of role:esxi", "esxi-005"))
    capsys.readouterr()
    assert run(["chaos", "lint", "outage.yaml"]) == 0
    assert run(["chaos", "plan", "outage.yaml", "-o", "json"]) == 0
    plan = json.loads(capsys.readouterr().out.partition("\n")[2])
    assert plan["faults"][1]["values"]["nodes"] == ["esxi-005"]


@pytest.mark.slow
@pytest.mark.lab
def test_a_lab_has_the_name_of_its_file(cli: Cli, tmp_path: Path) -> None:
    assert run(["lab", "new", "mine", "--hosts", "1", "--vms", "0", "--tpm", "none"]) == 0
    file = tmp_path / "mine.yaml"
    started = cli.ok("up", str(file))
    assert "keystead get vms --name mine" in started.err
    assert cli.ok("status", "--name", "mine", "-o", "name").out == "mine\n"
    cli.ok("down", "--name", "mine")
    assert cli.ok("up", str(file), "--name", "other", "-o", "name").out == "other\n"
    cli.ok("down", "--name", "other")
