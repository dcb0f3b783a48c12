"""What can be typed: help, examples, wrong words; nothing here needs a lab."""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from cyclopts import App, CycloptsError

from lab.cli.main import run
from lab.cli.program import build
from lab.cli.running.labs import SHIPPED
from lab.schema.errors import all_ids
from lab.topology.lab_file import SHIPPED as FOLDER

EXAMPLE = re.compile(r"^ *keystead .+$", re.M)
# Entered by modules about experiments and measuring, which have tests of their own.
ELSEWHERE = {"chaos", "runs", "bench"}


def commands(app: App, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], App]]:
    """Every command of the program with the words that lead to it."""
    for name in app:
        if name.startswith("-"):
            continue
        here, made = (*words, name), app[name]
        if (words == () and name in ELSEWHERE) or here == ("get", "runs"):
            continue
        if made.default_command is not None:
            yield here, made
        yield from commands(made, here)


program = cache(build)  # reading a line changes nothing of it
ALL = list(commands(program()))


def test_help_names_every_lab_that_comes_with_keystead() -> None:
    assert SHIPPED.split(", ") == sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize(("words", "app"), ALL, ids=[" ".join(w) for w, _ in ALL])
def test_help_opens_with_two_examples_that_parse(words: tuple[str, ...], app: App) -> None:
    function = app.default_command
    assert function is not None
    examples = EXAMPLE.findall(inspect.cleandoc(function.__doc__ or ""))
    wanted = 2 if inspect.signature(function).parameters else 1
    assert len(examples) >= wanted, f"{wanted} examples"
    for example in examples:
        tokens = shlex.split(example.strip().removeprefix("keystead "))
        assert tuple(tokens[: len(words)]) == words
        program().parse_args(tokens, print_error=False, exit_on_error=False)


def options_of(app: App) -> list[str]:
    """The names of all options of a command; one that two parameters have is in it twice."""
    usual = program().default_parameter
    arguments = app.assemble_argument_collection(default_parameter=usual)
    found = (name for of in arguments for name in of.names)
    return [name for name in found if name.startswith("-")]


@pytest.mark.slow
def test_no_two_parameters_of_a_command_have_one_name() -> None:
    """``vm clone vm-01 copy --name second`` would give the clone two names and no lab."""
    app = program()
    every = [app[name] for name in app if name in ELSEWHERE]
    for made in every + [made for _, made in ALL]:
        for one in (made, *(made[name] for name in made if not name.startswith("-"))):
            if one.default_command is not None:
                names = options_of(one)
                assert len(names) == len(set(names)), one.name


def test_a_list_is_left_out_and_has_no_option_that_empties_it() -> None:
    options = {(words, name) for words, app in ALL for name in options_of(app)}
    assert [one for one in options if one[1].startswith("--empty-")] == []


def test_an_example_with_an_unknown_option_would_be_noticed() -> None:
    with pytest.raises(CycloptsError):
        program().parse_args(["up", "--colour"], print_error=False, exit_on_error=False)


