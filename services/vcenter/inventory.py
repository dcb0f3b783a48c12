"""The durable inventory and event log: one SQLite database, one view of it in memory.

Every change is an ``Edit``: a pure function from the row in the transaction to the new row. So two
flows that change one row at the same time both take effect, and nothing that was read before a wait
is written back. The view changes after the commit, in commit order, before the caller resumes.
"""

from __future__ import annotations

import errno
import hashlib
import sqlite3
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeVar, cast

import msgspec

from protocol.errors import SaveFailed
from protocol.messages.vcenter.inventory import VcEvent
from protocol.pages import first_page
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    CryptoMode,
    ManagementType,
    NodeName,
    ProviderId,
    VmName,
)
from services.runtime.ports import Bus, Clock, Database
from services.vcenter.events import EventDraft
from services.vcenter.hosts.mode import should_be_safe
from services.vcenter.index import Index
from services.vcenter.tables import (
    ROW_OF,
    AuthorityRow,
    ClusterRow,
    CryptoKeyRow,
    DatabaseTable,
    DeletedRow,
    GrantRow,
    HostRow,
    OperationRow,
    PermissionRow,
    ProviderRow,
    ReleasedRow,
    RelocationRow,
    RoleRow,
    TableRow,
    TrustRow,
    VmRow,
)

X = TypeVar("X", bound=TableRow)

EVENTS_PER_READ = 1000  # of one query, however small the events are


@dataclass(frozen=True)
class Edit:
    """One change of one row: ``change`` maps the present row (or None) to the new one.

    ``of_host``: no change when that host is not in the inventory (any more).
    """

    table: DatabaseTable
    name: str
    change: Callable[[Any], TableRow | None]
    of_host: NodeName | None = None


@dataclass(frozen=True)
class DropVmsOf:
    """Drop all VMs of one host, including those added since the caller looked."""

    host: NodeName


def put(table: DatabaseTable, name: str, row: TableRow) -> Edit:
    return Edit(table, name, lambda _: row)


def drop(table: DatabaseTable, name: str) -> Edit:
    return Edit(table, name, lambda _: None)


def new_vm(row: VmRow) -> Edit:
    """Add a VM to the inventory, if it is not there and its host is."""
    return Edit(DatabaseTable.VM, row.name, lambda there: there or row, of_host=row.host)


def change_vm(name: VmName, **fields: Any) -> Edit:
    """Set these fields of a VM; a VM removed meanwhile stays removed."""
    return _amend(DatabaseTable.VM, name, fields)


def change_host(name: NodeName, **fields: Any) -> Edit:
    return _amend(DatabaseTable.HOST, name, fields)


def change_cluster(name: ClusterName, **fields: Any) -> Edit:
    return _amend(DatabaseTable.CLUSTER, name, fields)


def change_provider(name: ProviderId, **fields: Any) -> Edit:
    return _amend(DatabaseTable.PROVIDER, name, fields)


def _amend(table: DatabaseTable, name: str, fields: dict[str, Any]) -> Edit:
    def change(row: TableRow | None) -> TableRow | None:
        return None if row is None else msgspec.structs.replace(row, **fields)

    return Edit(table, name, change)


def ensure_cluster(name: ClusterName) -> Edit:
    return Edit(DatabaseTable.CLUSTER, name, lambda row: row or ClusterRow(name=name))


