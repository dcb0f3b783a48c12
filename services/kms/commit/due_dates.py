"""States that a date has changed, written when a message reports them (``states``, rule 9).

A Locate by state may report all keys whose date has come. More than ``AT_ONCE`` of them are written
before the message, in transactions of that size, so that other messages wait for at most one of
these.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from protocol.terms import KeyId
from services.kms.audit.audit_trail import AuditTrail
from services.kms.audit.refusal_counts import Allowance
from services.kms.commit import store
from services.kms.commit.group_commit import DoneMessage
from services.kms.commit.key_cache import Touched
from services.kms.commit.unit_of_work import Work
from services.runtime.ports import Database

_Run = Callable[[sqlite3.Connection, AuditTrail, Allowance], DoneMessage[None]]
Commit = Callable[[_Run, Touched], Awaitable[None]]
"""Writes the changes of a message, as ``KeyServerCore.commit``."""
BeginWork = Callable[[sqlite3.Connection, AuditTrail, Allowance], Work]
"""Begins the changes of one message, as ``KeyServerCore.begin_work``."""

AT_ONCE: Final = 200
"""Keys whose states one transaction writes."""


class DatesCome(Exception):
    """More keys of ``scope`` (None: all scopes) have changed their state by date than one message
    may write."""

    def __init__(self, scope: str | None) -> None:
        super().__init__(f"dates have come of more than {AT_ONCE} keys")
        self.scope = scope


def reach(work: Work, scope: str | None) -> None:
    """Let the message write each key of the scope whose date has come; ``DatesCome``."""
    reached = store.find_due_keys(work.connection, scope, work.at, AT_ONCE + 1)
    if len(reached) > AT_ONCE:
        raise DatesCome(scope)
    for key_id in reached:
        work.find(key_id)


async def write(
    database: Database, begin_work: BeginWork, commit: Commit, scope: str | None, at: float
) -> None:
    """Write the states of all keys of the scope as their dates define them at the time ``at``."""

    def look(connection: sqlite3.Connection) -> tuple[KeyId, ...]:
        return store.find_due_keys(connection, scope, at, AT_ONCE)

    def run(
        reached: Sequence[KeyId], connection: sqlite3.Connection, trail: AuditTrail, due: Allowance
    ) -> DoneMessage[None]:
        work = begin_work(connection, trail, due)
        for key_id in reached:
            work.find(key_id)
        return DoneMessage(None, work.write())

    while reached := await database.query(look):
        await commit(partial(run, reached), reached)
