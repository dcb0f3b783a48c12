"""Connections of real processes: the port for clients outside, and the doors of nodes."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from protocol.errors import (
    Disconnected,
    InvalidArgument,
    ProductError,
    Refused,
    TimedOut,
    TlsFailure,
)
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.link_rules import RuleTable
from services.runtime.real import streams as streams_module
from services.runtime.real.clock_and_rng import LabRng, PacedClock
from services.runtime.real.streams import FOLDER, LabStreams
from services.runtime.streams import Listener, Stream
from services.runtime.tls.port import StreamPort
from tests.conformance.connected import B, Card, asked

pytestmark = pytest.mark.lab
A_CARD, B_CARD = Card("a", 0.0, 4e9), Card("b", 0.0, 4e9)
PACE = 10.0  # a handshake has the shortest real limit then


class Place:
    """Nodes in one process that have connections and nothing else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.refused: list[ProductError] = []
        self._lives: list[tuple[Incarnation, StreamPort]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._made: list[Listener] = []

    async def port(self, name: str) -> StreamPort:
        life = Incarnation(NodeName(name), 1)
        start = time.monotonic()

        def now() -> float:
            return (time.monotonic() - start) * PACE

        rules = RuleTable(1, now)
        clock = PacedClock(life, LabRng(1, life), epoch=start, wall=1.7e9, pace=PACE)
        made = StreamPort(life, rules, clock, LabStreams(self.folder, life, rules, now, PACE))
        made.spawn = self._spawn
        await made.open()
        self._lives.append((life, made))
        return made

    def _spawn(self, label: str, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def serving(self, *, most: int = 100) -> int:
        """The outside port of a node ``b`` that echoes in capitals."""

        async def serve(stream: Stream) -> None:
            while data := await stream.read(65_536):
                await stream.write(data.upper())

        identity = B_CARD.trusting(A_CARD)
        listener = await (await self.port(B)).listen(
            lambda: identity,
            serve,
            outside=("127.0.0.1", 0),
            refused=self.refused.append,
            most=most,
        )
        self._made.append(listener)
        assert listener.port is not None
        return listener.port

    def close(self) -> None:
        for life, port in self._lives:
            life.end(WayDown.CRASH)
            port.abort()


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def context(tmp_path: Path, version: ssl.TLSVersion, card: Card | None) -> ssl.SSLContext:
    """What somebody who knows nothing of us connects with."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.minimum_version = made.maximum_version = version
    made.load_verify_locations(cadata=B_CARD.certificate)
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if card is not None:
        private = load_der_private_key(card.key.reveal(), None)
        pem = x509.load_der_x509_certificate(card.certificate).public_bytes(Encoding.PEM)
        pem += private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / "card.pem").write_bytes(pem)
        made.load_cert_chain(tmp_path / "card.pem")
    return made


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_stranger_talks_and_takes_no_session_up_again(
    place: Place, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    port = await place.serving()
    made = context(tmp_path, version, A_CARD)

    def talk(session: ssl.SSLSession | None) -> tuple[bytes, ssl.SSLSession | None, bool | None]:
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        with made.wrap_socket(raw, session=session) as end:
            end.sendall(b"hello")
            return end.recv(100), end.session, end.session_reused

    said, session, reused = await asyncio.to_thread(talk, None)
    assert (said, reused) == (b"HELLO", False)
    said, _, reused = await asyncio.to_thread(talk, session)
    assert (said, reused) == (b"HELLO", False)
    assert not place.refused


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("name", ["TLSv1", "TLSv1_1"])
async def test_what_is_older_than_tls_1_2_is_refused(
    place: Place, tmp_path: Path, name: str
) -> None:
    port, version = await place.serving(), ssl.TLSVersion[name]
    old = context(tmp_path, ssl.TLSVersion.TLSv1_2, A_CARD)
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = version

    def talk() -> None:
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        with old.wrap_socket(raw):
            pytest.fail("the handshake was done")

    with pytest.raises(OSError, match="alert protocol version"):
        await asyncio.to_thread(talk)
    assert "unsupported protocol" in str(place.refused[0])


async def test_who_shows_no_certificate_or_talks_nonsense_is_refused(
    place: Place, tmp_path: Path
) -> None:
    port = await place.serving()
    bare = context(tmp_path, ssl.TLSVersion.TLSv1_3, None)

    def talk() -> None:
        raw = socket.create_connection(("127.0.0.1", port), timeout=10)
        with bare.wrap_socket(raw) as end:
            end.recv(100)

    with pytest.raises(OSError, match="certificate"):
        await asyncio.to_thread(talk)
    assert "peer did not return a certificate" in str(place.refused[0])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await reader.read()
    writer.close()
    assert isinstance(place.refused[1], TlsFailure) and "http request" in str(place.refused[1])


async def test_who_says_nothing_is_not_waited_for(place: Place) -> None:
    port = await place.serving()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x16\x03\x01")  # a handshake begins
    async with asyncio.timeout(10):
        with suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    assert isinstance(place.refused[0], TimedOut)


async def test_silent_connections_give_way_to_a_client_that_proves_itself(place: Place) -> None:
    """A full listener ends the oldest handshake for a newcomer; clients it knows stay."""
    port = await place.serving(most=3)
    client = await place.port("a")
    identity = A_CARD.trusting(B_CARD)
    known = await client.connect(f"127.0.0.1:{port}", identity, within_s=20)
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
    second = await client.connect(f"127.0.0.1:{port}", identity, within_s=20)
    assert await asked(known) == await asked(second) == b"HELLO"
    async with asyncio.timeout(5):
        for reader, _ in silent[:-1]:
            with suppress(ConnectionError):
                assert await reader.read() == b""
    for stream in (known, second):
        stream.close()
    for _, writer in silent:
        writer.close()
    assert not place.refused, "a connection that gives way is no failed handshake"


async def test_beyond_the_limit_of_known_clients_connections_are_closed_at_once(
    place: Place,
) -> None:
    port = await place.serving(most=2)
    client = await place.port("a")
    identity = A_CARD.trusting(B_CARD)
    known = [await client.connect(f"127.0.0.1:{port}", identity, within_s=20) for _ in range(2)]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(1):
        with suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    assert [await asked(stream) for stream in known] == [b"HELLO"] * 2


async def test_a_node_reaches_what_is_outside(place: Place) -> None:
    port = await place.serving()
    client = await place.port("a")
    identity = A_CARD.trusting(B_CARD)
    stream = await client.connect(f"127.0.0.1:{port}", identity, within_s=20)
    assert await asked(stream) == b"HELLO"
    place._made[0].close()
    assert await stream.read(1) == b""
    with pytest.raises(Refused, match=r"127\.0\.0\.1"):
        await client.connect(f"127.0.0.1:{port}", identity, within_s=20)
    for address in ("kms.example:", ":5696", "kms.example:port", "kms.example:70000"):
        with pytest.raises(InvalidArgument, match="is no address"):
            await client.connect(address, identity, within_s=20)


async def test_an_outside_server_that_leaves_breaks_the_handshake(place: Place) -> None:
    client = await place.port("a")

    async def leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(leave, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(Disconnected, match="in the handshake"):
        await client.connect(f"127.0.0.1:{port}", A_CARD.trusting(B_CARD), within_s=20)
    server.close()


async def test_nothing_listens_on_tcp_but_what_was_asked_for(place: Place) -> None:
    await place.port("a")
    listening = psutil.Process().net_connections("inet")
    assert [c.laddr.port for c in listening if c.status == psutil.CONN_LISTEN] == []
    port = await place.serving()
    listening = psutil.Process().net_connections("inet")
    assert [c.laddr.port for c in listening if c.status == psutil.CONN_LISTEN] == [port]


async def test_a_door_opens_for_names_only(place: Place, tmp_path: Path) -> None:
    """What is no name, or more than one, is shown out; the door stands."""
    await place.serving()
    door = str(tmp_path / FOLDER / B)
    for said in (b"\n", b"a b/../c\n", b"A\n", b"x" * 100, b"a\nmore", b"\xff\n"):
        reader, writer = await asyncio.open_unix_connection(door)
        writer.write(said)
        async with asyncio.timeout(5):
            with suppress(ConnectionError):
                answer = await reader.read(1)
                assert answer == b"" or said == b"a b/../c\n"
        writer.close()
    client = await place.port("a")
    stream = await client.connect(B, A_CARD.trusting(B_CARD), within_s=20)
    assert await asked(stream) == b"HELLO"


async def test_a_lab_may_lie_deep(tmp_path: Path) -> None:
    """A path of a socket has 107 bytes; a folder may have more."""
    deep = tmp_path.joinpath(*["a-folder-with-a-long-name"] * 6)
    deep.mkdir(parents=True)
    place = Place(deep)
    await place.serving()
    client = await place.port("a")
    stream = await client.connect(B, A_CARD.trusting(B_CARD), within_s=20)
    assert await asked(stream) == b"HELLO"
    place.close()
    assert not list((deep / FOLDER).iterdir())


@pytest.mark.slow
async def test_who_does_not_take_the_rest_still_has_a_connection(
    place: Place, tmp_path: Path
) -> None:
    """A closed connection with bytes that nobody takes is an open file, and so it counts."""
    over = asyncio.Event()

    async def serve(stream: Stream) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await stream.write(bytes(16 << 20))
        over.set()

    identity = B_CARD.trusting(A_CARD)
    streams = await place.port(B)
    listener = await streams.listen(lambda: identity, serve, outside=("127.0.0.1", 0), most=1)
    made = context(tmp_path, ssl.TLSVersion.TLSv1_2, A_CARD)

    def come() -> ssl.SSLSocket:
        raw = socket.create_connection(("127.0.0.1", listener.port or 0), timeout=10)
        return made.wrap_socket(raw)

    first = await asyncio.to_thread(come)
    await over.wait()
    await asyncio.sleep(0.1)
    with pytest.raises(OSError, match=r"reset|EOF|closed"):
        await asyncio.to_thread(come)
    first.close()
    async with asyncio.timeout(20):
        while streams._connections:
            await asyncio.sleep(0.05)
    (await asyncio.to_thread(come)).close()


@pytest.mark.parametrize("first", ["127.0.0.1", "192.0.2.1"])
async def test_any_port_is_one_port(
    place: Place, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    """A name may have several addresses: one that can be had is taken, and its port is told."""

    async def several(*_: Any, **__: Any) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (address, 0)) for address in (first, "127.0.0.2")]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", several)
    streams = await place.port(B)
    port = await streams._driver.listen_outside("several.example", 0, lambda: None)
    [bound] = cast(Any, streams._driver)._outside.sockets
    assert bound.getsockname() == ("127.0.0.1" if first == "127.0.0.1" else "127.0.0.2", port)


async def test_a_visitor_who_says_no_name_is_not_waited_for(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "NAMED_S", 0.1)
    await place.serving()
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / FOLDER / B))
    writer.write(b"a")
    async with asyncio.timeout(5):
        with suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
