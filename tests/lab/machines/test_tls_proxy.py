"""The TLS proxy, from whoever can say which broker is meant, and nothing else."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio

from lab.brokers.configuration import BrokerKind
from lab.brokers.control_plane import ControlClient
from lab.brokers.identities import Identities
from lab.brokers.server import Broker
from lab.machines import listening
from lab.machines.listening import Address, TlsProxy, address, find_address
from lab.machines.tls_proxy import context, serve
from lab.schema.errors import KeysteadError
from services.runtime.real.broker_tls import PROXY_NAME, LabTls


async def broker(name: bytes) -> tuple[asyncio.Server, int]:
    """Says its name, then says everything back."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            writer.write(name + b"\n")
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


@pytest_asyncio.fixture
async def port(tmp_path: Path) -> AsyncIterator[int]:
    """Of a TLS proxy in front of a control broker; the data broker is down."""
    certificate, key = listening.ensure_proxy_certificate(tmp_path / "tls-proxy", "far")
    control, inner = await broker(b"control")
    down, gone = await broker(b"data")
    down.close()
    secure = context(str(certificate), str(key), ["control", "data"])
    proxy = await serve("127.0.0.1", 0, secure, {"control": [inner], "data": [gone]})
    yield proxy.sockets[0].getsockname()[1]
    proxy.close()
    control.close()
    await asyncio.sleep(0.1)  # connections end at both ends


def secured(folder: Path, broker: str = "control") -> ssl.SSLContext:
    made = LabTls(str(folder / "tls-proxy" / "ca.pem"), broker).options["tls"]
    assert isinstance(made, ssl.SSLContext)
    return made


async def test_bytes_pass_whole_in_both_ways(tmp_path: Path, port: int) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=secured(tmp_path), server_hostname=PROXY_NAME
    )
    assert await reader.readline() == b"control\n"
    sent = bytes(range(256)) * 8192
    writer.write(sent)
    assert await reader.readexactly(len(sent)) == sent
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
    writer.transport.abort()


@pytest.mark.slow
async def test_a_client_comes_back_however_long_proxy_or_broker_were_down(tmp_path: Path) -> None:
    identities = Identities.create(tmp_path)
    seed = identities.add_machine("east").seed
    control = Broker(tmp_path, identities, BrokerKind.CONTROL)
    proxy = TlsProxy(tmp_path, "far", Address("127.0.0.1", 0))
    await control.start()
    await proxy.start({"control": control.url})
    way = LabTls(str(tmp_path / "tls-proxy" / "ca.pem"), "control")
    client = ControlClient(f"nats://{find_address(tmp_path)}", seed, "machine-east", secured=way)
    await client.open()
    try:
        for down_s in (0.0, 1.0):  # one try to come back meanwhile, and several
            await proxy.stop()
            await asyncio.sleep(down_s)
            await proxy.start({"control": control.url})
            await up(client)
            await control.kill()
            await asyncio.sleep(down_s)
            await control.start()
            await up(client)
    finally:
        await client.close()
        await proxy.stop()
        await control.stop()


async def up(client: ControlClient) -> None:
    """Return when it has a link; it may not have noticed yet that it lost the one before."""
    await asyncio.sleep(0.1)
    async with asyncio.timeout(10):
        while not client.connected:
            await asyncio.sleep(0.05)


async def test_a_broker_that_is_down_is_a_connection_that_ends(tmp_path: Path, port: int) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=secured(tmp_path, "data"), server_hostname=PROXY_NAME
    )
    assert await ended(reader) == b""
    writer.transport.abort()


async def test_who_names_no_broker_or_speaks_no_tls_gets_nothing(tmp_path: Path, port: int) -> None:
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    plain.load_verify_locations(tmp_path / "tls-proxy" / "ca.pem")
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=plain, server_hostname=PROXY_NAME
    )
    assert await ended(reader) == b""
    writer.transport.abort()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b'CONNECT {"verbose":false}\r\nPING\r\n')
    assert await ended(reader) == b""
    writer.transport.abort()


async def ended(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(5):
            return await reader.read()
    except ConnectionError:
        return b""


async def test_another_labs_proxy_is_a_stranger(tmp_path: Path, port: int) -> None:
    listening.ensure_proxy_certificate(tmp_path / "other" / "tls-proxy", "far")

    def knock() -> None:
        with socket.create_connection(("127.0.0.1", port)) as plain:
            secured(tmp_path / "other").wrap_socket(plain, server_hostname=PROXY_NAME)

    with pytest.raises(ssl.SSLCertVerificationError):
        await asyncio.to_thread(knock)


async def test_an_address_that_is_taken_is_told(tmp_path: Path, port: int) -> None:
    proxy = TlsProxy(tmp_path, "far", Address("127.0.0.1", port))
    with pytest.raises(KeysteadError, match="cannot listen at") as refused:
        await proxy.start({"control": "nats://127.0.0.1:1", "data": "nats://127.0.0.1:1"})
    assert refused.value.id == "KS-AGENT-001" and not proxy.alive()


@pytest.mark.parametrize("text", ["", "host", ":1", "host:", "host:x", "::1:4", "host:70000"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(KeysteadError, match="--listen"):
        address("--listen", text)


def test_addresses_are_written_as_they_are_read() -> None:
    assert [str(address("--listen", text)) for text in ("h:1", "[::1]:4333")] == [
        "h:1",
        "[::1]:4333",
    ]


async def test_strangers_who_say_nothing_give_way_to_who_comes_next(tmp_path: Path) -> None:
    certificate, key = listening.ensure_proxy_certificate(tmp_path / "tls-proxy", "far")
    control, inner = await broker(b"control")
    secure = context(str(certificate), str(key), ["control"])
    proxy = await serve("127.0.0.1", 0, secure, {"control": [inner]}, handshakes=4)
    at = proxy.sockets[0].getsockname()[1]
    strangers = [await asyncio.open_connection("127.0.0.1", at) for _ in range(12)]
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", at, ssl=secured(tmp_path), server_hostname=PROXY_NAME
    )
    assert await reader.readline() == b"control\n"
    assert time.monotonic() - begun < 4, "before the handshake of any stranger is over"
    assert await asyncio.gather(*(ended(silent) for silent, _ in strangers[:9])) == [b""] * 9
    for one in (writer, *(silent for _, silent in strangers)):
        one.transport.abort()
    proxy.close()
    control.close()
    await asyncio.sleep(0.05)
