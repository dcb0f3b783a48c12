"""``keystead watch`` draws what a lab answers, or what a stored run was at a moment."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from dataclasses import replace
from itertools import pairwise

import pytest

from lab.cli.main import run
from lab.cli.watch.drawing import draw
from lab.cli.watch.scene import LabView, StateLevel, Tile, ask, moments, scene_of_lab, scene_of_run
from lab.client import Lab
from lab.local.stored.reports import story_of
from lab.schema.commands import HostCrash, HostReboot, LinkCut
from tests.lab.cli.conftest import Cli
from tests.tidy.tree import ROOT

RUN = "edge-outage-reboot-sim-7"


def text(scene: LabView, width: int, height: int = 60) -> str:
    lines = draw(scene, width, height)
    assert len(lines) <= height and max(len(line.plain) for line in lines) <= width
    return "\n".join(line.plain.rstrip() for line in lines)


@pytest.mark.slow
@pytest.mark.sim
async def test_a_lab_is_drawn_with_what_is_wrong_first() -> None:
    async with Lab("sim", seed=7, hosts=3, vms=4, tpm="model") as lab:
        well = await ask(lab.do, None)
        assert "PROBLEMS" not in text(scene_of_lab(well), 100)
        await lab.do(LinkCut("vcenter", "kms", lease_s=600.0))
        await lab.do(HostReboot(("esxi-001",)))
        await lab.do(HostCrash(("esxi-002",)))
        await lab.sleep(120.0)
        seen = await ask(lab.do, well)
    scene = scene_of_lab(seen)
    shown = text(scene, 100)
    assert shown.splitlines()[0].startswith("lab default  ") and "pace" in shown.splitlines()[0]
    problems = shown[shown.index("PROBLEMS") : shown.index("FAULTS")].splitlines()
    assert [line.split()[1:3] for line in problems[1:3]] == [
        ["esxi-002", "off"],
        ["vm-01", "locked"],
    ]
    assert "on esxi-001, 1 missing key" in shown and "2 missing" in shown
    assert re.search(r"cut vcenter <-> kms  \(link-cut-1\)  \d:\d\d left", shown), shown
    assert shown.index("HOSTS") < shown.index("VMS") < shown.index("EVENTS, newest first")
    assert "Virtual machine vm-01 on host esxi-001 is locked" in shown


@pytest.mark.slow
@pytest.mark.sim
async def test_what_vcenter_does_not_answer_stays_as_it_was() -> None:
    async with Lab("sim", seed=7, hosts=2, vms=2, tpm="none") as lab:
        before = await ask(lab.do, None)
        await lab.do(HostCrash(("vcenter",)))
        seen = await ask(lab.do, before)
    assert seen.vms == before.vms and seen.events == before.events
    shown = text(scene_of_lab(seen), 120)
    assert "vCenter does not answer, and is shown as it was" in shown
    assert "vcenter  off" in shown


@pytest.mark.slow
@pytest.mark.sim
def test_a_stored_run_is_drawn_at_any_moment(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    assert run(["chaos", "run", "edge-outage-reboot", "--mode", "sim", "-q"]) == 0
    capsys.readouterr()
    assert run(["watch", "--run", RUN, "--at", "90s"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"run {RUN}  1:30 of 6:00  PASS\n8 hosts: 8 booting; 20 VMs: 20 down\n")
    assert "cut esxi-001 .. esxi-008 (8) <-> kms, vcenter  (wan)  ends in 4:00" in out
    assert run(["watch", "esxi-001", "vm-01", "--run", RUN]) == 0
    assert "1 hosts: 1 safe; 1 VMs: 1 running" in capsys.readouterr().out
    story = story_of(RUN)
    steps = moments(story)
    drawn = [text(scene_of_run(story, t), 80).partition("\n")[2] for t in steps]
    assert len(steps) > 10 and all(a != b for a, b in pairwise(drawn[2:12]))
    for width in (80, 120, 200):
        for height in (10, 24, 60):
            assert "PROBLEMS" in text(scene_of_run(story, 90.0), width, height)


def test_more_than_fits_is_counted() -> None:
    story_like = LabView(title="many", vms=tuple(map(_tile, range(2000))))
    shown = text(story_like, 80, 24)
    assert "2000 VMs: 2000 running" in shown and "more lines" in shown
    begun = time.monotonic()
    draw(replace(story_like, hosts=tuple(map(_tile, range(500)))), 200, 60)
    assert time.monotonic() - begun < 1.0


def _tile(number: int) -> Tile:
    return Tile(f"vm-{number:04}", "running", StateLevel.GOOD)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--at", "5s"), "--run RUN"),
        (("--every", "1ms"), "0.1s to 3600s"),
        (("--run", "nothing-sim-1"), "KS-RUN-001"),
        ((), "KS-LAB-001"),
        (("--web",), "KS-LAB-001"),
        (("--web", "--once"), "--web shows all"),
        (("--web", "--port", "70000"), "0 to 65535"),
        (("--web", "--run", "nothing-sim-1"), "KS-RUN-001"),
        (("--web", "--run", "nothing-sim-1", "--sim", "edge"), "a run or a lab"),
        (("--sim", "edge"), "go with --web"),
    ],
)
def test_what_cannot_be_watched(
    words: tuple[str, ...], said: str, here: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["watch", *words]) != 0
    assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.lab
def test_a_terminal_shows_a_lab_until_q_is_pressed(cli: Cli) -> None:
    cli.ok("up", "--hosts", "1", "--vms", "1", "--tpm", "none")
    shell, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    env = {**cli.env, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
    watching = subprocess.Popen(
        [sys.executable, "-m", "lab.cli.main", "watch", "--every", "200ms"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={name: value for name, value in env.items() if name not in ("COLUMNS", "LINES")},
    )
    os.close(terminal)
    try:
        seen = _read_until(shell, b"vm-01 running")
        assert b"\x1b[?1049h" in seen and b"q quit" in seen and b"esxi-001" in seen
        os.write(shell, b"h")
        cli.ok("host", "crash", "esxi-001")
        assert b"esxi-001" in _read_until(shell, b"PROBLEMS")
        os.write(shell, b"q")
        assert watching.wait(20) == 0
    finally:
        watching.kill()
        os.close(shell)


def _read_until(file: int, wanted: bytes) -> bytes:
    seen, end = b"", time.monotonic() + 30
    while wanted not in seen:
        assert time.monotonic() < end, seen[-2000:]
        seen += os.read(file, 4096)
    return seen
