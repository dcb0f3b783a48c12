"""A lab file or a mapping of any shape is a lab, or an error that says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from lab.errors import KeysteadError
from lab.topology.lab_file import load
from lab.topology.plan import plan

HEAD = {"apiVersion": "keystead/v1", "kind": "Lab", "vcenters": [{"name": "vcenter"}]}
CHANGES: list[dict[str, Any]] = [
    {},
    {"hosts": 2},
    {"kms": 2},
    {"knobs": {"heartbeat_s": 5}},
]


@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize(
    "wrong",
    [
        {"clusters": 3},
        {"clusters": None},
        {"clusters": [1]},
        {"clusters": [{"name": "a", "hosts": 3}]},
        {"kms": 5},
        {"providers": [{}]},
        {"knobs": None},
        {1: 2},
    ],
)
def test_a_mapping_of_a_wrong_shape_is_refused(
    wrong: dict[Any, Any], changes: dict[str, Any]
) -> None:
    with pytest.raises(KeysteadError) as caught:
        load({**HEAD, **wrong}, **changes)
    assert caught.value.id == "KS-TOPO-001"


@pytest.mark.parametrize(
    "changes",
    [
        {"kms": "x"},
        {"kms": float("inf")},
        {"kms": 2.5},
        {"kms": 0},
        {"knobs": [1]},
        {"knobs": "x"},
        {"hosts": float("nan")},
        {"hosts": 10**30},
        {"pace": float("nan")},
        {"nothing": 1},
    ],
)
def test_a_change_of_a_wrong_value_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(KeysteadError) as caught:
        plan(load("default", **changes))
    assert caught.value.id in ("KS-TOPO-001", "KS-USE-003")


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b", "default\n", "/", "/dev/null"])
def test_a_name_of_no_file_is_refused(name: str) -> None:
    with pytest.raises(KeysteadError) as caught:
        load(name)
    assert caught.value.id == "KS-TOPO-001"
