"""``load calibrate``: what a machine takes, measured, and a profile that the simulation takes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.cli.main import run
from lab.local.calibration import (
    REPLIES,
    SECONDS,
    AfterFit,
    CountedBlock,
    MeasuredBlock,
    Schedule,
    as_profile,
    delay_of,
    divide,
    write_profile,
)
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load
from lab.topology.plan import plan
from lab.topology.service_times import read_profile
from protocol.messages.agent import COLD, WAKEUP
from protocol.terms import NodeName
from services.runtime.seeded import stream

TRUTH = {"GenerateKey": 0.002, "PowerOnVm": 0.005, REPLIES: 0.0005, WAKEUP: 0.0002, COLD: 0.0003}
IDLE_SHARE = 0.03


def planted_blocks(noise_of: float = 0.03) -> tuple[list[MeasuredBlock], list[CountedBlock]]:
    """Blocks of operations of a vCenter whose times are ``TRUTH``, and what is counted of them."""
    noise, measured, counted = stream(5, "noise"), list[MeasuredBlock](), list[CountedBlock]()
    for number in range(240):
        kind = ("GenerateKey", "PowerOnVm", "")[number % 3]
        counts = {"CreateKey.reply": float(number % 4), WAKEUP: number % 7, COLD: number % 5 / 4}
        counts |= {kind: 1.0} if kind else {}
        wall_s = 0.5 if not kind else 0.01
        spent = IDLE_SHARE * wall_s
        for name, count in counts.items():
            spent += TRUTH[REPLIES if name.endswith(".reply") else name] * count
        spent *= 1 + noise_of * (2 * noise.random() - 1)
        used = {"vcenter": Schedule(spent, 0.004, 20), "bus": Schedule(0.0, 0.5, 1)}
        measured.append(MeasuredBlock(kind, bool(kind), 0.02, wall_s, used))
        counted.append(CountedBlock(0.03, {"vcenter": {**counts, "db.transact": 3.0}}))
    return measured, counted


def test_cpu_time_is_divided_by_wakeup_and_by_class_of_message() -> None:
    found = divide(*planted_blocks())["vcenter"]
    for kind, seconds in TRUTH.items():
        assert found[kind] == pytest.approx(seconds, rel=0.2)
    assert found[SECONDS] == pytest.approx(IDLE_SHARE, rel=0.2)
    assert "db.transact" not in found  # a call of a device takes what its wake-ups take


def test_what_operations_are_too_slow_by_is_a_share_of_what_waking_up_takes() -> None:
    measured, counted = planted_blocks(0)
    fit = AfterFit(measured)
    # 10 ms too slow; an operation has 3 wake-ups of 10 ms each.
    fit.adjust(
        [CountedBlock(0.03, {"vcenter": {WAKEUP: 3.0}, "esxi-1": {WAKEUP: 99.0}}) for _ in counted],
        {"vcenter": {WAKEUP: 0.01}, "esxi": {WAKEUP: 0.01}},
    )
    assert fit.after == pytest.approx(1 / 3)
    fit.adjust([CountedBlock(0.0, of.counts) for of in counted], {"vcenter": TRUTH})
    assert fit.after == 0.0


def test_the_wait_for_a_core_is_that_of_nodes_alone() -> None:
    measured, _ = planted_blocks()
    assert delay_of(measured)["mean"] == "0.0002s"


def test_a_measured_profile_is_one_that_a_lab_file_takes(tmp_path: Path) -> None:
    path = tmp_path / "machine.yaml"
    measured, counted = planted_blocks()
    times = divide(measured, counted) | {"client": {"Ask": 0.002}}
    devices = {"disk.sync": (0.001, 0.5)}
    write_profile(as_profile(times, measured, devices, 0.25, "a test"), path)
    assert "keystead load calibrate" in read_profile(str(path)).source
    topology = plan(load("default", service_times={"profile": str(path)}))
    service, machine = topology.spec(NodeName("vcenter")).service, topology.machine
    assert service is not None and machine is not None
    assert service.times["PowerOnVm"].mean_s == pytest.approx(0.005, 0.15)
    assert service.times["disk.sync"].mean_s == 0.001
    assert (machine.cores, machine.after) == (os.cpu_count(), 0.25)
    assert machine.delay is not None and machine.delay.mean_s == pytest.approx(0.0002)
    assert machine.client.times["Ask"].mean_s == 0.002


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("format: 3", "format 3 is of a newer keystead; this one reads 1 to 2"),
        ("format: 1", "machine: needs `format: 2`"),
    ],
)
def test_a_profile_of_another_format_is_refused_with_what_is_read(
    tmp_path: Path, changed: str, said: str
) -> None:
    path = tmp_path / "machine.yaml"
    path.write_text(
        f"apiVersion: keystead/v1\nkind: ServiceProfile\n{changed}\nname: mine\nsource: me\n"
        "nodes: {kms: {times: {CreateKey: 20ms}}}\nmachine: {cores: 2}\n"
    )
    with pytest.raises(KeysteadError, match=said):
        read_profile(str(path))


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
    profile = read_profile(str(path))
    nodes = profile.nodes
    assert profile.format == 2 and profile.machine is not None
    for role in ("kms", "vcenter", "esxi", "bus"):
        times = nodes[role].times
        assert 0 < sum(times[kind].mean for kind in (WAKEUP, COLD) if kind in times) < 0.1
    assert nodes["esxi"].times["disk.sync"].mean > 0
