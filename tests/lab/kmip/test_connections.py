"""Connections of KMIP: who is let in, what is done with bytes that are no message."""

from __future__ import annotations

import asyncio
import os
import random
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.kmip import disturb, key_reply, tag_batch
from protocol.crypto.certificates import SERIAL_SIZE, key_digest, self_signed
from protocol.errors import (
    CryptographicFailure,
    Disconnected,
    InvalidField,
    NotAvailable,
    NotFound,
    TlsFailure,
)
from protocol.kmip import payloads as p
from protocol.kmip.enums import Operation, ResultReason, ResultStatus
from protocol.kmip.message import (
    RequestItem,
    decode_response,
    encode_request,
    encode_response,
)
from services.kms.endpoints.kmip import connections
from services.kms.endpoints.kmip.messages import Messages
from services.kms.endpoints.kmip_clients import IdentityAdmission
from services.kms.objects.request_types import QueryAuditTrail
from services.kms.settings.config import KmsRole
from services.runtime.real import streams as real
from services.runtime.streams import Stream
from tests.lab.kmip.tls import Party, answer, ask, fresh_key, served
from tests.services.kms.core_rig import OWNER
from tests.services.kms.kmip_rig import message, new_key, reason
from tests.services.kms.ports import Server

SERVER, APP = Party.named("kms"), Party.named("app")


async def made(stream: Stream) -> str:
    [item] = (await ask(stream, message(new_key()))).batch_item
    assert item.result_status is ResultStatus.SUCCESS
    payload = item.response_payload
    assert isinstance(payload, p.CreateResponse)
    return payload.unique_identifier


async def refusal(stream: Stream, payload: Any) -> ResultReason | int:
    [item] = (await ask(stream, message(payload))).batch_item
    return reason(item)


async def test_who_is_unknown_does_not_get_through_the_handshake(tmp_path: Path) -> None:
    async with served(tmp_path, SERVER) as one:
        with pytest.raises((TlsFailure, Disconnected)):
            stream = await one.connect(APP)
            await ask(stream, message(new_key()))
        assert one.refused
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "default")
        assert await made(await one.connect(APP))


async def test_a_server_whose_own_certificate_has_expired_says_so(tmp_path: Path) -> None:
    """Its clients see TLS fail, and its administrator would look at them."""
    key, now = fresh_key(), time.time()
    old = Party(self_signed("kms", key, os.urandom(SERIAL_SIZE), now - 60, now - 30), key)
    records: list[Any] = []
    async with served(tmp_path, old, records=records) as one:
        assert [kind for kind, _ in records] == ["kms.certificate_expired"]
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "default")
        with pytest.raises(TlsFailure, match="expired"):
            await one.connect(APP)
    assert [kind for kind, _ in records].count("kms.certificate_expired") == 1


async def test_who_is_under_the_authority_and_not_in_the_table_may_do_nothing(
    tmp_path: Path,
) -> None:
    authority = Party.named("CA", authority=True)
    guest = Party.named("guest", authority)
    async with served(tmp_path, SERVER, authority) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "default")
        stream = await one.connect(guest)
        for payload in (new_key(), p.DiscoverVersionsRequest(), p.LocateRequest()):
            assert await refusal(stream, payload) is ResultReason.PERMISSION_DENIED
        await one.admission.trust(one.local, guest.certificate, KmsRole.OWNER, "default")
        assert await made(stream)


async def test_a_revoked_one_is_told_so_at_once(tmp_path: Path) -> None:
    async with served(tmp_path, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "default")
        stream = await one.connect(APP)
        await made(stream)
        await one.admission.revoke(one.local, key_digest(APP.certificate).hex())
        for open_one in (stream, await one.connect(APP)):
            found = await refusal(open_one, p.LocateRequest())
            assert found is ResultReason.AUTHENTICATION_NOT_SUCCESSFUL
            assert await open_one.read(1) == b""
        trail = (await one.server.service.core.execute(one.local, QueryAuditTrail())).records
        tried = [(row.who, row.operation, row.result) for row in trail[-2:]]
        assert tried == [("kmip/app", "Admit", "Permission Denied")] * 2, "who tried is told"
        with pytest.raises(NotFound):
            await one.admission.revoke(one.local, "00")


