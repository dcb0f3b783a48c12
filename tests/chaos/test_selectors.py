"""Selectors name nodes in the order of the topology; draws repeat with their seed."""

from __future__ import annotations

import pytest

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.lab import Directory, NodeEntry
from chaos.selectors import in_short, select_nodes, select_vms
from protocol.terms import ClusterName, NodeName, ProviderId, Role, VmName

HOSTS = tuple(f"esxi-{n:03d}" for n in range(1, 41))
ONE, TWO = ProviderId("provider-1"), ProviderId("Provider.2")
DIRECTORY = Directory(
    nodes=(
        NodeEntry(node=NodeName("vcenter"), role=Role.VCENTER, site="core"),
        NodeEntry(node=NodeName("kms-1"), role=Role.KMS, site="core", providers=(ONE, TWO)),
        NodeEntry(node=NodeName("kms-2"), role=Role.KMS, site="edge", providers=(TWO,)),
        *(
            NodeEntry(
                node=NodeName(host),
                role=Role.ESXI,
                site="edge" if n < 20 else "core",
                cluster=ClusterName("a" if n < 30 else "b"),
            )
            for n, host in enumerate(HOSTS)
        ),
    ),
    vms=tuple(VmName(f"vm-{n:02d}") for n in range(1, 7)),
)


def chosen(selector: object, seed: int = 1) -> tuple[str, ...]:
    return select_nodes(selector, DIRECTORY, Draws(seed, "test"))


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("vcenter", ("vcenter",)),
        ("role:kms", ("kms-1", "kms-2")),
        ("esxi-[001-003]", HOSTS[:3]),
        (["kms-2", "vcenter", "kms-2"], ("vcenter", "kms-2")),
        ({"role": "kms", "site": "edge"}, ("kms-2",)),
        ({"role": "esxi", "pick": "all"}, HOSTS),
        ("cluster:b", HOSTS[30:]),
        ("all of role:kms", ("kms-1", "kms-2")),
        ("provider:provider-1", ("kms-1",)),
        ("provider:Provider.2", ("kms-1", "kms-2")),
        ({"role": "kms", "provider": "provider-1"}, ("kms-1",)),
        ("primary:kms", ("kms-1",)),
        ("primary:Provider.2", ("kms-1",)),
        ("all:kms", ("kms-1", "kms-2")),
        ("majority:kms", ("kms-1", "kms-2")),
        ("fraction:1 of role:kms", ("kms-1", "kms-2")),
        ("n:2 of role:kms", ("kms-1", "kms-2")),
    ],
)
def test_forms(selector: object, names: tuple[str, ...]) -> None:
    assert chosen(selector) == names


@pytest.mark.parametrize(
    ("selector", "count"),
    [
        ("25% of role:esxi", 10),
        ("fraction:0.25 of role:esxi", 10),
        ("n:3 of all", 3),
        ("one:esxi", 1),
        ("minority:esxi", 19),
        ("1% of role:esxi", 1),
        ("3 of site:edge", 3),
        ("one of all", 1),
    ],
)
def test_shares_repeat_with_the_seed_and_keep_the_order(selector: str, count: int) -> None:
    first = chosen(selector)
    assert len(first) == count
    assert first == chosen(selector)
    assert list(first) == [e.node for e in DIRECTORY.nodes if e.node in first]


def test_another_seed_picks_others() -> None:
    assert len({chosen("25% of role:esxi", seed) for seed in range(20)}) > 10


@pytest.mark.parametrize(
    ("selector", "id", "hint"),
    [
        ("vcentre", "KS-CHAOS-010", "vcenter"),
        ("role:esx", "KS-CHAOS-010", "role:esxi"),
        ("site:egde", "KS-CHAOS-010", "site:edge"),
        ("esxi-[039-042]", "KS-CHAOS-010", "esxi-041"),
        ("esxi-[009-001]", "KS-CHAOS-011", "upwards"),
        ("esxi-[a-b]", "KS-CHAOS-011", "no selector"),
        ("0% of role:esxi", "KS-CHAOS-011", "share"),
        ("99 of role:kms", "KS-CHAOS-011", "cannot be picked"),
        ({"rack": "1"}, "KS-CHAOS-011", "role, site, cluster"),
        (7, "KS-CHAOS-011", "no selector"),
        ([], "KS-CHAOS-010", "selects no node"),
    ],
)
def test_what_is_not_there_is_told_with_a_hint(selector: object, id: str, hint: str) -> None:
    with pytest.raises(ChaosError) as caught:
        chosen(selector)
    assert caught.value.id == id
    assert hint in caught.value.text


def test_vms() -> None:
    draws = Draws(1, "vms")
    assert select_vms("vm-[02-03]", DIRECTORY, draws) == ("vm-02", "vm-03")
    assert select_vms("all", DIRECTORY, draws) == DIRECTORY.vms
    with pytest.raises(ChaosError, match="no VM 'vm-1'"):
        select_vms("vm-1", DIRECTORY, draws)
    with pytest.raises(ChaosError, match="no VM 'cluster:prod' in this lab; VMs have no groups"):
        select_vms("cluster:prod", DIRECTORY, draws)


def test_draws_are_uniform_enough_and_independent_by_name() -> None:
    a, b = Draws(5, "a"), Draws(5, "b")
    values = [a.unit() for _ in range(4000)]
    assert 0.48 < sum(values) / len(values) < 0.52
    assert values[:10] != [b.unit() for _ in range(10)]
    mean = sum(a.exponential(3.0) for _ in range(4000)) / 4000
    assert 2.8 < mean < 3.2


@pytest.mark.parametrize(
    "selector", ["fraction:2 of all", "fraction:0 of all", "fraction: of all", "n:0 of all"]
)
def test_a_share_out_of_range_is_none(selector: str) -> None:
    with pytest.raises(ChaosError) as caught:
        chosen(selector)
    assert caught.value.id in ("KS-CHAOS-010", "KS-CHAOS-011")


def test_the_first_key_server_is_one_also_without_a_provider() -> None:
    bare = Directory(
        nodes=tuple(NodeEntry(node=NodeName(f"k{n}"), role=Role.KMS, site="a") for n in (1, 2)),
        vms=(),
    )
    assert select_nodes("primary:kms", bare, Draws(1, "x")) == ("k1",)
    with pytest.raises(ChaosError, match="KS-CHAOS-010"):
        select_nodes("primary:nothing", bare, Draws(1, "x"))


@pytest.mark.parametrize(
    ("names", "short"),
    [
        ((), []),
        (("esxi-001",), ["esxi-001"]),
        (HOSTS[:3], ["esxi-[001-003]"]),
        ((*HOSTS[:2], HOSTS[3]), ["esxi-[001-002]", "esxi-004"]),
        (("kms-9", "kms-10", "kms-11", "vcenter"), ["kms-9", "kms-[10-11]", "vcenter"]),
        (("esxi-002", "esxi-001"), ["esxi-002", "esxi-001"]),
    ],
)
def test_names_that_follow_each_other_are_one_range(
    names: tuple[str, ...], short: list[str]
) -> None:
    assert in_short(names) == short


def test_what_is_told_in_short_selects_the_same() -> None:
    names = (*HOSTS[:9], *HOSTS[11:30], HOSTS[35])
    assert chosen(in_short(names)) == names