class Inventory:
    """See the module. The dicts are the view, in order of creation; read only."""

    def __init__(self, database: Database, bus: Bus, clock: Clock) -> None:
        self._database, self._bus, self._clock = database, bus, clock
        self.clusters: dict[ClusterName, ClusterRow] = {}
        self.hosts: dict[NodeName, HostRow] = {}
        self.vms: dict[VmName, VmRow] = {}
        self.providers: dict[ProviderId, ProviderRow] = {}
        self.deleted: dict[ProviderId, DeletedRow] = {}
        self.released: dict[str, ReleasedRow] = {}
        self.keys: dict[str, CryptoKeyRow] = {}
        self.authority: dict[str, AuthorityRow] = {}
        self.trust: dict[str, TrustRow] = {}
        self.roles: dict[str, RoleRow] = {}
        self.permissions: dict[str, PermissionRow] = {}
        self.relocations: dict[VmName, RelocationRow] = {}
        self.grants: dict[str, GrantRow] = {}
        self.index = Index(self.vms)

    async def load(self) -> None:
        """Rebuild the view from the database; called first at start."""
        rows = await self._database.query(_read_all)
        for table, row in rows:
            self._show(table, row.name, row)  # type: ignore[attr-defined]

    async def commit(
        self, *edits: Edit | DropVmsOf, events: Sequence[EventDraft] = ()
    ) -> tuple[VcEvent, ...]:
        """Apply the edits and append the events in one transaction; durable on return.

        ``SaveFailed`` when the disk fails: nothing was changed.
        """
        at = self._clock.now()

        def work(connection: sqlite3.Connection) -> tuple[list[_Outcome], tuple[VcEvent, ...]]:
            outcomes = [outcome for edit in edits for outcome in _apply(connection, edit)]
            return outcomes, tuple(_append(connection, draft, at) for draft in events)

        try:
            _, numbered = await self._database.transact(work, self._apply_commit)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SaveFailed(f"the inventory could not be saved: {reason}") from None
        return numbered

    def _apply_commit(self, result: tuple[list[_Outcome], tuple[VcEvent, ...]]) -> None:
        outcomes, events = result
        for table, name, row in outcomes:
            self._show(table, name, row)
        for event in events:
            self._bus.publish(event)

    def _show(self, table: DatabaseTable, name: str, row: TableRow | None) -> None:
        view = self._view(table)
        if view is None:
            return
        before = view.get(name)
        if row is None:
            view.pop(name, None)
        else:
            view[name] = row
        self.index.apply_change(table, name, before, row)

    def _view(self, table: DatabaseTable) -> dict[str, TableRow] | None:
        view: object
        match table:
            case DatabaseTable.CLUSTER:
                view = self.clusters
            case DatabaseTable.HOST:
                view = self.hosts
            case DatabaseTable.VM:
                view = self.vms
            case DatabaseTable.PROVIDER:
                view = self.providers
            case DatabaseTable.DELETED:
                view = self.deleted
            case DatabaseTable.RELEASED:
                view = self.released
            case DatabaseTable.CRYPTO_KEY:
                view = self.keys
            case DatabaseTable.AUTHORITY:
                view = self.authority
            case DatabaseTable.TRUST:
                view = self.trust
            case DatabaseTable.ROLE:
                view = self.roles
            case DatabaseTable.PERMISSION:
                view = self.permissions
            case DatabaseTable.RELOCATION:
                view = self.relocations
            case DatabaseTable.GRANT:
                view = self.grants
            case DatabaseTable.OPERATION:
                return None
        return cast("dict[str, TableRow]", view)

    # ---- queries ----------------------------------------------------------------------------

    async def operation(self, operation_id: str) -> OperationRow | None:
        """The operation of that id; read from the database, because operations are not in the
        view."""
        return await self._database.query(
            lambda connection: _read(
                connection, DatabaseTable.OPERATION, operation_id, OperationRow
            )
        )

    async def events_after(self, after: int, limit: int) -> tuple[tuple[VcEvent, ...], bool]:
        """Events above ``after``, oldest first, and whether there are more.

        At most ``limit`` and ``EVENTS_PER_READ`` of them, and as many as fit into a message.
        """
        bound = max(0, min(limit, EVENTS_PER_READ))

        def read(connection: sqlite3.Connection) -> tuple[tuple[VcEvent, ...], bool]:
            page: tuple[VcEvent, ...] = ()
            if bound:
                rows = connection.execute(
                    "SELECT sequence, at, body FROM event WHERE sequence > ? ORDER BY sequence",
                    (after,),
                )
                found = (
                    _draft(at, body).with_sequence(sequence, at) for sequence, at, body in rows
                )
                page = first_page(found, at_most=bound)
            last = page[-1].sequence if page else after
            more = "SELECT 1 FROM event WHERE sequence > ? LIMIT 1"
            return page, connection.execute(more, (last,)).fetchone() is not None

        return await self._database.query(read)

    def default_provider(self, cluster: ClusterName | None = None) -> ProviderRow | None:
        """The default provider of the cluster if it has one, else vCenter's (STD-02)."""
        row = None if cluster is None else self.clusters.get(cluster)
        if row is not None and row.default_provider in self.providers:
            return self.providers[row.default_provider]
        return next((row for row in self.providers.values() if row.default), None)

    def host_key_provider(
        self, cluster: ClusterName, fallback: ProviderId | None = None
    ) -> ProviderId | None:
        """The provider of the cluster's host keys: the one in its policy, existing or not (HEM-05),
        else the default, else ``fallback``."""
        row = self.clusters.get(cluster)
        if row is not None and row.policy.provider is not None:
            return row.policy.provider
        default = self.default_provider(cluster)
        return fallback if default is None else default.name

    def is_forgotten(self, key: CryptoKeyId) -> bool:
        """Whether the key was removed by force, and not added again since."""
        return key in self.index.forgotten

    def management_types(self) -> Mapping[ProviderId, ManagementType]:
        """The type of each provider by name; a missing name is no provider (any more)."""
        return self.index.management_types

    def lock_types(self) -> Mapping[ProviderId, ManagementType]:
        """As ``management_types``, with the types of deleted providers, for events about their
        keys."""
        if not self.deleted:
            return self.index.management_types
        gone = {name: row.management_type for name, row in self.deleted.items()}
        return {**gone, **self.index.management_types}

    def hosts_of(self, cluster: ClusterName) -> list[HostRow]:
        return [self.hosts[name] for name in self.index.hosts_of.names(cluster)]

    def keys_released_on(self, host: NodeName) -> tuple[CryptoKeyId, ...]:
        """Keys that the host must drop (STD-17), in order of their release."""
        return tuple(self.released[name].key for name in self.index.released_on.names(host))

    def vms_on(self, host: NodeName) -> list[VmRow]:
        return [self.vms[name] for name in self.index.vms_on.names(host)]

    def holds_keys(self, cluster: ClusterName) -> bool:
        """Whether the cluster has an encrypted VM (HEM-02)."""
        return self.index.encrypted_vms_of.count(cluster) > 0

    def wants_safe(self, row: HostRow) -> bool:
        """Whether vCenter keeps this host safe without a request (HEM-02, HEM-05)."""
        cluster = self.clusters.get(row.cluster)
        return should_be_safe(
            CryptoMode.ON_DEMAND if cluster is None else cluster.crypto_mode,
            holds_keys=self.holds_keys(row.cluster),
            kept_off=row.kept_off,
        )

    def keys_of(self, cluster: ClusterName) -> tuple[CryptoKeyId, ...]:
        """Keys of all encrypted VMs of the cluster, each once, in order of the VMs (STD-12)."""
        return self.index.keys_of(cluster)

    def is_granted(self, cluster: ClusterName, key: CryptoKeyId) -> bool:
        """Whether the hosts of the cluster may be given the key (C28)."""
        return any(row.cluster == cluster and not row.ended for row in self._grants_of(key))

    def belongs_to_others(self, cluster: ClusterName, vm: VmName, key: CryptoKeyId) -> bool:
        """Whether the key is known not to belong to this VM, if that is in this cluster (C28).

        It is a host key or a vSAN key, which no VM has: unregistering such a VM would take the key
        from the hosts of the cluster. Or it was given only to other VMs, and to none in this
        cluster that still has it.
        """
        index = self.index
        if any(of.names(key) for of in (index.hosts_with, index.clusters_with, index.vsans_with)):
            return True
        rows = self._grants_of(key)
        return bool(rows) and not any(
            row.vm == vm or (row.cluster == cluster and not row.ended) for row in rows
        )

    def _grants_of(self, key: CryptoKeyId) -> list[GrantRow]:
        return [self.grants[name] for name in self.index.grants_of.names(key)]


