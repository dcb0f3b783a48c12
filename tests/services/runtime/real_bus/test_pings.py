"""Pings to the broker are for silence: what arrives says as much as a pong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats import errors

from services.runtime.real.nats_client import BrokerClient

INTERVAL_S = 0.02


class Owner:
    """Nobody in particular."""

    closed = tls_after_greeting = False

    def received(self, subject: str, reply: str, payload: bytes, headers: bytes) -> None:
        """It is heard, and that is all."""

    def lost(self, error: Exception) -> None:
        """Nothing is kept."""


class Silent(BrokerClient):
    """A client whose broker answers no ping."""

    def __init__(self) -> None:
        super().__init__(Owner())
        self.options = {"ping_interval": INTERVAL_S, "max_outstanding_pings": 3}
        self.pings = 0
        self.stale: list[Exception] = []

    @property
    def is_connected(self) -> bool:
        return True

    async def _send_ping(self, future: Any = None) -> None:
        self.pings += 1

    async def _process_op_err(self, e: Exception) -> None:
        self.stale.append(e)


@pytest.fixture
def client() -> Silent:
    return Silent()


async def test_a_link_on_which_something_arrives_is_not_pinged(client: Silent) -> None:
    watching = asyncio.create_task(client._ping_interval())
    for _ in range(60):
        await client._ps.parse(b"PONG\r\n")
        await asyncio.sleep(INTERVAL_S / 6)
    watching.cancel()
    assert client.pings <= 2  # the machine may let an interval pass without a step of ours
    assert not client.stale


async def test_silence_is_pinged_and_then_noticed(client: Silent) -> None:
    await client._ps.parse(b"PONG\r\n")
    async with asyncio.timeout(10):
        await client._ping_interval()
    assert client.pings == 3
    assert [type(error) for error in client.stale] == [errors.StaleConnectionError]
