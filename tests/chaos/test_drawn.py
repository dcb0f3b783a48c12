"""Faults that are drawn are faults, and each fault is written as a file has it."""

from __future__ import annotations

import pytest

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults import FAULTS, OTHER_NAMES, fault_type
from chaos.faults.base import Fault, Targets
from chaos.fields import format_s, seconds
from chaos.lab import Directory
from chaos.reference import example_of
from chaos.yaml_file import read_yaml
from lab.topology.lab_file import load
from lab.topology.plan import directory_of, plan

NEVER = {
    *("host.exec_option_removed", "kms.certificate", "kms.failover", "kms.rollback"),
    *("link.reset", "link.stall", "broker.down", "broker.route_cut", "kms.slow"),
}
"""What no random schedule draws: a host or the key servers must be set up for it, or have
connections, or a bus of several servers; its TPM or newer keys do not come back; nothing is judged
by it, or only under a load; and what happens at a point."""


@pytest.fixture(scope="module")
def directory() -> Directory:
    return directory_of(plan(load("default", hosts=4, vms=8, kms=2)))


def made(fault: type[Fault], fields: object, directory: Directory) -> Fault:
    params = fault.params.model_validate(fields)
    return fault.of("f", params, Targets(directory, Draws(1, "t")))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)
def test_each_drawn_fault_is_one_and_is_written_as_it_is(
    fault: type[Fault], directory: Directory
) -> None:
    for seed in range(60):
        fields = fault.draw_fields(Draws(seed, "fault"), directory)
        assert (fields is None) == (fault.kind in NEVER or fault.at_point)
        if fields is None:
            return
        assert fields == fault.draw_fields(Draws(seed, "fault"), directory)
        found = made(fault, fields, directory)
        assert made(fault, found.file_fields(), directory) == found


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)
def test_the_example_of_each_fault_is_written_as_it_is(fault: type[Fault]) -> None:
    directory = directory_of(plan(load("default", vms=2, bus={"servers": 2})))
    entry = read_yaml(f"{{{fault.example}}}").data
    if fault.at_point:  # the node is that of the point
        entry["on"] = "kms"
    found = made(fault, entry, directory)
    assert made(fault, found.file_fields(), directory) == found
    assert example_of(fault)


def test_a_lab_without_what_a_fault_needs_has_none_drawn() -> None:
    empty = Directory(nodes=(), vms=())
    drawn = {f.kind: f.draw_fields(Draws(1, "x"), empty) for f in FAULTS}
    assert not any(drawn.values())
    for fault in FAULTS:
        if drawn[fault.kind] is not None and fault.kind != "broker.restart":
            with pytest.raises(ChaosError):
                made(fault, drawn[fault.kind], empty)


@pytest.mark.parametrize("value", [0.0, 0.001, 0.25, 12.345678, 1e-9, 30.0, 86400.0, 1 / 3])
def test_times_are_written_as_they_are_read(value: float) -> None:
    assert seconds(format_s(value)) == round(value, 9)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_what_has_another_name_here_is_told_as_it_is_given(name: str) -> None:
    directory = directory_of(plan(load("default", vms=2, kms=2)))
    kind, fields = OTHER_NAMES[name]
    found = made(fault_type(kind), read_yaml(f"{{{fields}}}").data, directory)
    assert found.touches()
    with pytest.raises(ChaosError, match=f"no fault '{name}'; it is played by {kind} ") as caught:
        fault_type(name)
    assert caught.value.id == "KS-CHAOS-014"
