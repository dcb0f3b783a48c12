"""Connections between processes of a lab: Unix sockets in the lab's folder, no TCP.

Connections to other machines go to the addresses where those accept them for their nodes.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from protocol import names
from protocol.errors import InvalidArgument, Refused
from protocol.subjects import NodePair
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.link_rules import RuleTable
from services.runtime.real.files import replace_file
from services.runtime.tls.transport import (
    Admitting,
    Carrier,
    ConnectionEnd,
    PartKind,
    StreamDriver,
    StreamPart,
)

FILE: Final = "where.json"
LET_IN: Final = b"+"
"""A gate's answer when the node's socket is open; any other answer: it is not."""
_decoder: Final = msgspec.json.Decoder(dict[str, str])


def write_gate_addresses(folder: Path, where: Mapping[str, str]) -> None:
    """Write the addresses for all processes with this folder; raises ``OSError``."""
    path, data = folder / FILE, msgspec.json.encode(dict(where), order="sorted")
    if not (where or path.exists()) or (path.exists() and path.read_bytes() == data):
        return
    replace_file(path, data, mode=0o600, durable=False)


class GateAddresses:
    """The gates of the nodes of the lab in ``folder``; read again when the file has changed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._read: tuple[int, int] | None = None
        self._where: dict[str, str] = {}

    def of(self, node: NodeName) -> str:
        """``host:port`` of a node's gate; empty: the node is here."""
        try:
            status = os.stat(self._path)
        except OSError:
            return ""
        if self._read != (status.st_mtime_ns, status.st_ino):
            try:
                self._where = _decoder.decode(self._path.read_bytes())
            except (OSError, msgspec.DecodeError):
                return self._where.get(node, "")
            self._read = status.st_mtime_ns, status.st_ino
        return self._where.get(node, "")


async def connect_through_gate(address: str, node: NodeName) -> socket.socket:
    """A connection to ``node`` through the gate at ``address``, for the caller to close;
    ``OSError`` when there is none."""
    loop = asyncio.get_running_loop()
    host, _, port = address.rpartition(":")
    found = await loop.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    family, kind, protocol, _, at = found[0]
    made = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
    try:
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(made, at)
        await loop.sock_sendall(made, f"{node}\n".encode())
        if await loop.sock_recv(made, 1) != LET_IN:
            raise ConnectionRefusedError(f"{node} has no endpoint there")
    except BaseException:
        made.close()
        raise
    return made


FOLDER: Final = "doors"
ASK_AGAIN_S: Final = 1.0
"""Lab seconds after which a caller that found no socket tries again, as TCP does."""
LISTEN_AGAIN_S: Final = 0.2
"""Lab seconds after which a caller is heard again that a rule or a pause kept waiting."""
NAMED_S: Final = 5.0
"""Real seconds that a caller has to send its name."""
QUEUE: Final = 512
LONGEST_NAME: Final = 64
HIGH_WATER: Final = 256 * 1024
COMING: Final = 64 * 1024
"""Bytes read from a socket at a time."""
LINGER_S: Final = 30.0
"""Lab seconds that the other end of a closed connection has to read what was written before."""