async def test_scopes_and_roles(tmp_path: Path) -> None:
    other, viewer = Party.named("other"), Party.named("viewer")
    async with served(tmp_path, SERVER) as one:
        for who, role, scope in (
            (APP, KmsRole.OWNER, "a"),
            (viewer, KmsRole.CLIENT, "a"),
            (other, KmsRole.OWNER, "b"),
        ):
            await one.admission.trust(one.local, who.certificate, role, scope)
        key = await made(await one.connect(APP))
        asked = p.GetRequest(unique_identifier=key)
        stranger, same = await one.connect(other), await one.connect(viewer)
        assert await refusal(stranger, asked) is ResultReason.ITEM_NOT_FOUND
        [item] = (await ask(same, message(asked))).batch_item
        assert item.result_status is ResultStatus.SUCCESS
        destroy = p.DestroyRequest(unique_identifier=key)
        assert await refusal(same, destroy) is ResultReason.PERMISSION_DENIED
        assert await refusal(stranger, destroy) is ResultReason.ITEM_NOT_FOUND
        for role, scope in ((KmsRole.PEER, "a"), (KmsRole.OWNER, "a\nb")):
            with pytest.raises(InvalidField):
                await one.admission.trust(one.local, APP.certificate, role, scope)


async def test_who_is_moved_is_elsewhere_over_the_connection_that_is_open(tmp_path: Path) -> None:
    digest = key_digest(APP.certificate).hex()
    async with served(tmp_path, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "a")
        stream = await one.connect(APP)
        key = await made(stream)
        asked = p.GetRequest(unique_identifier=key)
        await one.admission.move(one.local, digest, None, "b")
        assert await refusal(stream, asked) is ResultReason.ITEM_NOT_FOUND
        await one.admission.move(one.local, digest, KmsRole.OPERATOR, "a")
        assert await refusal(stream, asked) is ResultReason.PERMISSION_DENIED
        await one.admission.move(one.local, digest, KmsRole.CLIENT, "")
        [item] = (await ask(stream, message(asked))).batch_item
        assert item.result_status is ResultStatus.SUCCESS
        with pytest.raises(InvalidField):
            await one.admission.move(one.local, digest, KmsRole.PEER, "")
        with pytest.raises(InvalidField, match="scope"):
            await one.admission.move(one.local, digest, None, "a\x1b[2J")
        with pytest.raises(NotFound):
            await one.admission.move(one.local, "00", None, "a")
    async with served(tmp_path, SERVER) as one:
        [identity] = one.admission.all()
        assert (identity.role, identity.scope) == (KmsRole.CLIENT, "a")
        trail = await one.server.service.core.execute(one.local, QueryAuditTrail())
        assert [row.operation for row in trail.records].count("Move Identity") == 3


async def test_a_renewed_certificate_is_the_same_identity(tmp_path: Path) -> None:
    renewed = Party.named("app, renewed", key=APP.key)
    async with served(tmp_path, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "a")
        key = await made(await one.connect(APP))
        await one.admission.trust(one.local, renewed.certificate, KmsRole.OWNER, "a")
        assert len(one.admission.all()) == 1
        [item] = (
            await ask(await one.connect(renewed), message(p.GetRequest(unique_identifier=key)))
        ).batch_item
        assert item.result_status is ResultStatus.SUCCESS


async def test_the_table_outlives_the_server_and_is_in_the_trail(tmp_path: Path) -> None:
    digest = key_digest(APP.certificate).hex()
    async with served(tmp_path, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.CLIENT, "a")
        await one.admission.trust(one.local, APP.certificate, KmsRole.CLIENT, "a")
        await one.admission.revoke(one.local, digest)
        await one.admission.revoke(one.local, digest)
    async with served(tmp_path, SERVER) as one:
        [identity] = one.admission.all()
        assert (identity.name, identity.role, identity.scope) == ("app", KmsRole.CLIENT, "a")
        assert identity.revoked
        trail = await one.server.service.core.execute(one.local, QueryAuditTrail())
        rows = [(row.who, row.operation, row.key_id) for row in trail.records]
        assert rows == [("local/kms", "Trust", digest), ("local/kms", "Distrust", digest)]


async def test_an_edited_table_is_not_served_from(server: Server) -> None:
    database, vault = server.service._database, server.service._vault
    admission = IdentityAdmission(server.service.core, vault)
    await admission.trust(OWNER, APP.certificate, KmsRole.CLIENT, "a")
    [(row,)] = server.platter.sql("SELECT row FROM identities")
    edited = row.replace(b"client", b"owner!")
    assert edited != row
    server.platter.sql("UPDATE identities SET row = ?", edited)
    with pytest.raises(CryptographicFailure, match="identity"):
        await IdentityAdmission(server.service.core, vault).load(database)


async def test_a_node_without_connections_says_so(server: Server) -> None:
    with pytest.raises(NotAvailable):
        admission = await server.service.kmip_identities()
        await server.service.open_kmip(admission, lambda: ((SERVER.certificate,), SERVER.key))


async def test_bytes_come_as_they_come(tmp_path: Path) -> None:
    """Singly, several messages at once, and one in the midst of which the client leaves."""
    async with served(tmp_path, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "a")
        stream, data = await one.connect(APP), encode_request(message(new_key()))
        for at in range(len(data)):
            await stream.write(data[at : at + 1])
        assert (await answer(stream)).batch_item[0].result_status is ResultStatus.SUCCESS
        await stream.write(data * 5)
        for _ in range(5):
            assert (await answer(stream)).batch_item[0].result_status is ResultStatus.SUCCESS
        await stream.write(data + data[:-8])
        assert (await answer(stream)).batch_item[0].result_status is ResultStatus.SUCCESS
        stream.close()
        found = (await ask(await one.connect(APP), message(p.LocateRequest()))).batch_item[0]
        assert isinstance(found.response_payload, p.LocateResponse)
        assert found.response_payload.located_items == 7