def test_help_is_shown_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["up", "--help"]) == 0
    out, err = capsys.readouterr()
    assert "keystead up edge --hosts 8" in out and err == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "id", "said"),
    [
        ("nope", "KS-USE-001", "nope"),
        ("get nope", "KS-USE-001", "nodes"),
        ("up --hosts x", "KS-USE-001", "--hosts"),
        ("up --tpm swtpm", "KS-USE-001", "--tpm"),
        ("get hosts -o xml", "KS-USE-001", "xml"),
        ("up --hosts=-1", "KS-USE-003", "greater than or equal to 0"),
        ("up --pace 0", "KS-USE-003", "pace"),
        ("up --kms 0", "KS-USE-003", "a pair whose servers replicate"),
        ("up --kms 3", "KS-USE-003", "a pair whose servers replicate"),
        ("up --providers 0", "KS-USE-003", "which has 1 already"),
        ("up --set no_such_knob=1", "KS-USE-003", "no_such_knob"),
        ("up --set hartbeat_s=1", "KS-USE-003", "did you mean heartbeat_s?"),
        ("up --set heartbeat_s=0", "KS-USE-003", "heartbeat_s: 0 is not 0.1 to 3600 s"),
        ("up --set heartbeat_s", "KS-USE-003", "NAME=VALUE"),
        ("up --set auto_unlock=true --set auto_unlock=false", "KS-USE-003", "twice"),
        ("up --set config_save=never", "KS-USE-003", "never"),
        ("up --tpm model", "KS-USE-003", "simulations"),
        ("up --timeout 30", "KS-USE-003", "needs a unit"),
        ("up --timeout 0s", "KS-USE-003", "above 0s"),
        ("up --name Big", "KS-USE-003", "'Big'"),
        ("up -n ../other", "KS-USE-003", "lab name"),
        ("link cut a a", "KS-USE-003", "two different nodes"),
        ("link cut vcenter kms --for 5", "KS-USE-003", "needs a unit"),
        ("link cut vcenter kms --for soon", "KS-USE-003", "no time"),
        ("link delay vcenter kms 5", "KS-USE-003", "needs a unit"),
        ("link delay vcenter kms 0s", "KS-USE-003", "between 1ms"),
        ("link loss vcenter kms 0", "KS-USE-003", "has no effect"),
        ("link loss vcenter kms 120%", "KS-USE-003", "between 0 and 1"),
        ("link dup vcenter kms some", "KS-USE-003", "no share"),
        ("fault proc.kill esxi-001", "KS-USE-003", "NAME=VALUE"),
        ("heal", "KS-USE-003", "--all"),
        ("heal link-cut-1 --all", "KS-USE-003", "--all"),
        ("host reboot", "KS-USE-003", "at least one"),
        ("host power-on esxi-001 --boot-option x", "KS-USE-003", "NAME=VALUE"),
        ("provider add p", "KS-USE-003", "--server"),
        ("explain KS-LAB-099", "KS-USE-002", "did you mean KS-LAB-00"),
        ("explain knob hartbeat_s", "KS-USE-002", "did you mean heartbeat_s"),
        ("doctor --hosts=-1", "KS-USE-003", "--hosts"),
        ("doctor --pack 0", "KS-USE-003", "--pack"),
    ],
)
def test_wrong_words_are_usage_errors(
    line: str, id: str, said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(shlex.split(line)) == 64
    out, err = capsys.readouterr()
    assert out == "", "results only"
    assert err.startswith(f"keystead: error {id}: ") and said in err
    assert "  fix: " in err
    assert not (here / "labs").exists(), "nothing was made"


@pytest.mark.parametrize(
    "line",
    [
        "status",
        "down",
        "down --purge",
        "get hosts",
        "events",
        "logs",
        "get faults",
        "wait --for vm.running=all",
        "heal --all",
        "vm on vm-01",
        "link cut vcenter kms",
        "esx esxi-001 system security keypersistence get",
        "describe vm vm-01",
    ],
)
def test_without_a_lab_commands_end_with_69(
    line: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*shlex.split(line), "--name", "none"]) == 69
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("keystead: error KS-LAB-001: there is no lab none\n  fix: ")
    assert not (here / "labs").exists(), "looking made a folder"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"kind: [", "bad.yaml:1:8: "),
        (b"kind: Lab\nname: one\nname: two\n", "bad.yaml:3:1: 'name' is given twice"),
        (b"a: &a [1, 2]\nb: *a\n", "bad.yaml:2:4: aliases (*name) are not available"),
        (b"kind: " + b"[" * 60 + b"]" * 60, "bad.yaml:1:46: nested too deeply"),
        (b"# " + b"x" * (1 << 20), "larger than 1 MiB"),
        (b"kind: Lab\n---\nkind: Lab\n", "bad.yaml:2:1: a second document"),
        (b"", "the file is empty"),
        (
            b"apiVersion: keystead/v1\nkind: Lab\nvcenters: [{name: v}]\nclusters: 5\n",
            "bad.yaml:4:1: clusters: ",
        ),
        (
            b"apiVersion: keystead/v1\nkind: Lab\nvcenters: [{name: v}]\n"
            b"knobs:\n  boot_step_s: 1\n  heartbeat_s: 0\n  colour: red\n",
            "bad.yaml:6:3: knobs.heartbeat_s: 0 is not 0.1 to 3600 s\n",
        ),
        (
            b"apiVersion: keystead/v1\nkind: Lab\nvcenters: [{name: v}]\nknobs: {auto_lock: on}\n",
            "bad.yaml:4:9: knobs.auto_lock: there is no such knob; did you mean auto_unlock?",
        ),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"- 1\n- 2\n", "a lab file is a mapping"),
        (
            b"apiVersion: keystead/v1\nkind: Lab\nvcenters: [{name: vcenter}]\npace: fast\n",
            "bad.yaml:4:1: pace: ",
        ),
        (
            b"apiVersion: keystead/v1\nkind: Lab\nvcenters: [{name: v}]\ncolour: red\n",
            "bad.yaml:4:1: colour: ",
        ),
        (
            b"apiVersion: keystead/v1\nkind: Lab\nvcenters:\n  - name: v\n  - {site: main}\n",
            "bad.yaml:5:5: vcenters.1.name: ",
        ),
    ],
)
def test_a_bad_lab_file_is_told_with_its_place(
    text: bytes, said: str, here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(text)
    assert run(["up", str(path)]) == 4
    err = capsys.readouterr().err
    assert "KS-TOPO-001" in err and said in err
    assert not (here / "labs").exists()


@pytest.mark.parametrize("path", ["nowhere", "/", "/nowhere/at-all.yaml"])
def test_a_lab_file_that_is_not_there(
    path: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["up", path]) == 4
    assert "KS-TOPO-001" in capsys.readouterr().err


def test_every_id_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    for id in all_ids():
        assert run(["explain", id.lower()]) == 0, id
        out = capsys.readouterr().out
        assert out.startswith(f"{id}: ") and "\n  fix: " in out and "exit code: " in out


def test_a_defect_is_one_message(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*words: object) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("lab.local.labs.all_labs", broken)
    assert run(["list"]) == 70
    assert capsys.readouterr().err.startswith("keystead: error KS-INT-001: ZeroDivisionError")


def test_a_help_is_as_wide_as_its_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its text is written for lines of a hundred characters: in narrower ones each broke twice.
    Examples stay as they are."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["agent", "join", "--help"]) == 0
    _, opening, examples, text, *_ = capsys.readouterr().out.split("\n\n")
    assert opening.startswith("Join a lab") and len(examples.splitlines()) == 2
    *full, _ = text.splitlines()
    assert len(full) >= 3 and all(60 < len(line) <= 80 for line in full), text
