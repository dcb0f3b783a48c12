"""The changes of one message: drafts of rows and of the trail, written at its end.

A key that is created, activated and fetched in one message is one row written once, and its three
entries of the trail are appended together. When the message fails, its drafts are dropped.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from protocol.errors import CryptographicFailure, ProductError
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, NodeName, ResultReason
from services.kms.access import authorization
from services.kms.access.authorization import KeyServerCaller
from services.kms.access.rejections import Judging
from services.kms.audit.audit_trail import Appending, AuditEntry, TrailEnd
from services.kms.audit.deferred_rows import OWN_ROWS, Allowance
from services.kms.commit import store
from services.kms.objects import attributes
from services.kms.objects.key_row import StoredKeyRow, as_at
from services.kms.objects.request_types import CoreOperation, ObjectRequest
from services.kms.sealing.vault import Vault

_OF_ALL: Final = (
    ResultReason.GENERAL_FAILURE,
    ResultReason.OPERATION_NOT_SUPPORTED,
    ResultReason.PERMISSION_DENIED,
)
"""Reasons that say nothing about a single key."""


class KeyChange(NamedTuple):
    """A key as row ``changed`` of the trail left it."""

    key_id: KeyId
    changed: int


QueueChanges = Callable[[sqlite3.Connection, Sequence[KeyChange], float], tuple[KeyChange, ...]]
"""Queues changes made at a time (Unix seconds) for other servers, in their transaction; returns
those that must be confirmed before the answer."""


class Refusal(Exception):
    """The message ends here with ``error``; ``scope`` is the scope that may read of it in the
    trail."""

    def __init__(self, error: ProductError, scope: str) -> None:
        super().__init__(str(error))
        self.error, self.scope = error, scope


class FreshKey(msgspec.Struct, frozen=True):
    """A key that is made but not yet written: its row, and its material in clear. ``unheard``: no
    earlier operation can have made it, because its id, which is new, names its operation too."""

    row: StoredKeyRow
    secret: KeyMaterial
    unheard: bool = False


class Written(msgspec.Struct, frozen=True):
    """What a message has written; witnesses decide by it.

    ``end`` of the trail, None when nothing was written. ``changed``: whether a key was written, and
    not only the trail. ``served``: whether a key has lost its freshness; a restored earlier state
    without that harms no client. ``changes`` are for the other server of the pair, none when it is
    marked as down or does not exist. ``refusals`` that have a row, and those that were
    ``left_out``. ``keys`` whose rows have changed. ``anchored``: whether the anchor must have it
    before the answer whatever the server's audit is.
    """

    end: TrailEnd | None = None
    changed: bool = False
    changes: tuple[KeyChange, ...] = ()
    refusals: int = 0
    left_out: tuple[AuditEntry, ...] = ()
    served: bool = False
    keys: tuple[KeyId, ...] = ()
    anchored: bool = False


def combine(writes: Sequence[Written]) -> Written:
    """The combination of several, one after another in one transaction."""
    if len(writes) == 1:
        return writes[0]
    ends = [written.end for written in writes if written.end is not None]
    return Written(
        ends[-1] if ends else None,
        any(written.changed for written in writes),
        tuple([change for written in writes for change in written.changes]),
        served=any(written.served for written in writes),
        anchored=any(written.anchored for written in writes),
    )


class WorkMark(NamedTuple):
    """The drafts of a ``Work`` at some moment."""

    entries: list[AuditEntry]
    rows: dict[KeyId, StoredKeyRow]
    changed: dict[KeyId, int]
    fresh: dict[KeyId, FreshKey]
    new: dict[KeyId, None]
    waiting: dict[KeyId, None]
    served: dict[KeyId, StoredKeyRow]
    left_out: list[AuditEntry]
    refusals: int
    placeholder: KeyId
    repeated: bool


START: Final = WorkMark([], {}, {}, {}, {}, {}, {}, [], 0, KeyId(""), repeated=False)
"""No drafts: how each work begins."""


class Work:
    """One message inside of its transaction; ``at`` is the server's time, in Unix seconds.

    ``trail`` is the transaction's. ``fresh`` are the keys that its Creates may take, in order.
    ``kept``: rows that are known already; rows that it looks up are added. ``allowance``: the
    refusals that it may write. ``queue_changes``: for other servers, if there are any. ``server``
    stamps attributes. ``judging``: the server's rejections. ``placeholder`` is KMIP's ID
    Placeholder; ``repeated``: the Create that set it had made its key before.

    A key that is reported in a state set by a date is written in that state, whatever becomes of
    the message: no state leads back (KMIP 1.4 section 3.22), even if the clock is set back.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        vault: Vault,
        caller: KeyServerCaller,
        at: float,
        trail: Appending,
        fresh: Iterable[FreshKey] = (),
        allowance: Allowance = OWN_ROWS,
        *,
        server: NodeName,
        queue_changes: QueueChanges | None,
        kept: dict[KeyId, StoredKeyRow] | None = None,
        judging: Judging | None = None,
    ) -> None:
        self.connection, self.vault = connection, vault
        self.caller, self.at, self.server = caller, at, server
        self.fresh = iter(fresh)
        self.placeholder = KeyId("")
        self.repeated = False
        self.trail = trail
        self.kept = {} if kept is None else kept
        self._entries: list[AuditEntry] = []
        self._rows: dict[KeyId, StoredKeyRow] = {}
        self._changed: dict[KeyId, int] = {}
        self._fresh: dict[KeyId, FreshKey] = {}
        self._new: dict[KeyId, None] = {}
        self._waiting: dict[KeyId, None] = {}
        self._allowance, self._queue_changes, self._judging = allowance, queue_changes, judging
        self._refusals = 0
        self._left_out: list[AuditEntry] = []
        self._served: dict[KeyId, StoredKeyRow] = {}
        self._reached: dict[KeyId, StoredKeyRow] = {}

    def anew(self) -> Work:
        """The message as it began, without its drafts."""
        work = Work(
            self.connection,
            self.vault,
            self.caller,
            self.at,
            self.trail,
            allowance=self._allowance,
            server=self.server,
            queue_changes=self._queue_changes,
            kept=self.kept,
        )
        work._reached = self._reached
        return work

    def find(self, key_id: KeyId) -> StoredKeyRow | None:
        """The key after the drafts of this message, with its dates applied;
        ``CryptographicFailure`` for an altered row."""
        row = self.find_stored(key_id)
        return None if row is None else self._with_dates(row)

    def find_stored(self, key_id: KeyId) -> StoredKeyRow | None:
        """The key after the drafts of this message, without applying its dates; otherwise as
        ``find``."""
        row = self._rows.get(key_id) or self.kept.get(key_id)
        if row is None:
            row = store.find(self.connection, self.vault, key_id)
            if row is not None:
                self.kept[key_id] = row
        return row

    def before(self, key_id: KeyId) -> StoredKeyRow | None:
        """The key before this message; None when it did not exist."""
        return None if key_id in self._new else store.find(self.connection, self.vault, key_id)

    def object(self, request: ObjectRequest[Any]) -> StoredKeyRow:
        """The key of a request; ``Refusal`` when the caller may not do that to it."""
        named = request.unique_identifier
        row = self.find(self.placeholder if named is None else named)
        if row is None:
            raise Refusal(authorization.absent(self.caller), self.caller.scope)
        refused = authorization.refuse_key(self.caller, request.operation, row)
        if refused is not None:
            raise self.refusal(refused, row)
        self.judge(request.operation, row)
        return row

    def judge(
        self, operation: CoreOperation, row: StoredKeyRow | None = None, *, listed: bool = False
    ) -> None:
        """``Refusal`` when the server rejects this operation on that key, or on a new one.

        ``listed``: the request was for a list of keys. A rejection of this key alone is then
        reported as the error of one key, or the caller would take the server for one that gives out
        no keys, or does not trust it.
        """
        judging = self._judging
        error = judging and judging.of(operation, None if row is None else row.key_id)
        if judging and error:
            if listed and row is not None and judging.of_some and error.reason in _OF_ALL:
                error = CryptographicFailure(f"key {row.key_id}: {error}")
            raise Refusal(error, self.caller.scope if row is None else row.scope)

    def refusal(self, error: ProductError, row: StoredKeyRow) -> Refusal:
        """The refusal of a request about this key."""
        return Refusal(error, row.scope if self.caller.sees(row) else self.caller.scope)

    def drafts(self) -> Mapping[KeyId, StoredKeyRow]:
        """Keys that this message has made or changed, as they will be written."""
        return self._rows

    def find_created(self, made: FreshKey) -> StoredKeyRow | None:
        """The key that this operation has made, in this message or before, in place of the one that
        was ``made`` for it now."""
        if made.unheard:
            return None
        scope, operation_id = made.row.scope, made.row.operation_id
        for key_id, fresh in self._fresh.items():
            if fresh.row.operation_id == operation_id:
                return as_at(self._rows[key_id], self.at)
        row = store.find_created(self.connection, self.vault, scope, operation_id)
        return None if row is None else self._with_dates(row)

    def _with_dates(self, row: StoredKeyRow) -> StoredKeyRow:
        now = as_at(row, self.at)
        if now is not row and row.key_id not in self._rows:
            self._reached[row.key_id] = now
        return now

    def material(self, row: StoredKeyRow) -> KeyMaterial | None:
        """The key itself, None once destroyed; ``CryptographicFailure`` if it does not unwrap."""
        if row.wrapped is not None and row.key_id in self._fresh:
            return self._fresh[row.key_id].secret
        return store.material(self.vault, row)

    def insert(self, fresh: FreshKey, operation: CoreOperation) -> None:
        """Draft a new key that ``operation`` has made, with its entry of the trail."""
        self._fresh[fresh.row.key_id] = fresh
        self._new[fresh.row.key_id] = None
        self.update(fresh.row, operation)

    def update(self, row: StoredKeyRow, operation: CoreOperation) -> None:
        """Draft a key changed by ``operation``, with its entry of the trail; the peer has to learn
        it."""
        self.take(as_at(row, self.at), operation)
        self._waiting[row.key_id] = None

    def serve(self, row: StoredKeyRow) -> None:
        """The key's material leaves with the answer, so the key is not fresh any more."""
        unheard = row.key_id in self._fresh
        served = attributes.mark_served(row, self.at, self.server, unheard=unheard)
        if served is row:
            return
        if unheard:
            self._rows[row.key_id] = served
            return
        if row.key_id not in self._rows and row.key_id not in self._reached:
            self._served[row.key_id] = served
        self.update(served, CoreOperation.SERVE)

    def take(self, row: StoredKeyRow, operation: CoreOperation, *, new: bool = False) -> None:
        """Draft a row of the peer, with its entry of the trail; ``new``: this server has none
        yet."""
        if new:
            self._new[row.key_id] = None
        self._rows[row.key_id] = row
        self._changed[row.key_id] = self.note(operation, row.key_id, row.scope)

    def replicate(self, row: StoredKeyRow) -> None:
        """The peer has to learn the key as it is here."""
        self._changed.setdefault(row.key_id, row.changed)
        self._waiting[row.key_id] = None

    def mark(self) -> WorkMark:
        """The present drafts, for ``back_to``."""
        return WorkMark(
            list(self._entries),
            dict(self._rows),
            dict(self._changed),
            dict(self._fresh),
            dict(self._new),
            dict(self._waiting),
            dict(self._served),
            list(self._left_out),
            self._refusals,
            self.placeholder,
            self.repeated,
        )

    def back_to(self, mark: WorkMark) -> None:
        """Drop all drafts since ``mark``, but keep which fresh keys were taken."""
        self._entries, self._left_out = list(mark.entries), list(mark.left_out)
        self._rows, self._changed = dict(mark.rows), dict(mark.changed)
        self._fresh, self._new = dict(mark.fresh), dict(mark.new)
        self._waiting, self._served = dict(mark.waiting), dict(mark.served)
        self._refusals = mark.refusals
        self.placeholder, self.repeated = mark.placeholder, mark.repeated

    def note(
        self, operation: CoreOperation, key_id: str, scope: str, reason: ResultReason | None = None
    ) -> int:
        """Draft an entry of the trail (``reason`` None: it succeeded) and return its number.

        0 for a refusal that is only counted.
        """
        entry = AuditEntry(self.caller.who, scope, operation, key_id, reason)
        if reason is None:
            return self._draft(entry)
        if self._refusals >= self._allowance.rows:
            self._left_out.append(entry)
            return 0
        for due in self._allowance.due if not self._refusals else ():
            self._draft(due)
        self._refusals += 1
        return self._draft(entry)

    def _draft(self, entry: AuditEntry) -> int:
        self._entries.append(entry)
        return self.trail.end().sequence + len(self._entries)

    def write(self) -> Written:
        """Write the rows of keys, and append the entries to the trail, which writes them at its
        end."""
        self._write_dates()
        if self._rows:
            self.trail.changing()
        for key_id, row in self._rows.items():
            put = store.insert if key_id in self._new else store.update
            changed = self._changed[key_id]
            put(self.connection, self.vault, msgspec.structs.replace(row, changed=changed))
        end = self.trail.append(self.at, self._entries) if self._entries else None
        served = self._served
        changed = any([row is not served.get(key_id) for key_id, row in self._rows.items()])
        return Written(
            end,
            changed,
            self._queue_waiting(),
            self._refusals,
            tuple(self._left_out),
            bool(self._served),
            tuple(self._rows),
        )

    def _write_dates(self) -> None:
        """Draft state changes by dates that nothing else of the message writes."""
        for key_id, row in self._reached.items():
            if key_id not in self._rows:
                self._rows[key_id] = row
                entry = AuditEntry(self.server, row.scope, CoreOperation.DATE_REACHED, key_id)
                self._changed[key_id] = self._draft(entry)
                self._waiting[key_id] = None

    def _queue_waiting(self) -> tuple[KeyChange, ...]:
        """Queue the changes for the peer; returns those that it must confirm before the answer."""
        if self._queue_changes is None or not self._waiting:
            return ()
        changes = tuple([KeyChange(key_id, self._changed[key_id]) for key_id in self._waiting])
        return self._queue_changes(self.connection, changes, self.at)
