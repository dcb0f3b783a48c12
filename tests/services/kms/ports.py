"""Ports for tests that call the key server's handlers without a node: small and honest.

The disk keeps a written and a synced image; the database is SQLite that belongs to the disk, so
a crash is a new service over the same disk. Nothing here knows a key server.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from protocol.messages.base import Request
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from services.kms.sealing.roots.keyfile import MASTER_FILE
from services.kms.sealing.vault import Vault, unseal
from services.kms.service import KmsService
from services.kms.settings.config import Grant, KmsConfig, KmsRole
from services.kms.settings.knobs import KmsKnobs
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.ports import Bus, Clock, Database, Datastore, Disk, Ports
from services.runtime.service import Peer, PowerInputs
from services.runtime.sql import SqlWriter, Transaction
from tests.services.kms.memory import in_memory

T = TypeVar("T")
R = TypeVar("R")

VCENTER = Peer(NodeName("vcenter"), 1)
OTHER = Peer(NodeName("vcenter-b"), 1)  # a client of another scope
OPERATOR = Peer(NodeName("operator"), 1)
STRANGER = Peer(NodeName("stranger"), 1)
LOCAL = Peer(NodeName("kms"), 1, local=True)

CONFIG = KmsConfig(
    identities={
        VCENTER.node: Grant(role=KmsRole.CLIENT),
        OTHER.node: Grant(role=KmsRole.CLIENT, scope="b"),
        OPERATOR.node: Grant(role=KmsRole.OPERATOR),
    }
)


@dataclass
class SteppedClock:
    """Wall clock that moves only when told; nothing else of a clock is needed here."""

    wall: float = 1_000_000.0

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.wall

    async def sleep(self, seconds: float) -> None:
        """Time stands still, and others have their turn."""
        await asyncio.sleep(0)


@dataclass
class CountedRng:
    """Tokens from a counter, remembered so that tests can look for them where they must not be."""

    seed: str = "1"
    tokens: list[bytes] = field(default_factory=list)
    streams: dict[str, Any] = field(default_factory=dict)

    def stream(self, name: str) -> Any:
        if name not in self.streams:
            raise AssertionError(f"a key server makes no such choices here ({name})")
        return self.streams[name]

    def token(self, size: int) -> bytes:
        drawn = hashlib.shake_256(f"{self.seed}/{len(self.tokens)}".encode()).digest(size)
        self.tokens.append(drawn)
        return drawn


class SqliteDatabase:
    """A commit per call, by the writer of the real drivers, so that its rules for SQL hold."""

    def __init__(self, connection: sqlite3.Connection, life: Incarnation) -> None:
        self._life = life
        self._writer = SqlWriter(connection, life, _never, _never)
        self.commits = 0
        self.crash_at_commit = 0  # end the life right after that many commits

    def prepare(self, schema: Sequence[str]) -> None:
        self._writer.prepare(schema)

    async def transact(
        self, fn: Callable[[sqlite3.Connection], T], applied: Callable[[T], None] | None = None
    ) -> T:
        self._life.check()
        entry = Transaction(fn, applied)
        self._writer.commit([entry])
        self.commits += 1
        if self.commits == self.crash_at_commit:
            self._life.end(WayDown.CRASH)
        self._life.check()
        entry.announce()
        result: T = entry.outcome()
        return result

    async def query(self, fn: Callable[[sqlite3.Connection], T], *, long: bool = False) -> T:
        self._life.check()
        result: T = self._writer.read(fn)
        return result


def _never() -> None:
    raise AssertionError("a key server never gives up synchronous=FULL")


@dataclass
class Platter:
    """What outlives lives: files as written and as synced, and databases."""

    written: dict[str, bytes] = field(default_factory=dict)
    synced: dict[str, bytes] = field(default_factory=dict)
    databases: dict[str, sqlite3.Connection] = field(default_factory=dict)

    def lose_power(self) -> None:
        self.written = dict(self.synced)

    def image(self, name: str = "keys") -> bytes:
        """The database file as it would lie on a disk."""
        return self.databases[name].serialize()

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What somebody with an editor for database files does."""
        return list(self.databases["keys"].execute(statement, values))


