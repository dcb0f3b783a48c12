"""The schemas for editors take what is shipped and refuse what the readers refuse."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from chaos.text_file import text_of
from chaos.yaml_file import read_yaml
from lab.api import schema
from lab.runs.prepare import EXPERIMENTS
from lab.topology.lab_file import SHIPPED

file_schema = cache(schema.file_schema)  # each takes half a second to make

TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


def fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value is as the schema says, as far as these schemas go."""
    kind = schema.get("type")
    if kind and (
        not isinstance(value, TYPES[kind])
        or (isinstance(value, bool) and kind in ("integer", "number"))
    ):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "anyOf" in schema and not any(fits(value, option) for option in schema["anyOf"]):
        return False
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        return False
    if isinstance(value, int | float) and not (
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
    ):
        return False
    if isinstance(value, list):
        return all(fits(item, schema.get("items", {})) for item in value)
    return not isinstance(value, dict) or _map_fits(value, schema)


def _map_fits(value: dict[str, Any], schema: Mapping[str, Any]) -> bool:
    known = schema.get("properties", {})
    more = schema.get("additionalProperties", True)
    return (
        {*schema.get("required", ())} <= {*value}
        and (more is not False or {*value} <= {*known})
        and all(fits(item, known.get(name, {})) for name, item in value.items())
    )


def read(path: Path) -> dict[str, Any]:
    data = read_yaml(text_of(path)).data
    assert isinstance(data, dict)
    return data


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_labs_fit(path: Path) -> None:
    assert fits(read(path), file_schema("lab"))


@pytest.mark.parametrize("path", sorted(EXPERIMENTS.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_experiments_fit(path: Path) -> None:
    assert fits(read(path), file_schema("experiment"))


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
    assert not fits({**good, section: value}, file_schema("experiment"))


@pytest.mark.parametrize("wrong", [{"knobs": {"colour": 1}}, {"pace": "x"}, {"kms": 5}, {"x": 1}])
def test_a_wrong_lab_file_is_underlined(wrong: dict[str, Any]) -> None:
    good = read(SHIPPED / "default.yaml")
    assert not fits({**good, **wrong}, file_schema("lab"))
    assert not fits({key: good[key] for key in good if key != "kind"}, file_schema("lab"))
