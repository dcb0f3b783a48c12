"""Databases in memory that belong to the simulated disk: a crash is a rollback.

A device can damage their pages silently.
"""

from __future__ import annotations

import asyncio
import sqlite3
import weakref
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import NamedTuple, Protocol, TypeVar, cast

from services.runtime.incarnation import Incarnation, NodeDown
from services.runtime.ports import Database
from services.runtime.sim.gate import COMMIT, StorageCall, StorageGate
from services.runtime.sql import CACHED_STATEMENTS, SqlWriter, Transaction

_PAGE_SIZE_AT = slice(16, 18)

Draw = Callable[[int], int]
"""Draws a number from 0 up to, but not including, the given one."""


class PageFlaw(NamedTuple):
    """A page as it should be, and the content of the device in its place."""

    should_be: bytes
    on_device: bytes


def pages(image: bytes) -> list[bytes]:
    """The pages of a database, in order."""
    size = int.from_bytes(image[_PAGE_SIZE_AT]) if image else 0
    size = 65536 if size == 1 else size
    return [image[at : at + size] for at in range(0, len(image), size)] if size else []


def draw_lost_write(before: bytes, after: bytes, draw: Draw) -> dict[int, PageFlaw]:
    """One of the written pages keeps its old content on the device."""
    page = _draw_written_page(before, after, draw)
    if page is None:
        return {}
    return {page: PageFlaw(pages(after)[page], _old_content(before, after, page))}


def draw_misdirected_write(before: bytes, after: bytes, draw: Draw) -> dict[int, PageFlaw]:
    """One of the written pages overwrites another page; its own place keeps its old content."""
    page, now = _draw_written_page(before, after, draw), pages(after)
    others = [other for other in range(1, len(now)) if other != page]
    if page is None or not others:
        return {}
    victim = others[draw(len(others))]
    return {
        page: PageFlaw(now[page], _old_content(before, after, page)),
        victim: PageFlaw(now[victim], now[page]),
    }


def draw_bit_rot(before: bytes, after: bytes, draw: Draw) -> dict[int, PageFlaw]:
    """One bit of any page is flipped."""
    now = pages(after)
    page = draw(len(now))
    rotten = bytearray(now[page])
    rotten[draw(len(rotten))] ^= 1 << draw(8)
    return {page: PageFlaw(now[page], bytes(rotten))}


def _draw_written_page(before: bytes, after: bytes, draw: Draw) -> int | None:
    """Draw a page that a commit has written, other than the first, whose counters change each
    time."""
    old, new = pages(before), pages(after)
    changed = [n for n in range(1, len(new)) if n >= len(old) or old[n] != new[n]]
    return changed[draw(len(changed))] if changed else None


def _old_content(before: bytes, after: bytes, page: int) -> bytes:
    """The old content of the page; zeros where the commit extended the file."""
    old = pages(before)
    return old[page] if page < len(old) else bytes(len(pages(after)[page]))


def apply_flaws(image: bytes, flaws: Mapping[int, PageFlaw]) -> bytes:
    """The database as it is read after a power loss. A page that was written again has no flaw."""
    found = pages(image)
    for page, flaw in flaws.items():
        if page < len(found) and found[page] == flaw.should_be:
            found[page] = flaw.on_device
    return b"".join(found)


T = TypeVar("T")

Charge = Callable[[str], Awaitable[None]]
"""Spends the virtual time of one call. Its argument is a label such as ``disk.sync
archive/state``."""


async def charge_nothing(label: str) -> None:
    """Spend no time: for a store without latency."""


class StorageDevice(Protocol):
    """The device under a database: it refuses calls (``Switches``), and may have a gate."""

    gate: StorageGate | None

    def admit(self, what: str, *, grows: bool = False) -> None:
        """Raise ``OSError`` if the device is full or fails."""
        ...


