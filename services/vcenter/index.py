"""Values derived from the rows of the inventory, updated row by row instead of computed from all.

Names are kept in order while they are added and removed, so that no list is sorted for one page.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any, Generic, TypeVar

from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    ManagementType,
    NodeName,
    PowerState,
    ProviderId,
    VmName,
)
from services.vcenter.tables import (
    ClusterRow,
    CryptoKeyRow,
    DatabaseTable,
    GrantRow,
    HostRow,
    ProviderRow,
    ReleasedRow,
    TableRow,
    VmRow,
)

N = TypeVar("N", bound=Any)
G = TypeVar("G", bound=Hashable)
M = TypeVar("M", bound=str)
R = TypeVar("R")


class Sorted(Generic[N]):
    """Different names (or ids) in ascending order. Adding and removing costs a search and a move of
    the names above, some microseconds among ten thousand."""

    def __init__(self) -> None:
        self._names: list[N] = []

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[N]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        place = bisect_left(self._names, name)
        return place < len(self._names) and bool(self._names[place] == name)

    def put(self, name: N, *, present: bool) -> None:
        """Add or remove the name."""
        place = bisect_left(self._names, name)
        there = place < len(self._names) and self._names[place] == name
        if present and not there:
            self._names.insert(place, name)
        elif there and not present:
            del self._names[place]

    def after(self, cursor: N | None) -> RowsFrom[N]:
        """The names above the cursor; all without one."""
        return RowsFrom(self._names, 0 if cursor is None else bisect_right(self._names, cursor))


class RowsFrom(Generic[N]):
    """A list from a position on. Nothing is copied: read it before the next wait."""

    def __init__(self, names: Sequence[N], start: int) -> None:
        self._names, self._start = names, start

    def __len__(self) -> int:
        return len(self._names) - self._start

    def __iter__(self) -> Iterator[N]:
        return islice(self._names, self._start, None)


class OrderedGroups(Generic[G, M, R]):
    """Names of rows by group, in each group in the order of the table.

    ``of``: the groups of a row; it must depend on nothing but the row. A row's place is a number,
    its rank in the order of the table.
    """

    def __init__(self, of: Callable[[R], Collection[G]]) -> None:
        self._of = of
        self._members: dict[G, list[tuple[int, M]]] = {}

    def apply_change(self, place: int, name: M, before: R | None, after: R | None) -> None:
        """The row at this place was ``before`` and is ``after``; None: it did not, or does not,
        exist."""
        left = () if before is None else self._of(before)
        joined = () if after is None else self._of(after)
        if left == joined:
            return
        member, were, are = (place, name), dict.fromkeys(left), dict.fromkeys(joined)
        for group in were:
            if group not in are:
                members = self._members[group]
                del members[bisect_left(members, member)]
                if not members:
                    del self._members[group]
        for group in are:
            if group not in were:
                insort(self._members.setdefault(group, []), member)

    def names(self, group: G) -> list[M]:
        """The names in that group."""
        return [name for _, name in self._members.get(group, ())]

    def count(self, group: G) -> int:
        """How many names are in that group."""
        return len(self._members.get(group, ()))


def _host_key(row: ClusterRow | HostRow) -> tuple[CryptoKeyId, ...]:
    return () if row.host_key is None else (row.host_key,)


def _keys_of_cluster(row: ClusterRow) -> tuple[CryptoKeyId, ...]:
    """The host key of a cluster, and the keys of its encrypted vSAN, including those of a change in
    progress."""
    vsan = () if row.vsan is None else row.vsan.list_keys()
    return tuple(dict.fromkeys((*_host_key(row), *vsan)))


def _keys_in(row: TableRow | None) -> tuple[CryptoKeyId, ...]:
    """The keys of a row: used by it, or described by it."""
    match row:
        case VmRow(keys=keys):
            return keys
        case ClusterRow():
            return _keys_of_cluster(row)
        case HostRow():
            return _host_key(row)
        case CryptoKeyRow(key=key):
            return (key,)
        case _:
            return ()


def _keys_by_cluster(row: TableRow | None) -> object:
    return (row.cluster, row.keys) if isinstance(row, VmRow) and row.keys else None


class Index:
    """Names in order, and rows by their values. Read only, except for ``apply_change``.

    ``vms``: the view of them, which is changed before ``apply_change`` is called.
    """

    def __init__(self, vms: Mapping[VmName, VmRow]) -> None:
        self.clusters: Sorted[ClusterName] = Sorted()
        self.hosts: Sorted[NodeName] = Sorted()
        self.vms: Sorted[VmName] = Sorted()
        self.providers: Sorted[ProviderId] = Sorted()
        self.known_keys: Sorted[CryptoKeyId] = Sorted()
        self.management_types: Mapping[ProviderId, ManagementType] = {}
        self.forgotten: set[CryptoKeyId] = set()
        self._used: dict[ProviderId, Sorted[CryptoKeyId]] = {}
        self._listed: set[CryptoKeyId] = set()
        self._rows = vms
        # Computed at the first request.
        self._keys_of: dict[ClusterName, tuple[CryptoKeyId, ...]] = {}

        self.hosts_of = OrderedGroups[ClusterName, NodeName, HostRow](lambda row: (row.cluster,))
        self.kept_off_in = OrderedGroups[ClusterName, NodeName, HostRow](
            lambda row: (row.cluster,) if row.kept_off else ()
        )
        self.vms_on = OrderedGroups[NodeName, VmName, VmRow](lambda row: (row.host,))
        self.running_on = OrderedGroups[NodeName, VmName, VmRow](
            lambda row: (row.host,) if row.power is PowerState.ON else ()
        )
        self.vms_of = OrderedGroups[ClusterName, VmName, VmRow](lambda row: (row.cluster,))
        self.encrypted_vms_of = OrderedGroups[ClusterName, VmName, VmRow](
            lambda row: (row.cluster,) if row.keys else ()
        )
        self.released_on = OrderedGroups[NodeName, str, ReleasedRow](lambda row: row.hosts)
        self.vms_with = OrderedGroups[CryptoKeyId, VmName, VmRow](lambda row: row.keys)
        self.hosts_with = OrderedGroups[CryptoKeyId, NodeName, HostRow](_host_key)
        self.clusters_with = OrderedGroups[CryptoKeyId, ClusterName, ClusterRow](_host_key)
        self.vsans_with = OrderedGroups[CryptoKeyId, ClusterName, ClusterRow](
            lambda row: () if row.vsan is None else row.vsan.list_keys()
        )
        self.grants_of = OrderedGroups[CryptoKeyId, str, GrantRow](lambda row: (row.key,))
        self._groups: dict[DatabaseTable, tuple[OrderedGroups[Any, Any, Any], ...]] = {
            DatabaseTable.CLUSTER: (self.clusters_with, self.vsans_with),
            DatabaseTable.HOST: (self.hosts_of, self.kept_off_in, self.hosts_with),
            DatabaseTable.VM: (
                self.vms_on,
                self.running_on,
                self.vms_of,
                self.encrypted_vms_of,
                self.vms_with,
            ),
            DatabaseTable.RELEASED: (self.released_on,),
            DatabaseTable.GRANT: (self.grants_of,),
        }
        self._names: dict[DatabaseTable, Sorted[Any]] = {
            DatabaseTable.CLUSTER: self.clusters,
            DatabaseTable.HOST: self.hosts,
            DatabaseTable.VM: self.vms,
            DatabaseTable.PROVIDER: self.providers,
        }
        self._places: dict[tuple[DatabaseTable, str], int] = {}
        self._next_place = count()

    def keys_in_use(self, provider: ProviderId) -> tuple[CryptoKeyId, ...]:
        """Keys of that provider that VMs, clusters or hosts use, least first."""
        return tuple(self._used.get(provider, ()))

    def keys_of(self, cluster: ClusterName) -> tuple[CryptoKeyId, ...]:
        """Keys of all encrypted VMs of the cluster, each once, in order of the VMs."""
        found = self._keys_of.get(cluster)
        if found is None:
            names = self.encrypted_vms_of.names(cluster)
            found = tuple(dict.fromkeys(key for name in names for key in self._rows[name].keys))
            self._keys_of[cluster] = found
        return found

    def in_order(self, hosts: Iterable[NodeName]) -> list[NodeName]:
        """These hosts in order of the table."""
        return sorted(hosts, key=lambda name: self._places[DatabaseTable.HOST, name])

    def apply_change(
        self, table: DatabaseTable, name: str, before: TableRow | None, after: TableRow | None
    ) -> None:
        """The row of that name was ``before`` and is ``after``; None: it did not, or does not,
        exist."""
        if before is None and after is None:
            return
        place = self._places.get((table, name))
        if place is None:
            place = self._places[table, name] = next(self._next_place)
        for groups in self._groups.get(table, ()):
            groups.apply_change(place, name, before, after)
        if table in self._names:
            self._names[table].put(name, present=after is not None)
        if after is None:
            del self._places[table, name]
        if table is DatabaseTable.CRYPTO_KEY:
            self._note(before or after, after)  # type: ignore[arg-type]
        if table is DatabaseTable.PROVIDER:
            self._type(ProviderId(name), after)  # type: ignore[arg-type]
        if table is DatabaseTable.VM and _keys_by_cluster(before) != _keys_by_cluster(after):
            for row in (before, after):
                if isinstance(row, VmRow):
                    self._keys_of.pop(row.cluster, None)
        left, joined = _keys_in(before), _keys_in(after)
        if left != joined or table is DatabaseTable.CRYPTO_KEY:
            self._weigh((*left, *joined))

    def _type(self, name: ProviderId, row: ProviderRow | None) -> None:
        """Values returned before do not change."""
        types = {**self.management_types}
        if row is None:
            types.pop(name, None)
        else:
            types[name] = row.management_type
        self.management_types = types

    def _note(self, there: CryptoKeyRow, after: CryptoKeyRow | None) -> None:
        """The row of a key has changed."""
        for found, holds in (
            (self._listed, after is not None and after.listed),
            (self.forgotten, after is not None and after.forgotten),
        ):
            found.add(there.key) if holds else found.discard(there.key)

    def _weigh(self, keys: Collection[CryptoKeyId]) -> None:
        """Update whether these keys are used, and known: used or listed, and not forgotten."""
        for key in dict.fromkeys(keys):
            users = (self.vms_with, self.clusters_with, self.hosts_with, self.vsans_with)
            used = any(group.count(key) for group in users)
            self._used.setdefault(key.provider_id, Sorted()).put(key, present=used)
            if not self._used[key.provider_id]:
                del self._used[key.provider_id]
            known = (used or key in self._listed) and key not in self.forgotten
            self.known_keys.put(key, present=known)
