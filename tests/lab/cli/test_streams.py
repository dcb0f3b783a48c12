"""Standard streams that are closed, full, read no more, or want no waiting; no home to write to."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lab.supervise.launching import ROOT
from tests.lab.cli.conftest import Cli, Ran

KEYSTEAD = f"{shlex.quote(sys.executable)} -m lab.cli.main"
FAILS = """
apiVersion: keystead/v1
kind: Experiment
name: fails
title: What it expects afterwards is not so
topology: {use: default, with: {hosts: 1, vms: 1, tpm: none}}
hypothesis:
  before: [{probe: vm.running, is: "== 100%"}]
  after: [{probe: vm.running, is: "== 0%"}]
schedule: [{id: wan, at: 5s, for: 30s, fault: link.cut, between: [vcenter, kms]}]
guards: {blast_radius: {kms: 1, vcenter: 1}}
"""


def shell(cli: Cli, command: str, **environment: str) -> Ran:
    """What bash makes of it; ``K`` is the program. An unbuffered Python writes at other times."""
    env = {**cli.env, "K": KEYSTEAD, **environment}
    done = subprocess.run(
        ["bash", "-c", command.replace("$K", KEYSTEAD)],
        cwd=ROOT,
        env={name: value for name, value in env.items() if value},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.slow
@pytest.mark.parametrize(("line", "code"), [("version", 0), ("explain KS-XX", 64)])
def test_a_closed_stream_leads_nowhere(cli: Cli, line: str, code: int) -> None:
    for closed in (">&-", "2>&-", ">&- 2>&- <&-"):
        ran = shell(cli, f"$K {line} {closed}")
        assert ran.code == code and "Traceback" not in ran.out + ran.err, (closed, ran)
        assert ran.err == "" or (code == 64 and "error KS-USE-002" in ran.err), (closed, ran)
        assert (ran.out != "") == (code == 0 and not closed.startswith(">")), (closed, ran)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "unbuffered"), [("version", ""), ("version", "1"), ("--help", ""), ("schema", "")]
)
def test_output_that_is_refused_is_an_error_of_its_own(
    cli: Cli, line: str, unbuffered: str
) -> None:
    ran = shell(cli, f"$K {line} >/dev/full", PYTHONUNBUFFERED=unbuffered)
    assert ran.code == 74, ran
    first, fix = ran.err.splitlines()
    assert first == (
        "keystead: error KS-OUT-001: standard output: No space left on device"
    ) and fix.startswith("  fix: free space, or write the output elsewhere")


@pytest.mark.slow
def test_messages_that_are_refused_change_nothing(cli: Cli) -> None:
    assert shell(cli, "$K explain KS-XX >/dev/full 2>/dev/full").code == 64
    assert shell(cli, "$K explain KS-XX 2>&1 | true; exit ${PIPESTATUS[0]}").code == 64


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "code"), [("--help", 0), ("schema", 0), ("chaos lint pyproject.toml", 4)]
)
def test_who_reads_no_further_gets_the_exit_code_all_the_same(
    cli: Cli, line: str, code: int
) -> None:
    ran = shell(cli, f"$K {line} 2>&1 | true; exit ${{PIPESTATUS[0]}}")
    assert ran == Ran(code, "", "")


@pytest.mark.slow
def test_a_verdict_nobody_reads_is_the_exit_code(cli: Cli, tmp_path: Path) -> None:
    """``keystead chaos run ... | head -1`` of a run that failed was a success."""
    file = tmp_path / "fails.yaml"
    file.write_text(FAILS)
    ran = shell(cli, f"$K chaos run {file} --mode sim 2>&1 | true; exit ${{PIPESTATUS[0]}}")
    assert ran == Ran(1, "", "")


@pytest.mark.slow
def test_output_that_wants_no_waiting_is_waited_for(cli: Cli) -> None:
    """Whoever shares a pipe may have made it non-blocking: what it has no room for comes later."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.cli.main", "schema"], cwd=ROOT, env=cli.env, stdout=write
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        assert json.load(pipe)["commands"]
    assert process.wait(60) == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"KEYSTEAD_STATE_HOME": "~nobody-of-that-name/x"}, "there is no home folder for ~nobody"),
        ({"KEYSTEAD_STATE_HOME": "x"}, "x is below the current folder, which is gone"),
    ],
)
def test_no_place_for_a_state_folder_is_one_message(
    cli: Cli, tmp_path: Path, environment: dict[str, str], words: str
) -> None:
    gone = tmp_path / "gone"
    ran = shell(
        cli,
        f"mkdir {gone}; cd {gone}; rmdir {gone}; PYTHONPATH={ROOT} $K list; r=$?; "
        f"PYTHONPATH={ROOT} $K explain KS-LAB-005 >/dev/null; exit $r",
        **environment,
    )
    assert ran.code == 1 and len(ran.err.splitlines()) == 2, ran
    assert f"error KS-LAB-005: {words}" in ran.err and "KEYSTEAD_STATE_HOME" in ran.err
