"""A lab that runs elsewhere is listed here; nothing takes its name, or looks for its files."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from lab.cli.main import run
from lab.doctor.probes import same_name
from lab.machines.access import attach
from lab.machines.attached import Access
from lab.state.state_folder import all_labs

ADDRESS = "127.0.0.1:9"  # nobody answers there


@pytest.fixture(autouse=True)
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "here"))
    access = Access(lab="far", address=ADDRESS, seed="SU", authority="")
    attach(msgspec.json.encode(access), "")


def test_it_is_listed_with_what_keeps_it_from_being_asked(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["list", "-o", "json"]) == 0
    [listed] = json.loads(capsys.readouterr().out)["items"]
    assert (listed["name"], listed["state"], listed["nodes"]) == ("far", "attached", None)
    assert ADDRESS in listed["reason"]


@pytest.mark.parametrize("line", ["up", "down", "down --purge", "logs", "lab bundle east -o x"])
def test_what_needs_its_files_says_where_they_are(
    line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """``up`` above all: a second lab under that name would hide the first one from here on."""
    assert run([*line.split(), "-n", "far"]) == 64
    said = capsys.readouterr()
    assert said.out == "" and "error KS-LAB-013: the lab far runs elsewhere" in said.err
    assert ADDRESS in said.err and "keystead lab detach far" in said.err
    assert all_labs() == []


def test_the_doctor_does_not_call_its_name_free() -> None:
    assert "attached" in same_name("far").text
    assert "free" in same_name("near").text
