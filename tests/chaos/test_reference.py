"""The reference of experiments is that of the registries, and its examples are good files."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.actions import ACTIONS
from chaos.checks import CHECKS
from chaos.entries import DescribedEntry
from chaos.experiment.model import Guards
from chaos.faults import FAULTS
from chaos.hypotheses.probes import PROBES
from chaos.reference import NOUNS, entries
from chaos.workload import OPERATIONS
from lab.play.prepare import problems

EVERY = [(noun, entry) for noun in NOUNS for entry in entries(noun)]
REST = {
    "hypothesis": 'hypothesis: {after: [{probe: vm.running, is: "== 100%"}]}',
    "schedule": "schedule: []",
    "guards": "guards: {blast_radius: {tpm.clear: 1, tpm.swap: 1, kms.key_state: 1, "
    "kms.rollback: 1, provider.delete: 1, "
    "kms.certificate: 1}}",
}


EVERY_ENTRY = {"id", "at", "after", "once", "when", "every", "times", "rolling", "optional"}


def str_of(parameter: str | DescribedEntry) -> str:
    return parameter if isinstance(parameter, str) else parameter.name


def test_all_that_can_be_named_is_there() -> None:
    names = {noun: [entry.name for entry in entries(noun)] for noun in NOUNS}
    assert names["fault"] == [kind.kind for kind in FAULTS]
    assert names["action"] == list(ACTIONS)
    assert names["probe"] == list(PROBES)
    assert names["op"] == list(OPERATIONS)
    assert names["check"] == list(CHECKS)
    assert names["guard"] == list(Guards.model_fields)
    assert len(names["selector"]) == len({*names["selector"]}) >= 9


@pytest.mark.parametrize(
    ("noun", "entry"), EVERY, ids=lambda x: x if isinstance(x, str) else x.name
)
def test_every_example_is_a_good_file(noun: str, entry: DescribedEntry, tmp_path: Path) -> None:
    section = entry.example.split(":")[0]
    others = [text for name, text in REST.items() if name != section]
    text = "\n".join(
        [
            "apiVersion: keystead/v1\nkind: Experiment\nname: x\ntitle: X",
            "topology: {use: default, with: {bus: {servers: 2}, hosts: 2, vms: 2}}",
            *others,
            entry.example,
        ]
    )
    (tmp_path / "x.yaml").write_text(text)
    assert [str(p) for p in problems(tmp_path / "x.yaml")] == []
    assert entry.text.endswith(".") and "``" not in entry.text


def test_every_field_of_a_fault_is_told() -> None:
    told = {entry.name: {field.name for field in entry.fields} for entry in entries("fault")}
    for kind in FAULTS:
        own = {info.alias or name for name, info in kind.params.model_fields.items()}
        wanted = own | EVERY_ENTRY | {"for", "drawn"} | (set() if kind.reversible else {"cure"})
        if kind.at_point:  # its begin is the point, and the point has the node
            wanted = own - {"on"} | {"id", "point", "optional", "for", "drawn"}
        assert told[kind.kind] == wanted


def test_every_field_of_an_action_is_told() -> None:
    told = {entry.name: {field.name for field in entry.fields} for entry in entries("action")}
    for kind, action in ACTIONS.items():
        assert told[kind] == {*action.params.model_fields, *EVERY_ENTRY, "must"}


def test_a_field_is_told_with_its_values_default_and_need() -> None:
    delay = next(entry for entry in entries("fault") if entry.name == "link.delay")
    fields = {field.name: field for field in delay.fields}
    assert fields["base"].required and not fields["jitter"].required
    assert fields["base"].values == "a time of the lab: 250ms, 30s, 5m, 1h"
    assert (fields["jitter"].default, fields["dir"].values) == ("0s", "to | from | both")
    measure = next(entry for entry in entries("fault") if entry.name == "host.boot_measure")
    assert {f.name: f.values for f in measure.fields}["pcr"] == "a whole number from 0 to 7"
    back = next(entry for entry in entries("probe") if entry.name == "vm.back_within")
    assert "seconds of the lab" in back.text and {f.name for f in back.fields} == {
        "is",
        "on",
        "view",
    }
