"""A fork server that is a copy of its owner, with everything that the owner has loaded.

For a process with a single thread that was itself just forked: the copy takes milliseconds, another
Python with its imports half a second of a core.
"""

from __future__ import annotations

import os
import socket
from typing import Final

from services.runtime.forking.connection import ForkFailed, ForkServerSocket
from services.runtime.forking.fork_hazards import descriptors
from services.runtime.forking.own_forks import OwnForks
from services.runtime.forking.packets import pack_parcel

_NEST: Final = "services.runtime.forking.server:run_nested_server"
_END_LIMIT_S: Final = 5.0
_STREAMS: Final = frozenset({0, 1, 2})


class CopiedServer(ForkServerSocket):
    """The socket to such a server. The server keeps only the standard streams of its owner's
    descriptors.

    It waits for ``load``. What its owner learns in between, its children do not know. ``close``
    ends it, and so does the kernel when its owner ends. ``ForkFailed`` when there is a second
    thread, or the system refuses.
    """

    def __init__(self, name: str, target: str) -> None:
        self._forks, self._owner = OwnForks(), os.getpid()
        sock, self._pid = self._forks.fork(
            name,
            _NEST,
            target.encode(),
            socket.SOCK_SEQPACKET,
            not_ours=sorted(descriptors() - _STREAMS),
        )
        super().__init__(sock)

    def load(self, argument: bytes) -> None:
        """Call ``target`` (``module:function``) with ``argument`` in the server; then it serves.
        ``ForkFailed`` when it has ended."""
        try:
            for packet in pack_parcel(argument):
                self.socket.send(packet)
        except OSError as error:
            raise ForkFailed(f"the fork server is gone: {error}") from error

    @property
    def pid(self) -> int:
        return self._pid

    @property
    def ended(self) -> bool:
        return os.getpid() != self._owner or self.hung_up

    def close(self) -> None:
        """Closing ends it; if it is stopped or still loads, it is killed.

        In a copy of its owner only the copy of the socket is closed.
        """
        self.socket.close()
        if os.getpid() == self._owner and self._forks.code_of(self._pid, _END_LIMIT_S) is None:
            self._forks.close()
