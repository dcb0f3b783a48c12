"""Command lines of the page, and what they are in an experiment."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from chaos.experiment.lint import read_experiment
from lab.cli.watch.web.actions import (
    ALLOWED,
    ExecutedLine,
    experiment,
    offers_for_link,
    offers_for_node,
    offers_in,
    read_line,
)
from lab.play.prepare import prepare
from lab.schema.answers import MachineState
from lab.schema.commands import LinkCut
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load


def done(at: float, line: str, *ids: str) -> ExecutedLine:
    return ExecutedLine(at, line, read_line(line).command, ids)


def test_no_command_of_the_page_touches_a_file_of_this_machine() -> None:
    assert issubclass(LinkCut, ALLOWED)
    for kind in ALLOWED:
        assert kind.changes
        assert not {"files_read", "file_written"} & vars(kind).keys()


@pytest.mark.parametrize(
    ("cure", "lines"),
    [
        ("keystead host power-on esxi-001", ["host power-on esxi-001"]),
        ("keystead heal --all, or start what is down: keystead get nodes", ["heal --all"]),
        (
            "keystead host reboot esxi-001, or keystead host enable-crypto esxi-001",
            ["host reboot esxi-001", "host enable-crypto esxi-001"],
        ),
        (
            "keystead vm unlock vm-01, which looks now and reports what is wrong",
            ["vm unlock vm-01"],
        ),
        ("keystead provider import FILE, with its backup", []),
        ("restore the key server (keystead heal --with-cure), or recover the VM", []),
        ("keystead host power-on esxi-001 --boot-option encryptionRecoveryKey=-", []),
    ],
)
def test_a_cure_has_a_button_for_each_line_that_the_page_may_give(
    cure: str, lines: list[str]
) -> None:
    assert [one.line for one in offers_in(cure)] == lines


def test_what_is_offered_fits_the_state() -> None:
    assert [o.label for o in offers_for_node("esxi-001", MachineState.OFF, host=True)] == ["Boot"]
    labels = [o.label for o in offers_for_node("kms", MachineState.RUNNING, host=False)]
    assert labels == ["Pull the power", "Shut down", "Pause"]
    cut, *_ = offers_for_link("vcenter", "cluster:cluster-a", ())
    assert cut.line == "fault link.cut 'between=[vcenter, cluster:cluster-a]' --for 5m"
    between = ["vcenter", "cluster:cluster-a"]
    assert yaml.safe_load(cut.entry) == {"fault": "link.cut", "between": between, "for": "300s"}
    assert offers_for_link("a", "b", ("wan",))[0].line == "heal wan"


def test_what_was_done_is_an_experiment_that_the_linter_takes(tmp_path: Path) -> None:
    text = experiment(
        "default",
        {"use": "default"},
        [
            done(100.0, "link cut vcenter kms --for 5m", "link-cut-1"),
            done(120.0, "host power-loss esxi-001 --stay-off"),
            done(130.5, "host power-on esxi-001"),
            done(150.0, "vm off vm-02"),
            done(160.0, "heal link-cut-1", "link-cut-1"),
            done(170.0, "fault link.cut 'between=[vcenter, cluster:cluster-a]' --for 5m", "x"),
            done(200.0, "host reboot esxi-002"),
            done(210.0, "host pause esxi-003"),
            done(220.0, "host resume esxi-003"),
        ],
    )
    entries = read_yaml(text)["schedule"]
    assert [(e["at"], e.get("fault") or e["do"], e.get("for")) for e in entries] == [
        ("10s", "link.cut", "60s"),
        ("30s", "host.power_loss", "10.5s"),
        ("60s", "vm.off", None),
        ("80s", "link.cut", "300s"),
        ("110s", "host.reboot", None),
        ("120s", "proc.pause", "10s"),
    ]
    path = tmp_path / "watched.yaml"
    path.write_text(text)
    made = prepare(str(path), None, {}, {}, "sim")
    assert len(made.plan.faults) == 5 and len(made.plan.actions) == 1


def test_the_experiment_of_a_running_lab_has_its_whole_file(tmp_path: Path) -> None:
    file = load("edge", hosts=2).model_dump(mode="json", exclude_defaults=True)
    text = experiment("edge", file, [done(1.0, "link cut vcenter kms")])
    path = tmp_path / "watched.yaml"
    path.write_text(text)
    assert len(prepare(str(path), None, {}, {}, "sim").topology.nodes) == 4
    assert read_experiment(path, {}).text == text


def test_nothing_done_is_said() -> None:
    with pytest.raises(KeysteadError, match="nothing was done"):
        experiment("default", {}, [done(1.0, "heal --all")])


def read_yaml(text: str) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = yaml.safe_load(text)
    return found
