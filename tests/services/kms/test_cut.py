"""A trail that is cut: what is left proves what it proved, and nobody shortens it in secret."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from protocol.errors import CryptographicFailure, InvalidArgument, PermissionDenied
from protocol.messages.kms.keys import CreateKey, GetKeys, QueryAudit, Revoke
from protocol.terms import KeyId
from services.kms.access.authorization import caller_at
from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import EMPTY, TrailEnd
from services.kms.custody import trail_retention
from services.runtime.incarnation import NodeDown, WayDown
from services.runtime.service import Halted
from tests.services.kms.core_rig import OWNER
from tests.services.kms.group_rig import GroupRig
from tests.services.kms.lazy_rig import clock
from tests.services.kms.pair_rig import A, B, PairRig
from tests.services.kms.ports import CONFIG, LOCAL, OPERATOR, Server, SqliteDatabase

CONSOLE = caller_at(CONFIG, LOCAL.node, local=True)


async def lived(server: Server) -> list[KeyId]:
    """Three keys, each made and given: rows 1 to 6; one is revoked and given again: 7 and 8."""
    keys = [
        (await server.ask(CreateKey(operation_id=str(n), get=True, activate=True))).key_id
        for n in range(2)
    ]
    await server.ask(Revoke(key_id=keys[0]), OPERATOR)
    await server.ask(GetKeys(key_ids=(keys[0],)))
    return keys


def end(server: Server, number: int) -> TrailEnd:
    [(digest,)] = server.platter.sql("SELECT digest FROM audit WHERE sequence = ?", number)
    return TrailEnd(number, digest)


async def cut(server: Server, number: int) -> None:
    await server.service.retention.cut(CONSOLE, end(server, number))


async def rows(server: Server) -> list[tuple[int, str, str]]:
    found = (await server.ask(QueryAudit(), LOCAL)).rows
    return [(row.sequence, row.operation, row.key_id) for row in found]


def numbers(server: Server) -> list[int]:
    """Of the rows that lie there."""
    return [number for (number,) in server.platter.sql("SELECT sequence FROM audit")]


async def test_a_trail_begins_behind_its_cut_and_is_served_from(server: Server) -> None:
    keys = await lived(server)
    before = await rows(server)
    last = before[-1][0]
    await cut(server, 4)
    told = [*before[4:], (last + 1, "Cut Trail", "1 to 4")]
    assert await rows(server) == told
    assert numbers(server) == [row[0] for row in told]
    await server.boot()
    assert await rows(server) == told
    assert [value.index for value in (await server.ask(GetKeys(key_ids=tuple(keys)))).values]
    await cut(server, last + 1)
    await server.boot()
    assert [row[1:] for row in await rows(server)] == [
        ("Get", keys[0]),
        ("Get", keys[1]),
        ("Cut Trail", f"5 to {last + 1}"),
    ]


async def test_what_cut_rows_told_of_keys_is_held_against_them_still(server: Server) -> None:
    keys = await lived(server)
    [(old,)] = server.platter.sql("SELECT state FROM keys WHERE key_id = ?", keys[0])
    assert old == "Deactivated"
    image = server.platter.image()
    await cut(server, end_of(server))
    again = server.platter.image()
    for harm in (
        ("DELETE FROM keys WHERE key_id = ?", keys[1]),
        ("UPDATE keys SET changed = 1 WHERE key_id = ?", keys[1]),
    ):
        server.platter.sql(*harm)
        with pytest.raises(Halted):
            await server.boot()
        server.platter.databases["keys"].deserialize(again)
    await server.boot()
    server.platter.databases["keys"].deserialize(image)
    with pytest.raises(Halted, match="older than the server"):
        await server.boot()


def end_of(server: Server) -> int:
    return max(numbers(server))


async def test_rows_that_somebody_else_removes_are_missed(server: Server) -> None:
    await lived(server)
    await cut(server, 3)
    image = server.platter.image()
    for harm in (
        "DELETE FROM audit WHERE sequence = 4",
        "DELETE FROM audit_cuts",
        "UPDATE audit_cuts SET sequence = 4",
        "DELETE FROM audit_told",
    ):
        server.platter.sql(harm)
        with pytest.raises(Halted):
            await server.boot()
        server.platter.databases["keys"].deserialize(image)
    await server.boot()


async def test_who_cuts_has_read_what_goes(server: Server) -> None:
    await lived(server)
    good = end(server, 3)
    for wrong in (TrailEnd(3, bytes(32)), TrailEnd(2, good.digest)):
        with pytest.raises(InvalidArgument, match="is not the one that was read"):
            await server.service.retention.cut(CONSOLE, wrong)
    with pytest.raises(CryptographicFailure, match="no row 99"):
        await server.service.retention.cut(CONSOLE, TrailEnd(99, good.digest))
    with pytest.raises(PermissionDenied):
        await server.service.retention.cut(OWNER, good)
    await cut(server, 3)
    with pytest.raises(InvalidArgument, match="was cut at row 3 before"):
        await server.service.retention.cut(CONSOLE, good)
    assert numbers(server)[0] == 4


async def test_only_the_first_rows_that_are_all_old_enough(server: Server) -> None:
    begun = server.clock.wall
    for step in (0.0, 10.0, -5.0, 20.0):  # the clock goes back once
        server.clock.wall = begun + step
        await server.ask(CreateKey(operation_id=str(step)))
    older = server.service.retention.older
    assert await older(begun) is None
    for before, number in ((5.0, 1), (10.0, 1), (15.0, 3), (30.0, 4)):
        assert await older(begun + before) == end(server, number)
    await cut(server, 1)
    assert await older(begun + 5.0) is None


async def test_others_know_the_trail_at_its_cuts_and_nowhere_before(server: Server) -> None:
    await lived(server)
    ends = [end(server, number) for number in range(1, 6)]
    await cut(server, 2)
    await cut(server, 4)
    known = await server.service.core.look(lambda c, _: [audit_trail.has(c, one) for one in ends])
    assert known == [False, True, False, True, True]
    forged = TrailEnd(4, bytes(32))
    assert await server.service.core.look(lambda c, _: audit_trail.has(c, EMPTY))
    assert not await server.service.core.look(lambda c, _: audit_trail.has(c, forged))


async def test_an_end_at_any_moment_leaves_a_trail_that_is_whole_or_cut(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what was left of the rows goes with the next life."""
    monkeypatch.setattr(trail_retention, "ROWS", 2)
    right, left = SqliteDatabase.transact, [0]

    async def transact(database: SqliteDatabase, *given: Any) -> Any:
        done = await right(database, *given)
        left[0] -= 1
        if not left[0]:
            server.life.end(WayDown.CRASH)
            server.life.check()
        return done

    monkeypatch.setattr(SqliteDatabase, "transact", transact)
    [key, _] = await lived(server)
    seen, crashes, done = set[int](), 0, False
    while not done:
        for _ in range(3):  # read, and no anchor behind it
            await server.ask(GetKeys(key_ids=(key,)))
        first = numbers(server)[0]
        until = first + 4
        left[0] = crashes + 1
        try:
            await cut(server, until)
            done = True
        except NodeDown:
            crashes += 1
        left[0] = 0
        await server.boot()
        for _ in range(20):
            await asyncio.sleep(0)
        assert numbers(server)[0] in (first, until + 1)
        seen.add(numbers(server)[0] - first)
        assert (await rows(server))[0][0] == numbers(server)[0]
    assert crashes >= 4 and seen == {0, 5}


