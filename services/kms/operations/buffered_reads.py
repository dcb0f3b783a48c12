"""Messages that only read, when the server's audit is ``buffered``: they are answered before their
rows of the trail are in the database (decision 62).

Keys come from memory or from a query, never from a transaction, so that no message waits for the
disk. A crash may lose the rows of the last ``audit_buffer_s`` seconds. They are written with the
next transaction, or in one of their own after that time. While the disk refuses rows, too many
wait, or a key is being changed, a message is handled as with ``durable`` audit: its rows are
committed before its answer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

from protocol.errors import CryptographicFailure, GeneralFailure
from protocol.terms import KeyId
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit.audit_trail import Appending, AuditEntry
from services.kms.audit.deferred_rows import Allowance, Changes, Page, Refusals, TrailDraft
from services.kms.commit import store
from services.kms.commit.group_commit import Commits, DoneMessage
from services.kms.commit.key_cache import NOWHERE, NotKept
from services.kms.objects import request_types
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import CoreOperation, CoreRequest, GotKey
from services.kms.operations import execution
from services.kms.sealing.vault import Vault
from services.kms.settings.knobs import KmsNode
from services.runtime.ports import Clock, Database

T = TypeVar("T")

MANY: Final = 200
"""With so many waiting rows they are written first; no message is answered meanwhile."""

Rows = dict[KeyId, StoredKeyRow]
SHORT: Final = 16
"""Items, or keys, of a message for which others may wait."""

Run = Callable[[sqlite3.Connection, Appending, Allowance, Rows], DoneMessage[T]]
"""Executes a message with these rows; adds those that it looks up."""


class Readings:
    """The reads of one life of a key server."""

    def __init__(
        self,
        node: KmsNode,
        database: Database,
        vault: Vault,
        clock: Clock,
        commits: Commits,
        refusals: Refusals,
    ) -> None:
        self._node, self._database, self._vault, self._clock = node, database, vault, clock
        self._commits, self._refusals, self._kept = commits, refusals, commits.kept
        self._writing = self._hurrying = False

    async def read(
        self, caller: KeyServerCaller, requests: Sequence[CoreRequest[Any]], run: Run[T]
    ) -> DoneMessage[T] | None:
        """The outcome of the message; None when it needs a transaction, and nothing happened.

        Raises the errors of ``run`` and of the database.
        """
        key_ids = _keys_named_by(requests)
        if key_ids is None or self._commits.unwritten.full:
            return None
        allowance = self._refusals.allowance(caller.who)
        done, draft = None, TrailDraft()
        try:
            rows = self._kept.rows(key_ids)
            if rows is not None:
                done = _at_hand(run, draft, allowance, rows)
            if done is None:
                draft = TrailDraft()
                done = await self._try_read(key_ids, draft, allowance, run)
        except Changes:  # the first Get of a key, or a date that has come, changes the key
            done = None
        except BaseException:
            self._refusals.put_back(allowance.due)
            raise
        if done is None:
            self._refusals.put_back(allowance.due)
            return None
        self._refusals.record_use(
            caller.who, allowance, done.written.refusals, done.written.left_out
        )
        self._add(draft.pages)
        return done

    def at_once(self, caller: KeyServerCaller, key_id: KeyId) -> GotKey | None:
        """The outcome of ``read`` for a Get of this key in clear, when that changes nothing and its
        row is cached; None, and nothing happened, otherwise."""
        row, at = self._kept.row(key_id), self._clock.now()
        if row is None or self._commits.unwritten.full or not execution.is_plain(caller, row, at):
            return None
        try:
            material = store.material(self._vault, row)
        except CryptographicFailure:
            return None
        entry = AuditEntry(caller.who, row.scope, CoreOperation.GET, key_id)
        self._add([Page(at, (entry,))])
        return execution.build_got_key(row, material)

    async def _try_read(
        self, key_ids: Collection[KeyId], draft: TrailDraft, allowance: Allowance, run: Run[T]
    ) -> DoneMessage[T] | None:
        """The outcome with the present database; None when a change of the keys is in progress."""
        look, rows, still = self._kept.look(key_ids), Rows(), False
        try:
            if look.spoilt:
                return None
            done = await self._database.query(
                lambda connection: run(connection, draft, allowance, rows),
                long=len(key_ids) > SHORT,
            )
        finally:
            still = self._kept.looked(look, rows)
        return done if still and not self._commits.unwritten.full else None

    def _add(self, pages: Sequence[Page]) -> None:
        if pages:
            self._commits.unwritten.add(pages)
            if not self._writing:
                self._writing = True
                self._node.background("kms.audit", self._write())
            if not self._hurrying and self._commits.unwritten.rows >= MANY:
                self._hurrying = True
                self._node.background("kms.audit", self._hurry())

    async def flush(self) -> None:
        """Return when all waiting rows are durable; ``OSError`` when the disk refuses."""
        await self._commits.write_waiting()

    async def _hurry(self) -> None:
        """Write the waiting rows. ``_write`` reports a refusal of the disk, and tries again."""
        try:
            with suppress(OSError, GeneralFailure):
                await self.flush()
        finally:
            self._hurrying = False

    async def _write(self) -> None:
        """Write until no row waits. A refusal of the disk is reported once, and tried again."""
        reported = False
        try:
            while self._commits.unwritten.rows:
                await self._clock.sleep(self._node.knobs.audit_buffer_s)
                try:
                    await self.flush()
                except (OSError, GeneralFailure) as error:
                    if not reported:
                        self._node.record("kms.audit_waits", level="error", text=str(error))
                    reported = True
        finally:
            self._writing = False


def is_long(requests: Sequence[CoreRequest[Any]]) -> bool:
    """Whether a reading message is so long that no other message may wait for it; it is still one
    lookup in the store."""
    return len(requests) > SHORT or len(_keys_named_by(requests) or ()) > SHORT


def _at_hand(
    run: Run[T], draft: TrailDraft, allowance: Allowance, rows: Rows
) -> DoneMessage[T] | None:
    """The outcome without a database; None when it needs one."""
    try:
        return run(NOWHERE, draft, allowance, rows)
    except NotKept:
        return None


def _keys_named_by(requests: Sequence[CoreRequest[Any]]) -> set[KeyId] | None:
    """The keys that these requests name; None when they may read others."""
    found: set[KeyId] = set()
    for request in requests:
        if request.needs_placeholder:
            return None
        match request:
            case request_types.Get():
                found.update(request.unique_identifiers or ())
                if request.wrapping is not None:
                    found.add(request.wrapping.key_id)
            case request_types.GetObjectAttributes():
                found.update(request.unique_identifiers or ())
            case request_types.ObjectRequest():
                found.add(request.unique_identifier or KeyId(""))
            case request_types.DiscoverServerVersions() | request_types.Query():
                pass
            case _:
                return None
    return found
