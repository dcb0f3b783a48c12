"""Messages that come together: one transaction, and none takes another with it."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from protocol.terms import KeyId, NodeName
from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import AuditEntry, AuditTrail, Subjects
from services.kms.commit.group_commit import Commits, DoneMessage
from services.kms.commit.unit_of_work import KeyChange, Written
from services.kms.objects.request_types import CoreOperation
from services.kms.sealing.vault import Vault, new_ring
from services.runtime.incarnation import Incarnation, NodeDown, WayDown
from tests.services.kms.memory import in_memory
from tests.services.kms.ports import NotebookNode, SqliteDatabase

VAULT = Vault(new_ring(0.0, bytes(range(32)), bytes(32)))
ENTRY = AuditEntry("vcenter", "a", CoreOperation.GET, "k")


class Onlooker:
    """A witness that lets changes be answered when told, and may refuse."""

    def __init__(self) -> None:
        self.seen: list[Written] = []
        self.go = asyncio.Event()
        self.error: OSError | None = None

    def handle_commit(self, written: Written) -> None:
        self.seen.append(written)

    async def confirm(self, written: Written) -> None:
        if written.changed:
            await self.go.wait()
        if self.error is not None and written.changed:
            raise self.error


class Rig:
    def __init__(self) -> None:
        self.connection = in_memory()
        self.life = Incarnation(NodeName("kms"), 1)
        self.database = SqliteDatabase(self.connection, self.life)
        self.database.prepare((*audit_trail.SCHEMA, "CREATE TABLE said (word TEXT) STRICT"))
        audit_trail.begin(self.connection, VAULT)
        self.node = NotebookNode()
        self.commits = Commits(self.database, VAULT, self.node.background)
        self.onlooker = Onlooker()
        self.commits.witnesses.append(self.onlooker)
        self.runs: list[str] = []

    def say(
        self, word: str, *, fails: bool = False, changed: bool = False, changes: int = 0
    ) -> Coroutine[Any, Any, DoneMessage[str]]:
        def run(connection: sqlite3.Connection, trail: AuditTrail) -> DoneMessage[str]:
            self.runs.append(word)
            end = trail.append(1.0, (ENTRY,))
            connection.execute("INSERT INTO said VALUES (?)", (word,))
            if fails:
                raise ValueError(word)
            told = tuple(KeyChange(KeyId(word), n) for n in range(changes))
            return DoneMessage(word, Written(end, changed, told))

        return self.commits.make(run)

    def said(self) -> list[str]:
        return [row[0] for row in self.connection.execute("SELECT word FROM said")]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    rig.connection.close()


async def outcomes(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    return await asyncio.gather(*works, return_exceptions=True)


async def test_what_comes_together_is_one_commit_and_one_head(rig: Rig) -> None:
    statements: list[str] = []
    rig.connection.set_trace_callback(statements.append)
    done = await outcomes(*(rig.say(str(n)) for n in range(20)))
    rig.connection.set_trace_callback(None)
    assert [one.written.end.sequence for one in done] == list(range(1, 21))
    assert sum(statement.startswith("COMMIT") for statement in statements) == 1
    assert sum(statement.startswith("UPDATE audit_head") for statement in statements) == 1
    assert rig.said() == [str(n) for n in range(20)]
    assert audit_trail.check(rig.connection, VAULT) == Subjects({}, {}, {}, {})
    assert [written.end for written in rig.onlooker.seen] == [done[-1].written.end]


async def test_one_that_fails_takes_no_other_with_it(rig: Rig) -> None:
    before, failed, after = await outcomes(rig.say("a"), rig.say("b", fails=True), rig.say("c"))
    assert (before.value, after.value) == ("a", "c")
    assert isinstance(failed, ValueError)
    assert rig.said() == ["a", "c"]
    assert audit_trail.check(rig.connection, VAULT) == Subjects({}, {}, {}, {})
    assert audit_trail.head(rig.connection, VAULT) == after.written.end
    assert after.written.end.sequence == 2
    alone = await outcomes(rig.say("d", fails=True))
    assert isinstance(alone[0], ValueError)
    assert rig.runs.count("d") == 1, "alone, it is not tried again"


async def test_a_witness_that_fails_makes_nothing_run_again(rig: Rig) -> None:
    def noted(written: Written) -> None:
        raise RuntimeError("a defect")

    rig.onlooker.handle_commit = noted  # type: ignore[method-assign]
    done = await outcomes(rig.say("a"), rig.say("b"))
    assert all(isinstance(one, RuntimeError) for one in done)
    assert rig.runs == ["a", "b"]


async def test_only_what_changed_a_key_waits_for_witnesses(rig: Rig) -> None:
    async with asyncio.TaskGroup() as group:
        changed = group.create_task(rig.say("a", changed=True))
        told = group.create_task(rig.say("b", changed=True, changes=2))
        read = group.create_task(rig.say("c"))
        assert (await read).value == "c"
        assert not changed.done() and not told.done()
        rig.onlooker.error = OSError(5, "no")
        rig.onlooker.go.set()
    assert (await read).unsettled is None
    assert [task.result().unsettled for task in (changed, told)] == [rig.onlooker.error] * 2


async def test_who_gives_up_disturbs_nobody(rig: Rig) -> None:
    """What it asked happens all the same, as with a reply that is lost."""
    loop = asyncio.get_running_loop()
    task, other = loop.create_task(rig.say("a")), loop.create_task(rig.say("b"))
    loop.call_soon(task.cancel)
    assert (await other).value == "b"
    assert task.cancelled()
    assert rig.said() == ["a", "b"]


async def test_the_end_of_a_life_ends_all_that_wait(rig: Rig) -> None:
    rig.database.crash_at_commit = 1
    async with asyncio.timeout(5):
        done = await outcomes(rig.say("a"), rig.say("b"))
    assert all(isinstance(one, NodeDown) for one in done)
    assert rig.life.ended is WayDown.CRASH
    assert rig.runs == ["a", "b"]


@pytest.mark.parametrize("happened", [True, False])
async def test_nothing_is_done_twice_where_a_refused_commit_has_happened(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, *, happened: bool
) -> None:
    """Else who destroys a key is refused to destroy one that is destroyed: by itself."""
    transact, refused = rig.database.transact, OSError(errno.EIO, "no")

    async def refuses(run: Any, applied: Any = None) -> Any:
        monkeypatch.setattr(rig.database, "transact", transact)
        if happened:
            await transact(run)
        raise refused

    monkeypatch.setattr(rig.database, "transact", refuses)
    done = await outcomes(rig.say("a"), rig.say("b"))
    if happened:
        assert done == [refused, refused] and rig.runs == ["a", "b"]
    else:
        assert [one.value for one in done] == ["a", "b"]
    assert rig.said() == ["a", "b"]


async def test_where_nobody_can_say_whether_it_happened_nothing_is_tried_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    transact, refused = rig.database.transact, OSError(errno.EIO, "no")

    async def refuses(*given: Any) -> Any:
        await transact(given[0])
        raise refused

    async def unread(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EIO, "nor this")

    monkeypatch.setattr(rig.database, "transact", refuses)
    monkeypatch.setattr(rig.database, "query", unread)
    assert await outcomes(rig.say("a"), rig.say("b")) == [refused, refused]
    assert rig.runs == ["a", "b"]


async def test_a_life_that_ends_in_that_look_answers_nobody(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    transact = rig.database.transact

    async def refuses(*given: Any) -> Any:
        await transact(given[0])
        rig.life.end(WayDown.CRASH)
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(rig.database, "transact", refuses)
    async with asyncio.timeout(5):
        done = await outcomes(rig.say("a"), rig.say("b"))
    assert all(isinstance(one, NodeDown) for one in done) and rig.runs == ["a", "b"]