@dataclass
class MemoryDisk:
    platter: Platter
    life: Incarnation
    opened: dict[str, SqliteDatabase] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)  # synced content, name not yet

    async def read(self, path: str) -> bytes:
        self.life.check()
        if path not in self.platter.written:
            raise FileNotFoundError(path)
        return self.platter.written[path]

    async def write(self, path: str, data: bytes) -> None:
        self.life.check()
        self.platter.written[path] = data

    async def append(self, path: str, data: bytes, *, sync: bool = False) -> None:
        await self.write(path, self.platter.written.get(path, b"") + data)
        if sync:
            await self.sync(path)

    async def sync(self, path: str) -> None:
        self.life.check()
        self.contents[path] = self.platter.written[path]

    async def replace(self, source: str, target: str) -> None:
        self.life.check()
        self.platter.written[target] = self.platter.written.pop(source)
        # Unsynced content behind a durable name is an empty file after a power loss.
        self.contents[target] = self.contents.pop(source, b"")

    async def sync_folder(self, folder: str = "") -> None:
        self.life.check()
        self.platter.synced = {
            path: self.contents.get(path, self.platter.synced.get(path, b""))
            for path in self.platter.written
        }

    async def list(self, folder: str = "") -> tuple[str, ...]:
        self.life.check()
        return tuple(sorted(self.platter.written))

    async def remove(self, path: str) -> None:
        self.life.check()
        del self.platter.written[path]

    async def database(
        self, name: str, schema: Sequence[str] = (), *, ledger: bool = False
    ) -> Database:
        self.life.check()
        if name not in self.platter.databases:
            made = in_memory()
            made.execute("PRAGMA secure_delete = OFF")  # as many builds of SQLite have it
            self.platter.databases[name] = made
        self.opened[name] = SqliteDatabase(self.platter.databases[name], self.life)
        self.opened[name].prepare(schema)
        return self.opened[name]

    async def datastore(self, name: str) -> Datastore:
        raise AssertionError("a key server has no datastore")


@dataclass
class NotebookNode:
    """The node as a service sees it; keeps what was recorded."""

    name: NodeName = LOCAL.node
    boot: int = 1
    site: str = "main"
    knobs: KmsKnobs = field(default_factory=KmsKnobs)
    power: PowerInputs = field(default_factory=PowerInputs)
    records: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    works: set[asyncio.Task[None]] = field(default_factory=set)

    def background(self, label: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=label)
        self.works.add(task)
        task.add_done_callback(self.works.discard)

    def end_turn(self) -> None:
        """Nothing here has a turn."""

    def turn(self, key: str) -> AbstractAsyncContextManager[None]:
        raise AssertionError("a key server takes no turns")

    def record(self, kind: str, *, level: str = "info", **fields: Any) -> None:
        self.records.append((kind, fields))


@dataclass
class Server:
    """One life of a key server over a platter; ``boot`` makes the next life."""

    platter: Platter = field(default_factory=Platter)
    clock: SteppedClock = field(default_factory=SteppedClock)
    rng: CountedRng = field(default_factory=CountedRng)
    node: NotebookNode = field(default_factory=NotebookNode)
    config: KmsConfig = CONFIG
    life: Incarnation = field(default_factory=lambda: Incarnation(LOCAL.node, 0))

    async def boot(self) -> KmsService:
        self.life.end(WayDown.CRASH)
        self.life = Incarnation(self.node.name, self.life.boot + 1)
        self.disk = MemoryDisk(self.platter, self.life)
        bus = cast(Bus, None)  # it answers; it never asks
        ports = Ports(bus, cast(Clock, self.clock), self.rng, cast(Disk, self.disk))
        self.service = KmsService(self.node, ports, self.config)
        await self.service.start()
        return self.service

    async def ask(self, message: Request[R], peer: Peer = VCENTER) -> R:
        """Hand a request to its handler, as a node does."""
        handler = getattr(self.service, self.service.handlers[type(message).__name__].method)
        reply: R = await handler(message, peer)
        return reply

    @property
    def vault(self) -> Vault:
        """What the server's own disk opens, read from it as a start does."""
        [(header, box)] = self.platter.sql("SELECT header, box FROM ring")
        root = KeyMaterial(self.platter.written[MASTER_FILE])
        return Vault(unseal(box, root, header))

    @property
    def database(self) -> SqliteDatabase:
        return self.disk.opened["keys"]


async def booted() -> AsyncIterator[Server]:
    """Body of the fixture ``server``: a fresh one that serves."""
    server = Server()
    await server.boot()
    yield server
    for connection in server.platter.databases.values():
        connection.close()
