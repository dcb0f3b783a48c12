"""What connections of KMIP may cost a server, and how it ends while messages are in work."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from lab.kmip import alone
from lab.kmip.standalone import standalone
from protocol.crypto.certificates import key_digest
from protocol.errors import Disconnected
from protocol.kmip.enums import Operation, ResultReason, ResultStatus
from protocol.kmip.message import RequestItem, ResponseMessage, encode_request
from protocol.kmip.objects import Attribute
from protocol.kmip.payloads import DiscoverVersionsRequest
from protocol.terms import NodeName
from services.kms.commit.group_commit import Commits
from services.kms.endpoints.kmip import connections
from services.kms.objects.request_types import QueryAuditTrail
from services.kms.settings.config import KmsRole
from services.runtime.streams import TlsIdentity
from tests.lab.kmip.tls import Party, answer, ask, served
from tests.services.kms.kmip_rig import message, new_key, reason

SERVER, APP = Party.named("kms"), Party.named("app")


def large(size: int) -> bytes:
    """A message of a bit more than so many bytes."""
    item = RequestItem(
        operation=Operation.DISCOVER_VERSIONS,
        unique_batch_item_id=bytes(size),
        request_payload=DiscoverVersionsRequest(),
    )
    return encode_request(message(item))


async def test_who_may_not_ask_gets_no_room_for_a_large_message(tmp_path: Path) -> None:
    """It is told so when the message has begun; one that is small is answered as before."""
    authority = Party.named("CA", authority=True)
    guest = Party.named("guest", authority)
    async with served(tmp_path, SERVER, authority) as one:
        stream = await one.connect(guest)
        await stream.write(large(60_000))
        [item] = (await answer(stream)).batch_item
        assert reason(item) is ResultReason.PERMISSION_DENIED
        assert item.unique_batch_item_id is not None
        await stream.write(large(900_000)[:20_000])
        [item] = (await answer(stream)).batch_item
        assert reason(item) is ResultReason.PERMISSION_DENIED
        assert "kmip/unknown" in (item.result_message or "")
        assert "is not registered" in (item.result_message or "")
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "a")
        stream = await one.connect(APP)
        await one.admission.revoke(one.local, key_digest(APP.certificate).hex())
        await stream.write(large(900_000)[:20_000])
        [item] = (await answer(stream)).batch_item
        assert reason(item) is ResultReason.AUTHENTICATION_NOT_SUCCESSFUL
        trail = await one.server.service.core.execute(one.local, QueryAuditTrail())
        assert [row.operation for row in trail.records].count("Admit") == 2


async def test_unfinished_messages_have_a_bound_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One too many is told so, also while it is sending; the others go on."""
    monkeypatch.setattr(connections, "UNFINISHED", 300_000)
    data = large(250_000)
    async with served(tmp_path, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "a")
        first, second = await one.connect(APP), await one.connect(APP)
        await first.write(data[:200_000])
        await asyncio.sleep(0.2)
        await second.write(data[:200_000])
        [item] = (await answer(second)).batch_item
        assert reason(item) is ResultReason.GENERAL_FAILURE
        assert "unfinished messages" in (item.result_message or "")
        await first.write(data[200_000:])
        for again in (first, await one.connect(APP)):
            if again is not first:
                await again.write(data)
            [item] = (await answer(again)).batch_item
            assert item.result_status is ResultStatus.SUCCESS


async def _in_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, takes_s: float, *, plain: bool
) -> tuple[asyncio.Task[ResponseMessage], float]:
    """A server is ended while a message is in work that takes so long, and another client waits:
    the answer, and how long the end took. A ``plain`` one is in work without a task."""
    request = new_key() if plain else new_key(Attribute(attribute_name="x-a", attribute_value="1"))
    begun, done = asyncio.Event(), Commits._carry

    async def slow(self: Any, *asked: Any) -> Any:
        begun.set()
        await asyncio.sleep(takes_s)
        return await done(self, *asked)

    clients = standalone(NodeName("client"), folder).streams
    identity = TlsIdentity((APP.certificate,), APP.key, (SERVER.certificate,))
    async with served(folder, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "a")
        stream = await clients.connect(one.address, identity, within_s=20)
        idle = await clients.connect(one.address, identity, within_s=20)
        monkeypatch.setattr(Commits, "_carry", slow)
        asked = asyncio.get_running_loop().create_task(ask(stream, message(request)))
        await begun.wait()
        since = time.monotonic()
    took = time.monotonic() - since
    assert await idle.read(1) == b""
    await asyncio.wait([asked], timeout=20)
    clients.close()
    return asked, took


@pytest.mark.slow
@pytest.mark.parametrize("plain", [False, True], ids=["", "plain"])
async def test_a_message_in_work_is_answered_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, plain: bool
) -> None:
    asked, took = await _in_work(tmp_path, monkeypatch, 0.5, plain=plain)
    assert asked.result().batch_item[0].result_status is ResultStatus.SUCCESS
    assert took >= 0.4


@pytest.mark.slow
@pytest.mark.parametrize("plain", [False, True], ids=["", "plain"])
async def test_the_end_waits_for_no_message_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, plain: bool
) -> None:
    monkeypatch.setattr(alone, "FINISH_S", 0.3)
    asked, took = await _in_work(tmp_path, monkeypatch, 60.0, plain=plain)
    assert isinstance(asked.exception(), (Disconnected, AssertionError))
    assert took < 30
