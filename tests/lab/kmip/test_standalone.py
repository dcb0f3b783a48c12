"""Connections of who is no node of a lab: a time limit is the one that a person asked for."""

from __future__ import annotations

import socket
import time

import pytest

from lab.kmip.standalone import standalone
from protocol.errors import TimedOut
from protocol.terms import NodeName
from services.runtime.real.clock_and_rng import FLOOR_S
from services.runtime.streams import TlsIdentity
from tests.lab.kmip.tls import Party


async def test_a_silent_server_is_given_up_after_the_time_that_is_told() -> None:
    me = Party.named("client")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connections are made, nothing is said
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        streams = standalone(NodeName("replay")).streams
        begun = time.monotonic()
        with pytest.raises(TimedOut, match=r"within 0\.2 s"):
            await streams.connect(address, TlsIdentity((me.certificate,), me.key, ()), within_s=0.2)
        assert 0.2 <= time.monotonic() - begun < FLOOR_S
