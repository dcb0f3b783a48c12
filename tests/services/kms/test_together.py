"""Many requests in flight, on the lab's own database driver: a real file, a real writer thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from protocol.messages.kms import CreateKey, GetKeys, KeyCreated, KeyValues, Locate, QueryAudit
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.lab.database import DatabaseFile, LabDatabase
from services.runtime.ports import Database
from services.runtime.store import Switches
from tests.services.kms.ports import LOCAL, MemoryDisk, Server


class FiledDisk(MemoryDisk):
    """As the memory disk, but with databases as files in ``folder``."""

    folder: Path
    files: list[LabDatabase]

    async def database(self, name: str, schema: Sequence[str] = ()) -> Database:
        made = LabDatabase(DatabaseFile(self.folder, name), self.life, Switches())
        await made.prepare(schema)
        self.files.append(made)
        return made


class FiledServer(Server):
    """A server over ``folder``; ``down`` ends its life as a crash does."""

    folder: Path

    def make_disk(self, life: Incarnation) -> FiledDisk:
        disk = FiledDisk(self.platter, life)
        disk.folder, disk.files = self.folder, []
        self.filed = disk
        return disk

    async def down(self) -> None:
        self.life.end(WayDown.CRASH)
        for database in self.filed.files:
            await asyncio.to_thread(database.close)


@pytest.fixture
async def filed(tmp_path: Path) -> AsyncIterator[FiledServer]:
    server = FiledServer()
    server.folder = tmp_path
    await server.boot()
    yield server
    await server.down()


async def together(server: Server, messages: list[CreateKey]) -> list[KeyCreated]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(server.ask(message)) for message in messages]
    return [task.result() for task in tasks]


async def test_many_creations_share_commits(filed: FiledServer) -> None:
    """64 in flight: each has a key of its own, and there are far fewer commits than keys."""
    statements: list[str] = []
    database = filed.filed.files[0]
    await database.transact(lambda connection: connection.set_trace_callback(statements.append))
    made = await together(
        filed, [CreateKey(operation_id=str(n), activate=True, get=True) for n in range(64)]
    )
    await database.transact(lambda connection: connection.set_trace_callback(None))
    assert len({created.key_id for created in made}) == 64
    commits = sum(statement.startswith("COMMIT") for statement in statements)
    assert 1 <= commits <= 8
    rows = (await filed.ask(QueryAudit(), LOCAL)).rows
    assert [row.sequence for row in rows] == list(range(1, 3 * 64 + 1))


async def test_repeats_in_flight_make_one_key(filed: FiledServer) -> None:
    """Five requests for each of eight operations, all at once: eight keys."""
    messages = [CreateKey(operation_id=str(n % 8), get=True) for n in range(40)]
    made = await together(filed, messages)
    assert len({created.key_id for created in made}) == 8
    assert all(created == made[n % 8] for n, created in enumerate(made))
    assert (await filed.ask(Locate())).total == 8


async def test_all_is_there_after_a_crash(filed: FiledServer) -> None:
    """What was answered before the crash is answered the same after it, from the files."""
    made = await together(filed, [CreateKey(operation_id=str(n), get=True) for n in range(32)])
    await filed.down()
    await filed.boot()
    got: KeyValues = await filed.ask(GetKeys(key_ids=tuple(key.key_id for key in made)))
    wanted = [key.material.keys[0] for key in made if key.material is not None]
    assert list(got.material.keys) == wanted
    assert len(wanted) == 32


async def test_no_key_bytes_in_the_files(filed: FiledServer) -> None:
    """Database, log and index files: no material, but the ids, and a planted canary is found."""
    made = await together(filed, [CreateKey(operation_id=str(n), get=True) for n in range(8)])
    secrets = [key.material.keys[0].reveal() for key in made if key.material is not None]
    await filed.down()

    def found(needle: bytes) -> bool:
        return any(needle in path.read_bytes() for path in filed.folder.iterdir())

    assert all(found(key.key_id.encode()) for key in made)
    assert len(secrets) == 8
    assert not any(found(secret) or found(secret.hex().encode()) for secret in secrets)
    (filed.folder / "canary").write_bytes(b"." + secrets[0])
    assert found(secrets[0])
