"""Canaries of connections: handshakes between two nodes that no service sees.

As a ping of the bus is answered below the service, so is a canary here, on every node that has
connections, whether its service listens or not. It is a whole handshake under the rules of the
link, with one identity that everybody has and trusts, and it never expires; then it is closed.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from protocol.crypto.certificates import SEED_SIZE, SERIAL_SIZE, new_key, self_signed
from protocol.secret import KeyMaterial
from services.runtime.streams import TlsIdentity
from services.runtime.tls.endpoint import Credentials

CANARY: Final = b"canary"
"""What a canary says when it asks for a connection."""
NOW: Final = 1.0
"""The time at which its certificate is judged, whatever the nodes' clocks say."""


@lru_cache(maxsize=2)
def credentials(*, server: bool) -> Credentials:
    """The one identity of canaries, ready for one side."""
    key = new_key(KeyMaterial(CANARY.ljust(SEED_SIZE)))
    certificate = self_signed("canary", key, bytes(SERIAL_SIZE), 0.0, 2.0)
    return Credentials(TlsIdentity((certificate,), key, (certificate,)), server=server)