async def test_who_stops_in_the_midst_of_a_message_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MESSAGE_S", 0.1)
    async with served(tmp_path, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "a")
        stream = await one.connect(APP)
        await stream.write(encode_request(message(new_key()))[:20])
        assert await stream.read(1) == b""
        stream = await one.connect(APP)
        await stream.write(b"B\0y")
        assert reason((await answer(stream)).batch_item[0]) is ResultReason.INVALID_MESSAGE


async def test_a_message_has_so_long_and_not_each_of_its_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that sends a byte now and then holds a connection no longer than another."""
    monkeypatch.setattr(connections, "MESSAGE_S", 0.3)
    async with served(tmp_path, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "a")
        stream, data = await one.connect(APP), encode_request(message(new_key()))
        ended = asyncio.ensure_future(stream.read(1))
        for at in range(len(data)):  # a byte each 0.1 s: half a minute for all of them
            if ended.done():
                break
            with suppress(Disconnected):
                await stream.write(data[at : at + 1])
            await asyncio.sleep(0.1)
        assert at < len(data) // 2
        assert await ended == b""


async def test_who_says_nothing_for_long_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE_S", 0.3)
    async with served(tmp_path, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "a")
        stream = await one.connect(APP)
        async with asyncio.timeout(30):
            assert await stream.read(1) == b""


@pytest.mark.slow
async def test_who_takes_no_answer_is_let_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ANSWER_S", 0.2)
    monkeypatch.setattr(real, "LINGER_S", 0.2)
    item = RequestItem(
        operation=Operation.DISCOVER_VERSIONS,
        unique_batch_item_id=bytes(500_000),  # each answer repeats it
        request_payload=p.DiscoverVersionsRequest(),
    )
    async with served(tmp_path, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "a")
        before = len(os.listdir("/proc/self/fd"))
        stream, data = await one.connect(APP), encode_request(message(item))
        with suppress(TimeoutError, Disconnected):
            async with asyncio.timeout(6):
                while True:
                    await stream.write(data)
        async with asyncio.timeout(30):
            while len(os.listdir("/proc/self/fd")) > before:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n", b"\0" * 64, b"\x42\x00\x78\x01\x7f\xff\xff\xff", b"x"],
    ids=["another protocol", "zeros", "a gigabyte", "a letter"],
)
async def test_what_is_no_message_is_answered_and_ends_the_connection(
    tmp_path: Path, noise: bytes
) -> None:
    async with served(tmp_path, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "a")
        stream = await one.connect(APP)
        await stream.write(noise)
        assert reason((await answer(stream)).batch_item[0]) is ResultReason.INVALID_MESSAGE
        assert await stream.read(1) == b""


async def test_a_message_that_is_whole_and_wrong_leaves_the_connection(tmp_path: Path) -> None:
    async with served(tmp_path, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "a")
        stream, data = await one.connect(APP), encode_request(message(new_key()))
        await stream.write(data[:8] + bytes(len(data) - 8))
        assert reason((await answer(stream)).batch_item[0]) is ResultReason.INVALID_MESSAGE
        assert await made(stream)


@pytest.mark.slow
async def test_ten_thousand_disturbed_messages(server: Server) -> None:
    """Each is answered with a message, and the server goes on."""
    messages = Messages(server.service.core, cast(Any, server.clock))
    samples = [
        encode_request(tag_batch()),
        encode_request(message(new_key())),
        encode_request(message(new_key(), p.GetRequest(), p.LocateRequest())),
        encode_response(key_reply()),
    ]
    rng = random.Random(1)
    for number in range(10_000):
        data = disturb(samples[number % len(samples)], rng)
        found = decode_response(await messages.answer(OWNER, data))
        assert found.batch_item
    [item] = decode_response(await messages.answer(OWNER, samples[1])).batch_item
    assert item.result_status is ResultStatus.SUCCESS


@pytest.mark.slow
async def test_a_thousand_idle_connections_keep_nobody_out(tmp_path: Path) -> None:
    async with served(tmp_path, SERVER) as one:
        await one.admission.trust(one.local, APP.certificate, KmsRole.OWNER, "a")
        idle: list[Stream] = []
        for _ in range(20):
            idle += await asyncio.gather(*(one.connect(APP) for _ in range(50)))
        async with asyncio.timeout(10):
            assert await made(await one.connect(APP))
            assert await made(idle[500])
        for stream in idle:
            stream.close()
