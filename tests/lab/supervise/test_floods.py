"""A program with the identity of one host floods vCenter: it is kept off, others hardly notice."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lab.brokers.configuration import BrokerKind
from lab.brokers.identities import Identities
from lab.brokers.server import Broker
from protocol.crypto.seal import Sealing
from protocol.errors import NotSent
from protocol.messages.base import Ping
from protocol.subjects import reply_subject, request_subject
from protocol.terms import NodeName
from services.runtime.multiplexer import Envelopes
from services.runtime.real.connection import BrokerConnection
from tests.lab.cli.conftest import Cli
from tests.services.runtime.real_bus.listeners import Recorder, until

pytestmark = pytest.mark.lab
VCENTER, BAD, GOOD = NodeName("vcenter"), NodeName("esxi-001"), NodeName("esxi-002")
FLOOD_A_SECOND, FLOOD_S = 60_000, 3.0
ASKS_A_SECOND = 50


class Stranger:
    """A second connection with the identity of a node."""

    def __init__(self, folder: Path, node: NodeName) -> None:
        identities = Identities.load(folder)
        self.node, self.heard = node, Recorder()
        url = Broker(folder, identities, BrokerKind.DATA).url
        self.connection = BrokerConnection(
            url, identities.node(node).seed, name="stranger", subjects=(f"l.*.{node}.>",)
        )
        life = 1_000_000  # of which the node has none
        seals = Sealing(node, life, identities.keyring(node), time.monotonic)
        self._envelopes = Envelopes(node, life, seals)
        self.asked: list[str] = []

    def request(self) -> tuple[str, bytes, str]:
        number = self._envelopes.next_number()
        payload = self._envelopes.request(number, VCENTER, Ping(), deadline=1e9, cause="")
        reply = reply_subject(VCENTER, self.node, f"1000000-{number}")
        return request_subject(self.node, VCENTER, "Ping"), payload, reply

    def ask(self) -> None:
        request = self.request()
        self.connection.send(*request)
        self.asked.append(request[2])

    def answered(self) -> bool:
        return {*self.asked} <= {subject for subject, _, _ in self.heard.messages}


async def flood(stranger: Stranger) -> None:
    """For three seconds, or until the broker closes the connection."""
    requests = [stranger.request() for _ in range(3_000)]  # more than vCenter remembers
    begun, sent = time.monotonic(), 0
    with suppress(NotSent):
        while (passed := time.monotonic() - begun) < FLOOD_S:
            while sent < passed * FLOOD_A_SECOND:
                for number in range(sent, sent + 300):
                    stranger.connection.send(*requests[number % len(requests)])
                sent += 300
                await asyncio.sleep(0)
            await asyncio.sleep(0.001)


async def ask_at_a_rate(stranger: Stranger, seconds: float) -> None:
    for _ in range(round(seconds * ASKS_A_SECOND)):
        stranger.ask()
        await asyncio.sleep(1 / ASKS_A_SECOND)


async def attacked(folder: Path) -> None:
    bad, good = Stranger(folder, BAD), Stranger(folder, GOOD)
    await bad.connection.open(bad.heard)
    await good.connection.open(good.heard)
    try:
        async with asyncio.timeout(30):
            await asyncio.gather(flood(bad), ask_at_a_rate(good, FLOOD_S))
            await until(lambda: "down" in bad.heard.link, "it is cut off")
            await until(good.answered, "others get every answer")
            assert good.heard.link == []
    finally:
        bad.connection.abort()
        good.connection.abort()


@pytest.mark.slow
def test_a_flooding_host_is_kept_off_and_named_and_no_other_one_is_lost(cli: Cli) -> None:
    cli.ok("up", "--hosts", "3", "--vms", "0", "--tpm", "none", "--pace", "10")
    asyncio.run(attacked(cli.home / "labs" / "default"))
    [vcenter] = cli.ok("get", "nodes", "vcenter", "-o", "json").items()
    assert "disconnects" not in vcenter["counters"], "it has kept its connection"
    assert vcenter["counters"]["overruns"] > 0, "it has not read all of it"
    hosts = {h["host"]: h["connection"] for h in cli.ok("get", "hosts", "-o", "json").items()}
    assert hosts["esxi-002"] == hosts["esxi-003"] == "connected"
    warnings = cli.ok("status", "-o", "json").json["warnings"]
    assert any("esxi-001 is kept off the bus for 60 s" in warning for warning in warnings), warnings
    reasons = cli.ok("describe", "host", "esxi-001", "-o", "json").json["reasons"]
    assert reasons[0]["rule"] == "KS-BROKER-012"
    assert reasons[0]["why"].removesuffix(".") in warnings
