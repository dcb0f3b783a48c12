"""The protocol between an owner and its fork server, one packet each."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import msgspec

SIZE_LIMIT = 1 << 17  # bytes of one packet
MARK = "keystead-forkserver"
"""Marks the command line of a fork server and of its children: ``MARK FD OWNER ...``."""


class Fork(msgspec.Struct, frozen=True, tag=True):
    """Fork a child that is shown as ``name`` (15 characters), runs ``target``, then ends.

    ``target`` is ``module:function``; it is called with ``argument`` and with the socket that comes
    with the packet.
    """

    number: int
    name: str
    target: str
    argument: bytes


class Kill(msgspec.Struct, frozen=True, tag=True):
    """SIGKILL to a child; nothing when it has ended."""

    pid: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Everything is loaded."""


class ForkServerFailed(msgspec.Struct, frozen=True, tag=True):
    """The server cannot serve, and exits; ``why`` is a traceback."""

    why: str


class ChildForked(msgspec.Struct, frozen=True, tag=True):
    """The child of order ``number`` runs."""

    number: int
    pid: int


class NotForked(msgspec.Struct, frozen=True, tag=True):
    """The system refused a child for order ``number``."""

    number: int
    why: str


class ChildEnded(msgspec.Struct, frozen=True, tag=True):
    """A child has ended; ``code`` is its exit code, negative for a signal."""

    pid: int
    code: int


Order = Fork | Kill
ServerPacket = Ready | ForkServerFailed | ChildForked | NotForked | ChildEnded

encode = msgspec.msgpack.encode
orders: msgspec.msgpack.Decoder[Order] = msgspec.msgpack.Decoder(Order)
server_packets: msgspec.msgpack.Decoder[ServerPacket] = msgspec.msgpack.Decoder(ServerPacket)


# ---- data larger than a packet -------------------------------------------------------------------

_PART = SIZE_LIMIT // 2


def pack_parcel(data: bytes) -> Iterator[bytes]:
    """``data`` as packets: its length, then its parts."""
    yield str(len(data)).encode()
    for start in range(0, len(data), _PART):
        yield data[start : start + _PART]


def receive_parcel(sock: socket.socket) -> bytes | None:
    """Receive what ``parcel`` made, blocking; None when the other side closed before its end."""
    head = sock.recv(_PART)
    if not head:
        return None
    data = bytearray()
    while len(data) < int(head):
        part = sock.recv(_PART)
        if not part:
            return None
        data += part
    return bytes(data)