class LabStreams(StreamDriver):
    """The connections of one life; also its ``Timing``."""

    def __init__(
        self,
        folder: Path,
        life: Incarnation,
        rules: RuleTable,
        now: Callable[[], float],
        pace: float,
    ) -> None:
        self.life, self.rules, self.now = life, rules, now
        self.port: Admitting | None = None
        self._folder, self.pace = folder / FOLDER, pace
        self._where = GateAddresses(folder)
        self._server: asyncio.Server | None = None
        self._outside: asyncio.Server | None = None

    @cached_property
    def receive_buffer(self) -> memoryview:
        """What has just arrived on one of the connections. It is processed before any other
        callback of this loop runs."""
        return memoryview(bytearray(COMING))

    @property
    def timing(self) -> LabStreams:
        return self

    def later(self, seconds: float, act: Callable[[], None]) -> asyncio.TimerHandle:
        """Call ``act``, unless the life is over then."""
        return asyncio.get_running_loop().call_later(seconds / self.pace, self._if_alive, act)

    def _if_alive(self, act: Callable[[], None]) -> None:
        if self.life.alive:
            act()

    # ---- nodes of the lab -------------------------------------------------------------------

    async def open(self, port: Admitting) -> None:
        self.port = port
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with SocketPath(self._folder, self.life.node) as path:
            with suppress(FileNotFoundError):
                os.unlink(path)  # a socket that a killed process has left
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            listening.bind(path)
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: _IncomingLine(self), sock=listening, backlog=QUEUE
        )
        if not self.life.alive:
            self.close()

    def dial(self, to: str, connection: ConnectionEnd) -> Carrier:
        return _OutgoingLine(self, NodeName(to), connection)

    async def try_dial(self, to: NodeName, make: Callable[[], asyncio.BaseProtocol]) -> bool:
        """Whether the node has a socket with a live process behind it; if so, connect to it."""
        loop = asyncio.get_running_loop()
        try:
            if elsewhere := self._where.of(to):
                there = await connect_through_gate(elsewhere, to)
                await loop.create_connection(make, sock=there)
                return True
            with SocketPath(self._folder, to) as path:
                await loop.create_unix_connection(make, path)
        except OSError:  # no socket, no listener, a full backlog, or no descriptor left
            return False
        return True

    def close(self) -> None:
        self.close_outside()
        server, self._server = self._server, None
        if server is not None:
            server.close()
            with suppress(FileNotFoundError):
                os.unlink(self._folder / self.life.node)

    # ---- outside ----------------------------------------------------------------------------

    async def dial_outside(self, address: str, connection: ConnectionEnd) -> Carrier:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port[:6]) < 65_536:
            raise InvalidArgument(f"{address} is no address: host:port is wanted")
        loop = asyncio.get_running_loop()
        try:
            _, end = await loop.create_connection(
                lambda: _Line(self, connection), host.strip("[]"), int(port)
            )
        except UnicodeError:
            raise InvalidArgument(f"{address}: that is no name of a host") from None
        except OSError as error:
            number = error.errno or 0  # asyncio's own text, without a number
            why = os.strerror(number) if number > 0 else error.strerror or str(error)
            raise Refused(f"{address}: {why}") from None
        return end

    async def listen_outside(
        self, host: str, port: int, take: Callable[[], ConnectionEnd | None]
    ) -> int | None:
        self._outside = await _listen(lambda: _OutsideLine(self, take), host, port)
        if not self.life.alive:
            self.close_outside()
            return None
        bound: int = self._outside.sockets[0].getsockname()[1]
        return bound

    def close_outside(self) -> None:
        outside, self._outside = self._outside, None
        if outside is not None:
            outside.close()


async def _listen(make: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> asyncio.Server:
    """Listen at each address of ``host``. With port 0 listen only at the first address that works:
    each address would get a port of its own, and only one port is reported."""
    loop = asyncio.get_running_loop()
    if port:
        return await loop.create_server(make, host, port, backlog=QUEUE)
    found = await loop.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    *others, last = dict.fromkeys(str(place[4][0]) for place in found)
    for address in others:
        with suppress(OSError):
            return await loop.create_server(make, address, 0, backlog=QUEUE)
    return await loop.create_server(make, last, 0, backlog=QUEUE)


class SocketPath:
    """The path of a node's socket, shortened where the lab's folder has a path too long for a
    socket."""

    def __init__(self, folder: Path, node: NodeName) -> None:
        self._folder, self._node = folder, node

    def __enter__(self) -> str:
        self._fd = os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._fd}/{self._node}"

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)


