"""One SQLite database file: a writer thread with group commit, one reader for short queries and one
for long ones.

WAL and ``synchronous=FULL``: each commit is on the device before any caller resumes. Calls that
wait together share one commit, which divides the cost of the sync.
"""

from __future__ import annotations

import asyncio
import contextvars
import errno
import os
import sqlite3
import threading
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TypeVar, cast

from services.runtime.incarnation import Incarnation, NodeDown
from services.runtime.ports import Database
from services.runtime.sql import (
    CACHED_STATEMENTS,
    SqlReader,
    SqlWriter,
    Transaction,
    check_integrity,
    os_error_of,
)
from services.runtime.store import Switches

T = TypeVar("T")

GROUP_LIMIT = 256  # calls that share one commit at most


class DatabaseFile:
    """The files of one database. ``durable`` holds the state that a power loss restores; it exists
    only after the service left ``synchronous=FULL``."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.db"
        self.log = folder / f"{name}.db-wal"
        self.durable = folder / f"{name}.durable"
        self.ledger = CommitLedger(folder / f"{name}.commits")

    def identity(self) -> tuple[int, int]:
        """The identity of the file; ``OSError`` when there is none."""
        return _identity(self.path)

    def log_identity(self) -> tuple[int, int]:
        """The identity of the file with the last commits; ``OSError`` when there is none."""
        return _identity(self.log)

    def connect(self) -> sqlite3.Connection:
        """A new connection to the database; usable from any one thread at a time."""
        _create_private_file(self.path)
        return sqlite3.connect(
            self.path,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=CACHED_STATEMENTS,
        )

    def keep(self, connection: sqlite3.Connection) -> None:
        """Keep the state of ``connection`` as the durable one, which a power loss restores."""
        unfinished = self.durable.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        _create_private_file(unfinished)
        target = sqlite3.connect(unfinished, isolation_level=None)
        try:
            connection.backup(target)
        finally:
            target.close()
        os.replace(unfinished, self.durable)

    def settle(self) -> None:
        """The present state is durable: delete the kept one."""
        self.durable.unlink(missing_ok=True)

    def lose_power(self) -> None:
        """Restore the durable state, if the present one is not durable. The database must not be
        open."""
        if self.durable.exists():
            self.ledger.forget()
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            os.replace(self.durable, self.path)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _create_private_file(path: Path) -> None:
    """Create an empty database that only its owner may read, unless it exists: SQLite gives its log
    and other files the same mode."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


