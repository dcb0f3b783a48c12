"""What both drivers of a database share: rules for a service's SQL, and one shared commit.

- A service's function may not end the transaction, change pragmas or attach files. It may not call
  SQL functions that read the clock or draw random values: times come from the Clock port, random
  bytes from the Rng port, or a replay would differ. Functions that report what the connection did
  before are refused too, because each driver uses its connections differently.
- ``Writer.commit`` runs a group of functions in one transaction. When one of them fails, each runs
  in a savepoint of its own.
- A connection runs with ``synchronous=FULL``. Only a schema statement can change that (SQLite
  refuses it inside a transaction). The writer then keeps the last durable state, which a power
  loss restores.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import Any, Protocol

from services.runtime.incarnation import Incarnation, NodeDown

FORBIDDEN = (
    "changes",
    "current_date",
    "current_time",
    "current_timestamp",
    "date",
    "datetime",
    "julianday",
    "last_insert_rowid",
    "load_extension",
    "random",
    "randomblob",
    "strftime",
    "time",
    "timediff",
    "total_changes",
    "unixepoch",
)
SCHEMA_PRAGMAS = ("foreign_keys", "secure_delete", "synchronous")
FULL = 2  # PRAGMA synchronous: 0 OFF, 1 NORMAL, 2 FULL, 3 EXTRA
CACHED_STATEMENTS = 256

# Python caches statements by text, and the authorizer does not see a cached statement again. The
# comments in these texts keep them apart from a service's own statements.
_BEGIN = "BEGIN IMMEDIATE /* writer */"
_READ = "BEGIN DEFERRED /* reader */"
_SAVEPOINT = "SAVEPOINT keystead_entry"
_UNDO = "ROLLBACK TO keystead_entry"
_RELEASE = "RELEASE keystead_entry"
_COMMIT = "COMMIT /* writer */"
_ROLLBACK = "ROLLBACK /* writer */"


class SqlPhase(Enum):
    """Whose SQL a connection runs now."""

    OWN = "own"
    SCHEMA = "schema"
    WRITE = "write"
    READ = "read"


_READING = (
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_RECURSIVE,
)
_FRAMING = (
    sqlite3.SQLITE_TRANSACTION,
    sqlite3.SQLITE_SAVEPOINT,
    sqlite3.SQLITE_ATTACH,
    sqlite3.SQLITE_DETACH,
)


def is_allowed(phase: SqlPhase, action: int, first: str | None, second: str | None) -> bool:
    """Whether a statement prepared in ``phase`` may do ``action`` (SQLite's authorizer codes)."""
    if phase is SqlPhase.OWN:
        return True
    if action == sqlite3.SQLITE_FUNCTION:
        return (second or "").lower() not in FORBIDDEN
    if action == sqlite3.SQLITE_PRAGMA:
        return phase is SqlPhase.SCHEMA and (first or "").lower() in SCHEMA_PRAGMAS
    if phase is SqlPhase.READ:
        return action in _READING
    return action not in _FRAMING


_AS_ERRNO = {
    sqlite3.SQLITE_FULL: errno.ENOSPC,
    sqlite3.SQLITE_IOERR: errno.EIO,
    sqlite3.SQLITE_CANTOPEN: errno.EIO,
    sqlite3.SQLITE_READONLY: errno.EROFS,
}
_LOCKED = "the database is locked by another process"
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NO_TEXT = "Could not decode to UTF-8"  # Python's own error, without a code


def os_error_of(error: BaseException, file: str = "") -> BaseException:
    """SQLite's error for a failing device, as the OSError of every other call of Disk.

    ``file`` is the database's name, for the text. ``SHMSIZE``: the index of the log cannot grow,
    there is no room; the database is intact. A damaged file gives ``EIO``, as from a device. A
    database that another process holds gives ``EBUSY``: only its node uses it, so that is
    temporary.
    """
    if not isinstance(error, sqlite3.Error):
        return error
    code = getattr(error, "sqlite_errorcode", None)
    if code is None and str(error).startswith(_NO_TEXT):
        return OSError(errno.EIO, "the database is damaged (a text in it is none)", file or None)
    if code is None:
        return error
    if code & 0xFF == sqlite3.SQLITE_BUSY:
        return OSError(errno.EBUSY, _LOCKED, file or None)
    number = errno.ENOSPC if code == sqlite3.SQLITE_IOERR_SHMSIZE else _AS_ERRNO.get(code & 0xFF)
    if code & 0xFF in _DAMAGED:
        return OSError(errno.EIO, f"the database is damaged ({error})", file or None)
    return error if number is None else OSError(number, os.strerror(number), file or None)


def check_integrity(connection: sqlite3.Connection, database: str) -> None:
    """``OSError`` when a table or an index is damaged."""
    try:
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        raise os_error_of(error, database) from None
    if found != "ok":
        raise OSError(errno.EIO, f"the database is damaged ({found})", database)


class Transaction:
    """One call of ``transact`` in progress: what to run, and its outcome."""

    __slots__ = ("applied", "done", "error", "fn", "value", "withdrawn")

    def __init__(
        self, fn: Callable[[sqlite3.Connection], Any], applied: Callable[[Any], None] | None
    ) -> None:
        self.fn, self.applied = fn, applied
        self.done = False
        self.withdrawn = False  # its caller gave up before the writer began
        self.value: Any = None
        self.error: BaseException | None = None

    def announce(self) -> None:
        """Call ``applied``; on the loop, in commit order. Its failure is the caller's."""
        if self.error is None and self.applied is not None:
            try:
                self.applied(self.value)
            except Exception as error:
                self.error = error

    def outcome(self) -> Any:
        """What ``fn`` returned; raises what it or the commit raised."""
        if self.error is not None:
            raise self.error
        return self.value


class SqlReader:
    """A guarded connection of one life. Synchronous; one thread at a time uses it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._phase = SqlPhase.OWN
        for name in FORBIDDEN:  # the authorizer does not see the DEFAULT of a column
            connection.create_function(name, -1, _refuse)
        connection.set_authorizer(self._authorize)

    def _authorize(
        self, action: int, first: str | None, second: str | None, _db: str | None, _by: str | None
    ) -> int:
        if is_allowed(self._phase, action, first, second):
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    @contextmanager
    def _in_phase(self, phase: SqlPhase) -> Iterator[None]:
        self._phase = phase
        try:
            yield
        finally:
            self._phase = SqlPhase.OWN

    def read(self, fn: Callable[[sqlite3.Connection], Any]) -> Any:
        """Run ``fn`` in a read transaction, which is rolled back afterwards."""
        before = self.connection.total_changes
        self.connection.execute(_READ)
        try:
            self._phase = SqlPhase.READ
            try:
                value = fn(self.connection)
            finally:
                self._phase = SqlPhase.OWN
            # The authorizer does not see a statement again that was prepared for a write.
            if self.connection.total_changes != before:
                raise sqlite3.OperationalError("attempt to write a readonly database")
        except sqlite3.Error as error:
            raise os_error_of(error) from None
        finally:
            self.rollback()
        return value

    def rollback(self) -> None:
        """Undo what is not committed."""
        if self.connection.in_transaction:
            self.connection.execute(_ROLLBACK)


class Ledger(Protocol):
    """Counts the commits that were acknowledged; see ``real.database``."""

    def count(self, connection: sqlite3.Connection) -> int:
        """In the transaction that is open: give its commit the next number, and return it."""
        ...

    def note(self, commit: int) -> None:
        """Store that this commit is durable; called before it is acknowledged."""
        ...


class SqlWriter(SqlReader):
    """The only writer of a database in one life.

    ``keep`` is called when the database leaves FULL: its content is durable, later commits are not.
    ``settle`` is called when a later commit with FULL made everything durable. ``kept``: an earlier
    life left such a state. ``ledger`` counts commits; ``sqlite3.Error`` of it fails the commit.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        life: Incarnation,
        keep: Callable[[], None],
        settle: Callable[[], None],
        kept: bool = False,
        ledger: Ledger | None = None,
    ) -> None:
        super().__init__(connection)
        self._ledger = ledger
        self._life, self._keep, self._settle, self._kept = life, keep, settle, kept
        self._full = True
        self.at_commit: Callable[[], None] | None = None
        connection.execute("PRAGMA synchronous=FULL")

    def prepare(self, schema: Sequence[str]) -> None:
        """Run idempotent schema statements, each for itself."""
        for statement in schema:
            with self._in_phase(SqlPhase.SCHEMA):
                self.connection.execute(statement)
            level = int(self.connection.execute("PRAGMA synchronous").fetchone()[0])
            self._full = level >= FULL
            if not self._full and not self._kept:
                self._keep()
                self._kept = True

    def commit(self, entries: Sequence[Transaction]) -> None:
        """Run the entries in order in one transaction; each then holds its value or error.

        Raises ``NodeDown`` with nothing committed when the life ended meanwhile.
        """
        entries = [entry for entry in entries if not entry.withdrawn]
        # Errors are rare, so a savepoint for each entry is tried only after an error. If one entry
        # made SQLite undo the whole transaction (disk full, ROLLBACK conflict clause), the others
        # are not at fault, and each gets a transaction of its own.
        if (
            entries
            and not self._run_transaction(entries)
            and not self._run_transaction(entries, apart=True)
        ):
            for entry in entries:
                self._run_transaction([entry], apart=True)
        for entry in entries:
            entry.done = True

    def _run_transaction(self, entries: Sequence[Transaction], *, apart: bool = False) -> bool:
        """Run all entries in one transaction. Returns False, with nothing done, when an entry
        failed in a way that affects the others.

        With savepoints (``apart``) an error affects only its own entry, unless it undid the
        transaction.
        """
        before = self.connection.total_changes
        try:
            self._life.check()
            self.connection.execute(_BEGIN)
            for entry in entries:
                if apart:
                    self.connection.execute(_SAVEPOINT)
                self._run_entry(entry)
                if not self._run_entry_in_savepoint(entry, apart=apart):
                    return len(entries) == 1
                if entry.error is not None:
                    self.connection.execute(_UNDO)
                if apart:
                    self.connection.execute(_RELEASE)
            if self.at_commit is not None:
                self.at_commit()
            self._life.check()
            changed = self.connection.total_changes != before
            number = 0
            if self._ledger is not None and changed:
                number = self._ledger.count(self.connection)
            self.connection.execute(_COMMIT)
            if self._ledger is not None and changed:
                self._ledger.note(number)
        except NodeDown:
            self.rollback()
            raise
        except sqlite3.Error as error:
            self.rollback()
            for entry in entries:
                entry.error = entry.error or os_error_of(error)
            return True
        if self._kept and self._full and changed:
            self._settle()
            self._kept = False
        return True

    def _run_entry(self, entry: Transaction) -> None:
        entry.value = entry.error = None
        self._phase = SqlPhase.WRITE
        try:
            entry.value = entry.fn(self.connection)
        except NodeDown:
            raise
        except BaseException as error:  # passed to the caller, of whatever type
            entry.error = os_error_of(error)
        finally:
            self._phase = SqlPhase.OWN

    def _run_entry_in_savepoint(self, entry: Transaction, *, apart: bool) -> bool:
        """Whether the transaction continues after ``entry``; without savepoints any error ends
        it."""
        if entry.error is not None and not apart:
            self.rollback()
        return self.connection.in_transaction


def _refuse(*_arguments: object) -> None:
    raise ValueError("SQL may not read the clock, draw random values or ask what happened before")
