"""kill -9 at every step of ``up``, ``down``, ``down --purge`` and ``chaos run``.

A step is what changes something outside of the process: see ``killing/sitecustomize.py``. After
each kill the next ``up`` works, what was acknowledged is there, and ``down --purge`` leaves
nothing. The steps are listed by a run that is not killed; the first and the last of each kind are
then killed in turn. Some of them are tried in every run of the tests, all of them in slow runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.supervise.launching import ROOT
from tests.lab.cli.conftest import Cli, until

pytestmark = pytest.mark.lab

KILLING = Path(__file__).parent / "killing"
SMALL = ("--hosts", "1", "--vms", "1", "--tpm", "none", "--pace", "100")
SUPERVISOR, COMMAND = "lab.supervise.supervisor", "lab.cli.main"
SHORT = """
apiVersion: keystead/v1
kind: Experiment
name: short
title: A cut
topology: {use: default, with: {hosts: 1, vms: 1, tpm: none, pace: 100}}
hypothesis:
  before: [{probe: vm.running, is: "== 100%", within: 60s}]
  after: [{probe: vm.running, is: "== 100%"}]
guards: {lease: 300s, max_duration: 5m, blast_radius: {hosts: 100%, kms: 1, vcenter: 1}}
schedule:
  - {id: wan, at: 1s, for: 10s, fault: link.cut, between: [vcenter, kms]}
"""


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    made = Cli(tmp_path / "state", PYTHONPATH=f"{KILLING}{os.pathsep}{ROOT}")
    yield made
    made.end()


def counted(cli: Cli, process: str, at: int, log: Path | None = None) -> Cli:
    """Commands whose ``process`` is killed at step ``at`` (0: never), with its steps in ``log``."""
    more = {"KILL_PROCESS": process, "KILL_AT": str(at), "KILL_LOG": str(log or "")}
    return Cli(cli.home, **{**cli.more, **more})


def steps(cli: Cli, log: Path, process: str, *line: str) -> list[str]:
    """Do a command that must work; the steps of ``process``, in order."""
    log.unlink(missing_ok=True)
    counted(cli, process, 0, log).ok(*line)
    settled(cli)
    return log.read_text().splitlines()


def first_and_last(labels: list[str]) -> list[int]:
    """Numbers of the first and the last step of each kind."""
    numbers: dict[tuple[str, str], int] = {}
    for number, label in enumerate(labels, 1):
        numbers.setdefault((label, "first"), number)
        numbers[label, "last"] = number
    return sorted(set(numbers.values()))


def scratch(cli: Cli) -> list[str]:
    folder = cli.home / "scratch"
    return os.listdir(folder) if folder.is_dir() else []


def settled(cli: Cli) -> None:
    """Wait for a supervisor whose command was killed: it goes on, or ends."""
    assert until(lambda: "busy" not in cli.ok("list", "-o", "json").out, 30)


def works(cli: Cli) -> bool:
    """The VM is the one that was encrypted, and its keys are there."""
    (vm,) = cli.ok("get", "vms", "-o", "json").items()
    on = cli("vm", "on", "vm-01")
    return (vm["vm"], vm["crypto"], on.code) == ("vm-01", "unlocked", 0)


def goes_on(cli: Cli) -> None:
    """The next ``up`` works, the lab is whole, and can be removed."""
    settled(cli)
    cli.ok("up", *SMALL)
    assert until(lambda: works(cli), 30), "the VM does not work"
    cli.ok("down", "--purge")
    assert cli.alone() and cli.labs() == []
    cli.ok("list")
    assert scratch(cli) == []


def sweep(cli: Cli, numbers: list[int], labels: list[str], try_one: Callable[[int], None]) -> None:
    """Try all, and tell of all that failed."""
    failed = []
    for at in numbers:
        try:
            try_one(at)
        except AssertionError as error:
            failed.append(f"killed at {at} ({labels[at - 1]}): {error}")
            cli("down", "--purge")
            cli.end()
    assert failed == []


CHOSEN = ("order Ask PowerOnVm",)


@pytest.mark.slow
def test_some_steps_of_up(cli: Cli, tmp_path: Path) -> None:
    """A VM is there, and not yet on."""
    labels = steps(cli, tmp_path / "steps", SUPERVISOR, "up", *SMALL)
    cli.ok("down", "--purge")
    assert "order Ask EncryptVm" not in labels, "no VM of a new lab is ever in clear"

    def one(at: int) -> None:
        counted(cli, SUPERVISOR, at)("up", *SMALL, "--retain")
        assert cli.labs() == ["default"]
        goes_on(cli)

    sweep(cli, [labels.index(label) + 1 for label in CHOSEN], labels, one)


@pytest.mark.sweep
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("retain", [(), ("--retain",)])
@pytest.mark.parametrize("process", [SUPERVISOR, COMMAND])
def test_every_step_of_the_first_up(
    cli: Cli, tmp_path: Path, process: str, retain: tuple[str, ...]
) -> None:
    labels = steps(cli, tmp_path / "steps", process, "up", *SMALL)
    cli.ok("down", "--purge")

    def one(at: int) -> None:
        counted(cli, process, at)("up", *SMALL, *retain)
        goes_on(cli)

    sweep(cli, first_and_last(labels), labels, one)


@pytest.mark.sweep
@pytest.mark.timeout(3000)
def test_every_step_of_a_later_life(cli: Cli, tmp_path: Path) -> None:
    """Of a supervisor that goes on with a lab, from its start to its end."""
    log = tmp_path / "steps"
    cli.ok("up", *SMALL)
    cli.ok("down")
    counted(cli, SUPERVISOR, 0, log).ok("up")
    cli.ok("down")
    labels = log.read_text().splitlines()

    def one(at: int) -> None:
        cli.ok("up", *SMALL)
        cli.ok("down")
        counted(cli, SUPERVISOR, at)("up")
        cli("down")
        assert cli.labs() == ["default"]
        goes_on(cli)

    sweep(cli, first_and_last(labels), labels, one)


@pytest.mark.sweep
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("line", [("up",), ("down",), ("down", "--purge")])
def test_every_step_of_a_later_command(cli: Cli, tmp_path: Path, line: tuple[str, ...]) -> None:
    """``down --purge`` that was killed has removed the lab, or it can be done again."""

    def before() -> None:
        cli.ok("up", *SMALL)
        if line == ("up",):
            cli.ok("down")

    before()
    labels = steps(cli, tmp_path / "steps", COMMAND, *line)

    def one(at: int) -> None:
        before()
        counted(cli, COMMAND, at)(*line)
        settled(cli)
        if line == ("down", "--purge") and cli.labs():
            cli.ok("down", "--purge")
        goes_on(cli)

    sweep(cli, first_and_last(labels), labels, one)


@pytest.mark.sweep
@pytest.mark.timeout(3000)
def test_every_step_of_a_run(cli: Cli, tmp_path: Path) -> None:
    """Nothing runs on, and the next command removes what is left, with the identities in it."""
    (tmp_path / "short.yaml").write_text(SHORT)
    run = ("chaos", "run", str(tmp_path / "short.yaml"), "--mode", "lab")
    labels = steps(cli, tmp_path / "steps", COMMAND, *run)

    def one(at: int) -> None:
        counted(cli, COMMAND, at)(*run)
        assert cli.alone()
        cli.ok("get", "runs")
        assert scratch(cli) == []

    sweep(cli, first_and_last(labels), labels, one)
