"""A plan names every target and time, repeats with its seed, and refuses what does not fit."""

from __future__ import annotations

from typing import Any

import pytest

from chaos.errors import ChaosError
from chaos.experiment.lint import BadExperiment, check_experiment
from chaos.experiment.plan import FORMAT, Plan, dump_plan, load_plan, render
from chaos.experiment.resolve import plan
from chaos.lab import Directory, NodeEntry
from protocol.terms import NodeName, Role, VmName

HOSTS = tuple(NodeName(f"esxi-{n:03d}") for n in range(1, 9))
DIRECTORY = Directory(
    nodes=(
        NodeEntry(node=NodeName("kms"), role=Role.KMS, site="core"),
        NodeEntry(node=NodeName("vcenter"), role=Role.VCENTER, site="core"),
        *(NodeEntry(node=host, role=Role.ESXI, site="edge") for host in HOSTS),
    ),
    vms=tuple(VmName(f"vm-{n:02d}") for n in range(1, 17)),
)
HEAD = """\
apiVersion: keystead/v1
kind: Experiment
name: small
title: A small one
topology: {use: edge}
"""


def made(rest: str, seed: int = 4) -> Plan:
    if "hypothesis" not in rest:
        rest += "checks: {add: [needs_no_kms]}\n"
    return plan(check_experiment(HEAD + rest, "x.yaml"), DIRECTORY, seed)


def refused(rest: str) -> list[tuple[int, str]]:
    with pytest.raises(BadExperiment) as caught:
        made(rest)
    return [(p.place.line, p.id) for p in caught.value.problems]


def test_times_and_targets_are_resolved() -> None:
    found = made("""\
schedule:
  - {id: dark, after: wan + 20s, for: 15s, fault: host.power_loss, on: 25% of role:esxi}
  - {id: late, after: dark, fault: host.reboot, on: kms}
  - {id: wan, at: 30s, for: 5m, fault: link.cut, between: [site:edge, [kms, vcenter]]}
""")
    at = {f.id: (f.at, f.until) for f in found.faults}
    assert at == {"wan": (30.0, 330.0), "dark": (50.0, 65.0), "late": (50.0, 50.0)}
    assert [f.id for f in found.faults] == ["wan", "dark", "late"]
    assert found.duration_s == 330.0
    dark: Any = next(f for f in found.faults if f.id == "dark").fault()
    assert len(dark.nodes) == 2
    assert set(dark.nodes) <= set(HOSTS)
    for word in ("wan", "30.000 s .. 330 s", "esxi-001 .. esxi-008 (8) <-> kms, vcenter"):
        assert word in render(found)


LOAD = """\
workload:
  - {op: vm.power_cycle, rate: 0.5/s}
  - {op: key.create, rate: 2/m, from: 60s, until: 120s}
schedule:
  - {at: 0s, for: 200s, fault: broker.restart}
"""


def test_arrivals_are_drawn_up_front_and_repeat() -> None:
    found = made(LOAD)
    cycles = [a for a in found.arrivals if a.op == "vm.power_cycle"]
    keys = [a for a in found.arrivals if a.op == "key.create"]
    assert 70 < len(cycles) < 130
    assert all(60 <= a.at < 120 and a.target == "" for a in keys)
    assert {a.target for a in cycles} <= set(DIRECTORY.vms)
    assert [a.at for a in found.arrivals] == sorted(a.at for a in found.arrivals)
    assert [a.number for a in found.arrivals] == list(range(1, len(found.arrivals) + 1))
    assert made(LOAD) == found
    assert made(LOAD, seed=5).arrivals != found.arrivals


def test_one_stream_does_not_re_time_another() -> None:
    without = LOAD.replace("  - {op: key.create, rate: 2/m, from: 60s, until: 120s}\n", "")
    cycles = [(a.at, a.target) for a in made(LOAD).arrivals if a.op == "vm.power_cycle"]
    assert [(a.at, a.target) for a in made(without).arrivals] == cycles


NOW = f'"format": {FORMAT}'.encode()


def test_a_stored_plan_is_the_plan() -> None:
    found = made(LOAD)
    assert load_plan(dump_plan(found)) == found
    for data in (b"", b"{}", dump_plan(found).replace(NOW, b'"format": 1')):
        with pytest.raises(ChaosError, match="KS-CHAOS-109"):
            load_plan(data)


def test_what_is_not_in_the_lab_is_told_with_its_line() -> None:
    assert refused("""\
workload:
  - {op: vm.power_cycle, rate: 1/s, on: vm-99}
hypothesis:
  after:
    - {probe: host.up, is: "== 100%", on: site:moon}
schedule:
  - {at: 0s, for: 1s, fault: host.reboot, on: esxi-099}
  - {at: 5s, for: 1s, fault: tpm.swap, on: kms}
guards: {blast_radius: {tpm.swap: 1}}
""") == [
        (7, "KS-CHAOS-010"),
        (10, "KS-CHAOS-010"),
        (12, "KS-CHAOS-010"),
        (13, "KS-CHAOS-010"),
    ]


def test_budgets_and_time_limits_hold() -> None:
    assert refused("""\
guards: {max_duration: 1m, blast_radius: {hosts: 50%, kms: 0, tpm.clear: 1}}
schedule:
  - {at: 0s, for: 2m, fault: link.cut, between: [role:esxi, kms]}
  - {at: 0s, fault: tpm.clear, on: esxi-001}
  - {at: 9s, fault: tpm.clear, on: esxi-002}
""") == [(6, "KS-CHAOS-013"), (6, "KS-CHAOS-012"), (6, "KS-CHAOS-012"), (6, "KS-CHAOS-012")]


def test_two_faults_that_hold_the_power_of_a_node_at_once_are_refused() -> None:
    clash = """\
schedule:
  - {id: a, at: 0s, for: 20s, fault: host.power_loss, on: "esxi-[001-004]"}
  - {id: b, at: 10s, for: 20s, fault: proc.kill, on: esxi-004}
"""
    assert refused(clash) == [(8, "KS-CHAOS-020")]
    assert made(clash.replace("at: 10s", "at: 21s")).duration_s == 41.0
    assert made(clash.replace("esxi-004}", "esxi-005}")).duration_s == 30.0


def test_two_faults_that_hold_the_process_or_a_setting_of_a_node_at_once_are_refused() -> None:
    for fault in (
        "proc.pause",
        "host.exec_option_removed",
        "host.boot_measure, secure_boot: false",
    ):
        clash = f"""\
schedule:
  - {{id: a, at: 0s, for: 20s, fault: {fault}, on: "esxi-[001-004]"}}
  - {{id: b, at: 10s, for: 20s, fault: {fault}, on: esxi-004}}
"""
        assert refused(clash) == [(8, "KS-CHAOS-020")], fault
        assert made(clash.replace("at: 10s", "at: 21s")).duration_s == 41.0
        assert made(clash.replace("esxi-004}", "esxi-005}")).duration_s == 30.0


NEWER = """\
hypothesis: {{after: [{{probe: vm.locked, is: "== 0%", on: {on}}}]}}
schedule: [{{id: make, at: 1s, do: vm.create, name: newest}}]
"""


def test_a_probe_can_be_about_a_vm_that_the_schedule_makes() -> None:
    assert made(NEWER.format(on="[newest, vm-01]")).probes[0].vms == ("vm-01", "newest")
    assert made(NEWER.format(on="all")).probes[0].vms == DIRECTORY.vms
    assert refused(NEWER.format(on="older")) == [(6, "KS-CHAOS-010")]
