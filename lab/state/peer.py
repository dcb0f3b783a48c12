"""The process at the other end of a Unix socket, as the kernel knows it (``SO_PEERCRED``).

Names in the kernel's abstract space have no owner: a user may take any that is free. Both ends of
such a socket look at whose process the other one is before they believe it or tell it anything.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final, NamedTuple

_CREDENTIALS: Final = struct.Struct("3i")


class SocketPeer(NamedTuple):
    """Ids of a process, its user and its group. At the end that connected they are of the process
    that listens."""

    process: int
    user: int
    group: int

    def is_of(self, user: int) -> bool:
        """Whether it is a process of that user, or of root, who may do what that user may."""
        return self.user in (0, user)


def peer_of(line: socket.socket) -> SocketPeer:
    """Raises ``OSError`` for a socket that is not connected."""
    found = line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return SocketPeer(*_CREDENTIALS.unpack(found))


def peer_is_ours(line: socket.socket) -> bool:
    """Whether the other end is of the user of this process, or of root."""
    return peer_of(line).is_of(os.getuid())
