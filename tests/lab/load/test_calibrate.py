"""``load calibrate``: what a machine takes, measured, and a profile that the simulation takes."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from lab.cli.main import run
from lab.local.calibration import (
    SECONDS,
    MeasuredBlock,
    TimedOperation,
    as_profile,
    cold_s,
    divide,
    fit_wakeup,
    hop_s,
    write_profile,
)
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load
from lab.topology.plan import plan
from lab.topology.service_times import read_profile
from protocol.terms import NodeName, Role
from services.runtime.seeded import stream

VCENTER, KMS = NodeName("vcenter"), NodeName("kms")
TRUTH = {"GenerateKey": 0.002, "PowerOnVm": 0.005, "*.reply": 0.0005}
IDLE_SHARE = 0.03
HOP_S = 0.0001


def planted_blocks(noise_of: float = 0.1) -> list[MeasuredBlock]:
    """Blocks of operations of a vCenter whose times are ``TRUTH``, and of a broker."""
    noise, rows = stream(5, "noise"), []
    for number in range(120):
        kind = ("GenerateKey", "PowerOnVm", "")[number % 3]
        got = Counter({"*.reply": number % 4} | ({kind: 1} if kind else {}))
        wall_s = 0.5 if not kind else 0.01
        spent = sum(TRUTH[name] * count for name, count in got.items()) + IDLE_SHARE * wall_s
        spent *= 1 + noise_of * (2 * noise.random() - 1)
        cpu_s, hops_s = {VCENTER: spent, KMS: 0.0}, HOP_S * got["*.reply"]
        rows.append(MeasuredBlock(bool(kind), wall_s, cpu_s, {VCENTER: got}, hops_s, 0.004))
    return rows


def test_cpu_time_is_divided_by_class_of_message() -> None:
    found = divide(planted_blocks(), Role.VCENTER)
    for kind, seconds in TRUTH.items():
        assert found[kind] == pytest.approx(seconds, rel=0.15)
    assert found[SECONDS] == pytest.approx(IDLE_SHARE, rel=0.2)


def test_the_brokers_cpu_time_is_divided_by_messages() -> None:
    assert hop_s(planted_blocks(), planted_blocks()) == pytest.approx(HOP_S, rel=0.05)


def test_what_single_operations_use_more_than_those_of_blocks_is_cold_work() -> None:
    blocks = [row for row in planted_blocks(0) if row.messages[VCENTER]["*.reply"] == 2]
    timed = [
        TimedOperation(kind, 0.0, {VCENTER: TRUTH[kind] + 2 * TRUTH["*.reply"] + 3 * 0.001})
        for kind in ("GenerateKey", "PowerOnVm")
    ]
    idle = planted_blocks(0)[2]
    idle = MeasuredBlock(0, 0.5, {VCENTER: 0.0}, {VCENTER: idle.messages[VCENTER]})
    busy = [
        MeasuredBlock(1, 0.0, {VCENTER: row.cpu_s[VCENTER] - IDLE_SHARE * 0.01}, row.messages)
        for row in blocks
        if row.operations
    ]
    assert cold_s([idle, *busy], timed) == pytest.approx(0.001, rel=0.01)


def test_wakeups_are_what_the_simulation_is_too_fast_by() -> None:
    """Operations with 10 and 20 wake-ups on their way, of 0.3 ms each in truth."""
    ways = {"GenerateKey": (0.005, 10), "PowerOnVm": (0.008, 20)}

    def operations(wakeup_s: float) -> list[TimedOperation]:
        return [TimedOperation(k, base + n * wakeup_s) for k, (base, n) in ways.items()]

    found = fit_wakeup(operations(0.0003), operations(0.0), operations(0.002), 0.002)
    assert found == pytest.approx(0.0003)
    now = operations(0.0004)
    rest = fit_wakeup(operations(0.0003), operations(0.0), operations(0.002), 0.002, now)
    assert rest == pytest.approx(-0.0001)


def test_a_measured_profile_is_one_that_a_lab_file_takes(tmp_path: Path) -> None:
    path = tmp_path / "machine.yaml"
    timed = [TimedOperation("PowerOnVm", 0.02, {VCENTER: 0.006})]
    blocks = planted_blocks()
    write_profile(as_profile(blocks, blocks, timed, {"disk.sync": (0.001, 0.5)}, "a test"), path)
    assert "keystead load calibrate" in read_profile(str(path)).source
    topology = plan(load("default", service_times={"profile": str(path)}))
    service, machine = topology.spec(VCENTER).service, topology.machine
    assert service is not None and service.times["PowerOnVm"].mean_s == pytest.approx(0.005, 0.15)
    assert machine is not None and machine.cores == os.cpu_count()
    assert machine.bus.times["*"].mean_s == pytest.approx(HOP_S, rel=0.05)
    assert machine.client.times["Ask"].mean_s == pytest.approx(0.002)  # the other half: the reply


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
    assert 0 < nodes["bus"].times["*"].mean < 0.1 and 0 < nodes["client"].times["Ask"].mean < 0.1
    assert 0 < nodes["kms"].times["CreateKey"].mean < 0.1
    # What always comes together is divided as it happens: a key, and the reply that it leads to.
    assert {"GenerateKey", "*.reply"} & set(nodes["vcenter"].times)
    assert nodes["esxi"].times["disk.sync"].mean > 0
