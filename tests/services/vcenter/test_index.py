"""The index of the inventory says what its rows say, whatever was done to them in what order."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any, TypeVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    KeyId,
    ManagementType,
    NodeName,
    ProviderId,
    VmName,
)
from services.runtime.ports import Database
from services.vcenter.index import OrderedGroups, Sorted
from services.vcenter.inventory import (
    DropVmsOf,
    Edit,
    Inventory,
    change_cluster,
    change_host,
    change_vm,
    drop,
    ensure_cluster,
    new_vm,
    put,
)
from services.vcenter.key_use import (
    cancel_releases,
    end_grants,
    grant_keys,
    host_left,
    note_key,
    record_dropped,
    release_keys,
)
from services.vcenter.tables import SCHEMA, DatabaseTable, HostRow, ProviderRow, VmRow
from tests.services.vcenter.computed import check_index

T = TypeVar("T")

CLUSTERS = st.sampled_from([ClusterName(f"cluster-{n}") for n in (2, 1)])
HOSTS = st.sampled_from([NodeName(f"esxi-{n}") for n in (3, 1, 10)])
VMS = st.sampled_from([VmName(f"vm-{n}") for n in (2, 1, 20)])
PROVIDERS = st.sampled_from([ProviderId("p"), ProviderId("q")])
KEYS = st.builds(CryptoKeyId, st.sampled_from([KeyId(f"k{n}") for n in (3, 1, 2)]), PROVIDERS)
SOME_KEYS = st.lists(KEYS, max_size=3).map(tuple)
SOME_HOSTS = st.lists(HOSTS, unique=True, max_size=3)

Command = Callable[[Inventory], tuple[Edit | DropVmsOf, ...]]


def one(edit: Edit | DropVmsOf) -> Command:
    return lambda _: (edit,)


def some(edits: tuple[Edit, ...]) -> Command:
    return lambda _: edits


def leave(host: NodeName) -> Command:
    """As ``RemoveHost``: the host, its VMs, and what was done there."""
    return lambda inventory: (
        drop(DatabaseTable.HOST, host),
        DropVmsOf(host),
        *host_left(host, inventory.deleted),
    )


def host(name: NodeName, cluster: ClusterName) -> Command:
    return lambda _: (
        ensure_cluster(cluster),
        put(DatabaseTable.HOST, name, HostRow(name=name, cluster=cluster)),
    )


def vm(name: VmName, cluster: ClusterName, on: NodeName, keys: tuple[CryptoKeyId, ...]) -> VmRow:
    return VmRow(name=name, cluster=cluster, host=on, keys=keys)


def provider(name: ProviderId, kind: ManagementType) -> Edit:
    return put(DatabaseTable.PROVIDER, name, ProviderRow(name=name, management_type=kind))


COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(host, HOSTS, CLUSTERS),
    st.builds(leave, HOSTS),
    st.builds(change_host, HOSTS, host_key=st.none() | KEYS).map(one),
    st.builds(change_host, HOSTS, kept_off=st.booleans()).map(one),
    st.builds(change_cluster, CLUSTERS, host_key=st.none() | KEYS).map(one),
    st.builds(new_vm, st.builds(vm, VMS, CLUSTERS, HOSTS, SOME_KEYS)).map(one),
    st.builds(change_vm, VMS, keys=SOME_KEYS).map(one),
    st.builds(change_vm, VMS, host=HOSTS, cluster=CLUSTERS).map(one),
    st.builds(new_vm, st.builds(vm, VMS, CLUSTERS, HOSTS, SOME_KEYS)).map(one),
    st.builds(drop, st.just(DatabaseTable.VM), VMS).map(one),
    st.builds(DropVmsOf, HOSTS).map(one),
    st.builds(provider, PROVIDERS, st.sampled_from(ManagementType)).map(one),
    st.builds(drop, st.just(DatabaseTable.PROVIDER), PROVIDERS).map(one),
    st.builds(note_key, KEYS, listed=st.booleans(), forgotten=st.booleans()).map(one),
    st.builds(drop, st.just(DatabaseTable.CRYPTO_KEY), KEYS.map(str)).map(one),
    st.builds(release_keys, SOME_KEYS, SOME_HOSTS).map(some),
    st.builds(record_dropped, KEYS, HOSTS).map(one),
    st.builds(cancel_releases, SOME_KEYS).map(some),
    st.builds(grant_keys, VMS, CLUSTERS, SOME_KEYS).map(some),
    st.builds(end_grants, VMS, SOME_KEYS).map(some),
)


class _Memory(Database):
    """A database without a life and without time."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(":memory:")
        for statement in SCHEMA:
            self._connection.execute(statement)

    async def transact(
        self,
        fn: Callable[[sqlite3.Connection], T],
        applied: Callable[[T], None] | None = None,
    ) -> T:
        result = fn(self._connection)
        if applied is not None:
            applied(result)
        return result

    async def query(self, fn: Callable[[sqlite3.Connection], T], *, long: bool = False) -> T:
        return fn(self._connection)

    def close(self) -> None:
        self._connection.close()


