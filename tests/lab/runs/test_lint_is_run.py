"""``chaos lint`` finds what ``chaos run`` would refuse: also what only a lab can tell."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.local.experiment_files import lint, prepare_experiment
from lab.schema.errors import KeysteadError

HEAD = """\
apiVersion: keystead/v1
kind: Experiment
name: small
title: A small one
"""
HOLDS = 'hypothesis: {after: [{probe: vm.running, is: "== 100%"}]}\n'
CUT = "schedule: [{at: 10s, for: 1m, fault: link.cut, between: [vcenter, kms]}]\n"
USES = "topology: {use: default, with: {hosts: 2, vms: 2}}\n"
GOOD = HEAD + USES + HOLDS + CUT
INLINE = """\
topology:
  apiVersion: keystead/v1
  kind: Lab
  vcenters: [{name: vcenter}]
  kms: [{name: kms}, {name: vcenter}]
  clusters: [{name: a, hosts: {count: many}}]
"""


def linted(text: str, folder: Path) -> list[str]:
    path = folder / "x.yaml"
    path.write_text(text)
    items = list(lint(str(path)).items)
    try:
        prepare_experiment(str(path), None, "libtpms", "lab")
    except KeysteadError as error:
        assert error.exit_code == 4 and items, f"run refuses what lint does not: {error}"
    return [item.removeprefix(f"{folder}/") for item in items]


def test_a_good_file_has_no_errors(tmp_path: Path) -> None:
    assert linted(GOOD, tmp_path) == []


@pytest.mark.parametrize("name", ["", "nothing", "x" * 300, "x/" * 3000, "a\0b", "/dev/zero"])
def test_a_name_of_no_file_is_refused(name: str) -> None:
    with pytest.raises(KeysteadError, match="there is no experiment") as caught:
        lint(name)
    assert caught.value.id == "KS-USE-002" and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD.replace("kms]", "kmip]"), ["x.yaml:7:12: KS-CHAOS-010: no node 'kmip' in this lab"]),
        (
            GOOD.replace("use: default", "use: nothing"),
            ["x.yaml:5:12: KS-CHAOS-016: no lab file no"],
        ),
        (
            GOOD.replace("hosts: 2", "hots: 2"),
            ["x.yaml:5:26: KS-CHAOS-016: a lab file has no hots"],
        ),
        (
            GOOD.replace("hosts: 2", "hosts: -2"),
            ["x.yaml:5:26: KS-CHAOS-016: default.yaml:14:13: clu"],
        ),
        (GOOD + "requires: {hosts: '>=3'}\n", ["x.yaml:8:12: KS-CHAOS-015: 3 hosts are required"]),
        (GOOD + "requires: {tpm: model}\n", ["x.yaml:8:12: KS-CHAOS-015: tpm: model is required"]),
        (GOOD + "requires: {persistence: on}\n", ["KS-CHAOS-015: persistence: on is required"]),
        (
            GOOD + "guards: {max_duration: 30s}\n",
            ["x.yaml:8:1: KS-CHAOS-013: the schedule takes 70"],
        ),
        (GOOD + "duration: 5s\n", ["x.yaml:7:12: KS-CHAOS-013: 'link-cut-1' begins at 10 s, but"]),
        (
            GOOD + "duration: 20s\nguards: {max_duration: 30s}\n",
            ["x.yaml:7:12: KS-CHAOS-013: 'link-cut-1' ends at 70 s, max_duration is 30 s"],
        ),
        (
            GOOD.replace("[vcenter, kms]", "[kms, kms]"),
            ["x.yaml:7:12: KS-CHAOS-004: a link connects two different nodes"],
        ),
        (
            GOOD + "workload: [{op: key.create, rate: 10000/s}]\n",
            ["x.yaml:8:1: KS-CHAOS-004: some 700,000 operations are more than 100,000"],
        ),
        (
            HEAD + INLINE + HOLDS + CUT,
            [
                "x.yaml:9:23: KS-CHAOS-016: kms.1.name: the node name vcenter is used twice",
                "x.yaml:10:32: KS-CHAOS-016: topology.clusters.0.hosts.count",
            ],
        ),
        (
            HEAD + INLINE.replace("many", "1") + HOLDS + CUT,
            ["x.yaml:9:23: KS-CHAOS-016: kms.1.name: the node name vcenter is used twice"],
        ),
        (
            HEAD + INLINE.replace("many", "1") + HOLDS.replace("running", "runing") + CUT,
            ["kms.1.name: the node name vcenter is used twice", "no probe 'vm.runing'"],
        ),
    ],
)
def test_what_run_would_refuse_is_told_with_its_place(
    text: str, said: list[str], tmp_path: Path
) -> None:
    found = linted(text, tmp_path)
    assert len(found) == len(said)
    for item, expected in zip(found, said, strict=True):
        assert expected.replace("topology.", "") in item
