"""``load calibrate``: what a machine takes, measured, and a profile that the simulation takes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from lab.cli.main import run
from lab.local.calibration import SECONDS, MeasuredOperation, as_profile, divide, write_profile
from lab.topology.lab_file import load
from lab.topology.plan import plan
from lab.topology.service_times import read_profile
from protocol.terms import NodeName, Role
from services.runtime.seeded import stream

VCENTER, KMS = NodeName("vcenter"), NodeName("kms")
TRUTH = {"GenerateKey": 0.002, "PowerOnVm": 0.005, "*.reply": 0.0005}
IDLE_SHARE = 0.03


def planted_rows() -> list[MeasuredOperation]:
    """Operations of a vCenter whose times are ``TRUTH``, with noise of a tenth."""
    noise, rows = stream(5, "noise"), []
    for number in range(120):
        kind = ("GenerateKey", "PowerOnVm", "")[number % 3]
        got = Counter({"*.reply": number % 4} | ({kind: 1} if kind else {}))
        latency_s = 0.5 if not kind else 0.01
        spent = sum(TRUTH[name] * count for name, count in got.items()) + IDLE_SHARE * latency_s
        spent *= 0.9 + 0.2 * noise.random()
        rows.append(MeasuredOperation(kind, latency_s, {VCENTER: spent, KMS: 0.0}, {VCENTER: got}))
    return rows


def test_cpu_time_is_divided_by_class_of_message() -> None:
    found = divide(planted_rows(), Role.VCENTER)
    for kind, seconds in TRUTH.items():
        assert found[kind] == pytest.approx(seconds, rel=0.15)
    assert found[SECONDS] == pytest.approx(IDLE_SHARE, rel=0.2)


def test_a_measured_profile_is_one_that_a_lab_file_takes(tmp_path: Path) -> None:
    path = tmp_path / "machine.yaml"
    write_profile(as_profile(planted_rows(), {"disk.sync": (0.001, 0.5)}, "a test"), path)
    assert "keystead load calibrate" in read_profile(str(path)).source
    topology = plan(load("default", service_times={"profile": str(path)}))
    service = topology.spec(VCENTER).service
    assert service is not None and service.times["PowerOnVm"].mean_s == pytest.approx(0.005, 0.15)


@pytest.mark.parametrize("words", [["--hosts", "0"], ["--operations", "5000"]])
def test_a_size_that_cannot_be_is_refused(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["load", "calibrate", str(tmp_path / "machine.yaml"), *words]) == 64
    assert "KS-USE-003" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.lab
def test_real_processes_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "home"))
    path = tmp_path / "machine.yaml"
    assert run(["load", "calibrate", str(path), "--hosts", "1", "--operations", "40"]) == 0
    nodes = read_profile(str(path)).nodes
    assert 0 < nodes["kms"].times["CreateKey"].mean < 0.1
    assert {"GenerateKey", "PowerOnVm"} <= set(nodes["vcenter"].times)
    assert nodes["esxi"].times["disk.sync"].mean > 0
