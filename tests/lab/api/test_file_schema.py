"""The schemas for editors take what is shipped and refuse what the readers refuse."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest

from chaos.yaml_file import read_yaml, text_of
from lab.local import schema
from lab.play.prepare import EXPERIMENTS
from lab.topology.lab_file import SHIPPED
from tests.lab.api.json_schema import faults_of, misfits
from tests.tidy.tree import ROOT

file_schema = cache(schema.file_schema)  # each takes half a second to make
KINDS: tuple[Literal["lab", "experiment"], ...] = ("lab", "experiment")


def read(path: Path) -> dict[str, Any]:
    data = read_yaml(text_of(path)).data
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_one_and_its_defaults_fit_it(kind: Literal["lab", "experiment"]) -> None:
    """An editor that writes a default writes what the reader takes: ``600s``, not 600."""
    assert faults_of(file_schema(kind)) == []


@pytest.mark.parametrize(
    ("kind", "folder"), [("lab", SHIPPED), ("experiment", EXPERIMENTS)], ids=KINDS
)
def test_shipped_files_fit(kind: Literal["lab", "experiment"], folder: Path) -> None:
    """Labs, and experiments with their loads and knobs."""
    files = sorted(folder.glob("*.yaml"))
    found = {path.stem: misfits(read(path), file_schema(kind)) for path in files}
    assert len(found) > 5 and {name: wrong for name, wrong in found.items() if wrong} == {}


def test_an_editor_loads_a_schema_quickly_and_shows_what_a_field_means() -> None:
    assert len(json.dumps(file_schema("experiment"), indent=2)) < 300_000
    lab = json.dumps(file_schema("lab"))
    assert "Whether UEFI Secure Boot is on" in lab and "Lab seconds that pass in one real" in lab


def test_the_lab_of_the_containers_fits() -> None:
    files = sorted((ROOT / "containers").glob("*.yaml"))
    assert [misfits(read(path), file_schema("lab")) for path in files] == [[], []]


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("schedule", [{"fault": "link.cat", "at": "1s", "between": ["a", "b"]}]),
        ("schedule", [{"fault": "link.cut", "at": "1s"}]),
        ("schedule", [{"fault": "link.delay", "at": "1s", "between": ["a", "b"], "base": 3}]),
        ("schedule", [{"fault": "host.reboot", "at": "1s", "onn": "esxi-001"}]),
        ("hypothesis", {"after": [{"probe": "vm.runing", "is": "== 1"}]}),
        ("hypothesis", {"after": [{"probe": "vm.running", "is": "1"}]}),
        ("workload", [{"op": "key.create", "rate": "fast"}]),
        ("checks", {"add": ["nothing"]}),
        ("guards", {"lease": 30}),
        ("seed", -1),
        ("requires", {"hosts": "many"}),
        ("nothing", 1),
    ],
)
def test_what_the_linter_refuses_an_editor_underlines(section: str, value: Any) -> None:
    good = read(EXPERIMENTS / "edge-outage-reboot.yaml")
    assert misfits({**good, section: value}, file_schema("experiment"))


@pytest.mark.parametrize("wrong", [{"knobs": {"colour": 1}}, {"pace": "x"}, {"kms": 5}, {"x": 1}])
def test_a_wrong_lab_file_is_underlined(wrong: dict[str, Any]) -> None:
    good = read(SHIPPED / "default.yaml")
    assert misfits({**good, **wrong}, file_schema("lab"))
    assert misfits({key: good[key] for key in good if key != "kind"}, file_schema("lab"))
