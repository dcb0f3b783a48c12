"""Where other machines accept connections for their nodes, as a machine of a lab knows it.

``where.json`` in the lab's folder there has, for each node elsewhere, the address of its machine's
gate (``lab.machines.gate``). Without the file all nodes are here.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from protocol.terms import NodeName
from services.runtime.real.files import replace_file

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
