"""``./keystead`` before anything is installed, behind a proxy, where little can be written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.cli.main import run
from lab.cli.program import build
from tests.bootstrap.machine import ROOT, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.complete()
    made.environment["HOME"] = str(tmp_path / "home")
    return made


# ---- before anything is installed --------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)], ids=["bare", "--help", "-h"])
def test_help_needs_nothing_and_installs_nothing(machine: Machine, words: tuple[str, ...]) -> None:
    for name in ("python3", "apt-get", "dpkg-query", "id"):
        (machine.bin / name).unlink()
    said = machine.start(*words)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("Usage: keystead COMMAND")
    assert "./keystead setup --print" in said.out
    assert machine.told() == [] and not (machine.checkout / ".venv").exists()


def test_version_needs_nothing_either(machine: Machine) -> None:
    (machine.bin / "python3").unlink()
    pinned = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.M)
    assert pinned
    assert machine.start("--version").out == f"keystead {pinned[1]}\n"
    assert machine.told() == []


def test_once_installed_the_program_itself_answers(machine: Machine) -> None:
    machine.start("setup")
    assert machine.start("--help").out == "cli --help\n"
    assert machine.start("--version").out == "cli --version\n"
    assert machine.start().out == "cli \n"


def test_the_text_names_each_command_of_the_program() -> None:
    text = (ROOT / "bootstrap" / "help.txt").read_text()
    named = set(re.findall(r"^  ([a-z]+)  +\S", text, re.M))
    commands = {name for name in build() if not name.startswith("-")}
    assert named == commands | {"setup", "test"}


# ---- certificates and index of pip ---------------------------------------------------------------


def seen(machine: Machine) -> list[str]:
    return (machine.state / "certificates").read_text().splitlines()


@pytest.mark.slow
@pytest.mark.parametrize("section", ["global", "install"])
def test_certificates_and_index_of_pips_files_reach_uv(machine: Machine, section: str) -> None:
    (machine.state / "pip.conf").write_text(
        f":env:.timeout='9'\n{section}.cert='/etc/company.pem'\n"
        f"{section}.index-url='https://index.invalid/simple'\n"
    )
    assert machine.start("setup").code == 0
    assert seen(machine)[-1] == "uv sees /etc/company.pem https://index.invalid/simple"


def test_certificates_of_pips_variable_reach_uv_and_win_as_they_do_in_pip(machine: Machine) -> None:
    (machine.state / "pip.conf").write_text("global.cert='/etc/company.pem'\n")
    machine.start("setup", "--runtime", PIP_CERT="/etc/mine.pem", SSL_CERT_FILE="/etc/other.pem")
    assert seen(machine) == ["pip sees cert /etc/mine.pem", "uv sees /etc/mine.pem none"]


def test_certificates_for_all_programs_reach_pip_and_uv(machine: Machine) -> None:
    machine.start("setup", "--runtime", SSL_CERT_FILE="/etc/other.pem")
    assert seen(machine) == ["pip sees cert /etc/other.pem", "uv sees /etc/other.pem none"]


# ---- what cannot be written ----------------------------------------------------------------------

UNWRITABLE = "/proc/keystead"  # below it nobody can make anything, root neither


def test_a_checkout_that_cannot_be_written_is_named_with_what_moves_the_build(
    machine: Machine, tmp_path: Path
) -> None:
    said = machine.start("up", KEYSTEAD_VENV=f"{UNWRITABLE}/venv")
    assert said.code == 78
    assert f"error KS-SETUP-011: {UNWRITABLE} cannot be written" in said.err
    assert "KEYSTEAD_VENV=FOLDER" in said.err
    elsewhere = tmp_path / "there" / "venv"
    assert machine.start("up", KEYSTEAD_VENV=str(elsewhere)).out == "cli up\n"
    assert (elsewhere / "keystead-stamp").exists()
    assert not (machine.checkout / ".venv").exists()
    assert machine.start("list", KEYSTEAD_VENV=str(elsewhere)).out == "cli list\n"


def test_a_checkout_on_a_read_only_file_system_is_named(machine: Machine) -> None:
    """The folder is there, and nothing can be made in it: dash ends without a word at a
    redirection that fails, when the command is one of its special builtins."""
    said = machine.start("up", KEYSTEAD_VENV="/proc/venv")
    assert said.code == 78, said
    assert "error KS-SETUP-011: /proc cannot be written" in said.err
    assert "KEYSTEAD_VENV=FOLDER" in said.err


PARTS = (ROOT / "keystead", *sorted((ROOT / "bootstrap").glob("*.sh")))
MAKES_A_FILE = r"(^|[;&|({])\s*(:|eval|export|readonly|set|unset|trap) *[0-9]*>"


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.name)
def test_no_special_builtin_makes_a_file(part: Path) -> None:
    """POSIX lets a shell end when the redirection of one fails (section 2.8.1), and dash does."""
    assert not re.search(MAKES_A_FILE, part.read_text(), re.M)


def test_a_special_builtin_that_makes_a_file_is_found() -> None:
    for line in (": >file", 'a && : >>"$venv-lock"', "{ :>file; }"):
        assert re.search(MAKES_A_FILE, line, re.M), line


def test_a_home_that_cannot_be_written_only_costs_uvs_cache(machine: Machine) -> None:
    said = machine.start("up", HOME=UNWRITABLE)
    assert said.out == "cli up\n"
    assert f"{UNWRITABLE}/.cache/uv cannot be written" in said.err
    assert "UV_CACHE_DIR" in said.err
    assert (machine.state / "cache").read_text().strip().endswith("/uv-cache")


def test_a_temporary_folder_that_cannot_be_written_is_named(machine: Machine) -> None:
    said = machine.start("up", TMPDIR=UNWRITABLE)
    assert said.code == 78
    assert f"error KS-SETUP-011: {UNWRITABLE} cannot be written" in said.err
    assert "TMPDIR=FOLDER" in said.err


# ---- what it says of itself, and while it works --------------------------------------------------


@pytest.mark.parametrize("command", ["setup", "test"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_the_scripts_own_commands_have_a_help(machine: Machine, command: str, flag: str) -> None:
    """Nothing is built for it, and pytest's own is no answer."""
    said = machine.start(command, flag)
    assert (said.code, said.err) == (0, "") and said.out.startswith(f"Usage: ./keystead {command} ")
    assert machine.told() == [] and not (machine.checkout / ".venv").exists()


def test_the_help_of_the_program_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "`./keystead setup`" in out and "`./keystead test`" in out


def test_off_a_terminal_a_step_is_told_when_it_begins(machine: Machine) -> None:
    """Compiling takes minutes: a log that says nothing until then looks like a hang."""
    lines = machine.start("setup").err.splitlines()
    steps = [line.removesuffix(" ...") for line in lines if line.endswith(" ...")]
    assert len(steps) >= 4, lines
    for step in steps:
        began = lines.index(f"{step} ...")
        assert lines[began + 1].startswith(f"{step}: done, "), lines
