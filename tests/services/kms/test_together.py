"""Many requests in flight, and deaths, on the lab's own drivers: real files, a real writer."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from protocol.messages.kms.administration import RotateKek
from protocol.messages.kms.keys import CreateKey, GetKeys, KeyCreated, Locate, QueryAudit
from protocol.secret import KeyMaterial
from services.kms.commit import store
from services.kms.custody.opening import DATABASE
from services.kms.sealing.vault import Vault, kek_bytes
from services.runtime.incarnation import WayDown
from tests.services.kms.filed import FINGERPRINTS, IN_FLIGHT, FiledServer, serving
from tests.services.kms.ports import LOCAL

ROOT = Path(__file__).parents[3]


@pytest.fixture
async def filed(tmp_path: Path) -> AsyncIterator[FiledServer]:
    async with serving(tmp_path / "kms") as server:
        yield server


async def together(server: FiledServer, messages: list[CreateKey]) -> list[KeyCreated]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(server.ask(message)) for message in messages]
    return [task.result() for task in tasks]


async def test_many_creations_share_commits(filed: FiledServer) -> None:
    """64 in flight: each has a key of its own, and there are far fewer commits than keys."""
    statements: list[str] = []
    database = await filed.store.disk(filed.life).database(DATABASE)
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


@pytest.mark.slow
@pytest.mark.parametrize("way", list(WayDown))
async def test_all_is_there_after_an_end(filed: FiledServer, way: WayDown) -> None:
    """What was answered before the end is answered the same after it, from the files."""
    made = await together(filed, [CreateKey(operation_id=str(n), get=True) for n in range(32)])
    await filed.down(way)
    await filed.boot()
    got = await filed.ask(GetKeys(key_ids=tuple(key.key_id for key in made)))
    wanted = [key.material.keys[0] for key in made if key.material is not None]
    assert list(got.material.keys) == wanted
    assert len(wanted) == 32


async def test_no_key_bytes_in_the_files(filed: FiledServer) -> None:
    """Database, log and other files: no material, but the ids, and a planted canary is found."""
    made = await together(filed, [CreateKey(operation_id=str(n), get=True) for n in range(8)])
    secrets = [key.material.keys[0].reveal() for key in made if key.material is not None]
    await filed.down(WayDown.CRASH)

    def found(needle: bytes) -> bool:
        return any(needle in data for _, data in filed.store.images())

    assert all(found(key.key_id.encode()) for key in made)
    assert len(secrets) == 8
    assert not any(found(secret) or found(secret.hex().encode()) for secret in secrets)
    await filed.boot()
    await filed.store.disk(filed.life).write("canary", b"." + secrets[0])
    assert found(secrets[0])


@pytest.mark.slow
async def test_killed_process_loses_nothing_it_answered(tmp_path: Path) -> None:
    """SIGKILL under load, twice: every key that was told is there, with the same material."""
    folder, told = tmp_path / "kms", list[list[str]]()
    for _ in range(2):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.services.kms.filed", str(folder)),
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        heard = [await process.stdout.readline() for _ in range(300)]
        process.kill()
        heard += (await process.stdout.read()).splitlines(keepends=True)
        await process.wait()
        told += [line.decode().split() for line in heard if line.endswith(b"\n")]
    assert len(told) >= 600
    async with serving(folder) as server:  # which checks every row and the whole trail
        for number, key_id, fingerprint in told:
            repeated = await server.ask(CreateKey(operation_id=number, get=True))
            assert repeated.key_id == key_id
            assert repeated.material is not None
            assert repeated.material.keys[0].fingerprint(FINGERPRINTS) == fingerprint
        total = (await server.ask(Locate(limit=1))).total
    distinct = len({key_id for _, key_id, _ in told})
    assert distinct <= total <= distinct + 2 * IN_FLIGHT  # made, but not told when the end came


async def test_a_long_look_that_began_before_a_rotation_opens_what_it_sees(
    filed: FiledServer,
) -> None:
    """Its rows are under a KEK that has left the ring meanwhile, and of which no row is left."""
    begun, over = asyncio.Event(), threading.Event()
    loop, core = asyncio.get_running_loop(), filed.service.core
    made = await filed.ask(CreateKey(operation_id="1", get=True))
    assert made.material is not None

    def look(connection: sqlite3.Connection, vault: Vault) -> tuple[bytes, KeyMaterial | None]:
        connection.execute("SELECT 1 FROM keys").fetchone()  # its snapshot is of now
        loop.call_soon_threadsafe(begun.set)
        assert over.wait(10)
        [row] = store.rows(connection, vault, 0, 1)
        return bytes(row.wrapped or b"")[:4], store.material(vault, row)

    looking = loop.create_task(core.look(look))
    await begun.wait()
    await filed.ask(RotateKek(after=1), LOCAL)
    while (await filed.service.custody.status()).keks > 1:
        await asyncio.sleep(0.005)
    over.set()
    assert await looking == (kek_bytes(1), made.material.keys[0])
