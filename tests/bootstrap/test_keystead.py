"""``./keystead`` builds once, repairs what was interrupted, asks before it installs, hands on."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.bootstrap.machine import ROOT, Machine, Outcome, end, outcome_of

ALL, AGAIN = "tests --share 400", "tests --again"
"""What the stand-in for ``tests.runner`` says when it runs."""

ALL_PACKAGES = "libtpms0 libtss2-dev libc6-dev"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def failed(outcome: Outcome, error_id: str) -> None:
    assert outcome.code == 78, outcome
    assert f"keystead: error {error_id}: " in outcome.err
    assert "\n  fix: " in outcome.err
    assert outcome.out == ""


# ---- the build ------------------------------------------------------------------------------


def test_first_start_builds_and_hands_on(machine: Machine) -> None:
    machine.complete()
    first = machine.start("up", "--hosts", "two words", "--yes")
    assert (first.code, first.out) == (0, "cli up --hosts two words\n")
    steps = machine.told()
    assert steps[0].startswith("python -m venv --clear ")
    assert "--require-hashes" in steps[1] and "pip install" in steps[1]
    assert "--require-hashes" in steps[2] and "requirements.lock" in steps[2]
    assert "--no-deps" in steps[3] and steps[3].endswith(f"-e {machine.checkout}")
    assert "-m compileall" in steps[4] and f"{machine.checkout}/lab" in steps[4]
    assert len(steps) == 5


def test_later_starts_call_nothing(machine: Machine) -> None:
    machine.complete()
    machine.start("up")
    machine.calls.write_text("")
    later = machine.start("get", "vms", "-o", "json")
    assert (later.code, later.out, later.err) == (0, "cli get vms -o json\n", "")
    assert machine.calls.read_text() == ""


def test_later_starts_compute_no_checksum_until_a_file_is_newer_than_the_stamp(
    machine: Machine,
) -> None:
    machine.complete()
    machine.start("up")
    (machine.bin / "sha256sum").rename(machine.bin / "away")
    assert machine.start("get", "vms").out == "cli get vms\n"
    lock = machine.checkout / "requirements.lock"
    before = lock.stat()
    (machine.bin / "away").rename(machine.bin / "sha256sum")
    machine.told()
    with lock.open("a") as file:
        file.write("\n# changed\n")
    assert machine.start("get", "vms").out == "cli get vms\n"
    assert [step for step in machine.told() if step.startswith("uv pip install")]
    with lock.open("a") as file:
        file.write("\n# changed again, and copied with its old time\n")
    os.utime(lock, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert machine.start("up").out == "cli up\n"
    assert [step for step in machine.told() if step.startswith("uv pip install")]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["requirements.lock", "requirements-dev.lock", "pyproject.toml", "keystead"]
)
def test_a_changed_file_is_installed_again(machine: Machine, name: str) -> None:
    machine.complete()
    machine.start("up")
    machine.told()
    with (machine.checkout / name).open("a") as file:
        file.write("\n# changed\n")
    assert machine.start("up").out == "cli up\n"
    assert [step for step in machine.told() if step.startswith("uv pip install")]


def test_a_moved_checkout_is_installed_again(machine: Machine) -> None:
    machine.complete()
    machine.start("up")
    machine.told()
    machine.checkout = machine.checkout.rename(machine.checkout.parent / "moved")
    assert machine.start("up").out == "cli up\n"
    assert [step for step in machine.told() if step.endswith(f"-e {machine.checkout}")]


def test_called_by_a_link_from_elsewhere(machine: Machine, tmp_path: Path) -> None:
    machine.complete()
    (machine.bin / "keystead").symlink_to(machine.checkout / "keystead")
    run = subprocess.run(
        ["sh", "-c", "keystead list"],
        cwd=tmp_path,
        env=machine.environment,
        capture_output=True,
        text=True,
    )
    assert (run.returncode, run.stdout) == (0, "cli list\n")
    assert (machine.state / "name").read_text() == f"called {machine.bin}/keystead\n"
    assert (machine.checkout / ".venv" / "keystead-stamp").exists()


def test_setup_builds_only(machine: Machine) -> None:
    machine.complete()
    outcome = machine.start("setup")
    assert (outcome.code, outcome.out) == (0, "")
    assert ".venv is complete" in outcome.err
    assert machine.start("setup", "everything").code == 64


def _locks(steps: list[str]) -> list[str]:
    """The locks that these steps install from."""
    return [Path(step.split()[-1]).name for step in steps if step.endswith(".lock")]


def test_tools_of_tests_are_installed_when_tests_run(machine: Machine) -> None:
    machine.complete()
    machine.start("up")
    assert _locks(machine.told()) == ["requirements.lock"]
    machine.start("test", "tests/tidy")
    assert _locks(machine.told()) == ["requirements.lock", "requirements-dev.lock"]
    machine.start("up")
    assert machine.told() == []


def test_an_environment_that_has_the_tools_of_tests_keeps_them(machine: Machine) -> None:
    machine.complete()
    machine.start("setup")
    machine.told()
    with (machine.checkout / "requirements.lock").open("a") as file:
        file.write("\n# changed\n")
    machine.start("up")
    assert _locks(machine.told()) == ["requirements.lock", "requirements-dev.lock"]


def test_setup_for_running_only_leaves_the_tools_out(machine: Machine) -> None:
    machine.complete()
    assert machine.start("setup", "--runtime", "--yes").code == 0
    assert _locks(machine.told()) == ["requirements.lock"]
    assert machine.start("up").err == ""


def test_setup_print_tells_every_package_and_does_nothing(machine: Machine) -> None:
    outcome = machine.start("setup", "--print")
    assert outcome.code == 0
    for word in f"{ALL_PACKAGES} gcc pkg-config python3-dev python3-venv".split():
        assert word in outcome.out
    assert machine.calls.read_text() == ""
    assert not (machine.checkout / ".venv").exists()


# ---- what was interrupted ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_that_was_stopped_is_made_anew(machine: Machine, how: signal.Signals) -> None:
    machine.complete()
    (machine.state / "uv-hangs").touch()
    process = machine.begin("up")
    wait_for(machine.state / "hanging")
    out, err = end(process, how)
    assert out == ""
    if how is not signal.SIGKILL:
        assert process.returncode == 130
        assert "the next start makes it again" in err
    assert not (machine.checkout / ".venv" / "keystead-stamp").exists()
    (machine.state / "uv-hangs").unlink()
    machine.told()
    assert machine.start("up").out == "cli up\n"
    assert machine.told()[0].startswith("python -m venv --clear ")


def test_two_starts_at_once_build_once(machine: Machine) -> None:
    machine.complete()
    (machine.state / "uv-hangs").touch()
    first = machine.begin("up")
    wait_for(machine.state / "hanging")
    second = machine.begin("list")
    assert second.stderr is not None
    assert "waiting for it" in second.stderr.readline()
    (machine.state / "uv-hangs").unlink()
    assert first.communicate(timeout=30)[0] == "cli up\n"
    assert second.communicate(timeout=30)[0] == "cli list\n"
    assert len([step for step in machine.told() if "venv --clear" in step]) == 1


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stumble", "error_id"),
    [
        ("venv-fails", "KS-SETUP-007"),
        ("pip-fails", "KS-SETUP-008"),
        ("uv-fails", "KS-SETUP-009"),
        ("editable-fails", "KS-SETUP-010"),
    ],
)
def test_a_step_that_fails_has_an_id_and_its_output(
    machine: Machine, stumble: str, error_id: str
) -> None:
    machine.complete()
    (machine.state / stumble).touch()
    outcome = machine.start("up")
    failed(outcome, error_id)
    assert stumble == "editable-fails" or "  | " in outcome.err
    (machine.state / stumble).unlink()
    assert machine.start("up").out == "cli up\n"


# ---- Debian packages ----------------------------------------------------------------------


def test_without_a_terminal_it_says_the_line_and_stops(machine: Machine) -> None:
    outcome = machine.start("up")
    failed(outcome, "KS-SETUP-005")
    line = f"apt-get update && apt-get install -y --no-install-recommends {ALL_PACKAGES}"
    assert line in outcome.err
    assert machine.told() == []


@pytest.mark.parametrize(("arguments", "ci"), [(("--yes", "up"), ""), (("up",), "true")])
def test_told_so_it_installs_without_asking(
    machine: Machine, arguments: tuple[str, ...], ci: str
) -> None:
    outcome = machine.start(*arguments, CI=ci)
    assert outcome.out == "cli up\n"
    assert machine.told()[:2] == [
        "apt-get update",
        f"apt-get install -y --no-install-recommends {ALL_PACKAGES}",
    ]


def test_only_what_is_missing_is_installed(machine: Machine) -> None:
    machine.given("libtss2-dev", "libc6-dev")
    (machine.bin / "gcc").unlink()
    machine.start("up", "--yes", VERSION="3.99", NO_VENV="1", NO_HEADERS="1")
    wanted = "python3.99-venv libtpms0 gcc python3.99-dev"
    assert machine.told()[1] == f"apt-get install -y --no-install-recommends {wanted}"


def test_an_install_that_fails_stops_it(machine: Machine) -> None:
    (machine.state / "apt-fails").touch()
    outcome = machine.start("up", "--yes")
    failed(outcome, "KS-SETUP-006")
    assert "  | E: broken" in outcome.err


@pytest.mark.parametrize(("answer", "installed"), [("\n", True), ("y\n", True), ("n\n", False)])
def test_on_a_terminal_it_asks_once(machine: Machine, answer: str, installed: bool) -> None:
    try:
        ours, theirs = pty.openpty()
    except OSError as error:
        pytest.skip(f"no terminal can be made on this machine: {error}")
    os.write(ours, answer.encode())
    run = subprocess.run(
        machine.command("up"),
        env=machine.environment,
        stdin=theirs,
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(ours)
    os.close(theirs)
    assert run.stderr.count("[Y/n]") == 1
    if installed:
        assert run.stdout == "cli up\n"
    else:
        failed(outcome_of(run), "KS-SETUP-004")
        assert machine.told() == []


def test_neither_root_nor_sudo(tmp_path: Path) -> None:
    machine = Machine(tmp_path, root=False)
    outcome = machine.start("up", "--yes")
    failed(outcome, "KS-SETUP-003")
    assert "as root: apt-get update && apt-get install" in outcome.err
    assert "./keystead up --tpm none" in outcome.err


def test_a_user_installs_by_sudo_and_a_script_is_not_asked_for_a_password(tmp_path: Path) -> None:
    machine = Machine(tmp_path, root=False)
    machine.program("sudo", '#!/bin/sh\necho "sudo $1" >>"$CALLS"\nshift\nexec "$@"\n')
    assert machine.start("up", "--yes").out == "cli up\n"
    assert machine.told()[:2] == ["sudo -n", "apt-get update"]


def test_elsewhere_nothing_is_installed(tmp_path: Path) -> None:
    machine = Machine(tmp_path, debian=False)
    outcome = machine.start("up", "--yes")
    failed(outcome, "KS-SETUP-002")
    assert "dnf install" in outcome.err and "pacman" in outcome.err
    assert machine.start("up", "--tpm", "none").out == "cli up --tpm none\n"


# ---- without TPMs ------------------------------------------------------------------------


@pytest.mark.parametrize("choice", [("--tpm", "none"), ("--tpm=none",)])
def test_no_tpm_needs_no_package(machine: Machine, choice: tuple[str, ...]) -> None:
    outcome = machine.start("up", *choice)
    assert outcome.out == f"cli up {' '.join(choice)}\n"
    installed = (machine.state / "installed.txt").read_text()
    assert "tpm2-pytss==" not in installed
    everything = (ROOT / "requirements.lock").read_text()
    assert installed.count("==") == everything.count("==") - 1


def test_tpms_are_added_when_they_are_asked_for(machine: Machine) -> None:
    machine.start("up", "--tpm", "none")
    machine.told()
    machine.complete()
    assert machine.start("up").out == "cli up\n"
    assert not [step for step in machine.told() if "venv" in step and "--clear" in step]
    assert "tpm2-pytss==" in (machine.state / "installed.txt").read_text()
    machine.told()
    assert machine.start("up", "--tpm", "none").err == ""


@pytest.mark.parametrize("words", [("list",), ("up", "--help")])
def test_other_commands_ask_for_no_package(machine: Machine, words: tuple[str, ...]) -> None:
    outcome = machine.start(*words)
    assert outcome.out == f"cli {' '.join(words)}\n"
    assert "./keystead setup adds them" in outcome.err


# ---- which Python -----------------------------------------------------------------------


def test_a_chosen_python(machine: Machine, tmp_path: Path) -> None:
    machine.complete()
    machine.start("up")
    other = machine.program("other", (machine.bin / "python3").read_text(), tmp_path)
    for version, folder in (("3.13", ".venv"), ("3.11", ".venv-3.11")):
        stamp = machine.checkout / folder / "keystead-stamp"
        outcome = machine.start("list", KEYSTEAD_PYTHON=str(other), VERSION=version)
        assert (outcome.code, outcome.out) == (0, "cli list\n")
        assert stamp.exists()


@pytest.mark.parametrize("complete", [True, False])
def test_an_optimized_python_is_preferred_where_it_is_complete(
    machine: Machine, tmp_path: Path, complete: bool
) -> None:
    machine.complete()
    (machine.bin / "python3-is-slow").touch()
    better = (machine.bin / "python3").read_text().replace('echo "python', 'echo "better')
    if not complete:
        better = better.replace("${NO_HEADERS:-0}", "1")
    (folder := tmp_path / "later on PATH").mkdir()
    machine.program("python3.13", better, folder)
    path = f"{machine.bin}:{folder}"
    assert machine.start("list", PATH=path).code == 0
    (made,) = [step for step in machine.told() if "-m venv" in step]
    assert made.startswith("better" if complete else "python")


def test_an_environment_keeps_its_python(machine: Machine, tmp_path: Path) -> None:
    machine.complete()
    (machine.bin / "python3-is-slow").touch()
    machine.start("list")
    machine.told()
    machine.program("python3.13", (machine.bin / "python3").read_text(), tmp_path)
    with (machine.checkout / "pyproject.toml").open("a") as file:
        file.write("\n# changed\n")
    assert machine.start("list", PATH=f"{machine.bin}:{tmp_path}").code == 0
    steps = machine.told()
    assert steps and not [step for step in steps if "-m venv" in step]


@pytest.mark.parametrize("python", ["/nowhere/python3", "sed"])
def test_a_chosen_python_that_is_none(machine: Machine, python: str) -> None:
    failed(machine.start("up", KEYSTEAD_PYTHON=python), "KS-SETUP-001")


def test_no_python_is_one_more_package(machine: Machine) -> None:
    (machine.bin / "python3").unlink()
    outcome = machine.start("up")
    failed(outcome, "KS-SETUP-005")
    assert "--no-install-recommends python3 python3-venv libtpms0" in outcome.err


# ---- test and .ci/run ----------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--slow",), ("-k", "a and b", "tests/tidy")])
def test_the_runner_of_the_tests_gets_all_arguments_and_its_end_is_the_scripts(
    machine: Machine, words: tuple[str, ...]
) -> None:
    machine.complete()
    outcome = machine.start("test", *words)
    assert (outcome.code, outcome.out) == (0, " ".join(("tests", *words)) + "\n")
    red = machine.start("test", *words, RED=" ".join(("", *words)).rstrip())
    assert red.code == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trouble", "calls", "code"),
    [
        pytest.param({}, [ALL], 0, id="none"),
        pytest.param({"RED": " --share 400"}, [ALL, AGAIN], 0, id="flaky"),
        pytest.param({"RED": " --share 400", "STILL": " --again"}, [ALL, AGAIN], 1, id="red"),
        pytest.param({"RED": " --share 400", "FAILED": "mypy"}, [ALL], 1, id="types"),
        pytest.param(
            {"RED": " --share 400", "FAILED": "mypy pytest"}, [ALL], 1, id="types and tests"
        ),
    ],
)
def test_ci_builds_runs_all_tests_and_does_not_ask(
    machine: Machine, trouble: dict[str, str], calls: list[str], code: int
) -> None:
    """What fails of the tests runs once more; linters get no second look."""
    folder = machine.checkout / ".ci"
    folder.mkdir()
    run = machine.program("run", (ROOT / ".ci" / "run").read_text(), folder)
    venv = machine.checkout / ".venv" / "bin"
    assert not venv.exists()
    ended = subprocess.run(
        ["sh", str(run)],
        cwd="/",
        env={**machine.environment, **trouble},
        capture_output=True,
        text=True,
    )
    said = ended.stdout.splitlines()
    assert [line for line in said if line.startswith("tests")] == calls, ended.stderr
    assert ended.returncode == code
    assert any("flaky" in line for line in said) == (AGAIN in calls)
    assert "apt-get update" in machine.told()