class _Now:
    def now(self) -> float:
        return 0.0


def done(work: Any) -> None:
    """Run a coroutine that never waits."""
    with pytest.raises(StopIteration):
        work.send(None)


A, B = VmName("vm-1"), VmName("vm-2")
H, C = NodeName("esxi-1"), ClusterName("cluster-1")
COMES_AGAIN = [
    host(H, C),
    one(new_vm(vm(A, C, H, ()))),
    one(new_vm(vm(B, C, H, ()))),
    one(drop(DatabaseTable.VM, A)),
    one(new_vm(vm(A, C, H, ()))),
]
"""It is the last of its table then."""


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@example(COMES_AGAIN)
@given(st.lists(COMMANDS, max_size=40))
def test_after_any_commands_the_index_is_what_the_rows_say(commands: list[Command]) -> None:
    with closing(_Memory()) as memory:
        inventory = Inventory(memory, None, _Now())  # type: ignore[arg-type]
        for command in commands:
            done(inventory.commit(*command(inventory)))
            check_index(inventory)
        loaded = Inventory(memory, None, _Now())  # type: ignore[arg-type]
        done(loaded.load())
        check_index(loaded)
        assert loaded.vms == inventory.vms and list(loaded.vms) == list(inventory.vms)
        assert loaded.released == inventory.released
        assert loaded.grants == inventory.grants


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans())), st.integers(-1, 21))
def test_what_is_left_after_a_cursor(changes: list[tuple[int, bool]], cursor: int) -> None:
    names: Sorted[int] = Sorted()
    there: set[int] = set()
    for name, present in changes:
        names.put(name, present=present)
        there = there | {name} if present else there - {name}
    assert list(names) == sorted(there) and len(names) == len(there)
    rest = names.after(cursor)
    assert list(rest) == [name for name in sorted(there) if name > cursor]
    assert len(rest) == len(list(rest)) and list(names.after(None)) == list(names)


def test_a_row_of_many_groups_that_leaves_them_one_by_one_costs_their_number() -> None:
    """A released key waits for every host of its cluster, and each tells that it has dropped it."""
    compared = [0]

    class Counted(str):
        __slots__ = ()

        def __eq__(self, other: object) -> bool:
            compared[0] += 1
            return super().__eq__(other)

        __hash__ = str.__hash__

    hosts: list[str] = [Counted(f"esxi-{number}") for number in range(300)]
    groups = OrderedGroups[str, str, list[str]](lambda row: row)
    groups.apply_change(0, "key", None, hosts)
    compared[0] = 0
    groups.apply_change(0, "key", hosts, hosts[1:])
    assert compared[0] <= 10 * len(hosts)
    assert not groups.names(hosts[0]) and groups.names(hosts[1]) == ["key"]
