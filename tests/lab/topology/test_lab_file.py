"""A lab file or a mapping of any shape is a lab, or an error that says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from lab.errors import KeysteadError
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.terms import Role

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


def _two_servers(*providers: dict[str, Any], kms: tuple[str, ...] = ("a", "b", "c")) -> Any:
    return plan(load({**HEAD, "kms": [{"name": n} for n in kms], "providers": list(providers)}))


def _roles(topology: Any) -> dict[str, dict[str, str]]:
    return {
        spec.node: {who: grant["role"] for who, grant in spec.config["identities"].items()}
        for spec in topology.nodes
        if spec.role is Role.KMS
    }


def test_two_key_servers_asked_for_are_one_provider_that_replicates() -> None:
    topology = plan(load("default", kms=2))
    [provider] = topology.providers
    assert (provider.provider, provider.servers) == ("kms-provider", ("kms-1", "kms-2"))
    assert provider.default and {vm.provider for vm in topology.vms} == {"kms-provider"}
    assert _roles(topology) == {
        "kms-1": {"vcenter": "client", "kms-2": "peer"},
        "kms-2": {"vcenter": "client", "kms-1": "peer"},
    }


def test_a_lab_file_has_providers_of_one_server_and_of_two() -> None:
    topology = _two_servers(
        {"name": "pair", "servers": ["b", "a"]}, {"name": "one", "servers": ["c"]}
    )
    assert [p.servers for p in topology.providers] == [("b", "a"), ("c",)]
    assert _roles(topology) == {
        "a": {"vcenter": "client", "b": "peer"},
        "b": {"vcenter": "client", "a": "peer"},
        "c": {"vcenter": "client"},
    }


@pytest.mark.parametrize(
    ("providers", "said"),
    [
        ([{"name": "p", "servers": ["a", "b", "c"]}], "has one server, or two"),
        ([{"name": "p", "servers": []}], "has one server, or two"),
        ([{"name": "p", "servers": ["a", "a"]}], "is named twice"),
        (
            [{"name": "p", "servers": ["a", "b"]}, {"name": "q", "servers": ["b", "c"]}],
            "b is in a pair with another server: a and b replicate",
        ),
    ],
)
def test_servers_that_cannot_replicate_are_refused(
    providers: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(KeysteadError, match=said):
        _two_servers(*providers)
