"""Lists of the bus door fit into messages, whatever the length of the ids in them."""

from __future__ import annotations

import sqlite3

import msgspec
import pytest

from protocol.codec import SIZE_LIMIT, size_on_wire
from protocol.errors import ResponseTooLarge
from protocol.messages.kms.keys import (
    KEY_ATTRIBUTES_BYTES,
    KEY_VALUE_BYTES,
    AuditRow,
    CreateKey,
    GetAttributes,
    GetKeys,
    KeyAttributes,
    KeyValue,
    Locate,
    QueryAudit,
)
from protocol.pages import KEY_BYTES, pages
from protocol.terms import KeyId, KmipState
from services.kms.audit.deferred_rows import ROWS, WINDOW_S
from services.kms.commit import store
from services.kms.objects.key_row import StoredKeyRow
from tests.protocol.weights import LONG, long_ids, on_the_wire
from tests.services.kms.ports import LOCAL, OPERATOR, VCENTER, Server

EMPTY = KeyId("")
LONGEST_STATE = max(KmipState, key=lambda state: len(state.value))


async def long_keys(server: Server, count: int) -> list[KeyId]:
    """Keys with ids of 300 characters, put into the database as the server would write them."""
    await server.ask(CreateKey(operation_id="short", get=True))
    vault = server.vault
    [values] = server.platter.sql(f"SELECT {', '.join(StoredKeyRow.__struct_fields__)} FROM keys")  # noqa: S608
    short = msgspec.convert(values, StoredKeyRow)
    material = store.material(vault, short)
    assert material is not None
    binding = (short.scope, short.algorithm, short.length, short.usage_mask)
    rows = [
        msgspec.structs.replace(
            short,
            key_id=key_id,
            operation_id=key_id,
            wrapped=vault.close(material, store.binding(key_id, *binding), bytes(12)),
        )
        for key_id in long_ids(count)
    ]

    def insert(connection: sqlite3.Connection) -> None:
        for row in rows:
            store.insert(connection, vault, row)

    await server.database.transact(insert)
    return [row.key_id for row in rows]


def test_what_a_key_adds_to_an_answer_is_no_more_than_is_said() -> None:
    value = KeyValue(key_id=EMPTY, state=LONGEST_STATE, index=SIZE_LIMIT)
    assert size_on_wire(value) + KEY_BYTES <= KEY_VALUE_BYTES
    attributes = KeyAttributes(
        key_id=EMPTY,
        state=LONGEST_STATE,
        usage_mask=1 << 31,
        initial_date=1.5,
        activation_date=1.5,
        deactivation_date=1.5,
        compromise_date=1.5,
        destroy_date=1.5,
        last_change_date=1.5,
    )
    assert size_on_wire(attributes) <= KEY_ATTRIBUTES_BYTES


async def test_material_of_long_ids_is_asked_for_in_pages(server: Server) -> None:
    ids = await long_keys(server, 600)
    asked = list(pages(ids, extra=KEY_VALUE_BYTES))
    assert len(asked) > 1
    for page in asked:
        request = GetKeys(key_ids=page)
        assert on_the_wire(request) < SIZE_LIMIT
        got = await server.ask(request)
        assert [value.index for value in got.values] == list(range(len(page)))
        assert on_the_wire(got) < SIZE_LIMIT


async def test_attributes_of_long_ids_are_asked_for_in_pages(server: Server) -> None:
    ids = await long_keys(server, 400)
    asked = list(pages(ids, extra=KEY_ATTRIBUTES_BYTES))
    assert len(asked) > 1
    for page in asked:
        request = GetAttributes(key_ids=page)
        assert on_the_wire(request) < SIZE_LIMIT
        listed = await server.ask(request)
        assert [key.key_id for key in listed.keys] == list(page)
        assert on_the_wire(listed) < SIZE_LIMIT


@pytest.mark.parametrize("message", [GetKeys, GetAttributes])
async def test_an_answer_that_would_not_fit_is_refused_before_anything_happens(
    server: Server, message: type[GetKeys] | type[GetAttributes]
) -> None:
    before = (await server.ask(QueryAudit(), LOCAL)).rows
    with pytest.raises(ResponseTooLarge, match="700 keys"):
        await server.ask(message(key_ids=long_ids(700)), VCENTER)
    assert (await server.ask(QueryAudit(), LOCAL)).rows == before


async def test_the_operator_at_the_server_itself_gets_whole_lists(server: Server) -> None:
    """The control plane holds them; who shows a server's keys would otherwise miss some."""
    ids = await long_keys(server, 999)
    located = (await server.ask(Locate(), LOCAL)).key_ids
    assert list(located[1:]) == ids
    assert len((await server.ask(GetAttributes(key_ids=located), LOCAL)).keys) == 1000


async def test_located_long_ids_come_in_pages(server: Server) -> None:
    wanted = await long_keys(server, 1500)
    seen: list[KeyId] = []
    while (page := await server.ask(Locate(after=seen[-1] if seen else EMPTY))).key_ids:
        assert on_the_wire(page) < SIZE_LIMIT
        assert page.total == len(wanted) + 1
        seen += page.key_ids
    assert seen[1:] == wanted


async def test_audit_rows_with_long_ids_come_in_pages(server: Server) -> None:
    asked = long_ids(900)
    for first in range(0, len(asked), ROWS):
        await server.ask(GetKeys(key_ids=asked[first : first + ROWS]))
        server.clock.wall += WINDOW_S  # or the next ones were counted only
    rows: list[AuditRow] = []
    count = 0
    while (page := await server.ask(QueryAudit(after=len(rows)), OPERATOR)).rows:
        assert on_the_wire(page) < SIZE_LIMIT
        rows += page.rows
        count += 1
    assert [row.key_id for row in rows] == list(asked)
    assert count > 1 and len(rows[0].key_id) == LONG
