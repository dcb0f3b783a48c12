"""The ports broken: a handler looks a name up in the network, and swallows the refusal."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from services.esxi.uplink import Uplink
from tests.mutations.bugs.planting import plant


def _curious(original: Any) -> Any:
    def admit(self: Any, message: Any, peer: Any) -> None:
        original(self, message, peer)
        with suppress(Exception):
            socket.socket().close()

    return admit


plant(Uplink, "admit", _curious)
