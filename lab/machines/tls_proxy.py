"""The TLS proxy of a lab: takes TLS on one address, and hands bytes to the broker that ALPN names.

``python -m lab.machines.tls_proxy HOST PORT CERTIFICATE KEY BROKER=PORTS...``, ports with commas
between them, writes the port that it listens on to standard output, then serves until it is ended.
With ``gate=PORT:FOLDER`` it opens the gate of the lab in that folder, too, and writes its port. It
knows nobody and asks nobody who he is: brokers do. It is a process of its own, so that no work of
the supervisor holds a message.

A broker of several servers is given to connections in turn, each the next server that is there: who
comes again after the loss of one finds another.

Strangers may knock as often as they like: so many connections are in their handshake at once, and
the oldest of these gives way to the next one that comes.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
from asyncio.sslproto import SSLProtocol
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_CHUNK: Final = 1 << 16
_HANDSHAKE_S: Final = 5.0
_HANDSHAKES: Final = 512
"""Connections that are in their handshake at once; each has memory for TLS."""
_DIAL_S: Final = 2.0
_TLS_BUFFER: Final = 1 << 16  # of each connection; it would be four times that


def context(certificate: str, key: str, brokers: list[str]) -> ssl.SSLContext:
    """TLS 1.3 with this certificate; a client names one of ``brokers`` by ALPN."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.load_cert_chain(certificate, key)
    made.set_alpn_protocols(brokers)
    return made


class Servers:
    """The servers of one broker, by their ``ports`` on loopback."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports, self._turn = ports, 0

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the next one in turn that is there; ``OSError`` when none is."""
        for last in (*[False] * (len(self._ports) - 1), True):
            port = self._ports[self._turn % len(self._ports)]
            self._turn += 1
            try:
                async with asyncio.timeout(_DIAL_S):
                    return await asyncio.open_connection("127.0.0.1", port)
            except (OSError, TimeoutError):
                if last:
                    raise
        raise OSError("it has no servers")


async def serve(
    host: str,
    port: int,
    secure: ssl.SSLContext,
    brokers: Mapping[str, Sequence[int]],
    handshakes: int = _HANDSHAKES,
) -> asyncio.Server:
    """Listen; ``brokers`` are the ports of their servers on loopback by name. ``OSError``."""
    servers = {name: Servers(ports) for name, ports in brokers.items()}
    SSLProtocol.max_size = _TLS_BUFFER
    shaking, tasks = dict[asyncio.Transport, None](), set[asyncio.Task[None]]()

    class Knock(asyncio.Protocol):
        """A connection that has just come; nothing is read from it before TLS is."""

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            if isinstance(transport, asyncio.Transport):
                transport.pause_reading()
                if len(shaking) >= handshakes:
                    oldest = next(iter(shaking))
                    del shaking[oldest]
                    oldest.abort()
                shaking[transport] = None
                tasks.add(task := asyncio.create_task(_enter(transport, secure, servers, shaking)))
                task.add_done_callback(tasks.discard)

    return await asyncio.get_running_loop().create_server(Knock, host, port)


async def _enter(
    plain: asyncio.Transport,
    secure: ssl.SSLContext,
    brokers: Mapping[str, Servers],
    shaking: dict[asyncio.Transport, None],
) -> None:
    """From a knock to the end of the connection; it leaves ``shaking`` after its handshake."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(_CHUNK)
    protocol = asyncio.StreamReaderProtocol(reader)
    try:
        taken = await loop.start_tls(
            plain, protocol, secure, server_side=True, ssl_handshake_timeout=_HANDSHAKE_S
        )
    except (OSError, TimeoutError):  # of TLS, too
        taken = None
    finally:
        shaking.pop(plain, None)
    if taken is None:
        plain.abort()
        return
    protocol.connection_made(taken)
    await _through(reader, asyncio.StreamWriter(taken, protocol, reader, loop), brokers)


async def _through(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, brokers: Mapping[str, Servers]
) -> None:
    told = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    try:
        inner = await brokers[told].dial()
    except (KeyError, OSError, TimeoutError):  # nobody is meant, or the broker is down
        writer.transport.abort()
        return
    ways = [_pump(reader, inner[1]), _pump(inner[0], writer)]
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        writer.transport.abort()
        inner[1].transport.abort()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """All bytes of one way, until either end has gone."""
    with suppress(OSError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()


async def _gate(host: str, before: int, folder: str) -> int:
    """Open the gate to nodes that stand here, at the port of before if that can be had."""
    from lab.machines.gate import Gate

    gate = Gate(Path(folder))
    try:
        await gate.listen(host, before)
    except OSError:
        await gate.listen(host, 0)
    return gate.port


async def _main(host: str, port: str, certificate: str, key: str, *brokers: str) -> None:
    told = {name: value for name, _, value in (text.partition("=") for text in brokers)}
    before, _, folder = told.pop("gate", "").partition(":")
    ports = {name: [int(number) for number in value.split(",")] for name, value in told.items()}
    try:
        server = await serve(host, int(port), context(certificate, key, list(ports)), ports)
        gate = [await _gate(host, int(before), folder)] if folder else []
    except OSError as error:
        sys.exit(f"{error.strerror or error}")
    print(server.sockets[0].getsockname()[1], *gate, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