class _Line(asyncio.BufferedProtocol, Carrier):
    """One end of a connection on a socket.

    All connections of a life read into one shared buffer. asyncio's own protocol allocates a
    quarter of a mebibyte for each read, which costs ten times the read.
    """

    def __init__(self, driver: LabStreams, connection: ConnectionEnd | None) -> None:
        self._driver, self.connection = driver, connection
        self._transport: asyncio.Transport | None = None
        self._gone: Callable[[], None] | None = None
        self._full = self._over = False

    # ---- Carrier ------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        return self._full

    @property
    def room(self) -> int:
        if self._full or self._transport is None:
            return 0
        return HIGH_WATER - self._transport.get_write_buffer_size()

    def put(self, part: StreamPart) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if part.kind is PartKind.CLOSING:
            self._over = True
            transport.close()
            if transport.get_write_buffer_size():
                self._driver.later(LINGER_S, transport.abort)
        else:
            transport.write(part.data)

    def pause(self, paused: bool) -> None:
        if self._transport is not None and not self._over:
            self._transport.pause_reading() if paused else self._transport.resume_reading()

    def call_when_closed(self, act: Callable[[], None]) -> None:
        if self._transport is None or not self._transport.get_write_buffer_size():
            act()
        else:
            self._gone = act

    def stop(self) -> None:
        self._over = True
        if self._transport is not None:
            self._transport.abort()

    # ---- asyncio.BufferedProtocol -------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport, self._coming = transport, self._driver.receive_buffer
        transport.set_write_buffer_limits(high=HIGH_WATER)
        if self._over:
            transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._coming

    def buffer_updated(self, nbytes: int) -> None:
        self.data_received(bytes(self._coming[:nbytes]))

    def data_received(self, data: bytes) -> None:
        """Process received bytes."""
        if self.connection is not None and not self._over:
            self.connection.receive_bytes(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._gone is not None:
            self._gone()
        if not self._over:
            self._over = True
            if self.connection is not None:
                self.connection.receive_part(StreamPart(PartKind.BROKEN))

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        if self.connection is not None:
            self.connection.wake_writer()


class _OutsideLine(_Line):
    """A connection from outside of the lab."""

    def __init__(self, driver: LabStreams, take: Callable[[], ConnectionEnd | None]) -> None:
        super().__init__(driver, None)
        self._take = take

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.connection = self._take() if self._driver.life.alive else None
        if self.connection is None:
            self.stop()
        else:
            self.connection.begin_handshake(self)


class _OutgoingLine(_Line):
    """A connection that this node opens. Its first part is what it says when it asks."""

    def __init__(self, driver: LabStreams, to: NodeName, connection: ConnectionEnd) -> None:
        super().__init__(driver, connection)
        self._to = to
        self._answer = bytearray()
        self._opening = b""
        self._granted = False
        self._dialing: asyncio.Task[None] | None = None

    def put(self, part: StreamPart) -> None:
        if part.kind is PartKind.OPENING:
            self._opening = part.data
            self._dialing = asyncio.get_running_loop().create_task(self._dial())
        else:
            super().put(part)

    async def _dial(self) -> None:
        driver, link = self._driver, NodePair(self._driver.life.node, self._to)
        while driver.life.alive and not self._over:
            if await driver.try_dial(self._to, lambda: self):
                return
            if driver.rules.refuses(self._to) and driver.rules.passes(link):
                self._pass_refusal(f"{self._to} refuses connections".encode())
                return
            await asyncio.sleep(ASK_AGAIN_S / driver.pace)

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.write(b"%s %s\n" % (self._driver.life.node.encode(), self._opening))

    def data_received(self, data: bytes) -> None:
        if self._granted:
            super().data_received(data)
            return
        self._answer += data
        answer, line, rest = bytes(self._answer).partition(b"\n")
        if line and self.connection is not None:
            self._granted = True
            self.connection.receive_part(StreamPart(PartKind.OPENING, answer))
            if rest:
                super().data_received(rest)

    def stop(self) -> None:
        super().stop()
        if self._dialing is not None:
            self._dialing.cancel()

    def _pass_refusal(self, why: bytes) -> None:
        if self.connection is not None:
            self.connection.receive_part(StreamPart(PartKind.OPENING, why))


class _IncomingLine(_Line):
    """A connection to this node whose caller first sends its name."""

    def __init__(self, driver: LabStreams) -> None:
        super().__init__(driver, None)
        self._received = bytearray()
        self._late = asyncio.get_running_loop().call_later(NAMED_S, self.stop)

    def connection_lost(self, error: Exception | None) -> None:
        self._late.cancel()
        super().connection_lost(error)

    def put(self, part: StreamPart) -> None:
        if part.kind is PartKind.OPENING:
            part.data += b"\n"
        super().put(part)

    def data_received(self, data: bytes) -> None:
        if self.connection is not None:
            super().data_received(data)
            return
        self._received += data
        head, line, rest = bytes(self._received).partition(b"\n")
        name, _, opening = head.partition(b" ")
        node = name.decode(errors="replace")
        if line and not rest and not names.NODE.fault(node):
            self._late.cancel()
            self._admit(NodeName(node), opening)
        elif line or len(self._received) > LONGEST_NAME:
            self.stop()

    def _admit(self, src: NodeName, opening: bytes) -> None:
        """Accept or refuse the caller; a caller that a rule keeps waiting is tried again later."""
        driver = self._driver
        if self._over or not driver.life.alive or driver.port is None:
            self.stop()
            return
        if driver.life.is_paused or not driver.rules.passes(NodePair(src, driver.life.node)):
            driver.later(LISTEN_AGAIN_S, lambda: self._admit(src, opening))
            return
        made = driver.port.incoming(src, opening)
        if isinstance(made, str):
            super().put(StreamPart(PartKind.OPENING, made.encode() + b"\n"))
            super().put(StreamPart(PartKind.CLOSING))
            return
        self.connection = made
        made.grant_dial(self)