_Outcome = tuple[DatabaseTable, str, TableRow | None]


def _apply(connection: sqlite3.Connection, edit: Edit | DropVmsOf) -> list[_Outcome]:
    if isinstance(edit, DropVmsOf):
        names = _vms_on(connection, edit.host)
        return [_write(connection, DatabaseTable.VM, name, None) for name in names]
    if edit.of_host is not None:
        host = _read(connection, DatabaseTable.HOST, edit.of_host, HostRow)
        if host is None:
            return []
    row = edit.change(_read(connection, edit.table, edit.name, ROW_OF[edit.table]))
    return [_write(connection, edit.table, edit.name, row)]


def _write(
    connection: sqlite3.Connection, table: DatabaseTable, name: str, row: TableRow | None
) -> _Outcome:
    # Table names come from an enumeration, never from outside.
    select = f"SELECT body FROM {table} WHERE name = ?"  # noqa: S608
    before = connection.execute(select, (name,)).fetchone()
    changed = 0 if before is None else _digest(table, name, before[0])
    if row is None:
        connection.execute(f"DELETE FROM {table} WHERE name = ?", (name,))  # noqa: S608
    else:
        text = encode_row(f"{table}/{name}", row)
        connection.execute(
            f"INSERT INTO {table} (name, body) VALUES (?, ?) "  # noqa: S608
            "ON CONFLICT (name) DO UPDATE SET body = excluded.body",
            (name, text),
        )
        changed ^= _digest(table, name, text)
    _reseal(connection, changed)
    return table, name, row


def _append(connection: sqlite3.Connection, draft: EventDraft, at: float) -> VcEvent:
    cursor = connection.execute(
        "INSERT INTO event (at, body) VALUES (?, ?)", (at, encode_row(f"event/{at!r}", draft))
    )
    return draft.with_sequence(cursor.lastrowid or 0, at)


