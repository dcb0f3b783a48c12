"""A change of state and the event that tells of it are in one commit, in whatever story.

Every commit of vCenter's database is compared with the one before: what changed in the rows must
be told by events that came with the same commit, and the other way round. A crash between two
commits would lose one of them.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, cast

from protocol.events import EventTypeId as E
from protocol.terms import KmipState
from services.runtime.ports import Database, Disk, Ports
from services.vcenter.events import EventDraft
from services.vcenter.inventory import decode_row
from services.vcenter.tables import (
    ROW_OF,
    ClusterRow,
    DatabaseTable,
    HostRow,
    TableRow,
    VmRow,
)
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, Rig

T = TypeVar("T")

LOCKS = [event.value for event in E if ".VMLocked." in event.value]
NEW_KEYS = [E.HOST_NEW_KEY_KEY_MISSING_ON_KMS.value, E.HOST_NEW_KEY_KMS_CLUSTER_ERROR.value]


@dataclass
class Commits:
    """What each commit changed and told; ``apart`` are those where the two differ."""

    rows: dict[tuple[DatabaseTable, str], TableRow] = field(default_factory=dict)
    last: int = 0
    told: Counter[str] = field(default_factory=Counter)
    apart: list[str] = field(default_factory=list)

    def look(self, connection: sqlite3.Connection) -> None:
        before, self.rows = self.rows, {}
        for table in (DatabaseTable.VM, DatabaseTable.HOST, DatabaseTable.CLUSTER):
            for name, body in connection.execute(f"SELECT name, body FROM {table}"):  # noqa: S608
                self.rows[table, name] = decode_row(f"{table}/{name}", body, ROW_OF[table])
        found = connection.execute(
            "SELECT sequence, at, body FROM event WHERE sequence > ? ORDER BY sequence",
            (self.last,),
        ).fetchall()
        self.last = found[-1][0] if found else self.last
        events = [decode_row(f"event/{at!r}", body, EventDraft) for _, at, body in found]
        wanted = sorted(self._changes(before))
        tellers = (*LOCKS, *NEW_KEYS, E.VM_UNLOCKED.value, E.CRYPTO_OPERATION.value)
        got = sorted(
            (event.event.value, str(event.vm or "")) for event in events if event.event in tellers
        )
        self.told.update(event for event, _ in got)
        if [kind for kind, _ in wanted] != [kind for kind, _ in got] or not all(
            vm in ("", told) for (_, vm), (_, told) in zip(wanted, got, strict=True)
        ):
            self.apart.append(f"changed: {wanted}; told: {got}")

    def _changes(self, before: dict[tuple[DatabaseTable, str], TableRow]) -> list[tuple[str, str]]:
        """Events that the changes of rows need, each with its VM."""
        needed: list[tuple[str, str]] = []
        for place, row in self.rows.items():
            old = before.get(place)
            match row:
                case VmRow():
                    was = old if isinstance(old, VmRow) else None
                    if row.lock_event != (was and was.lock_event):
                        needed.append(((row.lock_event or E.VM_UNLOCKED).value, row.name))
                    if was and row.keys and not was.keys:
                        needed.append((E.CRYPTO_OPERATION.value, row.name))
                case HostRow() | ClusterRow():
                    known = old.host_key if isinstance(old, HostRow | ClusterRow) else None
                    if known and row.host_key != known:
                        needed.append((NEW_KEYS[0], ""))
        return needed


class _Disk:
    def __init__(self, inner: Disk, commits: Commits) -> None:
        self._inner, self._commits = inner, commits

    async def read(self, path: str) -> bytes:
        return await self._inner.read(path)

    async def database(self, name: str, schema: Sequence[str] = (), **how: Any) -> Database:
        inner = await self._inner.database(name, schema, **how)
        return cast(Database, _Database(inner, self._commits))


class _Database:
    """Each call has a commit of its own, and is looked at before the next."""

    def __init__(self, inner: Database, commits: Commits) -> None:
        self._inner, self._commits = inner, commits

    async def transact(
        self, fn: Callable[[sqlite3.Connection], T], applied: Callable[[T], None] | None = None
    ) -> T:
        def watched(connection: sqlite3.Connection) -> T:
            result = fn(connection)
            self._commits.look(connection)
            return result

        return await self._inner.transact(watched, applied)

    async def query(self, fn: Callable[[sqlite3.Connection], T], *, long: bool = False) -> T:
        return await self._inner.query(fn, long=long)


def test_what_changed_and_what_tells_of_it_are_one_commit() -> None:
    """Encrypted, locked for want of the server, unlocked, and a host key that was renewed."""
    rig, commits = Rig(), Commits()

    def around(ports: Ports) -> Ports:
        return replace(ports, disk=cast(Disk, _Disk(ports.disk, commits)))

    rig.wrap = around
    rig.reboot(VCENTER)
    rig.up(A, B)
    rig.vm()
    rig.cut((VCENTER, KMS))
    rig.reboot(A, "power_loss")
    rig.sleep(400)
    rig.heal()
    rig.sleep(700)
    host_key = rig.vcenter.inventory.clusters[CLUSTER].host_key
    assert host_key is not None
    rig.servers[KMS].set_state(host_key.key_id, KmipState.DESTROYED)
    rig.servers[KMS].set_state(rig.key_of(VM).key_id, KmipState.DESTROYED)
    rig.reboot(A, "power_loss")
    rig.sleep(400)
    assert commits.apart == []
    assert commits.told[E.CRYPTO_OPERATION.value] == 1
    assert commits.told[E.VM_LOCKED_KMS_CLUSTER_ERROR.value] == 1
    assert commits.told[E.VM_UNLOCKED.value] == 1
    assert commits.told[E.VM_LOCKED_KEY_MISSING_ON_KMS.value] == 1
    assert sum(commits.told[event] for event in NEW_KEYS) == 1
    rig.healthy()
    rig.close()
