"""A message of many items that reads holds no other client, and is one look at the store."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from protocol.kmip.enums import ResultStatus
from protocol.kmip.payloads import GetAttributesRequest, GetRequest, LocateRequest, LocateResponse
from protocol.terms import KeyId
from services.kms.objects import request_types, search
from services.kms.operations import buffered_reads
from services.kms.settings.config import KmsRole
from tests.lab.kmip.test_connections import made
from tests.lab.kmip.tls import Party, ask, served
from tests.services.kms.kmip_rig import message

SERVER, APP, OTHER = Party.named("kms"), Party.named("app"), Party.named("other")


async def test_others_are_answered_beside_a_message_of_many_locates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, free = threading.Event(), threading.Event()
    stored = search.find_matching

    def slow(connection: sqlite3.Connection, *args: Any, **options: Any) -> Any:
        found = stored(connection, *args, **options)
        if not begun.is_set():  # the message of many; the others look for keys of a name
            begun.set()
            assert free.wait(20)
        return found

    async with served(tmp_path, SERVER) as one:
        for who in (APP, OTHER):
            await one.admission.trust(one.local, who.certificate, KmsRole.OWNER, "default")
        hog, client = await one.connect(APP), await one.connect(OTHER)
        key = await made(client)
        monkeypatch.setattr(search, "find_matching", slow)
        many = [LocateRequest()] * (buffered_reads.SHORT + 1)
        async with asyncio.TaskGroup() as group:
            whole = group.create_task(ask(hog, message(*many)))
            await asyncio.to_thread(begun.wait, 20)
            async with asyncio.timeout(10):
                for payload in (GetAttributesRequest, GetRequest):
                    [item] = (await ask(client, message(payload(unique_identifier=key)))).batch_item
                    assert item.result_status is ResultStatus.SUCCESS
                second = await made(client)
            assert not whole.done()
            free.set()
    for item in whole.result().batch_item:
        assert isinstance(item.response_payload, LocateResponse)
        assert item.response_payload.unique_identifier == (key,), f"one look, without {second}"


def test_what_is_long_is_told_by_its_items_and_their_keys() -> None:
    assert not buffered_reads.is_long([request_types.LocateObjects()] * buffered_reads.SHORT)
    assert buffered_reads.is_long([request_types.LocateObjects()] * (buffered_reads.SHORT + 1))
    ids = tuple(KeyId(f"{number}") for number in range(buffered_reads.SHORT + 1))
    assert buffered_reads.is_long([request_types.Get(unique_identifiers=ids)])
    assert not buffered_reads.is_long([request_types.Get(unique_identifiers=ids[1:])])
