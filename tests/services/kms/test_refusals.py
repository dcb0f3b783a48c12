"""Many refusals cost no row each, and none goes uncounted."""

from __future__ import annotations

import errno

import pytest

from protocol.errors import GeneralFailure, PermissionDenied, ProductError
from protocol.messages.base import Request
from protocol.messages.kms.keys import AuditRow, CreateKey, Destroy, GetKeys, QueryAudit, Revoke
from protocol.terms import KeyId, ResultReason
from services.kms.access.authorization import caller_at
from services.kms.audit.deferred_rows import ROWS, WINDOW_S
from services.kms.objects.request_types import ActivateObject
from services.kms.operations.batches import Continuation
from services.runtime.service import Peer
from tests.services.kms.core_rig import items
from tests.services.kms.ports import CONFIG, LOCAL, OPERATOR, STRANGER, VCENTER, Server

MANY = 1000


async def refused(server: Server, message: Request[object], peer: Peer, times: int = MANY) -> int:
    """Ask that often; how many commits it took."""
    before = server.database.commits
    for _ in range(times):
        with pytest.raises(ProductError):
            await server.ask(message, peer)
    return server.database.commits - before


async def trail(server: Server) -> list[AuditRow]:
    return list((await server.ask(QueryAudit(), LOCAL)).rows)


async def test_a_flood_of_a_stranger_is_counted(server: Server) -> None:
    commits = await refused(server, CreateKey(operation_id="1"), STRANGER)
    assert commits == ROWS
    rows = await trail(server)
    assert [row.times for row in rows] == [1] * ROWS + [MANY - ROWS]
    assert {(row.who, row.operation, row.result) for row in rows} == {
        ("stranger", "Create", ResultReason.PERMISSION_DENIED.value)
    }
    assert await trail(server) == rows, "told once"


async def test_after_a_minute_rows_are_written_again_with_what_was_counted(server: Server) -> None:
    await refused(server, CreateKey(operation_id="1"), STRANGER)
    server.clock.wall += WINDOW_S
    assert await refused(server, CreateKey(operation_id="1"), STRANGER, 1) == 1
    rows = server.platter.sql("SELECT times FROM audit ORDER BY sequence")
    assert rows == [(1,)] * ROWS + [(MANY - ROWS,), (1,)]


async def test_what_was_counted_is_kept_over_a_message_that_is_not_refused(server: Server) -> None:
    key = (await server.ask(CreateKey(operation_id="1", activate=True))).key_id
    await refused(server, Destroy(key_id=key), OPERATOR)
    server.clock.wall += WINDOW_S
    await server.ask(Revoke(key_id=key), OPERATOR)
    rows = [row for row in await trail(server) if row.operation == "Destroy"]
    assert sum(row.times for row in rows) == MANY


async def test_one_caller_uses_up_nobody_elses_rows(server: Server) -> None:
    key = (await server.ask(CreateKey(operation_id="1", activate=True))).key_id
    await refused(server, CreateKey(operation_id="2"), STRANGER)
    await refused(server, Destroy(key_id=key), OPERATOR, 2)
    rows = [row for row in await trail(server) if row.who == OPERATOR.node]
    assert [(row.key_id, row.times) for row in rows] == [(key, 1), (key, 1)]


async def test_refusals_about_keys_are_counted_by_reason(server: Server) -> None:
    """Ids that somebody makes up, and steps that a state does not allow."""
    key = (await server.ask(CreateKey(operation_id="1", activate=True))).key_id
    await refused(server, Destroy(key_id=KeyId("no such key")), OPERATOR, 40)
    await refused(server, Destroy(key_id=key), OPERATOR, 40)
    rows = [row for row in await trail(server) if row.operation == "Destroy"]
    counted = {(row.result, row.key_id): row.times for row in rows if row.times > 1}
    assert counted == {
        (ResultReason.ITEM_NOT_FOUND.value, ""): 40 - ROWS,
        (ResultReason.WRONG_KEY_LIFECYCLE_STATE.value, ""): 40,
    }
    assert sum(row.times for row in rows) == 80


async def test_keys_that_are_not_there_are_counted_and_those_that_are_have_rows(
    server: Server,
) -> None:
    key = (await server.ask(CreateKey(operation_id="1"))).key_id
    for number in range(100):
        await server.ask(GetKeys(key_ids=(KeyId(f"none-{number}"), key)), VCENTER)
    rows = [row for row in await trail(server) if row.operation == "Get"]
    assert sum(row.times for row in rows if row.result == "Success") == 100
    missing = [row.times for row in rows if row.result == ResultReason.ITEM_NOT_FOUND.value]
    assert missing == [1] * ROWS + [100 - ROWS]


async def test_a_message_of_many_items_is_no_way_around(server: Server) -> None:
    """Some come before the message, the rest of a minute's rows are its first items'."""
    await refused(server, CreateKey(operation_id="1"), STRANGER, 2)
    message = [ActivateObject(unique_identifier=KeyId(f"none-{number}")) for number in range(100)]
    stranger = caller_at(CONFIG, STRANGER.node, local=False)
    done = await items(server, *message, option=Continuation.CONTINUE, caller=stranger)
    assert all(isinstance(item.error, PermissionDenied) for item in done)
    rows = await trail(server)
    assert [row.times for row in rows] == [1] * ROWS + [102 - ROWS]
    assert [row.key_id for row in rows[2:]] == [f"none-{n}" for n in range(ROWS - 2)] + [""]


async def test_an_orderly_stop_writes_what_was_counted(server: Server) -> None:
    await refused(server, CreateKey(operation_id="1"), STRANGER, 50)
    await server.service.stop()
    await server.boot()
    assert [row.times for row in await trail(server)][-1] == 50 - ROWS


@pytest.mark.parametrize("message", [QueryAudit(), CreateKey(operation_id="1")])
async def test_what_was_counted_is_kept_over_a_disk_that_refuses(
    server: Server, message: Request[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The write of the counts fails: they are written with the next that succeeds."""

    async def fails(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    await refused(server, CreateKey(operation_id="1"), STRANGER, 50)
    server.clock.wall += WINDOW_S
    with monkeypatch.context() as patch:
        patch.setattr(server.database, "transact", fails)
        with pytest.raises(GeneralFailure, match="No space"):
            await server.ask(message, LOCAL if isinstance(message, QueryAudit) else STRANGER)
    assert sum(row.times for row in await trail(server)) == 50


async def test_a_stranger_is_refused_all_the_while(server: Server) -> None:
    await refused(server, CreateKey(operation_id="1"), STRANGER)
    with pytest.raises(PermissionDenied, match="not registered"):
        await server.ask(CreateKey(operation_id="1"), STRANGER)