async def test_rows_of_reads_that_wait_are_written_before_the_trail_is_cut(lazy: Server) -> None:
    [key, _] = await lived(lazy)
    await lazy.ask(GetKeys(key_ids=(key,)))
    last = await lazy.service.retention.older(clock(lazy).wall + 1)
    assert last is not None
    await lazy.service.retention.cut(CONSOLE, last)
    await lazy.boot()
    assert [row[1] for row in await rows(lazy)] == ["Cut Trail"]


@pytest.mark.parametrize("rig", [PairRig, GroupRig])
def test_a_server_that_saw_the_trail_end_in_what_is_gone_has_everything_told(
    rig: type[PairRig],
) -> None:
    """It cannot tell a cut from an older state, and nothing is lost by taking it for one."""
    servers = rig()
    try:
        servers.key(A, "1")
        servers.sleep(40)
        servers.power_off(B)
        for number in range(3):
            servers.key(A, f"away {number}")

        async def cut_all() -> None:
            kept = servers.agent.machine(A).runner.service.retention  # type: ignore[attr-defined]
            last = await kept.older(1e12)
            assert last is not None
            await kept.cut(caller_at(CONFIG, A, local=True), last)

        servers.run(cut_all())
        servers.power_on(B)
        servers.sleep(60)
        assert servers.attributes(A) == servers.attributes(B)
        assert len(servers.attributes(B)) == 4
        for server in (A, B):
            servers.power_off(server)
            assert servers.power_on(server).screen == ""
        servers.key(B, "after")
        servers.sleep(60)
        assert servers.attributes(A) == servers.attributes(B)
        servers.healthy()
    finally:
        servers.close()