class StoredDatabase:
    """One stored database: its connection, and the state that a power loss restores (or None).

    No ``finally`` runs when a world ends. An unreferenced drive closes itself, on the thread in
    which the collector runs.
    """

    def __init__(self, image: bytes | None = None, durable: bytes | None = None) -> None:
        self.connection = sqlite3.connect(
            ":memory:",
            isolation_level=None,
            cached_statements=CACHED_STATEMENTS,
            check_same_thread=False,
        )
        weakref.finalize(self, self.connection.close)
        if image:
            self.connection.deserialize(image)
        self.durable = durable
        self.flaws: dict[int, PageFlaw] = {}
        """Pages, counted from 0, whose content on the device is wrong."""

    def image(self) -> bytes:
        """The database as bytes."""
        return self.connection.serialize()

    def keep(self) -> None:
        """Keep the present state as the durable one, which a power loss restores."""
        self.durable = self.image()

    def settle(self) -> None:
        """The present state is the durable one: drop the kept one."""
        self.durable = None

    def lose_power(self) -> StoredDatabase:
        """This database after a power loss."""
        if self.durable is None and not self.flaws:
            return self
        image = self.image() if self.durable is None else self.durable
        self.connection.close()
        return StoredDatabase(apply_flaws(image, self.flaws))

    def close(self) -> None:
        """Close it; it cannot be opened again."""
        self.connection.close()


class SimDatabase(Database):
    """The Database port of one life."""

    def __init__(
        self,
        name: str,
        life: Incarnation,
        drive: StoredDatabase,
        device: StorageDevice,
        charge: Charge,
    ) -> None:
        self._name, self._life, self._device, self._charge = name, life, device, charge
        self.writer = SqlWriter(
            drive.connection, life, drive.keep, drive.settle, drive.durable is not None
        )
        self._queue: list[Transaction] = []

    async def transact(
        self,
        fn: Callable[[sqlite3.Connection], T],
        applied: Callable[[T], None] | None = None,
    ) -> T:
        self._life.check()
        self._device.admit(f"database {self._name}", grows=True)
        entry = Transaction(fn, applied)
        self._queue.append(entry)
        try:
            await self._charge(f"db.transact {self._name}")
        except BaseException:
            entry.withdrawn = True  # another call has committed it already, or it never ran
            raise
        self._life.check()
        if not entry.done:
            await self._drain()
        return cast(T, entry.outcome())

    async def _drain(self) -> None:
        """Commit all waiting calls, and call ``applied`` in commit order before any caller
        resumes."""
        entries, self._queue = self._queue, []
        entries = [entry for entry in entries if not entry.withdrawn]
        if self._device.gate is None:
            self.writer.commit(entries)
        else:
            await self._commit_through_gate(self._device.gate, entries)
        for entry in entries:
            entry.announce()

    async def _commit_through_gate(self, gate: StorageGate, entries: list[Transaction]) -> None:
        """As ``SqlWriter.commit``; an error of the gate is raised for all entries.

        If the gate ends the life within the commit, nothing further is done.
        """
        call = StorageCall(self._life, COMMIT, self._name, grows=True)
        self.writer.at_commit = partial(gate.within, call)
        try:
            await gate.before(call)
            self.writer.commit(entries)
            await gate.after(call)
        except OSError as error:
            for entry in entries:
                entry.error, entry.done = error, True
        except NodeDown:
            await asyncio.Event().wait()
        finally:
            self.writer.at_commit = None

    async def query(
        self, fn: Callable[[sqlite3.Connection], T], *, long: bool = False
    ) -> T:  # none takes virtual time, so none waits for another
        self._life.check()
        self._device.admit(f"database {self._name}")
        await self._charge(f"db.query {self._name}")
        self._life.check()
        gate = self._device.gate
        if gate is None:
            return cast(T, self.writer.read(fn))
        call = StorageCall(self._life, "db.query", self._name)
        await gate.before(call)
        value = cast(T, self.writer.read(fn))
        await gate.after(call)
        return value