class _Worker:
    """A thread that runs jobs one after another; it starts with the first job.

    An executor creates a future for each job, which costs more than passing the job. The thread is
    a daemon: it ends with the process even if ``close`` was not called, as in a crash.
    """

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run_jobs, name=name, daemon=True)
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._begun = self._closed = False

    def submit(self, job: Callable[[], None]) -> None:
        """Queue a job, which must not raise."""
        if self._closed:
            raise RuntimeError("the database is closed")
        if not self._begun:
            self._begun = True
            self._thread.start()
        self._jobs.put(job)

    async def execute(self, work: Callable[[], None]) -> None:
        """Run ``work`` in the thread and wait for it; raises what it raises."""
        outcome: Future[None] = Future()
        self.submit(partial(_run_job, work, outcome))
        await asyncio.wrap_future(outcome)

    def close(self) -> None:
        """Run the queued jobs, then end; no further job is accepted."""
        self._closed = True
        if self._begun:
            self._jobs.put(None)
            self._thread.join()

    def _run_jobs(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _run_job(work: Callable[[], None], outcome: Future[None]) -> None:
    if not outcome.set_running_or_notify_cancel():
        return
    try:
        work()
    except BaseException as error:
        outcome.set_exception(error)
    else:
        outcome.set_result(None)


class _ReaderThread:
    """A reader thread that runs queries one after another; it connects at the first query."""

    def __init__(self, name: str) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self.reader: SqlReader | None = None


class LabDatabase(Database):
    """The Database port of one life, created by ``open``; ``close`` may be called from any
    thread."""

    def __init__(self, file: DatabaseFile, life: Incarnation, switches: Switches) -> None:
        self._file, self._life, self._switches = file, life, switches
        self._loop = asyncio.get_running_loop()
        # Callbacks started by ``applied`` belong to this life, though a thread schedules them.
        self._context = contextvars.copy_context()
        name = file.path.stem
        self._what = f"database {name}"
        self._thread = _Worker(f"{life.node}-{name}-writer")
        self._readers = [_ReaderThread(f"{life.node}-{name}-{kind}") for kind in ("reader", "long")]
        self._identity = (0, 0)
        self._log: tuple[int, int] | None = None  # SQLite creates the log at its first use
        self._writer: SqlWriter | None = None
        self._guard = threading.Lock()
        self._queue: deque[tuple[Transaction, asyncio.Future[None]]] = deque()
        self._pumping = self._pump_scheduled = False
        self._group_done = threading.Condition()
        self._begun = self._handed = 0  # groups begun, and handed to the loop for ``applied``

    async def prepare(self, schema: Sequence[str], *, ledger: bool) -> None:
        """Open the file at the first call, with its ledger or without; run ``schema``."""
        work = partial(self._prepare, tuple(schema), ledger=ledger)
        await self._thread.execute(work)

    def _prepare(self, schema: Sequence[str], *, ledger: bool) -> None:
        self._life.check()
        try:
            if self._writer is None:
                self._writer = self._open_writer(self._file.ledger if ledger else None)
            self._writer.prepare(schema)
        except sqlite3.Error as error:
            raise os_error_of(error, self._file.path.name) from None

    def _open_writer(self, ledger: CommitLedger | None) -> SqlWriter:
        connection = self._file.connect()
        try:
            check_integrity(connection, str(self._file.path))
            if ledger is not None:
                ledger.check(connection, str(self._file.path))
            connection.execute("PRAGMA journal_mode=WAL")
            self._identity = self._file.identity()
            return SqlWriter(
                connection,
                self._life,
                lambda: self._file.keep(connection),
                self._file.settle,
                self._file.durable.exists(),
                ledger,
            )
        except BaseException:
            connection.close()
            raise

    async def transact(
        self,
        fn: Callable[[sqlite3.Connection], T],
        applied: Callable[[T], None] | None = None,
    ) -> T:
        self._life.check()
        self._switches.admit(self._what, grows=True)
        entry = Transaction(fn, applied)
        committed: asyncio.Future[None] = self._loop.create_future()
        with self._guard:
            self._queue.append((entry, committed))
        # At the end of this iteration of the loop: calls until then share the commit.
        if not self._pump_scheduled:
            self._pump_scheduled = True
            self._loop.call_soon(self._start_pump, context=self._context)
        try:
            await committed
        finally:
            entry.withdrawn = True
            self._life.check()
        return cast(T, entry.outcome())

    def _start_pump(self) -> None:
        self._pump_scheduled = False
        with self._guard:
            if self._pumping or not self._queue:
                return
            if not self._life.alive:
                dead, self._queue = list(self._queue), deque()
            else:
                dead, self._pumping = [], True
        if dead:
            self._finish(dead)
            return
        self._thread.submit(self._commit_groups)

    def _commit_groups(self) -> None:
        """Commit group after group until no call waits. Runs in the writer thread."""
        writer = self._writer
        if writer is None:
            raise RuntimeError("the database was used before prepare")
        while True:
            with self._guard:
                count = min(len(self._queue), GROUP_LIMIT)
                group = [self._queue.popleft() for _ in range(count)]
                if not group:
                    self._pumping = False
                    return
            with self._group_done:
                self._begun += 1
            try:
                writer.commit([entry for entry, _ in group])
                self._check_files()
            except NodeDown:
                pass  # nothing was committed; each caller checks its life itself
            # A defect of the writer must not leave the callers waiting.
            except BaseException as error:
                for entry, _ in group:
                    entry.error, entry.done = error, True
            try:
                self._loop.call_soon_threadsafe(self._finish, group, context=self._context)
            except RuntimeError:
                return  # the loop is closed: no caller waits any more
            finally:
                with self._group_done:
                    self._handed += 1
                    self._group_done.notify_all()

    def _check_files(self) -> None:
        """Raise if the files were removed or replaced: SQLite would continue in files without a
        name."""
        try:
            self._log = self._log or self._file.log_identity()
        except OSError:
            raise self._build_removal_error() from None
        if not self._files_exist():
            raise self._build_removal_error()

    def _files_exist(self) -> bool:
        try:
            log = self._log is None or self._file.log_identity() == self._log
            return log and self._file.identity() == self._identity
        except OSError:
            return False

    def _build_removal_error(self) -> OSError:
        return OSError(errno.EIO, "the database was taken away", str(self._file.path))

    def _finish(self, group: list[tuple[Transaction, asyncio.Future[None]]]) -> None:
        if self._life.alive:
            for entry, _ in group:
                if entry.done:
                    entry.announce()
        for _, committed in group:
            if not committed.done():
                committed.set_result(None)

    async def query(self, fn: Callable[[sqlite3.Connection], T], *, long: bool = False) -> T:
        self._life.check()
        self._switches.admit(self._what)
        lane = self._readers[long]
        try:
            return await self._loop.run_in_executor(lane.thread, self._query, lane, fn)
        finally:
            self._life.check()

    def _query(self, lane: _ReaderThread, fn: Callable[[sqlite3.Connection], T]) -> T:
        self._life.check()
        if lane.reader is None:
            lane.reader = self._open_reader()
        value = cast(T, lane.reader.read(fn))
        # The query may have seen the commit in progress: its ``applied`` must run first.
        with self._group_done:
            begun = self._begun
            self._group_done.wait_for(lambda: self._handed >= begun)
        return value

    def _open_reader(self) -> SqlReader:
        """Connect another reader to the writer's files. It connects long after the writer; by then
        another copy may have the same names."""
        if not self._files_exist():
            raise self._build_removal_error()
        connection = self._file.connect()
        try:
            # SQLite opens the file only here.
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            connection.close()
            raise os_error_of(error, self._file.path.name) from None
        if not self._files_exist():
            connection.close()
            raise self._build_removal_error()
        return SqlReader(connection)

    def close(self) -> None:
        """After the life ended: wait for all threads, roll back what is open, close the files."""
        self._thread.close()
        for lane in self._readers:
            lane.thread.shutdown(wait=True)
        for side in (*[lane.reader for lane in self._readers], self._writer):
            if side is not None:
                # If the device refuses, the next life deals with the log.
                with suppress(sqlite3.Error):
                    side.rollback()
                side.connection.close()
        self._writer = None
        for lane in self._readers:
            lane.reader = None
        self._file.ledger.close()


# ---- ledger of commits ---------------------------------------------------------------------------
# The number of acknowledged commits of a database, in a file beside it.
#
# SQLite opens a database whose write-ahead log is lost, or whose file was emptied, without an
# error. The ledger is written after each commit and before the commit is acknowledged: a database
# with fewer commits than its ledger has lost some. The file is not synced. After a power loss of
# the machine its number may be too low; a damaged file counts as 0.

_NUMBER = 8  # bytes of the number; four bytes of checksum follow


class CommitLedger:
    """The ledger of one database; the number of a commit is SQLite's ``user_version``.

    All methods block.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def check(self, connection: sqlite3.Connection, database: str) -> None:
        """``OSError`` if ``database``, behind ``connection``, has lost commits."""
        (has,) = connection.execute("PRAGMA user_version").fetchone()
        acknowledged = self._read_count()
        if has < acknowledged:
            lost = f"it has {has} of {acknowledged} commits that were acknowledged"
            raise OSError(errno.EIO, f"the database is not as it was left: {lost}", database)

    def _read_count(self) -> int:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return 0
        number, check = data[:_NUMBER], data[_NUMBER:]
        return int.from_bytes(number, "big") if check == _check(number) else 0

    def count(self, connection: sqlite3.Connection) -> int:
        """In the transaction that is open: give its commit the next number, and return it."""
        (has,) = connection.execute("PRAGMA user_version").fetchone()
        connection.execute(f"PRAGMA user_version = {has + 1}")
        return int(has) + 1

    def note(self, commit: int) -> None:
        """Store that this commit is durable; called before it is acknowledged."""
        number = commit.to_bytes(_NUMBER, "big")
        with suppress(OSError):  # then the number is too low; the commit is durable anyway
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._fd, number + _check(number), 0)

    def forget(self) -> None:
        """Delete the ledger, because commits are about to be undone on purpose."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _check(number: bytes) -> bytes:
    return zlib.crc32(number).to_bytes(4, "big")