def _draft(at: float, body: str) -> EventDraft:
    return decode_row(f"event/{at!r}", body, EventDraft)


def _read(
    connection: sqlite3.Connection, table: DatabaseTable, name: str, kind: type[X]
) -> X | None:
    found = connection.execute(
        f"SELECT body FROM {table} WHERE name = ?",  # noqa: S608
        (name,),
    ).fetchone()
    return None if found is None else decode_row(f"{table}/{name}", found[0], kind)


def _read_table(connection: sqlite3.Connection, table: DatabaseTable) -> list[TableRow]:
    select = f"SELECT name, body FROM {table} ORDER BY position"  # noqa: S608
    rows = connection.execute(select)
    return [decode_row(f"{table}/{name}", body, ROW_OF[table]) for name, body in rows]


def _vms_on(connection: sqlite3.Connection, host: NodeName) -> list[VmName]:
    """The VMs of that host. The database skips rows without its name, so that only few rows are
    decoded."""
    named = '"host":' + msgspec.json.encode(host).decode()
    select = f"SELECT name, body FROM {DatabaseTable.VM} WHERE instr(body, ?) ORDER BY position"  # noqa: S608
    rows = [
        decode_row(f"{DatabaseTable.VM}/{name}", body, VmRow)
        for name, body in connection.execute(select, (named,))
    ]
    return [row.name for row in rows if row.host == host]


def _read_all(connection: sqlite3.Connection) -> list[tuple[DatabaseTable, TableRow]]:
    """All rows of the view; ``OSError`` when they are not the ones written last."""
    sealed, total = _read_seal(connection), _total(connection)
    if sealed is not None and sealed != total:
        text = "the inventory is damaged: its rows are not those that were written last"
        raise OSError(errno.EIO, text)
    return [
        (table, row)
        for table in DatabaseTable
        if table is not DatabaseTable.OPERATION
        for row in _read_table(connection, table)
    ]


# ---- the seal ------------------------------------------------------------------------------------
# The exclusive or of a digest of every row, written in the transaction that writes the rows. The
# checksum in a row cannot show that the row is an old one, as after a lost write of a page.

_SEAL_BYTES: Final = 16


def _digest(table: DatabaseTable, name: str, text: str) -> int:
    content = f"{table}/{name}|{text}".encode()
    return int.from_bytes(hashlib.blake2b(content, digest_size=_SEAL_BYTES).digest())


def _read_seal(connection: sqlite3.Connection) -> int | None:
    """The seal; None in a database from before there were seals."""
    found = connection.execute("SELECT total FROM seal").fetchone()
    return None if found is None else int.from_bytes(found[0])


def _reseal(connection: sqlite3.Connection, changed: int) -> None:
    """Update the seal by ``changed``, the digests of removed and added rows."""
    sealed = _read_seal(connection)
    total = _total(connection) if sealed is None else sealed ^ changed
    connection.execute("INSERT OR REPLACE INTO seal VALUES (1, ?)", (total.to_bytes(_SEAL_BYTES),))


def _total(connection: sqlite3.Connection) -> int:
    """The seal that the present rows should have."""
    total = 0
    for table in DatabaseTable:
        for name, text in connection.execute(f"SELECT name, body FROM {table}"):  # noqa: S608
            total ^= _digest(table, name, text)
    return total


# ---- rows ----------------------------------------------------------------------------------------
# A row as text in the database: a checksum over its place and its content, then its JSON.
# SQLite has no checksum over the content of a page, so a flipped bit would go unnoticed.

AnyRow = TypeVar("AnyRow", bound=msgspec.Struct)

_CHECK: Final = 8  # hexadecimal digits of a CRC-32


def encode_row(place: str, row: msgspec.Struct) -> str:
    """The text of ``row`` at ``place`` (its table and name, or an event's time)."""
    body = msgspec.json.encode(row).decode()
    return _check(place, body) + body


def decode_row(place: str, text: str, kind: type[AnyRow]) -> AnyRow:
    """The row; ``OSError`` when the text is not as it was written for this place."""
    check, body = text[:_CHECK], text[_CHECK:]
    if check == _check(place, body):
        row: AnyRow = _decoder(kind).decode(body)
        return row
    raise OSError(errno.EIO, f"the inventory's row {place} was damaged")


@cache
def _decoder(kind: type[AnyRow]) -> msgspec.json.Decoder[AnyRow]:
    return msgspec.json.Decoder(kind)


def _check(place: str, body: str) -> str:
    return f"{zlib.crc32(f'{place}|{body}'.encode()):08x}"
