"""A lab file or a mapping of any shape is a lab, or an error that says what is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load
from lab.topology.plan import directory_of, plan
from protocol.terms import NodeName, Role

HEAD = {"apiVersion": "keystead/v1", "kind": "Lab", "vcenters": [{"name": "vcenter"}]}
CHANGES: list[dict[str, Any]] = [
    {},
    {"hosts": 2},
    {"kms": 2},
    {"providers": 2},
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
    ("changes", "servers"),
    [
        ({"providers": 1}, [("kms",)]),
        ({"providers": 2}, [("kms",), ("kms-2",)]),
        ({"kms": 2, "providers": 3}, [("kms-1", "kms-2"), ("kms-3",), ("kms-4",)]),
    ],
)
def test_further_providers_have_key_servers_of_their_own(
    changes: dict[str, Any], servers: list[tuple[str, ...]]
) -> None:
    topology = plan(load("default", **changes))
    names = ["kms-provider", "kms-provider-2", "kms-provider-3"][: len(servers)]
    assert [(p.provider, p.servers) for p in topology.providers] == list(
        zip(names, servers, strict=True)
    )
    assert [p.default for p in topology.providers] == [True, *[False] * (len(servers) - 1)]
    assert {vm.provider for vm in topology.vms} == {"kms-provider"}
    assert set(_roles(topology)) == {server for of in servers for server in of}
    assert all(
        node.tpm == topology.spec(NodeName(servers[0][0])).tpm for node in topology.nodes[:2]
    )


def test_names_that_are_taken_are_passed_over() -> None:
    file = {
        **HEAD,
        "kms": [{"name": "a"}, {"name": "kms-3"}],
        "providers": [{"name": "p", "servers": ["a"]}, {"name": "p-3", "servers": ["kms-3"]}],
    }
    topology = plan(load(file, providers=3))
    assert [(p.provider, p.servers) for p in topology.providers][2:] == [("p-4", ("kms-4",))]


@pytest.mark.parametrize("wanted", [0, 65, "x", True, 1.0])
def test_a_number_of_providers_that_cannot_be_is_refused(wanted: object) -> None:
    with pytest.raises(KeysteadError, match="which has 1 already"):
        load("default", providers=wanted)
    with pytest.raises(KeysteadError, match="has none that others"):
        load(HEAD, providers=2)


@pytest.mark.parametrize(
    ("kms", "config"),
    [
        ({"replicas": 3, "mode": "async"}, {"replication": "async"}),
        ({"replicas": 3, "mode": "forward"}, {"replication": "forward", "active": "kms-1"}),
        ({"mode": "sync-pair"}, {}),
        ({"replicas": 2, "mode": "async", "ids": "sequential"}, {"ids": "sequential"}),
    ],
)
def test_servers_replicate_as_the_file_says(kms: dict[str, Any], config: dict[str, str]) -> None:
    nodes = [node for node in plan(load("default", kms=kms)).nodes if node.role is Role.KMS]
    assert len(nodes) == kms.get("replicas", 2)
    for node in nodes:
        assert config.items() <= node.config.items()
        peers = [n for n, grant in node.config["identities"].items() if grant["role"] == "peer"]
        assert peers == [other.node for other in nodes if other != node]


def test_servers_of_mode_none_know_nothing_of_each_other() -> None:
    nodes = plan(load("default", kms={"replicas": 8, "mode": "none"})).nodes
    grants = [g for n in nodes if n.role is Role.KMS for g in n.config["identities"].values()]
    assert {grant["role"] for grant in grants} == {"client"}


@pytest.mark.parametrize(
    "kms",
    [3, {"replicas": 9, "mode": "async"}, {"replicas": 3}, {"nodes": 2}, {"replicas": True}],
)
def test_key_servers_that_cannot_be(kms: object) -> None:
    with pytest.raises(KeysteadError, match="replicas: 3, mode: async"):
        load("default", kms=kms)


def test_the_directory_says_which_provider_a_key_server_is_of() -> None:
    directory = directory_of(plan(load("default", kms=2, providers=2)))
    assert {e.node: e.providers for e in directory.nodes if e.providers} == {
        "kms-1": ("kms-provider",),
        "kms-2": ("kms-provider",),
        "kms-3": ("kms-provider-2",),
    }


@pytest.mark.parametrize(
    ("providers", "said"),
    [
        ([{"name": "p", "servers": ["a", "b", "c"]}], "has one server, or two"),
        ([{"name": "p", "servers": []}], "has one server, or two"),
        ([{"name": "p", "servers": ["a", "a"]}], "is named twice"),
        (
            [{"name": "p", "servers": ["a", "b"]}, {"name": "q", "servers": ["b", "c"]}],
            "b replicates with others already: a and b",
        ),
        ([{"name": "p", "servers": ["a"], "replication": "sync-pair"}], "has two servers"),
        (
            [{"name": "p", "servers": ["a", "b", "c"], "replication": "sync-pair"}],
            "has two servers",
        ),
        ([{"name": "p", "servers": ["a"], "replication": "async"}], "async has 2 to 8 servers"),
        ([{"name": "p", "servers": [], "replication": "none"}], "has 1 to 8 servers"),
        (
            [
                {"name": "p", "servers": ["a", "b"]},
                {"name": "q", "servers": ["b", "a"], "replication": "async"},
            ],
            "replicates in mode sync-pair already",
        ),
    ],
)
def test_servers_that_cannot_replicate_are_refused(
    providers: list[dict[str, Any]], said: str
) -> None:
    with pytest.raises(KeysteadError, match=said):
        _two_servers(*providers)


@pytest.mark.parametrize(
    ("kms", "servers"), [({"transport": "kmip"}, 1), ({"transport": "kmip", "replicas": 2}, 2)]
)
def test_key_servers_that_are_asked_by_kmip(kms: dict[str, object], servers: int) -> None:
    """The transport says nothing of how many there are."""
    made = plan(load("default", kms=kms))
    nodes = [spec for spec in made.nodes if spec.role is Role.KMS]
    assert [spec.config["transport"] for spec in nodes] == ["kmip"] * servers
    [provider] = made.providers
    assert provider.kmip == provider.servers == tuple(spec.node for spec in nodes)


def test_who_comes_by_kmip_has_no_way_in_over_the_bus() -> None:
    """A client that the console has revoked would go on there: only other servers are let in."""
    pair = [{"name": "a", "transport": "kmip"}, {"name": "b", "transport": "kmip"}]
    lab = {
        **HEAD,
        "kms": [*pair, {"name": "c"}],
        "providers": [
            {"name": "pair", "vcenter": "vcenter", "servers": ["a", "b"], "default": True},
            {"name": "other", "vcenter": "vcenter", "servers": ["c"]},
        ],
        "clusters": [
            {
                "name": "k",
                "vcenter": "vcenter",
                "hosts": {"count": 3},
                "vsan": {"encrypted": True, "provider": "pair"},
            }
        ],
    }
    nodes = {str(spec.node): spec.config["identities"] for spec in plan(load(lab)).nodes[:3]}
    peer = {"role": "peer"}
    assert nodes["a"] == {"b": peer}
    assert nodes["b"] == {"a": peer}
    assert nodes["c"].keys() == {"vcenter", "esxi-001", "esxi-002", "esxi-003"}


def scopes_at(lab: str, **changes: Any) -> dict[str, str]:
    """Who may come to the first key server of a shipped lab, and the scope of each."""
    server = next(n for n in plan(load(lab, **changes)).nodes if n.role is Role.KMS)
    return {who: grant.get("scope", "") for who, grant in server.config["identities"].items()}


def test_each_client_of_a_key_server_has_a_scope_of_its_own() -> None:
    """A vCenter, and the hosts of each vSAN; a Key Provider Service has that of the console, where
    primary keys are made."""
    assert scopes_at("two-vcenters") == {"vcenter-a": "vcenter-a", "vcenter-b": "vcenter-b"}
    vsan = scopes_at("vsan")
    hosts = {who: scope for who, scope in vsan.items() if who.startswith("esxi-")}
    assert vsan["vcenter"] == "vcenter" and set(hosts.values()) == {"vcenter.cluster-a"}
    trusted = scopes_at("trusted")
    services = [scope for who, scope in trusted.items() if who.startswith("keyprovider")]
    assert services and set(services) == {""}


def test_key_servers_whose_rows_of_reads_may_wait() -> None:
    made = plan(load("default", kms={"replicas": 2, "audit": "buffered"}))
    nodes = [spec for spec in made.nodes if spec.role is Role.KMS]
    assert [spec.config["audit"] for spec in nodes] == ["buffered"] * 2
    assert not any("audit" in spec.config for spec in plan(load("default")).nodes)
    with pytest.raises(KeysteadError, match="audit"):
        load("default", kms={"replicas": 1, "audit": "never"})


def test_clusters_that_are_added_are_trusted_where_the_first_one_is() -> None:
    file = load("trusted", clusters=3)
    assert file.trust_authority is not None
    assert file.trust_authority.clusters == ("cluster-a", "cluster-a-2", "cluster-a-3")
    assert [cluster.name for cluster in file.clusters] == list(file.trust_authority.clusters)
    plain = load("default", clusters=2)
    assert (len(plain.clusters), plain.trust_authority) == (2, None)
